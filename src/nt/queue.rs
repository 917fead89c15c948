//! Queues of IRPs, linked through the IRPs themselves: queueing allocates nothing and cannot fail.
//!
//! # Invariants
//! * An IRP in a queue is owned by the queue: marked pending, remove lock held. `DriverContext[0]` names the queue,
//!   `[1]` carries the caller's word, `[2]` the remove lock, `[3]` is the link to the next IRP.
//! * In a cancellable queue an IRP in the list has our cancel routine set, except between the exchange that takes the
//!   routine out and the unlinking under the same lock.
//! * Whoever gets the cancel routine by exchange owns the completion: `pop` leaves an IRP whose routine is already
//!   gone to the cancel routine, unlinking it first.

use alloc::boxed::Box;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering};

use vck_common::{NtStatus, VckResult};

use super::irp::{Disposition, Irp, mark_pending};
use super::memory::try_box;
use super::sync::{Event, SpinLock};
use super::sys;

/// A FIFO of pending IRPs.
pub struct IrpQueue {
    inner: Box<Inner>,
}

struct Inner {
    list: SpinLock<List>,
    cancellable: bool,
}

struct List {
    head: *mut sys::IRP,
    tail: *mut sys::IRP,
    length: usize,
}

// SAFETY: the pointers name IRPs that the queue owns.
unsafe impl Send for List {}

/// What each of the four words of an IRP that belong to its current owner carries.
///
/// The words are reached one at a time, never as one array: a cancel routine reads the first while the queue's lock holder
/// writes the last.
#[derive(Clone, Copy)]
enum Word {
    Queue = 0,
    Carried = 1,
    Lock = 2,
    Next = 3,
}

impl Word {
    /// # Safety
    /// The caller owns the IRP, or the word by the rules of the module.
    unsafe fn place(self, irp: NonNull<sys::IRP>) -> *mut sys::PVOID {
        // SAFETY: the caller's contract; only an address is computed, through the views that an IRP on its way has.
        let words = unsafe { &raw mut (*irp.as_ptr()).Tail.Overlay.__bindgen_anon_1.__bindgen_anon_1.DriverContext };
        words.cast::<sys::PVOID>().wrapping_add(self as usize)
    }

    /// # Safety
    /// As [`place`](Self::place).
    unsafe fn get(self, irp: NonNull<sys::IRP>) -> sys::PVOID {
        // SAFETY: the caller's contract.
        let place = unsafe { self.place(irp) };
        // SAFETY: one of the four words.
        unsafe { place.read() }
    }

    /// # Safety
    /// As [`place`](Self::place).
    unsafe fn set(self, irp: NonNull<sys::IRP>, value: sys::PVOID) {
        // SAFETY: the caller's contract.
        let place = unsafe { self.place(irp) };
        // SAFETY: one of the four words.
        unsafe { place.write(value) };
    }
}

/// `IoSetCancelRoutine`.
///
/// # Safety
/// The caller owns the IRP, or holds the lock of the queue that does.
unsafe fn exchange_cancel_routine(irp: NonNull<sys::IRP>, routine: sys::PDRIVER_CANCEL) -> bool {
    // SAFETY: the caller's contract.
    let slot = unsafe { &raw mut (*irp.as_ptr()).CancelRoutine };
    // SAFETY: an optional function pointer has the layout of a pointer; the I/O manager exchanges it atomically too.
    let slot = unsafe { AtomicPtr::from_ptr(slot.cast::<*mut core::ffi::c_void>()) };
    let value = routine.map_or(ptr::null_mut(), |routine| routine as *mut core::ffi::c_void);
    !slot.swap(value, Ordering::SeqCst).is_null()
}

impl List {
    fn link(&mut self, irp: NonNull<sys::IRP>) {
        // SAFETY: being queued, so ours.
        unsafe { Word::Next.set(irp, ptr::null_mut()) };
        match NonNull::new(self.tail) {
            // SAFETY: in the list, so ours.
            Some(tail) => unsafe { Word::Next.set(tail, irp.as_ptr().cast()) },
            None => self.head = irp.as_ptr(),
        }
        self.tail = irp.as_ptr();
        self.length = self.length.saturating_add(1);
    }

    fn next(irp: NonNull<sys::IRP>) -> *mut sys::IRP {
        // SAFETY: in the list, so ours.
        unsafe { Word::Next.get(irp) }.cast()
    }

    /// Takes `irp` out; false if it is not in the list.
    fn unlink(&mut self, irp: NonNull<sys::IRP>) -> bool {
        let mut before: Option<NonNull<sys::IRP>> = None;
        let mut at = NonNull::new(self.head);
        while let Some(current) = at {
            if current == irp {
                let next = Self::next(irp);
                match before {
                    // SAFETY: in the list, so ours.
                    Some(before) => unsafe { Word::Next.set(before, next.cast()) },
                    None => self.head = next,
                }
                if self.tail == irp.as_ptr() {
                    self.tail = before.map_or(ptr::null_mut(), NonNull::as_ptr);
                }
                self.length = self.length.saturating_sub(1);
                return true;
            }
            before = at;
            at = NonNull::new(Self::next(current));
        }
        false
    }
}

impl IrpQueue {
    /// An empty queue whose IRPs wait, owning nothing, and are completed with STATUS_CANCELLED when cancelled.
    pub fn cancellable() -> VckResult<Self> {
        Self::new(true)
    }

