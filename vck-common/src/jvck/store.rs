//! An open JVCK volume: its keys, its boundary, and the sealing of updates.
//!
//! # Ordering
//! [`EncryptedOffsetStore::seal`] encodes one block with one fresh salt and lists it for every replica in index order. The
//! caller issues the writes in that order and stops at the first error, makes them durable, and then calls
//! [`EncryptedOffsetStore::sealed_is_durable`]; only from then on does [`EncryptedOffsetStore::load`] answer the new values.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{
    codec::{JvckCbcCodec, MetadataCodec, read_vendor},
    create::place_block,
    header::JvckHeader,
    keys::JvckSecrets,
    layout::{BLOCK_SIZE, SALT_SIZE, VENDOR_RESERVED_SIZE},
    reader::JvckMetadataReader,
    record::{Blocks, new_journal},
    recovery::{OpenReport, ReplicaSet},
};
use crate::{
    DataSector, Durability, EncryptedOffset, EncryptedOffsetStore, Geometry, RandomSource, SealedUpdate, SecretBytes,
    SectorIo, VckError, VckResult, VendorSector, VolumeState, journal::ConversionJournal,
};

/// The direction's place in the word that holds boundary and direction. A boundary counts sectors of at least 512 bytes on
/// a volume of at most 2^63 bytes, so its top bits are free.
const STATE_SHIFT: u32 = 63;

pub(super) const fn pack(offset: DataSector, state: VolumeState) -> u64 {
    offset.get() | (state.as_u16() as u64) << STATE_SHIFT
}

const fn unpack(word: u64) -> (DataSector, VolumeState) {
    let state = if word >> STATE_SHIFT == 0 { VolumeState::Encrypt } else { VolumeState::Decrypt };
    (DataSector::new(word & !(1 << STATE_SHIFT)), state)
}

/// An open JVCK volume. The keys and the VMK are wiped on drop.
pub struct JvckMetadataStore<S, C = JvckCbcCodec> {
    pub(super) io: S,
    pub(super) geometry: Geometry,
    pub(super) header: JvckHeader,
    pub(super) secrets: JvckSecrets,
    pub(super) codec: C,
    pub(super) vmk: SecretBytes,
    /// Boundary and direction in one word, so that a reader never sees half of a change.
    pub(super) current: AtomicU64,
    pub(super) report: OpenReport,
    /// What the blocks were at open.
    pub(super) blocks: Blocks,
    /// Every replica was written since.
    pub(super) rewritten: AtomicBool,
}

impl<S: SectorIo> JvckMetadataStore<S> {
    /// Opens with the built-in codec. `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// Those of [`JvckMetadataReader::open`] and [`JvckMetadataReader::into_store_with`].
    pub fn open(io: S, vmk: &[u8]) -> VckResult<Self> {
        JvckMetadataReader::open(io)?.into_store(vmk, JvckCbcCodec)
    }
}

impl<S: SectorIo, C: MetadataCodec> JvckMetadataStore<S, C> {
    /// The boundary and the size of the data region.
    #[must_use]
    pub fn load_offset(&self) -> EncryptedOffset {
        self.current().0
    }

    /// The keys of the data region.
    #[must_use]
    pub const fn fvek_keys(&self) -> &JvckSecrets {
        &self.secrets
    }

    /// The plaintext fields, with the vendor bytes that the next seal will write.
    #[must_use]
    pub const fn header(&self) -> &JvckHeader {
        &self.header
    }

    /// The random identity of the volume.
    #[must_use]
    pub const fn volume_id(&self) -> &[u8; 16] {
        &self.header.volume_id
    }

    /// Sizes and positions.
    #[must_use]
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// What opening found out about the replicas.
    #[must_use]
    pub const fn report(&self) -> &OpenReport {
        &self.report
    }

    /// Replicas that should be rewritten once the volume is attached writable: seal the current boundary and direction,
    /// and write the update.
    #[must_use]
    pub const fn stale_replicas(&self) -> &ReplicaSet {
        &self.report.stale
    }

    /// The sector access the store was opened with.
    #[must_use]
    pub const fn io(&self) -> &S {
        &self.io
    }

    /// Reads whole sectors of the vendor area of replica `index`. `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// [`VckError::InvalidData`] for a bad length, [`VckError::NotFound`] for an unknown replica,
    /// [`VckError::ValidationFailed`] outside the vendor area, or the device's error.
    pub fn read_vendor_data(&self, index: usize, rel: VendorSector, buf: &mut [u8]) -> VckResult<()> {
        read_vendor(&self.io, &self.geometry, index, rel, buf)
    }

