//! Locks.

use super::driver::*;
use super::{caught, clean, expect, planted};
use vck_ntsim::World;
use vck_ntsim::abi::*;

#[test]
fn nested_locks_in_one_order_are_clean() {
    clean(|| {
        let (first, second) = (fast_mutex(), spin_lock());
        for _ in 0..3 {
            nt!(ExAcquireFastMutex(first));
            let old = nt!(KeAcquireSpinLockRaiseToDpc(second));
            nt!(KeReleaseSpinLock(second, old));
            nt!(ExReleaseFastMutex(first));
        }
        dispose(first);
        dispose(second);
    });
}

fn remove_lock() -> *mut IO_REMOVE_LOCK {
    let lock = object();
    nt!(IoInitializeRemoveLockEx(lock, TAG, 0, 0, 0x20));
    lock
}

fn tag(number: usize) -> PVOID {
    std::ptr::without_provenance_mut(number)
}

fn acquire(lock: *mut IO_REMOVE_LOCK, number: usize) -> NTSTATUS {
    nt!(IoAcquireRemoveLockEx(lock, tag(number), std::ptr::null(), 0, 0x20))
}

#[test]
fn remove_lock_in_order_is_clean() {
    clean(|| {
        let lock = remove_lock();
        assert_eq!(acquire(lock, 1), STATUS_SUCCESS);
        assert_eq!(acquire(lock, 2), STATUS_SUCCESS);
        nt!(IoReleaseRemoveLockEx(lock, tag(2), 0x20));
        nt!(IoReleaseRemoveLockAndWaitEx(lock, tag(1), 0x20));
        assert_eq!(acquire(lock, 3), STATUS_DELETE_PENDING);
        dispose(lock);
    });
}

#[test]
fn a_critical_region_is_for_waits_locks_and_requests() {
    clean(|| {
        let (event, mutex, lock, fast) = (event(), object::<KMUTEX>(), spin_lock(), fast_mutex());
        nt!(KeInitializeMutex(mutex, 0));
        nt!(KeSetEvent(event, 0, 0));
        nt!(KeEnterCriticalRegion());
        assert_eq!(wait(event), STATUS_SUCCESS);
        assert_eq!(wait(mutex), STATUS_SUCCESS);
        nt!(KeReleaseMutex(mutex, 0));
        let old = nt!(KeAcquireSpinLockRaiseToDpc(lock));
        nt!(KeReleaseSpinLock(lock, old));
        nt!(ExAcquireFastMutex(fast));
        nt!(ExReleaseFastMutex(fast));
        nt!(KeLeaveCriticalRegion());
        vck_ntsim::verifier::pageable_code("a provider");
        // A region that belongs to a lock is no closed gate.
        assert_eq!(wait(mutex), STATUS_SUCCESS);
        drop(std::hint::black_box(Box::new(1)));
        nt!(KeReleaseMutex(mutex, 0));
        dispose(event);
        dispose(mutex);
        dispose(lock);
        dispose(fast);
    });
}

#[test]
fn a_lenient_world_lets_a_critical_region_allocate() {
    let world = World::builder().strict_critical_regions(false).build();
    assert!(world.run_driver("lenient", || {
        nt!(KeEnterCriticalRegion());
        drop(std::hint::black_box(Box::new(1)));
        nt!(KeLeaveCriticalRegion());
    }));
    world.assert_clean();
}

