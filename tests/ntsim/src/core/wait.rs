//! Threads: spawn, preempt, block, wake; deferred calls and alarms.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::clock::Time;
use super::finding::Rule;
use super::kernel::Kernel;
use super::parallel;
use super::sched::{Alarm, Body, Status, TimedOut};
use super::thread::{ThreadId, ThreadKind, ThreadState};
use crate::host::{coroutine, tls};

/// The first IRQL at which a thread must not wait.
const DISPATCH_LEVEL: u8 = 2;

impl Kernel {
    /// Starts a simulated thread. Its end wakes those blocked on [`Kernel::thread_key`].
    pub fn spawn(&self, name: &str, kind: ThreadKind, body: impl FnOnce() + Send + 'static) -> ThreadId {
        self.enter_thread(name, kind, Box::new(body), true).id()
    }

    pub(crate) fn enter_thread(&self, name: &str, kind: ThreadKind, body: Body, start: bool) -> Arc<ThreadState> {
        let mut sched = self.sched.lock();
        let id = sched.next_id();
        let state = Arc::new(ThreadState::new(id, name.to_owned(), kind, self.config.kernel_stack));
        let index = sched.add(Arc::clone(&state), body, start);
        state.slot.store(index, Ordering::Relaxed);
        drop(sched);
        if start {
            self.start_thread(&state);
        }
        state
    }

    /// Lets a thread run that was entered.
    pub(crate) fn start_thread(&self, thread: &ThreadState) {
        let index = thread.slot.load(Ordering::Relaxed);
        if self.is_deterministic() {
            self.sched.lock().make_ready(index);
        } else {
            parallel::start(self, index);
        }
    }

    /// Lets one tick of virtual time pass.
    pub(crate) fn tick(&self) {
        let mut sched = self.sched.lock();
        sched.now = sched.now.after(self.config.tick);
    }

    /// Runs `body` at `DISPATCH_LEVEL` as soon as a processor takes it; it must not wait.
    pub fn dpc(&self, body: impl FnOnce() + Send + 'static) {
        if self.is_deterministic() {
            self.spawn("DPC", ThreadKind::Dpc, body);
        } else {
            self.sched.lock().dpcs.push_back(Box::new(body));
            self.sched.changed.notify_all();
        }
    }

    /// Runs `body` as a DPC at `time`.
    pub fn at(&self, time: Time, body: impl FnOnce() + Send + 'static) {
        self.sched.lock().add_timer(time, Alarm::Call(Box::new(body)));
        self.sched.changed.notify_all();
    }

    /// The key on which the end of a thread is announced.
    #[must_use]
    pub fn thread_key(id: ThreadId) -> usize {
        // Odd, so that it is never the address of an object.
        usize::try_from(id.0).unwrap_or(usize::MAX).wrapping_mul(2) | 1 | (1 << 62)
    }

    /// Whether the thread has not ended yet.
    #[must_use]
    pub fn is_alive(&self, id: ThreadId) -> bool {
        self.sched.lock().slots.iter().flatten().any(|slot| slot.state.id() == id)
    }

    /// A point at which another thread may get the processor.
    pub fn preempt(&self) {
        if self.sched.is_stopped() && tls::with_thread(|_| ()).is_some() {
            self.halt();
        }
        // In a parallel world the host decides who runs, so there is nothing to count.
        if self.is_deterministic() {
            let decision = self.sched.decisions.fetch_add(1, Ordering::Relaxed);
            if decision > self.sched.limit.load(Ordering::Relaxed) && tls::with_thread(|_| ()).is_some() {
                self.finding(Rule::Livelock, "too many decisions without progress");
            }
            tls::with_thread(|thread| self.maybe_switch(thread));
        }
    }

    fn maybe_switch(&self, thread: &ThreadState) {
        let switch = self.sched.random().below(256) < u64::from(self.config.preemption);
        let mut sched = self.sched.lock();
        sched.now = sched.now.after(self.config.tick);
        if !switch || (sched.ready.is_empty() && sched.timers.is_empty()) {
            return;
        }
        let index = thread.slot.load(Ordering::Relaxed);
        if let Some(slot) = sched.slots[index].as_mut() {
            slot.status = Status::Ready;
        }
        sched.ready.push(index);
        drop(sched);
        coroutine::suspend(thread);
    }

