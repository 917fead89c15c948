//! IRQL and waits.

use super::driver::*;
use super::{caught, clean, planted};
use vck_ntsim::abi::*;

#[test]
fn correct_use_is_clean() {
    clean(|| {
        let lock = spin_lock();
        let old = nt!(KeAcquireSpinLockRaiseToDpc(lock));
        nt!(KeReleaseSpinLock(lock, old));
        let event = event();
        nt!(KeSetEvent(event, 0, 0));
        assert_eq!(wait(event), STATUS_SUCCESS);
        dispose(event);
        dispose(lock);
    });
}

#[test]
fn polling_an_event_at_dispatch_level_is_allowed() {
    clean(|| {
        let (event, now) = (event(), relative(0));
        let old = nt!(KeRaiseIrqlToDpcLevel());
        assert_eq!(nt!(KeWaitForSingleObject(event.cast(), 0, 0, 0, now)), STATUS_TIMEOUT);
        nt!(KeLowerIrql(old));
        dispose(event);
        dispose(now);
    });
}

planted! {
    IrqlTooHigh: fn fast_mutex_at_dispatch_level(rule) {
        caught(rule, || {
            let mutex = fast_mutex();
            nt!(KeRaiseIrqlToDpcLevel());
            nt!(ExAcquireFastMutex(mutex));
        });
    }

    IrqlTooHigh: fn paged_pool_under_a_spin_lock(rule) {
        caught(rule, || {
            nt!(KeAcquireSpinLockRaiseToDpc(spin_lock()));
            nt!(ExAllocatePool2(POOL_FLAG_PAGED, 16, TAG));
        });
    }

    IrqlTooHigh: fn rust_allocation_above_dispatch_level(rule) {
        caught(rule, || {
            nt!(KfRaiseIrql(5));
            std::hint::black_box(Box::new(3_u64));
        });
    }

    IrqlTooHigh: fn random_numbers_in_a_dpc(rule) {
        caught(rule, || {
            nt!(KeRaiseIrqlToDpcLevel());
            let buffer = object::<[u8; 16]>();
            let _status = nt!(BCryptGenRandom(std::ptr::null_mut(), buffer.cast(), 16, 2));
        });
    }

    IrqlTooLow: fn dpc_level_spin_lock_at_passive_level(rule) {
        caught(rule, || nt!(KeAcquireSpinLockAtDpcLevel(spin_lock())));
    }

    IrqlTooLow: fn spin_lock_released_after_lowering_the_irql(rule) {
        caught(rule, || {
            let lock = spin_lock();
            nt!(KeAcquireSpinLockRaiseToDpc(lock));
            nt!(KeLowerIrql(0));
            nt!(KeReleaseSpinLock(lock, 0));
        });
    }

    WaitAtRaisedIrql: fn wait_for_a_signalled_event_at_dispatch_level(rule) {
        caught(rule, || {
            let event = event();
            nt!(KeSetEvent(event, 0, 0));
            nt!(KeRaiseIrqlToDpcLevel());
            wait(event);
        });
    }

    WaitAtRaisedIrql: fn timed_wait_for_several_objects_at_dispatch_level(rule) {
        caught(rule, || {
            let objects = Box::leak(Box::new([event().cast(), event().cast()]));
            let timeout = relative(10);
            nt!(KeRaiseIrqlToDpcLevel());
            let _status = nt!(KeWaitForMultipleObjects(2, objects.as_mut_ptr(), 1, 0, 0, 0, timeout, std::ptr::null_mut()));
        });
    }

    IrqlChangedOnReturn: fn callback_returns_at_raised_irql(rule) {
        caught(rule, || {
            nt!(KeRaiseIrqlToDpcLevel());
        });
    }

    IrqlChangedOnReturn: fn callback_returns_with_a_fast_mutexs_irql(rule) {
        caught(rule, || nt!(ExAcquireFastMutex(fast_mutex())));
    }

    IrqlChangedOnReturn: fn dpc_returns_at_passive_level(rule) {
        unsafe extern "C" fn routine(_: *mut KDPC, _: PVOID, _: PVOID, _: PVOID) {
            nt!(KeLowerIrql(0));
        }
        caught(rule, || {
            let dpc = object::<KDPC>();
            nt!(KeInitializeDpc(dpc, Some(routine), std::ptr::null_mut()));
            nt!(KeInsertQueueDpc(dpc, std::ptr::null_mut(), std::ptr::null_mut()));
            wait(event());
        });
    }
}
