//! The journal of a conversion: what makes in-place conversion survive a loss of power.
//!
//! It is a capability beside [`EncryptedOffsetStore`](crate::EncryptedOffsetStore): a format that has room for it hands one
//! out ([`EncryptedOffsetStore::journal`](crate::EncryptedOffsetStore::journal)), a format that has not is converted only if
//! its provider accepts that power loss may damage the sectors under way.
//!
//! # Ordering, seen from the journal
//! ```text
//! open; restate; flush                               the found entry may be acted on
//! write {B, Z, digests}; flush; it_is_durable        protect: Z may be overwritten now
//! write {B', Z', digests'; upcoming}; flush; it_is_durable    commit: only now may the blocks of `upcoming` be written
//! blocks of `upcoming`; flush; blocks_are_durable
//! ```
//!
//! # Invariants
//! * Of the entries on disk the newest complete one counts. Writing never touches the place of the newest durable one.
//! * Between a `write` and its `it_is_durable` a loss of power may show the old entry or the new one: the caller sees to
//!   it that both are true.
//! * Every method but [`ConversionJournal::open`] and [`ConversionJournal::restate`] runs while a part of the volume is closed: no allocation, no blocking but
//!   for the transfers themselves, nothing pageable.

use crate::{DataExtent, DataSector, Lba, NtStatus, SealedUpdate, SectorCount, SectorIo, VckResult, VolumeState};

/// What a conversion was doing when the entry was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activity {
    /// Nothing was asked for, or the end was reached.
    #[default]
    Idle,
    /// Converting in the entry's direction; goes on at the next attach.
    Running,
    /// Stopped by a PAUSE request; stays so until a START.
    Paused,
    /// Stopped by an error; stays so until a START.
    Faulted,
}

/// What was being done when a conversion failed, by [`JournalError::kind`] from 1 on. New ones come last.
pub const FAILED_STEPS: [&str; 9] = [
    "sealing the metadata",
    "waiting for requests",
    "reading",
    "writing",
    "writing the old contents back",
    "writing the metadata",
    "flushing",
    "writing the conversion record",
    "taking memory",
];

/// The last error of a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalError {
    /// What was being done: a place in [`FAILED_STEPS`], counted from 1. A later version may write other numbers.
    pub kind: u8,
    /// The sector concerned.
    pub lba: Lba,
    /// The device's status.
    pub status: NtStatus,
    /// Attempts that failed.
    pub count: u32,
}

impl JournalError {
    /// What was being done, in words.
    #[must_use]
    pub fn step(&self) -> &'static str {
        let place = usize::from(self.kind).checked_sub(1);
        place.and_then(|place| FAILED_STEPS.get(place)).copied().unwrap_or("a step that this version does not know")
    }
}

/// Why a sector is kept from being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Found torn after a loss of power: it is neither side. A covering write heals it.
    Torn,
    /// It could not be read when its turn to be converted came. A covering write heals it.
    Unreadable,
}

/// A sector that is kept from being read until it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamagedSector {
    /// The sector.
    pub sector: DataSector,
    /// Why.
    pub damage: Damage,
}

/// How many damaged sectors an entry can hold. A conversion that would need more stops as faulted.
pub const MAX_DAMAGED: usize = 64;

/// What an entry says, apart from the digests and what the implementation adds by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What the conversion is doing.
    pub activity: Activity,
    /// Its direction.
    pub direction: VolumeState,
    /// Sectors below are ciphertext, but for those of `zone`.
    pub boundary: DataSector,
    /// The zone under conversion, whose sectors may be of either side; empty: none. Its digests are those that the last
    /// [`ConversionJournal::cover`] computed.
    pub zone: DataExtent,
    /// The last error.
    pub error: Option<JournalError>,
    /// Damaged sectors, at most [`MAX_DAMAGED`].
    pub damaged: &'a [DamagedSector],
}

