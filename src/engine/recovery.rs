//! What an attach does before any request is let through: it finds out where a conversion stands and finishes the step that
//! a loss of power interrupted.
//!
//! ```text
//!  examine   reads: newest entry against blocks          nothing is written
//!  finish    the entry into every replica that lacks it; flush: now it may be acted on
//!            each sector of the zone: which side is it?
//!              digest equal                 ciphertext
//!              digest of its encryption     plaintext
//!              neither                      torn: listed, never guessed
//!            write the wanted side; flush; entry {B', none, upcoming}; flush; blocks; flush
//! ```
//! Both sides are verified, none is assumed. Finishing may be cut anywhere and begins again: until the entry without the
//! zone is durable the older one holds, and a sector that was finished is found to be on the wanted side.
//!
//! # Invariants
//! * A volume whose blocks another implementation advanced is taken as the blocks say; with a zone under way the journal
//!   refuses it.
//! * If the wanted side cannot be written, the other one is: then every sector of the zone is as before the step.
//! * If that cannot be written either, or more sectors are damaged than an entry can list, the entry stays as it is and the
//!   zone is fenced: all else lives on, and a START tries again.
use alloc::boxed::Box;
use core::time::Duration;

use zeroize::Zeroize;

use vck_common::journal::{Damage, Entry, Found};
use vck_common::{
    Activity, ConversionJournal, DataExtent, DataSector, Durability, EncryptedOffsetStore, Geometry, NtStatus,
    RandomSource, SealedUpdate, SectorIo, VckError, VckResult, VolumeCipher, VolumeState, zeroed,
};

use super::blocks::Position;
use super::retry::{HELD_TRIES, STEP_TRIES, step_pause};
use super::sides::{Bench, Side};
use super::{BadSectors, DamagedSectors, ErrorKind, SweepError};

/// The volume that is opened. `io` addresses all of it, below the filter.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// The device.
    pub io: &'a dyn SectorIo,
    /// The volume's cipher.
    pub cipher: &'a dyn VolumeCipher,
    /// Its metadata blocks.
    pub store: &'a dyn EncryptedOffsetStore,
    /// Random bytes for sealing.
    pub random: &'a dyn RandomSource,
    /// Sizes and positions.
    pub geometry: &'a Geometry,
    /// What to do about unreadable sectors.
    pub bad_sectors: BadSectors,
}

/// Where a conversion stands.
#[derive(Debug)]
pub struct Opening {
    /// Sectors below are ciphertext, but for those of `unfinished` and `damaged`.
    pub boundary: DataSector,
    /// The direction.
    pub direction: VolumeState,
    /// What the conversion was doing, as it shall be taken up.
    pub activity: Activity,
    /// Its last error.
    pub error: Option<SweepError>,
    /// Sectors whose reads must fail until they are written.
    pub damaged: DamagedSectors,
    /// A zone whose step was interrupted: [`Opening::finish`] before the volume is used.
    pub unfinished: DataExtent,
    /// The unfinished zone can be brought to neither side now. All I/O to it must fail, with the status of the error.
    pub fenced: bool,
    /// What the metadata blocks say in every replica; `None` if they are not all alike.
    pub(super) blocks: Option<Position>,
}

/// Examines and finishes: all that an attach has to do. `PASSIVE_LEVEL`.
///
/// # Errors
/// Those of [`Opening::examine`] and [`Opening::finish`].
pub fn recover(site: &Site<'_>, journal: &mut Option<Box<dyn ConversionJournal>>) -> VckResult<Opening> {
    let mut opening = Opening::examine(site, journal)?;
    opening.finish(site, journal)?;
    Ok(opening)
}

impl Opening {
    /// Finds out where the conversion stands. Writes nothing. A journal that has no place on this volume is taken away.
    /// `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// Those of the store and of [`ConversionJournal::open`].
    pub fn examine(site: &Site<'_>, journal: &mut Option<Box<dyn ConversionJournal>>) -> VckResult<Self> {
        let (offset, direction) = site.store.load()?;
        let said = Position { boundary: offset.sector, direction };
        let mut opening = Self {
            boundary: said.boundary,
            direction,
            activity: Activity::Idle,
            error: None,
            damaged: DamagedSectors::new()?,
            unfinished: DataExtent::default(),
            fenced: false,
            blocks: (!site.store.needs_rewrite()).then_some(said),
        };
        let found = match journal.as_mut() {
            Some(journal) => journal.open(site.io)?,
            None => return Ok(opening),
        };
        match found {
            Found::Nothing => {}
            Found::Unavailable => *journal = None,
            Found::Entry(entry) => opening.take(&entry),
            // What another implementation did since is not known; the sectors that were damaged still are, as far as
            // anybody can tell.
            Found::Overtaken(entry) => opening.take_damaged(&entry),
        }
        Ok(opening)
    }

