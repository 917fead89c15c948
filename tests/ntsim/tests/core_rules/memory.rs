//! Pool and the driver's Rust allocations.

use super::driver::*;
use super::{caught, clean, expect};
use vck_ntsim::abi::*;
use vck_ntsim::{MemoryKind, Rule, World};

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
fn executable_pool() {
    caught(Rule::PoolExecutable, || {
        nt!(ExAllocatePool2(POOL_FLAG_NON_PAGED_EXECUTE, 16, TAG));
    });
}

#[test]
fn executable_mapping() {
    caught(Rule::PoolExecutable, || {
        let mdl = super::mdl::locked(object::<[u64; 8]>().cast(), 64);
        nt!(MmMapLockedPagesSpecifyCache(mdl, 0, 1, std::ptr::null_mut(), 0, 16));
    });
}

#[test]
fn untagged_pool() {
    for tag in [0, 0x0102_0304] {
        caught(Rule::PoolUntagged, move || {
            nt!(ExAllocatePool2(POOL_FLAG_NON_PAGED, 16, tag));
        });
    }
}

#[test]
fn empty_pool() {
    for flags in [POOL_FLAG_NON_PAGED, POOL_FLAG_PAGED | POOL_FLAG_UNINITIALIZED] {
        caught(Rule::PoolZeroSize, move || {
            nt!(ExAllocatePool2(flags, 0, TAG));
        });
    }
}

#[test]
fn pool_flags_that_name_no_pool_or_two_or_raise() {
    for flags in [0, POOL_FLAG_NON_PAGED | POOL_FLAG_PAGED, POOL_FLAG_NON_PAGED | POOL_FLAG_RAISE_ON_FAILURE] {
        caught(Rule::PoolFlags, move || {
            nt!(ExAllocatePool2(flags, 16, TAG));
        });
    }
}

#[test]
fn pool_freed_twice() {
    caught(Rule::PoolBadFree, || {
        let block = pool(16);
        nt!(ExFreePoolWithTag(block, TAG));
        nt!(ExFreePool(block));
    });
}

#[test]
fn pool_freed_with_another_tag() {
    caught(Rule::PoolBadFree, || nt!(ExFreePoolWithTag(pool(16), TAG + 1)));
}

#[test]
#[cfg_attr(feature = "asan", ignore = "AddressSanitizer stops this bug itself")]
fn pool_written_after_it_was_freed() {
    let world = World::boot(1);
    world.run_driver("use after free", || {
        let block = pool(64);
        nt!(ExFreePoolWithTag(block, TAG));
        poke(block, 8, 1);
    });
    world.kernel().check_memory();
    expect(&world, Rule::UseAfterFree);
}

#[test]
#[cfg_attr(feature = "asan", ignore = "AddressSanitizer stops this bug itself")]
fn box_written_after_it_was_dropped() {
    caught(Rule::UseAfterFree, || {
        let value = object::<[u64; 8]>();
        dispose(value);
        poke(value.cast(), 0, 7);
        for _ in 0..2000 {
            nt!(ExFreePoolWithTag(pool(16), TAG));
        }
    });
}

#[test]
fn pool_written_past_its_end() {
    caught(Rule::PoolOverrun, || {
        let block = pool(20);
        poke(block, 20, 0);
        nt!(ExFreePoolWithTag(block, TAG));
    });
}

#[test]
fn box_written_past_its_end() {
    let world = World::boot(1);
    world.run_driver("overrun", || poke(object::<[u8; 30]>().cast(), 31, 0));
    world.kernel().check_memory();
    expect(&world, Rule::PoolOverrun);
}

#[test]
fn secret_in_freed_pool() {
    let world = World::boot(1);
    world.watch_secret(SECRET);
    world.run_driver("secret", || {
        let block = pool(100);
        for (at, &byte) in SECRET.iter().enumerate() {
            poke(block, 33 + at, byte);
        }
        nt!(ExFreePoolWithTag(block, TAG));
    });
    expect(&world, Rule::SecretInFreedPool);
}

#[test]
fn secret_in_a_dropped_vector() {
    let world = World::boot(1);
    world.watch_secret(SECRET);
    world.run_driver("secret", || drop(std::hint::black_box(SECRET.to_vec())));
    expect(&world, Rule::SecretInFreedPool);
}

#[test]
fn pool_left_behind_at_unload() {
    let world = World::boot(1);
    assert!(world.run_driver("leak", || {
        pool(16);
    }));
    world.kernel().check_unloaded();
    expect(&world, Rule::ResourceLeak);
    assert!(world.leak_report()[0].contains("'Test' of 16 bytes"), "{:?}", world.leak_report());
}

#[test]
fn mdl_left_behind_at_unload() {
    let world = World::boot(1);
    assert!(world.run_driver("leak", || {
        super::mdl::plain(std::ptr::without_provenance_mut(0x1000), 16);
    }));
    world.kernel().check_unloaded();
    expect(&world, Rule::ResourceLeak);
}

#[test]
fn timer_freed_while_it_is_set() {
    caught(Rule::ResourceLeak, || {
        let timer = object::<KTIMER>();
        nt!(KeInitializeTimer(timer));
        nt!(KeSetTimer(timer, LARGE_INTEGER { QuadPart: -1000 }, std::ptr::null_mut()));
        dispose(timer);
    });
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