/// What [`ConversionJournal::open`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// No entry, and the place is free to be used.
    Nothing,
    /// An entry; every later `matches` is about its zone.
    Entry(Entry<'a>),
    /// An entry without a zone that another implementation's blocks have overtaken: they count, and the next write makes
    /// the journal follow. The damaged sectors still hold.
    Overtaken(Entry<'a>),
    /// The place belongs to somebody else, or is too small. Nothing may be written.
    Unavailable,
}

/// The journal of one volume.
pub trait ConversionJournal: Send {
    /// The longest zone whose digests fit.
    fn longest_zone(&self) -> SectorCount;

    /// Reads what the disk holds and takes the newest complete entry. Writes nothing. `PASSIVE_LEVEL`; may allocate.
    ///
    /// # Errors
    /// [`VckError::Conflict`](crate::VckError::Conflict) if the blocks were changed by another implementation while a zone
    /// was under way; the device's error if no replica could be read.
    fn open(&mut self, io: &dyn SectorIo) -> VckResult<Found<'_>>;

    /// Makes what [`ConversionJournal::open`] found the only truth: writes the entry, as it is, into every replica that does not hold
    /// it, and wipes places that could not be read. It becomes durable with the caller's next flush. To be done before anything
    /// is done on the word of what was found, also if that was nothing: a loss of power may have left an entry in one replica
    /// alone. If that one could not be read next time, an older entry would be believed; and if it could not be read this
    /// time, it would be believed next time, though much was written since. Every replica is tried. To be repeated if that flush
    /// fails: then everything is written again, since the flush may have lost it. `PASSIVE_LEVEL`; may allocate.
    ///
    /// # Errors
    /// As [`ConversionJournal::write`]; [`VckError::WrongState`](crate::VckError::WrongState) if the journal was not opened or
    /// something was covered or written since.
    fn restate(&mut self, io: &dyn SectorIo) -> VckResult<()> {
        let _ = io;
        Ok(())
    }

    /// Replicas that are given up: they failed several writes in a row, others take the entries. Worth a line in the log.
    fn lost_replicas(&self) -> usize {
        0
    }

    /// Remembers what a sector held when it was found torn, for the next [`ConversionJournal::write`] that lists it as damaged,
    /// and those after it as long as they list it.
    fn note_torn(&mut self, sector: DataSector, bytes: &[u8]) {
        let _ = (sector, bytes);
    }

    /// Whether a sector of the opened entry's damaged ones held something else when it was found torn. Then it was written since
    /// and is whole; the entry that leaves it out did not become durable. `false` if it is not known what it held.
    fn was_written_since(&self, sector: DataSector, bytes: &[u8]) -> bool {
        let _ = (sector, bytes);
        false
    }

    /// Computes the digests of the ciphertext side of `zone` for the next [`ConversionJournal::write`]. `ciphertext` is
    /// `zone.count` whole sectors; a zone longer than [`ConversionJournal::longest_zone`] is refused.
    ///
    /// # Errors
    /// [`VckError::InvalidData`](crate::VckError::InvalidData) for a wrong length.
    fn cover(&mut self, zone: DataExtent, ciphertext: &[u8]) -> VckResult<()>;

    /// Whether `bytes` are the ciphertext that the zone of the last opened entry or the last cover has at `sector`.
    fn matches(&self, sector: DataSector, bytes: &[u8]) -> bool;

    /// Writes an entry, newer than every one before, into every replica; it becomes durable with the caller's next flush.
    /// `upcoming`: metadata blocks that may be written once this entry is durable.
    ///
    /// # Errors
    /// A write error: some replicas may hold the entry. To be repeated, or followed by an entry that is also true. A replica
    /// that failed several times in a row may be given up as long as another one takes the entry.
    fn write(&mut self, io: &dyn SectorIo, entry: &Entry<'_>, upcoming: Option<&SealedUpdate>) -> VckResult<()>;

    /// The last written entry was flushed.
    fn it_is_durable(&mut self);

    /// The blocks named last as upcoming were written to every replica and flushed: older blocks are gone.
    fn blocks_are_durable(&mut self);
}
