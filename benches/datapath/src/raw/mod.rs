//! Raw kernel code of the measurements: the load that is put on top of a stack, and filters to compare with.
//!
//! The one module of the package with `unsafe` code.

#![expect(unsafe_code, reason = "load and filters are drivers, written against the kernel's raw interface")]
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a raw driver is a run of kernel calls under one contract: that of the routine it is in"
)]
#![cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "the kernel's names, as a driver sees them"))]
#![expect(clippy::cast_possible_truncation, reason = "constants of the headers are wider than the fields they go into")]

mod clock;
mod filter;
mod load;
mod shell;

pub(crate) use clock::{current_processor, machine_time, preemptions, process_time, stay_on, thread_time};
pub(crate) use filter::{pass_through, serial};
pub(crate) use load::{Load, Outcome, Pattern, run, serve};
pub(crate) use shell::shell;

use vck_ntsim::abi::*;

/// The current stack location of an IRP.
///
/// # Safety
/// The caller owns the IRP.
unsafe fn location(irp: PIRP) -> PIO_STACK_LOCATION {
    // SAFETY: the caller's contract.
    unsafe { (*irp).Tail.Overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation }
}

/// A completion routine's `Control` for every outcome.
const ALWAYS: u8 = (SL_INVOKE_ON_SUCCESS | SL_INVOKE_ON_ERROR | SL_INVOKE_ON_CANCEL) as u8;

/// Wakes whoever waits for an IRP, and leaves it to them.
unsafe extern "C" fn wake(_: PDEVICE_OBJECT, irp: PIRP, event: PVOID) -> NTSTATUS {
    // SAFETY: ours during the routine; the context is the waiter's event, waited for exactly when the call returned pending.
    unsafe {
        if (*irp).PendingReturned != 0 {
            KeSetEvent(event.cast(), 0, 0);
        }
    }
    STATUS_MORE_PROCESSING_REQUIRED
}
