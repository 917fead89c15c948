//! Events, semaphores and mutexes.

use std::sync::atomic::Ordering;

use super::object::{ObjectRef, ObjectType};
use crate::abi::routine::{ignored, routines};
use crate::abi::*;
use crate::core::{Kernel, Rule};

const EVENTS: &[ObjectType] = &[ObjectType::NotificationEvent, ObjectType::SynchronizationEvent];
const MUTEX: &str = "KMUTEX";

fn signal(kernel: &Kernel, object: ObjectRef, state: i32) -> i32 {
    let guard = kernel.locks.dispatcher();
    let old = object.state().swap(state, Ordering::SeqCst);
    drop(guard);
    if state > 0 {
        kernel.wake(object.address());
    }
    old
}

fn set_event(kernel: &Kernel, event: *const KEVENT, state: i32) -> i32 {
    let object = ObjectRef::new(event);
    object.expect(kernel, EVENTS);
    signal(kernel, object, state)
}

fn initialize_event(kernel: &Kernel, event: *const KEVENT, kind: EVENT_TYPE, state: BOOLEAN) {
    let kind = match kind {
        0 => ObjectType::NotificationEvent,
        1 => ObjectType::SynchronizationEvent,
        other => kernel.finding(Rule::BadArgument, format!("KeInitializeEvent with type {other}")),
    };
    let object = ObjectRef::new(event);
    kernel.locks.initialized(object.address());
    object.initialize(kind, i32::from(state != 0));
}

fn release_semaphore(kernel: &Kernel, semaphore: *const KSEMAPHORE, adjustment: LONG) -> LONG {
    let object = ObjectRef::new(semaphore);
    object.expect(kernel, &[ObjectType::Semaphore]);
    let guard = kernel.locks.dispatcher();
    let old = object.state().load(Ordering::SeqCst);
    let limit = object.word(0x18).load(Ordering::SeqCst);
    let new = old.checked_add(adjustment).filter(|&new| adjustment > 0 && new <= limit);
    if let Some(new) = new {
        object.state().store(new, Ordering::SeqCst);
    }
    drop(guard);
    if new.is_none() {
        kernel.finding(Rule::BadArgument, format!("KeReleaseSemaphore by {adjustment} at {old} of {limit}"));
    }
    kernel.wake(object.address());
    old
}

fn release_mutex(kernel: &Kernel, mutex: *const KMUTANT) -> LONG {
    let object = ObjectRef::new(mutex);
    object.expect(kernel, &[ObjectType::Mutant]);
    if object.owner().load(Ordering::SeqCst) != kernel.thread_number() {
        kernel.finding(Rule::LockNotHeld, "KeReleaseMutex by a thread that does not own the mutex");
    }
    let guard = kernel.locks.dispatcher();
    let old = object.state().fetch_add(1, Ordering::SeqCst);
    if old + 1 == 1 {
        object.owner().store(0, Ordering::SeqCst);
    }
    drop(guard);
    kernel.note_released(object.address(), MUTEX);
    let _outside = kernel.with_thread(|thread| {
        thread.set_critical_depth(thread.critical_depth().saturating_sub(1));
    });
    kernel.wake(object.address());
    old
}

routines! {
    /// Initialises an event object in storage of the caller. Any IRQL (documented: PASSIVE_LEVEL or any resident).
    fn KeInitializeEvent(Event: PRKEVENT, Type: EVENT_TYPE, State: BOOLEAN), max 15 => |k| {
        initialize_event(k, Event, Type, State);
    }

    /// Signals an event and returns its previous state. At or below DISPATCH_LEVEL with `Wait` FALSE, at or below
    /// APC_LEVEL with `Wait` TRUE. Weaker than Windows: the priority boost does nothing.
    fn KeSetEvent(Event: PRKEVENT, Increment: KPRIORITY, Wait: BOOLEAN) -> LONG, max 2 => |k| {
        ignored(Increment);
        if Wait != 0 && k.irql() > 1 {
            k.finding(Rule::IrqlTooHigh, "KeSetEvent with Wait above APC_LEVEL");
        }
        set_event(k, Event, 1)
    }

    /// Clears an event. At or below DISPATCH_LEVEL.
    fn KeClearEvent(Event: PRKEVENT), max 2 => |k| { set_event(k, Event, 0); }

    /// Clears an event and returns its previous state. At or below DISPATCH_LEVEL.
    fn KeResetEvent(Event: PRKEVENT) -> LONG, max 2 => |k| { set_event(k, Event, 0) }

    /// Returns the state of an event. At or below DISPATCH_LEVEL.
    fn KeReadStateEvent(Event: PRKEVENT) -> LONG, max 2 => |k| {
        let object = ObjectRef::new(Event);
        object.expect(k, EVENTS);
        object.state().load(Ordering::SeqCst)
    }

    /// Initialises a semaphore. Any IRQL.
    fn KeInitializeSemaphore(Semaphore: PRKSEMAPHORE, Count: LONG, Limit: LONG), max 15 => |k| {
        if Count < 0 || Limit < Count || Limit == 0 {
            k.finding(Rule::BadArgument, format!("KeInitializeSemaphore with count {Count} and limit {Limit}"));
        }
        let object = ObjectRef::new(Semaphore);
        object.initialize(ObjectType::Semaphore, Count);
        object.word(0x18).store(Limit, Ordering::SeqCst);
    }

    /// Adds to a semaphore's count and returns the previous count; past the limit Windows raises an exception, here
    /// it is a finding. At or below DISPATCH_LEVEL with `Wait` FALSE.
    fn KeReleaseSemaphore(Semaphore: PRKSEMAPHORE, Increment: KPRIORITY, Adjustment: LONG, Wait: BOOLEAN) -> LONG, max 2 => |k| {
        ignored((Increment, Wait));
        release_semaphore(k, Semaphore, Adjustment)
    }

    /// Returns the state of a semaphore. At or below DISPATCH_LEVEL (documented: any).
    fn KeReadStateSemaphore(Semaphore: PRKSEMAPHORE) -> LONG, max 2 => |k| {
        let object = ObjectRef::new(Semaphore);
        object.expect(k, &[ObjectType::Semaphore]);
        object.state().load(Ordering::SeqCst)
    }

    /// Initialises a mutex, not owned. Any IRQL. `Level` is ignored, as on Windows.
    fn KeInitializeMutex(Mutex: PRKMUTEX, Level: ULONG), max 15 => |k| {
        ignored(Level);
        let object = ObjectRef::new(Mutex);
        k.locks.initialized(object.address());
        object.initialize(ObjectType::Mutant, 1);
        object.owner().store(0, Ordering::SeqCst);
    }

    /// Releases a mutex that the current thread owns; returns zero when that frees it. At or below DISPATCH_LEVEL with
    /// `Wait` FALSE.
    fn KeReleaseMutex(Mutex: PRKMUTEX, Wait: BOOLEAN) -> LONG, max 2 => |k| {
        ignored(Wait);
        release_mutex(k, Mutex)
    }

    /// Returns the state of a mutex: one when it is free. At or below DISPATCH_LEVEL.
    fn KeReadStateMutex(Mutex: PRKMUTEX) -> LONG, max 2 => |k| {
        let object = ObjectRef::new(Mutex);
        object.expect(k, &[ObjectType::Mutant]);
        object.state().load(Ordering::SeqCst)
    }
}
