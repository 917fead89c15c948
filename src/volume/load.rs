//! How much a volume is used beside its conversion, measured in passing.
//!
//! How many requests there are the gate knows. How long they take is measured for one in sixteen, chosen by its first sector, so that
//! the data path's processors do not share a word with every request. Nothing is stored with a request: its arrival is subtracted from a sum and its departure added, and
//! what requests inside are missing is made up when the sum is read.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use vck_common::DataExtent;

use crate::nt::nanoseconds;

/// One request in so many is measured.
const SAMPLE: u64 = 16;

/// The words are apart from everything else that is written often.
#[repr(align(64))]
pub(super) struct Load {
    /// Departures minus arrivals, in nanoseconds of the clock, wrapping.
    nanos: AtomicU64,
    arrivals: AtomicU64,
    departures: AtomicU64,
}

/// What was seen when the sweep last asked.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    /// Of all requests.
    completed: u64,
    /// Of the measured ones.
    departures: u64,
    /// Time spent inside by all of them until then.
    nanos: u64,
}

fn is_sampled(extent: DataExtent) -> bool {
    // Requests are a few sectors long and aligned to that; the multiplication spreads them.
    extent.first.get().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32 & (SAMPLE - 1) == 0
}

impl Load {
    pub(super) const fn new() -> Self {
        Self { nanos: AtomicU64::new(0), arrivals: AtomicU64::new(0), departures: AtomicU64::new(0) }
    }

    pub(super) fn entered(&self, extent: DataExtent) {
        if is_sampled(extent) {
            self.nanos.fetch_sub(nanoseconds(), Ordering::Relaxed);
            self.arrivals.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn left(&self, extent: DataExtent) {
        if is_sampled(extent) {
            self.nanos.fetch_add(nanoseconds(), Ordering::Relaxed);
            self.departures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What came since `last`: requests, of which `completed` have left by now, and their mean latency, zero if none of them was
    /// measured. The words are read one after the other, so that a request in between is counted half: an estimate.
    pub(super) fn since(&self, last: &mut Seen, completed: u64) -> (u32, Duration) {
        let departures = self.departures.load(Ordering::Relaxed);
        let inside = nanoseconds().wrapping_mul(self.arrivals.load(Ordering::Relaxed).saturating_sub(departures));
        let nanos = self.nanos.load(Ordering::Relaxed).wrapping_add(inside);
        let spent = nanos.wrapping_sub(last.nanos);
        // A request that was caught half way makes the difference negative.
        let spent = if spent > u64::MAX / 2 { 0 } else { spent };
        let measured = departures.saturating_sub(last.departures);
        let came = completed.wrapping_sub(last.completed);
        *last = Seen { completed, departures, nanos };
        (u32::try_from(came).unwrap_or(u32::MAX), Duration::from_nanos(spent.checked_div(measured).unwrap_or(0)))
    }
}
