//! A filter that makes the kernel calls which the driver makes for a READ or WRITE of the cipher side, in their order, and does
//! nothing else. What it costs more than a filter that passes everything through is the kernel's part of what the driver costs more.

use core::ptr::null_mut;
use vck_ntsim::abi::*;

use super::filter::{acquire, add_device, extension, fill_in, refuse, release};
use super::{ALWAYS, location};

/// Entry point.
pub(crate) unsafe extern "C" fn shell(driver: PDRIVER_OBJECT, _: PUNICODE_STRING) -> NTSTATUS {
    // SAFETY: DriverEntry's driver object.
    unsafe {
        let status = fill_in(driver, add_device);
        (*driver).MajorFunction[IRP_MJ_READ as usize] = Some(read);
        (*driver).MajorFunction[IRP_MJ_WRITE as usize] = Some(write);
        status
    }
}

unsafe extern "C" fn read(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: dispatch: device and IRP are ours.
    unsafe {
        let status = begin(device, irp);
        if !NT_SUCCESS(status) {
            return refuse(irp, status);
        }
        (*location(irp)).Control |= SL_PENDING_RETURNED as u8;
        let _status = send(device, irp, read_done);
    }
    STATUS_PENDING
}

unsafe extern "C" fn write(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: dispatch: device and IRP are ours.
    unsafe {
        let status = begin(device, irp);
        if !NT_SUCCESS(status) {
            return refuse(irp, status);
        }
        let (mut low, mut high) = (0, 0);
        IoGetStackLimits(&raw mut low, &raw mut high);
        send(device, irp, write_done)
    }
}

/// The way in: remove lock, IRQL, processor.
unsafe fn begin(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: as for the dispatch routine.
    unsafe {
        let status = acquire(extension(device), irp);
        core::hint::black_box((KeGetCurrentIrql(), KeGetCurrentProcessorNumberEx(null_mut())));
        status
    }
}

type Routine = unsafe extern "C" fn(PDEVICE_OBJECT, PIRP, PVOID) -> NTSTATUS;

unsafe fn send(device: PDEVICE_OBJECT, irp: PIRP, routine: Routine) -> NTSTATUS {
    // SAFETY: the IRP is ours and has a location left: StackSize counts the stack below.
    unsafe {
        let (here, next) = (location(irp), location(irp).sub(1));
        next.write(here.read());
        (*next).CompletionRoutine = Some(routine);
        (*next).Context = null_mut();
        (*next).Control = ALWAYS;
        IofCallDriver((*extension(device)).lower, irp)
    }
}

unsafe extern "C" fn read_done(device: PDEVICE_OBJECT, irp: PIRP, _: PVOID) -> NTSTATUS {
    // SAFETY: ours during the routine.
    unsafe {
        core::hint::black_box(KeGetCurrentIrql());
        release(extension(device), irp);
    }
    STATUS_SUCCESS
}

unsafe extern "C" fn write_done(device: PDEVICE_OBJECT, irp: PIRP, _: PVOID) -> NTSTATUS {
    // SAFETY: ours during the routine.
    unsafe {
        if (*irp).PendingReturned != 0 {
            (*location(irp)).Control |= SL_PENDING_RETURNED as u8;
        }
        release(extension(device), irp);
    }
    STATUS_SUCCESS
}
