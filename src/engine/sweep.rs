//! The state machine of a conversion.
//!
//! ```text
//!              START_ENCRYPT, B < T / START_DECRYPT, B > 0           (from any state; otherwise to idle)
//!      idle ------------------------------------------> encrypting | decrypting --- end reached ---> idle
//!                                                         | PAUSE        | retries used up
//!                                                         v              v
//!                                                       paused        faulted
//! ```
//! How a step begins is in `begin.rs`; one whose zone is closed is a machine of its own, see `held.rs`.
use alloc::boxed::Box;
use core::time::Duration;

use vck_common::journal::Damage;
use vck_common::{
    Activity, ByteLen, ConversionJournal, DamagedSector, DataExtent, DataSector, Geometry, Lba, SectorCount, VckError,
    VckResult,
};

use super::begin::{Others, at_least_one};
use super::blocks::Position;
use super::fence::Fence;
use super::held::Held;
use super::ledger::{Failure, Ledger};
use super::pace::{Closures, StepSize};
use super::zone::{Cut, Plan, ZoneCopies};
use super::{
    BadSectors, ConversionPolicy, ErrorKind, Opening, Pace, Parts, Progress, State, SweepError, Throttle, retry,
};

/// The longest zone, in bytes.
const MAX_STEP: u64 = 16 << 20;

/// What a call of [`Sweep::step`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a step says when the next one is due"]
pub enum Step {
    /// Converted a zone. The next one may be closed already, see [`Sweep::holds_zone`]: call again at once.
    Worked,
    /// Converted a zone, or rested; call again after this time, for the sake of other users of the volume. No zone is closed.
    Rest(Duration),
    /// There is nothing to do until a command arrives or a damaged sector was written.
    Idle,
    /// Something failed: call again after this time. A zone may be closed meanwhile, see [`Sweep::holds_zone`].
    RetryAfter(Duration),
}

/// The conversion of one volume. Owned by the sweep thread.
pub struct Sweep {
    pub(super) geometry: Geometry,
    pub(super) policy: ConversionPolicy,
    pub(super) step_size: StepSize,
    /// The size of the steps that blocks are ready for.
    pub(super) batch: SectorCount,
    pub(super) throttle: Throttle,
    /// Whether the sweep rests between steps for the sake of others.
    pub(super) rests: bool,
    /// What the step under way does to other users of the volume.
    pub(super) others: Others,
    /// Requests that did so in this step.
    pub(super) waited: u64,
    /// Whether the next zone may be closed before this one is open.
    pub(super) merging: bool,
    /// The next zone, if the gate watches it since before the last flush: what it then held is durable.
    pub(super) watched: Option<DataExtent>,
    pub(super) position: Position,
    pub(super) state: State,
    pub(super) copies: ZoneCopies,
    /// For the next zone.
    pub(super) spare: ZoneCopies,
    pub(super) ledger: Ledger,
    pub(super) held: Option<Held>,
    /// The zone whose sectors may be of either side.
    pub(super) fenced: Option<Fence>,
    /// A damaged sector was written since the last entry.
    pub(super) healed: bool,
    /// Steps that failed since the last success.
    pub(super) failed_steps: u32,
    /// Attempts of any kind that failed since the last success.
    failed_attempts: u32,
    pub(super) error: Option<SweepError>,
}

impl Sweep {
    /// The sweep of a volume that was opened, with its boundary published and its damaged sectors shielded. It does not
    /// convert until a command says so.
    ///
    /// # Errors
    /// [`VckError::InvalidData`] for a boundary outside the data region, or while a zone is unfinished and not fenced.
    pub fn new(
        geometry: Geometry,
        opening: Opening,
        journal: Option<Box<dyn ConversionJournal>>,
        policy: ConversionPolicy,
    ) -> VckResult<Self> {
        let position = Position { boundary: opening.boundary, direction: opening.direction };
        if position.boundary.get() > geometry.data_sectors().get() || opening.fenced == opening.unfinished.is_empty() {
            return Err(VckError::InvalidData("the boundary lies outside the data region, or a step is unfinished"));
        }
        let state = match opening.activity {
            Activity::Paused => State::Paused,
            Activity::Faulted => State::Faulted,
            Activity::Idle | Activity::Running => State::Idle,
        };
        let error = opening.error;
        // Only the gate knows the fence so far.
        let fenced = opening.fenced.then(|| Fence::on_disk(opening.unfinished));
        let ledger = Ledger::new(opening, journal, policy.accept_no_flush);
        let size = geometry.sector_size();
        let sectors = |bytes: ByteLen| size.sectors_in(bytes.min(ByteLen::new(MAX_STEP)));
        let smallest = at_least_one(sectors(policy.smallest_step));
        let room = ledger.longest_zone().unwrap_or(SectorCount::new(u64::MAX));
        let largest = at_least_one(sectors(policy.largest_step).min(room));
        Ok(Self {
            geometry,
            policy,
            step_size: StepSize::new(smallest.min(largest), largest),
            batch: smallest.min(largest),
            throttle: Throttle::new(policy.pace),
            // Until it is known that nobody else is there.
            rests: policy.pace != Pace::Full,
            others: Others::LetIn,
            waited: 0,
            merging: true,
            watched: None,
            position,
            state,
            copies: ZoneCopies::new(size),
            spare: ZoneCopies::new(size),
            ledger,
            held: None,
            fenced,
            healed: false,
            failed_steps: 0,
            failed_attempts: 0,
            error,
        })
    }

