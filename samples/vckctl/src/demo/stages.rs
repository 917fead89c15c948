//! The stages of the demonstration, in order.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use vck_common::jvck::JvckMetadataOptions;
use vck_common::wire::{IoctlCode, WireState};
use vck_common::{Geometry, NtStatus, SectorCount, SectorSize};
use vck_ntsim::ThreadId;
use vck_ntsim::pnp::VolumeId;
use vck_ntsim::user::Token;

use super::checks::{Manifest, compare_files, is_ciphertext, is_plaintext, manifest, with_files};
use super::content::{self, Spec};
use super::machine::{Machine, Medium};
use super::origin::{FOOTERS, Origin};
use super::rng::SeededRandom;
use super::streams::{Mounted, Plain, open_fat};
use super::summary::Summary;
use super::watch::Watch;
use super::workload::{Shared, Workload};
use crate::client::{Client, Volume};
use crate::commands::new_block_from;
use crate::error::{CtlError, CtlResult, Exit};
use crate::file_io::FileIo;
use crate::follow::{Direction, Meter};
use crate::output::Format;

/// How often the driver is asked for progress, in the machine's time: so often that there is something to see on a small
/// volume, too.
fn poll_interval(volume_bytes: u64) -> Duration {
    Duration::from_micros(volume_bytes / 400).clamp(Duration::from_millis(20), Duration::from_millis(200))
}

/// How long conversion is paused, in the machine's time.
const REST: Duration = Duration::from_secs(2);
/// Where the demonstration's files go on a user's volume.
const FOLDER: &str = "VCKDEMO/";
/// The most bytes of files that are made on a user's volume.
const MOST_ON_COPY: u64 = 24 << 20;

/// Everything that lives through the stages.
pub(super) struct Demo {
    origin: Origin,
    seed: u64,
    format: Format,
    watch: Arc<Watch>,
    shared: Arc<Shared>,
    /// The user's own files.
    manifest: Manifest,
    is_fat: bool,
    converted: u64,
    virtual_seconds: f64,
    decisions: u64,
}

impl Demo {
    pub(super) fn new(origin: Origin, seed: u64, format: Format) -> CtlResult<Self> {
        let base = origin.original.as_ref().map(|path| FileIo::open(path, origin.size)).transpose()?;
        let watch = Arc::new(Watch::new(origin.size, base));
        let is_fat = origin.is_fat()?;
        Ok(Self {
            origin,
            seed,
            format,
            watch,
            shared: Arc::default(),
            manifest: Manifest::new(),
            is_fat,
            converted: 0,
            virtual_seconds: 0.0,
            decisions: 0,
        })
    }

    fn say(&self, line: &str) {
        if self.format == Format::Text {
            println!("{line}");
            // A pipe shows it now, too.
            let _flushed = io::stdout().flush();
        }
    }

    fn geometry(&self) -> CtlResult<Geometry> {
        let size = self.origin.size;
        let options = JvckMetadataOptions::default();
        let geometry = options.geometry(size, SectorCount::new(self.origin.bytes / size.u64()));
        geometry.map_err(|error| CtlError::library("lay out", &self.origin.name, error))
    }

    fn medium(&self) -> Medium {
        Medium::new(&self.origin.disk, self.origin.size)
    }

    fn boot(&self, which: u64) -> CtlResult<Rc<Machine>> {
        Machine::boot(self.seed.wrapping_add(which << 32), &self.origin.disk, &self.watch, &self.origin.name)
    }

    /// All stages; the summary.
    pub(super) fn run(mut self) -> CtlResult<Summary> {
        let mut key = [0; 32];
        let random = SeededRandom::new(self.seed);
        let filled = vck_common::RandomSource::fill(&random, &mut key);
        filled.map_err(|error| CtlError::library("make a key for", &self.origin.name, error))?;
        let mib = self.origin.bytes >> 20;
        self.say(&format!(
            "The driver runs in a simulated kernel (seed {}) on {}, {mib} MiB",
            self.seed, self.origin.name
        ));
        if let Some(path) = self.origin.copy_path() {
            self.say(&format!("  the copy is {}; your file is only read", path.display()));
        }
        self.first_machine(&key, &random)?;
        self.second_machine(&key)?;
        Ok(self.summary())
    }

