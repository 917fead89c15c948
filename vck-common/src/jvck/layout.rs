//! Byte layout of the 512-byte block and of the 128 bytes sealed inside it. Little-endian throughout.

use core::ops::Range;

use crate::{VckError, VckResult};

/// Bytes of a metadata block.
pub const BLOCK_SIZE: usize = 512;
/// Bytes of the salt.
pub const SALT_SIZE: usize = 16;
/// Bytes of the vendor's part of the block.
pub const VENDOR_RESERVED_SIZE: usize = 192;

/// Bytes of the sealed part.
pub(super) const SEALED_SIZE: usize = 128;
/// Bytes of the tag over the sealed part.
pub(super) const TAG_SIZE: usize = 32;

pub(super) const SIGNATURE_BYTES: [u8; 4] = *b"JVCK";
/// The only version of the format.
pub(super) const METADATA_VERSION: u16 = 1;

pub(super) const SIGNATURE: Range<usize> = 0..4;
pub(super) const VENDOR_ID: Range<usize> = 4..12;
pub(super) const VERSION: Range<usize> = 12..14;
pub(super) const VENDOR_VERSION: Range<usize> = 14..16;
pub(super) const METADATA_SIZE: Range<usize> = 16..20;
pub(super) const SECTOR_SIZE: Range<usize> = 20..24;
pub(super) const HEADER_COUNT: Range<usize> = 24..25;
pub(super) const FOOTER_COUNT: Range<usize> = 25..26;
pub(super) const VOLUME_ID: Range<usize> = 32..48;
pub(super) const SALT: Range<usize> = 48..64;
pub(super) const SEALED: Range<usize> = 64..192;
pub(super) const TAG: Range<usize> = 192..224;
pub(super) const VENDOR_RESERVED: Range<usize> = 304..496;
pub(super) const COVERED: Range<usize> = 0..508;
pub(super) const CRC: Range<usize> = 508..512;

// Inside the sealed part.
pub(super) const INNER_SIGNATURE: Range<usize> = 0..4;
pub(super) const INNER_ZERO: Range<usize> = 4..16;
pub(super) const INNER_OFFSET: Range<usize> = 16..24;
pub(super) const INNER_STATE: Range<usize> = 24..26;
pub(super) const INNER_KEY1: Range<usize> = 32..64;
pub(super) const INNER_KEY2: Range<usize> = 64..96;

const fn len(range: &Range<usize>) -> usize {
    range.end.saturating_sub(range.start)
}

const _: () = {
    assert!(len(&SALT) == SALT_SIZE);
    assert!(len(&SEALED) == SEALED_SIZE);
    assert!(len(&TAG) == TAG_SIZE);
    assert!(SALT.end == SEALED.start && SEALED.end == TAG.start);
    assert!(len(&VENDOR_RESERVED) == VENDOR_RESERVED_SIZE);
    assert!(COVERED.end == CRC.start && CRC.end == BLOCK_SIZE && len(&CRC) == 4);
    assert!(INNER_KEY2.end <= SEALED_SIZE);
};

const OUTSIDE: VckError = VckError::SizeMismatch { expected: BLOCK_SIZE, actual: 0 };

/// The field at `range`. The ranges above lie inside every buffer they are used on.
pub(super) fn field<const N: usize>(bytes: &[u8], range: Range<usize>) -> VckResult<&[u8; N]> {
    bytes.get(range).and_then(|slice| slice.try_into().ok()).ok_or(OUTSIDE)
}

/// Stores `value` at `range`.
pub(super) fn put(bytes: &mut [u8], range: Range<usize>, value: &[u8]) -> VckResult<()> {
    match bytes.get_mut(range) {
        Some(slice) if slice.len() == value.len() => {
            slice.copy_from_slice(value);
            Ok(())
        }
        _ => Err(OUTSIDE),
    }
}

/// The salt of a metadata block. Each sealed update has its own.
///
/// # Errors
/// [`VckError::SizeMismatch`] if there are fewer than 512 bytes.
pub fn block_salt(block: &[u8]) -> VckResult<[u8; SALT_SIZE]> {
    let block = first_block(block)?;
    field(block, SALT).copied()
}

/// The block at the start of a buffer; what follows it is padding.
pub(super) fn first_block(bytes: &[u8]) -> VckResult<&[u8; BLOCK_SIZE]> {
    bytes.first_chunk().ok_or(VckError::SizeMismatch { expected: BLOCK_SIZE, actual: bytes.len() })
}