    fn take(&mut self, entry: &Entry<'_>) {
        (self.boundary, self.direction) = (entry.boundary, entry.direction);
        (self.activity, self.unfinished) = (entry.activity, entry.zone);
        self.error = entry.error.map(SweepError::from_journal);
        self.take_damaged(entry);
        self.blocks = self.blocks.filter(|said| *said == self.position());
    }

    fn take_damaged(&mut self, entry: &Entry<'_>) {
        for damaged in entry.damaged {
            // An entry holds no more than the list does.
            self.damaged.add(damaged.sector, damaged.damage);
        }
    }

    const fn position(&self) -> Position {
        Position { boundary: self.boundary, direction: self.direction }
    }

    /// Makes sure that the entry which was found is in every replica, and finishes an interrupted step. Before any request is
    /// let through. If the device takes neither side, the zone is left as it is: [`Opening::fenced`]. `PASSIVE_LEVEL`; allocates.
    ///
    /// # Errors
    /// The device's, if nothing can be made durable; [`VckError::NoMemory`]. Another attempt can be made.
    pub fn finish(&mut self, site: &Site<'_>, journal: &mut Option<Box<dyn ConversionJournal>>) -> VckResult<()> {
        self.finish_patiently(site, journal, &|_| ())
    }

    /// The same; `pause` waits as long as it is told before something is tried again. Nobody else waits meanwhile.
    ///
    /// # Errors
    /// Those of [`Opening::finish`].
    pub fn finish_patiently(
        &mut self,
        site: &Site<'_>,
        journal: &mut Option<Box<dyn ConversionJournal>>,
        pause: &dyn Fn(Duration),
    ) -> VckResult<()> {
        let Some(journal) = journal.as_mut() else { return Ok(()) };
        patiently(pause, || {
            journal.restate(site.io)?;
            flush(site.io)
        })?;
        self.drop_written(site, &**journal)?;
        if self.unfinished.is_empty() { Ok(()) } else { self.finish_zone(site, &mut **journal, pause) }
    }

    /// Finishes the interrupted step, or undoes it, or leaves it for later.
    pub(super) fn finish_zone(
        &mut self,
        site: &Site<'_>,
        journal: &mut dyn ConversionJournal,
        pause: &dyn Fn(Duration),
    ) -> VckResult<()> {
        let before = Self { damaged: self.damaged.copy()?, ..*self };
        let done = self.bring_to_a_side(site, journal, pause).and_then(|()| self.conclude(site, journal, pause));
        match done {
            Err(failure) if may_pass(&failure) => {
                *self = before;
                self.fence(site, failure);
                Ok(())
            }
            done => done,
        }
    }

    /// Leaves the zone as it is: any of its sectors may be of either side, and the entry that tells them apart stays.
    fn fence(&mut self, site: &Site<'_>, failure: VckError) {
        self.fenced = true;
        self.activity = Activity::Faulted;
        let (kind, status) = match failure {
            TOO_MANY => (ErrorKind::Read, NtStatus::DEVICE_DATA_ERROR),
            failure => (ErrorKind::Write, failure.status()),
        };
        self.fault(site, kind, self.unfinished.first, failure, status);
    }

    /// Remembers why a conversion that ran stands still.
    fn fault(&mut self, site: &Site<'_>, kind: ErrorKind, at: DataSector, failure: VckError, status: NtStatus) {
        let lba = match failure {
            VckError::Device { lba: Some(named), .. } => named,
            _ => site.geometry.data_to_lba(at).unwrap_or(site.geometry.offset_sector()),
        };
        self.error = Some(SweepError { kind, lba, status, count: HELD_TRIES });
        if self.activity == Activity::Running {
            self.activity = Activity::Faulted;
        }
    }

    fn bring_to_a_side(
        &mut self,
        site: &Site<'_>,
        journal: &mut dyn ConversionJournal,
        pause: &dyn Fn(Duration),
    ) -> VckResult<()> {
        let mut bench = Bench::new(site)?;
        let zone = self.unfinished;
        let after = self.after(zone)?;
        let known = self.damaged.as_slice().len();
        let wanted = Side::after(self.direction);
        if bench.is_mounted_start(site, journal, zone)? {
            // It is plaintext, and stays it: no entry could protect its conversion from here.
            if wanted == Side::Plain {
                self.boundary = after;
                self.stop_at_end(site);
            }
            return flush(site.io);
        }
        if let Err(failure) = bench.bring(site, journal, &mut self.damaged, zone, wanted, pause) {
            // The side before the step is as good, and the failing sector may be on it still.
            bench.bring(site, journal, &mut self.damaged, zone, wanted.other(), pause).map_err(|_| failure)?;
            self.activity = Activity::Faulted;
            self.fault(site, ErrorKind::Write, zone.first, failure, failure.status());
        } else {
            self.boundary = after;
            self.stop_at_end(site);
        }
        if let Some((sector, failure)) = bench.unreadable.filter(|(sector, _)| self.damaged.contains(*sector))
            && self.damaged.as_slice().len() > known
            && site.bad_sectors == BadSectors::Stop
        {
            // Listed all the same: the rest of the zone must not wait for it.
            self.fault(site, ErrorKind::Read, sector, failure, failure.status());
        }
        Ok(())
    }

