//! Rules that code of a test can ask for by name, and the rule of closed gates.
//!
//! A driver that has closed part of a volume to everybody else says so by entering a critical region itself
//! (`KeEnterCriticalRegion`). Until it leaves, its thread may not do what could need that part of the volume: allocate,
//! free, run pageable code, call code of others. Waits, spin locks, mutexes, events and requests to the drivers below are
//! what such a thread is there for. Regions that a lock enters on its own do not count, and neither does a region for the
//! dispatch routines that are called from inside it: those may be other drivers'.

use std::sync::atomic::Ordering;

use crate::abi::routine;
use crate::core::{Kernel, Rule, ThreadState};
use crate::host::tls;

/// Routines for `PASSIVE_LEVEL` that wait, and that is all.
const WAITS: &[&str] = &["IoReleaseRemoveLockAndWaitEx", "KeFlushQueuedDpcs", "IoForwardIrpSynchronously"];

/// Routines that take or give back memory at raised IRQL too.
const MEMORY: &[&str] = &[
    "ExAllocatePool2",
    "ExFreePool",
    "ExFreePoolWithTag",
    "IoAllocateDriverObjectExtension",
    "IoAllocateIrp",
    "IoAllocateIrpEx",
    "IoAllocateMdl",
    "IoAllocateWorkItem",
    "IoFreeIrp",
    "IoFreeMdl",
    "IoFreeWorkItem",
    "IoSetCompletionRoutineEx",
    "KeExpandKernelStackAndCalloutEx",
    "MmAllocateMappingAddress",
    "MmFreeMappingAddress",
];

/// Routines for `APC_LEVEL` that are pageable.
const PAGEABLE_AT_APC: &[&str] = &[
    "IoCreateDevice",
    "IoDeleteDevice",
    "IoVolumeDeviceToDosName",
    "ObQueryNameString",
    "PsDereferenceImpersonationToken",
    "PsDereferencePrimaryToken",
    "RtlAbsoluteToSelfRelativeSD",
    "RtlAddAccessAllowedAce",
    "RtlAddAccessAllowedAceEx",
    "RtlCreateAcl",
    "RtlInitializeSid",
    "RtlLengthSecurityDescriptor",
    "RtlValidSecurityDescriptor",
];

/// Says that the calling code is pageable or foreign, as `PAGED_CODE` does: for what tests plug into a driver, such as a
/// provider of keys. A finding above `APC_LEVEL`, and inside a critical region that the driver entered itself. Nothing
/// happens outside of a world.
pub fn pageable_code(what: &'static str) {
    if tls::with_kernel(|_| ()).is_some() {
        routine::enter(what, 1, |kernel| kernel.check_region(what));
    }
}

impl Kernel {
    /// Whether the driver's thread is in a critical region that it entered itself.
    fn in_region(&self) -> bool {
        self.config().strict_critical_regions
            && tls::with_thread(|thread| thread.regions.load(Ordering::Relaxed) > 0).unwrap_or(false)
    }

    /// `what` must not be done inside a critical region that the driver entered itself.
    pub(crate) fn check_region(&self, what: &str) {
        if self.in_region() {
            let text = format!("{what} inside a critical region that the driver entered");
            self.finding(Rule::PageableInRegion, text);
        }
    }

    /// The rule for a routine of the kernel with this documented maximum IRQL.
    pub(crate) fn check_region_routine(&self, name: &str, max_irql: u8) {
        if self.in_region() {
            let pageable = max_irql == 0 && !WAITS.contains(&name);
            if pageable || MEMORY.contains(&name) || PAGEABLE_AT_APC.contains(&name) {
                self.check_region(name);
            }
        }
    }

    #[expect(clippy::unused_self, reason = "the thread belongs to this world")]
    /// Runs `f`, which calls a dispatch routine: a region of its caller is not its own.
    pub(crate) fn outside_regions<R>(&self, f: impl FnOnce() -> R) -> R {
        let swap = |depth: u32| move |thread: &ThreadState| thread.regions.swap(depth, Ordering::Relaxed);
        let before = tls::with_thread(swap(0));
        let result = f();
        if let Some(depth) = before {
            let _on_thread = tls::with_thread(swap(depth));
        }
        result
    }
}
