//! What a request on the plain side takes of shared things: allocations of a run, and the interlocked operations of the protocols that it
//! goes through, counted by running them over atomics that count.

use std::sync::atomic::{AtomicU64, Ordering};

use vck_common::{DataExtent, DataSector, SectorCount, SectorSize};
use vck_ntsim::SchedulerKind;
use vck_ntsim::storage::Timing;
use vck_windrv::sync::{Access, AtomicWord, Atomics, Epochs, RangeGate};

use crate::raw::{Load, Pattern, run};
use crate::stack::{Machine, Setup, Stack};
use crate::table::{Row, Verdict};

/// Operations that lock a cache line. Of this measurement alone, which runs once.
static INTERLOCKED: AtomicU64 = AtomicU64::new(0);

struct Counted(AtomicU64);

fn count() {
    INTERLOCKED.fetch_add(1, Ordering::Relaxed);
}

impl AtomicWord for Counted {
    fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
    }

    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        count();
        self.0.fetch_add(value, order)
    }

    fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
        count();
        self.0.fetch_sub(value, order)
    }

    fn compare_exchange_weak(&self, current: u64, new: u64, done: Ordering, failed: Ordering) -> Result<u64, u64> {
        count();
        self.0.compare_exchange_weak(current, new, done, failed)
    }
}

enum Counting {}

impl Atomics for Counting {
    type Word = Counted;
}

/// Interlocked operations of one request within one bucket: mode entered and left, gate entered and left.
fn interlocked() -> u64 {
    let epochs = Epochs::<Counting>::new();
    let gate = RangeGate::<Counting>::new(SectorSize::S512, DataSector::ZERO).expect("memory");
    let extent = DataExtent::new(DataSector::new(64), SectorCount::new(8));
    INTERLOCKED.store(0, Ordering::Relaxed);
    let ticket = epochs.enter(0);
    gate.enter(extent, Access::Read).expect("open");
    let _ = gate.leave(extent);
    let _ = epochs.exit(ticket);
    INTERLOCKED.load(Ordering::Relaxed)
}

/// Allocations of the driver and of the kernel on its behalf, for so many requests more than for one run.
fn allocations(write: bool) -> u64 {
    let (scheduler, timing) = (SchedulerKind::Deterministic, Timing::immediate());
    let setup = Setup { stack: Stack::Plain, scheduler, timing, data_bytes: 4 << 20, processors: 4 };
    let machine = Machine::boot(setup);
    let made = |count: u64| {
        let before = machine.world.allocations_made();
        let pattern = Pattern::Random(1);
        let load = Load { write, block: 4096, depth: 8, count, from: 0, span: 4 << 20, pattern };
        assert_eq!(run(&machine.world, &machine.path(), load).failed, 0);
        machine.world.allocations_made() - before
    };
    let few = made(16);
    made(1016) - few
}

/// The rows of this measurement.
pub(crate) fn rows() -> Vec<Row> {
    let allocated = allocations(false) + allocations(true);
    let interlocked = interlocked();
    vec![
        Row::new(
            "plain side: allocations of 2000 requests",
            allocated.to_string(),
            String::new(),
            "0",
            Verdict::of(allocated == 0),
        ),
        Row::new(
            "plain side: interlocked operations of a request",
            interlocked.to_string(),
            String::new(),
            "<= 4 besides the remove lock's",
            Verdict::of(interlocked <= 4),
        ),
    ]
}
