//! Device controls on a filter: every code that the driver knows, and what it does with it on a bound volume.
//!
//! Unknown controls go down: refusing them would break the mount manager's and the snapshot driver's.

use vck_common::NtStatus;

use super::size;
use crate::nt::{DeviceRef, Disposition, Irp};
use crate::volume::FilterDevice;

/// What happens to a control.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Treatment {
    /// Goes down; the size field at this offset of the answer becomes the data region's.
    Size(usize),
    /// Refused: its ranges or its data would bypass cipher and shift.
    Refuse,
}

/// Codes: `ntdddisk.h`, `ntddstor.h`, `ntddscsi.h`, `ntddvol.h` (public WDK headers).
const TABLE: &[(u32, &str, Treatment)] = &[
    (0x0007_405C, "DISK_GET_LENGTH_INFO", Treatment::Size(0)),
    (0x0007_4004, "DISK_GET_PARTITION_INFO", Treatment::Size(8)),
    (0x0007_0048, "DISK_GET_PARTITION_INFO_EX", Treatment::Size(16)),
    (0x002D_9404, "STORAGE_MANAGE_DATA_SET_ATTRIBUTES", Treatment::Refuse),
    (0x002D_5490, "STORAGE_MANAGE_BYPASS_IO", Treatment::Refuse),
    (0x0056_402E, "VOLUME_READ_PLEX", Treatment::Refuse),
    (0x0007_C018, "DISK_FORMAT_TRACKS", Treatment::Refuse),
    (0x0007_C02C, "DISK_FORMAT_TRACKS_EX", Treatment::Refuse),
    (0x0007_D064, "DISK_COPY_DATA", Treatment::Refuse),
    (0x0007_C01C, "DISK_REASSIGN_BLOCKS", Treatment::Refuse),
    (0x0007_C0A4, "DISK_REASSIGN_BLOCKS_EX", Treatment::Refuse),
    (0x0004_D004, "SCSI_PASS_THROUGH", Treatment::Refuse),
    (0x0004_D014, "SCSI_PASS_THROUGH_DIRECT", Treatment::Refuse),
    (0x0004_D008, "SCSI_MINIPORT", Treatment::Refuse),
    (0x0004_D02C, "ATA_PASS_THROUGH", Treatment::Refuse),
    (0x0004_D030, "ATA_PASS_THROUGH_DIRECT", Treatment::Refuse),
];

/// IRP_MJ_DEVICE_CONTROL.
pub(super) fn dispatch(device: DeviceRef<'_, FilterDevice>, irp: Irp) -> Disposition {
    let code = irp.request().control().code;
    let known = TABLE.iter().find(|(known, _, _)| *known == code);
    let Some((_, name, treatment)) = known else { return irp.forward(device.lower()) };
    if device.volume().is_none() {
        return irp.forward(device.lower());
    }
    match treatment {
        Treatment::Size(offset) => size::forward(device, irp, *offset),
        Treatment::Refuse => {
            log::debug!("{name} refused on a bound volume");
            irp.complete(NtStatus::NOT_SUPPORTED, 0)
        }
    }
}
