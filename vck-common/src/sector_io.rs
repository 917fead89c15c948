//! Sector-granular access to a volume: the seam that carries all testing of format and conversion code.
use crate::{Lba, SectorCount, SectorSize, VckResult};

/// When a write is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// After the next successful [`SectorIo::flush`].
    AtNextFlush,
    /// Before the call returns (write-through).
    OnReturn,
}

/// Whole-sector reads and writes; LBAs are absolute on the volume, buffers a multiple of the sector size.
pub trait SectorIo: Send + Sync {
    /// Logical sector size of the device.
    fn sector_size(&self) -> SectorSize;
    /// Size of the whole volume, metadata included.
    fn total_sectors(&self) -> SectorCount;
    /// Reads `buf.len() / sector_size` sectors from `lba`.
    fn read_sectors(&self, lba: Lba, buf: &mut [u8]) -> VckResult<()>;
    /// Writes `buf.len() / sector_size` sectors at `lba`.
    fn write_sectors(&self, lba: Lba, buf: &[u8], durability: Durability) -> VckResult<()>;
    /// Makes everything acknowledged before it durable.
    fn flush(&self) -> VckResult<()>;
}