    /// State, boundary and last error.
    #[must_use]
    pub fn snapshot(&self) -> Progress {
        Progress {
            state: self.state,
            boundary: self.position.boundary,
            total: self.geometry.data_sectors(),
            error: self.error,
            damage: self.ledger.damaged.note(),
        }
    }

    /// Sectors whose reads fail until a write covers them, as of the last step.
    #[must_use]
    pub fn damaged(&self) -> &[DamagedSector] {
        self.ledger.damaged.as_slice()
    }

    /// How long zones were closed since the last START or RESUME.
    #[must_use]
    pub const fn closures(&self) -> Closures {
        self.step_size.closures()
    }

    /// Whether the metadata blocks, which readers without the journal know alone, say something else than the boundary.
    #[must_use]
    pub fn blocks_lag(&self) -> bool {
        self.ledger.lags(self.position)
    }

    /// Replicas of the journal that are given up.
    #[must_use]
    pub fn lost_replicas(&self) -> usize {
        self.ledger.lost_replicas()
    }

    /// True while a zone is closed between two calls. Any command ends that.
    #[must_use]
    pub const fn holds_zone(&self) -> bool {
        self.held.is_some()
    }

    /// Converts the next zone, or goes on with one that is closed; with nothing to convert, brings the disk up to date.
    /// `PASSIVE_LEVEL`; does I/O.
    pub fn step(&mut self, parts: &Parts<'_>) -> Step {
        let step = self.next_step(parts);
        // After a failure; a step that was made has done so itself.
        self.let_go(parts);
        step
    }

    fn next_step(&mut self, parts: &Parts<'_>) -> Step {
        if let Some(held) = self.held {
            return self.go_on(parts, held);
        }
        if self.next_plan().is_none() {
            return self.tidy(parts);
        }
        if self.throttle.is_resting()
            && let Some(rest) = self.throttle.rest_on(parts.meter.now(), parts.meter.traffic())
        {
            return Step::Rest(rest);
        }
        self.batch = self.step_size.get(self.yields());
        // Before the step is cut out: it may have to be a smaller one.
        let room = self.reserve().map_err(ErrorKind::Memory.during());
        let Some(plan) = self.next_plan() else { return Step::Idle };
        match room.and_then(|()| self.begin(parts, plan)) {
            Ok(held) => self.go_on(parts, held),
            // Somebody has an order for the sweep: nothing failed.
            Err(Failure { kind: ErrorKind::Drain, error: VckError::Cancelled }) => Step::Worked,
            Err(failure) => {
                // What the device does next may take it long.
                self.let_go(parts);
                self.note(plan.lba, failure);
                if failure.kind.passes() {
                    // However long it takes: nothing was written yet.
                    return Step::RetryAfter(retry::patient_pause(self.failed_attempts));
                }
                self.step_failed(parts, &plan)
            }
        }
    }

    pub(super) fn next_plan(&self) -> Option<Plan> {
        if !matches!(self.state, State::Encrypting | State::Decrypting) {
            return None;
        }
        self.plan_from(self.position.boundary)
    }

    /// The step from `boundary` on.
    pub(super) fn plan_from(&self, boundary: DataSector) -> Option<Plan> {
        Plan::next(&self.geometry, boundary, self.position.direction, self.cut())
    }

    pub(super) const fn cut(&self) -> Cut {
        Cut { batch: self.batch, first_alone: self.ledger.has_journal() }
    }

    /// Brings entry and blocks up to date with nothing converted.
    fn tidy(&mut self, parts: &Parts<'_>) -> Step {
        if self.fenced.is_none() {
            self.give_back();
        }
        if self.fenced.is_some() || self.failed_steps >= retry::STEP_TRIES {
            // Tried again with the next healed sector or command; meanwhile the disk lists a sector too many.
            let _attempt = self.record_healed(parts);
            return Step::Idle;
        }
        let done = self.bring_up_to_date_at_rest(parts);
        self.give_back();
        let Err(failure) = done else {
            if self.failed_steps > 0 && self.state != State::Faulted {
                // The error that shows was one of these attempts.
                self.succeeded();
            }
            self.failed_steps = 0;
            return Step::Idle;
        };
        self.note_beside(failure);
        self.failed_steps = self.failed_steps.saturating_add(1);
        if self.failed_steps < retry::STEP_TRIES {
            return Step::RetryAfter(retry::conversion_pause(self.failed_steps));
        }
        if self.state == State::Idle {
            self.state = State::Faulted;
        }
        Step::Idle
    }