    fn first_machine(&mut self, key: &[u8], random: &SeededRandom) -> CtlResult<()> {
        let machine = self.boot(0)?;
        let mut client = machine.client();
        self.populate(&machine)?;
        let block = new_block_from(&self.geometry()?, key, random);
        let block = block.map_err(|error| CtlError::library("prepare", &self.origin.name, error))?;
        client.prepare(key, &JvckMetadataOptions::default(), &block, "prepare")?;
        self.say("prepared: two footers, keys sealed, nothing encrypted yet");
        self.convert(&machine, &mut client, Direction::Encrypt)?;
        self.check_files(&machine, "read through the driver, fully encrypted")?;
        detach(&machine, &mut client)?;
        let sectors = is_ciphertext(&self.medium(), &self.watch, key)?;
        self.say(&format!(
            "detached: all {sectors} sectors of the raw volume are ciphertext, no marker of a file shows, and decrypted\n  \
             without the driver they are what was written"
        ));
        self.end(&machine)
    }

    fn second_machine(&mut self, key: &[u8]) -> CtlResult<()> {
        let machine = self.boot(1)?;
        let mut client = machine.client();
        self.refuse_wrong_key(&machine, &mut client, key)?;
        client.attach(key)?;
        let status = client.status()?;
        if !status.attached || status.encrypted != status.total {
            return Err(CtlError::failure("the volume is not attached as fully encrypted"));
        }
        self.check_files(&machine, "read through the driver after a new start")?;
        self.say("attached after a new start with the right key: all files are there");
        self.convert(&machine, &mut client, Direction::Decrypt)?;
        self.check_files(&machine, "read through the driver, decrypted")?;
        detach(&machine, &mut client)?;
        let sectors = is_plaintext(&self.medium(), &self.watch, &self.geometry()?)?;
        self.end(&machine)?;
        if self.is_fat {
            let medium = self.medium();
            let found = open_fat(Plain::new(&medium)).and_then(|fat| manifest(&fat.root_dir()));
            let found = found.map_err(|error| CtlError::failure(format!("the raw volume's files: {error}")))?;
            compare_files(&self.expected_files(), &found, "read from the raw volume")?;
        }
        self.say(&format!(
            "decrypted and detached: {sectors} sectors and {} files compared, no difference",
            self.file_count()
        ));
        Ok(())
    }

    fn end(&mut self, machine: &Machine) -> CtlResult<()> {
        machine.shut_down()?;
        self.virtual_seconds += machine.seconds();
        self.decisions += machine.world.decisions();
        Ok(())
    }

    fn file_count(&self) -> usize {
        self.expected_files().len()
    }

    fn expected_files(&self) -> Manifest {
        with_files(self.manifest.clone(), &self.shared.files())
    }

    /// Makes the file system where there is none, and files.
    fn populate(&mut self, machine: &Rc<Machine>) -> CtlResult<()> {
        if let Some(original) = &self.origin.original {
            if !self.is_fat {
                self.say("no FAT file system: the demonstration works with sectors, not with files");
                return Ok(());
            }
            let io = FileIo::open(original, self.origin.size)?;
            let listed = open_fat(Plain::new(&io)).and_then(|fat| manifest(&fat.root_dir()));
            self.manifest =
                listed.map_err(|error| CtlError::file("list the files of", original, &io::Error::other(error)))?;
        }
        let fresh = self.origin.original.is_none();
        let (size, bytes) = (self.origin.size, self.origin.bytes);
        let made = machine.on_thread("making the files", move |volume| make_files(volume, fresh, size, bytes))?;
        let total: usize = made.iter().map(|spec| spec.len).sum();
        self.say(&format!(
            "{} files of the demonstration ({} KiB) and {} of your own on a FAT file system above the driver",
            made.len(),
            total >> 10,
            self.manifest.len()
        ));
        for spec in made {
            let content = content::file(&spec);
            self.shared.add(spec, content);
        }
        Ok(())
    }

    /// Compares every file as the machine reads it.
    fn check_files(&self, machine: &Rc<Machine>, where_read: &'static str) -> CtlResult<()> {
        if !self.is_fat {
            return Ok(());
        }
        let found = machine.on_thread("reading the files", |volume| {
            let fs = volume.fs_here();
            fs.flush().and_then(|()| fs.invalidate()).map_err(super::streams::io_error)?;
            let fat = open_fat(Mounted::new(volume)?)?;
            let found = manifest(&fat.root_dir())?;
            fat.unmount()?;
            fs.invalidate().map_err(super::streams::io_error)?;
            Ok(found)
        })?;
        compare_files(&self.expected_files(), &found, where_read)
    }

