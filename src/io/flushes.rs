//! Flushes of one device by everybody: what one of them that failed took with it is known to all who had written.
//!
//! A device that fails a flush may have dropped what it was to make durable, whoever had written that; the next flush, with nothing
//! left to do, then succeeds. So a writer whose own flush succeeds asks whether another one failed since it wrote.
//!
//! # Invariants
//! * A flush of a program is inside `passing` from before it is sent until its outcome is counted.
//! * Everything that is not a success is counted, warnings such as a reset of the bus too; but a device without a flush drops nothing.
//!
//! # Ordering rules
//! A writer notes [`Flushes::failures`] before its first write is sent. After its own flush has succeeded it calls
//! [`Flushes::failures_so_far`], which waits for those that were under way, and compares: a flush that the device failed before
//! ours was counted by then, whichever completion routine ran first.

use core::sync::atomic::{AtomicU64, Ordering};

use vck_common::{NtStatus, VckResult};

use crate::nt::{Entered, ModeCell, Passive, Stay};

/// The flushes of one device.
pub struct Flushes {
    passing: ModeCell<()>,
    failed: AtomicU64,
}

impl Flushes {
    /// None yet. Errors: no memory.
    pub fn try_new() -> VckResult<Self> {
        Ok(Self { passing: ModeCell::try_new()?, failed: AtomicU64::new(0) })
    }

    /// A program's flush is about to be sent. IRQL <= DISPATCH_LEVEL.
    pub fn enter(&self) -> Entered<'_, ()> {
        self.passing.enter()
    }

    /// That flush has ended with `status`. IRQL <= DISPATCH_LEVEL.
    pub fn ended(&self, stay: Stay, status: NtStatus) {
        if !status.is_success() && !status.is_no_flush() {
            self.note_failure();
        }
        drop(self.passing.resume(stay));
    }

    /// A flush of the driver's own has failed.
    pub(super) fn note_failure(&self) {
        self.failed.fetch_add(1, Ordering::AcqRel);
    }

    /// Flushes that have failed, for a writer that is about to write.
    pub(super) fn failures(&self) -> u64 {
        self.failed.load(Ordering::Acquire)
    }

    /// The same, for a writer whose flush has succeeded: those counted that programs had sent before this call. Waits for them.
    pub(super) fn failures_so_far(&self, passive: Passive) -> u64 {
        drop(self.passing.exchange(passive, None));
        self.failures()
    }
}
