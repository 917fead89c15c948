//! The machine of a seed, and what happens to it from outside: removal, stops, shortages, faults, power cuts.

use std::sync::Arc;
use std::time::Duration;

use vck_common::jvck::JvckMetadataStore;
use vck_common::memory_io::MemoryIo;
use vck_common::{Lba, NtStatus, SectorCount, SectorSize};
use vck_ntsim::core::Rng;
use vck_ntsim::io::{DriverConfig, DriverId, FilterPosition};
use vck_ntsim::pnp::{DiskId, VolumeConfig, VolumeId};
use vck_ntsim::storage::{Disk, DiskConfig, DiskOp, Fault, FaultEffect, Survivors};
use vck_ntsim::user::{Access, Share, Token};
use vck_ntsim::{ThreadId, World};

use super::command::{Commander, status_of};
use super::file::Dirty;
use super::plan::Plan;
use super::shared::{HOST, Life, Shared};
use super::stamp::{self, Oracle};
use super::transfer::Program;
use super::{Driver, watch};
use crate::{Client, KEY1, KEY2, VMK};

/// A world with the driver and the volume in it.
struct Machine {
    world: World,
    driver: DriverId,
    disk: DiskId,
    volume: VolumeId,
    workers_end: u64,
}

impl Machine {
    fn boot(plan: &Plan, seed: u64, driver: Driver, disk: Disk) -> Result<Self, String> {
        let world = World::builder()
            .seed(seed)
            .hostile(plan.hostile)
            .force_pending(plan.force_pending)
            .configure(|config| config.preemption = plan.preemption)
            .build();
        if driver.keeps_secrets {
            for secret in [&VMK, &KEY1, &KEY2] {
                world.watch_secret(secret);
            }
        }
        let entry = driver.entry;
        let config = DriverConfig { service: "VolumeCryptKitSample", entry, filter: FilterPosition::VolumeLower };
        let driver = world.load_driver(config).map_err(|status| format!("the driver does not load: {status:#x}"))?;
        let workers_end = last_thread(&world);
        let disk = world.insert_disk(disk);
        let volume = plug(&world, plan, disk)?;
        Ok(Self { world, driver, disk, volume, workers_end })
    }

    fn findings(&self) -> Result<(), String> {
        self.world.kernel().check_memory();
        let findings = self.world.findings();
        if findings.is_empty() {
            return Ok(());
        }
        Err(findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }
}

/// The number of the newest thread.
fn last_thread(world: &World) -> u64 {
    world.spawn_user(Token::system(), |_| ()).0
}

fn plug(world: &World, plan: &Plan, disk: DiskId) -> Result<VolumeId, String> {
    let config = VolumeConfig { file_system: plan.file_system(), ..VolumeConfig::whole(disk).letter('D') };
    world.plug(config).map_err(|status| format!("the volume does not start: {status:#x}"))
}

/// One seed's run.
pub(super) struct Host {
    machine: Machine,
    shared: Arc<Shared>,
    driver: Driver,
    rng: Rng,
    boots: u64,
}

/// What a run came to.
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    pub(super) trace: u64,
}

/// How long the host waits for requests to be under way, and how long a shortage lasts, in units of 100 ns.
const PATIENCE: u64 = 200_000;

