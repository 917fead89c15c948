//! A step whose zone is closed.
//!
//! ```text
//!   protect --ok--> write --ok--> commit --ok--> publish, open; the next zone may be closed and protected already
//!     | used up       | used up      | used up
//!     |               |              v
//!     |               |          protect again --ok--> (the next zone opens)
//!     |               v              |  |
//!     |             restore <--------'  | used up: fence both zones, faulted
//!     v               | ok      used up '----> fence, faulted
//!   put back <--------'
//!     | ok: open; the step has failed      used up: fence, faulted (without a journal: open, faulted)
//! ```
//! Every stage may be repeated: it writes what is in memory and asks for no answer but success. "Used up" is
//! `HELD_TRIES` failures. Between two of them [`Sweep::step`] returns, so that the pause is the caller's; the zone
//! stays closed meanwhile, because its sectors may be of either side, or because an entry with its digests may be on the
//! disk.
//!
//! # Invariants
//! Nothing here allocates or seals.
use core::mem;
use core::time::Duration;

use vck_common::{Activity, DataExtent, DataSector};

use super::ledger::Failure;
use super::retry;
use super::sweep::{Step, Sweep};
use super::zone::Plan;
use super::{ErrorKind, Parts, State};

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Make the entry with the zone's digests durable.
    Protect,
    /// Write the converted side, and the blocks of the step before, and flush.
    Write,
    /// Make the new boundary durable.
    Commit,
    /// Make the entry with this zone's digests durable again, so that no other one is on the disk.
    Reprotect,
    /// Write the original side.
    Restore,
    /// Make it durable, and that the zone is not under conversion any more.
    PutBack,
}

/// The step and how far it has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    plan: Plan,
    stage: Stage,
    /// Whether a commit was tried, so that the new boundary may be on the device.
    committing: bool,
    /// Failures of this stage.
    failures: u32,
    /// When the zone was closed.
    since: Duration,
    /// The next step, read and converted in the spare copies while its gate was open.
    ahead: Option<Plan>,
    /// The same when its zone is closed and nobody had written to it, and when it was closed.
    next: Option<(Plan, Duration)>,
    /// How long this zone was closed for reasons that a shorter step would not change: requests inside, the next zone.
    aside: Duration,
    /// When the converted side was written.
    written: Duration,
    /// How long to rest after this step, once that is decided.
    rest: Option<Duration>,
}

impl Held {
    /// A step whose zone is closed since `since`, after a wait of `aside` for the requests inside.
    pub(super) const fn new(plan: Plan, since: Duration, aside: Duration) -> Self {
        let (ahead, next, rest) = (None, None, None);
        let stage = Stage::Protect;
        Self { plan, stage, committing: false, failures: 0, since, ahead, next, aside, written: since, rest }
    }

    fn at(self, stage: Stage) -> Next {
        Next::Go(Self { stage, committing: self.committing || stage == Stage::Commit, failures: 0, ..self })
    }

    pub(super) const fn plan(&self) -> Plan {
        self.plan
    }

    /// All that is closed.
    pub(super) fn closed(&self) -> DataExtent {
        let Some((next, _)) = self.next else { return self.plan.zone };
        let first = DataSector::new(self.plan.zone.first.get().min(next.zone.first.get()));
        let count = self.plan.zone.count.checked_add(next.zone.count);
        DataExtent::new(first, count.unwrap_or(self.plan.zone.count))
    }
}

enum Next {
    Go(Held),
    Return(Step),
}

impl Sweep {
    /// Brings a held step to its end without pauses, so that no zone is closed, and the metadata blocks up to date as far
    /// as the device lets it. `PASSIVE_LEVEL`; does I/O. It ends, because every stage is tried a few times only. Every
    /// command does this first.
    pub fn settle(&mut self, parts: &Parts<'_>) {
        self.merging = false;
        while let Some(held) = self.held {
            // How it ended is in the state and the error.
            let _step = self.go_on(parts, held);
        }
        self.merging = true;
        for _ in 0..retry::HELD_TRIES {
            let fenced = self.fenced.is_some();
            let done = if fenced { self.record_healed(parts) } else { self.bring_up_to_date(parts) };
            let Err(failure) = done else { return };
            self.note_beside(failure);
            // One attempt more or less: the next success takes the error away.
            self.failed_steps = self.failed_steps.max(1);
        }
    }

    /// Takes a closed step from stage to stage until it ends or has to pause.
    pub(super) fn go_on(&mut self, parts: &Parts<'_>, mut held: Held) -> Step {
        loop {
            let next = match self.run_stage(parts, &mut held) {
                Ok(next) => next,
                Err(failure) => {
                    // The rest of the volume need not wait for the attempts that follow.
                    self.let_go(parts);
                    self.note(held.plan.lba, failure);
                    self.stage_failed(parts, held)
                }
            };
            match next {
                Next::Go(next) => held = next,
                Next::Return(step) => return step,
            }
        }
    }

