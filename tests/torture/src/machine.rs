//! The machine around a conversion: device, gate of the data path, users, random source. One lock around all of it.
//!
//! # Invariants
//! * Everything here runs as host (see [`crate::heap`]): what it allocates is not the subject's.
//! * While a zone is closed the subject allocates nothing, draws nothing and seals nothing. A breach is a complaint.
//! * Every event that changes the medium is followed by a snapshot, while the recorder runs.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use vck_common::journal::Activity;
use vck_common::{
    DataExtent, DataSector, Durability, Geometry, Lba, NtStatus, RandomSource, SectorCount, SectorIo, SectorSize,
    VckError, VckResult, VolumeCipher, VolumeState,
};
use vck_windrv::engine::{Foreground, Meter, Traffic, ZoneGate};

use crate::cut::{Place, place};
use crate::disk::{Disk, Failed, Medium};
use crate::heap;
use crate::image::Image;
use crate::model::Model;
use crate::rng::Rng;
use crate::users::Users;
use crate::weak::{FlushKind, Weakness};

/// What a boot must find, if that is certain.
pub type Expected = Option<(Activity, VolumeState)>;

/// The machine at the moment after an event.
#[derive(Clone)]
pub struct Snapshot {
    /// The number of the event.
    pub event: u32,
    /// What a cut would find.
    pub medium: Medium,
    /// What users know.
    pub model: Model,
    /// What was promised to whoever commands the conversion.
    pub expected: Expected,
}

/// A flush on a device whose flushes hold others up. Without it one of them completes in a millisecond.
const STALL: Duration = Duration::from_millis(200);

/// Whether the gate keeps everybody out, and how often it did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hold {
    pub(crate) is_on: bool,
    pub(crate) times: u64,
}

/// A zone that is watched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch {
    pub(crate) zone: DataExtent,
    /// Whether anybody wrote to it.
    pub(crate) touched: bool,
    /// The weakened gate: it begins after the next read.
    pub(crate) is_late: bool,
}

/// What the lock guards.
pub struct World {
    pub(crate) geometry: Geometry,
    /// The device.
    pub disk: Disk,
    /// What its sectors may hold.
    pub model: Model,
    /// The volume's cipher.
    pub cipher: Arc<dyn VolumeCipher>,
    pub(crate) closed: Vec<DataExtent>,
    /// A zone that the weakened gate lets users into too early.
    pub(crate) early: Option<DataExtent>,
    /// The boundary that users' requests are classified with.
    pub published: u64,
    /// Extents to which I/O fails.
    pub fences: Vec<(DataExtent, NtStatus)>,
    /// Sectors whose reads fail until they are written.
    pub shields: Vec<u64>,
    /// The zone that is watched.
    pub(crate) watched: Option<Watch>,
    /// Whether everybody waits.
    pub(crate) hold: Hold,
    /// What others do on a device whose flushes hold them up; `None`: nobody is seen.
    pub(crate) traffic: Option<Traffic>,
    pub(crate) users: Option<Users>,
    /// Snapshots, if they are wanted.
    pub recorder: Option<Vec<Snapshot>>,
    /// See [`Snapshot::expected`].
    pub expected: Expected,
    /// Rules that were broken.
    pub complaints: Vec<String>,
    /// A volume is being opened.
    pub(crate) attaching: bool,
    random: Rng,
    clock: Duration,
    weakness: Weakness,
    since_flush: Vec<Place>,
    last_flush: FlushKind,
    /// A flush that the weakening has put off.
    owed: bool,
    /// A user's flush has failed since the conversion's last one, and may have lost what the conversion wrote.
    lost: bool,
    heap_at_close: u64,
}

/// The machine.
pub struct Machine(Mutex<World>);

impl Machine {
    /// A machine that boots with `image`.
    #[must_use]
    pub fn new(
        image: Image,
        geometry: Geometry,
        model: Model,
        cipher: Arc<dyn VolumeCipher>,
        seed: u64,
        weakness: Weakness,
    ) -> Self {
        let rng = Rng::new(seed);
        Self(Mutex::new(World {
            geometry,
            disk: Disk::new(image, rng.part(1).next()),
            model,
            cipher,
            closed: Vec::new(),
            early: None,
            published: 0,
            fences: Vec::new(),
            shields: Vec::new(),
            watched: None,
            hold: Hold::default(),
            traffic: None,
            users: None,
            recorder: None,
            expected: None,
            complaints: Vec::new(),
            attaching: false,
            random: rng.part(2),
            clock: Duration::ZERO,
            weakness,
            since_flush: Vec::new(),
            last_flush: FlushKind::Drain,
            owed: false,
            lost: false,
            heap_at_close: 0,
        }))
    }

