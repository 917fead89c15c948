//! Device, gate, clock and random source in one, so that one log shows the order of all that happens.
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec::Vec;
use std::{assert, assert_eq, vec};

use vck_common::jvck::{JvckCbcCodec, JvckMetadataOptions, JvckMetadataStore, JvckSecrets};
use vck_common::{
    Activity, ByteLen, ConversionJournal, DataExtent, DataSector, Durability, EncryptedOffsetStore, Geometry, Lba,
    NtStatus, RandomSource, Secret, SectorCount, SectorIo, SectorSize, VckError, VckResult, VolumeCipher, VolumeState,
    XtsVolumeCipher,
};

use crate::engine::{
    Command, ConversionPolicy, Foreground, Meter, Opening, Pace, Parts, Site, State, Step, Sweep, ZoneGate, recover,
};

pub(super) const FAULT: NtStatus = NtStatus::IO_DEVICE_ERROR;
const VMK: [u8; 32] = [0x5A; 32];

/// What happened, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Close(DataExtent),
    Publish(DataSector),
    Open(DataExtent),
    Fence(DataExtent, NtStatus),
    Unfence,
    Shield(DataSector),
    Read(Lba, u64),
    Write(Lba, u64),
    Flush,
}

/// Which calls of the device fail. A failing write still stores its first half.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    None,
    /// Calls number `from` to `to`, excluding the latter, counted from the moment the fault was set.
    Calls {
        from: u32,
        to: u32,
    },
    /// These two calls.
    Two {
        first: u32,
        second: u32,
    },
    /// Reads that touch the sector.
    ReadOf(Lba),
    /// The first so many reads that touch the sector.
    ReadsOf {
        lba: Lba,
        times: u32,
    },
    /// Writes that touch the sector.
    WriteOf(Lba),
    /// Every flush, with this status.
    Flushes(NtStatus),
}

struct Inner {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written since the last flush: where, and what.
    pending: Vec<(usize, Vec<u8>)>,
    /// What power cuts left, if they are wanted: several images after every call of the device.
    cuts: Option<Vec<Vec<u8>>>,
    luck: u64,
    log: Vec<Event>,
    calls: u32,
    fault: Fault,
    published: DataSector,
    closed: Vec<DataExtent>,
    fence: Option<DataExtent>,
    shields: Vec<DataSector>,
    /// The watched zone, and whether a user wrote to it since.
    watched: Option<(DataExtent, bool)>,
    now_is: Duration,
    foreground: Foreground,
    drawn: u8,
}

pub(super) struct World {
    size: SectorSize,
    total: SectorCount,
    inner: Mutex<Inner>,
}

