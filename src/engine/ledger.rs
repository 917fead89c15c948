//! What is written to the disk about a conversion, and in which order.
//!
//! ```text
//!                with a journal                                without
//!  protect       entry {B, Z}; flush                           nothing
//!  commit        entry {B', Z' or none, upcoming}; flush       blocks of B'; flush
//!  release       entry {B, none}; flush                        blocks of B; flush, if a commit was tried
//! ```
//! With a journal the metadata blocks follow: those of a commit are written before the flush that protects the next step, or
//! with its data if it is protected already, or by [`Ledger::catch_up`].
//!
//! # Ordering rules
//! * The converted side of a zone is written only while every entry that may be on the disk names the zone.
//! * A zone is opened only when no entry that may be on the disk names it with digests of what it then holds or may get.
//! * Blocks are written only when an entry that names them is durable, and written by [`Ledger::write_due`] alone.
//! * A failed flush proves nothing: both the entries before and after it may be on the disk. Every caller either repeats
//!   what it did or writes an entry that is true as well.
use alloc::boxed::Box;
use core::time::Duration;

use vck_common::journal::Entry;
use vck_common::{Activity, ConversionJournal, DataExtent, SectorCount, SectorIo, VckError, VckResult};

use super::blocks::{Blocks, Position};
use super::rest::Flushed;
use super::zone::{Plan, ZoneCopies};
use super::{DamagedSectors, ErrorKind, Opening, Parts, Site, SweepError};

/// An error and what was being done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    pub(super) kind: ErrorKind,
    pub(super) error: VckError,
}

impl ErrorKind {
    /// For `map_err`.
    pub(super) fn during(self) -> impl Fn(VckError) -> Failure {
        move |error| Failure { kind: self, error }
    }
}

/// A zone whose digests an entry is to hold.
pub(super) type Covered<'a> = Option<(&'a Plan, &'a ZoneCopies)>;

/// Owned by the sweep.
pub(super) struct Ledger {
    journal: Option<Box<dyn ConversionJournal>>,
    pub(super) blocks: Blocks,
    pub(super) damaged: DamagedSectors,
    /// What the entries say the conversion is doing. A volatile stop does not change it.
    pub(super) activity: Activity,
    /// The error that the entries carry.
    pub(super) error: Option<SweepError>,
    /// What the flush of the last entry took.
    pub(super) last_flush: Duration,
    /// Whether it is of interest what flushes do to others, and what they did.
    pub(super) observes: bool,
    pub(super) flushed: Flushed,
    /// Whether a device that has no flush is as good as one that flushed.
    pub(super) accept_no_flush: bool,
}

impl Ledger {
    pub(super) fn new(opening: Opening, journal: Option<Box<dyn ConversionJournal>>, accept_no_flush: bool) -> Self {
        let Opening { activity, error, damaged, blocks, .. } = opening;
        Self {
            journal,
            blocks: Blocks::new(blocks),
            damaged,
            activity,
            error,
            last_flush: Duration::ZERO,
            observes: false,
            flushed: Flushed::default(),
            accept_no_flush,
        }
    }

    pub(super) const fn has_journal(&self) -> bool {
        self.journal.is_some()
    }

    /// Replicas that the journal has given up.
    pub(super) fn lost_replicas(&self) -> usize {
        self.journal.as_ref().map_or(0, |journal| journal.lost_replicas())
    }

    /// The longest zone whose digests the journal has room for.
    pub(super) fn longest_zone(&self) -> Option<SectorCount> {
        self.journal.as_ref().map(|journal| journal.longest_zone())
    }

    /// Seals what the next commits, and the way back from them, will write. Gates are open: this may allocate and block.
    pub(super) fn prepare(
        &mut self,
        parts: &Parts<'_>,
        present: Position,
        next: impl Iterator<Item = Position>,
    ) -> Result<(), Failure> {
        if self.journal.is_none() {
            self.blocks.prepare_way_back(parts, present).map_err(ErrorKind::Seal.during())?;
        }
        self.blocks.prepare(parts, next).map_err(ErrorKind::Seal.during())
    }

