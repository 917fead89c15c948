//! What happens to the machine while programs work: shortages, faults, questions, removals, stops.

use std::sync::Arc;

use vck_common::NtStatus;
use vck_ntsim::storage::{DiskOp, Fault, FaultEffect};
use vck_ntsim::user::{Access, Token};

use super::host::{Host, Outcome, PATIENCE};
use super::machine::plug;
use super::shared::{HOST, Life};
use crate::Client;

impl Host {
    pub(super) fn event(&mut self, over: &dyn Fn() -> bool) -> Outcome {
        self.disarm();
        match self.rng.below(24) {
            16.. => {
                self.spike();
                Ok(())
            }
            0..=3 => self.shortage(over),
            4..=7 => {
                self.fault();
                Ok(())
            }
            8 | 9 => self.question(over),
            10 | 11 => self.removal(over),
            12..=14 => self.surprise(over),
            _ => self.restart(),
        }?;
        self.check()
    }

    /// Every allocation of the driver fails for some operations.
    pub(super) fn shortage(&mut self, over: &dyn Fn() -> bool) -> Outcome {
        let end = {
            let mut state = self.shared.lock();
            state.short = true;
            state.shortages += 1;
            state.coverage.operations + 1 + self.rng.below(6)
        };
        let every = 1 + self.rng.below(3);
        let world = &self.machine.world;
        let patience = world.now().after(PATIENCE);
        let (mut last, mut refused) = (world.allocations_made(), 0);
        world.fail_allocation(every);
        let shared = Arc::clone(&self.shared);
        let reached = self.until("the end of a shortage", || {
            let made = world.allocations_made();
            if made >= last + every {
                refused += 1;
                last = made;
                world.fail_allocation(every);
            }
            shared.lock().coverage.operations >= end || world.now() > patience || over()
        });
        self.shared.lock().coverage.low_memory += refused;
        self.disarm();
        reached
    }

    /// The device fails some requests, soon.
    pub(super) fn fault(&mut self) {
        let op = [DiskOp::Read, DiskOp::Write, DiskOp::Flush][self.rng.index(3)];
        let status = NtStatus::IO_DEVICE_ERROR.0;
        let effect = match op {
            DiskOp::Write if self.rng.chance(1, 2) => FaultEffect::PartialFail { status, sectors: self.rng.below(64) },
            _ => FaultEffect::Fail(status),
        };
        let times = 1 + u32::from(self.rng.chance(1, 2));
        let skip = u32::try_from(self.rng.below(6)).unwrap_or(0);
        {
            let mut state = self.shared.lock();
            state.faults += 1;
            state.faulty = true;
        }
        self.machine.world.disk(self.machine.disk).inject(Fault::anywhere(op, effect).times(times).after(skip));
    }

    /// Some requests take much longer than a step of a conversion: whoever does not wait for them is found out.
    fn spike(&mut self) {
        let op = if self.rng.chance(1, 4) { DiskOp::Write } else { DiskOp::Read };
        let disk = self.machine.world.disk(self.machine.disk);
        for _ in 0..=self.rng.below(4) {
            let effect = FaultEffect::Delay(2_000_000 + self.rng.below(40_000_000));
            let skip = u32::try_from(self.rng.below(4)).unwrap_or(0);
            disk.inject(Fault::anywhere(op, effect).times(1).after(skip));
        }
        self.shared.lock().coverage.spikes += 1;
    }

    /// Asks whether the volume may be removed, and takes it back.
    pub(super) fn question(&mut self, over: &dyn Fn() -> bool) -> Outcome {
        let quiet = self.rng.chance(1, 2);
        if quiet {
            self.quieten(over)?;
        }
        self.take_write_back(over)?;
        let world = &self.machine.world;
        self.stopping(true);
        let asked = world.query_remove(self.machine.volume);
        match asked {
            Ok(()) => {
                self.shared.lock().coverage.query_cancels += 1;
                self.answer("CANCEL_REMOVE", world.cancel_remove(self.machine.volume))?;
            }
            Err(status) if status == NtStatus::ACCESS_DENIED.0 => self.shared.lock().coverage.queries_refused += 1,
            refused => self.answer("QUERY_REMOVE", refused)?,
        }
        self.stopping(false);
        self.shared.lock().writing_back = false;
        self.event_done(8, quiet);
        Ok(())
    }

    /// Commands are refused from the question on until the device is back at work.
    pub(super) fn stopping(&self, on: bool) {
        let mut state = self.shared.lock();
        state.stopping = on;
        state.stops += u64::from(on);
    }

    /// A PnP request must have succeeded; a finding says more than its status.
    pub(super) fn answer(&self, what: &str, result: Result<(), i32>) -> Outcome {
        self.check()?;
        result.map_err(|status| format!("{what} ended with {}", NtStatus(status)))
    }

