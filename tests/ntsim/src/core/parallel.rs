//! The parallel scheduler: operating-system threads, real time.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::clock::Time;
use super::kernel::Kernel;
use super::sched::{Alarm, Status};
use super::thread::{ThreadKind, ThreadState};
use crate::host::{coroutine, tls};

/// How often a waiting host or worker looks whether the world has stopped.
const POLL: Duration = Duration::from_millis(5);

/// DPC workers of a world.
const DPC_WORKERS: usize = 2;

fn owned(kernel: &Kernel) -> Option<Arc<Kernel>> {
    kernel.this.upgrade()
}

/// Gives the new thread in `index` an operating-system thread.
pub(crate) fn start(kernel: &Kernel, index: usize) {
    let Some(kernel) = owned(kernel) else { return };
    let mut sched = kernel.sched.lock();
    sched.running += 1;
    sched.ready.retain(|&ready| ready != index);
    let Some(slot) = sched.slots[index].as_mut() else { return };
    slot.status = Status::Running;
    let Some(body) = slot.body.take() else { return };
    let thread = Arc::clone(&slot.state);
    drop(sched);
    let run = move || {
        tls::enter(&kernel, Some(&thread), body);
        kernel.sched.lock().running -= 1;
        kernel.thread_ended(&thread, index);
        kernel.sched.changed.notify_all();
    };
    spawn_host_thread(run);
}

fn spawn_host_thread(run: impl FnOnce() + Send + 'static) {
    let builder = std::thread::Builder::new().stack_size(coroutine::HOST_STACK_BYTES);
    if let Err(error) = builder.spawn(run) {
        panic!("cannot start a thread: {error}");
    }
}

/// Starts the DPC workers and the clock of a parallel world.
pub(crate) fn boot(kernel: &Arc<Kernel>) {
    for _ in 0..DPC_WORKERS {
        let weak = Arc::downgrade(kernel);
        spawn_host_thread(move || while weak.upgrade().is_some_and(|kernel| dpc_turn(&kernel)) {});
    }
    let weak = Arc::downgrade(kernel);
    spawn_host_thread(move || while weak.upgrade().is_some_and(|kernel| clock_turn(&kernel)) {});
}

fn dpc_turn(kernel: &Arc<Kernel>) -> bool {
    let mut sched = kernel.sched.lock();
    if kernel.sched.is_stopped() {
        return false;
    }
    let Some(body) = sched.dpcs.pop_front() else {
        drop(kernel.sched.changed.wait_timeout(sched, POLL).unwrap_or_else(PoisonError::into_inner));
        return true;
    };
    sched.running += 1;
    let id = sched.next_id();
    let state = Arc::new(ThreadState::new(id, "DPC".to_owned(), ThreadKind::Dpc, kernel.config.kernel_stack));
    let index = sched.add(Arc::clone(&state), Box::new(|| ()), false);
    state.slot.store(index, Ordering::Relaxed);
    drop(sched);
    tls::enter(kernel, Some(&state), body);
    kernel.sched.lock().running -= 1;
    kernel.thread_ended(&state, index);
    kernel.sched.changed.notify_all();
    true
}

fn clock_turn(kernel: &Arc<Kernel>) -> bool {
    let now = kernel.now();
    let mut sched = kernel.sched.lock();
    if kernel.sched.is_stopped() {
        return false;
    }
    sched.now = now;
    if let Some(alarm) = sched.pop_due() {
        if let Alarm::Call(body) = alarm {
            sched.dpcs.push_back(body);
        }
        kernel.sched.changed.notify_all();
        return true;
    }
    let wait = sched.timers.first_key_value().map_or(POLL, |(&(due, _), _)| until(now, due).min(POLL));
    drop(kernel.sched.changed.wait_timeout(sched, wait).unwrap_or_else(PoisonError::into_inner));
    true
}

fn until(now: Time, due: Time) -> Duration {
    Duration::from_nanos(due.0.saturating_sub(now.0).saturating_mul(100))
}

/// Parks the calling thread until it is woken or the deadline passes.
pub(crate) fn park(kernel: &Kernel, thread: &ThreadState, deadline: Option<Time>) {
    kernel.sched.lock().running -= 1;
    let mut guard = thread.parked.lock().unwrap_or_else(PoisonError::into_inner);
    while !thread.woken.load(Ordering::SeqCst) && !kernel.sched.is_stopped() {
        let now = kernel.now();
        if deadline.is_some_and(|due| due <= now) {
            break;
        }
        let wait = deadline.map_or(POLL, |due| until(now, due).min(POLL));
        guard = thread.unpark.wait_timeout(guard, wait).unwrap_or_else(PoisonError::into_inner).0;
    }
    drop(guard);
    kernel.sched.lock().running += 1;
}

/// Wakes a thread out of [`park`].
pub(crate) fn unpark(thread: &ThreadState) {
    let guard = thread.parked.lock().unwrap_or_else(PoisonError::into_inner);
    thread.woken.store(true, Ordering::SeqCst);
    drop(guard);
    thread.unpark.notify_all();
}

/// Lets the host's thread wait until `done` holds, the world stops or (with `idle`) nothing runs any more.
pub(crate) fn run(kernel: &Arc<Kernel>, idle: bool, done: &mut dyn FnMut() -> bool) -> super::deterministic::Outcome {
    use super::deterministic::Outcome;
    loop {
        if kernel.sched.is_stopped() {
            return Outcome::Stopped;
        }
        if done() {
            return Outcome::Reached;
        }
        let sched = kernel.sched.lock();
        if idle && sched.running == 0 && sched.dpcs.is_empty() && sched.timers.is_empty() {
            return Outcome::Idle;
        }
        drop(
            kernel.sched.changed.wait_timeout(sched, Duration::from_millis(1)).unwrap_or_else(PoisonError::into_inner),
        );
    }
}

/// Waits until no operating-system thread runs code of a stopped world any more: parked for ever, or ended.
pub(crate) fn quiesce(kernel: &Arc<Kernel>) {
    if kernel.is_deterministic() {
        return;
    }
    let mut sched = kernel.sched.lock();
    while sched.running > 0 {
        sched = kernel.sched.changed.wait_timeout(sched, POLL).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// Parks the calling thread of a stopped world for ever.
pub(crate) fn park_for_ever(kernel: &Kernel) -> ! {
    kernel.sched.lock().running -= 1;
    kernel.sched.changed.notify_all();
    loop {
        std::thread::park();
    }
}
