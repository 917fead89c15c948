//! Where the boundary and the direction are persisted.
//!
//! Storing is split in two so that nothing that may block, allocate or fail runs while a gate is closed: `seal` makes
//! the new sectors ready (`PASSIVE_LEVEL`, may fail), and the framework performs the writes.

use alloc::{boxed::Box, vec::Vec};

use zeroize::Zeroize;

use crate::journal::ConversionJournal;
use crate::{DataSector, Durability, Lba, RandomSource, SectorCount, SectorIo, SectorSize, VckError, VckResult};

/// The persisted direction of conversion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VolumeState {
    /// Towards ciphertext (0 on disk).
    #[default]
    Encrypt,
    /// Towards plaintext (1 on disk).
    Decrypt,
}

impl VolumeState {
    /// The on-disk value.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        match self {
            Self::Encrypt => 0,
            Self::Decrypt => 1,
        }
    }

    /// Reads the on-disk value; an unknown one means encrypt, as existing readers have it.
    #[must_use]
    pub const fn from_u16(value: u16) -> Self {
        match value {
            1 => Self::Decrypt,
            _ => Self::Encrypt,
        }
    }
}

/// The persisted boundary: data sectors below `sector` are ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncryptedOffset {
    /// First sector that is not ciphertext.
    pub sector: DataSector,
    /// Size of the data region.
    pub total_sectors: SectorCount,
}

impl EncryptedOffset {
    /// True if `sector` is ciphertext on disk.
    #[must_use]
    pub const fn is_encrypted(&self, sector: DataSector) -> bool {
        sector.get() < self.sector.get()
    }

    /// True if the whole data region is ciphertext.
    #[must_use]
    pub const fn is_fully_encrypted(&self) -> bool {
        self.sector.get() >= self.total_sectors.get()
    }
}

#[derive(Clone, Copy)]
struct SealedWrite {
    lba: Lba,
    start: usize,
    len: usize,
}

/// Sector writes that together persist one (boundary, direction) pair, in the order in which they must be issued.
///
/// The bytes are wiped by [`SealedUpdate::clear`] and on drop.
#[derive(Default)]
pub struct SealedUpdate {
    bytes: Vec<u8>,
    writes: Vec<SealedWrite>,
    identity: [u8; 16],
}

