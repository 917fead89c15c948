//! The simulator's view of dispatcher objects and locks, whose state lives in the object's own bytes.
//!
//! # Invariants
//! * An [`ObjectRef`] is made from a pointer that a driver passed as an object of the size that its type has on
//!   Windows, 8-byte aligned; the driver keeps that memory alive while the object is in use (the routines' documented
//!   contract). All access is atomic.
//! * Byte 1 of an initialised dispatcher header is [`INITIALIZED`].

use std::sync::atomic::{AtomicI16, AtomicI32, AtomicU8, AtomicU64, Ordering};

use crate::core::{Kernel, Rule};
use crate::host::page_heap::alias;

/// What byte 1 of a dispatcher header holds once the object was initialised.
const INITIALIZED: u8 = 0x5A;

/// Kind of a dispatcher object: the type numbers of Windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectType {
    NotificationEvent = 0,
    SynchronizationEvent = 1,
    Mutant = 2,
    Semaphore = 5,
    Thread = 6,
    NotificationTimer = 8,
    SynchronizationTimer = 9,
}

impl ObjectType {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::NotificationEvent,
            Self::SynchronizationEvent,
            Self::Mutant,
            Self::Semaphore,
            Self::Thread,
            Self::NotificationTimer,
            Self::SynchronizationTimer,
        ]
        .into_iter()
        .find(|&kind| kind as u8 == byte)
    }
}

/// A pointer to an object of the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ObjectRef {
    address: usize,
}

impl ObjectRef {
    pub(crate) fn new<T>(pointer: *const T) -> Self {
        Self { address: pointer.expose_provenance() }
    }

    pub(crate) fn from_address(address: usize) -> Self {
        Self { address }
    }

    pub(crate) fn address(self) -> usize {
        self.address
    }

    pub(crate) fn byte(self, offset: usize) -> &'static AtomicU8 {
        let pointer = std::ptr::with_exposed_provenance::<AtomicU8>(alias(self.address) + offset);
        // SAFETY: first invariant of the module: the object is alive while it is in use, and all access is atomic.
        unsafe { &*pointer }
    }

    pub(crate) fn half(self, offset: usize) -> &'static AtomicI16 {
        let pointer = std::ptr::with_exposed_provenance::<AtomicI16>(alias(self.address) + offset);
        // SAFETY: as for `byte`; `offset` is a multiple of 2.
        unsafe { &*pointer }
    }

    pub(crate) fn word(self, offset: usize) -> &'static AtomicI32 {
        let pointer = std::ptr::with_exposed_provenance::<AtomicI32>(alias(self.address) + offset);
        // SAFETY: as for `byte`; `offset` is a multiple of 4.
        unsafe { &*pointer }
    }

    pub(crate) fn quad(self, offset: usize) -> &'static AtomicU64 {
        let pointer = std::ptr::with_exposed_provenance::<AtomicU64>(alias(self.address) + offset);
        // SAFETY: as for `byte`; `offset` is a multiple of 8.
        unsafe { &*pointer }
    }

    /// The signal state of a dispatcher object.
    pub(crate) fn state(self) -> &'static AtomicI32 {
        self.word(4)
    }

    /// Makes it a dispatcher object.
    pub(crate) fn initialize(self, kind: ObjectType, state: i32) {
        self.byte(0).store(kind as u8, Ordering::SeqCst);
        self.byte(1).store(INITIALIZED, Ordering::SeqCst);
        self.state().store(state, Ordering::SeqCst);
        self.quad(8).store(0, Ordering::SeqCst);
        self.quad(16).store(0, Ordering::SeqCst);
    }

    /// What kind of dispatcher object it is; a finding when it was never initialised.
    pub(crate) fn kind(self, kernel: &Kernel) -> ObjectType {
        let kind = ObjectType::from_byte(self.byte(0).load(Ordering::SeqCst));
        match kind {
            Some(kind) if self.byte(1).load(Ordering::SeqCst) == INITIALIZED => kind,
            _ => kernel.finding(Rule::Uninitialized, "a dispatcher object was used before it was initialised"),
        }
    }

    /// The kind, which must be one of `allowed`.
    pub(crate) fn expect(self, kernel: &Kernel, allowed: &[ObjectType]) -> ObjectType {
        let kind = self.kind(kernel);
        if !allowed.contains(&kind) {
            kernel.finding(Rule::BadArgument, format!("a {kind:?} was passed where one of {allowed:?} is due"));
        }
        kind
    }

    /// The thread that owns a mutex; zero for none.
    pub(crate) fn owner(self) -> &'static AtomicU64 {
        self.quad(0x28)
    }

    /// Takes the object if it can be had now. The caller holds the dispatcher lock.
    pub(crate) fn try_acquire(self, kind: ObjectType, thread: u64) -> bool {
        if !self.can_acquire(kind, thread) {
            return false;
        }
        match kind {
            ObjectType::NotificationEvent | ObjectType::NotificationTimer | ObjectType::Thread => {}
            ObjectType::SynchronizationEvent | ObjectType::SynchronizationTimer => {
                self.state().store(0, Ordering::SeqCst);
            }
            ObjectType::Semaphore => {
                self.state().fetch_sub(1, Ordering::SeqCst);
            }
            ObjectType::Mutant => {
                self.state().fetch_sub(1, Ordering::SeqCst);
                self.owner().store(thread, Ordering::SeqCst);
            }
        }
        true
    }

    /// Whether a wait by `thread` would be satisfied now. The caller holds the dispatcher lock.
    pub(crate) fn can_acquire(self, kind: ObjectType, thread: u64) -> bool {
        let state = self.state().load(Ordering::SeqCst);
        if kind == ObjectType::Mutant { state > 0 || self.owner().load(Ordering::SeqCst) == thread } else { state > 0 }
    }
}
