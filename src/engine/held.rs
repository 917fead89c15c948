//! A step whose zone is closed.
//!
//! ```text
//!      write --ok--> commit --ok--> publish, open
//!        | used up     | used up
//!        v             v
//!      restore --ok--> put back --ok or used up--> open; the step has failed
//!        | used up
//!        v
//!      fence, open; faulted
//! ```
//! Every stage may be repeated: it writes what is in memory and asks for no answer but success. "Used up" is
//! `HELD_TRIES` failures. Between two of them [`Sweep::step`] returns, so that the pause is the caller's; the zone
//! stays closed meanwhile, because its sectors may be of either side.
//!
//! # Invariants
//! Nothing here allocates or seals.
use vck_common::VckResult;

use super::journal::Failure;
use super::retry;
use super::sweep::{Step, Sweep};
use super::zone::Plan;
use super::{ErrorKind, Parts, State};

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Write the converted side and flush.
    Write,
    /// Make the new boundary durable.
    Commit,
    /// Write the original side.
    Restore,
    /// Make it durable, and the old boundary again if a commit was tried.
    PutBack,
}

/// The step and how far it has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    plan: Plan,
    stage: Stage,
    /// Whether a commit was tried, so that blocks on the device may hold the new boundary.
    committing: bool,
    /// Failures of this stage.
    failures: u32,
}

impl Held {
    /// A step whose zone was read and converted.
    pub(super) const fn new(plan: Plan) -> Self {
        Self { plan, stage: Stage::Write, committing: false, failures: 0 }
    }

    fn at(self, stage: Stage) -> Next {
        Next::Go(Self { stage, committing: self.committing || stage == Stage::Commit, failures: 0, ..self })
    }
}

enum Next {
    Go(Held),
    Return(Step),
}

impl Sweep {
    /// Brings a held step to its end without pauses, so that no zone is closed. `PASSIVE_LEVEL`; does I/O. It ends,
    /// because every stage is tried a few times only. Every command does this first.
    pub fn settle(&mut self, parts: &Parts<'_>) {
        while let Some(held) = self.held {
            // How it ended is in the state and the error.
            let _step = self.go_on(parts, held);
        }
    }

    /// Takes a closed step from stage to stage until it ends or has to pause.
    pub(super) fn go_on(&mut self, parts: &Parts<'_>, mut held: Held) -> Step {
        loop {
            let next = match self.run_stage(parts, held) {
                Ok(next) => next,
                Err(failure) => {
                    self.note(held.plan.lba, failure);
                    self.stage_failed(parts, held, failure)
                }
            };
            match next {
                Next::Go(next) => held = next,
                Next::Return(step) => return step,
            }
        }
    }

    fn run_stage(&mut self, parts: &Parts<'_>, held: Held) -> Result<Next, Failure> {
        let plan = &held.plan;
        match held.stage {
            Stage::Write => {
                let data = self.copies.converted().map_err(ErrorKind::Write.during())?;
                self.journal.protect_and_write(parts.io, plan.lba, data)?;
                Ok(held.at(Stage::Commit))
            }
            Stage::Commit => {
                self.journal.commit(parts)?;
                Ok(Next::Return(self.committed(parts, plan)))
            }
            Stage::Restore => {
                self.copies.restore(parts.io, plan).map_err(ErrorKind::Restore.during())?;
                Ok(held.at(Stage::PutBack))
            }
            Stage::PutBack => {
                let restored = self.journal.flush(parts.io);
                let blocks = if held.committing { self.journal.put_back(parts.io) } else { Ok(()) };
                restored.and(blocks)?;
                self.release(parts, plan);
                Ok(Next::Return(self.step_failed(parts, plan)))
            }
        }
    }

    /// What follows a failed attempt: a pause and another one, or the next best thing.
    fn stage_failed(&mut self, parts: &Parts<'_>, held: Held, failure: Failure) -> Next {
        let failures = held.failures.saturating_add(1);
        if failures < retry::HELD_TRIES {
            self.held = Some(Held { failures, ..held });
            return Next::Return(Step::RetryAfter(retry::held_pause(failures)));
        }
        match held.stage {
            Stage::Write | Stage::Commit => return held.at(Stage::Restore),
            Stage::Restore => {
                if held.committing {
                    // The zone is lost for now either way; the old boundary is still the one that was published.
                    let _attempt = self.journal.put_back(parts.io);
                }
                parts.gate.fence(held.plan.zone, failure.error.status());
                self.fenced = Some(held.plan);
            }
            // The old side and the old boundary are what the device shows. That they are durable it does not confirm.
            Stage::PutBack => {}
        }
        self.release(parts, &held.plan);
        self.state = State::Faulted;
        Next::Return(Step::Idle)
    }

    /// The new boundary is durable: only now may the data path use it.
    fn committed(&mut self, parts: &Parts<'_>, plan: &Plan) -> Step {
        self.position.boundary = plan.after;
        parts.gate.publish(plan.after);
        self.release(parts, plan);
        self.succeeded();
        self.stop_at_end();
        Step::Worked
    }

    fn release(&mut self, parts: &Parts<'_>, plan: &Plan) {
        self.held = None;
        parts.gate.open(plan.zone);
    }

    /// Restores a fenced zone from memory, makes that and the old boundary durable, and lifts the fence.
    pub(super) fn lift_fence(&mut self, parts: &Parts<'_>) -> VckResult<()> {
        let Some(plan) = self.fenced else { return Ok(()) };
        parts.gate.close_and_drain(plan.zone)?;
        let restored = self.copies.restore(parts.io, &plan);
        let durable = restored.and_then(|()| self.journal.put_back(parts.io).map_err(|failure| failure.error));
        if durable.is_ok() {
            parts.gate.unfence();
            self.fenced = None;
        }
        parts.gate.open(plan.zone);
        durable
    }
}
