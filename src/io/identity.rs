//! What the device below says about the volume's size and place.
//!
//! Codes and field offsets: `ntdddisk.h`, `ntddstor.h` (public WDK headers).

use vck_common::{ByteLen, Lba, SectorCount, SectorSize, VckError, VckResult};

use crate::nt::{LowerDevice, Passive};

const DISK_GET_DRIVE_GEOMETRY: u32 = 0x0007_0000;
const DISK_GET_LENGTH_INFO: u32 = 0x0007_405C;
const DISK_GET_PARTITION_INFO_EX: u32 = 0x0007_0048;
const STORAGE_GET_DEVICE_NUMBER: u32 = 0x002D_1080;

/// Size of PARTITION_INFORMATION_EX.
const PARTITION_INFORMATION_EX: usize = 144;

/// The size of a volume, as told by the device below the filter.
#[derive(Clone, Copy)]
pub struct VolumeIdentity {
    /// Logical sector size.
    pub sector_size: SectorSize,
    /// Whole sectors of the volume.
    pub sectors: SectorCount,
}

/// Where the volume lies on its disk; each part only if the device told it.
#[derive(Clone, Copy, Default)]
pub struct DiskPlace {
    /// Disk and partition number.
    pub numbers: Option<(u32, u32)>,
    /// First sector of the partition.
    pub start: Option<Lba>,
}

fn field_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}

fn field_u64(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(field.try_into().ok()?))
}

impl VolumeIdentity {
    /// Asks the device below. Errors: its status, or a size that the driver cannot work with.
    pub fn query(passive: Passive, lower: LowerDevice) -> VckResult<Self> {
        let short = VckError::Unsupported("the device's answer about its geometry is too short");
        let mut geometry = [0_u8; 24];
        let returned = lower.query(passive, DISK_GET_DRIVE_GEOMETRY, &mut geometry)?;
        let bytes_per_sector = geometry.get(..returned).and_then(|bytes| field_u32(bytes, 20)).ok_or(short)?;
        let sector_size = SectorSize::new(bytes_per_sector)?;
        let mut length = [0_u8; 8];
        let returned = lower.query(passive, DISK_GET_LENGTH_INFO, &mut length)?;
        let length = length.get(..returned).and_then(|bytes| field_u64(bytes, 0)).ok_or(short)?;
        Ok(Self { sector_size, sectors: sector_size.sectors_in(ByteLen::new(length)) })
    }
}

impl DiskPlace {
    /// Asks the device below; what it does not tell stays unknown.
    pub fn query(passive: Passive, lower: LowerDevice, sector_size: SectorSize) -> Self {
        let mut place = Self::default();
        let mut numbers = [0_u8; 12];
        if let Ok(returned) = lower.query(passive, STORAGE_GET_DEVICE_NUMBER, &mut numbers) {
            let known = numbers.get(..returned).unwrap_or_default();
            place.numbers = field_u32(known, 4).zip(field_u32(known, 8));
        }
        let mut partition = [0_u8; PARTITION_INFORMATION_EX];
        if let Ok(returned) = lower.query(passive, DISK_GET_PARTITION_INFO_EX, &mut partition) {
            let start = partition.get(..returned).and_then(|bytes| field_u64(bytes, 8));
            place.start = start.map(|bytes| Lba::new(sector_size.sectors_in(ByteLen::new(bytes)).get()));
        }
        place
    }
}
