//! Stackful coroutines for the deterministic scheduler.
//!
//! # Invariants
//! * The address in `ThreadState::yielder` is that of the yielder that corosensei gave to the coroutine's own body;
//!   it stays valid until that body returns, and only code running on that coroutine reads it.

use corosensei::stack::{DefaultStack, Stack};
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::sync::atomic::Ordering;

use crate::core::ThreadState;

/// Bytes of address space of one coroutine: simulator frames and test code run on it as well as the driver, so it
/// is far larger than the kernel stack that the driver's frames are measured against.
pub(crate) const HOST_STACK_BYTES: usize = 1 << 20;

/// A simulated thread that can be resumed.
pub(crate) struct Fiber {
    inner: Coroutine<(), (), (), DefaultStack>,
}

/// What a fiber did with its turn.
pub(crate) enum Turn {
    /// It gave up the processor and can be resumed.
    Suspended(Fiber),
    /// Its body returned; the stack can be used again.
    Ended(DefaultStack),
}

impl Fiber {
    /// A fiber that will run `body` on `stack`.
    pub(crate) fn new(stack: DefaultStack, thread: std::sync::Arc<ThreadState>, body: impl FnOnce() + 'static) -> Self {
        let inner = Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
            thread.yielder.store(std::ptr::from_ref(yielder).expose_provenance(), Ordering::Relaxed);
            drop(thread);
            body();
        });
        Self { inner }
    }

    /// Lets it run until it suspends itself or ends.
    pub(crate) fn resume(mut self) -> Turn {
        match self.inner.resume(()) {
            CoroutineResult::Yield(()) => Turn::Suspended(self),
            CoroutineResult::Return(()) => Turn::Ended(self.inner.into_stack()),
        }
    }

    /// Forgets a fiber in the middle of its work: the power is gone, no destructor runs.
    pub(crate) fn abandon(mut self) -> DefaultStack {
        if self.inner.started() {
            // SAFETY: the frames are never executed again; what they own is leaked on purpose (driver memory is
            // released with the arena), and nothing outside holds a reference into the stack once the world stopped.
            unsafe { self.inner.force_reset() };
        } else {
            // Only the body's captures exist; corosensei drops them without unwinding.
            self.inner.force_unwind();
        }
        self.inner.into_stack()
    }
}

/// A fresh stack with a guard page.
pub(crate) fn new_stack() -> DefaultStack {
    match DefaultStack::new(HOST_STACK_BYTES) {
        Ok(stack) => stack,
        Err(error) => panic!("cannot map a coroutine stack: {error}"),
    }
}

/// What is left of the first `count` bytes of frames on a stack that nobody runs on.
pub(crate) fn first_frames(stack: &DefaultStack, count: usize) -> &[u8] {
    let count = count.min(stack.base().get() - stack.limit().get());
    let start = std::ptr::with_exposed_provenance(stack.base().get() - count);
    // SAFETY: mapped memory of the stack, which lives as long as the borrow; nobody runs on it.
    unsafe { std::slice::from_raw_parts(start, count) }
}

/// Gives up the processor; returns when the scheduler resumes this coroutine. Must be called on `thread`'s coroutine.
pub(crate) fn suspend(thread: &ThreadState) {
    let address = thread.yielder.load(Ordering::Relaxed);
    let yielder = std::ptr::with_exposed_provenance::<Yielder<(), ()>>(address);
    // SAFETY: invariant of the module; the scheduler resumes a coroutine only on its own carrier.
    let yielder = unsafe { &*yielder };
    yielder.suspend(());
}

/// The address of a local of the caller's callee: close enough to the stack pointer to measure frames with.
#[inline(never)]
pub(crate) fn stack_pointer() -> usize {
    let marker = 0_u8;
    std::hint::black_box(&raw const marker).addr()
}
