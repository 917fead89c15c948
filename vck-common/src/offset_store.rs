//! Where the boundary and the direction are persisted.
//!
//! Storing is split in two so that nothing that may block, allocate or fail runs while a gate is closed: `seal` makes
//! the new sectors ready (PASSIVE_LEVEL, may fail), and the framework performs the writes.
use alloc::vec::Vec;

use crate::{DataSector, Lba, RandomSource, SectorCount, VckResult};

/// The persisted direction of conversion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VolumeState {
    /// Towards ciphertext (0 on disk).
    #[default]
    Encrypt,
    /// Towards plaintext (1 on disk).
    Decrypt,
}

/// The persisted boundary: data sectors below `sector` are ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncryptedOffset {
    /// First sector that is not ciphertext.
    pub sector: DataSector,
    /// Size of the data region.
    pub total_sectors: SectorCount,
}

/// Sector writes that together persist one (boundary, direction) pair.
#[derive(Default)]
pub struct SealedUpdate {
    bytes: Vec<u8>,
    writes: Vec<(Lba, usize, usize)>,
}

/// Persists boundary and direction.
pub trait EncryptedOffsetStore: Send + Sync {
    /// What was found at open or sealed and written since. No I/O.
    fn load(&self) -> VckResult<(EncryptedOffset, VolumeState)>;
    /// Fills `out` (cleared first) with the writes that persist `offset` and `state`. PASSIVE_LEVEL; no I/O.
    fn seal(&self, offset: DataSector, state: VolumeState, random: &dyn RandomSource, out: &mut SealedUpdate)
    -> VckResult<()>;
    /// Tells the store that the writes of the last `seal` are durable.
    fn sealed_is_durable(&self, offset: DataSector, state: VolumeState);
}
