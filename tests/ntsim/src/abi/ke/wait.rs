//! Waiting: for objects, for time.

use super::object::{ObjectRef, ObjectType};
use crate::abi::routine::{ignored, routines};
use crate::abi::*;
use crate::core::{HeldLock, Kernel, Rule, Time, clock_boot};

/// How long a caller is ready to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    Forever,
    Until(Time),
    Poll,
}

/// Objects that a thread can wait for without a wait-block array of its own.
const THREAD_WAIT_OBJECTS: usize = 3;
const MAXIMUM_WAIT_OBJECTS: usize = 64;

fn patience(kernel: &Kernel, timeout: PLARGE_INTEGER) -> Patience {
    // SAFETY: the documented contract: `Timeout` is null or points to a LARGE_INTEGER.
    let Some(timeout) = (unsafe { timeout.as_ref() }) else { return Patience::Forever };
    // SAFETY: every bit pattern of the union is a valid 64-bit number.
    match unsafe { timeout.QuadPart } {
        0 => Patience::Poll,
        relative if relative < 0 => Patience::Until(kernel.now().after(relative.unsigned_abs())),
        absolute => Patience::Until(Time(absolute.unsigned_abs().saturating_sub(clock_boot()))),
    }
}

fn check_wait(kernel: &Kernel, what: &str, patience: Patience) {
    let irql = kernel.irql();
    if irql > 2 || (irql == 2 && patience != Patience::Poll) {
        kernel.finding(Rule::WaitAtRaisedIrql, format!("{what} at IRQL {irql}"));
    }
}

/// The books of a wait that was satisfied by a mutex.
fn acquired(kernel: &Kernel, object: ObjectRef, kind: ObjectType) {
    if kind == ObjectType::Mutant {
        kernel.note_acquired(HeldLock { address: object.address(), kind: "KMUTEX", old_irql: 0 });
        let _outside = kernel.with_thread(|thread| thread.set_critical_depth(thread.critical_depth() + 1));
    }
}

fn wait(
    kernel: &Kernel,
    what: &'static str,
    timeout: PLARGE_INTEGER,
    objects: &[(ObjectRef, ObjectType)],
    all: bool,
) -> NTSTATUS {
    let patience = patience(kernel, timeout);
    check_wait(kernel, what, patience);
    let thread = kernel.thread_number();
    let deadline = match patience {
        Patience::Forever => None,
        Patience::Until(time) => Some(time),
        Patience::Poll => Some(Time(0)),
    };
    let keys: Vec<usize> = objects.iter().map(|(object, _)| object.address()).collect();
    let ready = || {
        let _guard = kernel.locks.dispatcher();
        if all {
            let can = objects.iter().all(|&(object, kind)| object.can_acquire(kind, thread));
            can.then(|| {
                for &(object, kind) in objects {
                    object.try_acquire(kind, thread);
                }
                0
            })
        } else {
            objects.iter().position(|&(object, kind)| object.try_acquire(kind, thread))
        }
    };
    let Ok(index) = kernel.block(&keys, deadline, what, ready) else { return STATUS_TIMEOUT };
    for (at, &(object, kind)) in objects.iter().enumerate() {
        if all || at == index {
            acquired(kernel, object, kind);
        }
    }
    STATUS_WAIT_0 + NTSTATUS::try_from(index).unwrap_or(0)
}

fn wait_multiple(
    kernel: &Kernel,
    count: ULONG,
    objects: *mut PVOID,
    kind: WAIT_TYPE,
    timeout: PLARGE_INTEGER,
    blocks: PKWAIT_BLOCK,
) -> NTSTATUS {
    let count = count as usize;
    let limit = if blocks.is_null() { THREAD_WAIT_OBJECTS } else { MAXIMUM_WAIT_OBJECTS };
    if count == 0 || count > limit || objects.is_null() {
        kernel.finding(Rule::BadArgument, format!("KeWaitForMultipleObjects with {count} objects, {limit} allowed"));
    }
    // SAFETY: the documented contract: `Object` points to `Count` object pointers.
    let pointers = unsafe { std::slice::from_raw_parts(objects, count) };
    let objects: Vec<_> = pointers.iter().map(|&pointer| ObjectRef::new(pointer)).collect();
    let objects: Vec<_> = objects.into_iter().map(|object| (object, object.kind(kernel))).collect();
    wait(kernel, "KeWaitForMultipleObjects", timeout, &objects, kind == 0)
}

fn delay(kernel: &Kernel, interval: PLARGE_INTEGER) -> NTSTATUS {
    let deadline = match patience(kernel, interval) {
        Patience::Forever => kernel.finding(Rule::BadArgument, "KeDelayExecutionThread without an interval"),
        Patience::Until(time) => time,
        Patience::Poll => kernel.now(),
    };
    let _timed_out = kernel.block(&[], Some(deadline), "KeDelayExecutionThread", || None::<()>);
    STATUS_SUCCESS
}

routines! {
    /// Waits for one dispatcher object. Returns STATUS_SUCCESS or STATUS_TIMEOUT. At or below APC_LEVEL; at
    /// DISPATCH_LEVEL only with a zero timeout. Weaker than Windows: no APC ever ends an alertable wait.
    fn KeWaitForSingleObject(Object: PVOID, WaitReason: KWAIT_REASON, WaitMode: KPROCESSOR_MODE, Alertable: BOOLEAN, Timeout: PLARGE_INTEGER) -> NTSTATUS, max 2 => |k| {
        ignored((WaitReason, WaitMode, Alertable));
        let object = ObjectRef::new(Object);
        let kind = object.kind(k);
        wait(k, "KeWaitForSingleObject", Timeout, &[(object, kind)], false)
    }

    /// Waits for any or all of several dispatcher objects; with WaitAny the status is the index. At or below
    /// APC_LEVEL; at DISPATCH_LEVEL only with a zero timeout. More than three objects need a wait-block array.
    fn KeWaitForMultipleObjects(Count: ULONG, Object: *mut PVOID, WaitType: WAIT_TYPE, WaitReason: KWAIT_REASON, WaitMode: KPROCESSOR_MODE, Alertable: BOOLEAN, Timeout: PLARGE_INTEGER, WaitBlockArray: PKWAIT_BLOCK) -> NTSTATUS, max 2 => |k| {
        ignored((WaitReason, WaitMode, Alertable));
        wait_multiple(k, Count, Object, WaitType, Timeout, WaitBlockArray)
    }

    /// Puts the current thread to sleep. At or below APC_LEVEL. Weaker than Windows: not rounded to clock ticks.
    fn KeDelayExecutionThread(WaitMode: KPROCESSOR_MODE, Alertable: BOOLEAN, Interval: PLARGE_INTEGER) -> NTSTATUS, max 1 => |k| {
        ignored((WaitMode, Alertable));
        delay(k, Interval)
    }
}
