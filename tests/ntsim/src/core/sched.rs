//! What both schedulers share: threads, who waits for what, timers.
//!
//! A wait is: register under the keys, ask `ready`, park, ask again. Whoever changes the state that `ready` looks at
//! changes it first and calls [`Kernel::wake`](crate::core::Kernel::wake) afterwards, so a wake-up cannot be lost.
//!
//! # Ordering
//! The `SchedState` mutex is innermost: nothing is called while it is held.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::clock::Time;
use super::rng::Rng;
use super::thread::{ThreadId, ThreadState};

/// A wait ended because its time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedOut;

/// The body of a simulated thread.
pub(crate) type Body = Box<dyn FnOnce() + Send>;

/// Where a thread stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Ready,
    Running,
    Blocked,
}

/// A living thread, as the scheduler sees it.
pub(crate) struct Slot {
    pub(crate) state: Arc<ThreadState>,
    pub(crate) status: Status,
    /// Taken when the thread runs for the first time.
    pub(crate) body: Option<Body>,
    /// What it waits for, for the report of a deadlock.
    pub(crate) reason: &'static str,
}

/// What happens when a timer is due.
pub(crate) enum Alarm {
    Wake(usize),
    Call(Body),
}

/// When a timer is due, and its number: unique, and in order of creation among those due at the same time.
pub(crate) type TimerKey = (Time, u64);

/// Hash for keys that are addresses or numbers of the simulator's own: quick, and no guard against chosen keys.
#[derive(Default)]
pub(crate) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}

/// A table by address or number. Nothing may depend on the order in which it is walked.
pub(crate) type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<AddressHasher>>;

#[derive(Default)]
pub(crate) struct SchedState {
    /// Living threads; a slot is reused, a `ThreadId` is not.
    pub(crate) slots: Vec<Option<Slot>>,
    pub(crate) free: Vec<usize>,
    pub(crate) ready: Vec<usize>,
    pub(crate) waiters: NumberMap<usize, Vec<usize>>,
    pub(crate) timers: BTreeMap<TimerKey, Alarm>,
    pub(crate) next_order: u64,
    pub(crate) next_thread: u64,
    pub(crate) now: Time,
    /// Threads at or above `DISPATCH_LEVEL`: each occupies a processor.
    pub(crate) raised: u32,
    pub(crate) running: usize,
    /// Bodies of DPCs for the parallel scheduler's workers.
    pub(crate) dpcs: VecDeque<Body>,
}

/// The scheduler's part of a world.
pub(crate) struct Scheduler {
    state: Mutex<SchedState>,
    pub(crate) decisions: AtomicU64,
    pub(crate) switches: AtomicU64,
    /// Number of the decision after which the world counts as livelocked.
    pub(crate) limit: AtomicU64,
    pub(crate) stopped: AtomicBool,
    pub(crate) rng: Mutex<Rng>,
    /// Wakes the host, the DPC workers and the timer thread of a parallel world.
    pub(crate) changed: Condvar,
    pub(crate) booted: Instant,
}

impl Scheduler {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: Mutex::new(SchedState::default()),
            decisions: AtomicU64::new(0),
            switches: AtomicU64::new(0),
            limit: AtomicU64::new(u64::MAX),
            stopped: AtomicBool::new(false),
            rng: Mutex::new(Rng::new(seed, 1)),
            changed: Condvar::new(),
            booted: Instant::now(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, SchedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(crate) fn random(&self) -> MutexGuard<'_, Rng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SchedState {
    /// Enters a new thread.
    pub(crate) fn add(&mut self, state: Arc<ThreadState>, body: Body, ready: bool) -> usize {
        let status = if ready { Status::Ready } else { Status::Blocked };
        let slot = Slot { state, status, body: Some(body), reason: "" };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[index] = Some(slot);
        if ready {
            self.ready.push(index);
        }
        index
    }

    pub(crate) fn next_id(&mut self) -> ThreadId {
        self.next_thread += 1;
        ThreadId(self.next_thread)
    }

    pub(crate) fn remove(&mut self, index: usize) -> Option<Slot> {
        let slot = self.slots[index].take();
        self.free.push(index);
        slot
    }

    pub(crate) fn add_timer(&mut self, due: Time, alarm: Alarm) -> TimerKey {
        self.next_order += 1;
        let key = (due, self.next_order);
        self.timers.insert(key, alarm);
        key
    }

    /// The next timer that is due at `now`.
    pub(crate) fn pop_due(&mut self) -> Option<Alarm> {
        let first = self.timers.first_entry()?;
        (first.key().0 <= self.now).then(|| first.remove())
    }

    /// Makes a blocked thread ready.
    pub(crate) fn make_ready(&mut self, index: usize) {
        if let Some(slot) = self.slots[index].as_mut()
            && slot.status == Status::Blocked
        {
            slot.status = Status::Ready;
            self.ready.push(index);
        }
    }

    pub(crate) fn wait_on(&mut self, keys: &[usize], index: usize) {
        for &key in keys {
            let list = self.waiters.entry(key).or_default();
            if !list.contains(&index) {
                list.push(index);
            }
        }
    }

    pub(crate) fn unwait(&mut self, keys: &[usize], index: usize) {
        for &key in keys {
            if let Some(list) = self.waiters.get_mut(&key) {
                list.retain(|&waiter| waiter != index);
                if list.is_empty() {
                    self.waiters.remove(&key);
                }
            }
        }
    }
}
