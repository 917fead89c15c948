//! Spin lock, event, mutex: closures instead of bare acquire and release.

use alloc::boxed::Box;
use core::cell::UnsafeCell;
use core::ptr;
use core::time::Duration;

use vck_common::VckResult;

use super::irql::{ApcOrBelow, Passive};
use super::memory::try_box;
use super::sys;

/// A value behind a KSPIN_LOCK.
///
/// The closure runs at DISPATCH_LEVEL: no wait, no pageable access, no I/O, no allocation that may be large.
pub struct SpinLock<T> {
    lock: UnsafeCell<sys::KSPIN_LOCK>,
    value: UnsafeCell<T>,
}

// SAFETY: the lock serialises access to the value.
unsafe impl<T: Send> Send for SpinLock<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// An unlocked lock. A KSPIN_LOCK is initialised by zeroing it (`KeInitializeSpinLock`), and has no address of its own inside.
    pub const fn new(value: T) -> Self {
        Self { lock: UnsafeCell::new(0), value: UnsafeCell::new(value) }
    }

    /// Runs `body` with the lock held. IRQL <= DISPATCH_LEVEL; not recursive.
    pub fn with<R>(&self, body: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: an initialised spin lock in non-paged memory; IRQL <= DISPATCH_LEVEL is this function's contract.
        let irql = unsafe { sys::KeAcquireSpinLockRaiseToDpc(self.lock.get()) };
        // SAFETY: the lock is held, so the reference is the only one.
        let value = unsafe { &mut *self.value.get() };
        let result = body(value);
        // SAFETY: acquired above on this thread, with the IRQL it returned.
        unsafe { sys::KeReleaseSpinLock(self.lock.get(), irql) };
        result
    }
}

/// A KEVENT that returns to not signalled when it has satisfied one wait.
///
/// # Invariants
/// Boxed, because an initialised KEVENT holds its own address; initialised at construction.
pub struct Event {
    event: Box<UnsafeCell<sys::KEVENT>>,
}

// SAFETY: the kernel's event routines are the only access and are thread-safe.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

/// Outcome of a wait with a time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The object was signalled.
    Signalled,
    /// The time ran out first.
    TimedOut,
}

impl Event {
    /// A new event, not signalled. IRQL <= DISPATCH_LEVEL.
    pub fn try_new() -> VckResult<Self> {
        // SAFETY: KEVENT is plain data, for which zero is a valid value; it is initialised below.
        let event = try_box(UnsafeCell::new(unsafe { core::mem::zeroed::<sys::KEVENT>() }))?;
        // SAFETY: resident storage at its final address.
        unsafe { sys::KeInitializeEvent(event.get(), sys::_EVENT_TYPE::SynchronizationEvent, 0) };
        Ok(Self { event })
    }

    /// Signals. IRQL <= DISPATCH_LEVEL.
    pub fn set(&self) {
        // SAFETY: invariant; Wait = FALSE, so any IRQL up to DISPATCH_LEVEL.
        unsafe { sys::KeSetEvent(self.event.get(), 0, 0) };
    }

    /// Waits without limit; not alertable, so it ends only when the event is signalled.
    pub fn wait(&self, passive: Passive) {
        self.wait_below_dispatch(passive.into());
    }

    /// As [`wait`](Self::wait), where paging I/O may be on its way.
    pub fn wait_below_dispatch(&self, _: ApcOrBelow) {
        // SAFETY: invariant; IRQL <= APC_LEVEL by the witness; KernelMode because the storage is ours and must stay resident.
        let _ = unsafe {
            sys::KeWaitForSingleObject(
                self.event.get().cast(),
                sys::_KWAIT_REASON::Executive,
                sys::_MODE::KernelMode as sys::KPROCESSOR_MODE,
                0,
                ptr::null_mut(),
            )
        };
    }

    /// Waits for at most `limit`.
    pub fn wait_for(&self, _: Passive, limit: Duration) -> Waited {
        let mut due = super::time::relative(limit);
        // SAFETY: as in `wait`; `due` outlives the call.
        let status = unsafe {
            sys::KeWaitForSingleObject(
                self.event.get().cast(),
                sys::_KWAIT_REASON::Executive,
                sys::_MODE::KernelMode as sys::KPROCESSOR_MODE,
                0,
                &raw mut due,
            )
        };
        if status == sys::STATUS_TIMEOUT { Waited::TimedOut } else { Waited::Signalled }
    }
}

/// A value behind a KMUTEX, for the control plane and for I/O that one thread at a time may do.
///
/// # Invariants
/// The KMUTEX is boxed and initialised, as for [`Event`]. `entered` is true while a closure runs: a KMUTEX lets its owner
/// in again, which would hand out the value twice, so that stops the machine instead.
pub struct Mutex<T> {
    object: Box<UnsafeCell<sys::KMUTEX>>,
    entered: UnsafeCell<bool>,
    value: UnsafeCell<T>,
}

// SAFETY: the mutex serialises access to the value.
unsafe impl<T: Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// A free mutex. IRQL <= DISPATCH_LEVEL.
    pub fn try_new(value: T) -> VckResult<Self> {
        // SAFETY: KMUTEX is plain data, for which zero is a valid value; it is initialised below.
        let mutex = try_box(UnsafeCell::new(unsafe { core::mem::zeroed::<sys::KMUTEX>() }))?;
        // SAFETY: resident storage at its final address; Level is reserved and 0.
        unsafe { sys::KeInitializeMutex(mutex.get(), 0) };
        Ok(Self { object: mutex, entered: UnsafeCell::new(false), value: UnsafeCell::new(value) })
    }

    /// Runs `body` with the mutex held. Normal kernel APCs are off meanwhile, so the owner cannot be suspended.
    pub fn with<R>(&self, _: Passive, body: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: invariant; PASSIVE_LEVEL by the witness.
        let _ = unsafe {
            sys::KeWaitForSingleObject(
                self.object.get().cast(),
                sys::_KWAIT_REASON::Executive,
                sys::_MODE::KernelMode as sys::KPROCESSOR_MODE,
                0,
                ptr::null_mut(),
            )
        };
        // SAFETY: written by the owner of the mutex alone.
        let entered = unsafe { &mut *self.entered.get() };
        if core::mem::replace(entered, true) {
            super::fatal(super::Fatal::MutexRecursion, 0);
        }
        // SAFETY: the mutex is held and was not entered, so the reference is the only one.
        let result = body(unsafe { &mut *self.value.get() });
        *entered = false;
        // SAFETY: owned by this thread since the wait above; Wait = FALSE.
        unsafe { sys::KeReleaseMutex(self.object.get(), 0) };
        result
    }
}
