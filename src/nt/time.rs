//! Clocks and delays.

use core::time::Duration;

use super::irql::Passive;
use super::sys;

/// `limit` as the kernel wants a relative time: negative, in units of 100 ns.
pub(super) fn relative(limit: Duration) -> sys::LARGE_INTEGER {
    let ticks = i64::try_from(limit.as_nanos() / 100).unwrap_or(i64::MAX);
    sys::LARGE_INTEGER { QuadPart: ticks.saturating_neg() }
}

/// Sleeps at least `limit`.
pub fn sleep(_: Passive, limit: Duration) {
    let mut due = relative(limit);
    // SAFETY: PASSIVE_LEVEL by the witness; `due` outlives the call; not alertable.
    let _ = unsafe { sys::KeDelayExecutionThread(sys::_MODE::KernelMode as sys::KPROCESSOR_MODE, 0, &raw mut due) };
}

/// A point on the performance counter. Any IRQL.
#[derive(Clone, Copy)]
pub struct Instant {
    ticks: i64,
    per_second: i64,
}

impl Instant {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let mut frequency = sys::LARGE_INTEGER { QuadPart: 0 };
        // SAFETY: any IRQL; `frequency` is writable.
        let counter = unsafe { sys::KeQueryPerformanceCounter(&raw mut frequency) };
        // SAFETY: both views of the union are plain integers, and the routine filled the whole.
        let ticks = unsafe { counter.QuadPart };
        // SAFETY: as above.
        let per_second = unsafe { frequency.QuadPart };
        Self { ticks, per_second }
    }

    /// Time since then.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        let ticks = Self::now().ticks.saturating_sub(self.ticks).max(0).unsigned_abs();
        let rate = self.per_second.max(1).unsigned_abs();
        let nanos = u128::from(ticks).saturating_mul(1_000_000_000).checked_div(u128::from(rate)).unwrap_or(0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The performance counter in nanoseconds; only differences mean anything. Any IRQL.
#[must_use]
pub fn nanoseconds() -> u64 {
    let now = Instant::now();
    let (ticks, rate) = (u128::from(now.ticks.max(0).unsigned_abs()), u128::from(now.per_second.max(1).unsigned_abs()));
    u64::try_from(ticks.saturating_mul(1_000_000_000).checked_div(rate).unwrap_or(0)).unwrap_or(u64::MAX)
}

/// System time since 1601 in units of 100 ns. Any IRQL.
pub(crate) fn system_time() -> u64 {
    let mut now = sys::LARGE_INTEGER { QuadPart: 0 };
    // SAFETY: any IRQL; `now` is writable.
    unsafe { sys::KeQuerySystemTimePrecise(&raw mut now) };
    // SAFETY: the routine filled the whole union.
    unsafe { now.QuadPart }.max(0).unsigned_abs()
}
