//! Extended processor state.
//!
//! Nothing is saved for real: simulated threads switch only inside calls into the simulator, and compiled code expects
//! such calls to destroy vector registers. What is checked is the protocol.

use crate::abi::routine::routines;
use crate::abi::*;
use crate::core::{Kernel, Rule, SavedState};

const LEGACY: u64 = 0b11;
const AVX: u64 = 0b100;
const AVX512: u64 = 0b1110_0000;

fn enabled() -> u64 {
    let mut mask = LEGACY;
    if std::arch::is_x86_feature_detected!("avx") {
        mask |= AVX;
    }
    if std::arch::is_x86_feature_detected!("avx512f") {
        mask |= AVX512;
    }
    mask
}

fn save(kernel: &Kernel, mask: ULONG64, state: PXSTATE_SAVE) -> NTSTATUS {
    if mask & !enabled() != 0 {
        kernel.finding(Rule::SimdGuard, format!("extended state saved with mask {mask:#x}, enabled {:#x}", enabled()));
    }
    let irql = kernel.irql();
    let lower = kernel.with_thread(|thread| thread.saved_states().last().is_some_and(|outer| outer.irql > irql));
    if lower == Some(true) {
        kernel.finding(Rule::SimdGuard, "extended state saved at a lower IRQL than around it");
    }
    if mask & !LEGACY != 0 && kernel.allocation_fails() {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    let saved = SavedState { address: state.expose_provenance(), irql };
    let _outside = kernel.with_thread(|thread| thread.saved_states().push(saved));
    STATUS_SUCCESS
}

fn restore(kernel: &Kernel, state: PXSTATE_SAVE) {
    let last = kernel.with_thread(|thread| thread.saved_states().pop()).flatten();
    match last {
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

routines! {
    /// Which of the features in the mask the system has enabled. Any IRQL (documented: at or below DISPATCH_LEVEL).
    fn RtlGetEnabledExtendedFeatures(FeatureMask: ULONG64) -> ULONG64, max 2 => |_k| { FeatureMask & enabled() }

    /// Saves extended processor state before code that uses it; STATUS_INSUFFICIENT_RESOURCES when there is no memory.
    /// At or below DISPATCH_LEVEL. Pairs are nested; an inner pair is not at a lower IRQL than the outer one; the mask
    /// names enabled features only.
    fn KeSaveExtendedProcessorState(Mask: ULONG64, XStateSave: PXSTATE_SAVE) -> NTSTATUS, max 2 => |k| {
        save(k, Mask, XStateSave)
    }

    /// Restores what the matching call saved: same thread, same IRQL, innermost first. At or below DISPATCH_LEVEL.
    fn KeRestoreExtendedProcessorState(XStateSave: PXSTATE_SAVE), max 2 => |k| { restore(k, XStateSave); }
}
