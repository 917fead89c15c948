//! The macro that emits routines, and what happens on every way in and out of the simulator.

use std::sync::atomic::Ordering;

use crate::core::{Kernel, Rule, ThreadState};
use crate::host::{coroutine, tls};

/// Emits each routine twice over one body: `extern "C"` for drivers linked into the test program, and, in the
/// submodule `win64`, `extern "win64"` for a loaded image. The body sees the world as the identifier named before
/// `=>`; `max` is the documented maximum IRQL.
///
/// ```text
/// routines! {
///     /// What it does; contract.
///     fn KeSetEvent(Event: PRKEVENT, Increment: KPRIORITY, Wait: BOOLEAN) -> LONG, max DISPATCH_LEVEL => |k| { ... }
/// }
/// ```
macro_rules! routines {
    ($($(#[doc = $doc:literal])+ fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ident)?, max $max:expr => |$k:ident| $body:block)+) => {
        $(
            $crate::abi::routine::routine! {
                "C" $(#[doc = $doc])+ fn $name($($arg: $ty),*) $(-> $ret)?, max $max => |$k| $body
            }
        )+

        /// The same routines under the calling convention of a Windows image.
        pub(crate) mod win64 {
            use super::*;
            $(
                $crate::abi::routine::routine! {
                    "win64" $(#[doc = $doc])+ fn $name($($arg: $ty),*) $(-> $ret)?, max $max => |$k| $body
                }
            )+
        }
    };
}
pub(crate) use routines;

/// Emits one routine. A returned NTSTATUS must be looked at, as with `wdk_sys`.
macro_rules! routine {
    ($abi:literal $(#[doc = $doc:literal])+ fn $name:ident($($arg:ident: $ty:ty),*) -> NTSTATUS, max $max:expr => |$k:ident| $body:block) => {
        $(#[doc = $doc])+
        #[must_use]
        pub unsafe extern $abi fn $name($($arg: $ty),*) -> NTSTATUS {
            $crate::abi::routine::enter(stringify!($name), $max, |$k| $body)
        }
    };
    ($abi:literal $(#[doc = $doc:literal])+ fn $name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ident)?, max $max:expr => |$k:ident| $body:block) => {
        $(#[doc = $doc])+
        pub unsafe extern $abi fn $name($($arg: $ty),*) $(-> $ret)? {
            $crate::abi::routine::enter(stringify!($name), $max, |$k| $body)
        }
    };
}
pub(crate) use routine;

/// An argument that the model has no use for.
pub(crate) fn ignored<T>(_argument: T) {}

/// The way into the simulator: allocations become the host's, the driver's stack is measured, the IRQL is checked,
/// another thread may run.
///
/// # Panics
/// When called outside every world.
pub(crate) fn enter<R>(name: &'static str, max_irql: u8, body: impl FnOnce(&Kernel) -> R) -> R {
    let pointer = coroutine::stack_pointer();
    let result = tls::as_simulator(name, || {
        tls::with_carried(|kernel, thread| {
            if let Some(thread) = thread {
                kernel.check_routine(thread, name, max_irql, pointer);
            }
            kernel.preempt();
            let guarded = thread.and_then(ThreadState::guarded_at);
            let result = body(kernel);
            if guarded.is_some_and(|irql| irql != kernel.irql()) && kernel.guarded_at().is_some() {
                kernel.finding(Rule::SimdGuard, format!("{name} changed the IRQL while extended state is saved"));
            }
            result
        })
    });
    match result {
        Some(result) => result,
        None => panic!("{name} was called outside every simulated world"),
    }
}

impl Kernel {
    /// What every routine checks: accounts for the driver frames below the call, looks at the IRQL and at closed gates.
    fn check_routine(&self, thread: &ThreadState, name: &str, max_irql: u8, pointer: usize) {
        if let Some((used, limit)) = thread.stack_used(pointer) {
            self.finding(Rule::StackOverrun, format!("{used} bytes of driver frames at {name}, the stack has {limit}"));
        }
        let irql = thread.irql();
        if irql > max_irql {
            self.finding(Rule::IrqlTooHigh, format!("{name} at IRQL {irql}, documented maximum {max_irql}"));
        }
        if thread.regions.load(Ordering::Relaxed) > 0 {
            self.check_region_routine(name, max_irql);
        }
    }

    /// Calls into the driver: the one way in which simulator code may do it. `f` must do nothing but the call.
    ///
    /// Checks that the callback returns at the IRQL it was entered at and with the locks it was entered with.
    pub fn call_driver<R>(&self, what: &str, f: impl FnOnce() -> R) -> R {
        self.call_driver_at(what, true, f)
    }

    /// [`Kernel::call_driver`] for a callback that is to return at another IRQL, which its caller checks.
    pub(crate) fn call_driver_releasing<R>(&self, what: &str, f: impl FnOnce() -> R) -> R {
        self.call_driver_at(what, false, f)
    }

    fn call_driver_at<R>(&self, what: &str, same_irql: bool, f: impl FnOnce() -> R) -> R {
        let before = tls::with_thread(|thread| thread.enter_callback(coroutine::stack_pointer(), same_irql));
        let result = tls::as_driver(self, what, || outlined(f));
        if let Some(before) = before {
            let wrong = tls::with_thread(|thread| thread.leave_callback(&before)).flatten();
            if let Some((rule, text)) = wrong {
                self.finding(rule, format!("{what}: {text}"));
            }
        }
        result
    }
}

/// Keeps the driver's frame apart from the simulator's, so that all of it lies beyond the measured base.
#[inline(never)]
fn outlined<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// What a callback must give back as it found it.
pub(crate) struct CallbackFrame {
    base: usize,
    outer: usize,
    /// `None` when the callback changes it.
    irql: Option<u8>,
    critical_depth: u32,
    guarded_depth: u32,
    locks: usize,
    saved_states: usize,
}

impl ThreadState {
    fn stack_used(&self, pointer: usize) -> Option<(usize, usize)> {
        use std::sync::atomic::Ordering::Relaxed;
        let base = self.stack.base.load(Relaxed);
        if base == 0 {
            return None;
        }
        let used = self.stack.outer.load(Relaxed) + base.saturating_sub(pointer);
        self.stack.last_used.store(used, Relaxed);
        // Not one operation: the thread alone changes it.
        if used > self.stack.high_water.load(Relaxed) {
            self.stack.high_water.store(used, Relaxed);
        }
        let limit = self.stack.limit.load(Relaxed);
        (used > limit).then_some((used, limit))
    }

    fn enter_callback(&self, pointer: usize, same_irql: bool) -> CallbackFrame {
        use std::sync::atomic::Ordering::Relaxed;
        let frame = CallbackFrame {
            base: self.stack.base.load(Relaxed),
            outer: self.stack.outer.load(Relaxed),
            irql: same_irql.then(|| self.irql()),
            critical_depth: self.critical_depth(),
            guarded_depth: self.guarded_depth(),
            locks: self.held_count(),
            saved_states: self.saved_count(),
        };
        self.stack.outer.store(self.stack.last_used.load(Relaxed), Relaxed);
        self.stack.base.store(pointer, Relaxed);
        frame
    }

    fn leave_callback(&self, frame: &CallbackFrame) -> Option<(Rule, String)> {
        use std::sync::atomic::Ordering::Relaxed;
        self.stack.last_used.store(self.stack.outer.load(Relaxed), Relaxed);
        self.stack.base.store(frame.base, Relaxed);
        self.stack.outer.store(frame.outer, Relaxed);
        if let Some(entered) = frame.irql
            && entered != self.irql()
        {
            let text = format!("entered at IRQL {entered}, returned at {}", self.irql());
            return Some((Rule::IrqlChangedOnReturn, text));
        }
        let locks = self.held_count();
        if locks > frame.locks {
            return Some((Rule::LockLeaked, format!("returned with {} locks still held", locks - frame.locks)));
        }
        if self.saved_count() != frame.saved_states {
            return Some((Rule::SimdGuard, "returned with extended processor state still saved".to_owned()));
        }
        if self.critical_depth() != frame.critical_depth || self.guarded_depth() != frame.guarded_depth {
            return Some((Rule::LockLeaked, "returned in another depth of critical or guarded regions".to_owned()));
        }
        None
    }
}