    /// Blocks the current simulated thread until `ready` gives something or `deadline` passes. `ready` is asked at
    /// once, and again after every [`Kernel::wake`] of one of `keys`. It must not wait itself.
    ///
    /// # Errors
    /// `TimedOut` when the deadline came first.
    pub fn block<T>(
        &self,
        keys: &[usize],
        deadline: Option<Time>,
        reason: &'static str,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T, TimedOut> {
        let polls = deadline.is_some_and(|due| due <= self.now());
        if !polls && self.guarded_at().is_some() {
            self.finding(Rule::SimdGuard, format!("waits for {reason} while extended state is saved"));
        }
        if let Some(value) = ready() {
            return Ok(value);
        }
        if polls {
            return Err(TimedOut);
        }
        if self.irql() >= DISPATCH_LEVEL {
            self.finding(Rule::WaitAtRaisedIrql, format!("waits for {reason} at IRQL {}", self.irql()));
        }
        if tls::with_thread(|thread| thread.power_depth.load(Ordering::Relaxed)).unwrap_or(0) > 0 {
            self.finding(Rule::WaitInPowerDispatch, format!("waits for {reason} in a power dispatch routine"));
        }
        self.block_at_any_irql(keys, deadline, reason, ready)
    }

    /// [`Kernel::block`] without the IRQL rule: for spin locks.
    pub(crate) fn block_at_any_irql<T>(
        &self,
        keys: &[usize],
        deadline: Option<Time>,
        reason: &'static str,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T, TimedOut> {
        let waited = tls::with_thread(|thread| {
            let index = thread.slot.load(Ordering::Relaxed);
            loop {
                thread.woken.store(false, Ordering::SeqCst);
                self.sched.lock().wait_on(keys, index);
                let value = ready();
                let late = value.is_none() && deadline.is_some_and(|due| due <= self.now());
                if value.is_some() || late {
                    self.sched.lock().unwait(keys, index);
                    return value.ok_or(TimedOut);
                }
                self.park(thread, index, deadline, reason);
                self.sched.lock().unwait(keys, index);
            }
        });
        waited.unwrap_or_else(|| panic!("the host's thread cannot wait for {reason} inside the world"))
    }

    fn park(&self, thread: &ThreadState, index: usize, deadline: Option<Time>, reason: &'static str) {
        if self.is_deterministic() {
            let mut sched = self.sched.lock();
            let timer = deadline.map(|due| sched.add_timer(due, Alarm::Wake(index)));
            if let Some(slot) = sched.slots[index].as_mut() {
                slot.status = Status::Blocked;
                slot.reason = reason;
            }
            drop(sched);
            coroutine::suspend(thread);
            if let Some(timer) = timer {
                self.sched.lock().timers.remove(&timer);
            }
        } else {
            parallel::park(self, thread, deadline);
        }
        if self.sched.is_stopped() {
            self.halt();
        }
    }

    /// Everyone blocked on `key` asks again.
    pub fn wake(&self, key: usize) {
        let mut sched = self.sched.lock();
        let Some(list) = sched.waiters.remove(&key) else { return };
        for index in list {
            if self.is_deterministic() {
                sched.make_ready(index);
            } else if let Some(slot) = sched.slots[index].as_ref() {
                parallel::unpark(&slot.state);
            }
        }
    }

    /// Whether any DPC is queued or running.
    pub(crate) fn dpcs_pending(&self) -> bool {
        let sched = self.sched.lock();
        let dpc = |slot: &super::sched::Slot| matches!(slot.state.kind(), ThreadKind::Dpc);
        !sched.dpcs.is_empty() || sched.slots.iter().flatten().any(dpc)
    }

    /// Changes the IRQL of the current thread; returns the old one. No rule is checked.
    pub(crate) fn set_irql(&self, irql: u8) -> u8 {
        let old = tls::with_thread(|thread| thread.set_irql(irql)).unwrap_or(0);
        match (old >= DISPATCH_LEVEL, irql >= DISPATCH_LEVEL) {
            (false, true) => self.sched.lock().raised += 1,
            (true, false) => {
                let mut sched = self.sched.lock();
                sched.raised = sched.raised.saturating_sub(1);
            }
            _ => {}
        }
        old
    }
}
