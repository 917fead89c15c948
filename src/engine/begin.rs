//! How a step begins: what it needs is made ready, its zone is read and closed.
//!
//! ```text
//!  as a rule             seal | read ahead, if that is worth it | close, drain | read, if it was not or somebody wrote
//!  where flushes hurt    seal | flush, keep everybody out       | close        | read
//! ```
//!
//! # Ordering rules
//! What was sealed and taken from memory was so before anything is closed to anybody.
use vck_common::{ByteLen, DataExtent, DataSector, Geometry, SectorCount, VckResult, VolumeState};

use super::blocks::Position;
use super::held::Held;
use super::ledger::Failure;
use super::sweep::Sweep;
use super::zone::{Cut, Plan};
use super::{ErrorKind, Parts};

/// What is transferred at a time while others use the volume, in bytes: their requests wait behind one piece at most.
const YIELDING_PIECE: ByteLen = ByteLen::new(64 << 10);

/// What a step does to other users of the volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    /// They wait for the zone at most.
    LetIn,
    /// They wait for its end.
    KeptOut,
}

impl Sweep {
    /// Seals and reads with the gate open, then closes it on the zone. On failure the gate is open.
    pub(super) fn begin(&mut self, parts: &Parts<'_>, plan: Plan) -> Result<Held, Failure> {
        let mut plan = plan;
        self.prepare(parts)?;
        self.ledger.observes = self.rests;
        if self.holds() {
            return self.begin_alone(parts, plan);
        }
        let ahead = self.read_ahead(parts, &plan)?;
        let mut held = Self::close(parts, plan)?;
        let smallest = self.step_size.smallest();
        if self.ledger.has_journal()
            && self.batch > smallest
            && !(ahead && parts.gate.is_untouched(plan.zone))
            && !self.step_size.has_room_to_read(plan.zone.count)
        {
            // It is to be read while it is closed, and a zone of this size would be closed for too long.
            parts.gate.open(plan.zone);
            self.batch = smallest;
            plan = self.next_plan().unwrap_or(plan);
            self.prepare(parts)?;
            held = Self::close(parts, plan)?;
        }
        self.take_in(parts, &plan, ahead).inspect_err(|_| parts.gate.open(plan.zone))?;
        Ok(held)
    }

    /// The same on a device whose flushes hold others up. The first one takes long, because it puts what others wrote on the
    /// medium, and everybody is let in meanwhile: whoever is there waits for the device. For the rest of the step nobody is let in,
    /// which is one more wait, where each flush would be one, and a short one, because nothing comes in between that makes the
    /// next flush long. The zone is read when it is closed. All of that counts as the time that the zone is closed.
    fn begin_alone(&mut self, parts: &Parts<'_>, plan: Plan) -> Result<Held, Failure> {
        self.watched = None;
        parts.gate.watch(plan.zone);
        let started = parts.meter.now();
        self.flush_for_watch(parts)?;
        self.step_size.flushed_in(parts.meter.now().saturating_sub(started));
        let since = parts.meter.now();
        self.others = if parts.gate.hold() { Others::KeptOut } else { Others::LetIn };
        self.ledger.observes = self.others == Others::LetIn;
        let held = if parts.gate.close_at_once(plan.zone).is_ok() {
            Held::new(plan, since, parts.meter.now().saturating_sub(since))
        } else {
            // Somebody is in there for longer: the others need not wait for him.
            self.let_go(parts);
            Self::close(parts, plan)?
        };
        self.take_in(parts, &plan, false).inspect_err(|_| parts.gate.open(plan.zone))?;
        Ok(held)
    }

    /// The flush that the watch which has just begun counts on.
    fn flush_for_watch(&mut self, parts: &Parts<'_>) -> Result<(), Failure> {
        self.ledger.flush(parts).inspect_err(|_| parts.gate.watch(DataExtent::default()))
    }

    /// Whether everybody waits for the next step. Not for one that has failed before: a device may take long to fail again.
    fn holds(&self) -> bool {
        self.rests && self.throttle.holds() && self.failed_steps == 0
    }

    /// Whether steps are short and made of small transfers, because others are served between them.
    pub(super) fn yields(&self) -> bool {
        self.rests && !self.throttle.holds()
    }

    /// Lets everybody in again.
    pub(super) fn let_go(&mut self, parts: &Parts<'_>) {
        if core::mem::replace(&mut self.others, Others::LetIn) == Others::KeptOut {
            self.waited = self.waited.saturating_add(parts.gate.let_go());
        }
    }

