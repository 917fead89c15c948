//! The state machine of a conversion.
//!
//! ```text
//!              START_ENCRYPT, B < T / START_DECRYPT, B > 0           (from any state; otherwise to idle)
//!      idle ------------------------------------------> encrypting | decrypting --- end reached ---> idle
//!                                                         | PAUSE        | retries used up
//!                                                         v              v
//!                                                       paused        faulted
//! ```
//! A step whose zone is closed is a machine of its own, see `held.rs`.
//!
//! # Ordering rules
//! * Every command first brings a held step to its end, so that no command sees a closed zone: after PAUSE nothing of
//!   the sweep runs.
//! * A START makes its direction durable before it changes the state. If that fails, the old blocks are written back,
//!   the command fails and the sweep is what it was.
use core::time::Duration;

use vck_common::{ByteLen, DataExtent, DataSector, Geometry, Lba, SectorCount, VckError, VckResult, VolumeState};

use super::held::Held;
use super::journal::{Failure, Journal, Position};
use super::zone::{Plan, ZoneCopies};
use super::{ErrorKind, Parts, Progress, State, SweepError, retry};

/// The longest zone, in bytes.
const MAX_BATCH: u64 = 16 << 20;

/// What does not change over the life of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepConfig {
    /// Bytes converted by one step; rounded down to sectors, at least one, at most 16 MiB. The sweep reserves twice
    /// this much memory.
    pub batch: ByteLen,
    /// Whether conversion may run on a device that does not support flush, where power loss may mix both sides.
    pub accept_no_flush: bool,
}

impl Default for SweepConfig {
    fn default() -> Self {
        Self { batch: ByteLen::new(1 << 20), accept_no_flush: false }
    }
}

/// What the control path may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Convert to ciphertext from the boundary upwards. Persists the direction.
    StartEncrypt,
    /// Convert to plaintext from the boundary downwards. Persists the direction.
    StartDecrypt,
    /// Stop. Persists nothing.
    Pause,
    /// Go on in the persisted direction; encrypt if that cannot be read. Persists nothing.
    Resume,
}

/// What a call of [`Sweep::step`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a step says when the next one is due"]
pub enum Step {
    /// Converted a zone.
    Worked,
    /// There is nothing to do until a command arrives.
    Idle,
    /// Something failed: call again after this time. A zone may be closed meanwhile, see [`Sweep::holds_zone`].
    RetryAfter(Duration),
}

/// The conversion of one volume. Owned by the sweep thread.
pub struct Sweep {
    geometry: Geometry,
    batch: SectorCount,
    pub(super) position: Position,
    pub(super) state: State,
    pub(super) copies: ZoneCopies,
    pub(super) journal: Journal,
    pub(super) held: Option<Held>,
    /// The zone whose sectors may be of either side; its original is in `copies`.
    pub(super) fenced: Option<Plan>,
    /// Steps that failed since the last success.
    failed_steps: u32,
    /// Attempts of any kind that failed since the last success.
    failed_attempts: u32,
    error: Option<SweepError>,
}

