//! Deferred procedure calls and timers.

use std::sync::atomic::Ordering;

use super::object::{ObjectRef, ObjectType};
use crate::abi::routine::routines;
use crate::abi::*;
use crate::core::{Embedded, Kernel, Rule, Time, clock_boot, with_current};
use crate::host::ptr::SendPtr;

const MARK: u8 = 0x13;
const TIMERS: &[ObjectType] = &[ObjectType::NotificationTimer, ObjectType::SynchronizationTimer];

fn store<T>(field: *mut T, value: T) {
    // SAFETY: the documented contract: the object is the driver's, valid and not in use by the kernel meanwhile.
    unsafe { field.write(value) };
}

fn initialize(kernel: &Kernel, dpc: PRKDPC, routine: PKDEFERRED_ROUTINE, context: PVOID) {
    if routine.is_none() {
        kernel.finding(Rule::BadArgument, "KeInitializeDpc without a routine");
    }
    ObjectRef::new(dpc).byte(0).store(MARK, Ordering::SeqCst);
    // SAFETY: the documented contract: `Dpc` points to a KDPC of the caller.
    store(unsafe { &raw mut (*dpc).DeferredRoutine }, routine);
    // SAFETY: as above.
    store(unsafe { &raw mut (*dpc).DeferredContext }, context);
}

fn is_queued(kernel: &Kernel, address: usize) -> bool {
    kernel.locks.with_embedded(address, |entry| matches!(entry, Some(Embedded::Dpc(_))))
}

fn insert(kernel: &Kernel, dpc: PRKDPC, first: PVOID, second: PVOID) -> BOOLEAN {
    let object = ObjectRef::new(dpc);
    if object.byte(0).load(Ordering::SeqCst) != MARK {
        kernel.finding(Rule::Uninitialized, "a DPC was queued before it was initialised");
    }
    if is_queued(kernel, object.address()) {
        return 0;
    }
    // SAFETY: the documented contract: `Dpc` points to an initialised KDPC of the caller.
    store(unsafe { &raw mut (*dpc).SystemArgument1 }, first);
    // SAFETY: as above.
    store(unsafe { &raw mut (*dpc).SystemArgument2 }, second);
    let number = kernel.locks.embed(object.address(), Embedded::Dpc);
    let dpc = SendPtr(dpc);
    kernel.dpc(move || with_current(|kernel| deliver(kernel, dpc, number)));
    1
}

/// Calls the routine, unless the DPC was taken out of the queue meanwhile.
fn deliver(kernel: &Kernel, dpc: SendPtr<KDPC>, number: u64) {
    let address = dpc.get().expose_provenance();
    let current = kernel.locks.with_embedded(address, |entry| {
        let mine = matches!(entry, Some(Embedded::Dpc(queued)) if *queued == number);
        if mine {
            *entry = None;
        }
        mine
    });
    if !current {
        return;
    }
    // SAFETY: the DPC was still queued, so its memory is alive: freeing it would have been a finding.
    let copy = unsafe { dpc.get().read() };
    let Some(routine) = copy.DeferredRoutine else { return };
    kernel.call_driver("DPC", || {
        // SAFETY: the documented contract of KeInitializeDpc: the routine takes the DPC and its three arguments.
        unsafe { routine(dpc.get(), copy.DeferredContext, copy.SystemArgument1, copy.SystemArgument2) }
    });
}

fn withdraw(kernel: &Kernel, address: usize) -> bool {
    kernel.locks.with_embedded(address, |entry| {
        let queued = matches!(entry, Some(Embedded::Dpc(_) | Embedded::Timer(_)));
        if queued {
            *entry = None;
        }
        queued
    })
}

fn initialize_timer(timer: PKTIMER, kind: TIMER_TYPE) {
    let kind = if kind == 0 { ObjectType::NotificationTimer } else { ObjectType::SynchronizationTimer };
    ObjectRef::new(timer).initialize(kind, 0);
}

fn set(kernel: &Kernel, timer: PKTIMER, due: LARGE_INTEGER, period: LONG, dpc: PKDPC) -> BOOLEAN {
    let object = ObjectRef::new(timer);
    object.expect(kernel, TIMERS);
    let was_set = withdraw(kernel, object.address());
    object.state().store(0, Ordering::SeqCst);
    // SAFETY: every bit pattern of the union is a valid 64-bit number.
    let due = match unsafe { due.QuadPart } {
        relative if relative < 0 => kernel.now().after(relative.unsigned_abs()),
        absolute => Time(absolute.unsigned_abs().saturating_sub(clock_boot())),
    };
    let period = u64::try_from(period).unwrap_or(0) * 10_000;
    arm(kernel, object.address(), due, period, SendPtr(dpc));
    BOOLEAN::from(was_set)
}