impl World {
    /// A device that holds `image`, durably.
    pub(super) fn new(size: SectorSize, image: Vec<u8>) -> Arc<Self> {
        let total = size.sectors_in(ByteLen::new(image.len() as u64));
        let inner = Inner {
            now: image.clone(),
            durable: image,
            pending: Vec::new(),
            cuts: None,
            luck: 0x9E37_79B9_7F4A_7C15,
            log: Vec::new(),
            calls: 0,
            fault: Fault::None,
            published: DataSector::ZERO,
            closed: Vec::new(),
            fence: None,
            shields: Vec::new(),
            watched: None,
            now_is: Duration::ZERO,
            foreground: Foreground::default(),
            drawn: 0,
        };
        Arc::new(Self { size, total, inner: Mutex::new(inner) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(super) fn set_fault(&self, fault: Fault) {
        let mut inner = self.inner();
        inner.fault = fault;
        inner.calls = 0;
    }

    /// Calls of the device since the last fault was set.
    pub(super) fn calls(&self) -> u32 {
        self.inner().calls
    }

    pub(super) fn take_log(&self) -> Vec<Event> {
        core::mem::take(&mut self.inner().log)
    }

    pub(super) fn published(&self) -> DataSector {
        self.inner().published
    }

    /// What the sweep is told about other users from now on.
    pub(super) fn set_foreground(&self, foreground: Foreground) {
        self.inner().foreground = foreground;
    }

    /// Collects what power cuts leave from now on.
    pub(super) fn cut_everywhere(&self) {
        self.inner().cuts = Some(Vec::new());
    }

    pub(super) fn take_cuts(&self) -> Vec<Vec<u8>> {
        self.inner().cuts.take().unwrap_or_default()
    }

    /// Changes bytes of the medium behind everybody's back, durably.
    pub(super) fn scribble(&self, lba: Lba, bytes: &[u8]) {
        let range = self.bytes(lba, bytes.len());
        let inner = &mut *self.inner();
        inner.now[range.clone()].copy_from_slice(bytes);
        inner.durable[range].copy_from_slice(bytes);
    }

    pub(super) fn shields(&self) -> Vec<DataSector> {
        self.inner().shields.clone()
    }

    /// What a power cut would leave.
    pub(super) fn durable_image(&self) -> Vec<u8> {
        self.inner().durable.clone()
    }

    pub(super) fn image(&self) -> Vec<u8> {
        self.inner().now.clone()
    }

    fn bytes(&self, lba: Lba, len: usize) -> core::ops::Range<usize> {
        let start = usize::try_from(lba.get()).unwrap() * self.size.usize();
        start..start + len
    }

    /// True if a user's request to the sector would be carried out now.
    pub(super) fn is_open(&self, sector: DataSector) -> bool {
        let inner = self.inner();
        !inner.closed.iter().chain(&inner.fence).any(|zone| zone.contains(sector))
    }
}

impl Inner {
    fn write(&mut self, start: usize, bytes: &[u8], size: SectorSize) {
        self.now[start..start + bytes.len()].copy_from_slice(bytes);
        let sectors = bytes.chunks(size.usize()).enumerate();
        self.pending.extend(sectors.map(|(index, sector)| (start + index * size.usize(), sector.to_vec())));
    }

    /// Keeps what a power cut at this moment may leave: nothing that was not flushed, all of it, and two draws.
    fn cut(&mut self) {
        let Some(mut cuts) = self.cuts.take() else { return };
        for keep in [0, u64::MAX, self.luck, self.luck.rotate_left(32)] {
            let mut image = self.durable.clone();
            let mut luck = keep;
            for (start, sector) in &self.pending {
                luck = luck.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                if keep == u64::MAX || keep != 0 && luck >> 63 == 1 {
                    image[*start..*start + sector.len()].copy_from_slice(sector);
                }
            }
            cuts.push(image);
            self.luck = self.luck.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(1);
        }
        self.cuts = Some(cuts);
    }

    fn call(&mut self, fails: impl Fn(Fault) -> Option<NtStatus>, lba: Option<Lba>) -> VckResult<()> {
        let number = self.calls;
        self.calls += 1;
        let status = match self.fault {
            Fault::Calls { from, to } => (from..to).contains(&number).then_some(FAULT),
            Fault::Two { first, second } => (number == first || number == second).then_some(FAULT),
            other => fails(other),
        };
        status.map_or(Ok(()), |status| Err(VckError::Device { status, lba }))
    }
}

fn touches(at: Lba, lba: Lba, count: u64) -> bool {
    (lba.get()..lba.get() + count).contains(&at.get())
}

impl SectorIo for World {
    fn sector_size(&self) -> SectorSize {
        self.size
    }

    fn total_sectors(&self) -> SectorCount {
        self.total
    }

    fn read_sectors(&self, lba: Lba, buf: &mut [u8]) -> VckResult<()> {
        let count = self.size.sectors_of_buffer(buf.len())?.get();
        let range = self.bytes(lba, buf.len());
        let mut inner = self.inner();
        inner.log.push(Event::Read(lba, count));
        if let Fault::ReadsOf { lba: at, times } = &mut inner.fault
            && touches(*at, lba, count)
            && *times > 0
        {
            *times -= 1;
            return Err(VckError::Device { status: FAULT, lba: None });
        }
        inner.call(|fault| matches!(fault, Fault::ReadOf(at) if touches(at, lba, count)).then_some(FAULT), None)?;
        buf.copy_from_slice(&inner.now[range]);
        Ok(())
    }

    fn write_sectors(&self, lba: Lba, buf: &[u8], durability: Durability) -> VckResult<()> {
        let count = self.size.sectors_of_buffer(buf.len())?.get();
        assert_eq!(durability, Durability::AtNextFlush);
        let mut inner = self.inner();
        inner.log.push(Event::Write(lba, count));
        let fails = |fault| matches!(fault, Fault::WriteOf(at) if touches(at, lba, count)).then_some(FAULT);
        let result = inner.call(fails, None);
        let stored = if result.is_ok() { buf } else { &buf[..buf.len() / 2 / self.size.usize() * self.size.usize()] };
        let range = self.bytes(lba, stored.len());
        inner.write(range.start, stored, self.size);
        inner.cut();
        result
    }

    fn flush(&self) -> VckResult<()> {
        let mut inner = self.inner();
        inner.log.push(Event::Flush);
        inner.call(|fault| if let Fault::Flushes(status) = fault { Some(status) } else { None }, None)?;
        inner.durable = inner.now.clone();
        inner.pending.clear();
        inner.cut();
        Ok(())
    }
}

impl ZoneGate for World {
    fn close_and_drain(&self, zone: DataExtent) -> VckResult<()> {
        let mut inner = self.inner();
        assert!(!inner.closed.iter().any(|closed| closed.overlaps(zone)), "a closed zone is not closed again");
        inner.closed.push(zone);
        inner.log.push(Event::Close(zone));
        Ok(())
    }

    fn publish(&self, boundary: DataSector) {
        let mut inner = self.inner();
        inner.published = boundary;
        inner.log.push(Event::Publish(boundary));
    }

    fn open(&self, zone: DataExtent) {
        let mut inner = self.inner();
        assert!(inner.closed.contains(&zone), "only a closed zone is opened");
        inner.closed.retain(|closed| *closed != zone);
        inner.log.push(Event::Open(zone));
    }

    fn fence(&self, zone: DataExtent, status: NtStatus) {
        let mut inner = self.inner();
        let covered = |sector| inner.closed.iter().any(|closed| closed.contains(sector));
        assert!((0..zone.count.get()).all(|i| covered(DataSector::new(zone.first.get() + i))) && inner.fence.is_none());
        inner.fence = Some(zone);
        inner.log.push(Event::Fence(zone, status));
    }

    fn unfence(&self) {
        let mut inner = self.inner();
        assert!(inner.fence.take().is_some_and(|zone| inner.closed.contains(&zone)));
        inner.log.push(Event::Unfence);
    }

    fn watch(&self, zone: DataExtent) {
        self.inner().watched = Some((zone, false));
    }

    fn is_untouched(&self, zone: DataExtent) -> bool {
        let inner = self.inner();
        assert!(inner.closed.contains(&zone), "asked of a closed zone");
        inner.watched == Some((zone, false))
    }

    fn shield(&self, sector: DataSector) {
        let mut inner = self.inner();
        assert!(inner.closed.iter().any(|zone| zone.contains(sector)));
        inner.shields.push(sector);
        inner.log.push(Event::Shield(sector));
    }

    fn is_shielded(&self, sector: DataSector) -> bool {
        self.inner().shields.contains(&sector)
    }
}

/// Every call of the device and every look at the clock takes a while.
impl Meter for World {
    fn now(&self) -> Duration {
        let mut inner = self.inner();
        inner.now_is += Duration::from_micros(1);
        inner.now_is
    }

    fn foreground(&self) -> Foreground {
        self.inner().foreground
    }
}

/// Different salts, and none while a zone is closed.
impl RandomSource for World {
    fn fill(&self, out: &mut [u8]) -> VckResult<()> {
        let mut inner = self.inner();
        assert!(inner.closed.is_empty(), "random bytes were drawn while a zone is closed");
        inner.drawn = inner.drawn.wrapping_add(1);
        out.fill(inner.drawn);
        Ok(())
    }
}

/// A prepared volume with one header and one footer, its sweep, and what a user believes is on it.
pub(super) struct Rig {
    pub(super) world: Arc<World>,
    pub(super) geometry: Geometry,
    pub(super) cipher: XtsVolumeCipher,
    pub(super) store: JvckMetadataStore<Arc<World>>,
    pub(super) sweep: Sweep,
    pub(super) plaintext: Vec<u8>,
    policy: ConversionPolicy,
    pub(super) journaled: bool,
    /// What the conversion was doing when the volume was opened.
    pub(super) activity: Activity,
}

const KEYS: [[u8; 32]; 2] = {
    let mut keys = [[0; 32]; 2];
    let mut index = 0;
    while index < 32 {
        keys[0][index as usize] = index;
        keys[1][index as usize] = index + 32;
        index += 1;
    }
    keys
};

fn secrets() -> JvckSecrets {
    JvckSecrets { fvek_key1: Secret::copy_from(&KEYS[0]), fvek_key2: Secret::copy_from(&KEYS[1]) }
}

/// Steps of `batch` sectors. No journal is accepted, for the rigs without one.
pub(super) fn policy(size: SectorSize, batch: u64) -> ConversionPolicy {
    let step = ByteLen::new(batch * size.u64());
    ConversionPolicy {
        smallest_step: step,
        largest_step: step,
        accept_no_journal: true,
        pace: Pace::Full,
        ..ConversionPolicy::default()
    }
}

impl Rig {
    /// `data` sectors, `batch` of them converted by one step, without a journal.
    pub(super) fn bare(size: SectorSize, data: u64, batch: u64) -> Self {
        Self::with(size, data, policy(size, batch), false)
    }

    /// The same with one.
    pub(super) fn journaled(size: SectorSize, data: u64, batch: u64) -> Self {
        Self::with(size, data, policy(size, batch), true)
    }

    pub(super) fn with(size: SectorSize, data: u64, policy: ConversionPolicy, journaled: bool) -> Self {
        let options = JvckMetadataOptions { use_header: 1, use_footer: 1, ..JvckMetadataOptions::default() };
        let replica = u64::from(options.metadata_size) / size.u64();
        let len = usize::try_from(data + 2 * replica).unwrap() * size.usize();
        let world = World::new(size, vec![0; len]);
        let store =
            JvckMetadataStore::create(Arc::clone(&world), &VMK, &options, secrets(), [7; 16], JvckCbcCodec, &*world)
                .unwrap();
        let geometry = *store.geometry();
        let mut plaintext = Vec::new();
        for sector in 0..data {
            let lba = sector + replica;
            plaintext.extend((0..size.u64()).map(|i| ((31 * lba + 7 * i + (lba >> 8)) & 0xFF).to_le_bytes()[0]));
        }
        let place = world.bytes(geometry.offset_sector(), plaintext.len());
        world.inner().now[place.clone()].copy_from_slice(&plaintext);
        world.inner().durable[place].copy_from_slice(&plaintext);
        Self::open(&world, store, policy, journaled, plaintext).unwrap()
    }

    /// Attaches: opens the journal, recovers, makes the sweep.
    fn open(
        world: &Arc<World>,
        store: JvckMetadataStore<Arc<World>>,
        policy: ConversionPolicy,
        journaled: bool,
        plaintext: Vec<u8>,
    ) -> VckResult<Self> {
        let geometry = *store.geometry();
        let cipher = XtsVolumeCipher::new(&KEYS[0], &KEYS[1]).unwrap();
        let mut journal = if journaled { store.journal()? } else { None };
        let site = Site { io: world, cipher: &cipher, store: &store, random: &**world, geometry: &geometry };
        let opening = recover(&site, &mut journal)?;
        {
            let mut inner = world.inner();
            inner.published = opening.boundary;
            inner.shields = opening.damaged.as_slice().iter().map(|damaged| damaged.sector).collect();
        }
        world.take_log();
        let activity = opening.activity;
        let sweep = Sweep::new(geometry, opening, journal, policy)?;
        let world = Arc::clone(world);
        Ok(Self { world, geometry, cipher, store, sweep, plaintext, policy, journaled, activity })
    }

    /// A machine that starts with `image` on its disk, attaches the volume and believes that it should hold what this one
    /// believes.
    pub(super) fn reboot(&self, image: Vec<u8>) -> VckResult<Self> {
        self.reboot_on(&World::new(self.geometry.sector_size(), image))
    }

    /// The same on a device that may fail.
    pub(super) fn reboot_on(&self, world: &Arc<World>) -> VckResult<Self> {
        let store = JvckMetadataStore::open(Arc::clone(world), &VMK)?;
        Self::open(world, store, self.policy, self.journaled, self.plaintext.clone())
    }

    /// Opens the volume without touching it: what [`recover`] starts from.
    pub(super) fn examine(&self, image: Vec<u8>) -> Opening {
        let world = World::new(self.geometry.sector_size(), image);
        let store = JvckMetadataStore::open(Arc::clone(&world), &VMK).unwrap();
        let mut journal: Option<std::boxed::Box<dyn ConversionJournal>> =
            if self.journaled { store.journal().unwrap() } else { None };
        let site = Site { io: &world, cipher: &self.cipher, store: &store, random: &*world, geometry: &self.geometry };
        Opening::examine(&site, &mut journal).unwrap()
    }

    pub(super) fn command(&mut self, command: Command) -> VckResult<()> {
        let parts = parts(&self.world, &self.cipher, &self.store);
        self.sweep.command(&parts, command)
    }

    pub(super) fn step(&mut self) -> Step {
        let parts = parts(&self.world, &self.cipher, &self.store);
        self.sweep.step(&parts)
    }

    pub(super) fn sweep_settle(&mut self) {
        let parts = parts(&self.world, &self.cipher, &self.store);
        self.sweep.settle(&parts);
    }

    /// A user's flush.
    pub(super) fn flush(&self) {
        SectorIo::flush(&*self.world).unwrap();
    }

    pub(super) fn state(&self) -> State {
        self.sweep.snapshot().state
    }

    /// Steps until there is nothing to do, checking the volume after each; the number of pauses.
    pub(super) fn run(&mut self) -> u32 {
        let mut pauses = 0;
        loop {
            let step = self.step();
            self.check();
            match step {
                Step::Worked | Step::Rest(_) => self.check_durable(),
                Step::Idle => {
                    assert!(self.world.inner().closed.is_empty(), "nothing to do, and a zone is closed");
                    return pauses;
                }
                Step::RetryAfter(pause) => {
                    assert!(!pause.is_zero());
                    pauses += 1;
                    assert!(pauses < 100, "the sweep never gives up");
                }
            }
        }
    }

    /// Every sector that a user may reach is what the published boundary says, and its plaintext is the model's.
    pub(super) fn check(&self) {
        assert_eq!(self.sweep.snapshot().boundary, self.world.published());
        let now = self.world.inner().now.clone();
        let shields = self.world.shields();
        let visible = |sector| self.world.is_open(sector) && !shields.contains(&sector);
        self.check_image(&now, self.world.published(), visible);
    }

    /// After a power cut the volume would open and read as the model says; without a journal, with the published boundary.
    pub(super) fn check_durable(&self) {
        let durable = self.world.durable_image();
        if self.journaled {
            let rebooted = self.reboot(durable).unwrap();
            assert_eq!(rebooted.sweep.damaged(), self.sweep.damaged());
            return rebooted.check();
        }
        let boundary = self.durable_position(&durable).0;
        assert_eq!(boundary, self.world.published());
        self.check_image(&durable, boundary, |_| true);
    }

    /// Boundary and direction that the metadata of the volume states after a power cut.
    pub(super) fn durable(&self) -> (DataSector, VolumeState) {
        let durable = self.world.inner().durable.clone();
        self.durable_position(&durable)
    }

    /// What the metadata blocks say that a reader sees now.
    pub(super) fn blocks_say(&self) -> (DataSector, VolumeState) {
        self.durable_position(&self.world.image())
    }

    fn durable_position(&self, image: &[u8]) -> (DataSector, VolumeState) {
        let device = World::new(self.geometry.sector_size(), image.to_vec());
        let (offset, direction) = JvckMetadataStore::open(device, &VMK).unwrap().load().unwrap();
        (offset.sector, direction)
    }

    fn check_image(&self, image: &[u8], boundary: DataSector, visible: impl Fn(DataSector) -> bool) {
        let size = self.geometry.sector_size();
        let data = &image[self.world.bytes(self.geometry.offset_sector(), self.plaintext.len())];
        for (index, (found, expected)) in data.chunks(size.usize()).zip(self.plaintext.chunks(size.usize())).enumerate()
        {
            let sector = DataSector::new(index as u64);
            let mut found = found.to_vec();
            if sector < boundary {
                self.cipher.decrypt_area(&mut found, size, sector);
            }
            assert!(!visible(sector) || found == expected, "data sector {sector} at boundary {boundary}");
        }
    }

    /// The sectors of the metadata blocks as the device shows them.
    pub(super) fn blocks(&self) -> Vec<Vec<u8>> {
        let inner = self.world.inner();
        let sector = |lba| inner.now[self.world.bytes(lba, self.geometry.sector_size().usize())].to_vec();
        self.geometry.metadata_lbas().map(sector).collect()
    }

    /// A user overwrites a sector, if the gate lets it in.
    pub(super) fn user_write(&mut self, sector: DataSector, value: u8) {
        if !self.world.is_open(sector) {
            return;
        }
        let size = self.geometry.sector_size();
        let start = usize::try_from(sector.get()).unwrap() * size.usize();
        let model = &mut self.plaintext[start..start + size.usize()];
        model.fill(value);
        let mut bytes = model.to_vec();
        if sector < self.world.published() {
            self.cipher.encrypt_area(&mut bytes, size, sector);
        }
        let range = self.world.bytes(self.geometry.data_to_lba(sector).unwrap(), size.usize());
        let mut inner = self.world.inner();
        inner.write(range.start, &bytes, size);
        inner.shields.retain(|shielded| *shielded != sector);
        if let Some((zone, touched)) = &mut inner.watched {
            *touched |= zone.contains(sector);
        }
    }

    /// The data region as it is on the device.
    pub(super) fn data_region(&self) -> Vec<u8> {
        let range = self.world.bytes(self.geometry.offset_sector(), self.plaintext.len());
        self.world.inner().now[range].to_vec()
    }
}

fn parts<'a>(
    world: &'a Arc<World>,
    cipher: &'a XtsVolumeCipher,
    store: &'a JvckMetadataStore<Arc<World>>,
) -> Parts<'a> {
    Parts { io: world, cipher, store, random: &**world, gate: &**world, meter: &**world }
}
