//! Units of length and position, and the one converter between them.
//!
//! A bare `u64` never says whether it counts bytes or sectors, from the start of the volume or from the start of the
//! data region. Each of those is a type here, and [`Geometry`] alone converts between them.

use crate::{VckError, VckResult};

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
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The raw value.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }
    };
}

unit!(/// Absolute sector number, counted from the first sector of the volume (partition).
    Lba);
unit!(/// Sector number relative to the first sector of the data region; the only tweak input.
    DataSector);
unit!(/// A number of sectors.
    SectorCount);
unit!(/// A byte position; the context (volume or data region) is named where it is used.
    ByteOffset);
unit!(/// A number of bytes.
    ByteLen);
