//! Pool and the driver's Rust allocations.

use super::driver::*;
use super::{caught, clean, expect, planted};
use vck_ntsim::abi::*;
use vck_ntsim::{MemoryKind, World};

const SECRET: &[u8] = b"sixteen byte key plus sixteen mo";

#[test]
fn pool_is_zeroed_and_counted() {
    let world = World::boot(1);
    assert!(world.run_driver("pool", || {
        let block = pool(100);
        assert_eq!(peek(block, 99), 0);
        nt!(ExFreePoolWithTag(block, TAG));
        std::mem::forget(vec![1_u8; 10]);
    }));
    assert_eq!((world.pool_blocks(), world.pool_bytes(), world.live(MemoryKind::Rust)), (1, 10, 1));
}

#[test]
fn chosen_allocations_fail_one_by_one() {
    for k in 1..=3_u64 {
        let world = World::boot(1);
        world.fail_allocation(k);
        assert!(world.run_driver("low memory", move || {
            let blocks = [pool(16), pool(16), pool(16)];
            for (number, block) in (1..).zip(blocks) {
                assert_eq!(block.is_null(), number == k);
                if !block.is_null() {
                    nt!(ExFreePoolWithTag(block, TAG));
                }
            }
        }));
        world.kernel().check_unloaded();
        world.assert_clean();
        assert_eq!(world.allocations_made(), 3);
    }
}

#[test]
fn rust_allocations_can_fail_too() {
    let world = World::boot(1);
    world.fail_allocation(1);
    assert!(world.run_driver("low memory", || {
        let mut vector: Vec<u8> = Vec::new();
        assert!(vector.try_reserve_exact(8).is_err());
        assert!(vector.try_reserve_exact(8).is_ok());
    }));
    world.assert_clean();
}

#[test]
fn balanced_memory_is_clean() {
    clean(|| {
        let block = pool(5000);
        assert_eq!(block.addr() % 4096, 0);
        nt!(ExFreePoolWithTag(block, TAG));
    });
}

/// Uses a secret in a frame that is gone when the thread ends.
unsafe extern "C" fn careless(_: PVOID) {
    use_secret();
    let _status = nt!(PsTerminateSystemThread(0));
}

#[inline(never)]
fn use_secret() {
    // Many copies: ending the thread takes frames of its own in the same place.
    let mut copies = [[0; SECRET.len()]; 256];
    for copy in &mut copies {
        copy.copy_from_slice(SECRET);
    }
    std::hint::black_box(&mut copies);
}

