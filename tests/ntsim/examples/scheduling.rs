//! Prints how many scheduling decisions per second the deterministic scheduler makes on one core.
//!
//! A decision is a point at which another simulated thread may get the processor: every call into the simulator. The
//! second line counts only those at which one did.

use std::time::Instant;

use vck_ntsim::abi::{KEVENT, KeGetCurrentIrql, KeInitializeEvent, KeSetEvent};
use vck_ntsim::{ThreadKind, World};

const THREADS: usize = 8;
const CALLS: u64 = 1_000_000;

fn main() {
    run("calls that do nothing", |_| {
        // SAFETY: has no preconditions.
        let _irql = unsafe { KeGetCurrentIrql() };
    });
    run("KeSetEvent", |event| {
        // SAFETY: the event was initialised by this thread and is its own.
        unsafe { KeSetEvent(event, 0, 0) };
    });
}

fn run(name: &str, call: fn(*mut KEVENT)) {
    let world = World::boot(1);
    let kernel = world.kernel();
    let ids: Vec<_> = (0..THREADS)
        .map(|number| kernel.spawn(&format!("spinner {number}"), ThreadKind::System, move || spin(call)))
        .collect();
    let start = Instant::now();
    for id in ids {
        assert!(world.join(id), "{:?}", world.findings());
    }
    let seconds = start.elapsed().as_secs_f64();
    report(name, world.decisions(), seconds);
    report("  of them switches", world.switches(), seconds);
}

fn spin(call: fn(*mut KEVENT)) {
    let mut event = KEVENT::default();
    // SAFETY: the event is a local of this thread and outlives its use.
    unsafe { KeInitializeEvent(&raw mut event, 0, 0) };
    for _ in 0..CALLS {
        call(&raw mut event);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
fn report(name: &str, count: u64, seconds: f64) {
    println!("{name}: {count} in {seconds:.3} s, {:.2} million/s", count as f64 / seconds / 1e6);
}
