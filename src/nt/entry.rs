//! The way from the raw DriverEntry call into safe code.

use vck_common::{NtStatus, VckResult};

use super::driver::{DriverCallbacks, DriverObject};
use super::irql::Passive;
use super::sys;

/// What the entry shim receives; opaque to the crates that expand it.
#[expect(non_camel_case_types, reason = "the kernel's names")]
pub mod raw {
    use super::sys;

    /// The status that DriverEntry returns.
    pub type NTSTATUS = sys::NTSTATUS;
    /// The driver's registry key.
    pub type PUNICODE_STRING = sys::PUNICODE_STRING;
    /// The driver object.
    pub type PDRIVER_OBJECT = sys::PDRIVER_OBJECT;
}

/// Builds the driver's state with `build` and starts it with `start`; the status for DriverEntry to return.
///
/// # Safety
/// `driver` is the argument of the DriverEntry call in progress.
pub unsafe fn enter_driver<D: DriverCallbacks>(
    driver: sys::PDRIVER_OBJECT,
    build: impl FnOnce(Passive) -> VckResult<D>,
    start: impl FnOnce(&'static D, Passive, DriverObject) -> VckResult<()>,
) -> sys::NTSTATUS {
    super::print::install();
    let Some(passive) = Passive::check() else { return NtStatus::INVALID_DEVICE_STATE.0 };
    // SAFETY: the caller's contract.
    let entered = unsafe { DriverObject::from_raw(driver) }.and_then(|driver| {
        let state = build(passive)?;
        // SAFETY: DriverEntry is in progress, and this is its only call of `install`.
        let state = unsafe { super::driver::install(driver, state) }?;
        let started = start(state, passive, driver);
        if started.is_err() {
            // DriverEntry failed: the I/O manager will call neither AddDevice nor unload.
            drop(super::driver::take_state::<D>(driver));
        }
        started
    });
    match entered {
        Ok(()) => 0,
        Err(error) => {
            log::error!("the driver does not start: {error}");
            error.status().0
        }
    }
}