planted! {
    PoolExecutable: fn executable_pool(rule) {
        caught(rule, || {
            nt!(ExAllocatePool2(POOL_FLAG_NON_PAGED_EXECUTE, 16, TAG));
        });
    }

    PoolExecutable: fn executable_mapping(rule) {
        caught(rule, || {
            let mdl = super::mdl::locked(object::<[u64; 8]>().cast(), 64);
            nt!(MmMapLockedPagesSpecifyCache(mdl, 0, 1, std::ptr::null_mut(), 0, 16));
        });
    }

    PoolUntagged: fn untagged_pool(rule) {
        for tag in [0, 0x0102_0304] {
            caught(rule, move || {
                nt!(ExAllocatePool2(POOL_FLAG_NON_PAGED, 16, tag));
            });
        }
    }

    PoolZeroSize: fn empty_pool(rule) {
        for flags in [POOL_FLAG_NON_PAGED, POOL_FLAG_PAGED | POOL_FLAG_UNINITIALIZED] {
            caught(rule, move || {
                nt!(ExAllocatePool2(flags, 0, TAG));
            });
        }
    }

    PoolFlags: fn pool_flags_that_name_no_pool_or_two_or_raise(rule) {
        for flags in [0, POOL_FLAG_NON_PAGED | POOL_FLAG_PAGED, POOL_FLAG_NON_PAGED | POOL_FLAG_RAISE_ON_FAILURE] {
            caught(rule, move || {
                nt!(ExAllocatePool2(flags, 16, TAG));
            });
        }
    }

    PoolBadFree: fn pool_freed_twice(rule) {
        caught(rule, || {
            let block = pool(16);
            nt!(ExFreePoolWithTag(block, TAG));
            nt!(ExFreePool(block));
        });
    }

    PoolBadFree: fn pool_freed_with_another_tag(rule) {
        caught(rule, || nt!(ExFreePoolWithTag(pool(16), TAG + 1)));
    }

    #[cfg_attr(feature = "asan", ignore = "AddressSanitizer stops this bug itself")]
    UseAfterFree: fn pool_written_after_it_was_freed(rule) {
        let world = World::boot(1);
        world.run_driver("use after free", || {
            let block = pool(64);
            nt!(ExFreePoolWithTag(block, TAG));
            poke(block, 8, 1);
        });
        world.kernel().check_memory();
        expect(&world, rule);
    }

    #[cfg_attr(feature = "asan", ignore = "AddressSanitizer stops this bug itself")]
    UseAfterFree: fn box_written_after_it_was_dropped(rule) {
        caught(rule, || {
            let value = object::<[u64; 8]>();
            dispose(value);
            poke(value.cast(), 0, 7);
            for _ in 0..2000 {
                nt!(ExFreePoolWithTag(pool(16), TAG));
            }
        });
    }

    PoolOverrun: fn pool_written_past_its_end(rule) {
        caught(rule, || {
            let block = pool(20);
            poke(block, 20, 0);
            nt!(ExFreePoolWithTag(block, TAG));
        });
    }

    PoolOverrun: fn box_written_past_its_end(rule) {
        let world = World::boot(1);
        world.run_driver("overrun", || poke(object::<[u8; 30]>().cast(), 31, 0));
        world.kernel().check_memory();
        expect(&world, rule);
    }

    SecretLeft: fn secret_in_freed_pool(rule) {
        let world = World::boot(1);
        world.watch_secret(SECRET);
        world.run_driver("secret", || {
            let block = pool(100);
            for (at, &byte) in SECRET.iter().enumerate() {
                poke(block, 33 + at, byte);
            }
            nt!(ExFreePoolWithTag(block, TAG));
        });
        expect(&world, rule);
    }

    SecretLeft: fn secret_in_a_dropped_vector(rule) {
        let world = World::boot(1);
        world.watch_secret(SECRET);
        world.run_driver("secret", || drop(std::hint::black_box(SECRET.to_vec())));
        expect(&world, rule);
    }

    #[cfg_attr(feature = "asan", ignore = "stacks are not looked at under AddressSanitizer")]
    SecretLeft: fn secret_on_the_stack_of_a_thread_that_ended(rule) {
        let world = World::boot(1);
        world.watch_secret(SECRET);
        world.run_driver("secret", || {
            thread(careless, std::ptr::null_mut());
        });
        world.run_until(|| world.waiting().is_empty());
        expect(&world, rule);
    }

    ResourceLeak: fn pool_left_behind_at_unload(rule) {
        let world = World::boot(1);
        assert!(world.run_driver("leak", || {
            pool(16);
        }));
        world.kernel().check_unloaded();
        expect(&world, rule);
        assert!(world.leak_report()[0].contains("'Test' of 16 bytes"), "{:?}", world.leak_report());
    }

    ResourceLeak: fn mdl_left_behind_at_unload(rule) {
        let world = World::boot(1);
        assert!(world.run_driver("leak", || {
            super::mdl::plain(std::ptr::without_provenance_mut(0x1000), 16);
        }));
        world.kernel().check_unloaded();
        expect(&world, rule);
    }

    ResourceLeak: fn timer_freed_while_it_is_set(rule) {
        caught(rule, || {
            let timer = object::<KTIMER>();
            nt!(KeInitializeTimer(timer));
            nt!(KeSetTimer(timer, LARGE_INTEGER { QuadPart: -1000 }, std::ptr::null_mut()));
            dispose(timer);
        });
    }
}
