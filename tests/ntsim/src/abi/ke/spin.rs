//! Spin locks, plain and queued.

use std::sync::atomic::Ordering;

use super::object::ObjectRef;
use crate::abi::routine::routines;
use crate::abi::*;
use crate::core::{HeldLock, Kernel, Rule};

const SPIN: &str = "spin lock";
const DPC: KIRQL = 2;
/// Set in the lock's word while somebody is parked on it.
const CONTENDED: u64 = 1;

fn take(kernel: &Kernel, object: ObjectRef, old_irql: KIRQL) {
    kernel.check_acquire(object.address(), SPIN);
    let word = object.quad(0);
    let mine = kernel.thread_number() << 1;
    let owned = || {
        let free = word.compare_exchange(0, mine, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if !free {
            word.fetch_or(CONTENDED, Ordering::SeqCst);
            // The holder may have let go in between, without seeing the mark: then the mark is all there is.
            return word.compare_exchange(CONTENDED, mine, Ordering::SeqCst, Ordering::SeqCst).ok().map(|_| ());
        }
        Some(())
    };
    let _never_late = kernel.block_at_any_irql(&[object.address()], None, "a spin lock", owned);
    kernel.note_acquired(HeldLock { address: object.address(), kind: SPIN, old_irql });
}

fn give_back(kernel: &Kernel, object: ObjectRef) -> HeldLock {
    let held = kernel.note_released(object.address(), SPIN);
    if kernel.irql() != DPC {
        kernel.finding(Rule::IrqlTooLow, format!("a spin lock was released at IRQL {}", kernel.irql()));
    }
    if object.quad(0).swap(0, Ordering::SeqCst) & CONTENDED != 0 {
        kernel.wake(object.address());
    }
    held
}

fn require_dpc_level(kernel: &Kernel, name: &str) {
    if kernel.irql() != DPC {
        kernel.finding(Rule::IrqlTooLow, format!("{name} at IRQL {}", kernel.irql()));
    }
}

fn acquire_raising(kernel: &Kernel, lock: PKSPIN_LOCK) -> KIRQL {
    let old = kernel.set_irql(DPC);
    take(kernel, ObjectRef::new(lock), old);
    old
}

/// The field of a lock queue handle that holds the IRQL to go back to, and the one that holds the lock.
fn handle_fields(handle: PKLOCK_QUEUE_HANDLE) -> (ObjectRef, ObjectRef) {
    let irql = std::mem::offset_of!(KLOCK_QUEUE_HANDLE, OldIrql);
    let base = handle.expose_provenance();
    (ObjectRef::from_address(base + irql), ObjectRef::from_address(base + 8))
}

fn acquire_queued(kernel: &Kernel, lock: PKSPIN_LOCK, handle: PKLOCK_QUEUE_HANDLE, raise: bool) {
    let old = if raise { kernel.set_irql(DPC) } else { kernel.irql() };
    take(kernel, ObjectRef::new(lock), old);
    let (irql, stored) = handle_fields(handle);
    irql.byte(0).store(old, Ordering::SeqCst);
    stored.quad(0).store(lock.expose_provenance() as u64, Ordering::SeqCst);
}

fn release_queued(kernel: &Kernel, handle: PKLOCK_QUEUE_HANDLE) -> KIRQL {
    let (irql, stored) = handle_fields(handle);
    let address = usize::try_from(stored.quad(0).load(Ordering::SeqCst)).unwrap_or(0);
    give_back(kernel, ObjectRef::from_address(address));
    irql.byte(0).load(Ordering::SeqCst)
}

/// Takes and gives back a spin lock around `f`, for the interlocked list routines: any IRQL up to DISPATCH_LEVEL here.
pub(super) fn with_lock<R>(kernel: &Kernel, lock: PKSPIN_LOCK, f: impl FnOnce() -> R) -> R {
    let old = acquire_raising(kernel, lock);
    let result = f();
    give_back(kernel, ObjectRef::new(lock));
    kernel.set_irql(old);
    result
}

routines! {
    /// Initialises a spin lock. Any IRQL.
    fn KeInitializeSpinLock(SpinLock: PKSPIN_LOCK), max 15 => |k| {
        let object = ObjectRef::new(SpinLock);
        k.locks.initialized(object.address());
        object.quad(0).store(0, Ordering::SeqCst);
    }

    /// Raises the IRQL to DISPATCH_LEVEL, takes the lock, returns the old IRQL. At or below DISPATCH_LEVEL.
    fn KeAcquireSpinLockRaiseToDpc(SpinLock: PKSPIN_LOCK) -> KIRQL, max 2 => |k| { acquire_raising(k, SpinLock) }

    /// Takes the lock without a change of IRQL; the caller runs at DISPATCH_LEVEL.
    fn KeAcquireSpinLockAtDpcLevel(SpinLock: PKSPIN_LOCK), max 2 => |k| {
        require_dpc_level(k, "KeAcquireSpinLockAtDpcLevel");
        take(k, ObjectRef::new(SpinLock), DPC);
    }

    /// Takes the lock if it is free; the caller runs at DISPATCH_LEVEL.
    fn KeTryToAcquireSpinLockAtDpcLevel(SpinLock: PKSPIN_LOCK) -> BOOLEAN, max 2 => |k| {
        require_dpc_level(k, "KeTryToAcquireSpinLockAtDpcLevel");
        let object = ObjectRef::new(SpinLock);
        let mine = k.thread_number() << 1;
        let free = object.quad(0).compare_exchange(0, mine, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if free {
            k.note_acquired(HeldLock { address: object.address(), kind: SPIN, old_irql: DPC });
        }
        BOOLEAN::from(free)
    }

    /// Gives the lock back and lowers the IRQL to `NewIrql`, which must be what the acquiring call returned. At
    /// DISPATCH_LEVEL.
    fn KeReleaseSpinLock(SpinLock: PKSPIN_LOCK, NewIrql: KIRQL), max 2 => |k| {
        let held = give_back(k, ObjectRef::new(SpinLock));
        if held.old_irql != NewIrql {
            k.finding(Rule::BadArgument, format!("KeReleaseSpinLock to IRQL {NewIrql}, taken at {}", held.old_irql));
        }
        k.set_irql(NewIrql);
    }

    /// Gives the lock back without a change of IRQL. At DISPATCH_LEVEL.
    fn KeReleaseSpinLockFromDpcLevel(SpinLock: PKSPIN_LOCK), max 2 => |k| { give_back(k, ObjectRef::new(SpinLock)); }

    /// Takes a queued spin lock with a handle on the caller's stack. At or below DISPATCH_LEVEL.
    fn KeAcquireInStackQueuedSpinLock(SpinLock: PKSPIN_LOCK, LockHandle: PKLOCK_QUEUE_HANDLE), max 2 => |k| {
        acquire_queued(k, SpinLock, LockHandle, true);
    }

    /// Gives back a queued spin lock and the IRQL. At DISPATCH_LEVEL.
    fn KeReleaseInStackQueuedSpinLock(LockHandle: PKLOCK_QUEUE_HANDLE), max 2 => |k| {
        let old = release_queued(k, LockHandle);
        k.set_irql(old);
    }

    /// Takes a queued spin lock at DISPATCH_LEVEL.
    fn KeAcquireInStackQueuedSpinLockAtDpcLevel(SpinLock: PKSPIN_LOCK, LockHandle: PKLOCK_QUEUE_HANDLE), max 2 => |k| {
        require_dpc_level(k, "KeAcquireInStackQueuedSpinLockAtDpcLevel");
        acquire_queued(k, SpinLock, LockHandle, false);
    }

    /// Gives back a queued spin lock at DISPATCH_LEVEL.
    fn KeReleaseInStackQueuedSpinLockFromDpcLevel(LockHandle: PKLOCK_QUEUE_HANDLE), max 2 => |k| {
        release_queued(k, LockHandle);
    }
}
