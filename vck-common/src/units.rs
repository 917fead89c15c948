//! Units of length and position.
//!
//! A bare `u64` never says whether it counts bytes or sectors, from the start of the volume or from the start of the
//! data region. Each of those is a type here, and [`Geometry`] alone converts between them.
//!
//! Arithmetic is checked: there is no operator that could wrap or panic.

use core::fmt;

use crate::{VckError, VckResult};

mod geometry;
mod range;

pub use geometry::{Geometry, MAX_REPLICAS_PER_END, MIN_METADATA_SIZE};
pub use range::{DataExtent, Extent, RangeClass, RequestorKind};

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(0);

            /// Wraps a raw value of this unit.
            #[must_use]
            #[inline]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The raw value.
            #[must_use]
            #[inline]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

/// A position (`$point`) and the length (`$length`) that separates two of them.
macro_rules! affine {
    ($point:ident, $length:ident) => {
        impl $point {
            /// The position `distance` further on; `None` on overflow.
            #[must_use]
            #[inline]
            pub const fn checked_add(self, distance: $length) -> Option<Self> {
                match self.0.checked_add(distance.0) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// The position `distance` before; `None` below zero.
            #[must_use]
            #[inline]
            pub const fn checked_sub(self, distance: $length) -> Option<Self> {
                match self.0.checked_sub(distance.0) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// The distance from `earlier` to here; `None` when `earlier` lies behind.
            #[must_use]
            #[inline]
            pub const fn checked_distance_from(self, earlier: Self) -> Option<$length> {
                match self.0.checked_sub(earlier.0) {
                    Some(value) => Some($length(value)),
                    None => None,
                }
            }
        }
    };
}

/// A length: adds to and subtracts from its own kind.
macro_rules! length {
    ($name:ident) => {
        impl $name {
            /// The sum; `None` on overflow.
            #[must_use]
            #[inline]
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// The difference; `None` below zero.
            #[must_use]
            #[inline]
            pub const fn checked_sub(self, other: Self) -> Option<Self> {
                match self.0.checked_sub(other.0) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// The multiple; `None` on overflow.
            #[must_use]
            #[inline]
            pub const fn checked_mul(self, factor: u64) -> Option<Self> {
                match self.0.checked_mul(factor) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// The smaller of the two.
            #[must_use]
            #[inline]
            pub const fn min(self, other: Self) -> Self {
                if self.0 < other.0 { self } else { other }
            }

            /// True for a length of zero.
            #[must_use]
            #[inline]
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }
        }
    };
}

unit!(
    /// Absolute sector number, counted from the first sector of the volume (partition).
    Lba
);
unit!(
    /// Sector number relative to the first sector of the data region; the only tweak input.
    DataSector
);
unit!(
    /// Sector number relative to the first vendor-data sector of one metadata replica.
    VendorSector
);
unit!(
    /// A number of sectors.
    SectorCount
);
unit!(
    /// A byte position; the context (volume or data region) is named where it is used.
    ByteOffset
);
unit!(
    /// A number of bytes.
    ByteLen
);
affine!(Lba, SectorCount);
affine!(DataSector, SectorCount);
affine!(VendorSector, SectorCount);
affine!(ByteOffset, ByteLen);
length!(SectorCount);
length!(ByteLen);

/// The logical sector size of a device, in bytes.
///
/// # Invariants
/// A power of two in `512..=65536`. The format itself would work with any size from 512 that is a multiple of the cipher
/// block, but every disk class driver reports a power of two, and alignment tests by mask depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SectorSize(u32);

impl SectorSize {
    /// 512 bytes.
    pub const S512: Self = Self(512);
    /// 4096 bytes.
    pub const S4096: Self = Self(4096);

    /// Validates a size reported by a device.
    ///
    /// # Errors
    /// [`VckError::Unsupported`] unless `bytes` is a power of two in `512..=65536`.
    pub const fn new(bytes: u32) -> VckResult<Self> {
        if bytes < 512 || bytes > 65536 || !bytes.is_power_of_two() {
            return Err(VckError::Unsupported("the sector size is not a power of two between 512 and 65536"));
        }
        Ok(Self(bytes))
    }

    /// The size in bytes.
    #[must_use]
    #[inline]
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// The size in bytes, for slicing.
    #[must_use]
    #[inline]
    pub const fn usize(self) -> usize {
        self.0 as usize
    }

    /// The size in bytes, for 64-bit arithmetic.
    #[must_use]
    #[inline]
    pub const fn u64(self) -> u64 {
        self.0 as u64
    }

    /// log2 of the size.
    #[must_use]
    #[inline]
    pub const fn shift(self) -> u32 {
        self.0.trailing_zeros()
    }

    /// True if `bytes` is a whole number of sectors.
    #[must_use]
    #[inline]
    pub const fn is_aligned(self, bytes: u64) -> bool {
        bytes.trailing_zeros() >= self.shift()
    }

    /// The length in bytes of `count` sectors; `None` on overflow.
    #[must_use]
    #[inline]
    pub const fn bytes_of(self, count: SectorCount) -> Option<ByteLen> {
        count_to_len(count, self)
    }

    /// The whole sectors in `len` bytes, rounded down.
    #[must_use]
    #[inline]
    pub const fn sectors_in(self, len: ByteLen) -> SectorCount {
        SectorCount::new(len.get() >> self.shift())
    }

    /// The sectors a buffer of `len` bytes holds.
    ///
    /// # Errors
    /// [`VckError::InvalidData`] unless `len` is a non-zero multiple of the sector size.
    #[inline]
    pub const fn sectors_of_buffer(self, len: usize) -> VckResult<SectorCount> {
        let bytes = len as u64;
        if bytes == 0 || !self.is_aligned(bytes) {
            return Err(VckError::InvalidData("the buffer is not a whole number of sectors"));
        }
        Ok(SectorCount::new(bytes >> self.shift()))
    }
}

impl fmt::Display for SectorSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[inline]
const fn count_to_len(count: SectorCount, size: SectorSize) -> Option<ByteLen> {
    match count.get().checked_mul(size.u64()) {
        Some(value) => Some(ByteLen::new(value)),
        None => None,
    }
}