    /// Makes an entry durable. Without a journal there is nothing to do.
    pub(super) fn enter(
        &mut self,
        parts: &Parts<'_>,
        at: Position,
        zone: Covered<'_>,
        upcoming: Option<Position>,
    ) -> Result<(), Failure> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let write = |journal: &mut dyn ConversionJournal| -> VckResult<()> {
            let mut extent = DataExtent::default();
            if let Some((plan, copies)) = zone {
                extent = plan.zone;
                journal.cover(extent, copies.ciphertext(plan)?)?;
            }
            let entry = Entry {
                activity: self.activity,
                direction: at.direction,
                boundary: at.boundary,
                zone: extent,
                error: self.error.map(SweepError::to_journal),
                damaged: self.damaged.as_slice(),
            };
            journal.write(parts.io, &entry, upcoming.and_then(|at| self.blocks.ready(at)))
        };
        write(&mut **journal).map_err(ErrorKind::Record.during())?;
        let flushed = self.observes.then_some(&mut self.flushed);
        self.last_flush = timed_flush(parts, self.accept_no_flush, flushed)?;
        journal.it_is_durable();
        Ok(())
    }

    /// Makes an entry durable that names `zone` with the digests that the journal was opened with: nothing was covered since.
    pub(super) fn enter_as_opened(&mut self, parts: &Parts<'_>, at: Position, zone: DataExtent) -> Result<(), Failure> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let entry = Entry {
            activity: self.activity,
            direction: at.direction,
            boundary: at.boundary,
            zone,
            error: self.error.map(SweepError::to_journal),
            damaged: self.damaged.as_slice(),
        };
        journal.write(parts.io, &entry, None).map_err(ErrorKind::Record.during())?;
        flush(parts.io, self.accept_no_flush)?;
        journal.it_is_durable();
        Ok(())
    }

    /// Tries again to bring an interrupted `zone` to one side. What came of it is in the answer, and on the disk.
    pub(super) fn recover_again(&mut self, site: &Site<'_>, at: Position, zone: DataExtent) -> VckResult<Opening> {
        let mut opening = Opening {
            boundary: at.boundary,
            direction: at.direction,
            activity: self.activity,
            error: self.error,
            damaged: self.damaged.copy()?,
            unfinished: zone,
            fenced: false,
            blocks: None,
        };
        if let Some(journal) = &mut self.journal {
            opening.finish_zone(site, &mut **journal, &|_| ())?;
        }
        Ok(opening)
    }

    /// Goes on from where a recovery has ended.
    pub(super) fn take_over(&mut self, opening: &Opening) {
        self.damaged.set_to(&opening.damaged);
        self.blocks = Blocks::new(opening.blocks);
    }

    /// Makes the boundary after a step durable, with the zone of the next step if that is closed already. To be repeated
    /// or undone after a failure. `last`: the activity if nothing is left to be done.
    pub(super) fn commit(&mut self, parts: &Parts<'_>, to: Position, next: Covered<'_>) -> Result<(), Failure> {
        if self.journal.is_some() {
            self.enter(parts, to, next, Some(to))?;
            self.blocks.adopt(to);
            return Ok(());
        }
        let missing = VckError::WrongState("no blocks were sealed for the step");
        let update = self.blocks.ready(to).ok_or(missing).map_err(ErrorKind::Seal.during())?;
        update.apply(parts.io, vck_common::Durability::AtNextFlush).map_err(ErrorKind::Persist.during())?;
        self.flush(parts)?;
        self.blocks.adopt(to);
        self.due_are_durable(parts);
        Ok(())
    }

    /// Makes it durable that the boundary is `present` and no zone is under conversion. `committing`: a commit was tried.
    pub(super) fn release(&mut self, parts: &Parts<'_>, present: Position, committing: bool) -> Result<(), Failure> {
        if self.journal.is_some() {
            return self.enter(parts, present, None, None);
        }
        if committing {
            let blocks = self.blocks.put_back(parts).map_err(ErrorKind::Persist.during());
            return blocks.and(self.flush(parts));
        }
        Ok(())
    }

    /// Takes the damaged sectors that were written since out of the list. Whether there were any.
    ///
    /// The writes are made durable first: an entry that leaves such a sector out must not be on the disk without them.
    pub(super) fn drop_healed(&mut self, parts: &Parts<'_>) -> Result<bool, Failure> {
        if self.damaged.as_slice().iter().all(|damaged| parts.gate.is_shielded(damaged.sector)) {
            return Ok(false);
        }
        // A sector that is written from now on is found next time.
        let healed = self.damaged.marked(|sector| !parts.gate.is_shielded(sector));
        self.flush(parts)?;
        self.damaged.take_out(healed);
        Ok(true)
    }

    /// Writes the blocks that are due; durable with the caller's flush and [`Ledger::due_are_durable`].
    pub(super) fn write_due(&mut self, parts: &Parts<'_>) -> Result<(), Failure> {
        self.blocks.write_due(parts).map_err(ErrorKind::Persist.during())
    }

    /// The blocks that were due are on the medium.
    pub(super) fn due_are_durable(&mut self, parts: &Parts<'_>) {
        if self.blocks.due_are_durable(parts)
            && let Some(journal) = &mut self.journal
        {
            journal.blocks_are_durable();
        }
    }

    /// Whether readers that know the blocks only would see something else than `present`.
    pub(super) fn lags(&self, present: Position) -> bool {
        !self.blocks.say(present)
    }

    /// Brings the metadata blocks up to date. No gate is closed.
    pub(super) fn catch_up(&mut self, parts: &Parts<'_>, present: Position) -> Result<(), Failure> {
        if self.blocks.are_due() {
            self.write_due(parts)?;
            self.flush(parts)?;
            self.due_are_durable(parts);
        }
        if self.lags(present) {
            self.blocks.prepare(parts, core::iter::once(present)).map_err(ErrorKind::Seal.during())?;
            self.commit(parts, present, None)?;
            self.write_due(parts)?;
            self.flush(parts)?;
            self.due_are_durable(parts);
        }
        Ok(())
    }

    /// A flush; a device that has none is as good as flushed where the provider accepts that.
    pub(super) fn flush(&mut self, parts: &Parts<'_>) -> Result<(), Failure> {
        if self.observes {
            return timed_flush(parts, self.accept_no_flush, Some(&mut self.flushed)).map(drop);
        }
        flush(parts.io, self.accept_no_flush)
    }
}

/// Flushes, and measures what others saw of it if that is of interest. How long it took.
fn timed_flush(parts: &Parts<'_>, accept_no_flush: bool, flushed: Option<&mut Flushed>) -> Result<Duration, Failure> {
    let before = flushed.is_some().then(|| parts.meter.traffic());
    let started = parts.meter.now();
    flush(parts.io, accept_no_flush)?;
    let time = parts.meter.now().saturating_sub(started);
    if let Some((flushed, before)) = flushed.zip(before) {
        flushed.add(time, before, parts.meter.traffic());
    }
    Ok(time)
}

fn flush(io: &dyn SectorIo, accept_no_flush: bool) -> Result<(), Failure> {
    match io.flush() {
        Err(error) if accept_no_flush && error.is_no_flush() => Ok(()),
        result => result.map_err(ErrorKind::Flush.during()),
    }
}
