//! How large a step is.
//!
//! A step grows as long as the gate is closed for less than its limit and shrinks when it was closed for longer. The limit
//! is five times what it takes to make a small thing durable, but at least 10 ms: on a device with slow flushes short
//! steps would do little but flush.
use core::time::Duration;

use vck_common::SectorCount;

const LEAST_LIMIT: Duration = Duration::from_millis(10);
const LIMIT_IN_COMMITS: u32 = 5;

/// Chooses the size of steps.
#[derive(Debug)]
pub(super) struct StepSize {
    smallest: SectorCount,
    largest: SectorCount,
    size: SectorCount,
    /// Smoothed time to write an entry and to flush it.
    commit: Option<Duration>,
}

impl StepSize {
    pub(super) const fn new(smallest: SectorCount, largest: SectorCount) -> Self {
        Self { smallest, largest, size: smallest, commit: None }
    }

    /// The next step, which is short while others use the volume and the sweep yields to them.
    pub(super) const fn get(&self, yields: bool) -> SectorCount {
        if yields { self.smallest } else { self.size }
    }

    /// Something small was made durable.
    pub(super) fn committed_in(&mut self, time: Duration) {
        let smoothed = self.commit.map_or(time, |before| before.saturating_mul(3).saturating_add(time) / 4);
        self.commit = Some(smoothed);
    }

    /// The memory for larger steps is not there.
    pub(super) fn limit_to(&mut self, largest: SectorCount) {
        self.largest = self.largest.min(largest);
        self.size = self.size.min(self.largest);
    }

    /// A step of `count` sectors had its gate closed for `time`. Whether the size changed.
    pub(super) fn was_closed(&mut self, count: SectorCount, time: Duration) -> bool {
        let before = self.size;
        let limit = LEAST_LIMIT.max(self.commit.unwrap_or_default().saturating_mul(LIMIT_IN_COMMITS));
        if time > limit {
            self.size = scaled(count, limit, time).min(before);
        } else if count >= self.size && time.saturating_mul(4) < limit.saturating_mul(3) {
            let possible = scaled(count, limit, time.saturating_add(Duration::from_nanos(1)));
            self.size = possible.min(double(count));
        }
        self.size = self.size.min(self.largest);
        if self.size < self.smallest {
            self.size = self.smallest;
        }
        self.size != before
    }
}

fn double(count: SectorCount) -> SectorCount {
    count.checked_mul(2).unwrap_or(count)
}

/// `count` times `limit / time`, and a little less, because a part of the time does not depend on the size.
fn scaled(count: SectorCount, limit: Duration, time: Duration) -> SectorCount {
    let product = u128::from(count.get()).saturating_mul(limit.as_nanos()).saturating_mul(15);
    let scaled = product.checked_div(time.as_nanos().saturating_mul(16)).unwrap_or(0);
    SectorCount::new(u64::try_from(scaled).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{assert, assert_eq};

    use super::*;

    fn count(sectors: u64) -> SectorCount {
        SectorCount::new(sectors)
    }

    /// A device where every step takes `fixed` microseconds and 1 more for each sector.
    fn settled(step: &mut StepSize, fixed: u64) -> (SectorCount, Duration) {
        let mut time = Duration::ZERO;
        for _ in 0..64 {
            time = Duration::from_micros(fixed.saturating_add(step.get(false).get()));
            step.was_closed(step.get(false), time);
        }
        (step.get(false), time)
    }

    #[test]
    fn steps_grow_to_the_limit_of_the_closed_gate_and_no_further() {
        let mut step = StepSize::new(count(512), count(1 << 20));
        let (size, time) = settled(&mut step, 100);
        assert!(time <= LEAST_LIMIT && time > Duration::from_millis(7), "{time:?}");
        assert!(size > count(7000), "{size}");
        for _ in 0..8 {
            step.committed_in(Duration::from_millis(20));
        }
        let (_, time) = settled(&mut step, 100);
        assert!(time <= Duration::from_millis(100) && time > Duration::from_millis(70), "{time:?}");
    }

    #[test]
    fn steps_keep_to_their_limits() {
        let mut step = StepSize::new(count(512), count(4096));
        assert_eq!(settled(&mut step, 0).0, count(4096));
        assert_eq!(settled(&mut step, 1_000_000).0, count(512));
        assert_eq!(settled(&mut step, 0).0, count(4096));
        assert_eq!(step.get(true), count(512));
        step.limit_to(count(1024));
        assert_eq!(settled(&mut step, 0).0, count(1024));
    }
}
