//! Disk and storage controls that the volume device answers, as bytes of their documented structures.

use super::device::Extent;
use crate::abi::*;
use crate::pnp::Identity;

/// `CTL_CODE`.
const fn code(device: u32, function: u32, access: u32) -> u32 {
    (device << 16) | (access << 14) | (function << 2)
}

const DISK_GET_DRIVE_GEOMETRY: u32 = code(7, 0x0000, 0);
const DISK_GET_PARTITION_INFO: u32 = code(7, 0x0001, 1);
const DISK_VERIFY: u32 = code(7, 0x0005, 0);
const DISK_IS_WRITABLE: u32 = code(7, 0x0009, 0);
const DISK_GET_PARTITION_INFO_EX: u32 = code(7, 0x0012, 0);
const DISK_GET_LENGTH_INFO: u32 = code(7, 0x0017, 1);
const DISK_GET_DRIVE_GEOMETRY_EX: u32 = code(7, 0x0028, 0);
const STORAGE_CHECK_VERIFY: u32 = code(0x2D, 0x0200, 1);
const STORAGE_CHECK_VERIFY2: u32 = code(0x2D, 0x0200, 0);
const STORAGE_GET_HOTPLUG_INFO: u32 = code(0x2D, 0x0305, 0);
const STORAGE_GET_DEVICE_NUMBER: u32 = code(0x2D, 0x0420, 0);
const STORAGE_QUERY_PROPERTY: u32 = code(0x2D, 0x0500, 0);
const STORAGE_MANAGE_DATA_SET_ATTRIBUTES: u32 = code(0x2D, 0x0501, 2);
const STORAGE_READ_CAPACITY: u32 = code(0x2D, 0x0450, 1);
const VOLUME_GET_DISK_EXTENTS: u32 = code(0x56, 0, 0);
const VOLUME_ONLINE: u32 = code(0x56, 2, 3);
const VOLUME_IS_OFFLINE: u32 = code(0x56, 4, 0);
const VOLUME_GET_GPT_ATTRIBUTES: u32 = code(0x56, 14, 0);
const VOLUME_UPDATE_PROPERTIES: u32 = code(0x56, 21, 0);
const MOUNTDEV_QUERY_DEVICE_NAME: u32 = code(0x4D, 2, 0);
const MOUNTDEV_QUERY_UNIQUE_ID: u32 = code(0x4D, 0, 0);

/// `DeviceDsmAction_Trim`.
const DSM_TRIM: u32 = 1;
/// `DEVICE_DSM_FLAG_ENTIRE_DATA_SET_RANGE`.
const DSM_ENTIRE: u32 = 1;

/// Bytes of an answer.
#[derive(Default)]
struct Out(Vec<u8>);

impl Out {
    fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
    fn pad(mut self, len: usize) -> Self {
        self.0.resize(len, 0);
        self
    }
}

type Answer = Result<Vec<u8>, (NTSTATUS, usize)>;

/// Answers a control. `trims` gets the byte ranges that it deallocates.
pub(super) fn answer(
    control: u32,
    input: &[u8],
    room: usize,
    extent: &Extent,
    identity: &Identity,
    trims: &mut Vec<(u64, u64)>,
) -> Answer {
    let size = extent.disk.config().sector_size;
    let full = match control {
        DISK_GET_DRIVE_GEOMETRY => geometry(extent).0,
        DISK_GET_DRIVE_GEOMETRY_EX => geometry(extent).u64(extent.disk.config().bytes).pad(32).0,
        DISK_GET_LENGTH_INFO => Out::default().u64(extent.length).0,
        DISK_GET_PARTITION_INFO => {
            let head = Out::default().u64(extent.start).u64(extent.length).u32(0).u32(identity.partition);
            head.bytes(&[7, 0, 1, 0]).pad(32).0
        }
        DISK_GET_PARTITION_INFO_EX => partition_ex(extent, identity),
        STORAGE_GET_DEVICE_NUMBER => {
            Out::default().u32(7).u32(u32::try_from(extent.disk_number).unwrap_or(0)).u32(identity.partition).0
        }
        VOLUME_GET_DISK_EXTENTS => {
            let disk = u32::try_from(extent.disk_number).unwrap_or(0);
            Out::default().u32(1).u32(0).u32(disk).u32(0).u64(extent.start).u64(extent.length).0
        }
        STORAGE_GET_HOTPLUG_INFO => {
            let removable = u8::from(extent.disk.config().removable);
            Out::default().u32(8).bytes(&[removable, removable, removable, 0]).0
        }
        STORAGE_READ_CAPACITY => {
            let blocks = extent.disk.sectors();
            Out::default().u32(32).u32(32).u32(size).u64(blocks - 1).u64(extent.disk.config().bytes).pad(32).0
        }
        STORAGE_QUERY_PROPERTY => return property(input, room, extent),
        STORAGE_MANAGE_DATA_SET_ATTRIBUTES => return data_set(input, extent, trims),
        VOLUME_GET_GPT_ATTRIBUTES => Out::default().u64(0).0,
        MOUNTDEV_QUERY_DEVICE_NAME => return counted(&utf16(&identity.name), room),
        MOUNTDEV_QUERY_UNIQUE_ID => return counted(&identity.guid, room),
        DISK_VERIFY => return verify(input, extent),
        DISK_IS_WRITABLE | STORAGE_CHECK_VERIFY | STORAGE_CHECK_VERIFY2 | VOLUME_ONLINE | VOLUME_UPDATE_PROPERTIES => {
            return Ok(Vec::new());
        }
        VOLUME_IS_OFFLINE => return Err((STATUS_UNSUCCESSFUL, 0)),
        _ => return Err((STATUS_INVALID_DEVICE_REQUEST, 0)),
    };
    if room < full.len() { Err((STATUS_BUFFER_TOO_SMALL, 0)) } else { Ok(full) }
}

