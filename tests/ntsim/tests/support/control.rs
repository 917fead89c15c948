//! A driver with one named control device: administrators only, three codes, a cancellable wait.
//!
//! # Invariants
//! At most one request waits; it is found through the device's extension, under the cancel spin lock.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a raw driver is a run of kernel calls under one contract: that of the routine it is in"
)]
#![expect(clippy::cast_possible_truncation, reason = "constants of the headers are wider than the fields they go into")]

use core::ptr::null_mut;
use vck_ntsim::abi::*;

/// Adds one to every byte: buffered, any access.
pub(crate) const ADD_ONE: u32 = 0x0022_2000;
/// Needs write access on the handle.
pub(crate) const NEEDS_WRITE: u32 = 0x0022_A004;
/// Waits until it is cancelled.
pub(crate) const WAIT: u32 = 0x0022_2008;
/// Answers 1 when the caller's token is an administrator's.
pub(crate) const IS_ADMIN: u32 = 0x0022_200C;

fn string(units: &'static [u16]) -> UNICODE_STRING {
    let bytes = u16::try_from(units.len() * 2).unwrap_or(0);
    UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: units.as_ptr().cast_mut() }
}

const fn wide<const N: usize>(text: &[u8; N]) -> [u16; N] {
    let mut out = [0; N];
    let mut at = 0;
    while at < N {
        out[at] = text[at] as u16;
        at += 1;
    }
    out
}

static NAME: [u16; 18] = wide(br"\Device\NtsimProbe");
static LINK: [u16; 14] = wide(br"\??\NtsimProbe");
static SDDL: [u16; 30] = wide(b"D:P(A;;GA;;;SY)(A;;GRGW;;;BA) ");

/// `DriverEntry`.
///
/// # Safety
/// Called by the kernel.
pub(crate) unsafe extern "C" fn entry(driver: PDRIVER_OBJECT, _path: PUNICODE_STRING) -> NTSTATUS {
    // SAFETY: the kernel's driver object; the strings are static.
    unsafe {
        let (mut name, mut link, sddl) = (string(&NAME), string(&LINK), string(&SDDL));
        let mut device: PDEVICE_OBJECT = null_mut();
        let status = WdmlibIoCreateDeviceSecure(
            driver,
            8,
            &raw mut name,
            FILE_DEVICE_UNKNOWN,
            FILE_DEVICE_SECURE_OPEN,
            0,
            &raw const sddl,
            core::ptr::null(),
            &raw mut device,
        );
        if !NT_SUCCESS(status) {
            return status;
        }
        let status = IoCreateSymbolicLink(&raw mut link, &raw mut name);
        if !NT_SUCCESS(status) {
            IoDeleteDevice(device);
            return status;
        }
        (*driver).MajorFunction[IRP_MJ_CREATE as usize] = Some(succeed);
        (*driver).MajorFunction[IRP_MJ_CLOSE as usize] = Some(succeed);
        (*driver).MajorFunction[IRP_MJ_CLEANUP as usize] = Some(succeed);
        (*driver).MajorFunction[IRP_MJ_SHUTDOWN as usize] = Some(succeed);
        (*driver).MajorFunction[IRP_MJ_DEVICE_CONTROL as usize] = Some(control);
        (*driver).DriverUnload = Some(unload);
        IoRegisterShutdownNotification(device)
    }
}

unsafe extern "C" fn unload(driver: PDRIVER_OBJECT) {
    // SAFETY: the only device of the driver; no handle is open.
    unsafe {
        let mut link = string(&LINK);
        let _deleted = IoDeleteSymbolicLink(&raw mut link);
        IoUnregisterShutdownNotification((*driver).DeviceObject);
        IoDeleteDevice((*driver).DeviceObject);
    }
}

unsafe fn finish(irp: PIRP, status: NTSTATUS, information: u64) -> NTSTATUS {
    // SAFETY: the caller owns the IRP.
    unsafe {
        (*irp).IoStatus.__bindgen_anon_1.Status = status;
        (*irp).IoStatus.Information = information;
        IofCompleteRequest(irp, 0);
    }
    status
}

unsafe extern "C" fn succeed(_device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: dispatch owns the IRP.
    unsafe { finish(irp, STATUS_SUCCESS, 0) }
}

unsafe extern "C" fn control(_device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: dispatch owns the IRP; the buffer is as long as the stack location says.
    unsafe {
        let stack = (*irp).Tail.Overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation;
        let parameters = (*stack).Parameters.DeviceIoControl;
        let buffer = (*irp).AssociatedIrp.SystemBuffer.cast::<u8>();
        match parameters.IoControlCode {
            ADD_ONE => {
                for at in 0..parameters.InputBufferLength as usize {
                    *buffer.add(at) += 1;
                }
                finish(irp, STATUS_SUCCESS, parameters.InputBufferLength.into())
            }
            NEEDS_WRITE => finish(irp, STATUS_SUCCESS, 0),
            IS_ADMIN => {
                let token = PsReferencePrimaryToken(IoGetRequestorProcess(irp));
                let admin = SeTokenIsAdmin(token);
                PsDereferencePrimaryToken(token);
                *buffer = admin;
                finish(irp, STATUS_SUCCESS, 1)
            }
            WAIT => wait(irp, stack),
            _ => finish(irp, STATUS_INVALID_DEVICE_REQUEST, 0),
        }
    }
}

unsafe fn wait(irp: PIRP, stack: PIO_STACK_LOCATION) -> NTSTATUS {
    // SAFETY: the caller owns the IRP; the cancel spin lock orders this against `IoCancelIrp`.
    unsafe {
        let mut irql = 0;
        IoAcquireCancelSpinLock(&raw mut irql);
        if (*irp).Cancel != 0 {
            IoReleaseCancelSpinLock(irql);
            return finish(irp, STATUS_CANCELLED, 0);
        }
        (*irp).CancelRoutine = Some(cancelled);
        (*stack).Control |= SL_PENDING_RETURNED as u8;
        IoReleaseCancelSpinLock(irql);
    }
    STATUS_PENDING
}

unsafe extern "C" fn cancelled(_device: PDEVICE_OBJECT, irp: PIRP) {
    // SAFETY: called with the cancel spin lock held; the routine owns the IRP.
    unsafe {
        IoReleaseCancelSpinLock((*irp).CancelIrql);
        finish(irp, STATUS_CANCELLED, 0);
    }
}
