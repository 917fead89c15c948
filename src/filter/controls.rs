//! Device controls on a filter: every code that the driver knows, and what it does with it.
//!
//! Known controls enter the mode like reads and writes, so that a bind waits for those that were passed through before it.
//! Unknown controls go down: refusing them would break the mount manager's and the snapshot driver's.

use vck_common::NtStatus;
use vck_common::wire::codes::{FILE_ANY_ACCESS, FILE_READ_ACCESS, FILE_WRITE_ACCESS, METHOD_BUFFERED, ctl_code};

use super::rw::PassedThrough;
use super::size::{self, SizeField};
use super::verify;
use crate::nt::{DeviceRef, Disposition, Irp};
use crate::volume::FilterDevice;

/// What happens to a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Treatment {
    /// Goes down; on a bound volume the size in the answer becomes the data region's.
    Size(SizeField),
    /// Goes down; on a bound volume with its range shifted and clipped.
    Shift,
    /// Refused on a bound volume: its ranges or its data would bypass cipher and shift, or the end of the volume would move away from
    /// the metadata that is counted from there.
    Refuse,
    /// Refused always: what it enables now would bypass the cipher after a bind.
    RefuseAlways,
}

use SizeField::{Capacity, DiskLength, Length};
use Treatment::{Refuse, RefuseAlways, Shift, Size};

const DISK: u32 = 0x07;
const SCSI: u32 = 0x04;
const STORAGE: u32 = 0x2D;
const VOLUME: u32 = 0x56;
const ANY: u32 = FILE_ANY_ACCESS;
const READ: u32 = FILE_READ_ACCESS;
const WRITE: u32 = FILE_WRITE_ACCESS;
const READ_WRITE: u32 = FILE_READ_ACCESS | FILE_WRITE_ACCESS;

const fn buffered(device: u32, function: u32, access: u32) -> u32 {
    ctl_code(device, function, METHOD_BUFFERED, access)
}

/// METHOD_OUT_DIRECT.
const OUT_DIRECT: u32 = 2;

/// Device types, functions and access: `ntdddisk.h`, `ntddstor.h`, `ntddscsi.h`, `ntddvol.h` (public WDK headers).
const TABLE: &[(u32, &str, Treatment)] = &[
    (buffered(DISK, 0x17, READ), "DISK_GET_LENGTH_INFO", Size(Length(0))),
    (buffered(DISK, 0x01, READ), "DISK_GET_PARTITION_INFO", Size(Length(8))),
    (buffered(DISK, 0x12, ANY), "DISK_GET_PARTITION_INFO_EX", Size(Length(16))),
    (buffered(DISK, 0x28, ANY), "DISK_GET_DRIVE_GEOMETRY_EX", Size(DiskLength(24))),
    (buffered(STORAGE, 0x0450, READ), "STORAGE_READ_CAPACITY", Size(Capacity)),
    (buffered(DISK, 0x05, ANY), "DISK_VERIFY", Shift),
    (buffered(DISK, 0x06, READ_WRITE), "DISK_FORMAT_TRACKS", Refuse),
    (buffered(DISK, 0x0B, READ_WRITE), "DISK_FORMAT_TRACKS_EX", Refuse),
    (buffered(DISK, 0x07, READ_WRITE), "DISK_REASSIGN_BLOCKS", Refuse),
    (buffered(DISK, 0x29, READ_WRITE), "DISK_REASSIGN_BLOCKS_EX", Refuse),
    (buffered(DISK, 0x19, READ_WRITE), "DISK_COPY_DATA", Refuse),
    (buffered(DISK, 0x34, READ_WRITE), "DISK_GROW_PARTITION", Refuse),
    (buffered(STORAGE, 0x0501, WRITE), "STORAGE_MANAGE_DATA_SET_ATTRIBUTES", Refuse),
    (buffered(STORAGE, 0x0230, ANY), "STORAGE_MANAGE_BYPASS_IO", RefuseAlways),
    (buffered(STORAGE, 0x0502, READ), "STORAGE_GET_LB_PROVISIONING_MAP_RESOURCES", Refuse),
    (buffered(STORAGE, 0x0590, WRITE), "STORAGE_REINITIALIZE_MEDIA", Refuse),
    (buffered(STORAGE, 0x04F0, READ_WRITE), "STORAGE_PROTOCOL_COMMAND", Refuse),
    (buffered(SCSI, 0x0401, READ_WRITE), "SCSI_PASS_THROUGH", Refuse),
    (buffered(SCSI, 0x0405, READ_WRITE), "SCSI_PASS_THROUGH_DIRECT", Refuse),
    (buffered(SCSI, 0x0411, READ_WRITE), "SCSI_PASS_THROUGH_EX", Refuse),
    (buffered(SCSI, 0x0412, READ_WRITE), "SCSI_PASS_THROUGH_DIRECT_EX", Refuse),
    (buffered(SCSI, 0x0402, READ_WRITE), "SCSI_MINIPORT", Refuse),
    (buffered(SCSI, 0x040B, READ_WRITE), "ATA_PASS_THROUGH", Refuse),
    (buffered(SCSI, 0x040C, READ_WRITE), "ATA_PASS_THROUGH_DIRECT", Refuse),
    (ctl_code(VOLUME, 0x0B, OUT_DIRECT, READ), "VOLUME_READ_PLEX", Refuse),
    (buffered(VOLUME, 0x17, READ_WRITE), "VOLUME_PREPARE_FOR_SHRINK", Refuse),
    (buffered(VOLUME, 0x08, ANY), "VOLUME_LOGICAL_TO_PHYSICAL", Refuse),
    (buffered(VOLUME, 0x09, ANY), "VOLUME_PHYSICAL_TO_LOGICAL", Refuse),
];

