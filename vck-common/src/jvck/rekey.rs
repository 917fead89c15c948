//! Another VMK for a volume.
//!
//! # Ordering
//! The conversion record is authenticated under a key of the VMK, and knows the boundary better than the blocks, which may lag behind
//! it. So:
//!
//! 1. The record is restated and written once more, without a zone, and with the salt of the blocks to come: whichever of its two
//!    slots survives says the same.
//! 2. These blocks, with its boundary and direction, under the old VMK. Cut here, the record counts.
//! 3. The record goes, in every replica.
//! 4. Blocks under the new VMK, in index order.
//!
//! Each is flushed before the next begins. Cut anywhere, the volume opens with the old VMK, with the new one, or, while replicas
//! differ, with either, and always with the same boundary. With blocks first, a record that the new VMK cannot authenticate would keep
//! the volume from being opened.

use super::{codec::MetadataCodec, record::forget_record, store::JvckMetadataStore};
use crate::{
    ConversionJournal, DataExtent, Durability, EncryptedOffsetStore, RandomSource, SealedUpdate, SecretBytes, SectorIo,
    VckError, VckResult,
    journal::{Activity, Entry, Found},
};

impl<S: SectorIo, C: MetadataCodec> JvckMetadataStore<S, C> {
    /// Seals the metadata of a volume that is not attached under another VMK. The keys of the data stay: whoever has the old VMK
    /// and an old copy of the metadata can still read the data. What the record knew about the last error goes with it.
    /// `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// [`VckError::WrongState`], with nothing changed, if a conversion was running or a step of it was interrupted, if damaged
    /// sectors are listed, or if the store has written already; those of opening the record and of
    /// [`EncryptedOffsetStore::seal`]; the first write or flush error: the change is to be tried again with a store opened anew,
    /// under whichever VMK opens.
    pub fn change_vmk(&mut self, vmk: &[u8], random: &dyn RandomSource) -> VckResult<()> {
        if vmk.is_empty() {
            return Err(VckError::InvalidData("a VMK has at least one byte"));
        }
        let new = SecretBytes::copy_from(vmk)?;
        if let Some(mut journal) = self.journal()? {
            self.retire(&mut *journal, random)?;
        }
        self.vmk = new;
        let (offset, state) = self.load()?;
        self.persist(offset.sector, state, random)
    }

    /// Brings the blocks up to the record, and takes the record away.
    fn retire(&self, journal: &mut dyn ConversionJournal, random: &dyn RandomSource) -> VckResult<()> {
        let (offset, state) = self.load()?;
        let known = match journal.open(&self.io)? {
            Found::Unavailable => return Ok(()),
            Found::Nothing => None,
            Found::Entry(entry) => Some((check_at_rest(&entry)?, entry.boundary, entry.direction)),
            // Another implementation wrote the blocks after the record.
            Found::Overtaken(entry) => Some((check_at_rest(&entry)?, offset.sector, state)),
        };
        journal.restate(&self.io)?;
        self.io.flush()?;
        if let Some((activity, boundary, direction)) = known {
            let mut update = SealedUpdate::new();
            self.seal(boundary, direction, random, &mut update)?;
            let entry = Entry { activity, direction, boundary, zone: DataExtent::default(), error: None, damaged: &[] };
            journal.write(&self.io, &entry, Some(&update))?;
            self.io.flush()?;
            journal.it_is_durable();
            update.apply(&self.io, Durability::AtNextFlush)?;
            self.io.flush()?;
            self.sealed_is_durable(boundary, direction);
        }
        forget_record(&self.io, &self.geometry)
    }
}

fn check_at_rest(entry: &Entry<'_>) -> VckResult<Activity> {
    if entry.activity == Activity::Running || !entry.zone.is_empty() {
        return Err(VckError::WrongState("a conversion is under way: attach the volume and let it end, or pause it"));
    }
    if !entry.damaged.is_empty() {
        return Err(VckError::WrongState("the conversion record lists damaged sectors: write to them first"));
    }
    Ok(entry.activity)
}