    fn run_stage(&mut self, parts: &Parts<'_>, held: &mut Held) -> Result<Next, Failure> {
        let plan = held.plan;
        let covered = Some((&plan, &self.copies));
        match held.stage {
            Stage::Protect => {
                // Named by the entry of the last commit, and durable with this one.
                self.ledger.write_due(parts)?;
                self.ledger.enter(parts, plan.from(), covered, None)?;
                self.step_size.flushed_in(self.ledger.last_flush);
                self.ledger.due_are_durable(parts);
                Ok(held.at(Stage::Write))
            }
            Stage::Write => {
                let rest = *held.rest.get_or_insert_with(|| self.throttle.pause(parts.meter.foreground()));
                self.rests = !rest.is_zero();
                // The flush below covers what users wrote to the next zone, if none writes there after this.
                self.watch_next(parts, &plan);
                let (started, piece) = (parts.meter.now(), self.piece());
                let written = self.copies.write_converted(parts.io, &plan, &self.ledger.damaged, piece);
                written.map_err(ErrorKind::Write.during())?;
                held.written = parts.meter.now();
                self.step_size.written_in(plan.zone.count, held.written.saturating_sub(started));
                self.ledger.write_due(parts)?;
                self.read_next(parts, held);
                self.ledger.flush(parts)?;
                self.ledger.due_are_durable(parts);
                Ok(held.at(Stage::Commit))
            }
            Stage::Commit => self.commit(parts, held).map(Next::Return),
            Stage::Reprotect => {
                self.ledger.enter(parts, plan.from(), covered, None)?;
                if let Some((next, _)) = held.next.take() {
                    parts.gate.open(next.zone);
                }
                Ok(held.at(Stage::Restore))
            }
            Stage::Restore => {
                let restored = self.copies.restore(parts.io, &plan, &self.ledger.damaged);
                restored.map_err(ErrorKind::Restore.during())?;
                // Failures count on: this stage is done again when the flush of the next one fails.
                Ok(Next::Go(Held { stage: Stage::PutBack, ..*held }))
            }
            Stage::PutBack => {
                // Before the entry is written: it may become durable before anything that is not.
                self.ledger.flush(parts)?;
                self.ledger.release(parts, plan.from(), held.committing)?;
                self.held = None;
                parts.gate.open(plan.zone);
                Ok(Next::Return(self.step_failed(parts, &plan)))
            }
        }
    }

    fn commit(&mut self, parts: &Parts<'_>, held: &mut Held) -> Result<Step, Failure> {
        if let Some(next) = held.ahead.take() {
            let started = parts.meter.now();
            held.next = self.close_next(parts, next, started.saturating_sub(held.since)).then_some((next, started));
            held.aside = held.aside.saturating_add(parts.meter.now().saturating_sub(started));
        }
        let watched = if held.next.is_none() { self.watch_next(parts, &held.plan) } else { None };
        let ends = self.plan_from(held.plan.after).is_none();
        if ends {
            self.ledger.activity = Activity::Idle;
        }
        let covered = held.next.as_ref().map(|(next, _)| (next, &self.spare));
        let committed = self.ledger.commit(parts, held.plan.to(), covered);
        if committed.is_err() {
            // The watch that began with this attempt counts on its flush.
            parts.gate.watch(DataExtent::default());
            if ends {
                self.ledger.activity = Activity::Running;
            }
        }
        committed?;
        self.step_size.flushed_in(self.ledger.last_flush);
        self.watched = watched;
        Ok(self.committed(parts, held))
    }

    /// Reads and converts the zone after that of `held`, which is watched, so that its protection can go into the entry that
    /// commits `held`. Not at any price: what fails here is tried again as a step of its own.
    fn read_next(&mut self, parts: &Parts<'_>, held: &mut Held) {
        held.ahead = None;
        let fits = self.ledger.has_journal() && self.step_size.get(false) == self.batch;
        if !self.merging || self.rests || !fits {
            return;
        }
        let started = parts.meter.now();
        let has_room = |next: &Plan| {
            let closed = started.saturating_sub(held.since);
            self.step_size.has_room_to_read_next(next.zone.count, closed, false)
        };
        let next = self.plan_from(held.plan.after).filter(|next| self.ledger.blocks.has(next.to()));
        let Some(next) = next.filter(has_room) else { return };
        if self.read_spare(parts, &next) {
            held.ahead = Some(next);
        }
        held.aside = held.aside.saturating_add(parts.meter.now().saturating_sub(started));
    }

