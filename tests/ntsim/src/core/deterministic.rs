//! The deterministic scheduler: coroutines on the host's thread, virtual time.

use corosensei::stack::DefaultStack;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::finding::Rule;
use super::kernel::Kernel;
use super::sched::{Alarm, SchedState, Status};
use super::thread::{ThreadKind, ThreadState};
use crate::host::coroutine::{self, Fiber, Turn};
use crate::host::tls;

/// The coroutines of one world; they stay on the host's thread that drives it.
#[derive(Default)]
pub(crate) struct Carrier {
    fibers: RefCell<Vec<Option<Fiber>>>,
    stacks: RefCell<Vec<DefaultStack>>,
}

/// Why the scheduler came back to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The host's condition holds.
    Reached,
    /// Nothing can run now, or ever.
    Idle,
    /// A finding stopped the world.
    Stopped,
}

impl Carrier {
    /// Runs simulated threads until `done` holds. With `jump` time moves on when everyone waits.
    pub(crate) fn run(&self, kernel: &Arc<Kernel>, jump: bool, done: &mut dyn FnMut() -> bool) -> Outcome {
        let limit = kernel.sched.decisions.load(Ordering::Relaxed).saturating_add(kernel.config.livelock_limit);
        kernel.sched.limit.store(limit, Ordering::Relaxed);
        loop {
            if kernel.sched.is_stopped() {
                return Outcome::Stopped;
            }
            if done() {
                return Outcome::Reached;
            }
            if kernel.sched.decisions.fetch_add(1, Ordering::Relaxed) > limit {
                kernel.report(Rule::Livelock, "too many decisions without progress");
                return Outcome::Stopped;
            }
            fire_due(kernel);
            if let Some(index) = pick(kernel) {
                self.turn(kernel, index);
            } else if !jump || !advance(kernel) {
                return Outcome::Idle;
            }
        }
    }

    fn turn(&self, kernel: &Arc<Kernel>, index: usize) {
        kernel.sched.switches.fetch_add(1, Ordering::Relaxed);
        let (thread, body) = {
            let mut sched = kernel.sched.lock();
            let raised_before = sched.raised;
            let Some(slot) = sched.slots[index].as_mut() else { return };
            slot.status = Status::Running;
            let body = slot.body.take();
            let thread = Arc::clone(&slot.state);
            if body.is_some() && matches!(thread.kind(), ThreadKind::Dpc) {
                sched.raised = raised_before + 1;
            }
            (thread, body)
        };
        let parked = self.fibers.borrow_mut().get_mut(index).and_then(Option::take);
        let fiber = match body {
            Some(body) => {
                let stack = self.stacks.borrow_mut().pop().unwrap_or_else(coroutine::new_stack);
                Fiber::new(stack, Arc::clone(&thread), body)
            }
            None => match parked {
                Some(fiber) => fiber,
                None => return,
            },
        };
        match tls::enter(kernel, Some(&thread), || fiber.resume()) {
            Turn::Suspended(fiber) if thread.terminated.load(Ordering::SeqCst) => {
                let stack = fiber.abandon();
                look_for_secrets(kernel, &thread, &stack);
                self.recycle(kernel, stack);
                kernel.thread_ended(&thread, index);
            }
            Turn::Suspended(fiber) => {
                let mut fibers = self.fibers.borrow_mut();
                if fibers.len() <= index {
                    fibers.resize_with(index + 1, || None);
                }
                fibers[index] = Some(fiber);
            }
            Turn::Ended(stack) => {
                self.recycle(kernel, stack);
                kernel.thread_ended(&thread, index);
            }
        }
    }

    /// Keeps a stack for the next thread. Where secrets are looked for, what a program left on it must not be taken for the driver's.
    fn recycle(&self, kernel: &Kernel, stack: DefaultStack) {
        if !kernel.arena.watches_secrets() {
            self.stacks.borrow_mut().push(stack);
        }
    }

    /// Forgets every coroutine where it stands.
    pub(crate) fn abandon(&self) {
        for fiber in self.fibers.borrow_mut().drain(..).flatten() {
            drop(fiber.abandon());
        }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.abandon();
    }
}

/// A driver ended its thread: the kernel gives the stack to somebody else as it is.
fn look_for_secrets(kernel: &Kernel, thread: &ThreadState, stack: &DefaultStack) {
    // The sanitizer keeps what it knows of frames that were never left, and would report reading them.
    if cfg!(feature = "asan") || !kernel.arena.watches_secrets() {
        return;
    }
    if kernel.arena.holds_secret(coroutine::first_frames(stack, kernel.config.kernel_stack)) {
        kernel.report(Rule::SecretLeft, format!("thread {} ended with a secret on its stack", thread.name()));
    }
}

fn fire_due(kernel: &Kernel) {
    loop {
        let mut sched = kernel.sched.lock();
        match sched.pop_due() {
            Some(Alarm::Wake(index)) => sched.make_ready(index),
            Some(Alarm::Call(body)) => {
                drop(sched);
                kernel.dpc(body);
            }
            None => return,
        }
    }
}

/// Takes one of the threads that may run now out of the ready list.
fn pick(kernel: &Kernel) -> Option<usize> {
    let mut random = kernel.sched.random();
    let mut sched = kernel.sched.lock();
    if sched.raised < kernel.config.processors {
        if sched.ready.is_empty() {
            return None;
        }
        let at = random.index(sched.ready.len());
        return Some(sched.ready.swap_remove(at));
    }
    // Every processor is held by a thread at raised IRQL: only those go on.
    let raised: Vec<usize> = (0..sched.ready.len()).filter(|&at| holds_processor(&sched, sched.ready[at])).collect();
    if raised.is_empty() {
        return None;
    }
    let at = raised[random.index(raised.len())];
    Some(sched.ready.swap_remove(at))
}

fn holds_processor(sched: &SchedState, index: usize) -> bool {
    sched.slots[index].as_ref().is_some_and(|slot| slot.body.is_none() && slot.state.irql() >= 2)
}

/// Moves the clock to the next alarm; false when there is none.
fn advance(kernel: &Kernel) -> bool {
    let mut sched = kernel.sched.lock();
    let Some((&(due, _), _)) = sched.timers.first_key_value() else { return false };
    sched.now = sched.now.max(due);
    true
}

impl Kernel {
    /// The thread's body returned.
    pub(crate) fn thread_ended(&self, thread: &ThreadState, index: usize) {
        self.stack_high_water.fetch_max(thread.stack_high_water(), Ordering::Relaxed);
        // The kernel's own reference goes first: whoever sees the thread ended and gives back the last other one has
        // nothing of it left.
        let object = thread.object().expose_provenance();
        if self.threads().contains_key(&object) {
            self.object_dereference(object);
        }
        let mut sched = self.sched.lock();
        if thread.irql() >= 2 {
            sched.raised = sched.raised.saturating_sub(1);
        }
        let slot = sched.remove(index);
        drop(sched);
        drop(slot);
        self.wake(Kernel::thread_key(thread.id()));
        // For drivers that wait for the thread object.
        thread.signal_end();
        self.wake(object);
    }
}
