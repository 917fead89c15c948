//! Extents, and what a request's extent may touch.

use super::{ByteLen, ByteOffset, DataSector, SectorCount};

/// A run of sectors of the data region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DataExtent {
    /// First sector.
    pub first: DataSector,
    /// Number of sectors; 0 is an empty extent.
    pub count: SectorCount,
}

impl DataExtent {
    /// `count` sectors from `first`.
    #[must_use]
    #[inline]
    pub const fn new(first: DataSector, count: SectorCount) -> Self {
        Self { first, count }
    }

    /// The first sector behind the extent; `None` if it is not representable.
    #[must_use]
    #[inline]
    pub const fn end(self) -> Option<DataSector> {
        self.first.checked_add(self.count)
    }

    /// True if there is no sector in it.
    #[must_use]
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.count.is_zero()
    }

    /// True if `sector` is one of its sectors.
    #[must_use]
    #[inline]
    pub const fn contains(self, sector: DataSector) -> bool {
        match sector.checked_distance_from(self.first) {
            Some(distance) => distance.get() < self.count.get(),
            None => false,
        }
    }

    /// True if the two have a sector in common. An empty extent overlaps nothing.
    #[must_use]
    #[inline]
    pub const fn overlaps(self, other: Self) -> bool {
        if self.is_empty() || other.is_empty() {
            return false;
        }
        self.contains(other.first) || other.contains(self.first)
    }

    /// The parts below `boundary` and from `boundary` on. Either may be empty; together they are this extent.
    #[must_use]
    #[inline]
    pub const fn split_at(self, boundary: DataSector) -> (Self, Self) {
        let below = match boundary.checked_distance_from(self.first) {
            Some(distance) => distance.min(self.count),
            None => SectorCount::ZERO,
        };
        // `below <= count`, and the boundary is reached only if it is not past the end: neither step can fail.
        let rest = match self.count.checked_sub(below) {
            Some(rest) => rest,
            None => SectorCount::ZERO,
        };
        let second = match self.first.checked_add(below) {
            Some(second) => second,
            None => self.first,
        };
        (Self::new(self.first, below), Self::new(second, rest))
    }
}

/// A byte extent as a request states it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Extent {
    /// First byte, relative to the data region (to what the device above shows as its start).
    pub offset: ByteOffset,
    /// Number of bytes.
    pub len: ByteLen,
}

impl Extent {
    /// `len` bytes from `offset`.
    #[must_use]
    #[inline]
    pub const fn new(offset: ByteOffset, len: ByteLen) -> Self {
        Self { offset, len }
    }

    /// The first byte behind the extent; `None` if it is not representable.
    #[must_use]
    #[inline]
    pub const fn end(self) -> Option<ByteOffset> {
        self.offset.checked_add(self.len)
    }
}

/// Whose request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestorKind {
    /// The request came from user mode.
    User,
    /// The request came from kernel mode.
    Kernel,
}

/// What [`super::Geometry::classify`] says about a whole extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeClass {
    /// Every sector lies in the data region. A request of length 0 at or before the end gives an empty extent.
    Data(DataExtent),
    /// Offset or length is not a whole number of sectors: `STATUS_INVALID_PARAMETER`.
    Misaligned,
    /// A user-mode request that starts inside the volume and reaches metadata: `STATUS_ACCESS_DENIED`.
    MetadataDenied,
    /// Everything else that is not wholly data, kernel mode included: `STATUS_INVALID_PARAMETER`.
    OutOfRange,
}
