//! IRQL, critical and guarded regions.

use std::sync::atomic::Ordering;

use crate::abi::routine::routines;
use crate::abi::*;
use crate::core::{Kernel, Rule};

fn change_region(kernel: &Kernel, guarded: bool, enter: bool) {
    let balanced = kernel.with_thread(|thread| {
        let depth = if guarded { thread.guarded_depth() } else { thread.critical_depth() };
        let next = if enter { depth.checked_add(1) } else { depth.checked_sub(1) };
        if let Some(next) = next {
            if guarded {
                thread.set_guarded_depth(next);
            } else {
                thread.set_critical_depth(next);
                let regions = thread.regions.load(Ordering::Relaxed);
                let regions = if enter { regions.saturating_add(1) } else { regions.saturating_sub(1) };
                thread.regions.store(regions, Ordering::Relaxed);
            }
        }
        next.is_some()
    });
    if balanced == Some(false) {
        kernel.finding(Rule::LockNotHeld, "a critical or guarded region was left that was not entered");
    }
}

fn lower(kernel: &Kernel, irql: KIRQL) {
    if irql > kernel.irql() {
        kernel.finding(Rule::BadArgument, format!("KeLowerIrql from {} to {irql}", kernel.irql()));
    }
    kernel.set_irql(irql);
}

fn raise(kernel: &Kernel, irql: KIRQL) -> KIRQL {
    if irql < kernel.irql() {
        kernel.finding(Rule::BadArgument, format!("KeRaiseIrql from {} to {irql}", kernel.irql()));
    }
    kernel.set_irql(irql)
}

routines! {
    /// Returns the current IRQL. Any IRQL.
    fn KeGetCurrentIrql() -> KIRQL, max 15 => |k| { k.irql() }

    /// Raises the IRQL and returns the old one; the new IRQL must not be lower than the current one (bug check
    /// IRQL_NOT_GREATER_OR_EQUAL). Any IRQL.
    fn KfRaiseIrql(NewIrql: KIRQL) -> KIRQL, max 15 => |k| { raise(k, NewIrql) }

    /// Raises the IRQL to DISPATCH_LEVEL and returns the old one. At or below DISPATCH_LEVEL.
    fn KeRaiseIrqlToDpcLevel() -> KIRQL, max 2 => |k| { raise(k, 2) }

    /// Lowers the IRQL; the new IRQL must not be higher than the current one. Any IRQL.
    fn KeLowerIrql(NewIrql: KIRQL), max 15 => |k| { lower(k, NewIrql); }

    /// Disables normal kernel APCs until the matching KeLeaveCriticalRegion. At or below APC_LEVEL.
    fn KeEnterCriticalRegion(), max 1 => |k| { change_region(k, false, true); }

    /// Ends a critical region. At or below APC_LEVEL. Leaving what was not entered is a finding.
    fn KeLeaveCriticalRegion(), max 1 => |k| { change_region(k, false, false); }

    /// Disables all APCs until the matching KeLeaveGuardedRegion. At or below APC_LEVEL.
    fn KeEnterGuardedRegion(), max 1 => |k| { change_region(k, true, true); }

    /// Ends a guarded region. At or below APC_LEVEL.
    fn KeLeaveGuardedRegion(), max 1 => |k| { change_region(k, true, false); }

    /// Whether normal kernel APCs are disabled for the current thread. At or below DISPATCH_LEVEL.
    fn KeAreApcsDisabled() -> BOOLEAN, max 2 => |k| {
        let disabled = k.with_thread(|thread| thread.critical_depth() > 0 || thread.guarded_depth() > 0);
        BOOLEAN::from(disabled.unwrap_or(false))
    }

    /// Whether all APCs are disabled: guarded region or IRQL of at least APC_LEVEL. Any IRQL.
    fn KeAreAllApcsDisabled() -> BOOLEAN, max 15 => |k| {
        let guarded = k.with_thread(|thread| thread.guarded_depth() > 0).unwrap_or(false);
        BOOLEAN::from(guarded || k.irql() >= 1)
    }
}
