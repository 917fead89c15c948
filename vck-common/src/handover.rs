//! What the boot loader hands to the driver: a locator in a UEFI variable, and a payload in memory that it points to.
//!
//! Only the partition's GUID and the VMK travel; everything else is read from the volume. The reader zeroes the payload's
//! source once it has copied it, so a second reader finds zeros, which means "none". Trailing bytes are tolerated in both.

use core::fmt;

use messagepack_serde::from_slice;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};
use uuid::Uuid;

use crate::{
    VckError, VckResult,
    wire::{
        scan::{self, ByteField},
        serialize_into,
    },
};

/// Name of the UEFI variable with the locator.
pub const VARIABLE_NAME: &str = "VckHandover";
/// Vendor GUID of the variable, as it lies in memory.
pub const VARIABLE_GUID: [u8; 16] = *b"CKVYHDOV12-VAR!!";
/// First field of a locator: "VCKL".
pub const LOCATOR_MAGIC: u32 = 0x4C4B_4356;
/// The only version of the locator.
pub const LOCATOR_VERSION: u16 = 1;
/// The longest payload that a reader maps, in bytes.
pub const MAX_PAYLOAD: u64 = 65_536;

/// A GUID.
pub type Guid = Uuid;

/// The GUID whose bytes in memory on Windows, first three fields little-endian, are these.
#[must_use]
pub const fn guid_from_windows_bytes(bytes: [u8; 16]) -> Guid {
    Uuid::from_bytes_le(bytes)
}

/// Where the payload lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct HandoverLocator {
    /// [`LOCATOR_MAGIC`].
    pub magic: u32,
    /// [`LOCATOR_VERSION`].
    pub version: u16,
    /// Physical address of the payload.
    pub address: u64,
    /// Bytes of the payload.
    pub length: u64,
}

impl HandoverLocator {
    /// A locator of this version.
    #[must_use]
    pub const fn new(address: u64, length: u64) -> Self {
        Self { magic: LOCATOR_MAGIC, version: LOCATOR_VERSION, address, length }
    }

    /// Checks magic, version, and that there is something to point to.
    ///
    /// # Errors
    /// [`VckError::InvalidData`].
    pub const fn validate(&self) -> VckResult<()> {
        if self.magic != LOCATOR_MAGIC {
            return Err(VckError::InvalidData("the handover locator has a wrong magic number"));
        }
        if self.version != LOCATOR_VERSION {
            return Err(VckError::InvalidData("the handover locator has another version"));
        }
        if self.address == 0 || self.length == 0 {
            return Err(VckError::InvalidData("the handover locator points to nothing"));
        }
        Ok(())
    }
}

/// Encodes a locator at the start of `out`.
///
/// # Errors
/// [`VckError::BufferTooSmall`].
pub fn encode_locator(locator: &HandoverLocator, out: &mut [u8]) -> VckResult<usize> {
    serialize_into(locator, out)
}

/// Decodes and validates a locator. The caller still has to compare the length with [`MAX_PAYLOAD`] before mapping.
///
/// # Errors
/// [`VckError::Malformed`], [`VckError::MsgpackDecode`], or [`VckError::InvalidData`] from validation.
pub fn decode_locator(bytes: &[u8]) -> VckResult<HandoverLocator> {
    let len = scan::check(bytes, scan::MAX_ENTRIES)?;
    let value = bytes.get(..len).ok_or(VckError::Malformed("the message ends inside a value"))?;
    let locator: HandoverLocator =
        from_slice(value).map_err(|_| VckError::MsgpackDecode("this is not a handover locator"))?;
    locator.validate()?;
    Ok(locator)
}

/// What travels. It borrows from the copied buffer, which its owner wipes.
#[derive(Deserialize, Serialize)]
pub struct HandoverPayload<'a> {
    /// The partition that holds the OS volume, as the disk's partition table states it.
    #[serde(serialize_with = "guid_to_bytes", deserialize_with = "guid_from_bytes")]
    pub partition_guid: Guid,
    /// The key of the OS volume. Written as an array of integers, which is what existing drivers read.
    #[serde(borrow)]
    pub vmk: &'a [u8],
}

const PAYLOAD_BYTES: &[ByteField] = &[ByteField { name: "vmk", index: 1, accept_str: false }];

/// Encodes a payload at the start of `out`. Whoever owns `out` wipes it.
///
/// # Errors
/// [`VckError::BufferTooSmall`].
pub fn encode_payload(payload: &HandoverPayload<'_>, out: &mut [u8]) -> VckResult<usize> {
    serialize_into(payload, out)
}

/// Decodes a payload; `None` if all bytes are zero, that is, if it was already taken. The key may be an array of integers or
/// bin; the buffer may be rewritten.
///
/// # Errors
/// [`VckError::Malformed`] or [`VckError::MsgpackDecode`].
pub fn decode_payload(bytes: &mut [u8]) -> VckResult<Option<HandoverPayload<'_>>> {
    if bytes.iter().all(|&byte| byte == 0) {
        return Ok(None);
    }
    let len = scan::check_and_compact(bytes, PAYLOAD_BYTES)?;
    let value = bytes.get(..len).ok_or(VckError::Malformed("the message ends inside a value"))?;
    from_slice(value).map(Some).map_err(|_| VckError::MsgpackDecode("this is not a handover payload"))
}

fn guid_to_bytes<S: Serializer>(guid: &Guid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(guid.as_bytes())
}

/// Takes exactly 16 bytes of bin: text or an array would be read differently by existing drivers.
fn guid_from_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Guid, D::Error> {
    struct SixteenBytes;

    impl Visitor<'_> for SixteenBytes {
        type Value = Guid;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("16 bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Guid, E> {
            Uuid::from_slice(bytes).map_err(|_| E::invalid_length(bytes.len(), &self))
        }
    }

    deserializer.deserialize_bytes(SixteenBytes)
}
