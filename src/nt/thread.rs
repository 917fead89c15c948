//! System threads and processors.

use alloc::boxed::Box;
use core::ffi::c_void;
use core::ptr::{self, NonNull};

use vck_common::VckResult;

use super::irql::Passive;
use super::memory::{try_box, unbox_wiped};
use super::stack::on_wiped_stack;
use super::{check, sys};

/// A running system thread.
///
/// # Invariant
/// `object` is a referenced thread object.
pub struct Thread {
    object: NonNull<c_void>,
}

// SAFETY: a thread object may be waited for from any thread.
unsafe impl Send for Thread {}
// SAFETY: as above.
unsafe impl Sync for Thread {}

/// How urgent a thread's work is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// As that of programs.
    Normal,
    /// Requests of the system wait for it: above all programs (LOW_REALTIME_PRIORITY), as device drivers' threads are to be.
    Requests,
}

impl Priority {
    const LOW_REALTIME: sys::KPRIORITY = 16;
}

impl Thread {
    /// Starts `body` on a system thread of its own, at PASSIVE_LEVEL. `body` must end before its captures become invalid;
    /// nothing ends it from outside.
    pub fn spawn<F>(_: Passive, priority: Priority, body: F) -> VckResult<Self>
    where
        F: FnOnce(Passive) + Send + 'static,
    {
        let context = Box::into_raw(try_box(body)?);
        let mut handle = ptr::null_mut();
        // SAFETY: PASSIVE_LEVEL; the context passes to the thread.
        let status = unsafe {
            sys::PsCreateSystemThread(
                &raw mut handle,
                sys::THREAD_ALL_ACCESS,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                Some(start::<F>),
                context.cast(),
            )
        };
        if let Err(error) = check(status) {
            // SAFETY: the thread does not exist, so the context is still ours.
            drop(unbox_wiped(unsafe { Box::from_raw(context) }));
            return Err(error);
        }
        let mut object = ptr::null_mut();
        // SAFETY: a fresh kernel handle; no type check is needed for KernelMode.
        let status = unsafe {
            sys::ObReferenceObjectByHandle(
                handle,
                sys::THREAD_ALL_ACCESS,
                ptr::null_mut(),
                sys::_MODE::KernelMode as sys::KPROCESSOR_MODE,
                &raw mut object,
                ptr::null_mut(),
            )
        };
        // SAFETY: ours, closed once.
        let _ = unsafe { sys::ZwClose(handle) };
        match NonNull::new(object) {
            Some(object) if status == 0 => {
                if priority == Priority::Requests {
                    // SAFETY: a referenced thread object; PASSIVE_LEVEL. The old priority is of no interest.
                    let _ = unsafe { sys::KeSetPriorityThread(object.as_ptr().cast(), Priority::LOW_REALTIME) };
                }
                Ok(Self { object })
            }
            // None of the documented failures applies to a handle that was just made.
            _ => super::fatal(super::Fatal::ThreadObject, status as usize),
        }
    }

    /// Waits until the thread has ended.
    pub fn join(self, _: Passive) {
        // SAFETY: invariant; PASSIVE_LEVEL by the witness.
        let _ = unsafe {
            sys::KeWaitForSingleObject(
                self.object.as_ptr(),
                sys::_KWAIT_REASON::Executive,
                sys::_MODE::KernelMode as sys::KPROCESSOR_MODE,
                0,
                ptr::null_mut(),
            )
        };
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // SAFETY: the reference that `spawn` took.
        unsafe { sys::ObfDereferenceObject(self.object.as_ptr()) };
    }
}

unsafe extern "C" fn start<F: FnOnce(Passive) + Send + 'static>(context: sys::PVOID) {
    // Threads that seal metadata have keys on their stack, and nobody wipes it when it is freed.
    on_wiped_stack(|| run::<F>(context));
    // SAFETY: on the thread itself, at PASSIVE_LEVEL (bodies restore the IRQL).
    let _ = unsafe { sys::PsTerminateSystemThread(0) };
}

/// On a frame of its own, below the one that is there when the stack is wiped; and whatever it has is dropped when it returns, because
/// the routine that ends a thread does not return.
#[inline(never)]
fn run<F: FnOnce(Passive) + Send + 'static>(context: sys::PVOID) {
    // SAFETY: the box that `spawn` passed to this thread.
    let body = unbox_wiped(unsafe { Box::from_raw(context.cast::<F>()) });
    if let Some(passive) = Passive::check() {
        body(passive);
    }
}

/// Returns when every DPC that was queued before has run: completion routines of ours that had let their request go may still have been
/// on their way out.
pub fn flush_queued_dpcs(_: Passive) {
    // SAFETY: PASSIVE_LEVEL by the witness.
    unsafe { sys::KeFlushQueuedDpcs() };
}

/// Number of active processors of all groups. IRQL <= DISPATCH_LEVEL.
#[must_use]
pub fn processor_count() -> usize {
    const ALL_GROUPS: u16 = 0xFFFF;
    // SAFETY: any IRQL up to DISPATCH_LEVEL.
    unsafe { sys::KeQueryActiveProcessorCountEx(ALL_GROUPS) }.max(1) as usize
}

/// Number of the processor that runs this; may be stale at once below DISPATCH_LEVEL. Any IRQL.
#[must_use]
pub fn processor_number() -> usize {
    // SAFETY: any IRQL; the optional output is not wanted.
    unsafe { sys::KeGetCurrentProcessorNumberEx(ptr::null_mut()) as usize }
}

/// Bytes left on the current kernel stack. IRQL <= DISPATCH_LEVEL.
#[must_use]
pub fn remaining_stack() -> usize {
    let mut low: sys::ULONG_PTR = 0;
    let mut high: sys::ULONG_PTR = 0;
    // SAFETY: both are writable.
    unsafe { sys::IoGetStackLimits(&raw mut low, &raw mut high) };
    (&raw const low).addr().saturating_sub(low as usize)
}
