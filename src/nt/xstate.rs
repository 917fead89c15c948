//! Extended processor state: permission to use wide vector registers for a while.
//!
//! # Invariants
//! * What is saved is restored on the same thread, at the same IRQL, innermost first (`KeRestoreExtendedProcessorState`): the saved
//!   state lives in a frame that encloses the code that uses the registers, and is never moved.
//! * Registers are offered only if the system has enabled all of their state and has saved it. A save that fails, or an IRQL above
//!   APC_LEVEL, means that none are offered; it is never an error.
//!
//! # Ordering rules
//! The code that runs under a saved state computes: it does not wait, change the IRQL, take a lock, or call another driver.

use vck_common::xts::{ExtendedMask, WideRegisters};

use super::irql::ApcOrBelow;
use super::sys;

/// Saved state, restored on drop.
///
/// # Invariant
/// `save` was filled by `KeSaveExtendedProcessorState` at this address, on this thread, at the current IRQL.
struct Saved<'a>(&'a mut sys::XSTATE_SAVE);

impl Drop for Saved<'_> {
    fn drop(&mut self) {
        // SAFETY: invariant.
        unsafe { sys::KeRestoreExtendedProcessorState(&raw mut *self.0) };
    }
}

/// Those parts of `wanted` that the system has enabled in full.
fn enabled(wanted: ExtendedMask) -> ExtendedMask {
    // SAFETY: IRQL <= DISPATCH_LEVEL is the contract of the one caller.
    let enabled = ExtendedMask::from_bits_truncate(unsafe { sys::RtlGetEnabledExtendedFeatures(wanted.bits()) });
    let whole = |part: ExtendedMask| if enabled.contains(part) { part & wanted } else { ExtendedMask::empty() };
    // The registers of AVX-512 contain those of AVX.
    match whole(ExtendedMask::AVX) {
        avx if avx.is_empty() => avx,
        avx => avx | whole(ExtendedMask::AVX512),
    }
}

/// Runs `body` with as many of the `wanted` registers as can be had, or with none. IRQL <= DISPATCH_LEVEL.
///
/// Saving costs some hundred nanoseconds and may allocate: once for a batch of work, not once for each piece.
#[inline(never)] // The saved state is not to take stack from whoever calls down later.
pub fn with_wide_registers<R>(wanted: ExtendedMask, body: impl FnOnce(Option<WideRegisters<'_>>) -> R) -> R {
    if wanted.is_empty() || ApcOrBelow::check().is_none() {
        return body(None);
    }
    let mask = enabled(wanted);
    if mask.is_empty() {
        return body(None);
    }
    // SAFETY: plain data, which the routine fills.
    let mut save: sys::XSTATE_SAVE = unsafe { core::mem::zeroed() };
    // SAFETY: IRQL <= DISPATCH_LEVEL; the mask names enabled features alone; `save` stays where it is until it is restored.
    if unsafe { sys::KeSaveExtendedProcessorState(mask.bits(), &raw mut save) } != 0 {
        return body(None);
    }
    let _saved = Saved(&mut save);
    // SAFETY: saved above and restored after `body`; the permission cannot leave `body`, as its lifetime is the closure's.
    body(Some(unsafe { WideRegisters::new(mask) }))
}