    pub(super) fn event_done(&mut self, what: u64, quiet: bool) {
        self.shared.operation(HOST, what, 0, 0);
        let mut state = self.shared.lock();
        state.quiet -= u64::from(quiet);
        state.evicting = false;
    }

    pub(super) fn quieten(&mut self, over: &dyn Fn() -> bool) -> Outcome {
        self.shared.lock().quiet += 1;
        let shared = Arc::clone(&self.shared);
        self.until("quiet", || shared.lock().sessions == 0 || over())
    }

    /// Nobody has the volume open, and nobody opens it until the event is over.
    pub(super) fn evict(&mut self, over: &dyn Fn() -> bool) -> Outcome {
        self.shared.lock().evicting = true;
        self.quieten(over)
    }

    pub(super) fn take_write_back(&mut self, over: &dyn Fn() -> bool) -> Outcome {
        let shared = Arc::clone(&self.shared);
        self.until("the write-back's end", || !shared.lock().writing_back || over())?;
        self.shared.lock().writing_back = true;
        Ok(())
    }

    /// No command is under way any more, and none begins.
    pub(super) fn hold(&mut self, over: &dyn Fn() -> bool) -> Outcome {
        self.shared.lock().hold = true;
        let shared = Arc::clone(&self.shared);
        self.until("the end of a command", || !shared.lock().commanding || over())
    }

    /// The volume is removed after a question, sometimes with requests of closed handles under way, and comes back.
    pub(super) fn removal(&mut self, over: &dyn Fn() -> bool) -> Outcome {
        self.hold(over)?;
        self.shared.lock().hasty = true;
        self.evict(over)?;
        self.take_write_back(over)?;
        let pending = {
            let mut state = self.shared.lock();
            state.dying = true;
            state.in_flight > 0
        };
        let removed = self.machine.world.remove(self.machine.volume);
        {
            let mut state = self.shared.lock();
            state.writing_back = false;
            state.hasty = false;
            state.hold = false;
        }
        self.answer("REMOVE", removed)?;
        {
            let coverage = &mut self.shared.lock().coverage;
            coverage.removals += 1;
            coverage.removals_pending += u64::from(pending);
        }
        self.come_back()?;
        self.event_done(10, true);
        Ok(())
    }

    /// The same disk is plugged in again.
    pub(super) fn come_back(&mut self) -> Outcome {
        let world = &self.machine.world;
        self.machine.volume = plug(world, &self.shared.plan, self.machine.disk)?;
        let path = world.device_name(self.machine.volume);
        let mut state = self.shared.lock();
        state.volume = self.machine.volume;
        state.path = path;
        state.generation += 1;
        state.dying = false;
        state.sweepers.clear();
        state.life = Life { provisional: false, running: None, attached: false, ..state.life };
        Ok(())
    }

    /// The volume vanishes while programs use it. Conversion is paused before: a step that the device takes part of is
    /// the power-loss case, which needs a record on the medium.
    pub(super) fn surprise(&mut self, over: &dyn Fn() -> bool) -> Outcome {
        self.hold(over)?;
        let world = &self.machine.world;
        let volume = self.machine.volume;
        {
            let user = world.user(Token::administrator());
            let client = Client::open(&user, Access::READ_WRITE);
            let client = client.map_err(|failure| format!("the control device does not open: {failure:?}"))?;
            let path = self.shared.lock().path.clone();
            if let Err(failure) = client.pause(&path)
                && ![NtStatus::OBJECT_NAME_NOT_FOUND, NtStatus::INVALID_DEVICE_STATE].contains(&failure.0)
            {
                return Err(format!("PAUSE ended with {failure:?}"));
            }
        }
        self.shared.lock().life.running = None;
        // Requests shall be under way; with a device that answers at once there may be none.
        let shared = Arc::clone(&self.shared);
        let patience = world.now().after(PATIENCE);
        self.until("a request", || shared.lock().in_flight > 1 || world.now() > patience || over())?;
        {
            let mut state = self.shared.lock();
            state.dying = true;
            state.coverage.surprises += 1;
            let pending = state.in_flight > 0;
            state.coverage.removals_pending += u64::from(pending);
        }
        let world = &self.machine.world;
        self.answer("SURPRISE_REMOVAL", world.surprise_remove(volume))?;
        // REMOVE comes when the last handle is closed.
        self.evict(over)?;
        self.answer("REMOVE", self.machine.world.remove(volume))?;
        self.come_back()?;
        self.shared.lock().hold = false;
        self.event_done(12, true);
        Ok(())
    }

    /// STOP and START, as for a change of resources.
    pub(super) fn restart(&mut self) -> Outcome {
        let (world, volume) = (&self.machine.world, self.machine.volume);
        self.stopping(true);
        self.answer("STOP", world.stop(volume))?;
        self.answer("START_DEVICE", world.start(volume))?;
        self.stopping(false);
        self.shared.lock().coverage.restarts += 1;
        self.event_done(15, false);
        Ok(())
    }
}