    /// Writes whole sectors of the vendor area of replica `index`. `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// As [`JvckMetadataStore::read_vendor_data`].
    pub fn write_vendor_data(
        &self,
        index: usize,
        rel: VendorSector,
        buf: &[u8],
        durability: Durability,
    ) -> VckResult<()> {
        let count = self.geometry.sector_size().sectors_of_buffer(buf.len())?;
        self.io.write_sectors(self.geometry.vendor_lba(index, rel, count)?, buf, durability)
    }

    /// Writes the same sectors into the vendor area of every replica, in index order, and stops at the first error.
    ///
    /// # Errors
    /// As [`JvckMetadataStore::read_vendor_data`]; earlier replicas stay written.
    pub fn write_vendor_data_all(&self, rel: VendorSector, buf: &[u8], durability: Durability) -> VckResult<()> {
        (0..self.geometry.replica_count()).try_for_each(|index| self.write_vendor_data(index, rel, buf, durability))
    }

    /// The vendor's plaintext bytes of the block.
    #[must_use]
    pub const fn vendor_reserved(&self) -> &[u8; VENDOR_RESERVED_SIZE] {
        &self.header.vendor_reserved
    }

    /// Changes the vendor's plaintext bytes in memory; the next sealed update carries them to every replica. With them the vendor
    /// area is the vendor's: a volume that has a conversion record is refused afterwards, as if the bytes had been forged.
    pub const fn set_vendor_reserved(&mut self, bytes: &[u8; VENDOR_RESERVED_SIZE]) {
        self.header.vendor_reserved = *bytes;
    }

    /// Seals, writes, flushes and publishes in one step, for callers that may block. `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// Those of [`EncryptedOffsetStore::seal`], and the first write or flush error; the old values then stay current in
    /// memory, while some replicas may already hold the new ones.
    pub fn persist(&self, offset: DataSector, state: VolumeState, random: &dyn RandomSource) -> VckResult<()> {
        let mut update = SealedUpdate::new();
        self.seal_into(offset, state, random, &mut update)?;
        update.apply(&self.io, Durability::AtNextFlush)?;
        self.io.flush()?;
        self.sealed_is_durable(offset, state);
        Ok(())
    }

    fn current(&self) -> (EncryptedOffset, VolumeState) {
        let (sector, state) = unpack(self.current.load(Ordering::Acquire));
        (EncryptedOffset { sector, total_sectors: self.geometry.data_sectors() }, state)
    }

    fn seal_into(
        &self,
        offset: DataSector,
        state: VolumeState,
        random: &dyn RandomSource,
        out: &mut SealedUpdate,
    ) -> VckResult<()> {
        out.clear();
        if offset.get() > self.geometry.data_sectors().get() {
            return Err(VckError::ValidationFailed("the boundary lies outside the data region"));
        }
        let mut salt = [0; SALT_SIZE];
        random.fill(&mut salt)?;
        let mut block = [0; BLOCK_SIZE];
        self.codec.seal(&self.header, &self.secrets, offset, state, &salt, self.vmk.expose(), &mut block)?;
        place_block(&self.geometry, &block, out)
    }
}

impl<S: SectorIo, C: MetadataCodec> EncryptedOffsetStore for JvckMetadataStore<S, C> {
    fn load(&self) -> VckResult<(EncryptedOffset, VolumeState)> {
        Ok(self.current())
    }

    fn seal(
        &self,
        offset: DataSector,
        state: VolumeState,
        random: &dyn RandomSource,
        out: &mut SealedUpdate,
    ) -> VckResult<()> {
        self.seal_into(offset, state, random, out)
    }

    fn sealed_is_durable(&self, offset: DataSector, state: VolumeState) {
        self.current.store(pack(offset, state), Ordering::Release);
        self.rewritten.store(true, Ordering::Release);
    }

    /// The conversion record. It must be had before the first update is written: what it says is compared with the blocks that
    /// were found at open.
    fn journal(&self) -> VckResult<Option<Box<dyn ConversionJournal>>> {
        if self.rewritten.load(Ordering::Acquire) {
            return Err(VckError::WrongState("the journal is to be had before the first update is written"));
        }
        new_journal(&self.geometry, &self.header, &self.blocks, self.vmk.expose()).map(Some)
    }

    fn needs_rewrite(&self) -> bool {
        !self.report.stale.is_empty() && !self.rewritten.load(Ordering::Acquire)
    }
}
