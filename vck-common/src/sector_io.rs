//! Sector-granular access to a volume: the seam that carries all testing of format and conversion code.
//!
//! Rules that every implementation must keep are checked by `conformance::check` (feature `conformance`).

use alloc::{boxed::Box, sync::Arc};

use crate::{Lba, SectorCount, SectorSize, VckError, VckResult};

/// When a write is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After the next successful [`SectorIo::flush`].
    AtNextFlush,
    /// Before the call returns (write-through).
    OnReturn,
}

/// Whole-sector reads and writes; LBAs are absolute on the volume.
///
/// Max IRQL: `PASSIVE_LEVEL`. A call may block. A buffer that is not a non-zero whole number of sectors, or an extent that
/// leaves the volume, is refused with [`VckError::InvalidData`] before anything is transferred. After an error the contents
/// of a read buffer and of the sectors of a write are unspecified.
pub trait SectorIo: Send + Sync {
    /// Logical sector size of the device.
    fn sector_size(&self) -> SectorSize;

    /// Size of the whole volume, metadata included.
    fn total_sectors(&self) -> SectorCount;

    /// Reads `buf.len() / sector_size` sectors from `lba`.
    ///
    /// # Errors
    /// [`VckError::InvalidData`] for a bad extent; [`VckError::Device`] for a failure of the device.
    fn read_sectors(&self, lba: Lba, buf: &mut [u8]) -> VckResult<()>;

    /// Writes `buf.len() / sector_size` sectors at `lba`.
    ///
    /// # Errors
    /// As [`SectorIo::read_sectors`].
    fn write_sectors(&self, lba: Lba, buf: &[u8], durability: Durability) -> VckResult<()>;

    /// Makes everything acknowledged before it durable.
    ///
    /// # Errors
    /// [`VckError::Unsupported`] if the device has no flush at all, which is not a failure of this one; [`VckError::Device`] with
    /// the device's status otherwise. Nothing may then be assumed to be durable.
    fn flush(&self) -> VckResult<()>;
}

/// Checks a request against the limits of a volume, for implementations of [`SectorIo`].
///
/// # Errors
/// [`VckError::InvalidData`] if `len` is not a non-zero whole number of sectors or the extent leaves the volume.
pub fn check_extent(size: SectorSize, total: SectorCount, lba: Lba, len: usize) -> VckResult<SectorCount> {
    let count = size.sectors_of_buffer(len)?;
    if lba.checked_add(count).is_some_and(|end| end.get() <= total.get()) {
        return Ok(count);
    }
    Err(VckError::InvalidData("the extent leaves the volume"))
}

macro_rules! forward {
    ($($pointer:ty),+) => {$(
        impl<T: SectorIo + ?Sized> SectorIo for $pointer {
            fn sector_size(&self) -> SectorSize {
                (**self).sector_size()
            }

            fn total_sectors(&self) -> SectorCount {
                (**self).total_sectors()
            }

            fn read_sectors(&self, lba: Lba, buf: &mut [u8]) -> VckResult<()> {
                (**self).read_sectors(lba, buf)
            }

            fn write_sectors(&self, lba: Lba, buf: &[u8], durability: Durability) -> VckResult<()> {
                (**self).write_sectors(lba, buf, durability)
            }

            fn flush(&self) -> VckResult<()> {
                (**self).flush()
            }
        }
    )+};
}

forward!(&T, Arc<T>, Box<T>);
