//! A disk: durable image, volatile write cache, faults, timing, and a log of what reached it.
//!
//! # Invariants
//! * `durable` holds what survives any power cut. `cache` holds, per sector, every version written since the last
//!   flush, oldest first; the newest is what reads see.
//! * A write-through write drops the cached versions of its sectors and goes to `durable`.
//! * A power cut settles each cached sector on its own: the durable bytes or any cached version; in torn mode a mix.

use super::config::{DiskConfig, FlushSupport, IoRecord, Survivors};
use super::fault::{DiskOp, Fault, FaultEffect, FaultPlan};
use super::store::{Pages, Store};
use super::timing::Queue;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

mod transfer;

pub(crate) use transfer::LateWrite;

/// Versions of one sector that the cache remembers; older ones are forgotten, which only makes a power cut milder.
const MAX_VERSIONS: usize = 4;
/// Sectors that one step of a deallocation wipes.
const RUN: u64 = 2048;
/// Entries of the request log that are kept.
const LOG_LIMIT: usize = 1 << 16;

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
    /// Buffers of transfers that are over.
    spare: Mutex<Vec<Pages>>,
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
            spare: Mutex::default(),
            flushes: AtomicU64::new(0),
            vanished: AtomicBool::new(false),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Pages>> {
        self.0.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lends `f` a buffer of `len` bytes with any content, for a transfer between a request's pages and the disk. Memory from the host
    /// for each would cost more than the transfer: large blocks are mapped anew every time.
    pub(crate) fn with_buffer<R>(&self, len: usize, f: impl FnOnce(&mut [u8]) -> R) -> R {
        let spare = self.spare().pop().filter(|buffer| buffer.len() >= len);
        let mut buffer = spare.unwrap_or_else(|| Pages::new(len));
        let result = f(&mut buffer.get_mut()[..len]);
        self.spare().push(buffer);
        result
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
}

#[cfg(test)]
mod tests;
