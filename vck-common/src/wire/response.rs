//! Responses, in wire order of their fields, and upper bounds of their encoded sizes.
//!
//! A bound lets the driver refuse an output buffer before it acts; [`super::encoded_len`] gives the exact size once all
//! values are known.

use messagepack_serde::from_slice;
use serde::{Deserialize, Serialize};

use super::scan;
use crate::{VckError, VckResult};

mod sealed {
    pub trait Sealed {}
}

/// An answer of the driver.
pub trait Response: Serialize + sealed::Sealed {}

/// The longest header of a string.
const STR_HEAD: usize = 3;
const U64_MAX_LEN: usize = 9;
const U32_MAX_LEN: usize = 5;
const I32_MAX_LEN: usize = 5;
const BOOL_LEN: usize = 1;
/// `fixmap` and `fixarray` headers; every struct here has at most 15 fields.
const FIX_HEAD: usize = 1;
const LIST_HEAD: usize = FIX_HEAD + key("volumes") + 3;

/// A key of up to 31 bytes.
const fn key(name: &str) -> usize {
    name.len().saturating_add(1)
}

const fn text(len: usize) -> usize {
    len.saturating_add(STR_HEAD)
}

/// Decodes a response, for clients. The limits are those of a request; a list of volumes has its own reader.
///
/// # Errors
/// [`VckError::Malformed`] or [`VckError::MsgpackDecode`].
pub fn decode_response<'a, T: Response + Deserialize<'a>>(message: &'a [u8]) -> VckResult<T> {
    let len = scan::check(message, scan::MAX_ENTRIES)?;
    let value = message.get(..len).ok_or(VckError::Malformed("the message ends inside a value"))?;
    from_slice(value).map_err(|_| VckError::MsgpackDecode("a field is missing, repeated or of the wrong kind"))
}

/// The state number of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum WireState {
    /// Nothing runs; also "fully encrypted".
    Idle = 0,
    /// Towards ciphertext.
    Encrypting = 1,
    /// Towards plaintext.
    Decrypting = 2,
    /// Stopped on request or by a fault; the `error` text of a progress answer says which.
    Paused = 3,
}

impl WireState {
    /// The number.
    #[must_use]
    pub const fn as_i32(self) -> i32 {
        self as i32
    }

    /// The state with this number.
    #[must_use]
    pub const fn from_i32(value: i32) -> Option<Self> {
        match value {
            0 => Some(Self::Idle),
            1 => Some(Self::Encrypting),
            2 => Some(Self::Decrypting),
            3 => Some(Self::Paused),
            _ => None,
        }
    }

    /// The name that tools show.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Encrypting => "encrypting",
            Self::Decrypting => "decrypting",
            Self::Paused => "paused",
        }
    }
}

/// The answer without content: an empty map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct EmptyResp {}

impl EmptyResp {
    /// Encoded size in bytes.
    pub const MAX_LEN: usize = FIX_HEAD;
}

/// Answer to `JVCK_PREPARE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct PrepareResp<'a> {
    /// First data LBA.
    pub offset_sector: u64,
    /// Sectors of the data region.
    pub data_sectors: u64,
    /// Bytes per sector.
    pub sector_size: u32,
    /// `\Device\HarddiskX\PartitionY`, or empty.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub raw_partition_path: &'a str,
    /// `\Device\HarddiskX\DR0`, or empty.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub raw_disk_path: &'a str,
    /// First sector of the partition on its disk; informational, 0 when unknown.
    #[serde(default)]
    pub partition_start_lba: u64,
    /// True when a key was given and the cipher is active.
    #[serde(default)]
    pub fully_attached: bool,
}

impl PrepareResp<'_> {
    /// Upper bound of the encoded size with paths of at most these lengths in bytes.
    #[must_use]
    pub const fn max_len(partition_path_len: usize, disk_path_len: usize) -> usize {
        const FIXED: usize = FIX_HEAD
            + key("offset_sector")
            + key("data_sectors")
            + key("sector_size")
            + key("raw_partition_path")
            + key("raw_disk_path")
            + key("partition_start_lba")
            + key("fully_attached")
            + 3 * U64_MAX_LEN
            + U32_MAX_LEN
            + BOOL_LEN;
        FIXED.saturating_add(text(partition_path_len)).saturating_add(text(disk_path_len))
    }
}

/// Answer to `JVCK_ATTACH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct AttachResp {
    /// First data LBA.
    pub offset_sector: u64,
    /// Sectors of the data region.
    pub total_sectors: u64,
    /// Bytes per sector.
    pub sector_size: u32,
}

impl AttachResp {
    /// Upper bound of the encoded size.
    pub const MAX_LEN: usize =
        FIX_HEAD + key("offset_sector") + key("total_sectors") + key("sector_size") + 2 * U64_MAX_LEN + U32_MAX_LEN;
}

/// Answer to `GET_STATUS`. A volume that is not attached is a success with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct VolumeStatus<'a> {
    /// The name under which the volume was prepared, or the requested path when it is not attached.
    pub volume_path: &'a str,
    /// See [`WireState`].
    pub state: i32,
    /// The boundary: sectors of the data region below it are ciphertext.
    pub encrypted_sector: u64,
    /// Sectors of the data region.
    pub total_sectors: u64,
    /// Bytes per sector.
    pub sector_size: u32,
    /// True if the volume is attached.
    pub is_attached: bool,
    /// True if the filter sits below the file system.
    #[serde(default)]
    pub filter_below_fsd: bool,
}