impl Sweep {
    /// An idle sweep of a volume whose metadata says `boundary` and `direction`, which the gate publishes already.
    ///
    /// # Errors
    /// [`VckError::NoMemory`]; [`VckError::InvalidData`] for a boundary outside the data region.
    pub fn new(
        geometry: Geometry,
        boundary: DataSector,
        direction: VolumeState,
        config: SweepConfig,
    ) -> VckResult<Self> {
        if boundary.get() > geometry.data_sectors().get() {
            return Err(VckError::InvalidData("the boundary lies outside the data region"));
        }
        let size = geometry.sector_size();
        let batch = size.sectors_in(config.batch.min(ByteLen::new(MAX_BATCH)));
        let batch = if batch.is_zero() { SectorCount::new(1) } else { batch };
        let position = Position { boundary, direction };
        Ok(Self {
            geometry,
            batch,
            position,
            state: State::Idle,
            copies: ZoneCopies::new(size, batch)?,
            journal: Journal::new(position, config.accept_no_flush),
            held: None,
            fenced: None,
            failed_steps: 0,
            failed_attempts: 0,
            error: None,
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
        }
    }

    /// The zone to which all I/O fails, because neither side could be written to it. START tries to restore it.
    #[must_use]
    pub fn fenced(&self) -> Option<DataExtent> {
        self.fenced.map(|plan| plan.zone)
    }

    /// True while a zone is closed between two calls. A PAUSE ends that.
    #[must_use]
    pub const fn holds_zone(&self) -> bool {
        self.held.is_some()
    }

    /// Carries out a command of the control path. `PASSIVE_LEVEL`; does I/O.
    ///
    /// # Errors
    /// The failure of a START or of a restoration; state and metadata are then as before. PAUSE does not fail.
    pub fn command(&mut self, parts: &Parts<'_>, command: Command) -> VckResult<()> {
        self.settle(parts);
        match command {
            Command::StartEncrypt => self.start(parts, VolumeState::Encrypt),
            Command::StartDecrypt => self.start(parts, VolumeState::Decrypt),
            Command::Resume => {
                self.lift_fence(parts)?;
                self.position.direction = parts.store.load().map_or(VolumeState::Encrypt, |(_, direction)| direction);
                self.run();
                Ok(())
            }
            Command::Pause => {
                if matches!(self.state, State::Encrypting | State::Decrypting) {
                    self.state = State::Paused;
                }
                Ok(())
            }
        }
    }

    /// Converts the next zone, or goes on with one that is closed. `PASSIVE_LEVEL`; does I/O.
    pub fn step(&mut self, parts: &Parts<'_>) -> Step {
        if let Some(held) = self.held {
            return self.go_on(parts, held);
        }
        let Some(plan) = self.next_plan() else { return Step::Idle };
        match self.begin(parts, &plan) {
            Ok(()) => self.go_on(parts, Held::new(plan)),
            Err(failure) => {
                self.note(plan.lba, failure);
                self.step_failed(parts, &plan)
            }
        }
    }

    /// Seals with the gate open, then closes it on the zone, reads and converts. On failure the gate is open.
    fn begin(&mut self, parts: &Parts<'_>, plan: &Plan) -> Result<(), Failure> {
        let next = Position { boundary: plan.after, direction: plan.direction };
        self.journal.prepare(parts, self.position, next)?;
        parts.gate.close_and_drain(plan.zone).map_err(ErrorKind::Drain.during())?;
        let read = self.copies.read(parts.io, plan).and_then(|()| self.copies.convert(parts.cipher, plan));
        read.map_err(|error| {
            parts.gate.open(plan.zone);
            Failure { kind: ErrorKind::Read, error }
        })
    }

    fn next_plan(&self) -> Option<Plan> {
        if !matches!(self.state, State::Encrypting | State::Decrypting) {
            return None;
        }
        Plan::next(&self.geometry, self.position.boundary, self.position.direction, self.batch)
    }

    fn start(&mut self, parts: &Parts<'_>, direction: VolumeState) -> VckResult<()> {
        if parts.io.sector_size() != self.geometry.sector_size() {
            return Err(VckError::InvalidData("the device's sector size is not that of the metadata"));
        }
        self.lift_fence(parts)?;
        // Asked before anything is written: a device that cannot flush is refused here.
        self.journal.flush(parts.io).map_err(|failure| failure.error)?;
        let next = Position { direction, ..self.position };
        self.journal.prepare(parts, self.position, next).map_err(|failure| failure.error)?;
        if let Err(failure) = self.journal.commit(parts) {
            if let Err(worse) = self.journal.put_back(parts.io) {
                self.note(self.geometry.offset_sector(), worse);
            }
            return Err(failure.error);
        }
        self.position = next;
        self.run();
        Ok(())
    }

    /// Enters the state of the direction, or idle if there is nothing left to convert.
    fn run(&mut self) {
        self.succeeded();
        self.state = match self.position.direction {
            VolumeState::Encrypt => State::Encrypting,
            VolumeState::Decrypt => State::Decrypting,
        };
        self.stop_at_end();
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

    /// Counts a step that failed and left everything as it was before: again later, or not any more.
    pub(super) fn step_failed(&mut self, parts: &Parts<'_>, plan: &Plan) -> Step {
        self.failed_steps = self.failed_steps.saturating_add(1);
        if self.failed_steps < retry::STEP_TRIES {
            return Step::RetryAfter(retry::step_pause(self.failed_steps));
        }
        if self.error.is_some_and(|error| error.kind == ErrorKind::Read)
            && let Some((lba, error)) = self.copies.first_unreadable(parts.io, plan)
        {
            self.note(lba, Failure { kind: ErrorKind::Read, error });
        }
        self.state = State::Faulted;
        Step::Idle
    }
}