impl SealedUpdate {
    /// An empty update that owns no memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), writes: Vec::new(), identity: [0; 16] }
    }

    /// Takes memory for `writes` writes with `bytes` distinct bytes in all, so that filling it allocates nothing.
    ///
    /// # Errors
    /// [`VckError::NoMemory`]; what was there is kept.
    pub fn reserve(&mut self, writes: usize, bytes: usize) -> VckResult<()> {
        let more = writes.saturating_sub(self.writes.len());
        self.writes.try_reserve_exact(more).map_err(|_| VckError::NoMemory)?;
        if bytes > self.bytes.capacity() {
            // `Vec` would free the old block without wiping it.
            let mut larger = Vec::new();
            larger.try_reserve_exact(bytes).map_err(|_| VckError::NoMemory)?;
            larger.extend_from_slice(&self.bytes);
            self.bytes.zeroize();
            self.bytes = larger;
        }
        Ok(())
    }

    /// Appends a write of `bytes` at `lba`.
    ///
    /// # Errors
    /// [`VckError::NoMemory`]; nothing was appended.
    pub fn push(&mut self, lba: Lba, bytes: &[u8]) -> VckResult<()> {
        self.push_with_padding(lba, bytes, 0)
    }

    /// Appends a write of one sector: `block`, then zeros up to the sector size.
    ///
    /// # Errors
    /// [`VckError::InvalidData`] if `block` is longer than a sector; [`VckError::NoMemory`].
    pub fn push_sector(&mut self, lba: Lba, block: &[u8], size: SectorSize) -> VckResult<()> {
        let padding = size.usize().checked_sub(block.len());
        self.push_with_padding(lba, block, padding.ok_or(VckError::InvalidData("the block is longer than a sector"))?)
    }

    /// Appends a write of the same bytes as the last one at another place.
    ///
    /// # Errors
    /// [`VckError::InvalidData`] if there is no last write; [`VckError::NoMemory`].
    pub fn push_same(&mut self, lba: Lba) -> VckResult<()> {
        let last = *self.writes.last().ok_or(VckError::InvalidData("there is no write to repeat"))?;
        self.writes.try_reserve(1).map_err(|_| VckError::NoMemory)?;
        self.writes.push(SealedWrite { lba, ..last });
        Ok(())
    }

    /// Forgets the writes and wipes their bytes; the memory stays reserved.
    pub fn clear(&mut self) {
        self.writes.clear();
        self.bytes.zeroize();
        self.identity = [0; 16];
    }

    /// What tells this update from every other of the same volume: the salt of its blocks. Zero if the format has none.
    #[must_use]
    pub const fn identity(&self) -> &[u8; 16] {
        &self.identity
    }

    /// Sets the identity; [`SealedUpdate::clear`] makes it zero again.
    pub const fn set_identity(&mut self, identity: [u8; 16]) {
        self.identity = identity;
    }

    /// Number of writes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// True if there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The writes in the order in which they must be issued.
    pub fn writes(&self) -> impl Iterator<Item = (Lba, &[u8])> {
        self.writes.iter().filter_map(|write| {
            let end = write.start.checked_add(write.len)?;
            Some((write.lba, self.bytes.get(write.start..end)?))
        })
    }

    /// Issues the writes in order and stops at the first error, so that an earlier replica is never older than a later
    /// one. It does not flush.
    ///
    /// # Errors
    /// The error of the first write that failed; earlier writes stand.
    pub fn apply(&self, io: &dyn SectorIo, durability: Durability) -> VckResult<()> {
        self.writes().try_for_each(|(lba, bytes)| io.write_sectors(lba, bytes, durability))
    }

    fn push_with_padding(&mut self, lba: Lba, bytes: &[u8], padding: usize) -> VckResult<()> {
        let start = self.bytes.len();
        let len = bytes.len().checked_add(padding).ok_or(VckError::NoMemory)?;
        let end = start.checked_add(len).ok_or(VckError::NoMemory)?;
        let writes = self.writes.len().checked_add(1).ok_or(VckError::NoMemory)?;
        self.reserve(writes, end)?;
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(end, 0);
        self.writes.push(SealedWrite { lba, start, len });
        Ok(())
    }
}

impl Drop for SealedUpdate {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Persists boundary and direction.
pub trait EncryptedOffsetStore: Send + Sync {
    /// What was found at open, or sealed and written since. No I/O. Max IRQL: `DISPATCH_LEVEL`.
    ///
    /// # Errors
    /// Whatever keeps the implementation from knowing; the volume must then not be bound.
    fn load(&self) -> VckResult<(EncryptedOffset, VolumeState)>;

    /// Fills `out` (cleared first) with the writes that persist `offset` and `state`. `PASSIVE_LEVEL`; no I/O.
    ///
    /// # Errors
    /// [`VckError::CryptoFailed`] without random bytes, [`VckError::NoMemory`], [`VckError::ValidationFailed`] for an
    /// offset past the data region. `out` is then empty.
    fn seal(
        &self,
        offset: DataSector,
        state: VolumeState,
        random: &dyn RandomSource,
        out: &mut SealedUpdate,
    ) -> VckResult<()>;

    /// Tells the store that the writes of the last `seal` are durable. Max IRQL: `DISPATCH_LEVEL`. A part of the volume may be closed
    /// meanwhile: no allocation, no I/O, nothing pageable; taking note of the two values is all that there is to do.
    fn sealed_is_durable(&self, offset: DataSector, state: VolumeState);

    /// Whether places that should hold the current boundary and direction do not: damaged or outdated copies. Whoever bound
    /// the volume writable seals the current values and writes them, after a journal that names them is durable. No I/O. Max
    /// IRQL: `DISPATCH_LEVEL`.
    fn needs_rewrite(&self) -> bool {
        false
    }

    /// The journal that protects the sectors under conversion, if the format has one. `PASSIVE_LEVEL`; called once per
    /// attach, no I/O.
    ///
    /// # Errors
    /// [`VckError::NoMemory`] and whatever keeps a format that has a journal from offering it.
    fn journal(&self) -> VckResult<Option<Box<dyn ConversionJournal>>> {
        Ok(None)
    }
}
