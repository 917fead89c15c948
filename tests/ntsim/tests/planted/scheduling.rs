//! The schedulers: determinism, virtual time, processors, two worlds at once, both kinds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::driver::*;
use vck_ntsim::abi::*;
use vck_ntsim::{SchedulerKind, ThreadKind, World};

/// Three threads that append their number to a trace between calls into the kernel.
fn trace(seed: u64) -> (Vec<u64>, u64, u64) {
    let world = World::boot(seed);
    let trace = Arc::new(Mutex::new(Vec::new()));
    let ids: Vec<_> = (0..3_u64)
        .map(|number| {
            let trace = Arc::clone(&trace);
            world.kernel().spawn("tracer", ThreadKind::System, move || {
                for _ in 0..50 {
                    trace.lock().unwrap().push(number);
                    let _status = nt!(KeDelayExecutionThread(0, 0, &mut LARGE_INTEGER { QuadPart: -3 }));
                    let _random = vck_ntsim::current().cng().next_u64();
                }
            })
        })
        .collect();
    for id in ids {
        assert!(world.join(id));
    }
    world.assert_clean();
    let steps = trace.lock().unwrap().clone();
    (steps, world.decisions(), world.now().0)
}

#[test]
fn same_seed_same_run_other_seed_other_run() {
    assert_eq!(trace(11), trace(11));
    assert_ne!(trace(11).0, trace(12).0);
}