    /// The world, for the harness.
    ///
    /// # Panics
    /// If another thread of the harness panicked with it.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("no panic")
    }

    fn enter<T>(&self, work: impl FnOnce(&mut World) -> T) -> T {
        heap::host(|| work(&mut self.world()))
    }
}

impl World {
    /// Takes a snapshot after an event.
    pub(crate) fn record(&mut self) {
        let Some(recorder) = &mut self.recorder else { return };
        recorder.push(Snapshot {
            event: u32::try_from(self.disk.events().len()).expect("few events") - 1,
            medium: self.disk.medium().clone(),
            model: self.model.clone(),
            expected: self.expected,
        });
    }

    /// The volume was detached, or could not be attached.
    pub fn forget_attach(&mut self) {
        self.closed.clear();
        self.fences.clear();
        self.shields.clear();
        self.watched = None;
        self.hold.is_on = false;
        self.early = None;
    }

    /// Notes a broken rule. The first few tell enough.
    pub fn complain(&mut self, what: impl FnOnce() -> String) {
        if self.complaints.len() < 4 {
            let what = what();
            self.complaints.push(what);
        }
    }

    /// Others are at work beside the conversion, on a device whose flushes hold them up.
    pub fn others_are_held_up(&mut self) {
        self.traffic = Some(Traffic { completed: 0, inside: 4, waiting: 0 });
    }

    /// The conversion rests.
    pub(crate) fn rest(&mut self, time: Duration) {
        self.clock += time;
        if let Some(traffic) = &mut self.traffic {
            traffic.completed += u64::try_from(time.as_millis()).expect("a short rest");
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        !self.closed.is_empty()
    }

    fn flush(&mut self) -> Result<(), Failed> {
        let kind = FlushKind::of(&self.since_flush, self.last_flush);
        self.last_flush = kind;
        self.since_flush.clear();
        if self.weakness.puts_off(kind) {
            self.owed = true;
            return Ok(());
        }
        let in_recovery = self.attaching && self.weakness == Weakness::NoRecoveryFlush;
        if in_recovery || self.weakness.drops(kind) {
            return Ok(());
        }
        // A device that others use as well: what they are told concerns all who wrote before.
        let lost = std::mem::take(&mut self.lost) && self.weakness != Weakness::LossToOthersIsHidden;
        let result = self.really_flush(false);
        if self.weakness != Weakness::FlushErrorsAreHidden {
            result?;
        }
        if lost {
            return Err(Failed { status: NtStatus::IO_DEVICE_ERROR, lba: None });
        }
        if kind == FlushKind::Data && self.weakness == Weakness::GateOpensEarly {
            self.let_in_early();
        }
        Ok(())
    }

    pub(crate) fn really_flush(&mut self, user: bool) -> Result<(), Failed> {
        self.owed = false;
        let result = self.disk.flush(user);
        match result {
            Ok(()) => self.model.flushed(),
            Err(_) if self.disk.faults().is_lossy() => {
                self.lost |= user;
                self.model.lost();
            }
            Err(_) => {}
        }
        self.record();
        result
    }

    fn write(&mut self, lba: u64, bytes: &[u8], durability: Durability) -> Result<(), Failed> {
        let place = place(&self.geometry, lba);
        if self.owed && place != Place::Block {
            self.really_flush(false)?;
        }
        let result = self.disk.write(lba, bytes, durability, false);
        self.since_flush.push(place);
        self.record();
        result
    }

    /// The weakened gate: users may use the finished zone although the record does not say so yet.
    fn let_in_early(&mut self) {
        let Some(zone) = self.closed.first().copied() else { return };
        let (first, end) = (zone.first.get(), zone.first.get() + zone.count.get());
        self.published = if first == self.published { end } else { first };
        self.early = Some(zone);
    }
}

fn error(failed: Failed) -> VckError {
    VckError::Device { status: failed.status, lba: failed.lba.map(Lba::new) }
}

impl SectorIo for Machine {
    fn sector_size(&self) -> SectorSize {
        self.enter(|world| world.geometry.sector_size())
    }

    fn total_sectors(&self) -> SectorCount {
        self.enter(|world| world.geometry.volume_sectors())
    }

    fn read_sectors(&self, lba: Lba, buf: &mut [u8]) -> VckResult<()> {
        self.enter(|world| {
            world.users_act();
            let result = world.disk.read(lba.get(), buf, false).map_err(error);
            // What they do while a read is under way may be in what it shows or not; here it is not.
            if world.random.chance(1, 4) {
                world.users_act();
            }
            world.watched.iter_mut().for_each(|watch| watch.is_late = false);
            result
        })
    }

    fn write_sectors(&self, lba: Lba, buf: &[u8], durability: Durability) -> VckResult<()> {
        self.enter(|world| {
            world.users_act();
            world.write(lba.get(), buf, durability).map_err(error)
        })
    }

