//! The carrier: which world, which simulated thread and whose code this OS thread is running.
//!
//! # Invariants
//! * `kernel` and `thread` are both null, or both point to objects that outlive the [`enter`] call that set them.
//! * `owner` is non-null only while driver code runs: the simulator clears it on the way in and restores it on the
//!   way out. The global allocator asks it whose allocation it sees.
//! * A coroutine is only ever suspended by simulator code, so `owner` is null at every switch.

use std::cell::Cell;
use std::ptr;

use super::xstate::{self, Image};
use crate::core::{Kernel, Rule, ThreadState};

struct Carrier {
    kernel: Cell<*const Kernel>,
    thread: Cell<*const ThreadState>,
    owner: Cell<*const Kernel>,
}

thread_local! {
    static CARRIER: Carrier =
        const { Carrier { kernel: Cell::new(ptr::null()), thread: Cell::new(ptr::null()), owner: Cell::new(ptr::null()) } };
}

/// Runs `f` with this OS thread carrying `thread` of `kernel`; restores what it carried before.
pub(crate) fn enter<R>(kernel: &Kernel, thread: Option<&ThreadState>, f: impl FnOnce() -> R) -> R {
    let thread = thread.map_or(ptr::null(), ptr::from_ref);
    let before = CARRIER.with(|c| (c.kernel.replace(kernel), c.thread.replace(thread), c.owner.replace(ptr::null())));
    let result = f();
    CARRIER.with(|c| {
        c.kernel.set(before.0);
        c.thread.set(before.1);
        c.owner.set(before.2);
    });
    result
}

/// Calls `f` with the world that this OS thread carries, if any.
pub(crate) fn with_kernel<R>(f: impl FnOnce(&Kernel) -> R) -> Option<R> {
    let kernel = CARRIER.with(|c| c.kernel.get());
    // SAFETY: first invariant of the module: non-null means alive for the whole `enter` call that we are inside of.
    unsafe { kernel.as_ref() }.map(f)
}

/// Calls `f` with the world and the simulated thread that this OS thread carries, if it carries a world.
pub(crate) fn with_carried<R>(f: impl FnOnce(&Kernel, Option<&ThreadState>) -> R) -> Option<R> {
    let (kernel, thread) = CARRIER.with(|c| (c.kernel.get(), c.thread.get()));
    // SAFETY: first invariant of the module.
    let thread = unsafe { thread.as_ref() };
    // SAFETY: first invariant of the module.
    unsafe { kernel.as_ref() }.map(|kernel| f(kernel, thread))
}

/// Calls `f` with the simulated thread that this OS thread carries, if any.
pub(crate) fn with_thread<R>(f: impl FnOnce(&ThreadState) -> R) -> Option<R> {
    let thread = CARRIER.with(|c| c.thread.get());
    // SAFETY: first invariant of the module.
    unsafe { thread.as_ref() }.map(f)
}

/// Calls `f` with the world whose driver code is running on this OS thread, if driver code is.
pub(crate) fn with_owner<R>(f: impl FnOnce(&Kernel) -> R) -> Option<R> {
    // `try_with`: the allocator also runs while the OS thread is being torn down.
    let owner = CARRIER.try_with(|c| c.owner.get()).unwrap_or(ptr::null());
    // SAFETY: second invariant of the module; the world outlives the code that runs in it.
    unsafe { owner.as_ref() }.map(f)
}

/// Whether a simulated thread of this OS thread is running driver code. Safe in a signal handler.
pub(crate) fn in_driver() -> bool {
    CARRIER.try_with(|c| !c.owner.get().is_null() && !c.thread.get().is_null()).unwrap_or(false)
}

/// Runs `f` as driver code of `kernel`: allocations belong to that world, extended processor state is watched.
pub(crate) fn as_driver<R>(kernel: &Kernel, what: &str, f: impl FnOnce() -> R) -> R {
    let before = CARRIER.with(|c| c.owner.replace(kernel));
    enter_driver(kernel);
    let result = f();
    leave_driver(kernel, what);
    CARRIER.with(|c| c.owner.set(before));
    result
}

/// Runs `f` as simulator code: allocations belong to the host. `what` is what driver code called, for a report.
pub(crate) fn as_simulator<R>(what: &str, f: impl FnOnce() -> R) -> R {
    let before = CARRIER.with(|c| c.owner.get());
    // SAFETY: second invariant of the module.
    let kernel = unsafe { before.as_ref() };
    if let Some(kernel) = kernel {
        leave_driver(kernel, what);
    }
    let result = f();
    CARRIER.with(|c| c.owner.set(before));
    if let Some(kernel) = kernel {
        enter_driver(kernel);
    }
    result
}

/// Loads extended processor state before driver code goes on: a pattern, and what it had itself inside a guard.
fn enter_driver(kernel: &Kernel) {
    let watched = kernel.watched_state;
    if watched != 0 {
        let _on_thread = with_thread(|thread| {
            let guarded = thread.guarded_state();
            Image::pattern().load(watched & !guarded);
            if guarded & watched != 0 {
                thread.with_live_state(|live| live.load(guarded & watched));
            }
        });
    }
}

/// Driver code is over, for now: its allocations end, and what it did to extended processor state is looked at.
fn leave_driver(kernel: &Kernel, what: &str) {
    let watched = kernel.watched_state;
    let inspect = |thread: &ThreadState| {
        let guarded = thread.guarded_state();
        Image::with_current(watched, |now| {
            if guarded & watched != 0 {
                thread.with_live_state(|live| live.take(now, guarded));
            }
            now.differences(Image::pattern(), watched & !guarded)
        })
    };
    let changed = if watched == 0 { 0 } else { with_thread(inspect).unwrap_or(0) };
    CARRIER.with(|c| c.owner.set(ptr::null()));
    if changed != 0 {
        let text = format!("{what}: {} changed outside a guard that covers it", xstate::names(changed));
        kernel.finding(Rule::SimdGuard, text);
    }
}

/// Marks the rest of this OS thread's work as the host's: for code that does not come back.
pub(crate) fn abandon_driver_mode() {
    let _torn_down = CARRIER.try_with(|c| c.owner.set(ptr::null()));
}
