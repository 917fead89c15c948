//! `World`: the host's handle on one machine.

use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use super::clock::Time;
use super::config::{Config, SchedulerKind};
use super::deterministic::{Carrier, Outcome};
use super::finding::{Finding, Rule};
use super::kernel::{Kernel, KernelRef};
use super::parallel;
use super::sched::Status;
use super::thread::{ThreadId, ThreadKind};
use super::thread_object::with_current;
use crate::host::{fault, tls};

/// One simulated machine, driven by the host's thread that made it.
pub struct World {
    kernel: Arc<Kernel>,
    carrier: Carrier,
}

/// Builds a [`World`].
#[derive(Debug, Clone, Default)]
pub struct WorldBuilder {
    config: Config,
}

impl WorldBuilder {
    /// Seed of every random stream.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = seed;
        self
    }

    /// Which scheduler runs the world.
    #[must_use]
    pub fn scheduler(mut self, kind: SchedulerKind) -> Self {
        self.config.scheduler = kind;
        self
    }

    /// Everything that Windows may do to a driver but seldom does: raised IRQL at dispatch, little stack left.
    #[must_use]
    pub fn hostile(mut self, hostile: bool) -> Self {
        self.config.hostile_irql = hostile;
        self.config.dispatch_headroom = hostile.then_some(6 << 10);
        self
    }

    /// Lower drivers pend every IRP.
    #[must_use]
    pub fn force_pending(mut self, force: bool) -> Self {
        self.config.force_pending = force;
        self
    }

    /// IRPs, MDLs, devices and requests' buffers get pages of their own, inaccessible while the driver does not own them:
    /// a touch out of turn is a finding at that moment.
    #[must_use]
    pub fn page_heap(mut self, on: bool) -> Self {
        self.config.page_heap = on;
        self
    }

    /// Whether memory and pageable or foreign code inside a critical region that the driver enters itself are findings;
    /// they are, unless this says otherwise.
    #[must_use]
    pub fn strict_critical_regions(mut self, on: bool) -> Self {
        self.config.strict_critical_regions = on;
        self
    }

    /// Processors of the machine; at least one.
    #[must_use]
    pub fn processors(mut self, processors: u32) -> Self {
        self.config.processors = processors.max(1);
        self
    }

    /// Changes any of the choices.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Boots the world.
    #[must_use]
    pub fn build(self) -> World {
        install_panic_hook();
        fault::install();
        let kernel = Kernel::new(self.config);
        if !kernel.is_deterministic() {
            parallel::boot(&kernel);
        }
        World { kernel, carrier: Carrier::default() }
    }
}

/// A panic in driver code ends the process, because nothing may unwind through kernel frames; so the seed is printed
/// first.
fn install_panic_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            tls::abandon_driver_mode();
            tls::with_kernel(|kernel| eprintln!("panic inside a simulated world, seed {}", kernel.config.seed));
            before(info);
        }));
    });
}

impl World {
    /// A deterministic world with the defaults.
    #[must_use]
    pub fn boot(seed: u64) -> Self {
        Self::builder().seed(seed).build()
    }

    /// A world with choices.
    #[must_use]
    pub fn builder() -> WorldBuilder {
        WorldBuilder::default()
    }

    /// The world's state, for code that works on it from the host.
    #[must_use]
    pub fn kernel(&self) -> KernelRef {
        KernelRef::new(Arc::clone(&self.kernel))
    }

    pub(crate) fn kernel_ref(&self) -> &Arc<Kernel> {
        &self.kernel
    }

    /// Forgets every simulated thread where it stands; waits until none is running.
    pub(crate) fn abandon_threads(&self) {
        self.carrier.abandon();
        parallel::quiesce(&self.kernel);
    }

    /// Runs the world until `done` holds; false when it cannot come to that any more (everyone waits, or a finding).
    pub fn run_until(&self, mut done: impl FnMut() -> bool) -> bool {
        self.drive(true, &mut done) == Outcome::Reached
    }

    /// Runs the world until nothing can run without time moving on.
    pub fn run_idle(&self) {
        self.drive(false, &mut || false);
    }

    /// Lets `duration` of the world's time pass.
    pub fn run_for(&self, duration: Duration) {
        let kernel = Arc::clone(&self.kernel);
        let end = kernel.now().after(Time::units(duration));
        kernel.at(end, || ());
        self.drive(true, &mut || kernel.now() >= end);
    }

    fn drive(&self, jump: bool, done: &mut dyn FnMut() -> bool) -> Outcome {
        if self.kernel.is_deterministic() {
            self.carrier.run(&self.kernel, jump, done)
        } else {
            parallel::run(&self.kernel, !jump, done)
        }
    }

    /// Runs `body` on a simulated thread and gives its result; `None`, and a finding, when it never comes back.
    pub fn call<T: Send + 'static>(
        &self,
        name: &str,
        kind: ThreadKind,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let result = Arc::new(Mutex::new(None));
        let out = Arc::clone(&result);
        let id = self.kernel.spawn(name, kind, move || {
            let value = body();
            *out.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        });
        self.join(id);
        result.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Runs `body` as driver code on a system thread of its own; true when it came back.
    pub fn run_driver(&self, name: &str, body: impl FnOnce() + Send + 'static) -> bool {
        let what = name.to_owned();
        let call = move || with_current(|kernel| kernel.call_driver(&what, body));
        self.call(name, ThreadKind::System, call).is_some()
    }

    /// Runs the world until the thread has ended; false, and a finding, when it never does.
    pub fn join(&self, id: ThreadId) -> bool {
        let reached = self.run_until(|| !self.kernel.is_alive(id));
        if !reached && self.kernel.findings().is_empty() {
            self.kernel.report(Rule::Deadlock, self.waiting());
        }
        reached
    }

    /// Who waits for what, one thread per line.
    #[must_use]
    pub fn waiting(&self) -> String {
        let sched = self.kernel.sched.lock();
        let lines = sched.slots.iter().flatten().map(|slot| {
            let reason = if slot.status == Status::Blocked { slot.reason } else { "the processor" };
            format!("{} waits for {reason}", slot.state.name())
        });
        lines.collect::<Vec<_>>().join("; ")
    }

    /// What the verifier found so far.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.kernel.findings()
    }

    /// Fails the test when the verifier found anything.
    ///
    /// # Panics
    /// When there is a finding.
    pub fn assert_clean(&self) {
        self.kernel.check_memory();
        let findings = self.findings();
        assert!(findings.is_empty(), "{}", findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }

    /// The lines that drivers printed.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        self.kernel.log()
    }

    /// The most kernel stack, in bytes, that driver frames used on any thread that has ended.
    #[must_use]
    pub fn stack_high_water(&self) -> usize {
        self.kernel.stack_high_water.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The current time of the world.
    #[must_use]
    pub fn now(&self) -> Time {
        self.kernel.now()
    }

    /// Which scheduler runs this world.
    #[must_use]
    pub fn scheduler(&self) -> SchedulerKind {
        self.kernel.config.scheduler
    }

    /// Scheduling decisions made so far: every point at which another thread might have been chosen. None in a parallel world,
    /// where the host decides.
    #[must_use]
    pub fn decisions(&self) -> u64 {
        self.kernel.sched.decisions.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Switches from one thread to another so far.
    #[must_use]
    pub fn switches(&self) -> u64 {
        self.kernel.sched.switches.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.power_off();
    }
}
