//! The life of a seed: rounds of programs at work, and power cuts between them.

use std::sync::Arc;

use vck_common::NtStatus;
use vck_ntsim::core::Rng;
use vck_ntsim::storage::{Disk, DiskConfig, Survivors};
use vck_ntsim::user::{Access, Share, Token};
use vck_ntsim::{ThreadId, World};

use super::command::Commander;
use super::file::Dirty;
use super::machine::{Machine, write_first};
use super::plan::Plan;
use super::shared::{HOST, Life, Shared};
use super::transfer::Program;
use super::{Driver, watch};

/// One seed's run.
pub(super) struct Host {
    pub(super) machine: Machine,
    pub(super) shared: Arc<Shared>,
    pub(super) driver: Driver,
    pub(super) rng: Rng,
    pub(super) boots: u64,
}

/// What a run came to.
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    pub(super) trace: u64,
}

/// How long the host waits for requests to be under way, and how long a shortage lasts, in units of 100 ns.
pub(super) const PATIENCE: u64 = 200_000;

pub(super) type Outcome<T = ()> = Result<T, String>;

/// Adds up what the driver printed when it released volumes. Once for each world.
pub(super) fn count_waits(world: &World, shared: &Shared) {
    let waits =
        |line: &String| line.split_once(" requests waited for a zone")?.0.rsplit(' ').next()?.parse::<u64>().ok();
    shared.lock().coverage.gate_waits += world.log().iter().filter_map(waits).sum::<u64>();
}

impl Host {
    /// Runs a seed from the first boot to the last count.
    pub(super) fn run(plan: Plan, driver: Driver) -> Outcome<Run> {
        let config = DiskConfig::memory(plan.volume_bytes()).sectors(plan.sector_size, 4096).timing(plan.timing);
        let disk = Disk::new(config).map_err(|error| error.to_string())?;
        write_first(&plan, &disk);
        let machine = Machine::boot(&plan, plan.seed, driver, disk)?;
        let path = machine.world.device_name(machine.volume);
        let rng = Rng::new(plan.seed, 102);
        let ops = plan.ops;
        let shared = Arc::new(Shared::new(plan, path, machine.volume));
        let host = Self { machine, shared: Arc::clone(&shared), driver, rng, boots: 0 };
        host.scenario(ops).map_err(|text| format!("{text}\n{}", shared.history()))
    }

    pub(super) fn scenario(mut self, ops: u64) -> Outcome<Run> {
        self.take_over();
        loop {
            let done = self.shared.lock().coverage.operations;
            if done >= ops {
                return self.end();
            }
            self.round()?;
            if self.rng.chance(1, 8) {
                self = self.reboot()?;
            }
        }
    }

    /// The watcher and the counts of a new world.
    pub(super) fn take_over(&self) {
        watch::watch(&self.machine.world, &self.shared);
        let mut state = self.shared.lock();
        state.workers_end = self.machine.workers_end;
        state.sweepers.clear();
    }

    pub(super) fn check(&self) -> Outcome {
        self.machine.findings()?;
        match self.shared.lock().failure.clone() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Runs the world until `done`; a world that cannot come to that is a failure.
    pub(super) fn until(&self, what: &str, done: impl FnMut() -> bool) -> Outcome {
        if self.machine.world.run_until(done) {
            return self.check();
        }
        self.check()?;
        Err(format!("{what} never happens: {}", self.machine.world.waiting()))
    }

    pub(super) fn spawn(&mut self) -> Vec<ThreadId> {
        let mut threads = Vec::new();
        for me in 0..self.shared.plan.users {
            let (shared, rng) = (Arc::clone(&self.shared), Rng::new(self.rng.next_u64(), me));
            threads.push(self.machine.world.spawn_user(Token::administrator(), move |user| {
                let mut program = Program { user: user.clone(), me, shared, rng };
                program.work();
            }));
        }
        let (shared, rng) = (Arc::clone(&self.shared), Rng::new(self.rng.next_u64(), 99));
        threads.push(self.machine.world.spawn_user(Token::administrator(), move |user| {
            Commander { user: user.clone(), shared, rng }.run();
        }));
        threads
    }

    /// Programs at work for some operations, and events meanwhile.
    pub(super) fn round(&mut self) -> Outcome {
        let start = self.shared.lock().coverage.operations;
        let length = 30 + self.rng.below(60);
        self.shared.lock().limit = start + length;
        let threads = self.spawn();
        let kernel = self.machine.world.kernel();
        let over = || threads.iter().all(|thread| !kernel.is_alive(*thread));
        let mut mark = start;
        for _ in 0..=self.rng.below(4) {
            mark += 1 + self.rng.below(length / 2);
            let shared = Arc::clone(&self.shared);
            self.until("the next event", || shared.lock().coverage.operations >= mark || over())?;
            if over() {
                break;
            }
            self.event(&over)?;
        }
        self.disarm();
        self.until("the end of a round", over)?;
        self.check()
    }

    /// Ends bursts of failures.
    pub(super) fn disarm(&self) {
        self.machine.world.fail_allocation(0);
        self.machine.world.disk(self.machine.disk).clear_faults();
        let mut state = self.shared.lock();
        state.faulty = false;
        state.short = false;
    }

    /// Makes everything durable.
    pub(super) fn flush(&self) -> Outcome {
        let user = self.machine.world.user(Token::administrator());
        let path = self.shared.lock().path.clone();
        let flushed = user.open(&path, Access::READ_WRITE, Share::ALL).and_then(|handle| handle.flush());
        flushed.map_err(|status| format!("a flush ended with {}", NtStatus(status)))
    }

    /// A clean stop, then the power goes; the same disk in a new machine.
    pub(super) fn reboot(self) -> Outcome<Self> {
        count_waits(&self.machine.world, &self.shared);
        self.machine.world.shutdown();
        self.check()?;
        self.flush()?;
        let Self { machine, shared, driver, rng, boots } = self;
        let disks = machine.world.crash(Survivors::Random);
        let disk = disks.into_iter().next().ok_or("the disk is gone")?;
        let boots = boots + 1;
        let machine = Machine::boot(&shared.plan, shared.plan.seed ^ (boots << 48), driver, disk)?;
        {
            let mut state = shared.lock();
            state.path = machine.world.device_name(machine.volume);
            state.volume = machine.volume;
            state.generation += 1;
            state.life = Life { provisional: false, running: None, attached: false, ..state.life };
            state.coverage.reboots += 1;
        }
        shared.operation(HOST, 16, 0, 0);
        let host = Self { machine, shared, driver, rng, boots };
        host.take_over();
        Ok(host)
    }
}

impl Program {
    /// Works until the round is over.
    pub(super) fn work(&mut self) {
        let mut dirty = Dirty::default();
        while !self.shared.round_over() {
            if self.shared.quiet() {
                super::shared::sleep(1_000 + self.rng.below(2_000));
            } else if self.shared.plan.mounted && self.rng.chance(2, 3) {
                self.file_session(&mut dirty);
            } else {
                self.device_session();
            }
        }
        self.settle_files(&mut dirty);
    }
}
