//! IRQL witnesses: a routine that may only run at or below a level takes a value that proves it.
//!
//! # Invariants
//! A witness is made only where the current IRQL was read (or where the kernel promises it, such as the start of a
//! system thread) and cannot leave its thread (`!Send`). The wrappers of this module tree raise IRQL only inside
//! [`super::SpinLock::with`], whose closure receives no witness, so a witness stays true for as long as it is held.

use core::marker::PhantomData;

use super::sys;

/// Proof of IRQL = PASSIVE_LEVEL.
#[derive(Clone, Copy)]
pub struct Passive(PhantomData<*mut ()>);

/// Proof of IRQL <= APC_LEVEL.
#[derive(Clone, Copy)]
pub struct ApcOrBelow(PhantomData<*mut ()>);

/// The current IRQL. Any IRQL.
pub(crate) fn current() -> u8 {
    // SAFETY: KeGetCurrentIrql reads a processor register; callable at any IRQL.
    unsafe { sys::KeGetCurrentIrql() }
}

impl Passive {
    /// A witness if the current IRQL is PASSIVE_LEVEL.
    pub(crate) fn check() -> Option<Self> {
        (current() == 0).then_some(Self(PhantomData))
    }
}

impl ApcOrBelow {
    /// A witness if the current IRQL is at most APC_LEVEL.
    pub(crate) fn check() -> Option<Self> {
        (current() <= 1).then_some(Self(PhantomData))
    }
}

impl From<Passive> for ApcOrBelow {
    fn from(_: Passive) -> Self {
        Self(PhantomData)
    }
}