#[test]
fn virtual_time_jumps_when_everyone_waits() {
    let world = World::boot(1);
    let start = Instant::now();
    assert!(world.run_driver("sleeper", || {
        let hour = relative(36_000_000_000);
        let _status = nt!(KeDelayExecutionThread(0, 0, hour));
        dispose(hour);
    }));
    assert!(world.now().0 >= 36_000_000_000);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_wait_that_is_satisfied_leaves_no_timer_behind() {
    let world = World::boot(1);
    assert!(world.run_driver("waiter", || {
        let (event, long) = (event(), relative(1 << 40));
        nt!(KeSetEvent(event, 0, 0));
        assert_eq!(nt!(KeWaitForSingleObject(event.cast(), 0, 0, 0, long)), STATUS_SUCCESS);
        dispose(event);
        dispose(long);
    }));
    assert!(!world.run_until(|| false));
    assert!(world.now().0 < 1 << 20);
}

#[test]
fn timers_and_dpcs_come_in_order_of_time() {
    unsafe extern "C" fn record(_: *mut KDPC, context: PVOID, _: PVOID, _: PVOID) {
        assert_eq!(nt!(KeGetCurrentIrql()), 2);
        nt!(KeSetEvent(context.cast(), 0, 0));
    }
    let world = World::boot(9);
    assert!(world.run_driver("timers", || {
        let (event, timer, dpc) = (event(), object::<KTIMER>(), object::<KDPC>());
        nt!(KeInitializeTimer(timer));
        nt!(KeInitializeDpc(dpc, Some(record), event.cast()));
        nt!(KeSetTimer(timer, LARGE_INTEGER { QuadPart: -5000 }, dpc));
        assert_eq!(wait(event), STATUS_SUCCESS);
        assert_eq!(nt!(KeReadStateTimer(timer)), 1);
        assert_eq!(nt!(KeCancelTimer(timer)), 0);
        dispose(timer);
        dispose(event);
        dispose(dpc);
    }));
    assert!(world.now().0 >= 5000);
    world.assert_clean();
}

#[test]
fn one_processor_is_not_taken_from_a_thread_at_dispatch_level() {
    let world = World::builder().seed(5).processors(1).configure(|config| config.preemption = 255).build();
    let inside = Arc::new(AtomicU64::new(0));
    let ids: Vec<_> = (0..4)
        .map(|_| {
            let inside = Arc::clone(&inside);
            world.kernel().spawn("raiser", ThreadKind::System, move || {
                for _ in 0..20 {
                    let old = nt!(KeRaiseIrqlToDpcLevel());
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    for _ in 0..5 {
                        nt!(KeGetCurrentIrql());
                    }
                    inside.fetch_sub(1, Ordering::SeqCst);
                    nt!(KeLowerIrql(old));
                }
            })
        })
        .collect();
    for id in ids {
        assert!(world.join(id), "{:?}", world.findings());
    }
}

/// Four threads that count under a spin lock, then under a mutex, and hand over through a semaphore.
fn contend(world: &World) {
    assert!(world.run_driver("parent", || {
        let shared = object::<Shared>();
        let fields = Fields::of(shared);
        nt!(KeInitializeSpinLock(fields.spin));
        nt!(KeInitializeMutex(fields.mutex, 0));
        nt!(KeInitializeSemaphore(fields.done, 0, 4));
        for _ in 0..4 {
            thread(counter, shared.cast());
        }
        for _ in 0..4 {
            assert_eq!(wait(fields.done), STATUS_SUCCESS);
        }
        assert_eq!(copy(fields.count), 4 * 2 * 200);
        dispose(shared);
    }));
    world.assert_clean();
}

#[derive(Default)]
struct Shared {
    spin: KSPIN_LOCK,
    mutex: KMUTEX,
    done: KSEMAPHORE,
    count: u64,
}

struct Fields {
    spin: *mut KSPIN_LOCK,
    mutex: *mut KMUTEX,
    done: *mut KSEMAPHORE,
    count: *mut u64,
}

impl Fields {
    fn of(shared: *mut Shared) -> Self {
        let at = |offset| shared.cast::<u8>().wrapping_add(offset);
        Self {
            spin: at(std::mem::offset_of!(Shared, spin)).cast(),
            mutex: at(std::mem::offset_of!(Shared, mutex)).cast(),
            done: at(std::mem::offset_of!(Shared, done)).cast(),
            count: at(std::mem::offset_of!(Shared, count)).cast(),
        }
    }

    /// Not atomic, with a call into the kernel in the middle: only a lock makes it count right.
    fn increment(&self) {
        let before = copy(self.count);
        nt!(KeGetCurrentIrql());
        store(self.count, before + 1);
    }
}

unsafe extern "C" fn counter(context: PVOID) {
    let fields = Fields::of(context.cast());
    for _ in 0..200 {
        wait(fields.mutex);
        let old = nt!(KeAcquireSpinLockRaiseToDpc(fields.spin));
        fields.increment();
        nt!(KeReleaseSpinLock(fields.spin, old));
        nt!(KeReleaseMutex(fields.mutex, 0));
        let old = nt!(KeAcquireSpinLockRaiseToDpc(fields.spin));
        fields.increment();
        nt!(KeReleaseSpinLock(fields.spin, old));
    }
    nt!(KeReleaseSemaphore(fields.done, 0, 1, 0));
}

#[test]
fn locks_exclude_under_the_deterministic_scheduler() {
    for seed in 0..20 {
        contend(&World::boot(seed));
    }
}

#[test]
fn locks_exclude_under_the_parallel_scheduler() {
    for seed in 0..3 {
        contend(&World::builder().seed(seed).scheduler(SchedulerKind::Parallel).build());
    }
}

#[test]
fn time_is_real_under_the_parallel_scheduler() {
    let world = World::builder().scheduler(SchedulerKind::Parallel).build();
    let start = Instant::now();
    assert!(world.run_driver("sleeper", || {
        let time = relative(200_000);
        let _status = nt!(KeDelayExecutionThread(0, 0, time));
        dispose(time);
    }));
    assert!(start.elapsed() >= Duration::from_millis(20));
}

#[test]
fn two_worlds_at_once_on_one_thread_and_on_two() {
    let (first, second) = (World::boot(1), World::boot(1));
    for world in [&first, &second] {
        world.kernel().spawn("sleeper", ThreadKind::System, || {
            let _status = nt!(KeDelayExecutionThread(0, 0, &mut LARGE_INTEGER { QuadPart: -100 }));
        });
    }
    first.run_idle();
    assert_eq!((first.now().0 < 100, second.now().0), (true, 0));
    second.run_idle();
    first.run_until(|| false);
    second.run_until(|| false);
    assert_eq!((first.decisions(), first.now()), (second.decisions(), second.now()));
    let other = std::thread::spawn(|| trace(3));
    let here = trace(3);
    assert_eq!(other.join().unwrap(), here);
}

#[test]
fn a_power_cut_gives_all_driver_memory_back() {
    let world = World::boot(1);
    world.kernel().spawn("cut", ThreadKind::System, || {
        vck_ntsim::current().call_driver("cut", || {
            pool(100);
            wait(event());
        });
    });
    world.run_idle();
    assert!(world.pool_blocks() >= 2);
    let kernel = world.kernel();
    drop(world);
    assert!(kernel.leaks().is_empty());
}
