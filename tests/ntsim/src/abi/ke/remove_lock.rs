//! Remove locks, with the tags of a checked build.

use std::sync::atomic::Ordering;

use super::object::{ObjectRef, ObjectType};
use crate::abi::routine::{ignored, routines};
use crate::abi::*;
use crate::core::{Embedded, Kernel, Rule};

const REMOVED: usize = 0;
const COUNT: usize = 4;
const EVENT: usize = 8;

fn check_size(kernel: &Kernel, size: ULONG) {
    if size as usize != size_of::<IO_REMOVE_LOCK>() {
        kernel.finding(Rule::BadArgument, format!("a remove lock of {size} bytes"));
    }
}

/// Works on the tags of the lock; a finding when it was never initialised.
fn with_tags<R>(kernel: &Kernel, lock: ObjectRef, f: impl FnOnce(&mut Vec<usize>, &mut bool) -> R) -> R {
    let result = kernel.locks.with_entry(lock.address(), |entry| match entry {
        Embedded::RemoveLock { tags, retired } => Some(f(tags, retired)),
        _ => None,
    });
    match result.flatten() {
        Some(result) => result,
        None => kernel.finding(Rule::Uninitialized, "a remove lock was used before it was initialised"),
    }
}

fn initialize(kernel: &Kernel, lock: ObjectRef) {
    let retired = kernel
        .locks
        .with_embedded(lock.address(), |entry| matches!(entry, Some(Embedded::RemoveLock { retired: true, .. })));
    if retired {
        kernel.finding(Rule::RemoveLockRetired, "a remove lock was initialised again after it was waited for");
    }
    kernel.locks.embed(lock.address(), |_| Embedded::RemoveLock { tags: Vec::new(), retired: false });
    lock.byte(REMOVED).store(0, Ordering::SeqCst);
    lock.word(COUNT).store(1, Ordering::SeqCst);
    ObjectRef::from_address(lock.address() + EVENT).initialize(ObjectType::SynchronizationEvent, 0);
}

fn acquire(kernel: &Kernel, lock: ObjectRef, tag: PVOID) -> NTSTATUS {
    let tag = tag.addr();
    let refused = with_tags(kernel, lock, |tags, retired| {
        if !*retired {
            tags.push(tag);
            lock.word(COUNT).fetch_add(1, Ordering::SeqCst);
        }
        *retired
    });
    if refused { STATUS_DELETE_PENDING } else { STATUS_SUCCESS }
}

fn release(kernel: &Kernel, lock: ObjectRef, tag: PVOID) {
    let tag = tag.addr();
    let found = with_tags(kernel, lock, |tags, _| {
        let at = tags.iter().rposition(|&held| held == tag);
        at.map(|at| tags.swap_remove(at)).is_some()
    });
    if !found {
        kernel.finding(Rule::RemoveLock, "a remove lock was released with a tag that does not hold it");
    }
    if lock.word(COUNT).fetch_sub(1, Ordering::SeqCst) == 1 {
        kernel.wake(lock.address());
    }
}

fn release_and_wait(kernel: &Kernel, lock: ObjectRef, tag: PVOID) {
    let twice = with_tags(kernel, lock, |_, retired| std::mem::replace(retired, true));
    if twice {
        kernel.finding(Rule::RemoveLockRetired, "a remove lock was waited for twice");
    }
    lock.byte(REMOVED).store(1, Ordering::SeqCst);
    release(kernel, lock, tag);
    lock.word(COUNT).fetch_sub(1, Ordering::SeqCst);
    let drained = || (lock.word(COUNT).load(Ordering::SeqCst) <= 0).then_some(());
    let _never_late = kernel.block(&[lock.address()], None, "the remove lock", drained);
}

routines! {
    /// Initialises a remove lock in a device extension. At PASSIVE_LEVEL (documented), once per device.
    fn IoInitializeRemoveLockEx(Lock: PIO_REMOVE_LOCK, AllocateTag: ULONG, MaxLockedMinutes: ULONG, HighWatermark: ULONG, RemlockSize: ULONG), max 0 => |k| {
        ignored((AllocateTag, MaxLockedMinutes, HighWatermark));
        check_size(k, RemlockSize);
        initialize(k, ObjectRef::new(Lock));
    }

    /// Takes the lock; STATUS_DELETE_PENDING once it was waited for. At or below DISPATCH_LEVEL.
    fn IoAcquireRemoveLockEx(RemoveLock: PIO_REMOVE_LOCK, Tag: PVOID, File: PCSTR, Line: ULONG, RemlockSize: ULONG) -> NTSTATUS, max 2 => |k| {
        ignored((File, Line));
        check_size(k, RemlockSize);
        acquire(k, ObjectRef::new(RemoveLock), Tag)
    }

    /// Gives the lock back, with the tag it was taken with. At or below DISPATCH_LEVEL.
    fn IoReleaseRemoveLockEx(RemoveLock: PIO_REMOVE_LOCK, Tag: PVOID, RemlockSize: ULONG), max 2 => |k| {
        check_size(k, RemlockSize);
        release(k, ObjectRef::new(RemoveLock), Tag);
    }

    /// Gives the lock back and waits until nobody holds it; from then on it cannot be taken. At PASSIVE_LEVEL.
    fn IoReleaseRemoveLockAndWaitEx(RemoveLock: PIO_REMOVE_LOCK, Tag: PVOID, RemlockSize: ULONG), max 0 => |k| {
        check_size(k, RemlockSize);
        release_and_wait(k, ObjectRef::new(RemoveLock), Tag);
    }
}
