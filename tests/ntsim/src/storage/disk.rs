//! A disk: durable image, volatile write cache, faults, timing, and a log of what reached it.
//!
//! # Invariants
//! * `durable` holds what survives any power cut. `cache` holds, per sector, every version written since the last
//!   flush, oldest first; the newest is what reads see.
//! * A write-through write drops the cached versions of its sectors and goes to `durable`.
//! * A power cut settles each cached sector on its own: the durable bytes or any cached version; in torn mode a mix.

use super::fault::{DiskOp, Fault, FaultEffect, FaultPlan};
use super::store::Store;
use super::timing::{Queue, Timing};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Versions of one sector that the cache remembers; older ones are forgotten, which only makes a power cut milder.
const MAX_VERSIONS: usize = 4;
/// Sectors that one step of a deallocation wipes.
const RUN: u64 = 2048;
/// Entries of the request log that are kept.
const LOG_LIMIT: usize = 1 << 16;

/// What a flush does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushSupport {
    /// Makes everything durable.
    #[default]
    Supported,
    /// Completed with `STATUS_INVALID_DEVICE_REQUEST`; nothing becomes durable.
    Unsupported,
    /// Completed with success; nothing becomes durable.
    Ignored,
}

/// How a disk is made.
#[derive(Clone, Debug)]
pub struct DiskConfig {
    /// Size in bytes; a multiple of the sector size.
    pub bytes: u64,
    /// Image file that holds the durable bytes; memory when `None`.
    pub image: Option<PathBuf>,
    /// Logical sector size in bytes: 512 or 4096.
    pub sector_size: u32,
    /// Physical sector size in bytes: 512 (512n) or 4096 (512e, 4Kn).
    pub physical_sector_size: u32,
    /// Whether writes go to a volatile cache first.
    pub volatile_cache: bool,
    /// What a flush does.
    pub flush: FlushSupport,
    /// How long requests take.
    pub timing: Timing,
    /// Whether TRIM is advertised.
    pub trim: bool,
    /// Whether the device and its media are removable.
    pub removable: bool,
    /// Alignment that the device asks of buffers, as `DEVICE_OBJECT.AlignmentRequirement` (a mask).
    pub alignment_mask: u32,
    /// Identity of the GPT disk.
    pub disk_guid: [u8; 16],
}

impl DiskConfig {
    /// A 512-byte-sector memory disk with a volatile cache.
    #[must_use]
    pub fn memory(bytes: u64) -> Self {
        Self {
            bytes,
            image: None,
            sector_size: 512,
            physical_sector_size: 512,
            volatile_cache: true,
            flush: FlushSupport::Supported,
            timing: Timing::immediate(),
            trim: true,
            removable: false,
            alignment_mask: 0,
            disk_guid: *b"ntsim-disk-guid!",
        }
    }

    /// A disk over a sparse image file.
    #[must_use]
    pub fn image(path: impl Into<PathBuf>, bytes: u64) -> Self {
        Self { image: Some(path.into()), ..Self::memory(bytes) }
    }

    /// The same disk with other sector sizes: (512, 512), (512, 4096) or (4096, 4096).
    #[must_use]
    pub fn sectors(mut self, logical: u32, physical: u32) -> Self {
        self.sector_size = logical;
        self.physical_sector_size = physical;
        self
    }

    /// The same disk with other timing.
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// The same disk, with or without a volatile write cache.
    #[must_use]
    pub fn volatile_cache(mut self, on: bool) -> Self {
        self.volatile_cache = on;
        self
    }
}

/// One request as it reached the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoRecord {
    /// Position in the log since the disk was made.
    pub seq: u64,
    /// Kind.
    pub op: DiskOp,
    /// First sector, disk-absolute.
    pub lba: u64,
    /// Sectors.
    pub sectors: u64,
    /// Whether the write was write-through (FUA).
    pub write_through: bool,
    /// IRP flags.
    pub irp_flags: u32,
    /// Stack-location flags.
    pub sl_flags: u8,
    /// Status of the request.
    pub status: i32,
    /// Virtual time of arrival in nanoseconds.
    pub time: u64,
}

/// How the cache settles when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// Each sector independently: durable or any cached version, by the seed.
    Random,
    /// Like `Random`, and a sector may be torn: a prefix of one version, the rest of another.
    Torn,
    /// Every cached write survives.
    All,
    /// No cached write survives.
    Nothing,
}