    fn read_spare(&mut self, parts: &Parts<'_>, next: &Plan) -> bool {
        let (started, piece) = (parts.meter.now(), self.piece());
        if self.spare.read(parts.io, next, &self.ledger.damaged, piece).is_err() {
            return false;
        }
        self.step_size.read_in(next.zone.count, parts.meter.now().saturating_sub(started));
        self.spare.convert(parts.cipher, next).is_ok()
    }

    /// Closes the zone of `next`, which was read ahead. `false`: it is open, because others use it and there is no time to
    /// wait for them or to read it again, or something failed. `closed`: for how long the zone before it is closed.
    fn close_next(&mut self, parts: &Parts<'_>, next: Plan, closed: Duration) -> bool {
        if parts.gate.close_at_once(next.zone).is_err() {
            return false;
        }
        let room = self.step_size.has_room_to_read_next(next.zone.count, closed, true);
        let settled = (room || parts.gate.is_untouched(next.zone)).then(|| self.settle_writes(parts, next.zone));
        let usable = match settled {
            Some(Ok(unchanged)) => unchanged || self.read_spare(parts, &next),
            Some(Err(_)) | None => false,
        };
        if !usable {
            parts.gate.open(next.zone);
        }
        usable
    }

    /// Has the gate watch the zone after `plan`.
    fn watch_next(&self, parts: &Parts<'_>, plan: &Plan) -> Option<DataExtent> {
        let next = self.plan_from(plan.after)?;
        parts.gate.watch(next.zone);
        Some(next.zone)
    }

    /// What follows a failed attempt: a pause and another one, or the next best thing.
    fn stage_failed(&mut self, parts: &Parts<'_>, held: Held) -> Next {
        let failures = held.failures.saturating_add(1);
        if failures < retry::HELD_TRIES {
            // What a failed flush was to make durable may be gone from the device's cache.
            let stage = if held.stage == Stage::PutBack { Stage::Restore } else { held.stage };
            self.held = Some(Held { stage, failures, ..held });
            return Next::Return(Step::RetryAfter(retry::held_pause(failures)));
        }
        match held.stage {
            // The zone holds what it held before.
            Stage::Protect => return held.at(Stage::PutBack),
            Stage::Write => return held.at(Stage::Restore),
            Stage::Commit => return held.at(Stage::Reprotect),
            Stage::Restore if held.committing && !self.ledger.has_journal() => {
                // The zone is lost for now either way; the old boundary is still the one that was published.
                let _attempt = self.ledger.release(parts, held.plan.from(), true);
                self.fence(parts, &held);
            }
            // The old side and the old boundary are what the device shows. That they are durable it does not confirm.
            Stage::PutBack if !self.ledger.has_journal() => {}
            // With a journal, an entry with digests may be on the disk that a write would make untrue.
            Stage::Reprotect | Stage::Restore | Stage::PutBack => self.fence(parts, &held),
        }
        self.held = None;
        parts.gate.open(held.plan.zone);
        if let Some((next, _)) = held.next {
            parts.gate.open(next.zone);
        }
        self.fault(parts);
        Next::Return(Step::Idle)
    }

    /// The new boundary is durable: only now may the data path use it.
    fn committed(&mut self, parts: &Parts<'_>, held: &Held) -> Step {
        let (plan, rest) = (&held.plan, held.rest.unwrap_or_default());
        self.position = plan.to();
        parts.gate.publish(plan.after);
        self.held = None;
        parts.gate.open(plan.zone);
        self.let_go(parts);
        let now = parts.meter.now();
        let closed = now.saturating_sub(held.since);
        self.step_size.ended_in(now.saturating_sub(held.written).saturating_sub(held.aside));
        self.step_size.was_closed(plan.zone.count, closed, held.aside);
        self.succeeded();
        if let Some((next, since)) = held.next {
            mem::swap(&mut self.copies, &mut self.spare);
            self.held = Some(Held { stage: Stage::Write, ..Held::new(next, since, Duration::ZERO) });
            return Step::Worked;
        }
        self.stop_at_end();
        if self.state == State::Idle {
            // What fails here is tried again by the next call.
            let _attempt = self.ledger.catch_up(parts, self.position);
            self.give_back();
        }
        let (flushed, waited) = (mem::take(&mut self.ledger.flushed), mem::take(&mut self.waited));
        if rest.is_zero() {
            return Step::Worked;
        }
        self.throttle.rest(now, parts.meter.traffic(), flushed, waited);
        Step::Rest(rest)
    }

    /// Stops as faulted, and says so in the journal if it can be told.
    pub(super) fn fault(&mut self, parts: &Parts<'_>) {
        self.state = State::Faulted;
        self.ledger.activity = Activity::Faulted;
        self.ledger.error = self.error;
        for _ in 0..retry::HELD_TRIES {
            if self.enter_standing(parts).is_ok() {
                return;
            }
        }
    }
}
