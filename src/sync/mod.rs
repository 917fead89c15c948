//! Every atomic protocol of the driver, each as a small type that is generic over its atomics.
//!
//! Two protocols live here: [`RangeGate`] admits requests to ranges of the data region and keeps them out of the zone
//! that is being converted; [`Epochs`] lets a change of mode wait until every request that saw the old mode is done.
//! Neither of them waits. Both tell their caller, through [`Wake`], that a waiter may have to be signalled, and
//! leave the event and the thread to the layers that know the kernel.
//!
//! # Invariants
//! * A protocol is decided by the modification order of single words: the bit that refuses a request and the count
//!   of admitted requests share one word, so one atomic addition both counts a request and tells whether it may go
//!   on. No protocol rests on a fence or on an order between two words beyond acquire and release.
//! * The types own no kernel object and may be used at any IRQL up to `HIGH_LEVEL`.
//!
//! # Ordering rules
//! A refusal and a departure are additions with release semantics; a scan for "nothing left" is an acquire load.
//! Everything a request did before it left is therefore visible to whoever saw the count reach zero.
//!
//! The package `tests/loom` runs these sources over the atomics of the `loom` model checker.
#![forbid(unsafe_code)]

mod atomics;
mod epoch;
mod gate;

pub use atomics::{AtomicWord, Atomics, Native};
pub use epoch::{EpochTicket, Epochs, OldEpoch, StillDraining};
pub use gate::{Access, RangeGate, Refusal, Refused};

/// Whether somebody who waits for counts to drain has to be signalled now.
///
/// The signal may be superfluous, never missing: a waiter scans, and waits only when the scan says "not yet".
/// The event that is signalled must outlive the signal; the count that was given back no longer keeps it alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a waiter that is not signalled waits forever"]
pub enum Wake {
    /// Nobody waits for the counts just given back.
    Nobody,
    /// A waiter may now find everything drained.
    Waiter,
}

impl Wake {
    /// True when a waiter has to be signalled.
    #[must_use]
    pub const fn is_needed(self) -> bool {
        matches!(self, Self::Waiter)
    }

    /// The signal that covers both.
    const fn or(self, other: Self) -> Self {
        match self {
            Self::Waiter => Self::Waiter,
            Self::Nobody => other,
        }
    }
}