/// A request's way into the disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) lba: u64,
    pub(crate) sectors: u64,
    pub(crate) write_through: bool,
    pub(crate) irp_flags: u32,
    pub(crate) sl_flags: u8,
    pub(crate) now: u64,
    pub(crate) extra: u64,
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: i32,
    /// Bytes moved.
    pub(crate) bytes: usize,
    /// Virtual time of completion.
    pub(crate) at: u64,
}

#[derive(Debug, Default)]
struct State {
    cache: BTreeMap<u64, Vec<Box<[u8]>>>,
    plan: FaultPlan,
    log: VecDeque<IoRecord>,
    seq: u64,
    queue: Queue,
}

#[derive(Debug)]
struct Inner {
    config: DiskConfig,
    durable: Store,
    state: Mutex<State>,
    flushes: AtomicU64,
    vanished: AtomicBool,
}

/// A handle on a disk; clones are the same disk. It outlives the world it was plugged into.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Inner>);

const STATUS_SUCCESS: i32 = 0;
const STATUS_GONE: i32 = 0xC000_00C0_u32.cast_signed();
const STATUS_IO_DEVICE_ERROR: i32 = 0xC000_0185_u32.cast_signed();
const STATUS_INVALID_DEVICE_REQUEST: i32 = 0xC000_0010_u32.cast_signed();

