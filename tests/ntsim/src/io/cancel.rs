//! Cancellation: `IoCancelIrp` and the system-wide cancel spin lock.

use super::lock;
use crate::abi::io::callbacks;
use crate::abi::io::view::Irp;
use crate::core::{Kernel, Rule, ThreadId, ThreadState};

/// Key on which a release of the cancel spin lock is announced.
const KEY: usize = (1 << 61) | 1;
const DISPATCH_LEVEL: u8 = 2;

/// The cancel spin lock.
#[derive(Debug, Default)]
pub(crate) struct CancelLock {
    held: bool,
    owner: Option<ThreadId>,
}

impl Kernel {
    /// `IoAcquireCancelSpinLock`: the IRQL to go back to.
    pub(crate) fn cancel_acquire(&self) -> u8 {
        let me = self.with_thread(ThreadState::id);
        let recursive = {
            let state = lock(&self.io.cancel_lock);
            state.held && state.owner == me
        };
        if recursive {
            self.finding(Rule::LockRecursion, "the cancel spin lock is taken by the thread that holds it".to_owned());
        }
        let old = self.set_irql(DISPATCH_LEVEL);
        let _acquired = self.block_at_any_irql(&[KEY], None, "the cancel spin lock", || {
            let mut state = lock(&self.io.cancel_lock);
            let free = !state.held;
            if free {
                *state = CancelLock { held: true, owner: me };
            }
            free.then_some(())
        });
        old
    }

    /// `IoReleaseCancelSpinLock`.
    pub(crate) fn cancel_release(&self, irql: u8) {
        let me = self.with_thread(ThreadState::id);
        let wrong = {
            let mut state = lock(&self.io.cancel_lock);
            let wrong = !state.held || state.owner != me;
            *state = CancelLock::default();
            wrong
        };
        if wrong {
            self.finding(Rule::LockNotHeld, "the cancel spin lock is released by a thread that does not hold it");
        }
        self.set_irql(irql);
        self.wake(KEY);
    }

    /// `IoCancelIrp`: true when a cancel routine was called.
    pub(crate) fn cancel_irp(&self, irp: Irp) -> bool {
        let old = self.cancel_acquire();
        irp.set_cancelled(true);
        let routine = irp.take_cancel_routine();
        if routine.is_none() {
            self.cancel_release(old);
            return false;
        }
        irp.set_cancel_irql(old);
        let location = irp.current_location();
        let device = irp.stack_at(location.min(irp.stack_count())).device();
        callbacks::cancel(self, routine, device, irp);
        let me = self.with_thread(ThreadState::id);
        let kept = {
            let state = lock(&self.io.cancel_lock);
            state.held && state.owner == me
        };
        if kept || self.irql() != old {
            self.finding(Rule::LockLeaked, "a cancel routine returned without releasing the cancel spin lock");
        }
        true
    }
}