    fn stop_at_end(&mut self, site: &Site<'_>) {
        let ended = match self.direction {
            VolumeState::Encrypt => self.boundary.get() >= site.geometry.data_sectors().get(),
            VolumeState::Decrypt => self.boundary == DataSector::ZERO,
        };
        if ended && self.activity == Activity::Running {
            self.activity = Activity::Idle;
        }
    }

    /// Torn sectors that a user has written since are whole, although the entry that leaves them out is missing.
    fn drop_written(&mut self, site: &Site<'_>, journal: &dyn ConversionJournal) -> VckResult<()> {
        let size = site.geometry.sector_size().usize();
        let mut bytes = zeroed(size)?;
        let mut whole = |sector| {
            let Some(lba) = site.geometry.data_to_lba(sector) else { return false };
            tried(|| site.io.read_sectors(lba, &mut bytes)).is_ok() && journal.was_written_since(sector, &bytes)
        };
        let mut marks = 0_u64;
        for (place, damaged) in self.damaged.as_slice().iter().enumerate() {
            if damaged.damage == Damage::Torn && whole(damaged.sector) {
                marks |= 1 << place;
            }
        }
        self.damaged.take_out(marks);
        bytes.zeroize();
        Ok(())
    }

    fn after(&self, zone: DataExtent) -> VckResult<DataSector> {
        match self.direction {
            VolumeState::Encrypt => zone.end().ok_or(VckError::BadBlock("the conversion record's zone overflows")),
            VolumeState::Decrypt => Ok(zone.first),
        }
    }

    /// The zone is on one side and flushed: says so.
    fn conclude(
        &mut self,
        site: &Site<'_>,
        journal: &mut dyn ConversionJournal,
        pause: &dyn Fn(Duration),
    ) -> VckResult<()> {
        let position = self.position();
        let mut update = SealedUpdate::new();
        site.store.seal(position.boundary, position.direction, site.random, &mut update)?;
        let damaged = self.damaged.as_slice();
        let entry = Entry {
            activity: self.activity,
            direction: position.direction,
            boundary: position.boundary,
            zone: DataExtent::default(),
            error: self.error.map(SweepError::to_journal),
            damaged,
        };
        patiently(pause, || {
            journal.write(site.io, &entry, Some(&update))?;
            flush(site.io)
        })?;
        journal.it_is_durable();
        self.unfinished = DataExtent::default();
        self.blocks = None;
        let written = tried(|| {
            update.apply(site.io, Durability::AtNextFlush)?;
            flush(site.io)
        });
        // The entry is what counts. Blocks that cannot be written now are written by the sweep, or it reports why not.
        if written.is_ok() {
            site.store.sealed_is_durable(position.boundary, position.direction);
            journal.blocks_are_durable();
            self.blocks = Some(position);
        }
        Ok(())
    }
}

/// A device that has no flush was accepted when the conversion began.
pub(super) fn flush(io: &dyn SectorIo) -> VckResult<()> {
    match io.flush() {
        Err(error) if error.is_no_flush() => Ok(()),
        result => result,
    }
}

/// Tries as often as a step is tried, with pauses: a device that was away for a moment is no reason to refuse a volume.
fn patiently(pause: &dyn Fn(Duration), mut attempt: impl FnMut() -> VckResult<()>) -> VckResult<()> {
    let mut failures = 0;
    loop {
        let result = attempt();
        failures = u32::saturating_add(failures, 1);
        if result.is_ok() || failures >= STEP_TRIES {
            return result;
        }
        pause(step_pause(failures));
    }
}

/// Tries a few times at once: nobody waits meanwhile, and a passing error is no reason to refuse a volume.
pub(super) fn tried(mut attempt: impl FnMut() -> VckResult<()>) -> VckResult<()> {
    let mut result = attempt();
    for _ in 1..HELD_TRIES {
        if result.is_ok() {
            break;
        }
        result = attempt();
    }
    result
}

/// Whether another attempt at the zone may succeed where this one did not.
fn may_pass(failure: &VckError) -> bool {
    matches!(failure, VckError::Device { .. } | VckError::Io(_)) || *failure == TOO_MANY
}

pub(super) const OUTSIDE: VckError = VckError::BadBlock("the conversion record's zone lies outside the data region");
pub(super) const TOO_MANY: VckError =
    VckError::Conflict("more sectors are damaged than the conversion record can hold: restore them from a backup");
