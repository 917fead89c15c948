//! Requests, in wire order of their fields.
//!
//! Types that carry a key have no `Debug`. A field that may be absent has a default; nil is not the same as absent and is
//! refused.

use messagepack_serde::from_slice;
use serde::{Deserialize, Serialize};

use super::{
    bytes,
    scan::{ByteField, check_and_compact},
};
use crate::{VckError, VckResult};

mod sealed {
    pub trait Sealed {}
}

/// A request that borrows from the buffer it was decoded from.
pub trait Request<'a>: Deserialize<'a> + Serialize + sealed::Sealed {
    /// The fields that hold bytes.
    const BYTE_FIELDS: &'static [ByteField];
}

/// Decodes a request from the buffer it arrived in. See [`super::scan`] for what is accepted; the buffer may be rewritten,
/// and is not wiped.
///
/// # Errors
/// [`VckError::Malformed`] if the message breaks a limit; [`VckError::MsgpackDecode`] if a field is missing, repeated, nil
/// or of the wrong kind.
pub fn decode<'a, T: Request<'a>>(message: &'a mut [u8]) -> VckResult<T> {
    let len = check_and_compact(message, T::BYTE_FIELDS)?;
    let value = message.get(..len).ok_or(VckError::Malformed("the message ends inside a value"))?;
    from_slice(value).map_err(|_| VckError::MsgpackDecode("a field is missing, repeated or of the wrong kind"))
}

/// `GET_STATUS`, `START_ENCRYPT`, `START_DECRYPT`, `GET_PROGRESS`, `PAUSE`, `DETACH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct VolumeRequest<'a> {
    /// The name under which the volume was prepared, or any path of it where the control allows that.
    pub volume_path: &'a str,
}

impl sealed::Sealed for VolumeRequest<'_> {}

impl<'a> Request<'a> for VolumeRequest<'a> {
    const BYTE_FIELDS: &'static [ByteField] = &[];
}

/// `JVCK_PREPARE`.
#[derive(Deserialize, Serialize)]
pub struct PrepareReq<'a> {
    /// The name under which the volume will be known.
    pub volume_path: &'a str,
    /// NT path for opening it; empty: derived from `volume_path`.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub nt_device_path: &'a str,
    /// Header replicas.
    #[serde(default)]
    pub use_header: u32,
    /// Footer replicas.
    #[serde(default)]
    pub use_footer: u32,
    /// Bytes per replica.
    #[serde(default)]
    pub metadata_size: u32,
    /// Non-empty: open the volume in the same call.
    #[serde(default, serialize_with = "bytes::serialize")]
    pub vmk: &'a [u8],
    /// A sealed block to be written, of which the first 512 bytes count; empty: write nothing.
    #[serde(default, serialize_with = "bytes::serialize")]
    pub metadata_block: &'a [u8],
    /// Register as OS volume.
    #[serde(default)]
    pub is_os_volume: bool,
}

impl sealed::Sealed for PrepareReq<'_> {}

impl<'a> Request<'a> for PrepareReq<'a> {
    const BYTE_FIELDS: &'static [ByteField] = &[
        ByteField { name: "vmk", index: 5, accept_str: true },
        ByteField { name: "metadata_block", index: 6, accept_str: true },
    ];
}

/// `JVCK_ATTACH`.
#[derive(Deserialize, Serialize)]
pub struct AttachReq<'a> {
    /// The name under which the volume was prepared.
    pub volume_path: &'a str,
    /// The key; may be empty, may not be absent.
    #[serde(serialize_with = "bytes::serialize")]
    pub vmk: &'a [u8],
    /// Not used: the volume itself says it.
    #[serde(default)]
    pub use_header: u32,
    /// Not used: the volume itself says it.
    #[serde(default)]
    pub use_footer: u32,
    /// Not used: the volume itself says it.
    #[serde(default)]
    pub metadata_size: u32,
    /// NT path for opening it; empty: derived from `volume_path`.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub nt_device_path: &'a str,
    /// `\Device\HarddiskX\PartitionY` as PREPARE reported it; informational.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub raw_partition_path: &'a str,
}

impl sealed::Sealed for AttachReq<'_> {}

impl<'a> Request<'a> for AttachReq<'a> {
    const BYTE_FIELDS: &'static [ByteField] = &[ByteField { name: "vmk", index: 1, accept_str: true }];
}

/// `BENCH_AES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct BenchReq {
    /// Bytes to cipher; 0 stands for 2^30.
    #[serde(default)]
    pub size_bytes: u64,
    /// Asks for the kernel and the portable kernel's speed too. Left out when false, which is what clients send that do not know it;
    /// drivers that do not know it skip it.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub compare: bool,
}

impl sealed::Sealed for BenchReq {}

impl Request<'_> for BenchReq {
    const BYTE_FIELDS: &'static [ByteField] = &[];
}
