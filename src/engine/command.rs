//! What the control path may ask of a sweep.
//!
//! # Ordering rules
//! * Every command first brings a held step to its end, so that no command sees a closed zone: after PAUSE nothing of
//!   the sweep runs.
//! * A START makes its direction durable before it changes the state, a PAUSE that it was asked for. If that fails, the
//!   command fails and the sweep is what it was.
use vck_common::{Activity, VckError, VckResult, VolumeState};

use super::blocks::Position;
use super::ledger::Failure;
use super::sweep::Sweep;
use super::zone::Plan;
use super::{Parts, State};

/// What the control path may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Convert to ciphertext from the boundary upwards. Persists the direction.
    StartEncrypt,
    /// Convert to plaintext from the boundary downwards. Persists the direction.
    StartDecrypt,
    /// Stop, also after the next attach. Persists that.
    Pause,
    /// Stop for now: the next attach goes on. Persists nothing.
    Suspend,
    /// Go on in the persisted direction. Persists nothing.
    Resume,
}

impl Sweep {
    /// Carries out a command of the control path. `PASSIVE_LEVEL`; does I/O.
    ///
    /// # Errors
    /// The failure of a START, a RESUME or a PAUSE, or of a restoration; the state is then as before. [`VckError::Unsupported`]
    /// if the volume has no journal and the policy does not accept that.
    pub fn command(&mut self, parts: &Parts<'_>, command: Command) -> VckResult<()> {
        self.settle(parts);
        match command {
            Command::StartEncrypt => self.start(parts, VolumeState::Encrypt),
            Command::StartDecrypt => self.start(parts, VolumeState::Decrypt),
            Command::Resume => self.resume(parts),
            Command::Pause => self.pause(parts),
            Command::Suspend => {
                if matches!(self.state, State::Encrypting | State::Decrypting) {
                    self.state = State::Paused;
                }
                Ok(())
            }
        }
    }

    fn check_protection(&self) -> VckResult<()> {
        if self.ledger.has_journal() || self.policy.accept_no_journal {
            return Ok(());
        }
        Err(VckError::Unsupported(
            "the volume has no room for a conversion record, so that a loss of power would destroy data: use a provider \
             whose policy accepts that, or prepare the volume anew with metadata that has room",
        ))
    }

    fn start(&mut self, parts: &Parts<'_>, direction: VolumeState) -> VckResult<()> {
        if parts.io.sector_size() != self.geometry.sector_size() {
            return Err(VckError::InvalidData("the device's sector size is not that of the metadata"));
        }
        self.check_protection()?;
        self.lift_fence(parts)?;
        // Asked before anything is written: a device that cannot flush is refused here.
        self.ledger.flush(parts).map_err(|failure| failure.error)?;
        let next = Position { direction, ..self.position };
        let before = (self.ledger.activity, self.ledger.error);
        let prepared = self.ledger.prepare(parts, self.position, core::iter::once(next));
        prepared.map_err(|failure| failure.error)?;
        if let Err(failure) = self.persist_start(parts, next) {
            (self.ledger.activity, self.ledger.error) = before;
            if let Err(worse) = self.ledger.release(parts, self.position, true) {
                self.note(self.geometry.offset_sector(), worse);
            }
            return Err(failure.error);
        }
        self.position = next;
        self.step_size.flushed_in(self.ledger.last_flush);
        self.step_size.forget();
        self.run();
        Ok(())
    }

    fn persist_start(&mut self, parts: &Parts<'_>, next: Position) -> Result<(), Failure> {
        let plan = Plan::next(&self.geometry, next.boundary, next.direction, self.cut());
        self.ledger.activity = if plan.is_some() { Activity::Running } else { Activity::Idle };
        self.ledger.error = None;
        // Twice, so that both places of an entry are known to be writable before a zone depends on them.
        self.ledger.enter(parts, next, None, None)?;
        self.ledger.commit(parts, next, None)
    }

    fn resume(&mut self, parts: &Parts<'_>) -> VckResult<()> {
        self.check_protection()?;
        self.lift_fence(parts)?;
        self.run();
        Ok(())
    }

    fn pause(&mut self, parts: &Parts<'_>) -> VckResult<()> {
        let before = self.ledger.activity;
        if self.state == State::Faulted {
            // That it stands still may not have been recorded when it came to that.
            return self.enter_standing(parts).map_err(|failure| failure.error);
        }
        if !matches!(self.state, State::Encrypting | State::Decrypting | State::Paused) || before == Activity::Paused {
            return Ok(());
        }
        self.ledger.activity = Activity::Paused;
        if let Err(failure) = self.ledger.enter(parts, self.position, None, None) {
            self.ledger.activity = before;
            self.note(self.geometry.offset_sector(), failure);
            return Err(failure.error);
        }
        self.state = State::Paused;
        Ok(())
    }

    /// Enters the state of the direction, or idle if there is nothing left to convert.
    fn run(&mut self) {
        self.succeeded();
        self.step_size.begin();
        self.state = match self.position.direction {
            VolumeState::Encrypt => State::Encrypting,
            VolumeState::Decrypt => State::Decrypting,
        };
        self.stop_at_end();
        self.ledger.activity = if self.state == State::Idle { Activity::Idle } else { Activity::Running };
    }
}
