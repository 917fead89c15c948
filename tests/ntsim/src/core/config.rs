//! What a world is made of: the builder's choices.

/// How simulated threads run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchedulerKind {
    /// Coroutines on the host's thread, virtual time, every decision drawn from the seed.
    Deterministic,
    /// Operating-system threads, real time.
    Parallel,
}

/// The choices of a [`WorldBuilder`](crate::WorldBuilder).
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent choices, each on or off")]
pub struct Config {
    /// Seed of every random stream.
    pub seed: u64,
    /// Which scheduler.
    pub scheduler: SchedulerKind,
    /// Processors of the machine.
    pub processors: u32,
    /// Chance, in 1/256, that a call into the simulator hands the processor to another thread.
    pub preemption: u8,
    /// Virtual time that one scheduling decision takes, in units of 100 ns.
    pub tick: u64,
    /// Bytes of a kernel stack.
    pub kernel_stack: usize,
    /// Bytes of kernel stack left when a dispatch routine at the top of a device stack is entered.
    pub dispatch_headroom: Option<usize>,
    /// Bytes of kernel stack that the drivers below use.
    pub lower_stack_use: usize,
    /// Dispatch routines may be entered above `PASSIVE_LEVEL` where the contract allows it.
    pub hostile_irql: bool,
    /// Every lower driver pends every IRP.
    pub force_pending: bool,
    /// IRPs, MDLs, devices and requests' buffers have pages of their own, inaccessible while the driver does not own
    /// them. Slower; for tests of ownership.
    pub page_heap: bool,
    /// Extended processor state (AVX, AVX-512) is watched: a change outside `KeSaveExtendedProcessorState` is a finding.
    /// Costs about 0.2 microseconds per call into the simulator; measurements of real time do without.
    pub watch_extended_state: bool,
    /// Inside a critical region that the driver enters itself nothing is allocated, and nothing pageable or foreign runs.
    pub strict_critical_regions: bool,
    /// Mask of the extended processor features that the operating system has enabled; those that the host lacks stay
    /// off.
    pub extended_features: u64,
    /// One in this many system mappings fails; zero for never.
    pub mapping_failure_rate: u32,
    /// Decisions without reaching the host's goal after which the world counts as livelocked.
    pub livelock_limit: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            scheduler: SchedulerKind::Deterministic,
            processors: 4,
            preemption: 64,
            tick: 1,
            kernel_stack: 24 << 10,
            dispatch_headroom: None,
            lower_stack_use: 4 << 10,
            hostile_irql: false,
            force_pending: false,
            page_heap: false,
            watch_extended_state: true,
            strict_critical_regions: true,
            extended_features: u64::MAX,
            mapping_failure_rate: 0,
            livelock_limit: 200_000_000,
        }
    }
}
