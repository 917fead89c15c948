//! The baseline: a conversion without a journal, as in-place encryptors commonly do it.
//!
//! ```text
//! close, read, convert, write, flush, blocks with the new boundary, flush, publish, open
//! ```
//! Power loss between the write and the last flush leaves sectors of one side that the boundary says are of the other.

use vck_common::{
    ByteLen, DataExtent, DataSector, Durability, Geometry, SealedUpdate, SectorCount, VckResult, VolumeState,
};
use vck_windrv::engine::Parts;

/// The conversion.
pub struct Reference {
    geometry: Geometry,
    batch: u64,
    /// Sectors below are ciphertext.
    pub boundary: DataSector,
    /// The way it goes.
    pub direction: VolumeState,
    /// Whether it was started and has not come to its end.
    pub running: bool,
}

impl Reference {
    /// A conversion that stands still.
    #[must_use]
    pub const fn new(geometry: Geometry, boundary: DataSector, direction: VolumeState, batch: ByteLen) -> Self {
        let batch = batch.get() / geometry.sector_size().u64();
        Self { geometry, batch, boundary, direction, running: false }
    }

    /// Starts in a direction, which it makes durable.
    ///
    /// # Errors
    /// The device's.
    pub fn start(&mut self, parts: &Parts<'_>, direction: VolumeState) -> VckResult<()> {
        let blocks = Self::seal(parts, self.boundary, direction)?;
        Self::persist(parts, &blocks)?;
        parts.store.sealed_is_durable(self.boundary, direction);
        self.direction = direction;
        self.running = true;
        Ok(())
    }

    /// Converts the next zone; `false` if there is none.
    ///
    /// # Errors
    /// The device's.
    pub fn step(&mut self, parts: &Parts<'_>) -> VckResult<bool> {
        let Some((zone, after)) = self.next().filter(|_| self.running) else {
            self.running = false;
            return Ok(false);
        };
        let blocks = Self::seal(parts, after, self.direction)?;
        parts.gate.close_and_drain(zone)?;
        let converted = self.convert(parts, zone, &blocks);
        if converted.is_ok() {
            parts.store.sealed_is_durable(after, self.direction);
            self.boundary = after;
            parts.gate.publish(after);
        }
        parts.gate.open(zone);
        converted.map(|()| true)
    }

    fn next(&self) -> Option<(DataExtent, DataSector)> {
        let (at, total) = (self.boundary.get(), self.geometry.data_sectors().get());
        let (first, after) = match self.direction {
            VolumeState::Encrypt => (at, total.min(at + self.batch)),
            VolumeState::Decrypt => (at.saturating_sub(self.batch), at.saturating_sub(self.batch)),
        };
        let count = after.max(at) - first;
        (count > 0).then(|| (DataExtent::new(DataSector::new(first), SectorCount::new(count)), DataSector::new(after)))
    }

    fn convert(&self, parts: &Parts<'_>, zone: DataExtent, blocks: &SealedUpdate) -> VckResult<()> {
        let size = self.geometry.sector_size();
        let mut bytes = vec![0; size.usize() * usize::try_from(zone.count.get()).expect("small")];
        let lba = self.geometry.data_to_lba(zone.first).expect("inside the data region");
        parts.io.read_sectors(lba, &mut bytes)?;
        match self.direction {
            VolumeState::Encrypt => parts.cipher.encrypt_area(&mut bytes, size, zone.first),
            VolumeState::Decrypt => parts.cipher.decrypt_area(&mut bytes, size, zone.first),
        }
        parts.io.write_sectors(lba, &bytes, Durability::AtNextFlush)?;
        parts.io.flush()?;
        Self::persist(parts, blocks)
    }

    fn seal(parts: &Parts<'_>, boundary: DataSector, direction: VolumeState) -> VckResult<SealedUpdate> {
        let mut blocks = SealedUpdate::new();
        parts.store.seal(boundary, direction, parts.random, &mut blocks)?;
        Ok(blocks)
    }

    fn persist(parts: &Parts<'_>, blocks: &SealedUpdate) -> VckResult<()> {
        blocks.apply(parts.io, Durability::AtNextFlush)?;
        parts.io.flush()
    }
}