    /// Gives back what only a running conversion needs.
    pub(super) fn give_back(&mut self) {
        self.copies.release();
        self.spare.release();
        self.ledger.blocks.give_back();
    }

    /// Blocks and list of damaged sectors. No zone is closed or fenced.
    pub(super) fn bring_up_to_date(&mut self, parts: &Parts<'_>) -> Result<(), Failure> {
        self.healed |= self.ledger.drop_healed(parts)?;
        self.ledger.catch_up(parts, self.position)?;
        self.record_healed(parts)
    }

    /// The same while nothing converts, also on a device without a flush: what is written is true whatever survives, and
    /// nobody asked for a conversion.
    fn bring_up_to_date_at_rest(&mut self, parts: &Parts<'_>) -> Result<(), Failure> {
        let policy = core::mem::replace(&mut self.ledger.accept_no_flush, true);
        let done = self.bring_up_to_date(parts);
        self.ledger.accept_no_flush = policy;
        done
    }

    /// Says in the journal which damaged sectors were written since.
    pub(super) fn record_healed(&mut self, parts: &Parts<'_>) -> Result<(), Failure> {
        self.healed |= self.ledger.drop_healed(parts)?;
        if self.healed {
            self.enter_standing(parts)?;
            self.healed = false;
        }
        Ok(())
    }

    /// Leaves a running state when there is nothing left to convert.
    pub(super) fn stop_at_end(&mut self) {
        if self.next_plan().is_none() {
            self.state = State::Idle;
        }
    }

    /// Forgets what failed before.
    pub(super) fn succeeded(&mut self) {
        self.failed_steps = 0;
        self.failed_attempts = 0;
        self.error = None;
        self.ledger.error = None;
    }

    /// Records a failed attempt at `lba`, or at the sector that the device named.
    pub(super) fn note(&mut self, lba: Lba, failure: Failure) {
        self.failed_attempts = self.failed_attempts.saturating_add(1);
        let lba = match failure.error {
            VckError::Device { lba: Some(named), .. } => named,
            _ => lba,
        };
        let (kind, status) = (failure.kind, failure.error.status());
        self.error = Some(SweepError { kind, lba, status, count: self.failed_attempts });
    }

    /// Records a failure to bring the disk up to date while nothing converts, unless the error that stopped the conversion
    /// is there to be seen.
    pub(super) fn note_beside(&mut self, failure: Failure) {
        if self.state != State::Faulted || self.error.is_none() {
            self.note(self.geometry.offset_sector(), failure);
        }
    }

    /// Counts a step that failed and left everything as it was before: again later, or not any more.
    pub(super) fn step_failed(&mut self, parts: &Parts<'_>, plan: &Plan) -> Step {
        self.failed_steps = self.failed_steps.saturating_add(1);
        if self.failed_steps < retry::STEP_TRIES {
            return Step::RetryAfter(retry::conversion_pause(self.failed_steps));
        }
        if self.error.is_some_and(|error| error.kind == ErrorKind::Read)
            && let Some((sector, error)) = self.copies.first_unreadable(parts.io, plan, &self.ledger.damaged)
        {
            let lba = self.geometry.data_to_lba(sector).unwrap_or(plan.lba);
            self.note(lba, Failure { kind: ErrorKind::Read, error });
            if self.policy.bad_sectors == BadSectors::Skip {
                // One more failure, and the next unreadable sector is looked for.
                self.failed_steps = retry::STEP_TRIES.saturating_sub(1);
                match self.skip(parts, sector) {
                    Ok(true) => return Step::RetryAfter(retry::held_pause(1)),
                    Ok(false) => {}
                    // Requests keep the sector, or an order came.
                    Err(_) => return Step::RetryAfter(retry::conversion_pause(1)),
                }
            }
        }
        self.fault(parts);
        Step::Idle
    }

    /// Lists a sector as unreadable, unless it can be read after all. `false` if the list is full.
    ///
    /// # Errors
    /// The sector could not be closed.
    fn skip(&mut self, parts: &Parts<'_>, sector: DataSector) -> VckResult<bool> {
        let extent = DataExtent::new(sector, SectorCount::new(1));
        parts.gate.close_and_drain(extent)?;
        // A user may have written it since.
        if self.copies.can_read(parts.io, &self.geometry, sector) {
            parts.gate.open(extent);
            return Ok(true);
        }
        let listed = self.ledger.damaged.add(sector, Damage::Unreadable);
        if listed {
            parts.gate.shield(sector);
        }
        parts.gate.open(extent);
        Ok(listed)
    }
}
