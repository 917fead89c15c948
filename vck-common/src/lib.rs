//! What driver, boot loader, tools and user-mode programs share: the on-disk format, the wire format of the control
//! device, the sector cipher, and the seams ([`SectorIo`], [`EncryptedOffsetStore`], [`VolumeCipher`], [`RandomSource`])
//! behind which the rest of the system is built and tested.
//!
//! # Invariants
//! * No unsafe code outside the vector kernels of [`xts`], no statics, no reachable panic. Every allocation is fallible and bounded.
//! * Units are types ([`Lba`], [`DataSector`], ...); [`Geometry`] alone converts between them.
//! * Secrets are types ([`Secret`], [`SecretBytes`]): wiped on drop, never printed, never cloned.
//! * Everything that arrives from outside (a message, a metadata block, a boot sector) is bounded before it is used.
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(not(any(test, feature = "conformance")), deny(clippy::disallowed_methods, clippy::disallowed_macros))]

extern crate alloc;

pub mod bpb;
pub mod cipher;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod error;
pub mod handover;
pub mod journal;
pub mod jvck;
mod memory;
#[cfg(feature = "conformance")]
pub mod memory_io;
pub mod offset_store;
pub mod path;
pub mod random;
pub mod secret;
pub mod sector_io;
mod status;
pub mod units;
pub mod wire;
pub mod xts;

pub use cipher::VolumeCipher;
pub use error::{NtStatus, VckError, VckResult};
pub use handover::{Guid, guid_from_windows_bytes};
pub use journal::{Activity, ConversionJournal, DamagedSector};
pub use memory::zeroed;
#[cfg(feature = "conformance")]
pub use memory_io::MemoryIo;
pub use offset_store::{EncryptedOffset, EncryptedOffsetStore, SealedUpdate, VolumeState};
pub use path::NtPath;
pub use random::RandomSource;
pub use secret::{Secret, SecretBytes};
pub use sector_io::{Durability, SectorIo};
pub use units::{
    ByteLen, ByteOffset, DataExtent, DataSector, Extent, Geometry, Lba, RangeClass, RequestorKind, SectorCount,
    SectorSize, VendorSector,
};
pub use xts::XtsVolumeCipher;
