//! Extended processor state: AVX registers and the guard around them. On a host without AVX only the guard's own rules
//! can be shown.

use super::driver::*;
use super::{caught, clean, expect, planted};
use vck_ntsim::World;
use vck_ntsim::abi::*;

const SSE: u64 = 2;
const AVX: u64 = 4;

fn watched() -> bool {
    !cfg!(feature = "asan") && std::arch::is_x86_feature_detected!("avx")
}

fn save(mask: u64) -> PXSTATE_SAVE {
    let state = object();
    assert_eq!(nt!(KeSaveExtendedProcessorState(mask, state)), STATUS_SUCCESS);
    state
}

fn restore(state: PXSTATE_SAVE) {
    nt!(KeRestoreExtendedProcessorState(state));
    dispose(state);
}

#[test]
fn inside_the_guard_registers_may_change_and_come_back() {
    if !watched() {
        return;
    }
    clean(|| {
        let pattern = upper_half();
        assert_ne!(pattern, 0);
        let outer = save(AVX);
        dirty_ymm();
        nt!(KeGetCurrentIrql());
        assert_eq!(upper_half(), u128::MAX);
        let inner = save(SSE | AVX);
        zero_upper_halves();
        restore(inner);
        assert_eq!(upper_half(), u128::MAX);
        restore(outer);
        assert_eq!(upper_half(), pattern);
    });
}

#[test]
fn copies_fills_and_comparisons_of_any_size_leave_extended_state_alone() {
    clean(|| {
        for len in (0..700).chain([4096, 100_000]) {
            let mut bytes: Vec<u8> = (0..=255).cycle().take(len + 40).collect();
            let before = bytes.clone();
            bytes.copy_within(3..3 + len, 20);
            assert!(std::hint::black_box(&bytes[20..20 + len]) == std::hint::black_box(&before[3..3 + len]), "{len}");
            assert!(bytes[..20] == before[..20] && bytes[20 + len..] == before[20 + len..], "{len}");
            bytes.copy_within(20..20 + len, 3);
            assert!(bytes[3..3 + len] == before[3..3 + len], "{len}");
            let next = bytes[7 + len];
            bytes[7..7 + len].fill(std::hint::black_box(0x5A));
            assert!(bytes[7..7 + len].iter().all(|byte| *byte == 0x5A) && bytes[7 + len] == next, "{len}");
            assert_eq!(bytes[..7 + len].cmp(&before[..7 + len]), naive(&bytes[..7 + len], &before[..7 + len]), "{len}");
        }
    });
}

fn naive(left: &[u8], right: &[u8]) -> std::cmp::Ordering {
    let first = left.iter().zip(right).find(|(one, other)| one != other);
    first.map_or(std::cmp::Ordering::Equal, |(one, other)| one.cmp(other))
}

#[test]
fn features_are_those_of_the_world_and_a_save_can_fail() {
    let world = World::builder().configure(|config| config.extended_features = 3).build();
    assert!(world.run_driver("features", || assert_eq!(nt!(RtlGetEnabledExtendedFeatures(u64::MAX)), 3)));
    world.assert_clean();
    if !watched() {
        return;
    }
    let world = World::boot(1);
    world.fail_allocation(2);
    assert!(world.run_driver("low memory", || {
        let state = object::<XSTATE_SAVE>();
        assert_eq!(nt!(KeSaveExtendedProcessorState(AVX, state)), STATUS_INSUFFICIENT_RESOURCES);
        dispose(state);
    }));
    world.assert_clean();
}

unsafe extern "C" fn restorer(context: PVOID) {
    nt!(KeRestoreExtendedProcessorState(context.cast()));
}

planted! {
    SimdGuard: fn restored_at_another_irql(rule) {
        caught(rule, || {
            let state = save(SSE);
            nt!(KeRaiseIrqlToDpcLevel());
            nt!(KeRestoreExtendedProcessorState(state));
        });
    }

    SimdGuard: fn never_restored(rule) {
        caught(rule, || {
            save(SSE);
        });
    }

    SimdGuard: fn restored_on_another_thread(rule) {
        caught(rule, || {
            thread(restorer, save(SSE).cast());
            while nt!(KeGetCurrentIrql()) == 0 {}
        });
    }

    SimdGuard: fn restored_out_of_order(rule) {
        caught(rule, || {
            let outer = save(SSE);
            save(SSE);
            restore(outer);
        });
    }

    SimdGuard: fn saved_with_a_feature_that_is_off(rule) {
        caught(rule, || {
            let _status = nt!(KeSaveExtendedProcessorState(1 << 62, object()));
        });
        let world = World::builder().configure(|config| config.extended_features = 3).build();
        world.run_driver("saves AVX", || {
            let _status = nt!(KeSaveExtendedProcessorState(AVX, object()));
        });
        expect(&world, rule);
    }

    SimdGuard: fn irql_raised_inside(rule) {
        caught(rule, || {
            save(SSE);
            nt!(KeRaiseIrqlToDpcLevel());
        });
    }

    SimdGuard: fn waited_inside(rule) {
        caught(rule, || {
            let event = event();
            nt!(KeSetEvent(event, 0, 0));
            save(SSE);
            wait(event);
        });
    }

    SimdGuard: fn ymm_changed_without_a_guard(rule) {
        if watched() {
            caught(rule, dirty_ymm);
        }
    }

    SimdGuard: fn upper_halves_cleared_without_a_guard(rule) {
        if watched() {
            caught(rule, || {
                zero_upper_halves();
                nt!(KeGetCurrentIrql());
            });
        }
    }

    SimdGuard: fn ymm_changed_after_the_guard(rule) {
        if watched() {
            caught(rule, || {
                restore(save(AVX));
                dirty_ymm();
                drop(std::hint::black_box(Box::new(1)));
            });
        }
    }

    SimdGuard: fn ymm_changed_under_a_guard_for_sse(rule) {
        if watched() {
            caught(rule, || {
                let state = save(SSE);
                dirty_ymm();
                restore(state);
            });
        }
    }
}
