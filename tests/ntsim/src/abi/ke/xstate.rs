//! Extended processor state.
//!
//! What the driver's code has in the registers at a call into the simulator is captured there; the save takes it from the
//! capture, and the restore has it loaded when the driver goes on. x87 and SSE registers are not: every call may change
//! those, so that no compiled code could tell.

use crate::abi::routine::routines;
use crate::abi::*;
use crate::core::{Kernel, Rule, ThreadState};
use crate::host::xstate::{self, LEGACY};

fn save(kernel: &Kernel, mask: ULONG64, state: PXSTATE_SAVE) -> NTSTATUS {
    let enabled = kernel.enabled_features();
    if mask & !enabled != 0 {
        kernel.finding(Rule::SimdGuard, format!("extended state saved with mask {mask:#x}, enabled {enabled:#x}"));
    }
    if kernel.guarded_at().is_some_and(|outer| outer > kernel.irql()) {
        kernel.finding(Rule::SimdGuard, "extended state saved at a lower IRQL than around it");
    }
    if mask & !LEGACY != 0 && kernel.allocation_fails() {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    let _outside = kernel.with_thread(|thread| thread.save_state(state.expose_provenance(), mask));
    STATUS_SUCCESS
}

fn restore(kernel: &Kernel, state: PXSTATE_SAVE) {
    match kernel.with_thread(ThreadState::restore_state).flatten() {
        Some(saved) if saved.address != state.addr() => {
            kernel.finding(Rule::SimdGuard, "extended state restored out of order");
        }
        Some(saved) if saved.irql != kernel.irql() => {
            let text = format!("extended state saved at IRQL {}, restored at {}", saved.irql, kernel.irql());
            kernel.finding(Rule::SimdGuard, text);
        }
        Some(_) => {}
        None => kernel.finding(Rule::SimdGuard, "extended state restored on a thread that saved none"),
    }
}

impl Kernel {
    /// The extended processor features of this world.
    pub(crate) fn enabled_features(&self) -> u64 {
        xstate::enabled() & (self.config().extended_features | LEGACY)
    }

    /// The IRQL at which the current thread saved extended state that it has not restored yet.
    pub(crate) fn guarded_at(&self) -> Option<u8> {
        self.with_thread(ThreadState::guarded_at).flatten()
    }
}

routines! {
    /// Which of the features in the mask the system has enabled. Any IRQL (documented: at or below DISPATCH_LEVEL).
    fn RtlGetEnabledExtendedFeatures(FeatureMask: ULONG64) -> ULONG64, max 2 => |k| { FeatureMask & k.enabled_features() }

    /// Saves extended processor state before code that uses it; STATUS_INSUFFICIENT_RESOURCES when there is no memory.
    /// At or below DISPATCH_LEVEL. Pairs are nested; an inner pair is not at a lower IRQL than the outer one; the mask
    /// names enabled features only.
    fn KeSaveExtendedProcessorState(Mask: ULONG64, XStateSave: PXSTATE_SAVE) -> NTSTATUS, max 2 => |k| {
        save(k, Mask, XStateSave)
    }

    /// Restores what the matching call saved: same thread, same IRQL, innermost first. At or below DISPATCH_LEVEL.
    fn KeRestoreExtendedProcessorState(XStateSave: PXSTATE_SAVE), max 2 => |k| { restore(k, XStateSave); }
}