/// IRP_MJ_DEVICE_CONTROL.
pub(super) fn dispatch(device: DeviceRef<'_, FilterDevice>, irp: Irp) -> Disposition {
    let code = irp.request().control().code;
    let Some((_, name, treatment)) = TABLE.iter().find(|(known, _, _)| *known == code) else {
        return irp.forward(device.lower());
    };
    let entered = device.role().mode.enter();
    let bound = entered.mode().is_some();
    match treatment {
        RefuseAlways => {}
        Refuse if bound => {}
        Size(field) if bound => return size::forward(device, irp, *field, entered.into_stay()),
        Shift if bound => return verify::forward(device, irp, entered),
        Refuse | Size(_) | Shift => {
            return irp.forward_watched::<FilterDevice, PassedThrough>(device, None, entered.into_stay());
        }
    }
    drop(entered);
    log::debug!("{name} refused");
    irp.complete(NtStatus::NOT_SUPPORTED, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that the public headers work out to.
    #[test]
    fn the_codes_are_those_of_the_headers() {
        let known: &[(&str, u32)] = &[
            ("DISK_GET_LENGTH_INFO", 0x0007_405C),
            ("DISK_GET_PARTITION_INFO", 0x0007_4004),
            ("DISK_GET_PARTITION_INFO_EX", 0x0007_0048),
            ("DISK_GET_DRIVE_GEOMETRY_EX", 0x0007_00A0),
            ("STORAGE_READ_CAPACITY", 0x002D_5140),
            ("DISK_VERIFY", 0x0007_0014),
            ("DISK_FORMAT_TRACKS", 0x0007_C018),
            ("DISK_FORMAT_TRACKS_EX", 0x0007_C02C),
            ("DISK_REASSIGN_BLOCKS", 0x0007_C01C),
            ("DISK_REASSIGN_BLOCKS_EX", 0x0007_C0A4),
            ("DISK_COPY_DATA", 0x0007_C064),
            ("DISK_GROW_PARTITION", 0x0007_C0D0),
            ("STORAGE_MANAGE_DATA_SET_ATTRIBUTES", 0x002D_9404),
            ("STORAGE_MANAGE_BYPASS_IO", 0x002D_08C0),
            ("STORAGE_GET_LB_PROVISIONING_MAP_RESOURCES", 0x002D_5408),
            ("STORAGE_REINITIALIZE_MEDIA", 0x002D_9640),
            ("STORAGE_PROTOCOL_COMMAND", 0x002D_D3C0),
            ("SCSI_PASS_THROUGH", 0x0004_D004),
            ("SCSI_PASS_THROUGH_DIRECT", 0x0004_D014),
            ("SCSI_PASS_THROUGH_EX", 0x0004_D044),
            ("SCSI_PASS_THROUGH_DIRECT_EX", 0x0004_D048),
            ("SCSI_MINIPORT", 0x0004_D008),
            ("ATA_PASS_THROUGH", 0x0004_D02C),
            ("ATA_PASS_THROUGH_DIRECT", 0x0004_D030),
            ("VOLUME_READ_PLEX", 0x0056_402E),
            ("VOLUME_PREPARE_FOR_SHRINK", 0x0056_C05C),
            ("VOLUME_LOGICAL_TO_PHYSICAL", 0x0056_0020),
            ("VOLUME_PHYSICAL_TO_LOGICAL", 0x0056_0024),
        ];
        assert_eq!(known.len(), TABLE.len());
        for (name, code) in known {
            let row = TABLE.iter().find(|(_, row, _)| row == name).expect("a row of this name");
            assert_eq!(row.0, *code, "{name}");
        }
    }
}
