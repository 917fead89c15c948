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
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use zeroize::Zeroize;

use vck_common::journal::{Damage, Entry, Found};
use vck_common::{
    Activity, ConversionJournal, DataExtent, DataSector, Durability, EncryptedOffsetStore, Geometry, Lba, RandomSource,
    SealedUpdate, SectorCount, SectorIo, VckError, VckResult, VolumeCipher, VolumeState,
};

use super::blocks::Position;
use super::ledger::is_unsupported;
use super::retry::{HELD_TRIES, STEP_TRIES, step_pause};
use super::{DamagedSectors, ErrorKind, SweepError};

/// Bytes looked at together.
const CHUNK: u64 = 256 << 10;

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
    /// let through. `PASSIVE_LEVEL`; allocates.
    ///
    /// # Errors
    /// The device's, if it takes neither side; more damaged sectors than an entry can hold. The disk is then such that
    /// another attempt can be made.
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
        tried(|| {
            journal.restate(site.io)?;
            flush(site.io)
        })?;
        self.drop_written(site, &**journal)?;
        if self.unfinished.is_empty() {
            return Ok(());
        }
        let mut bench = Bench::new(site)?;
        let zone = self.unfinished;
        let after = self.after(zone)?;
        let wanted = Side::after(self.direction);
        if let Err(failure) = bench.bring(site, &mut **journal, &mut self.damaged, zone, wanted, pause) {
            // The side before the step is as good, and the failing sector may be on it still.
            bench.bring(site, &mut **journal, &mut self.damaged, zone, wanted.other(), pause).map_err(|_| failure)?;
            let lba = site.geometry.data_to_lba(zone.first).unwrap_or(Lba::ZERO);
            let (kind, status) = (ErrorKind::Write, failure.status());
            self.error = Some(SweepError { kind, lba, status, count: HELD_TRIES });
            self.activity = Activity::Faulted;
        } else {
            self.boundary = after;
            let ended = match self.direction {
                VolumeState::Encrypt => after.get() >= site.geometry.data_sectors().get(),
                VolumeState::Decrypt => after == DataSector::ZERO,
            };
            if ended && self.activity == Activity::Running {
                self.activity = Activity::Idle;
            }
        }
        self.conclude(site, &mut **journal)
    }

    /// Torn sectors that a user has written since are whole, although the entry that leaves them out is missing.
    fn drop_written(&mut self, site: &Site<'_>, journal: &dyn ConversionJournal) -> VckResult<()> {
        let size = site.geometry.sector_size().usize();
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(|_| VckError::NoMemory)?;
        bytes.resize(size, 0);
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
    fn conclude(&mut self, site: &Site<'_>, journal: &mut dyn ConversionJournal) -> VckResult<()> {
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
        tried(|| {
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

/// A side of the boundary.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Cipher,
    Plain,
}

impl Side {
    const fn after(direction: VolumeState) -> Self {
        match direction {
            VolumeState::Encrypt => Self::Cipher,
            VolumeState::Decrypt => Self::Plain,
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Cipher => Self::Plain,
            Self::Plain => Self::Cipher,
        }
    }
}

/// A chunk of the zone as it is on the disk, and encrypted or decrypted. Wiped on drop: it holds user data.
struct Bench {
    found: Vec<u8>,
    other: Vec<u8>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.found.zeroize();
        self.other.zeroize();
    }
}

impl Bench {
    fn new(site: &Site<'_>) -> VckResult<Self> {
        let size = site.geometry.sector_size().usize();
        let bytes = usize::try_from(CHUNK).map_err(|_| VckError::NoMemory)?.max(size);
        let buffer = || {
            let mut buffer = Vec::new();
            buffer.try_reserve_exact(bytes).map_err(|_| VckError::NoMemory)?;
            buffer.resize(bytes, 0);
            Ok::<_, VckError>(buffer)
        };
        Ok(Self { found: buffer()?, other: buffer()? })
    }

    /// Brings every sector of `zone` whose side is known to the side `wanted`, and flushes.
    ///
    /// A pass that failed, or met a sector that cannot be read, is made again from the start: a flush that failed proves
    /// nothing about the writes before it, and a device that comes back reads what it did not read. What is still
    /// unreadable in the last pass is listed.
    fn bring(
        &mut self,
        site: &Site<'_>,
        journal: &mut dyn ConversionJournal,
        damaged: &mut DamagedSectors,
        zone: DataExtent,
        wanted: Side,
        pause: &dyn Fn(Duration),
    ) -> VckResult<()> {
        let listed = damaged.copy()?;
        let mut pass = 1;
        loop {
            damaged.set_to(&listed);
            let result = self.one_pass(site, journal, damaged, &listed, zone, wanted);
            let unreadable = |list: &DamagedSectors| {
                list.as_slice().iter().filter(|damaged| damaged.damage == Damage::Unreadable).count()
            };
            let clean = result.is_ok() && unreadable(damaged) == unreadable(&listed);
            if clean || pass >= STEP_TRIES {
                if result.is_err() {
                    damaged.set_to(&listed);
                }
                return result;
            }
            pause(step_pause(pass));
            pass = pass.saturating_add(1);
        }
    }

    fn one_pass(
        &mut self,
        site: &Site<'_>,
        journal: &mut dyn ConversionJournal,
        damaged: &mut DamagedSectors,
        listed: &DamagedSectors,
        zone: DataExtent,
        wanted: Side,
    ) -> VckResult<()> {
        let step = site.geometry.sector_size().sectors_of_buffer(self.found.len())?;
        let mut rest = zone;
        while !rest.is_empty() {
            let end = rest.first.checked_add(step).unwrap_or(rest.first);
            let (chunk, behind) = rest.split_at(end);
            self.bring_chunk(site, journal, damaged, listed, chunk, wanted)?;
            rest = behind;
        }
        flush(site.io)
    }

    fn bring_chunk(
        &mut self,
        site: &Site<'_>,
        journal: &mut dyn ConversionJournal,
        damaged: &mut DamagedSectors,
        listed: &DamagedSectors,
        chunk: DataExtent,
        wanted: Side,
    ) -> VckResult<()> {
        let size = site.geometry.sector_size();
        self.read(site, damaged, listed, chunk)?;
        let sectors = chunk.first.get()..chunk.first.get().saturating_add(chunk.count.get());
        let pairs = self.found.chunks_exact_mut(size.usize()).zip(self.other.chunks_exact_mut(size.usize()));
        // The run of sectors to be written that ends before the sector looked at.
        let mut run = DataExtent::new(chunk.first, SectorCount::ZERO);
        let mut runs = Vec::new();
        for ((found, other), sector) in pairs.zip(sectors) {
            let sector = DataSector::new(sector);
            let turn = match side_of(site, journal, sector, found, other) {
                // The step left it alone, or it could not be read just now.
                _ if damaged.contains(sector) => false,
                Some(side) => side != wanted,
                None if damaged.add(sector, Damage::Torn) => {
                    journal.note_torn(sector, found);
                    false
                }
                None => return Err(TOO_MANY),
            };
            if turn && wanted == Side::Plain {
                other.copy_from_slice(found);
                site.cipher.decrypt_sector(other, size, sector);
            }
            if turn && run.end() == Some(sector) {
                run.count = run.count.checked_add(SectorCount::new(1)).unwrap_or(run.count);
            } else if turn {
                push(&mut runs, run)?;
                run = DataExtent::new(sector, SectorCount::new(1));
            }
        }
        push(&mut runs, run)?;
        runs.iter().try_for_each(|run| self.write(site, chunk, *run))
    }

    /// Reads a chunk; sectors that cannot be read are listed.
    fn read(
        &mut self,
        site: &Site<'_>,
        damaged: &mut DamagedSectors,
        listed: &DamagedSectors,
        chunk: DataExtent,
    ) -> VckResult<()> {
        let (lba, range) = place(site, chunk, chunk)?;
        let whole = self.found.get_mut(range).ok_or(OUTSIDE)?;
        if tried(|| site.io.read_sectors(lba, whole)).is_ok() {
            return Ok(());
        }
        let sectors = chunk.first.get()..chunk.first.get().saturating_add(chunk.count.get());
        for sector in sectors {
            let sector = DataSector::new(sector);
            if listed.contains(sector) {
                continue;
            }
            let (lba, range) = place(site, chunk, DataExtent::new(sector, SectorCount::new(1)))?;
            let bytes = self.found.get_mut(range).ok_or(OUTSIDE)?;
            if tried(|| site.io.read_sectors(lba, bytes)).is_err() && !damaged.add(sector, Damage::Unreadable) {
                return Err(TOO_MANY);
            }
        }
        Ok(())
    }

    /// Writes the other side of `run`; puts back what was there if that fails, since the attempt may have torn a sector.
    fn write(&self, site: &Site<'_>, chunk: DataExtent, run: DataExtent) -> VckResult<()> {
        let (lba, range) = place(site, chunk, run)?;
        let write = |buffer: &[u8]| {
            let bytes = buffer.get(range.clone()).ok_or(OUTSIDE)?;
            tried(|| site.io.write_sectors(lba, bytes, Durability::AtNextFlush))
        };
        write(&self.other).inspect_err(|_| {
            let _attempt = write(&self.found);
        })
    }
}

/// The side that `found` is on; `other` is then its encryption, unless it is ciphertext itself.
fn side_of(
    site: &Site<'_>,
    journal: &dyn ConversionJournal,
    sector: DataSector,
    found: &[u8],
    other: &mut [u8],
) -> Option<Side> {
    if journal.matches(sector, found) {
        return Some(Side::Cipher);
    }
    site.cipher.encrypt_copy(found, other, site.geometry.sector_size(), sector);
    journal.matches(sector, other).then_some(Side::Plain)
}

fn push(runs: &mut Vec<DataExtent>, run: DataExtent) -> VckResult<()> {
    if !run.is_empty() {
        runs.try_reserve(1).map_err(|_| VckError::NoMemory)?;
        runs.push(run);
    }
    Ok(())
}

/// Where `run`, a part of `chunk`, lies on the device and in the buffers.
fn place(site: &Site<'_>, chunk: DataExtent, run: DataExtent) -> VckResult<(Lba, core::ops::Range<usize>)> {
    let size = site.geometry.sector_size();
    let bytes = |count| size.bytes_of(count).and_then(|bytes| usize::try_from(bytes.get()).ok());
    let start = run.first.checked_distance_from(chunk.first).and_then(bytes).ok_or(OUTSIDE)?;
    let end = bytes(run.count).and_then(|len| start.checked_add(len)).ok_or(OUTSIDE)?;
    Ok((site.geometry.data_to_lba(run.first).ok_or(OUTSIDE)?, start..end))
}

/// A device that has no flush was accepted when the conversion began.
fn flush(io: &dyn SectorIo) -> VckResult<()> {
    match io.flush() {
        Err(error) if is_unsupported(&error) => Ok(()),
        result => result,
    }
}

/// Tries a few times at once: nobody waits meanwhile, and a passing error is no reason to refuse a volume.
fn tried(mut attempt: impl FnMut() -> VckResult<()>) -> VckResult<()> {
    let mut result = attempt();
    for _ in 1..HELD_TRIES {
        if result.is_ok() {
            break;
        }
        result = attempt();
    }
    result
}

const OUTSIDE: VckError = VckError::BadBlock("the conversion record's zone lies outside the data region");
const TOO_MANY: VckError =
    VckError::Conflict("more sectors are damaged than the conversion record can hold: restore them from a backup");
