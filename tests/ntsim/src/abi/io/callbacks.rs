//! Calls into drivers, and reads and writes through pointers that drivers pass to routines.
//!
//! # Invariants
//! * A routine pointer was stored by a driver in an object of this world, with the type that the field has.
//! * A pointer argument of a routine is valid for what the routine's documented contract says (the caller of the
//!   routine, which is an `unsafe fn`, vouches for that).

use super::view::{Device, Driver, Irp};
use crate::abi::*;
use crate::core::Kernel;
use crate::host::page_heap;

/// Calls the dispatch routine of a major function; `STATUS_INVALID_DEVICE_REQUEST` is the kernel's own when none is set
/// (the caller completes the IRP then).
pub(crate) fn dispatch(k: &Kernel, driver: Driver, major: u8, device: Device, irp: Irp) -> Option<NTSTATUS> {
    let routine = (*driver.majors().get(usize::from(major))?)?;
    let call = || {
        // SAFETY: first invariant of the module; the device and the IRP are alive.
        unsafe { routine(device.ptr(), irp.ptr()) }
    };
    Some(k.outside_regions(|| k.call_driver("dispatch routine", call)))
}

/// Calls a completion routine.
pub(crate) fn completion(
    k: &Kernel,
    routine: PIO_COMPLETION_ROUTINE,
    device: PDEVICE_OBJECT,
    irp: Irp,
    context: PVOID,
) -> NTSTATUS {
    let Some(routine) = routine else { return STATUS_SUCCESS };
    k.call_driver("completion routine", || {
        // SAFETY: first invariant of the module.
        unsafe { routine(device, irp.ptr(), context) }
    })
}

/// Calls a cancel routine, which releases the cancel spin lock itself and with it lowers the IRQL.
pub(crate) fn cancel(k: &Kernel, routine: PDRIVER_CANCEL, device: PDEVICE_OBJECT, irp: Irp) {
    if let Some(routine) = routine {
        k.call_driver_releasing("cancel routine", || {
            // SAFETY: first invariant of the module.
            unsafe { routine(device, irp.ptr()) }
        });
    }
}

/// Calls `DriverEntry`.
pub(crate) fn entry(
    k: &Kernel,
    routine: unsafe extern "C" fn(PDRIVER_OBJECT, PUNICODE_STRING) -> NTSTATUS,
    driver: Driver,
    path: PUNICODE_STRING,
) -> NTSTATUS {
    k.call_driver("DriverEntry", || {
        // SAFETY: first invariant of the module; both arguments live as long as the driver object.
        unsafe { routine(driver.ptr(), path) }
    })
}

/// Calls `AddDevice`.
pub(crate) fn add_device(k: &Kernel, routine: PDRIVER_ADD_DEVICE, driver: Driver, pdo: Device) -> NTSTATUS {
    let Some(routine) = routine else { return STATUS_SUCCESS };
    k.call_driver("AddDevice", || {
        // SAFETY: first invariant of the module.
        unsafe { routine(driver.ptr(), pdo.ptr()) }
    })
}

/// Calls `DriverUnload`.
pub(crate) fn unload(k: &Kernel, routine: PDRIVER_UNLOAD, driver: Driver) {
    if let Some(routine) = routine {
        k.call_driver("DriverUnload", || {
            // SAFETY: first invariant of the module.
            unsafe { routine(driver.ptr()) }
        });
    }
}

/// A pointer's target as the simulator reaches it: drivers may be kept from it at the moment.
fn seen<T>(pointer: *mut T) -> *mut T {
    let address = pointer.expose_provenance();
    if page_heap::contains(address) {
        std::ptr::with_exposed_provenance_mut(page_heap::alias(address))
    } else {
        pointer
    }
}

/// Reads a value that a routine's caller points to; `None` for a null pointer.
pub(crate) fn get<T: Copy>(pointer: *const T) -> Option<T> {
    // SAFETY: second invariant of the module; null is sorted out first.
    (!pointer.is_null()).then(|| unsafe { seen(pointer.cast_mut()).read_unaligned() })
}

/// Stores a value where a routine's caller wants it; a null pointer is left alone.
pub(crate) fn put<T>(pointer: *mut T, value: T) {
    if !pointer.is_null() {
        // SAFETY: second invariant of the module.
        unsafe { seen(pointer).write_unaligned(value) }
    }
}

/// Text of a counted string; `None` for a null pointer.
pub(crate) fn text(string: PCUNICODE_STRING) -> Option<String> {
    let string = get(string)?;
    let units: Vec<u16> =
        (0..usize::from(string.Length) / 2).map_while(|at| get(string.Buffer.cast_const().wrapping_add(at))).collect();
    Some(String::from_utf16_lossy(&units))
}
/// Signals a driver's event through its routine.
pub(crate) fn set_event(event: PKEVENT) {
    if !event.is_null() {
        // SAFETY: second invariant of the module: the event was initialised by its owner.
        unsafe { KeSetEvent(event, 0, 0) };
    }
}
