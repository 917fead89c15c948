//! Device, gate, clock and random source in one, so that one log shows the order of all that happens.
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec::Vec;
use std::{assert, assert_eq};

use vck_common::{
    ByteLen, DataExtent, DataSector, Durability, Lba, NtStatus, RandomSource, SectorCount, SectorIo, SectorSize,
    VckError, VckResult,
};

use crate::engine::{Foreground, Meter, Traffic, ZoneGate};

pub(super) const FAULT: NtStatus = NtStatus::IO_DEVICE_ERROR;

/// What happened, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Close(DataExtent),
    Publish(DataSector),
    Open(DataExtent),
    Fence(DataExtent, NtStatus),
    Unfence,
    Shield(DataSector),
    Hold,
    LetGo,
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
    /// Writes that touch one of them.
    WriteOfEither(Lba, Lba),
    /// Every flush, with this status.
    Flushes(NtStatus),
}

/// Four requests that are there at any time. None of them completes while a flush lasts.
#[derive(Clone, Copy)]
pub(super) struct Users {
    /// From one completion to the next.
    pub(super) gap: Duration,
    /// How long a flush lasts beside them.
    pub(super) flush: Duration,
}

const DEPTH: u64 = 4;

/// A user who writes to a sector, once, after so many calls of the device.
pub(super) struct Interloper {
    pub(super) calls: u32,
    pub(super) sector: DataSector,
    pub(super) lba: Lba,
    /// What is written above the boundary and below it.
    pub(super) sides: [Vec<u8>; 2],
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
    /// Whether requests are always inside, so that no watch can begin.
    crowded: bool,
    now_is: Duration,
    foreground: Foreground,
    users: Option<Users>,
    /// The time in which nothing completed.
    stalled: Duration,
    held: bool,
    /// How often requests keep a zone from being closed.
    busy: u32,
    interloper: Option<Interloper>,
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
            crowded: false,
            now_is: Duration::ZERO,
            foreground: Foreground::default(),
            users: None,
            stalled: Duration::ZERO,
            held: false,
            busy: 0,
            interloper: None,
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

    /// From now on there are users, or none any more.
    pub(super) fn set_users(&self, users: Option<Users>) {
        let mut inner = self.inner();
        inner.users = users;
        let outstanding = if users.is_some() { 4 } else { 0 };
        inner.foreground = Foreground { completed: outstanding, outstanding, mean_latency: Duration::ZERO };
    }

    /// The next so many times requests keep a zone from being closed.
    pub(super) fn set_busy(&self, times: u32) {
        self.inner().busy = times;
    }

    /// Time passes.
    pub(super) fn pass(&self, time: Duration) {
        self.inner().now_is += time;
    }

    /// From now on no watch can begin.
    pub(super) fn crowd(&self) {
        self.inner().crowded = true;
    }

    pub(super) fn expect_interloper(&self, interloper: Interloper) {
        self.inner().interloper = Some(interloper);
    }

    /// Whether the interloper has not written yet.
    pub(super) fn expects_interloper(&self) -> bool {
        self.inner().interloper.is_some()
    }