impl Disk {
    /// Makes a disk.
    ///
    /// # Errors
    /// The host's error when an image file cannot be opened or sized.
    pub fn new(config: DiskConfig) -> std::io::Result<Self> {
        let durable = match &config.image {
            Some(path) => Store::image(path, config.bytes)?,
            None => Store::memory(config.bytes),
        };
        Ok(Self(Arc::new(Inner {
            config,
            durable,
            state: Mutex::default(),
            flushes: AtomicU64::new(0),
            vanished: AtomicBool::new(false),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the disk was made.
    #[must_use]
    pub fn config(&self) -> &DiskConfig {
        &self.0.config
    }

    /// Number of sectors.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.0.config.bytes / self.sector_size()
    }

    fn sector_size(&self) -> u64 {
        u64::from(self.0.config.sector_size)
    }

    /// Flush requests that completed with success.
    #[must_use]
    pub fn flushes(&self) -> u64 {
        self.0.flushes.load(Ordering::Relaxed)
    }

    /// The newest requests, oldest first (at most 65,536).
    #[must_use]
    pub fn log(&self) -> Vec<IoRecord> {
        self.state().log.iter().cloned().collect()
    }

    /// Forgets the log.
    pub fn clear_log(&self) {
        self.state().log.clear();
    }

    /// Arms a fault.
    pub fn inject(&self, fault: Fault) {
        self.state().plan.add(fault);
    }

    /// Disarms every fault; a vanished device stays away.
    pub fn clear_faults(&self) {
        self.state().plan.clear();
    }

    /// Whether the device is gone.
    #[must_use]
    pub fn vanished(&self) -> bool {
        self.0.vanished.load(Ordering::Acquire)
    }

    /// Takes the device away (true) or brings it back.
    pub fn set_vanished(&self, gone: bool) {
        self.0.vanished.store(gone, Ordering::Release);
    }

    /// Sectors with versions that a power cut could lose.
    #[must_use]
    pub fn unflushed(&self) -> usize {
        self.state().cache.len()
    }

    /// What a read would see now, without going through the machine. Sectors outside the disk read as nothing.
    #[must_use]
    pub fn peek(&self, lba: u64, sectors: u64) -> Vec<u8> {
        let mut buf = self.peek_durable(lba, sectors);
        self.overlay(&self.state(), lba, &mut buf);
        buf
    }

    /// What is durable now.
    #[must_use]
    pub fn peek_durable(&self, lba: u64, sectors: u64) -> Vec<u8> {
        let sectors = sectors.min(self.sectors().saturating_sub(lba));
        let mut buf = vec![0; usize::try_from(sectors * self.sector_size()).unwrap_or(0)];
        if !self.0.durable.read(lba * self.sector_size(), &mut buf) {
            buf.clear();
        }
        buf
    }

    /// Puts bytes on the medium behind everybody's back, durable at once.
    ///
    /// # Panics
    /// When the bytes are not whole sectors or the host refuses: the test itself is wrong.
    pub fn poke(&self, lba: u64, bytes: &[u8]) {
        assert_eq!(bytes.len() as u64 % self.sector_size(), 0, "whole sectors only");
        let mut state = self.state();
        Self::drop_cached(&mut state, lba, bytes.len() as u64 / self.sector_size());
        assert!(self.0.durable.write(lba * self.sector_size(), bytes), "the host refused the write");
    }

    /// The power goes: settles the cache and empties it. `draw(n)` gives a number below `n`.
    pub fn power_cut(&self, survivors: Survivors, mut draw: impl FnMut(u64) -> u64) {
        let mut state = self.state();
        let cache = std::mem::take(&mut state.cache);
        state.queue = Queue::default();
        for (lba, versions) in cache {
            let count = versions.len() as u64;
            let pick = match survivors {
                Survivors::All => count,
                Survivors::Nothing => 0,
                Survivors::Random | Survivors::Torn => draw(count + 1),
            };
            let mut settled = self.version(&versions, lba, pick);
            if survivors == Survivors::Torn && draw(4) == 0 {
                let other = self.version(&versions, lba, draw(count + 1));
                let cut = usize::try_from(draw(settled.len() as u64)).unwrap_or(0);
                settled[cut..].copy_from_slice(&other[cut..]);
            }
            self.0.durable.write(lba * self.sector_size(), &settled);
        }
    }

    /// Version `pick` of a sector: 0 is the durable one, `n` the n-th cached.
    fn version(&self, versions: &[Box<[u8]>], lba: u64, pick: u64) -> Vec<u8> {
        match usize::try_from(pick).unwrap_or(0).checked_sub(1).and_then(|at| versions.get(at)) {
            Some(bytes) => bytes.to_vec(),
            None => self.peek_durable(lba, 1),
        }
    }

    fn overlay(&self, state: &State, lba: u64, buf: &mut [u8]) {
        let size = usize::try_from(self.sector_size()).unwrap_or(1);
        let end = lba + (buf.len() / size) as u64;
        for (at, versions) in state.cache.range(lba..end) {
            let from = usize::try_from(at - lba).unwrap_or(0) * size;
            if let Some(newest) = versions.last() {
                buf[from..from + size].copy_from_slice(newest);
            }
        }
    }

    fn drop_cached(state: &mut State, lba: u64, sectors: u64) {
        let gone: Vec<u64> = state.cache.range(lba..lba + sectors).map(|(at, _)| *at).collect();
        for at in gone {
            state.cache.remove(&at);
        }
    }

    fn begin(&self, op: DiskOp, arrival: &Arrival) -> Option<FaultEffect> {
        if self.vanished() {
            return Some(FaultEffect::Vanish);
        }
        let effect = self.state().plan.hit(op, arrival.lba, arrival.sectors);
        if effect == Some(FaultEffect::Vanish) {
            self.set_vanished(true);
        }
        effect
    }

    fn end(&self, op: DiskOp, arrival: &Arrival, status: i32, bytes: usize, delay: u64) -> Outcome {
        let mut state = self.state();
        let timing = self.0.config.timing;
        let extra = arrival.extra + delay;
        let at = match op {
            DiskOp::Flush => state.queue.flush(&timing, arrival.now, extra),
            _ => state.queue.enter(&timing, arrival.now, bytes as u64, op == DiskOp::Write, extra),
        };
        let record = IoRecord {
            seq: state.seq,
            op,
            lba: arrival.lba,
            sectors: arrival.sectors,
            write_through: arrival.write_through,
            irp_flags: arrival.irp_flags,
            sl_flags: arrival.sl_flags,
            status,
            time: arrival.now,
        };
        state.seq += 1;
        if state.log.len() == LOG_LIMIT {
            state.log.pop_front();
        }
        state.log.push_back(record);
        Outcome { status, bytes, at }
    }

    /// Reads into `buf`, whose length is `sectors` sectors.
    pub(crate) fn read(&self, arrival: &Arrival, buf: &mut [u8]) -> Outcome {
        let mut delay = 0;
        let mut length = buf.len();
        match self.begin(DiskOp::Read, arrival) {
            Some(FaultEffect::Fail(status) | FaultEffect::PartialFail { status, .. }) => {
                return self.end(DiskOp::Read, arrival, status, 0, 0);
            }
            Some(FaultEffect::Vanish) => return self.end(DiskOp::Read, arrival, STATUS_GONE, 0, 0),
            Some(FaultEffect::Short(bytes)) => length = length.min(bytes as usize),
            Some(FaultEffect::Delay(extra)) => delay = extra,
            Some(FaultEffect::LostFlush | FaultEffect::Misdirect(_)) | None => {}
        }
        let ok = self.0.durable.read(arrival.lba * self.sector_size(), buf);
        if self.0.config.volatile_cache {
            self.overlay(&self.state(), arrival.lba, buf);
        }
        let (status, bytes) = if ok { (STATUS_SUCCESS, length) } else { (STATUS_IO_DEVICE_ERROR, 0) };
        self.end(DiskOp::Read, arrival, status, bytes, delay)
    }

    /// Writes `buf`, whose length is `sectors` sectors.
    pub(crate) fn write(&self, arrival: &Arrival, buf: &[u8]) -> Outcome {
        let mut delay = 0;
        let mut lba = arrival.lba;
        let mut length = buf.len();
        let mut status = STATUS_SUCCESS;
        let size = usize::try_from(self.sector_size()).unwrap_or(1);
        match self.begin(DiskOp::Write, arrival) {
            Some(FaultEffect::Fail(status)) => return self.end(DiskOp::Write, arrival, status, 0, 0),
            Some(FaultEffect::Vanish) => return self.end(DiskOp::Write, arrival, STATUS_GONE, 0, 0),
            Some(FaultEffect::PartialFail { status: failed, sectors }) => {
                status = failed;
                length = length.min(usize::try_from(sectors).unwrap_or(0) * size);
            }
            Some(FaultEffect::Short(bytes)) => length = length.min(bytes as usize),
            Some(FaultEffect::Misdirect(elsewhere)) => lba = elsewhere,
            Some(FaultEffect::Delay(extra)) => delay = extra,
            Some(FaultEffect::LostFlush) | None => {}
        }
        if !self.put(lba, &buf[..length - length % size], arrival.write_through) {
            status = STATUS_IO_DEVICE_ERROR;
        }
        let bytes = if status == STATUS_SUCCESS { length } else { 0 };
        self.end(DiskOp::Write, arrival, status, bytes, delay)
    }

    fn put(&self, lba: u64, buf: &[u8], write_through: bool) -> bool {
        let sectors = buf.len() as u64 / self.sector_size();
        if write_through || !self.0.config.volatile_cache {
            let mut state = self.state();
            Self::drop_cached(&mut state, lba, sectors);
            drop(state);
            return self.0.durable.write(lba * self.sector_size(), buf);
        }
        let mut state = self.state();
        let size = usize::try_from(self.sector_size()).unwrap_or(1);
        for (at, sector) in (lba..).zip(buf.chunks_exact(size)) {
            let versions = state.cache.entry(at).or_default();
            if versions.len() == MAX_VERSIONS {
                versions.remove(0);
            }
            versions.push(sector.into());
        }
        true
    }

    /// Flushes the cache.
    pub(crate) fn flush(&self, arrival: &Arrival) -> Outcome {
        let mut delay = 0;
        match self.begin(DiskOp::Flush, arrival) {
            Some(FaultEffect::Fail(status) | FaultEffect::PartialFail { status, .. }) => {
                return self.end(DiskOp::Flush, arrival, status, 0, 0);
            }
            Some(FaultEffect::Vanish) => return self.end(DiskOp::Flush, arrival, STATUS_GONE, 0, 0),
            Some(FaultEffect::LostFlush) => {
                self.0.flushes.fetch_add(1, Ordering::Relaxed);
                return self.end(DiskOp::Flush, arrival, STATUS_SUCCESS, 0, 0);
            }
            Some(FaultEffect::Delay(extra)) => delay = extra,
            Some(FaultEffect::Short(_) | FaultEffect::Misdirect(_)) | None => {}
        }
        match self.0.config.flush {
            FlushSupport::Unsupported => {
                return self.end(DiskOp::Flush, arrival, STATUS_INVALID_DEVICE_REQUEST, 0, 0);
            }
            FlushSupport::Ignored => {}
            FlushSupport::Supported => {
                let mut state = self.state();
                for (lba, versions) in std::mem::take(&mut state.cache) {
                    if let Some(newest) = versions.last() {
                        self.0.durable.write(lba * self.sector_size(), newest);
                    }
                }
            }
        }
        self.0.flushes.fetch_add(1, Ordering::Relaxed);
        self.end(DiskOp::Flush, arrival, STATUS_SUCCESS, 0, delay)
    }

    /// Deallocates: the sectors read as zeros, as volatile as any write.
    pub(crate) fn trim(&self, arrival: &Arrival) -> Outcome {
        match self.begin(DiskOp::Trim, arrival) {
            Some(FaultEffect::Fail(status)) => return self.end(DiskOp::Trim, arrival, status, 0, 0),
            Some(FaultEffect::Vanish) => return self.end(DiskOp::Trim, arrival, STATUS_GONE, 0, 0),
            _ => {}
        }
        let mut lba = arrival.lba;
        let end = arrival.lba + arrival.sectors;
        while lba < end {
            let run = RUN.min(end - lba);
            self.put(lba, &vec![0; usize::try_from(run * self.sector_size()).unwrap_or(0)], false);
            lba += run;
        }
        self.end(DiskOp::Trim, arrival, STATUS_SUCCESS, 0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(lba: u64, sectors: u64) -> Arrival {
        Arrival { lba, sectors, write_through: false, irp_flags: 0, sl_flags: 0, now: 0, extra: 0 }
    }

    fn disk() -> Disk {
        Disk::new(DiskConfig::memory(1 << 20)).expect("memory")
    }

    #[test]
    fn unflushed_writes_may_be_lost_flushed_ones_not() {
        let disk = disk();
        disk.write(&arrival(0, 2), &[1; 1024]);
        assert_eq!(disk.flush(&arrival(0, 0)).status, 0);
        disk.write(&arrival(0, 2), &[2; 1024]);
        assert_eq!(disk.peek(0, 1), [2; 512]);
        disk.power_cut(Survivors::Nothing, |_| 0);
        assert_eq!(disk.peek(0, 2), [1; 1024]);
        disk.write(&arrival(0, 2), &[3; 1024]);
        let mut draws = [1_u64, 0].into_iter();
        disk.power_cut(Survivors::Random, |_| draws.next().unwrap_or(0));
        assert_eq!(disk.peek(0, 1), [3; 512], "each sector is settled alone");
        assert_eq!(disk.peek(1, 1), [1; 512]);
    }

    #[test]
    fn write_through_is_durable_at_once() {
        let disk = disk();
        disk.write(&arrival(4, 1), &[1; 512]);
        disk.write(&Arrival { write_through: true, ..arrival(4, 1) }, &[2; 512]);
        assert_eq!(disk.peek_durable(4, 1), [2; 512]);
        disk.power_cut(Survivors::All, |_| 0);
        assert_eq!(disk.peek(4, 1), [2; 512], "the older cached version must not come back");
    }

    #[test]
    fn lost_flush_claims_success() {
        let disk = disk();
        disk.inject(Fault::anywhere(DiskOp::Flush, FaultEffect::LostFlush).times(1));
        disk.write(&arrival(0, 1), &[9; 512]);
        assert_eq!(disk.flush(&arrival(0, 0)).status, 0);
        assert_eq!(disk.peek_durable(0, 1), [0; 512]);
        disk.flush(&arrival(0, 0));
        assert_eq!(disk.peek_durable(0, 1), [9; 512]);
        assert_eq!(disk.flushes(), 2);
    }

    #[test]
    fn torn_sector_mixes_versions() {
        let disk = disk();
        disk.poke(0, &[1; 512]);
        disk.write(&arrival(0, 1), &[2; 512]);
        // pick the new version, tear, the other is the durable one, cut at 100
        let mut draws = [1_u64, 0, 0, 100].into_iter();
        disk.power_cut(Survivors::Torn, |_| draws.next().unwrap_or(0));
        let now = disk.peek(0, 1);
        assert!(now[..100].iter().all(|b| *b == 2) && now[100..].iter().all(|b| *b == 1));
    }

    #[test]
    fn image_is_sparse_and_large() {
        let path = std::env::temp_dir().join(format!("ntsim-disk-{}", std::process::id()));
        let disk = Disk::new(DiskConfig::image(&path, 1 << 40).volatile_cache(false)).expect("sparse file");
        let last = disk.sectors() - 1;
        disk.write(&arrival(last, 1), &[7; 512]);
        assert_eq!(disk.peek(last, 1), [7; 512]);
        std::fs::remove_file(path).expect("own file");
    }
}