planted! {
    PageableInRegion: fn rust_allocation_in_a_critical_region(rule) {
        caught(rule, || {
            nt!(KeEnterCriticalRegion());
            drop(std::hint::black_box(Box::new(1)));
        });
    }

    PageableInRegion: fn rust_value_dropped_in_a_critical_region(rule) {
        caught(rule, || {
            let value = std::hint::black_box(Box::new(1));
            nt!(KeEnterCriticalRegion());
            drop(value);
        });
    }

    PageableInRegion: fn random_numbers_in_a_critical_region(rule) {
        caught(rule, || {
            let buffer = object::<[u8; 16]>();
            nt!(KeEnterCriticalRegion());
            let _status = nt!(BCryptGenRandom(std::ptr::null_mut(), buffer.cast(), 16, 2));
        });
    }

    PageableInRegion: fn thread_made_in_a_critical_region(rule) {
        unsafe extern "C" fn nothing(_: PVOID) {}
        caught(rule, || {
            nt!(KeEnterCriticalRegion());
            thread(nothing, std::ptr::null_mut());
        });
    }

    PageableInRegion: fn provider_called_in_a_critical_region(rule) {
        caught(rule, || {
            nt!(KeEnterCriticalRegion());
            vck_ntsim::verifier::pageable_code("a provider");
        });
    }

    LockRecursion: fn spin_lock_taken_twice(rule) {
        caught(rule, || {
            let lock = spin_lock();
            nt!(KeAcquireSpinLockRaiseToDpc(lock));
            nt!(KeAcquireSpinLockAtDpcLevel(lock));
        });
    }

    LockRecursion: fn fast_mutex_taken_twice(rule) {
        caught(rule, || {
            let mutex = fast_mutex();
            nt!(ExAcquireFastMutex(mutex));
            nt!(ExAcquireFastMutex(mutex));
        });
    }

    LockOrder: fn two_fast_mutexes_in_both_orders(rule) {
        caught(rule, || {
            let (a, b) = (fast_mutex(), fast_mutex());
            for (first, second) in [(a, b), (b, a)] {
                nt!(ExAcquireFastMutex(first));
                nt!(ExAcquireFastMutex(second));
                nt!(ExReleaseFastMutex(second));
                nt!(ExReleaseFastMutex(first));
            }
        });
    }

    LockOrder: fn three_spin_locks_in_a_ring(rule) {
        caught(rule, || {
            let (a, b, c) = (spin_lock(), spin_lock(), spin_lock());
            for (first, second) in [(a, b), (b, c), (c, a)] {
                let old = nt!(KeAcquireSpinLockRaiseToDpc(first));
                nt!(KeAcquireSpinLockAtDpcLevel(second));
                nt!(KeReleaseSpinLockFromDpcLevel(second));
                nt!(KeReleaseSpinLock(first, old));
            }
        });
    }

    LockNotHeld: fn mutex_released_that_is_not_owned(rule) {
        caught(rule, || {
            let mutex = object::<KMUTEX>();
            nt!(KeInitializeMutex(mutex, 0));
            nt!(KeReleaseMutex(mutex, 0));
        });
    }

    LockNotHeld: fn critical_region_left_twice(rule) {
        caught(rule, || {
            nt!(KeEnterCriticalRegion());
            nt!(KeLeaveCriticalRegion());
            nt!(KeLeaveCriticalRegion());
        });
    }

    LockLeaked: fn callback_returns_inside_a_critical_region(rule) {
        caught(rule, || nt!(KeEnterCriticalRegion()));
    }

    LockLeaked: fn callback_returns_with_a_mutex(rule) {
        caught(rule, || {
            let mutex = object::<KMUTEX>();
            nt!(KeInitializeMutex(mutex, 0));
            wait(mutex);
        });
    }

    NoCriticalRegion: fn fast_mutex_without_a_critical_region(rule) {
        caught(rule, || nt!(ExAcquireFastMutexUnsafe(fast_mutex())));
    }

    NoCriticalRegion: fn fast_mutex_after_the_critical_region(rule) {
        caught(rule, || {
            let mutex = fast_mutex();
            nt!(KeEnterCriticalRegion());
            nt!(ExAcquireFastMutexUnsafe(mutex));
            nt!(ExReleaseFastMutexUnsafe(mutex));
            nt!(KeLeaveCriticalRegion());
            nt!(ExAcquireFastMutexUnsafe(mutex));
        });
    }

    Uninitialized: fn event_never_initialised(rule) {
        caught(rule, || {
            nt!(KeSetEvent(object(), 0, 0));
        });
    }

    Uninitialized: fn remove_lock_never_initialised(rule) {
        caught(rule, || {
            let _status = nt!(IoAcquireRemoveLockEx(object(), std::ptr::null_mut(), std::ptr::null(), 0, 0x20));
        });
    }

    Uninitialized: fn dpc_never_initialised(rule) {
        caught(rule, || {
            nt!(KeInsertQueueDpc(object(), std::ptr::null_mut(), std::ptr::null_mut()));
        });
    }

    RemoveLock: fn remove_lock_released_with_another_tag(rule) {
        caught(rule, || {
            let lock = remove_lock();
            acquire(lock, 1);
            nt!(IoReleaseRemoveLockEx(lock, tag(2), 0x20));
        });
    }

    RemoveLock: fn remove_lock_released_twice(rule) {
        caught(rule, || {
            let lock = remove_lock();
            acquire(lock, 1);
            nt!(IoReleaseRemoveLockEx(lock, tag(1), 0x20));
            nt!(IoReleaseRemoveLockEx(lock, tag(1), 0x20));
        });
    }

    RemoveLockRetired: fn remove_lock_initialised_again(rule) {
        caught(rule, || {
            let lock = remove_lock();
            acquire(lock, 1);
            nt!(IoReleaseRemoveLockAndWaitEx(lock, tag(1), 0x20));
            nt!(IoInitializeRemoveLockEx(lock, TAG, 0, 0, 0x20));
        });
    }

    RemoveLockRetired: fn remove_lock_waited_for_twice(rule) {
        caught(rule, || {
            let lock = remove_lock();
            acquire(lock, 1);
            nt!(IoReleaseRemoveLockAndWaitEx(lock, tag(1), 0x20));
            nt!(IoReleaseRemoveLockAndWaitEx(lock, tag(1), 0x20));
        });
    }

    Deadlock: fn waiting_for_what_nobody_signals(rule) {
        caught(rule, || {
            wait(event());
        });
    }

    Deadlock: fn waiting_for_a_remove_lock_that_is_never_released(rule) {
        caught(rule, || {
            let lock = remove_lock();
            acquire(lock, 1);
            acquire(lock, 2);
            nt!(IoReleaseRemoveLockAndWaitEx(lock, tag(1), 0x20));
        });
    }

    Livelock: fn polling_for_ever(rule) {
        for set in [false, true] {
            let world = World::builder().seed(3).configure(|config| config.livelock_limit = 10_000).build();
            world.run_driver("poller", move || {
                let event = event();
                while nt!(KeReadStateEvent(event)) == 0 {
                    if set {
                        let _status = nt!(KeDelayExecutionThread(0, 0, relative(10)));
                    }
                }
            });
            expect(&world, rule);
        }
    }
}
