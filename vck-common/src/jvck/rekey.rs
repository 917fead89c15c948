//! Another VMK for a volume.
//!
//! # Ordering
//! The conversion record is authenticated under a key of the VMK, and knows the boundary better than the blocks, which may lag behind
//! it. So:
//!
//! 1. The record is restated and written once more, without a zone: whichever of its two slots survives says the same.
//! 2. Blocks with its boundary, under the old VMK.
//! 3. The record goes, in every replica.
//! 4. Blocks under the new VMK, in index order.
//!
//! Each is flushed before the next begins. Cut anywhere, the volume opens with the old VMK, with the new one, or, while replicas
//! differ, with either, and always with the same boundary. With blocks first, a record that the new VMK cannot authenticate would keep
//! the volume from being opened.

use super::{codec::MetadataCodec, record::forget_record, store::JvckMetadataStore};
use crate::{
    ConversionJournal, DataExtent, DataSector, EncryptedOffsetStore, RandomSource, SecretBytes, SectorIo, VckError,
    VckResult, VolumeState,
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
        let new = SecretBytes::copy_from(vmk)?;
        let (offset, state) = self.load()?;
        let mut at = (offset.sector, state);
        if let Some(mut journal) = self.journal()?
            && let Some(settled) = settle(&mut *journal, &self.io, at)?
        {
            at = settled;
            self.persist(at.0, at.1, random)?;
            forget_record(&self.io, &self.geometry)?;
        }
        self.vmk = new;
        self.persist(at.0, at.1, random)
    }
}

/// Makes the record say in both slots that nothing is under way; boundary and direction that hold. `None` if there is no place
/// for a record.
fn settle(
    journal: &mut dyn ConversionJournal,
    io: &dyn SectorIo,
    blocks: (DataSector, VolumeState),
) -> VckResult<Option<(DataSector, VolumeState)>> {
    let (activity, at) = match journal.open(io)? {
        Found::Unavailable => return Ok(None),
        Found::Nothing => {
            journal.restate(io)?;
            io.flush()?;
            return Ok(Some(blocks));
        }
        Found::Entry(entry) => (check_at_rest(&entry)?, (entry.boundary, entry.direction)),
        // Another implementation wrote the blocks after the record.
        Found::Overtaken(entry) => (check_at_rest(&entry)?, blocks),
    };
    journal.restate(io)?;
    io.flush()?;
    let (boundary, direction) = at;
    let entry = Entry { activity, direction, boundary, zone: DataExtent::default(), error: None, damaged: &[] };
    journal.write(io, &entry, None)?;
    io.flush()?;
    journal.it_is_durable();
    Ok(Some(at))
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