    fn refuse_wrong_key(&self, machine: &Machine, client: &mut Client, key: &[u8]) -> CtlResult<()> {
        let wrong: Vec<u8> = key.iter().map(|byte| byte ^ 0x55).collect();
        let writes = || self.watch.counts().writes_below;
        let before = writes();
        let refused = client.attach(&wrong);
        machine.check()?;
        match refused {
            Err(error) if error.exit == Exit::WrongKey => {}
            Err(error) => return Err(error),
            Ok(()) => return Err(CtlError::failure("a wrong key opened the volume")),
        }
        if client.status()?.attached || writes() != before {
            return Err(CtlError::failure("a refused key changed something"));
        }
        self.say(&format!("new start: a wrong key is refused ({}), nothing was written", NtStatus::WRONG_PASSWORD));
        Ok(())
    }

    fn start_workload(&self, machine: &Machine, direction: Direction) -> ThreadId {
        self.shared.ask_to_stop(false);
        let workload = Workload {
            volume: machine.volume,
            path: machine.path.clone(),
            watch: Arc::clone(&self.watch),
            shared: Arc::clone(&self.shared),
            seed: self.seed ^ u64::from(direction.code().code()),
        };
        machine.world.spawn_user(Token::administrator(), move |user| workload.run(user))
    }

    /// Converts the whole volume while the workload uses it; pauses once on the way.
    fn convert(&mut self, machine: &Rc<Machine>, client: &mut Client, direction: Direction) -> CtlResult<()> {
        let start = client.status()?;
        let mut meter = Meter::new(direction, &start, self.format);
        self.watch.set_floor(0);
        let workload = self.start_workload(machine, direction);
        client.command(direction.code(), direction.verb())?;
        let mut paused = None;
        let result = loop {
            let now = match self.look(machine, client, direction) {
                Ok(now) => now,
                Err(error) => break Err(error),
            };
            meter.show(&now, start.sector_size, "");
            let state = WireState::from_i32(now.state);
            if state == Some(WireState::Idle) {
                break Ok(now);
            }
            if paused.is_none() && self.is_time_to_pause(&now, direction) {
                match self.pause(machine, client, direction) {
                    Ok(rested) => paused = Some(rested),
                    Err(error) => break Err(error),
                }
            }
            client.transport().sleep(poll_interval(self.origin.bytes));
        };
        meter.end();
        // The program ends in an orderly way, unless the machine stands still.
        self.shared.ask_to_stop(true);
        if machine.check().is_ok() {
            machine.world.join(workload);
        }
        machine.check()?;
        let end = result?;
        self.failure()?;
        if direction.done(&end) != end.total || !end.error.is_empty() {
            let text = format!("conversion ended at sector {} of {}: {}", end.encrypted, end.total, end.error);
            return Err(CtlError::failure(text));
        }
        let Some(rested) = paused else { return Err(CtlError::failure("conversion ended before it could be paused")) };
        self.converted += end.total * self.origin.size.u64();
        let tally = self.shared.tally();
        self.say(&format!(
            "{}ed while in use: {} sectors; stood still at sector {rested} for {} s when paused; so far {} reads and {} writes\n  \
             of a file that the boundary was in",
            direction.verb(),
            end.total,
            REST.as_secs(),
            tally.reads_inside,
            tally.writes_inside
        ));
        Ok(())
    }

    /// Asks for progress, and tells the watch what is encrypted for sure.
    fn look(&self, machine: &Machine, client: &mut Client, direction: Direction) -> CtlResult<Volume> {
        let now = client.progress();
        machine.check()?;
        self.failure()?;
        let now = now?;
        if direction == Direction::Encrypt {
            self.watch.set_floor(now.encrypted);
        }
        Ok(now)
    }

    fn failure(&self) -> CtlResult<()> {
        match self.shared.failure() {
            Some(text) => Err(CtlError::failure(format!("a program that uses the volume: {text}"))),
            None => Ok(()),
        }
    }

    /// A quarter done and inside a file, or far enough that this must do.
    fn is_time_to_pause(&self, now: &Volume, direction: Direction) -> bool {
        let done = crate::client::percent(direction.done(now), now.total);
        done >= 60.0 || (done >= 25.0 && self.watch.stamp_at(now.encrypted).is_some_and(|stamp| stamp.unit > 0))
    }

