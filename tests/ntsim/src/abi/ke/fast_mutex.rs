//! Fast and guarded mutexes.
//!
//! `FAST_MUTEX` and `KGUARDED_MUTEX` have one layout; both are modelled by count and owner in their own bytes.
//! `ExInitializeFastMutex` is inline in the Windows headers: the driver writes the fields (count 1) itself and
//! initialises the embedded event through `KeInitializeEvent`.

use std::sync::atomic::Ordering;

use super::object::ObjectRef;
use crate::abi::routine::routines;
use crate::abi::*;
use crate::core::{HeldLock, Kernel, Rule};

/// A guarded mutex: the layout of a fast mutex.
pub type KGUARDED_MUTEX = FAST_MUTEX;
pub type PKGUARDED_MUTEX = *mut KGUARDED_MUTEX;

const FAST: &str = "fast mutex";
const GUARDED: &str = "guarded mutex";

/// How a mutex keeps APCs away while it is held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shield {
    /// Raises the IRQL to APC_LEVEL.
    Irql,
    /// Enters a guarded region.
    Region,
    /// The caller has seen to it.
    Caller,
}

const OLD_IRQL: usize = std::mem::offset_of!(FAST_MUTEX, OldIrql);

fn check_count(kernel: &Kernel, object: ObjectRef, kind: &'static str) {
    let count = object.word(0).load(Ordering::SeqCst);
    if count != 0 && count != 1 {
        kernel.finding(Rule::Uninitialized, format!("a {kind} was used before it was initialised"));
    }
}

fn take(object: ObjectRef) -> Option<()> {
    object.word(0).compare_exchange(1, 0, Ordering::SeqCst, Ordering::SeqCst).ok().map(|_| ())
}

fn held(kernel: &Kernel, object: ObjectRef, kind: &'static str, shield: Shield, old_irql: KIRQL) {
    object.quad(8).store(kernel.thread_number(), Ordering::SeqCst);
    object.word(OLD_IRQL).store(i32::from(old_irql), Ordering::SeqCst);
    if shield == Shield::Region {
        let _outside = kernel.with_thread(|thread| thread.set_guarded_depth(thread.guarded_depth() + 1));
    }
    kernel.note_acquired(HeldLock { address: object.address(), kind, old_irql });
}

fn acquire(kernel: &Kernel, mutex: *const FAST_MUTEX, kind: &'static str, shield: Shield) {
    let object = ObjectRef::new(mutex);
    check_count(kernel, object, kind);
    let shielded = kernel.irql() == 1
        || kernel.with_thread(|thread| thread.critical_depth() > 0 || thread.guarded_depth() > 0) == Some(true);
    if shield == Shield::Caller && !shielded {
        kernel.finding(Rule::NoCriticalRegion, format!("{kind} taken with APCs enabled"));
    }
    kernel.check_acquire(object.address(), kind);
    let old = if shield == Shield::Irql { kernel.set_irql(1) } else { kernel.irql() };
    let _never_late = kernel.block(&[object.address()], None, kind, || take(object));
    held(kernel, object, kind, shield, old);
}

fn try_acquire(kernel: &Kernel, mutex: *const FAST_MUTEX, kind: &'static str, shield: Shield) -> BOOLEAN {
    let object = ObjectRef::new(mutex);
    check_count(kernel, object, kind);
    let taken = take(object).is_some();
    if taken {
        let old = if shield == Shield::Irql { kernel.set_irql(1) } else { kernel.irql() };
        held(kernel, object, kind, shield, old);
    }
    BOOLEAN::from(taken)
}

fn release(kernel: &Kernel, mutex: *const FAST_MUTEX, kind: &'static str, shield: Shield) {
    let object = ObjectRef::new(mutex);
    let lock = kernel.note_released(object.address(), kind);
    if shield == Shield::Irql && kernel.irql() != 1 {
        kernel.finding(Rule::IrqlTooLow, format!("{kind} released at IRQL {}, not APC_LEVEL", kernel.irql()));
    }
    object.quad(8).store(0, Ordering::SeqCst);
    object.word(0).store(1, Ordering::SeqCst);
    kernel.wake(object.address());
    match shield {
        Shield::Irql => {
            kernel.set_irql(lock.old_irql);
        }
        Shield::Region => {
            let _outside = kernel.with_thread(|thread| {
                thread.set_guarded_depth(thread.guarded_depth().saturating_sub(1));
            });
        }
        Shield::Caller => {}
    }
}

routines! {
    /// Takes a fast mutex and raises the IRQL to APC_LEVEL. At or below APC_LEVEL; not recursive.
    fn ExAcquireFastMutex(FastMutex: PFAST_MUTEX), max 1 => |k| { acquire(k, FastMutex, FAST, Shield::Irql); }

    /// Takes a fast mutex if it is free; then raises the IRQL to APC_LEVEL. At or below APC_LEVEL.
    fn ExTryToAcquireFastMutex(FastMutex: PFAST_MUTEX) -> BOOLEAN, max 1 => |k| {
        try_acquire(k, FastMutex, FAST, Shield::Irql)
    }

    /// Gives a fast mutex back and restores the IRQL. At APC_LEVEL.
    fn ExReleaseFastMutex(FastMutex: PFAST_MUTEX), max 1 => |k| { release(k, FastMutex, FAST, Shield::Irql); }

    /// Takes a fast mutex; the caller runs at APC_LEVEL or in a critical region. At or below APC_LEVEL.
    fn ExAcquireFastMutexUnsafe(FastMutex: PFAST_MUTEX), max 1 => |k| { acquire(k, FastMutex, FAST, Shield::Caller); }

    /// Gives back a fast mutex that was taken with ExAcquireFastMutexUnsafe. At or below APC_LEVEL.
    fn ExReleaseFastMutexUnsafe(FastMutex: PFAST_MUTEX), max 1 => |k| { release(k, FastMutex, FAST, Shield::Caller); }

    /// Initialises a guarded mutex. Any IRQL.
    fn KeInitializeGuardedMutex(GuardedMutex: PKGUARDED_MUTEX), max 15 => |k| {
        let object = ObjectRef::new(GuardedMutex);
        k.locks.initialized(object.address());
        object.word(0).store(1, Ordering::SeqCst);
        object.quad(8).store(0, Ordering::SeqCst);
    }

    /// Takes a guarded mutex and enters a guarded region. At or below APC_LEVEL; not recursive.
    fn KeAcquireGuardedMutex(GuardedMutex: PKGUARDED_MUTEX), max 1 => |k| {
        acquire(k, GuardedMutex, GUARDED, Shield::Region);
    }

    /// Takes a guarded mutex if it is free. At or below APC_LEVEL.
    fn KeTryToAcquireGuardedMutex(GuardedMutex: PKGUARDED_MUTEX) -> BOOLEAN, max 1 => |k| {
        try_acquire(k, GuardedMutex, GUARDED, Shield::Region)
    }

    /// Gives a guarded mutex back and leaves the guarded region. At or below APC_LEVEL.
    fn KeReleaseGuardedMutex(GuardedMutex: PKGUARDED_MUTEX), max 1 => |k| {
        release(k, GuardedMutex, GUARDED, Shield::Region);
    }
}
