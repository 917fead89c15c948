//! What driver, boot loader, tools and user-mode programs share.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod cipher;
pub mod error;
pub mod offset_store;
pub mod random;
pub mod sector_io;
pub mod units;

pub use cipher::VolumeCipher;
pub use error::{NtStatus, VckError, VckResult};
pub use offset_store::{EncryptedOffset, EncryptedOffsetStore, SealedUpdate, VolumeState};
pub use random::RandomSource;
pub use sector_io::{Durability, SectorIo};
pub use units::{ByteLen, ByteOffset, DataExtent, DataSector, Extent, Geometry, Lba, RangeClass, SectorCount, SectorSize};