    fn flush(&self) -> VckResult<()> {
        self.enter(|world| {
            world.users_act();
            if world.traffic.is_some() {
                world.clock += STALL;
            }
            world.flush().map_err(error)
        })
    }
}

impl ZoneGate for Machine {
    fn watch(&self, zone: DataExtent) {
        self.enter(|world| world.watch_writes(zone, world.weakness == Weakness::GateWatchesLate));
    }

    fn is_untouched(&self, zone: DataExtent) -> bool {
        self.enter(|world| {
            let seen = world.watched.is_some_and(|watch| watch.zone == zone && !watch.touched);
            seen || world.weakness == Weakness::GateSeesNoWrites
        })
    }

    fn shield(&self, sector: DataSector) {
        self.enter(|world| world.shields.push(sector.get()));
    }

    fn is_shielded(&self, sector: DataSector) -> bool {
        self.enter(|world| world.shields.contains(&sector.get()))
    }

    fn close_and_drain(&self, zone: DataExtent) -> VckResult<()> {
        let allocations = heap::count();
        self.enter(|world| {
            if world.closed.iter().any(|closed| closed.overlaps(zone)) {
                world.complain(|| format!("{zone:?} is closed twice"));
            }
            if world.closed.is_empty() {
                world.heap_at_close = allocations;
            }
            world.closed.push(zone);
            if world.weakness != Weakness::GateDoesNotDrain {
                world.drain(zone);
            }
        });
        Ok(())
    }

    fn close_at_once(&self, zone: DataExtent) -> VckResult<()> {
        if self.enter(|world| world.is_in_use(zone)) {
            return Err(VckError::Device { status: NtStatus::DEVICE_BUSY, lba: None });
        }
        self.close_and_drain(zone)
    }

    fn hold(&self) -> bool {
        self.enter(|world| {
            if world.is_closed() || world.hold.is_on {
                world.complain(|| "everybody is kept out twice, or while a zone is closed".into());
            }
            world.hold = Hold { is_on: true, times: world.hold.times + 1 };
        });
        true
    }

    fn let_go(&self) -> u64 {
        self.enter(|world| {
            world.hold.is_on = false;
            let waiting = world.users.as_ref().map_or(0, Users::waiting);
            world.users_retry();
            waiting
        })
    }

    fn publish(&self, boundary: DataSector) {
        self.enter(|world| {
            let moved = boundary.get().min(world.published)..boundary.get().max(world.published);
            let open = |&sector: &u64| !world.closed.iter().any(|zone| zone.contains(DataSector::new(sector)));
            if let Some(sector) = moved.clone().find(open) {
                world.complain(|| format!("boundary {boundary} is published while {sector} is open"));
            }
            world.published = boundary.get();
        });
    }

    fn open(&self, zone: DataExtent) {
        let allocations = heap::count();
        self.enter(|world| {
            let before = world.closed.len();
            world.closed.retain(|closed| *closed != zone);
            if world.closed.len() + 1 != before {
                world.complain(|| format!("{zone:?} is opened and was not closed"));
            }
            // The baseline does not care.
            if allocations != world.heap_at_close && world.weakness != Weakness::ReferenceEngine {
                let count = allocations.abs_diff(world.heap_at_close);
                world.complain(|| format!("{count} allocations while {zone:?} was closed"));
            }
            world.heap_at_close = allocations;
            world.early = None;
            world.users_retry();
        });
    }

    fn fence(&self, zone: DataExtent, status: NtStatus) {
        self.enter(|world| world.fences.push((zone, status)));
    }

    fn unfence(&self) {
        self.enter(|world| world.fences.clear());
    }
}

impl Meter for Machine {
    /// A millisecond per call: steps are neither too long nor too short.
    fn now(&self) -> Duration {
        self.enter(|world| {
            world.clock += Duration::from_millis(1);
            world.clock
        })
    }

    fn foreground(&self) -> Foreground {
        let busy = Foreground { completed: 5, outstanding: 4, mean_latency: Duration::from_millis(4) };
        self.enter(|world| if world.traffic.is_some() { busy } else { Foreground::default() })
    }

    fn traffic(&self) -> Traffic {
        self.enter(|world| world.traffic.unwrap_or_default())
    }
}

impl RandomSource for Machine {
    fn fill(&self, out: &mut [u8]) -> VckResult<()> {
        self.enter(|world| {
            if world.is_closed() {
                world.complain(|| "random bytes are drawn while a zone is closed".into());
            }
            for chunk in out.chunks_mut(8) {
                let word = world.random.next().to_le_bytes();
                chunk.copy_from_slice(&word[..chunk.len()]);
            }
        });
        Ok(())
    }
}