type Outcome<T = ()> = Result<T, String>;

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

    fn scenario(mut self, ops: u64) -> Outcome<Run> {
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
    fn take_over(&self) {
        watch::watch(&self.machine.world, &self.shared);
        let mut state = self.shared.lock();
        state.workers_end = self.machine.workers_end;
        state.sweepers.clear();
    }

    fn check(&self) -> Outcome {
        self.machine.findings()?;
        match self.shared.lock().failure.clone() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Runs the world until `done`; a world that cannot come to that is a failure.
    fn until(&self, what: &str, done: impl FnMut() -> bool) -> Outcome {
        if self.machine.world.run_until(done) {
            return self.check();
        }
        self.check()?;
        Err(format!("{what} never happens: {}", self.machine.world.waiting()))
    }

    fn spawn(&mut self) -> Vec<ThreadId> {
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
    fn round(&mut self) -> Outcome {
        let start = self.shared.lock().coverage.operations;
        let length = 30 + self.rng.below(60);
        self.shared.lock().limit = start + length;
        let threads = self.spawn();
        let kernel = self.machine.world.kernel();
        let over = || threads.iter().all(|thread| !kernel.is_alive(*thread));
        let mut mark = start;
        for _ in 0..1 + self.rng.below(4) {
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
    fn disarm(&self) {
        self.machine.world.fail_allocation(0);
        self.machine.world.disk(self.machine.disk).clear_faults();
        let mut state = self.shared.lock();
        state.faulty = false;
        state.short = false;
    }

    fn event(&mut self, over: &dyn Fn() -> bool) -> Outcome {
        self.disarm();
        match self.rng.below(16) {
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
    fn shortage(&mut self, over: &dyn Fn() -> bool) -> Outcome {
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
    fn fault(&mut self) {
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

    /// Asks whether the volume may be removed, and takes it back.
    fn question(&mut self, over: &dyn Fn() -> bool) -> Outcome {
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
    fn stopping(&self, on: bool) {
        let mut state = self.shared.lock();
        state.stopping = on;
        state.stops += u64::from(on);
    }

    /// A PnP request must have succeeded; a finding says more than its status.
    fn answer(&self, what: &str, result: Result<(), i32>) -> Outcome {
        self.check()?;
        result.map_err(|status| format!("{what} ended with {}", NtStatus(status)))
    }

    fn event_done(&mut self, what: u64, quiet: bool) {
        self.shared.operation(HOST, what, 0, 0);
        let mut state = self.shared.lock();
        state.quiet -= u64::from(quiet);
        state.evicting = false;
    }

    fn quieten(&mut self, over: &dyn Fn() -> bool) -> Outcome {
        self.shared.lock().quiet += 1;
        let shared = Arc::clone(&self.shared);
        self.until("quiet", || shared.lock().sessions == 0 || over())
    }

    /// Nobody has the volume open, and nobody opens it until the event is over.
    fn evict(&mut self, over: &dyn Fn() -> bool) -> Outcome {
        self.shared.lock().evicting = true;
        self.quieten(over)
    }

    fn take_write_back(&mut self, over: &dyn Fn() -> bool) -> Outcome {
        let shared = Arc::clone(&self.shared);
        self.until("the write-back's end", || !shared.lock().writing_back || over())?;
        self.shared.lock().writing_back = true;
        Ok(())
    }

    /// No command is under way any more, and none begins.
    fn hold(&mut self, over: &dyn Fn() -> bool) -> Outcome {
        self.shared.lock().hold = true;
        let shared = Arc::clone(&self.shared);
        self.until("the end of a command", || !shared.lock().commanding || over())
    }

    /// The volume is removed after a question, sometimes with requests of closed handles under way, and comes back.
    fn removal(&mut self, over: &dyn Fn() -> bool) -> Outcome {
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
    fn come_back(&mut self) -> Outcome {
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
    fn surprise(&mut self, over: &dyn Fn() -> bool) -> Outcome {
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
    fn restart(&mut self) -> Outcome {
        let (world, volume) = (&self.machine.world, self.machine.volume);
        self.stopping(true);
        self.answer("STOP", world.stop(volume))?;
        self.answer("START_DEVICE", world.start(volume))?;
        self.stopping(false);
        self.shared.lock().coverage.restarts += 1;
        self.event_done(15, false);
        Ok(())
    }

    /// Makes everything durable.
    fn flush(&self) -> Outcome {
        let user = self.machine.world.user(Token::administrator());
        let path = self.shared.lock().path.clone();
        let flushed = user.open(&path, Access::READ_WRITE, Share::ALL).and_then(|handle| handle.flush());
        flushed.map_err(|status| format!("a flush ended with {}", NtStatus(status)))
    }

    /// A clean stop, then the power goes; the same disk in a new machine.
    fn reboot(self) -> Outcome<Self> {
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

    /// Brings the volume to rest, compares every sector, and counts what is left.
    fn end(mut self) -> Outcome<Run> {
        self.disarm();
        self.last_commands()?;
        self.check()?;
        let (boundary, image) = self.compare()?;
        let Machine { world, driver, volume, .. } = self.machine;
        let removed = world.remove(volume);
        removed.map_err(|status| format!("the last REMOVE ended with {}: {:?}", NtStatus(status), world.findings()))?;
        let unloaded = world.unload_driver(driver);
        unloaded.map_err(|status| format!("the driver does not unload: {}", NtStatus(status)))?;
        let findings = world.findings();
        let leaks = world.leak_report();
        if !findings.is_empty() || !leaks.is_empty() || world.live_irps() != 0 || world.pool_blocks() != 0 {
            let (irps, blocks) = (world.live_irps(), world.pool_blocks());
            return Err(format!("at the end: {findings:?}; {leaks:?}; {irps} IRPs, {blocks} blocks"));
        }
        let mut state = self.shared.lock();
        for word in [boundary, image, world.decisions(), world.switches(), world.now().0] {
            state.mix(word);
        }
        let trace = state.trace();
        drop(state);
        Ok(Run { shared: self.shared, trace })
    }

    fn last_commands(&mut self) -> Outcome {
        let user = self.machine.world.user(Token::administrator());
        let fail = |what: &'static str| move |failure| format!("{what}, at the end: {failure:?}");
        let client = Client::open(&user, Access::READ_WRITE).map_err(fail("open"))?;
        let path = self.shared.lock().path.clone();
        let life = self.shared.lock().life;
        let attached = client.status(&path).map_err(fail("GET_STATUS"))?.attached;
        let full = self.rng.chance(1, 2);
        if !attached && full && life.prepared {
            client.reattach(&path, &VMK).map_err(fail("re-attach"))?;
            self.shared.lock().coverage.reattaches += 1;
        }
        if !attached && !(full && life.prepared) || life.provisional {
            return self.flush();
        }
        if full {
            let to_cipher = self.rng.chance(1, 3);
            let started = if to_cipher { client.encrypt(&path) } else { client.decrypt(&path) };
            started.map_err(fail("START"))?;
            let state = self.wait_until_idle(&client, &path)?;
            let boundary = client.status(&path).map_err(fail("GET_STATUS"))?.boundary;
            let expected = if to_cipher { self.shared.plan.data_sectors } else { 0 };
            if (state, boundary) != (0, expected) {
                return Err(format!("the last conversion ended in state {state} at {boundary}, not at {expected}"));
            }
            let coverage = &mut self.shared.lock().coverage;
            *(if to_cipher { &mut coverage.encrypted } else { &mut coverage.decrypted }) += 1;
        } else {
            client.pause(&path).map_err(fail("PAUSE"))?;
        }
        if self.rng.chance(2, 3) {
            client.detach(&path).map_err(fail("DETACH"))?;
        }
        Ok(())
    }

    fn wait_until_idle(&self, client: &Client<'_>, path: &str) -> Outcome<i32> {
        loop {
            let status = status_of(client, path).map_err(|failure| format!("GET_STATUS, at the end: {failure:?}"))?;
            if !matches!(status.state, 1 | 2) {
                return Ok(status.state);
            }
            self.machine.world.run_for(Duration::from_millis(5));
            self.check()?;
        }
    }

    /// Every data sector of the disk against the model; the boundary and a digest of the data.
    fn compare(&self) -> Outcome<(u64, u64)> {
        let plan = &self.shared.plan;
        let disk = self.machine.world.disk(self.machine.disk);
        let mut image = disk.peek(0, disk.sectors());
        let boundary = boundary_of(&image, plan.sector_size, disk.sectors())?;
        let size = plan.sector_size as usize;
        let at = |sectors: u64| usize::try_from(sectors).unwrap_or(0) * size;
        let data = &mut image[at(plan.offset_sectors())..][..at(plan.data_sectors)];
        Oracle::new(plan.sector_size).decrypt(&mut data[..at(boundary)], 0);
        let digest = data.chunks(8).fold(0, |hash: u64, word| {
            let word = word.try_into().map_or(0, u64::from_le_bytes);
            (hash ^ word).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(29)
        });
        let mut state = self.shared.lock();
        let reading = state.model.begin_read(0..plan.data_sectors);
        let right = state.model.end_read(&reading, data);
        right.map_err(|wrong| format!("the disk at the end, boundary {boundary}: {wrong}"))?;
        Ok((boundary, digest))
    }
}

/// The boundary that an image's metadata states; 0 when it has none.
fn boundary_of(image: &[u8], sector_size: u32, sectors: u64) -> Outcome<u64> {
    let text = |error: vck_common::VckError| error.to_string();
    let size = SectorSize::new(sector_size).map_err(text)?;
    let io = MemoryIo::new(size, SectorCount::new(sectors)).map_err(text)?;
    if !io.place(Lba::ZERO, image) {
        return Err("the image does not fit".to_owned());
    }
    match JvckMetadataStore::open(io, &VMK) {
        Ok(store) => Ok(store.load_offset().sector.get()),
        Err(vck_common::VckError::NotFound(_)) => Ok(0),
        Err(error) => Err(format!("the metadata at the end: {error}")),
    }
}

/// What the disk holds before the first boot.
fn write_first(plan: &Plan, disk: &Disk) {
    if plan.blank {
        return;
    }
    let size = plan.sector_size as usize;
    let run = (1 << 20) / u64::from(plan.sector_size);
    let mut at = 0;
    while at < plan.data_sectors {
        let count = run.min(plan.data_sectors - at);
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(0) * size];
        for (sector, number) in bytes.chunks_mut(size).zip(at..) {
            stamp::fill(sector, number, 1);
        }
        disk.poke(plan.offset_sectors() + at, &bytes);
        at += count;
    }
}

impl Program {
    /// Works until the round is over.
    fn work(&mut self) {
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