    /// The interloper's turn, if it was called often enough and the gate is open.
    fn interlope(&self) {
        let mut inner = self.inner();
        let Some(interloper) = &mut inner.interloper else { return };
        interloper.calls = interloper.calls.saturating_sub(1);
        let (calls, sector) = (interloper.calls, interloper.sector);
        drop(inner);
        if calls > 0 || !self.is_open(sector) {
            return;
        }
        let boundary = self.published();
        let interloper = self.inner().interloper.take();
        if let Some(Interloper { sector, lba, sides, .. }) = interloper {
            self.user_writes(sector, lba, &sides[usize::from(sector < boundary)]);
        }
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

    /// The place of `len` bytes from `lba` on in an image.
    pub(super) fn bytes(&self, lba: Lba, len: usize) -> core::ops::Range<usize> {
        let start = usize::try_from(lba.get()).unwrap() * self.size.usize();
        start..start + len
    }

    /// Whether nothing is closed.
    pub(super) fn is_all_open(&self) -> bool {
        let inner = self.inner();
        inner.closed.is_empty() && !inner.held
    }

    /// Whether everybody is kept waiting.
    pub(super) fn is_held(&self) -> bool {
        self.inner().held
    }

    /// What an attach sets before any request is let through.
    pub(super) fn begin(&self, boundary: DataSector, shields: Vec<DataSector>) {
        let mut inner = self.inner();
        (inner.published, inner.shields, inner.log) = (boundary, shields, Vec::new());
    }

    /// The zone that an attach could bring to neither side.
    pub(super) fn begin_fenced(&self, zone: Option<DataExtent>) {
        self.inner().fence = zone;
    }

    /// A user's write to one sector, which the gate has let in.
    pub(super) fn user_writes(&self, sector: DataSector, lba: Lba, bytes: &[u8]) {
        let range = self.bytes(lba, bytes.len());
        let mut inner = self.inner();
        inner.write(range.start, bytes, self.size);
        inner.shields.retain(|shielded| *shielded != sector);
        if let Some((zone, touched)) = &mut inner.watched {
            *touched |= zone.contains(sector);
        }
    }

    /// True if a user's request to the sector would be carried out now.
    pub(super) fn is_open(&self, sector: DataSector) -> bool {
        let inner = self.inner();
        !inner.held && !inner.closed.iter().chain(&inner.fence).any(|zone| zone.contains(sector))
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
        drop(inner);
        self.interlope();
        Ok(())
    }

    fn write_sectors(&self, lba: Lba, buf: &[u8], durability: Durability) -> VckResult<()> {
        let count = self.size.sectors_of_buffer(buf.len())?.get();
        assert_eq!(durability, Durability::AtNextFlush);
        let mut inner = self.inner();
        inner.log.push(Event::Write(lba, count));
        let fails = |fault| {
            let hit = match fault {
                Fault::WriteOf(at) => touches(at, lba, count),
                Fault::WriteOfEither(one, other) => touches(one, lba, count) || touches(other, lba, count),
                _ => false,
            };
            hit.then_some(FAULT)
        };
        let result = inner.call(fails, None);
        let stored = if result.is_ok() { buf } else { &buf[..buf.len() / 2 / self.size.usize() * self.size.usize()] };
        let range = self.bytes(lba, stored.len());
        inner.write(range.start, stored, self.size);
        inner.cut();
        drop(inner);
        self.interlope();
        result
    }

    fn flush(&self) -> VckResult<()> {
        let mut inner = self.inner();
        inner.log.push(Event::Flush);
        if let Some(Users { flush, .. }) = inner.users {
            inner.now_is += flush;
            inner.stalled += flush;
        }
        inner.call(|fault| if let Fault::Flushes(status) = fault { Some(status) } else { None }, None)?;
        inner.durable = inner.now.clone();
        inner.pending.clear();
        inner.cut();
        drop(inner);
        self.interlope();
        Ok(())
    }
}

impl ZoneGate for World {
    fn close_and_drain(&self, zone: DataExtent) -> VckResult<()> {
        let mut inner = self.inner();
        if inner.busy > 0 {
            inner.busy -= 1;
            return Err(VckError::Busy);
        }
        assert!(!inner.closed.iter().any(|closed| closed.overlaps(zone)), "a closed zone is not closed again");
        inner.closed.push(zone);
        inner.log.push(Event::Close(zone));
        Ok(())
    }

    fn hold(&self) -> bool {
        let mut inner = self.inner();
        assert!(!inner.held && inner.closed.is_empty(), "held before a zone is closed, and once");
        inner.held = true;
        inner.log.push(Event::Hold);
        true
    }

    fn let_go(&self) -> u64 {
        let mut inner = self.inner();
        assert!(inner.held, "what is let go was held");
        inner.held = false;
        inner.log.push(Event::LetGo);
        if inner.users.is_some() { DEPTH } else { 0 }
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
        let mut inner = self.inner();
        inner.watched = (!inner.crowded).then_some((zone, false));
    }

    fn watches(&self) -> bool {
        self.inner().watched.is_some()
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

    fn traffic(&self) -> Traffic {
        let inner = self.inner();
        let Some(Users { gap, .. }) = inner.users else { return Traffic::default() };
        let passed = inner.now_is.saturating_sub(inner.stalled).as_nanos() / gap.as_nanos();
        let (inside, waiting) = if inner.held { (0, DEPTH) } else { (DEPTH, 0) };
        Traffic { completed: u64::try_from(passed).unwrap(), inside, waiting }
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
