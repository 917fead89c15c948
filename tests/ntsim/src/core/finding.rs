//! Findings: what the verifier saw, as values.

use std::fmt;

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// Every rule that the verifier can see broken.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Rule { $($(#[doc = $doc])+ $name),+ }

        impl Rule {
            /// All rules, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
}

rules! {
    /// A routine was called above its documented maximum IRQL.
    IrqlTooHigh,
    /// A routine was called below its documented minimum IRQL.
    IrqlTooLow,
    /// A thread waited, or would have had to wait, at raised IRQL.
    WaitAtRaisedIrql,
    /// A power dispatch routine waited: Windows may call it at `DISPATCH_LEVEL`, and the waker may be asleep.
    WaitInPowerDispatch,
    /// A callback returned at another IRQL than it was entered at.
    IrqlChangedOnReturn,
    /// A lock was taken by the thread that already holds it.
    LockRecursion,
    /// Two locks were taken in both orders.
    LockOrder,
    /// A lock was released by a thread that does not hold it.
    LockNotHeld,
    /// A callback returned, or a thread ended, with a lock still held or a critical region still entered.
    LockLeaked,
    /// A fast mutex or a mutex-like lock was taken with normal APCs enabled where a critical region is required.
    NoCriticalRegion,
    /// Memory was allocated or freed, or pageable or foreign code ran, in a critical region that the driver entered itself.
    PageableInRegion,
    /// A dispatcher object, lock or work item was used before it was initialised.
    Uninitialized,
    /// The thread used more kernel stack than there is.
    StackOverrun,
    /// Memory was requested from executable pool.
    PoolExecutable,
    /// Memory was requested without a tag.
    PoolUntagged,
    /// Zero bytes of pool were requested.
    PoolZeroSize,
    /// A pool flag combination that the routine does not take.
    PoolFlags,
    /// A block was freed twice, with the wrong tag, or was never allocated.
    PoolBadFree,
    /// Freed pool was written.
    UseAfterFree,
    /// Bytes before or after a block were written.
    PoolOverrun,
    /// A registered secret was still in a block when it was freed, or on the stack of a driver's thread when that ended.
    SecretLeft,
    /// Memory, an MDL, a work item, a thread or another resource outlived the driver.
    ResourceLeak,
    /// An MDL was used in a state that does not allow it.
    MdlState,
    /// An MDL was mapped twice, or unmapped more often than it was mapped.
    MdlDoubleMap,
    /// A mapping was written that was made without write access.
    MdlNoWrite,
    /// Memory was touched that is not mapped: a user buffer or an MDL's pages without a mapping, or nothing at all.
    UnmappedAccess,
    /// A remove lock was released more often than acquired, or with a tag that holds nothing.
    RemoveLock,
    /// A remove lock was used after it was waited for.
    RemoveLockRetired,
    /// Extended processor state was changed outside its guard, or the guard was misused: IRQL, thread, mask, order, a
    /// wait, an IRP sent, a change of IRQL inside.
    SimdGuard,
    /// A work item was queued twice, freed while queued, or used after it was freed.
    WorkItem,
    /// The driver called `KeBugCheckEx`.
    BugCheck,
    /// Nothing can run any more, but somebody still waits.
    Deadlock,
    /// The world made more decisions than allowed without reaching what the host waits for.
    Livelock,
    /// An argument that the routine's contract forbids.
    BadArgument,
    /// An IRP was completed twice.
    IrpCompletedTwice,
    /// An IRP was never completed.
    IrpNeverCompleted,
    /// An IRP was touched after it was passed on.
    IrpTouchedAfterPass,
    /// `STATUS_PENDING` without the pending bit, or the reverse.
    IrpPendingMismatch,
    /// A stack location is missing.
    IrpNoStackLocation,
    /// An IRP was completed with a cancel routine set.
    IrpCancelRoutineSet,
    /// `IoFreeIrp` or `IoReuseIrp` on a threaded IRP.
    IrpThreaded,
    /// A device was deleted while IRPs were in flight.
    DeviceDeletedInFlight,
    /// A device was detached or deleted outside REMOVE.
    DeviceDeleteOutsideRemove,
    /// The status of a `PnP` minor that the driver does not know was changed.
    PnpStatusChanged,
    /// An object reference or handle was used after it was given up.
    ObjectReference,
    /// Data on the wrong side of the filter.
    ShadowOracle,
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was broken.
    pub rule: Rule,
    /// What was seen, for a person.
    pub text: String,
    /// The simulated thread that did it, if one did.
    pub thread: Option<String>,
    /// Virtual time in units of 100 ns.
    pub time: u64,
    /// The seed that replays it.
    pub seed: u64,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thread = self.thread.as_deref().unwrap_or("host");
        write!(f, "[{:?}] {} (thread {thread}, time {}, seed {})", self.rule, self.text, self.time, self.seed)
    }
}