    /// An empty queue of work in progress: cancelling waits until the work is done.
    pub fn uninterruptible() -> VckResult<Self> {
        Self::new(false)
    }

    fn new(cancellable: bool) -> VckResult<Self> {
        let list = SpinLock::new(List { head: ptr::null_mut(), tail: ptr::null_mut(), length: 0 });
        Ok(Self { inner: try_box(Inner { list, cancellable })? })
    }

    /// Number of waiting IRPs; a snapshot.
    pub fn len(&self) -> usize {
        self.inner.list.with(|list| list.length)
    }

    /// Whether nothing waits; a snapshot.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends `irp` with `word` and signals `event`. IRQL <= DISPATCH_LEVEL.
    ///
    /// The signal is given under the queue's lock: once the lock is free the IRP may be completed, and with its remove lock
    /// the memory of queue and event may go.
    pub fn push_and_signal(&self, irp: Irp, word: usize, event: &Event) -> Disposition {
        let signalled = || {
            event.set();
            true
        };
        match self.push_if(irp, word, signalled) {
            Ok(disposition) => disposition,
            // `push_if` gives the IRP back only when the condition is false.
            Err(irp) => irp.complete(NtStatus::UNSUCCESSFUL, 0),
        }
    }

    /// Appends `irp` if `condition`, asked under the queue's lock, holds; otherwise gives it back.
    ///
    /// Together with a drain that takes the lock after making the condition false, no IRP is left behind.
    pub fn push_if(&self, irp: Irp, word: usize, condition: impl FnOnce() -> bool) -> Result<Disposition, Irp> {
        let inner: *const Inner = &raw const *self.inner;
        let mut irp = Some(irp);
        let mut cancelled = None;
        self.inner.list.with(|list| {
            if !condition() {
                return;
            }
            let Some(irp) = irp.take() else { return };
            let (raw, lock) = irp.into_raw();
            // SAFETY: owned; marked before anyone else can see it.
            unsafe { mark_pending(raw) };
            // SAFETY: owned.
            unsafe { Word::Queue.set(raw, inner.cast_mut().cast()) };
            // SAFETY: owned.
            unsafe { Word::Carried.set(raw, ptr::without_provenance_mut(word)) };
            // SAFETY: owned.
            unsafe { Word::Lock.set(raw, lock.map_or(ptr::null_mut(), |lock| lock.as_ptr().cast())) };
            list.link(raw);
            if self.inner.cancellable {
                // SAFETY: the queue's lock is held.
                unsafe { exchange_cancel_routine(raw, Some(cancel)) };
                // SAFETY: as above.
                let flag = unsafe { &raw const (*raw.as_ptr()).Cancel };
                // SAFETY: as above; the I/O manager may set it at any time.
                let already = unsafe { ptr::read_volatile(flag) } != 0;
                // SAFETY: as above. If the routine is gone, the I/O manager is calling it and it will complete the IRP.
                if already && unsafe { exchange_cancel_routine(raw, None) } {
                    list.unlink(raw);
                    cancelled = Some(raw);
                }
            }
        });
        if let Some(raw) = cancelled {
            reclaim(raw).0.finish(NtStatus::CANCELLED, 0);
        }
        irp.map_or(Ok(Disposition::new(NtStatus::PENDING.0)), Err)
    }

    /// Takes the oldest IRP and its word. IRQL <= DISPATCH_LEVEL.
    pub fn pop(&self) -> Option<(Irp, usize)> {
        let raw = self.inner.list.with(|list| {
            while let Some(raw) = NonNull::new(list.head) {
                list.unlink(raw);
                // SAFETY: the queue's lock is held.
                if !self.inner.cancellable || unsafe { exchange_cancel_routine(raw, None) } {
                    return Some(raw);
                }
            }
            None
        })?;
        Some(reclaim(raw))
    }

    /// Completes every waiting IRP with `status`.
    pub fn complete_all(&self, status: NtStatus) {
        while let Some((irp, _)) = self.pop() {
            irp.finish(status, 0);
        }
    }
}

/// The token of an IRP that was just taken out of a queue.
fn reclaim(raw: NonNull<sys::IRP>) -> (Irp, usize) {
    // SAFETY: out of the queue, so ours.
    let lock = NonNull::new(unsafe { Word::Lock.get(raw) }.cast());
    // SAFETY: as above.
    let word = unsafe { Word::Carried.get(raw) }.addr();
    // SAFETY: ours, with the lock that was held when it was queued.
    (unsafe { Irp::from_raw(raw, lock) }, word)
}

/// Cancel routine of waiting IRPs. Called at DISPATCH_LEVEL with the system cancel lock held.
unsafe extern "C" fn cancel(_: sys::PDEVICE_OBJECT, irp: sys::PIRP) {
    // SAFETY: called by the I/O manager, which saved the IRQL there.
    let irql = unsafe { (*irp).CancelIrql };
    // SAFETY: held by the I/O manager on this call.
    unsafe { sys::IoReleaseCancelSpinLock(irql) };
    let Some(raw) = NonNull::new(irp) else { return };
    // SAFETY: having been called, this routine owns the IRP's completion; the words were set before it was registered.
    let inner = unsafe { Word::Queue.get(raw) }.cast::<Inner>();
    // SAFETY: the queue belongs to a device whose remove lock this IRP holds.
    unsafe { &*inner }.list.with(|list| {
        list.unlink(raw);
    });
    reclaim(raw).0.finish(NtStatus::CANCELLED, 0);
}