impl VolumeStatus<'_> {
    /// Upper bound of the encoded size with a path of at most this length in bytes.
    #[must_use]
    pub const fn max_len(path_len: usize) -> usize {
        const FIXED: usize = FIX_HEAD
            + key("volume_path")
            + key("state")
            + key("encrypted_sector")
            + key("total_sectors")
            + key("sector_size")
            + key("is_attached")
            + key("filter_below_fsd")
            + I32_MAX_LEN
            + 2 * U64_MAX_LEN
            + U32_MAX_LEN
            + 2 * BOOL_LEN;
        FIXED.saturating_add(text(path_len))
    }
}

/// One volume of [`ListResp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct VolumeEntry<'a> {
    /// The name under which the volume was prepared.
    pub volume_path: &'a str,
    /// See [`WireState`].
    pub state: i32,
    /// The boundary: sectors of the data region below it are ciphertext.
    pub encrypted_sector: u64,
    /// Sectors of the data region.
    pub total_sectors: u64,
    /// Bytes per sector.
    pub sector_size: u32,
    /// True for the OS volume.
    pub is_os_volume: bool,
}

impl VolumeEntry<'_> {
    /// Upper bound of the encoded size with a path of at most this length in bytes.
    #[must_use]
    pub const fn max_len(path_len: usize) -> usize {
        const FIXED: usize = FIX_HEAD
            + key("volume_path")
            + key("state")
            + key("encrypted_sector")
            + key("total_sectors")
            + key("sector_size")
            + key("is_os_volume")
            + I32_MAX_LEN
            + 2 * U64_MAX_LEN
            + U32_MAX_LEN
            + BOOL_LEN;
        FIXED.saturating_add(text(path_len))
    }
}

/// Answer to `LIST_VOLUMES`, ascending by byte order of the path. [`super::ListEncoder`] writes the same bytes one volume at a
/// time; [`super::for_each_volume`] reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ListResp<'a> {
    /// The volumes.
    pub volumes: &'a [VolumeEntry<'a>],
}

impl ListResp<'_> {
    /// Upper bound of the encoded size of `count` volumes whose paths have `path_bytes` bytes in all.
    #[must_use]
    pub const fn max_len(count: usize, path_bytes: usize) -> usize {
        LIST_HEAD.saturating_add(VolumeEntry::max_len(0).saturating_mul(count)).saturating_add(path_bytes)
    }
}

/// Answer to `GET_PROGRESS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ProgressEvent<'a> {
    /// The boundary: sectors of the data region below it are ciphertext.
    pub encrypted_sector: u64,
    /// Sectors of the data region.
    pub total_sectors: u64,
    /// See [`WireState`].
    pub state: i32,
    /// Why nothing moves (`paused: ...`, [`ProgressEvent::FAULTED`]` ...`), or empty.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub error: &'a str,
}

impl ProgressEvent<'_> {
    /// What the error text begins with when an error has stopped the conversion. The state's number is that of a paused one.
    pub const FAULTED: &'static str = "faulted";

    /// Upper bound of the encoded size with an error text of at most this length in bytes.
    #[must_use]
    pub const fn max_len(error_len: usize) -> usize {
        const FIXED: usize = FIX_HEAD
            + key("encrypted_sector")
            + key("total_sectors")
            + key("state")
            + key("error")
            + 2 * U64_MAX_LEN
            + I32_MAX_LEN;
        FIXED.saturating_add(text(error_len))
    }
}

/// Answer to `BENCH_AES`. The last three fields are left out unless the request asked for a comparison, so that other clients
/// get what they always got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct BenchResp<'a> {
    /// Bytes ciphered, rounded up to whole MiB.
    pub size_bytes: u64,
    /// MiB per second.
    pub encrypt_mib_s: u64,
    /// MiB per second.
    pub decrypt_mib_s: u64,
    /// Name of the kernel that was measured, or empty.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    pub kernel: &'a str,
    /// MiB per second of the portable kernel, or 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub portable_encrypt_mib_s: u64,
    /// MiB per second of the portable kernel, or 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub portable_decrypt_mib_s: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl BenchResp<'_> {
    /// Upper bound of the encoded size without a comparison.
    pub const MAX_LEN: usize =
        FIX_HEAD + key("size_bytes") + key("encrypt_mib_s") + key("decrypt_mib_s") + 3 * U64_MAX_LEN;

    /// Upper bound of the encoded size of a comparison with a kernel whose name has at most this length in bytes.
    #[must_use]
    pub const fn compared_max_len(kernel_len: usize) -> usize {
        const FIXED: usize = BenchResp::MAX_LEN
            + key("kernel")
            + key("portable_encrypt_mib_s")
            + key("portable_decrypt_mib_s")
            + 2 * U64_MAX_LEN;
        FIXED.saturating_add(text(kernel_len))
    }
}

macro_rules! responses {
    ($($name:ty),+) => {$(
        impl sealed::Sealed for $name {}
        impl Response for $name {}
    )+};
}

responses!(
    EmptyResp,
    PrepareResp<'_>,
    AttachResp,
    VolumeStatus<'_>,
    VolumeEntry<'_>,
    ListResp<'_>,
    ProgressEvent<'_>,
    BenchResp<'_>
);
