//! PnP: the life of a filter.
//!
//! Devices are detached and deleted in REMOVE_DEVICE and nowhere else.

use vck_common::NtStatus;

use crate::nt::{DeviceRef, Disposition, Irp, Passive, minor};
use crate::volume::{FilterDevice, Volume, go_on, halt};

/// IRP_MJ_PNP. The I/O manager sends these at PASSIVE_LEVEL.
pub(super) fn dispatch(device: DeviceRef<'_, FilterDevice>, irp: Irp) -> Disposition {
    let Some(passive) = Passive::check() else { return irp.forward(device.lower()) };
    match irp.request().minor() {
        minor::START_DEVICE => start(passive, device, irp),
        minor::QUERY_REMOVE_DEVICE | minor::QUERY_STOP_DEVICE => query(passive, device, irp),
        minor::CANCEL_REMOVE_DEVICE | minor::CANCEL_STOP_DEVICE => cancel(passive, device, irp),
        minor::SURPRISE_REMOVAL => surprise_removal(passive, device, irp),
        minor::REMOVE_DEVICE => remove(passive, device, irp),
        _ => irp.forward(device.lower()),
    }
}

/// The drivers below start first; their status is kept.
fn start(passive: Passive, device: DeviceRef<'_, FilterDevice>, irp: Irp) -> Disposition {
    let irp = irp.forward_and_wait(passive, device.lower());
    if irp.request().status().is_success() {
        // A stopped and restarted device goes on where its sweep stood.
        go_on(passive, device);
    }
    irp.complete_as_is()
}

/// The sweep stops at a committed step; keys stay, the data path goes on. Refused while a zone exists in memory only.
fn query(passive: Passive, device: DeviceRef<'_, FilterDevice>, irp: Irp) -> Disposition {
    halt(passive, device);
    if device.is_bound_to(Volume::holds_only_copy) {
        return irp.complete(NtStatus::DEVICE_BUSY, 0);
    }
    succeed(irp).forward(device.lower())
}

fn cancel(passive: Passive, device: DeviceRef<'_, FilterDevice>, irp: Irp) -> Disposition {
    // Downwards first: the device works again when the sweep does.
    let irp = succeed(irp).forward_and_wait(passive, device.lower());
    go_on(passive, device);
    irp.complete_as_is()
}

fn surprise_removal(passive: Passive, device: DeviceRef<'_, FilterDevice>, irp: Irp) -> Disposition {
    device.core.device_is_gone(device);
    // The drivers below fail what they still hold when they see this; only then can the sweep's own I/O end.
    let irp = succeed(irp).forward_and_wait(passive, device.lower());
    halt(passive, device);
    irp.complete_as_is()
}

fn remove(passive: Passive, device: DeviceRef<'_, FilterDevice>, irp: Irp) -> Disposition {
    device.core.device_is_removed(passive, device);
    let irp = succeed(irp).release_and_wait(passive);
    let disposition = irp.forward(device.lower());
    device.detach_and_delete(passive);
    disposition
}

/// These requests must be passed down with a success status.
fn succeed(irp: Irp) -> Irp {
    let mut irp = irp;
    irp.set_status(NtStatus::SUCCESS);
    irp
}