    /// Pauses, checks that nothing moves while programs go on, and resumes; where it stood.
    fn pause(&self, machine: &Machine, client: &mut Client, direction: Direction) -> CtlResult<u64> {
        client.command(IoctlCode::Pause, "pause")?;
        let before = self.look(machine, client, direction)?;
        client.transport().sleep(REST);
        let after = self.look(machine, client, direction)?;
        let paused = Some(WireState::Paused);
        if WireState::from_i32(before.state) != paused || WireState::from_i32(after.state) != paused {
            return Err(CtlError::failure(format!("the state is {} after a pause", after.describe())));
        }
        if before.encrypted != after.encrypted {
            let text = format!("the boundary moved from {} to {} while paused", before.encrypted, after.encrypted);
            return Err(CtlError::failure(text));
        }
        client.command(direction.code(), "resume").map(|()| after.encrypted)
    }

    fn summary(&self) -> Summary {
        let (counts, tally) = (self.watch.counts(), self.shared.tally());
        let mut summary = Summary::default();
        summary.row("seed", "seed", self.seed, "");
        summary.row("files", "files compared", self.file_count() as u64, "");
        summary.row("bytes_converted", "converted", self.converted, "bytes, both directions");
        summary.row(
            "irps_above",
            "IRPs above the driver",
            counts.reads_above + counts.writes_above,
            "reads and writes",
        );
        summary.row(
            "irps_below",
            "IRPs below the driver",
            counts.reads_below + counts.writes_below,
            "reads and writes",
        );
        summary.row("split_reads", "split reads", counts.split_reads, "partly encrypted, partly not");
        summary.row("split_writes", "split writes", counts.split_writes, "partly encrypted, partly not");
        summary.row("file_reads", "file reads meanwhile", tally.file_reads, "");
        summary.row("file_writes", "file writes meanwhile", tally.file_writes, "");
        summary.row("reads_inside", "reads, boundary inside file", tally.reads_inside, "");
        summary.row("writes_inside", "writes, boundary inside file", tally.writes_inside, "");
        summary.row("volume_reads", "volume reads meanwhile", tally.raw_reads, "across the boundary");
        summary.row("volume_writes", "volume writes meanwhile", tally.raw_writes, "across the boundary");
        summary.row("bytes_checked", "checked meanwhile", tally.bytes_checked, "bytes");
        summary.row("decisions", "scheduling decisions", self.decisions, "");
        summary.row("virtual_seconds", "machine time", self.virtual_seconds, "s");
        summary
    }
}

fn detach(machine: &Machine, client: &mut Client) -> CtlResult<()> {
    let done = client.command(IoctlCode::Detach, "detach");
    machine.check()?;
    done?;
    if client.status()?.attached {
        return Err(CtlError::failure("the volume is still attached after a detach"));
    }
    Ok(())
}

/// Runs inside the machine: formats a new volume, and writes the files.
fn make_files(volume: VolumeId, fresh: bool, size: SectorSize, bytes: u64) -> io::Result<Vec<Spec>> {
    let sector = u16::try_from(size.bytes()).map_err(io::Error::other)?;
    if fresh {
        let sectors = u32::try_from((bytes - FOOTERS) / size.u64()).map_err(io::Error::other)?;
        let options = fatfs::FormatVolumeOptions::new().total_sectors(sectors).bytes_per_sector(sector);
        fatfs::format_volume(Mounted::new(volume)?, options.volume_label(*b"VCK DEMO   "))?;
    }
    let fat = open_fat(Mounted::new(volume)?)?;
    let stats = fat.stats()?;
    let free = u64::from(stats.free_clusters()) * u64::from(stats.cluster_size());
    let (folder, budget) = if fresh { ("", free * 3 / 5) } else { (FOLDER, (free / 2).min(MOST_ON_COPY)) };
    let root = fat.root_dir();
    let specs = content::plan(folder, budget);
    let mut folders = BTreeSet::new();
    for spec in &specs {
        for (at, _) in spec.path.match_indices('/') {
            let folder = &spec.path[..at];
            if folders.insert(folder) {
                root.create_dir(folder)?;
            }
        }
        let mut file = root.create_file(&spec.path)?;
        file.truncate()?;
        file.write_all(&content::file(spec))?;
        file.flush()?;
    }
    drop(root);
    fat.unmount()?;
    volume.fs_here().flush().map_err(super::streams::io_error)?;
    Ok(specs)
}
