//! Work items, stack, extended state, bug checks, threads, strings.

use super::driver::*;
use super::{caught, clean, expect, planted};
use vck_ntsim::abi::*;
use vck_ntsim::ob::handles::ObjectKind;
use vck_ntsim::{SchedulerKind, World};

unsafe extern "C" fn nothing(_: PDEVICE_OBJECT, _: PVOID) {}

fn queue(item: PIO_WORKITEM) {
    nt!(IoQueueWorkItem(item, Some(nothing), 1, std::ptr::null_mut()));
}

/// A work item of an object that nothing but its reference count matters of.
fn item() -> PIO_WORKITEM {
    let device: PDEVICE_OBJECT = object::<[u64; 32]>().cast();
    let address = device.expose_provenance();
    vck_ntsim::as_host(|| vck_ntsim::current().object_insert(address, ObjectKind::Device, |_, _| {}));
    nt!(IoAllocateWorkItem(device))
}

#[inline(never)]
fn deep(left: usize) -> u64 {
    let frame = std::hint::black_box([left as u64; 128]);
    let irql = u64::from(nt!(KeGetCurrentIrql()));
    if left == 0 { irql } else { deep(left - 1) + frame[5] }
}

unsafe extern "C" fn deep_callout(_: PVOID) {
    deep(25);
}

#[test]
fn expanded_stack_has_the_room_that_was_asked_for() {
    clean(|| {
        let none = std::ptr::null_mut;
        let call = |size| nt!(KeExpandKernelStackAndCalloutEx(Some(deep_callout), none(), size, 0, none()));
        assert_eq!(call(64 << 10), STATUS_SUCCESS);
        assert_eq!(call(1 << 20), STATUS_INVALID_PARAMETER_3);
    });
}

#[test]
fn stack_high_water_is_measured_across_nested_callbacks() {
    let world = World::boot(1);
    assert!(world.run_driver("deep", || {
        deep(6);
    }));
    let used = world.stack_high_water();
    assert!((6 << 10..20 << 10).contains(&used), "{used}");
}

unsafe extern "C" fn ender(context: PVOID) {
    nt!(KeSetEvent(context.cast(), 0, 0));
    let _status = nt!(PsTerminateSystemThread(0));
    unreachable!("a terminated thread went on");
}

#[test]
fn system_threads_end_and_can_be_waited_for() {
    for kind in [SchedulerKind::Deterministic, SchedulerKind::Parallel] {
        let world = World::builder().seed(5).scheduler(kind).build();
        assert!(world.run_driver("parent", || {
            let event = event();
            thread(ender, event.cast());
            assert_eq!(wait(event), STATUS_SUCCESS);
            dispose(event);
        }));
        assert!(world.run_until(|| world.waiting().is_empty()), "{}", world.waiting());
        world.assert_clean();
    }
}

#[test]
fn debug_output_becomes_log_lines() {
    let world = World::boot(1);
    assert!(world.run_driver("printer", || {
        nt!(DbgPrint(c"100 %% done\n".as_ptr()));
    }));
    assert_eq!(world.log(), ["100 % done"]);
}

#[test]
fn strings_compare_append_and_refuse_what_does_not_fit() {
    clean(|| {
        let wide: Vec<u16> = "Device\0".encode_utf16().collect();
        let mut storage = [0_u16; 8];
        let mut target = UNICODE_STRING { Length: 0, MaximumLength: 16, Buffer: storage.as_mut_ptr() };
        let mut name = UNICODE_STRING { Length: 0, MaximumLength: 0, Buffer: std::ptr::null_mut() };
        nt!(RtlInitUnicodeString(&raw mut name, wide.as_ptr()));
        assert_eq!(nt!(RtlAppendUnicodeStringToString(&raw mut target, &raw const name)), STATUS_SUCCESS);
        assert_eq!(nt!(RtlAppendUnicodeStringToString(&raw mut target, &raw const name)), STATUS_BUFFER_TOO_SMALL);
        assert_eq!(nt!(RtlEqualUnicodeString(&raw const target, &raw const name, 0)), 1);
        assert_eq!(nt!(RtlPrefixUnicodeString(&raw const target, &raw const name, 1)), 1);
    });
}

planted! {
    WorkItem: fn work_item_queued_twice(rule) {
        caught(rule, || {
            let item = item();
            for _ in 0..100 {
                queue(item);
            }
        });
    }

    WorkItem: fn work_item_freed_while_queued(rule) {
        let world = World::builder().seed(1).configure(|config| config.preemption = 0).build();
        world.run_driver("work item", || {
            let item = item();
            queue(item);
            nt!(IoFreeWorkItem(item));
        });
        expect(&world, rule);
    }

    StackOverrun: fn recursion_that_uses_up_the_stack(rule) {
        caught(rule, || {
            deep(100);
        });
    }

    #[expect(clippy::large_stack_arrays, reason = "the planted bug")]
    StackOverrun: fn one_frame_that_is_too_large(rule) {
        caught(rule, || {
            let frame = std::hint::black_box([1_u8; 25 << 10]);
            nt!(KeGetCurrentIrql());
            std::hint::black_box(&frame);
        });
    }

    BugCheck: fn bug_check(rule) {
        for code in [0xC4, 0x1] {
            caught(rule, move || nt!(KeBugCheckEx(code, 0, 0, 0, 0)));
        }
    }

    BadArgument: fn more_wait_objects_than_the_thread_has_blocks_for(rule) {
        caught(rule, || {
            let objects = Box::leak(Box::new([event().cast(), event().cast(), event().cast(), event().cast()]));
            let _status = nt!(KeWaitForMultipleObjects(
                4,
                objects.as_mut_ptr(),
                1,
                0,
                0,
                0,
                std::ptr::null_mut(),
                std::ptr::null_mut()
            ));
        });
    }

    BadArgument: fn semaphore_released_past_its_limit(rule) {
        caught(rule, || {
            let semaphore = object::<KSEMAPHORE>();
            nt!(KeInitializeSemaphore(semaphore, 0, 2));
            nt!(KeReleaseSemaphore(semaphore, 0, 3, 0));
        });
    }
}