fn arm(kernel: &Kernel, timer: usize, due: Time, period: u64, dpc: SendPtr<KDPC>) {
    let number = kernel.locks.embed(timer, Embedded::Timer);
    kernel.at(due, move || with_current(|kernel| fire(kernel, timer, number, due, period, dpc)));
}

fn fire(kernel: &Kernel, timer: usize, number: u64, due: Time, period: u64, dpc: SendPtr<KDPC>) {
    let current = kernel.locks.with_embedded(timer, |entry| {
        let mine = matches!(entry, Some(Embedded::Timer(set)) if *set == number);
        if mine {
            *entry = None;
        }
        mine
    });
    if !current {
        return;
    }
    if period > 0 {
        arm(kernel, timer, due.after(period), period, dpc);
    }
    ObjectRef::from_address(timer).state().store(1, Ordering::SeqCst);
    kernel.wake(timer);
    if !dpc.get().is_null() {
        insert(kernel, dpc.get(), std::ptr::null_mut(), std::ptr::null_mut());
    }
}

routines! {
    /// Initialises a DPC. Any IRQL.
    fn KeInitializeDpc(Dpc: PRKDPC, DeferredRoutine: PKDEFERRED_ROUTINE, DeferredContext: PVOID), max 15 => |k| {
        initialize(k, Dpc, DeferredRoutine, DeferredContext);
    }

    /// Queues a DPC; FALSE when it is queued already. Any IRQL.
    fn KeInsertQueueDpc(Dpc: PRKDPC, SystemArgument1: PVOID, SystemArgument2: PVOID) -> BOOLEAN, max 15 => |k| {
        insert(k, Dpc, SystemArgument1, SystemArgument2)
    }

    /// Takes a DPC out of the queue; TRUE when it was queued. Any IRQL.
    fn KeRemoveQueueDpc(Dpc: PRKDPC) -> BOOLEAN, max 15 => |k| {
        BOOLEAN::from(withdraw(k, Dpc.expose_provenance()))
    }

    /// Waits until every DPC that was queued before has run. At PASSIVE_LEVEL.
    fn KeFlushQueuedDpcs(), max 0 => |k| {
        let done = k.now().after(1);
        while k.dpcs_pending() {
            let _timed_out = k.block(&[], Some(k.now().after(1).max(done)), "queued DPCs", || None::<()>);
        }
    }

    /// Initialises a notification timer. At or below DISPATCH_LEVEL.
    fn KeInitializeTimer(Timer: PKTIMER), max 2 => |_k| { initialize_timer(Timer, 0); }

    /// Initialises a timer. At or below DISPATCH_LEVEL.
    fn KeInitializeTimerEx(Timer: PKTIMER, Type: TIMER_TYPE), max 2 => |_k| { initialize_timer(Timer, Type); }

    /// Sets a timer; TRUE when it was set already. At or below DISPATCH_LEVEL.
    fn KeSetTimer(Timer: PKTIMER, DueTime: LARGE_INTEGER, Dpc: PKDPC) -> BOOLEAN, max 2 => |k| {
        set(k, Timer, DueTime, 0, Dpc)
    }

    /// Sets a timer that may repeat every `Period` milliseconds. At or below DISPATCH_LEVEL.
    fn KeSetTimerEx(Timer: PKTIMER, DueTime: LARGE_INTEGER, Period: LONG, Dpc: PKDPC) -> BOOLEAN, max 2 => |k| {
        set(k, Timer, DueTime, Period, Dpc)
    }

    /// Cancels a timer; TRUE when it was set. Its DPC may be running or queued still. At or below DISPATCH_LEVEL.
    fn KeCancelTimer(Timer: PKTIMER) -> BOOLEAN, max 2 => |k| {
        ObjectRef::new(Timer).expect(k, TIMERS);
        BOOLEAN::from(withdraw(k, Timer.expose_provenance()))
    }

    /// Whether a timer is signalled. At or below DISPATCH_LEVEL.
    fn KeReadStateTimer(Timer: PKTIMER) -> BOOLEAN, max 2 => |k| {
        let object = ObjectRef::new(Timer);
        object.expect(k, TIMERS);
        BOOLEAN::from(object.state().load(Ordering::SeqCst) != 0)
    }
}