fn geometry(extent: &Extent) -> Out {
    let config = extent.disk.config();
    let cylinder = u64::from(config.sector_size) * 63 * 255;
    let media = if config.removable { 11 } else { 12 };
    Out::default().u64(config.bytes / cylinder).u32(media).u32(255).u32(63).u32(config.sector_size)
}

fn partition_ex(extent: &Extent, identity: &Identity) -> Vec<u8> {
    // Basic data partition, {EBD0A0A2-B9E5-4433-87C0-68B6B72699C7} as stored.
    const BASIC: [u8; 16] =
        [0xA2, 0xA0, 0xD0, 0xEB, 0xE5, 0xB9, 0x33, 0x44, 0x87, 0xC0, 0x68, 0xB6, 0xB7, 0x26, 0x99, 0xC7];
    let head = Out::default().u32(1).u32(0).u64(extent.start).u64(extent.length).u32(identity.partition).u32(0);
    head.bytes(&BASIC).bytes(&identity.guid).u64(0).bytes(&utf16(&identity.label)).pad(144).0
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A length and what follows: `MOUNTDEV_NAME`, `MOUNTDEV_UNIQUE_ID`. A short buffer gets the length alone.
fn counted(body: &[u8], room: usize) -> Answer {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_le_bytes();
    if room < 2 {
        return Err((STATUS_INVALID_PARAMETER, 0));
    }
    if room < 2 + body.len() {
        return Err((STATUS_BUFFER_OVERFLOW, 2));
    }
    Ok([&length, body].concat())
}

fn le_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn le_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn verify(input: &[u8], extent: &Extent) -> Answer {
    let (Some(offset), Some(length)) = (le_u64(input, 0), le_u32(input, 8)) else {
        return Err((STATUS_INFO_LENGTH_MISMATCH, 0));
    };
    let inside = offset.checked_add(u64::from(length)).is_some_and(|end| end <= extent.length);
    if inside { Ok(Vec::new()) } else { Err((STATUS_INVALID_PARAMETER, 0)) }
}

/// `IOCTL_STORAGE_QUERY_PROPERTY`: the descriptors that size and alignment are read from, and TRIM.
fn property(input: &[u8], room: usize, extent: &Extent) -> Answer {
    let (Some(id), Some(kind)) = (le_u32(input, 0), le_u32(input, 4)) else {
        return Err((STATUS_INVALID_PARAMETER, 0));
    };
    let config = extent.disk.config();
    let full = match id {
        0 => {
            let removable = u8::from(config.removable);
            Out::default().u32(40).u32(40).bytes(&[0, 0, removable, 1]).u32(0).u32(0).u32(0).u32(0).u32(17).pad(40).0
        }
        1 => Out::default().u32(32).u32(32).u32(1 << 20).u32(257).u32(config.alignment_mask).pad(32).0,
        6 => {
            let (logical, physical) = (config.sector_size, config.physical_sector_size);
            Out::default().u32(28).u32(28).u32(0).u32(0).u32(logical).u32(physical).u32(0).0
        }
        8 => Out::default().u32(12).u32(12).bytes(&[u8::from(config.trim), 0, 0, 0]).0,
        4 => {
            let cache = u32::from(config.volatile_cache);
            Out::default().u32(28).u32(28).u32(cache).u32(cache).u32(cache).u32(1).pad(28).0
        }
        _ => return Err((STATUS_INVALID_DEVICE_REQUEST, 0)),
    };
    match kind {
        1 => Ok(Vec::new()),
        0 if room < 8 => Err((STATUS_BUFFER_TOO_SMALL, 0)),
        0 => Ok(full[..full.len().min(room)].to_vec()),
        _ => Err((STATUS_INVALID_PARAMETER, 0)),
    }
}

/// `IOCTL_STORAGE_MANAGE_DATA_SET_ATTRIBUTES`, TRIM only: every range must be whole sectors inside the volume.
fn data_set(input: &[u8], extent: &Extent, trims: &mut Vec<(u64, u64)>) -> Answer {
    let head: Option<Vec<u32>> = (0..7).map(|at| le_u32(input, at * 4)).collect();
    let Some([size, action, flags, _, _, ranges_at, ranges_len]) = head.as_deref() else {
        return Err((STATUS_INVALID_PARAMETER, 0));
    };
    if *size != 28 || !extent.disk.config().trim || *action & 0x7FFF_FFFF != DSM_TRIM {
        return Err((STATUS_NOT_SUPPORTED, 0));
    }
    if flags & DSM_ENTIRE != 0 {
        trims.push((0, extent.length));
        return Ok(Vec::new());
    }
    let sector = u64::from(extent.disk.config().sector_size);
    let count = *ranges_len as usize / 16;
    let mut found = Vec::new();
    for index in 0..count {
        let at = *ranges_at as usize + index * 16;
        let (Some(offset), Some(length)) = (le_u64(input, at), le_u64(input, at + 8)) else {
            return Err((STATUS_INVALID_PARAMETER, 0));
        };
        let inside = offset.checked_add(length).is_some_and(|end| end <= extent.length);
        if !inside || offset % sector != 0 || length % sector != 0 {
            return Err((STATUS_INVALID_PARAMETER, 0));
        }
        found.push((offset, length));
    }
    trims.extend(found);
    Ok(Vec::new())
}