    fn close(parts: &Parts<'_>, plan: Plan) -> Result<Held, Failure> {
        let since = parts.meter.now();
        parts.gate.close_and_drain(plan.zone).map_err(ErrorKind::Drain.during())?;
        Ok(Held::new(plan, since, parts.meter.now().saturating_sub(since)))
    }

    fn prepare(&mut self, parts: &Parts<'_>) -> Result<(), Failure> {
        let plans = Plans { geometry: self.geometry, direction: self.position.direction, cut: self.cut() };
        self.ledger.prepare(parts, self.position, plans.positions(self.position.boundary))
    }

    /// Reads the zone and computes its other side while its gate is open. That counts if nobody wrote to it between the watch
    /// and the closing. Whether it was read: not if there is time for it while the gate is closed, and it is not watched.
    fn read_ahead(&mut self, parts: &Parts<'_>, plan: &Plan) -> Result<bool, Failure> {
        let watched = self.watched.take() == Some(plan.zone);
        if !self.ledger.has_journal() || (!watched && self.step_size.has_room_to_read(plan.zone.count)) {
            return Ok(false);
        }
        if !watched {
            parts.gate.watch(plan.zone);
        }
        if !parts.gate.watches() {
            return Ok(false);
        }
        if !watched {
            // The watch counts on this flush.
            self.flush_for_watch(parts)?;
        }
        self.read(parts, plan)?;
        Ok(true)
    }

    /// Makes the closed zone and its other side the content of the copies. `ahead`: they are, unless something came between.
    fn take_in(&mut self, parts: &Parts<'_>, plan: &Plan, ahead: bool) -> Result<(), Failure> {
        let unchanged = self.settle_writes(parts, plan.zone)?;
        if ahead && unchanged { Ok(()) } else { self.read(parts, plan) }
    }

    fn read(&mut self, parts: &Parts<'_>, plan: &Plan) -> Result<(), Failure> {
        let (started, piece) = (parts.meter.now(), self.piece());
        let read = self.copies.read(parts.io, plan, &self.ledger.damaged, piece);
        read.map_err(ErrorKind::Read.during())?;
        self.step_size.read_in(plan.zone.count, parts.meter.now().saturating_sub(started));
        self.copies.convert(parts.cipher, plan).map_err(ErrorKind::Read.during())
    }

    /// What is transferred at a time.
    pub(super) fn piece(&self) -> SectorCount {
        if self.rests && self.others == Others::LetIn {
            return at_least_one(self.geometry.sector_size().sectors_in(YIELDING_PIECE));
        }
        SectorCount::new(u64::MAX)
    }

    /// Makes durable what users wrote, as far as the next entry depends on it: the content of `zone`, which is closed, and
    /// damaged sectors that are whole again. An entry could otherwise survive without what it speaks of.
    ///
    /// Whether what was read since the zone is watched still is what a step works with: nobody wrote to the zone, and no sector
    /// left the list of damaged ones, which are left out when a zone is read. Without a journal nothing is watched.
    pub(super) fn settle_writes(&mut self, parts: &Parts<'_>, zone: DataExtent) -> Result<bool, Failure> {
        let healed = self.ledger.drop_healed(parts)?;
        self.healed |= healed;
        if !self.ledger.has_journal() {
            return Ok(false);
        }
        let untouched = parts.gate.is_untouched(zone);
        if !untouched && !healed {
            self.ledger.flush(parts)?;
        }
        Ok(untouched && !healed)
    }

    /// Takes memory for steps of the present size, or of a smaller one.
    pub(super) fn reserve(&mut self) -> VckResult<()> {
        loop {
            let spare = if self.ledger.has_journal() { self.spare.reserve(self.batch) } else { Ok(()) };
            match spare.and_then(|()| self.copies.reserve(self.batch)) {
                Err(_) if self.batch > self.step_size.get(true) => {
                    self.step_size.limit_to(at_least_one(SectorCount::new(self.batch.get() / 2)));
                    self.batch = self.step_size.get(self.yields());
                }
                result => return result,
            }
        }
    }
}

/// The steps to come.
#[derive(Clone, Copy)]
struct Plans {
    geometry: Geometry,
    direction: VolumeState,
    cut: Cut,
}

impl Plans {
    fn next(&self, boundary: DataSector) -> Option<Plan> {
        Plan::next(&self.geometry, boundary, self.direction, self.cut)
    }

    /// The positions after each step from `boundary` on.
    fn positions(self, boundary: DataSector) -> impl Iterator<Item = Position> {
        core::iter::successors(self.next(boundary), move |plan| self.next(plan.after)).map(|plan| plan.to())
    }
}

pub(super) fn at_least_one(count: SectorCount) -> SectorCount {
    if count.is_zero() { SectorCount::new(1) } else { count }
}
