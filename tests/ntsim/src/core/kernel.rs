//! `Kernel`: the state of one world.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::clock::{BOOT_SYSTEM_TIME, Time};
use super::config::{Config, SchedulerKind};
use super::finding::{Finding, Rule};
use super::locks::Locks;
use super::mdl::Mappings;
use super::rng::Rng;
use super::sched::Scheduler;
use super::thread::ThreadState;
use super::thread_object::ThreadTable;
use crate::host::arena::Arena;
use crate::host::{coroutine, tls, xstate};

/// The state of one world.
pub struct Kernel {
    pub(crate) this: Weak<Kernel>,
    pub(crate) config: Config,
    pub(crate) sched: Scheduler,
    findings: Mutex<Vec<Finding>>,
    log: Mutex<Vec<String>>,
    fault_rng: Mutex<Rng>,
    cng_rng: Mutex<Rng>,
    pub(crate) arena: Arena,
    /// The most kernel stack that driver frames used on any thread.
    pub(crate) stack_high_water: AtomicUsize,
    pub(crate) locks: Locks,
    pub(crate) mappings: Mappings,
    /// Components of extended processor state that are watched while driver code runs.
    pub(crate) watched_state: u64,
    pub(crate) thread_objects: ThreadTable,
    /// Everything that belongs to the I/O side.
    pub(crate) io: crate::io::IoState,
}

/// A world that is kept alive by holding this.
#[derive(Clone)]
pub struct KernelRef(Arc<Kernel>);

impl KernelRef {
    pub(crate) fn new(kernel: Arc<Kernel>) -> Self {
        Self(kernel)
    }
}

impl Deref for KernelRef {
    type Target = Kernel;
    fn deref(&self) -> &Kernel {
        &self.0
    }
}

/// The world that the calling thread belongs to.
///
/// Do not keep it across a wait: a coroutine that is never resumed never drops it. Inside the simulator pass
/// `&Kernel` instead.
///
/// # Panics
/// When called outside every world.
#[must_use]
pub fn current() -> KernelRef {
    let found = tls::with_kernel(|kernel| kernel.this.upgrade()).flatten();
    match found {
        Some(kernel) => KernelRef(kernel),
        None => panic!("a kernel routine was called outside every simulated world"),
    }
}

/// Runs `f` as code of the test, not of the driver: for test drivers whose callbacks keep books of their own. Memory
/// that such code allocates must not be taken for the driver's, which goes away with the world.
pub fn as_host<R>(f: impl FnOnce() -> R) -> R {
    tls::as_simulator("code of the test", f)
}

impl Kernel {
    pub(crate) fn new(config: Config) -> Arc<Self> {
        let seed = config.seed;
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            sched: Scheduler::new(seed),
            io: crate::io::IoState::new(config.page_heap),
            findings: Mutex::new(Vec::new()),
            log: Mutex::new(Vec::new()),
            fault_rng: Mutex::new(Rng::new(seed, 2)),
            cng_rng: Mutex::new(Rng::new(seed, 3)),
            arena: Arena::default(),
            watched_state: if config.watch_extended_state { xstate::watched() } else { 0 },
            stack_high_water: AtomicUsize::new(0),
            locks: Locks::default(),
            mappings: Mappings::default(),
            thread_objects: ThreadTable::default(),
            config,
        })
    }

    /// The choices this world was built with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn is_deterministic(&self) -> bool {
        self.config.scheduler == SchedulerKind::Deterministic
    }

    /// The current time of this world.
    #[must_use]
    pub fn now(&self) -> Time {
        if self.is_deterministic() { self.sched.lock().now } else { Time(Time::units(self.sched.booted.elapsed())) }
    }

    /// The system time, in units of 100 ns since 1601.
    #[must_use]
    pub fn system_time(&self) -> u64 {
        BOOT_SYSTEM_TIME + self.now().0
    }

    /// The current simulated thread; `None` on the host's own thread.
    pub fn with_thread<R>(&self, f: impl FnOnce(&ThreadState) -> R) -> Option<R> {
        tls::with_thread(f)
    }

    /// Current IRQL; `PASSIVE_LEVEL` on the host's own thread.
    #[must_use]
    pub fn irql(&self) -> u8 {
        tls::with_thread(ThreadState::irql).unwrap_or(0)
    }

    /// The stream of random numbers for faults.
    pub fn faults(&self) -> MutexGuard<'_, Rng> {
        self.fault_rng.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream of random numbers that drivers get.
    pub fn cng(&self) -> MutexGuard<'_, Rng> {
        self.cng_rng.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream of random numbers for scheduling and for the simulator's own choices.
    pub fn rng(&self) -> MutexGuard<'_, Rng> {
        self.sched.random()
    }

    /// Records a broken rule and stops the world; returns to the caller, for code that has no simulated thread.
    pub fn report(&self, rule: Rule, text: impl Into<String>) {
        let text = text.into();
        tls::as_simulator("a report", || {
            let finding = Finding {
                rule,
                text,
                thread: tls::with_thread(|thread| thread.name().to_owned()),
                time: self.now().0,
                seed: self.config.seed,
            };
            self.findings.lock().unwrap_or_else(PoisonError::into_inner).push(finding);
            self.stop();
        });
    }

    /// Records a broken rule and stops the world. The calling simulated thread never runs again.
    ///
    /// # Panics
    /// When the caller is not a simulated thread: such code uses [`Kernel::report`].
    pub fn finding(&self, rule: Rule, text: impl Into<String>) -> ! {
        self.report(rule, text);
        self.halt()
    }

    /// Parks the calling simulated thread for ever.
    pub(crate) fn halt(&self) -> ! {
        self.stop();
        self.leave_for_ever()
    }

    /// Gives up the processor for ever, while the world may go on.
    pub(crate) fn leave_for_ever(&self) -> ! {
        loop {
            let parked = tls::with_thread(|thread| {
                if self.is_deterministic() {
                    coroutine::suspend(thread);
                } else {
                    super::parallel::park_for_ever(self);
                }
            });
            assert!(parked.is_some(), "a finding on the host's thread: {:?}", self.findings());
        }
    }

    /// Stops the world: no simulated thread runs any more.
    pub(crate) fn stop(&self) {
        self.sched.stopped.store(true, Ordering::SeqCst);
        self.sched.changed.notify_all();
    }

    /// What the verifier found so far.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a line to the world's log.
    pub fn log_line(&self, line: String) {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
