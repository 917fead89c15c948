//! How large a step is, and whether it may be merged with the next one.
//!
//! While a zone is closed requests to it wait, so there is a limit: five times what a flush was measured to take, but at
//! least 10 ms. On a device with slow flushes short steps would do little but flush.
//!
//! A step grows until its zone is closed nearly as long as the limit allows. A merged step costs one flush less, but the next
//! zone is read while its own is closed. So steps are merged as long as the limit has room for that.
use core::time::Duration;

use vck_common::SectorCount;

const LEAST_LIMIT: Duration = Duration::from_millis(10);
const LIMIT_IN_FLUSHES: u32 = 5;
/// Sectors that a step may grow by for each that it had.
const MOST_GROWTH: u64 = 7;

/// How long the transfer of a zone took.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    count: SectorCount,
    time: Duration,
}

impl Rate {
    /// How long `count` sectors would take.
    fn time_of(self, count: SectorCount) -> Duration {
        scaled(self.time, count.get(), self.count.get())
    }

    /// How many sectors fit into `time`.
    fn sectors_in(self, time: Duration) -> SectorCount {
        let sectors = u128::from(self.count.get()).saturating_mul(time.as_nanos()).checked_div(self.time.as_nanos());
        SectorCount::new(sectors.and_then(|sectors| u64::try_from(sectors).ok()).unwrap_or(u64::MAX))
    }
}

/// How long zones were closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closures {
    /// Zones.
    pub zones: u64,
    /// The longest that one of them was closed.
    pub longest: Duration,
    /// What a flush took lately.
    pub flush: Duration,
}

/// Chooses the size of steps.
#[derive(Debug)]
pub(super) struct StepSize {
    smallest: SectorCount,
    largest: SectorCount,
    size: SectorCount,
    read: Rate,
    written: Rate,
    /// The last step, without what the next zone's reading took.
    closed: Rate,
    /// What of that came after the zone was written.
    ending: Duration,
    closures: Closures,
}

impl StepSize {
    pub(super) fn new(smallest: SectorCount, largest: SectorCount) -> Self {
        let (none, closures) = (Rate::default(), Closures::default());
        let ending = Duration::ZERO;
        Self { smallest, largest, size: smallest, read: none, written: none, closed: none, ending, closures }
    }

    /// The next step, which is short while others use the volume and the sweep yields to them.
    pub(super) const fn get(&self, yields: bool) -> SectorCount {
        if yields { self.smallest } else { self.size }
    }

    pub(super) const fn smallest(&self) -> SectorCount {
        self.smallest
    }

    /// What was seen since [`StepSize::begin`].
    pub(super) const fn closures(&self) -> Closures {
        self.closures
    }

    /// How long a step is closed is not known: another one is not expected to be like the last.
    pub(super) fn forget(&mut self) {
        self.closed = Rate::default();
    }

    /// A conversion begins or goes on.
    pub(super) fn begin(&mut self) {
        self.closures = Closures { flush: self.closures.flush, ..Closures::default() };
    }

    /// Something small was made durable, and the flush took `time`.
    pub(super) fn flushed_in(&mut self, time: Duration) {
        let before = self.closures.flush;
        let smoothed = before.saturating_mul(3).saturating_add(time) / 4;
        self.closures.flush = if before.is_zero() { time } else { smoothed };
    }

    /// A zone of `count` sectors was read in `time`.
    pub(super) fn read_in(&mut self, count: SectorCount, time: Duration) {
        self.read = Rate { count, time };
    }

    /// A zone of `count` sectors was written in `time`.
    pub(super) fn written_in(&mut self, count: SectorCount, time: Duration) {
        self.written = Rate { count, time };
    }

    /// The memory for larger steps is not there.
    pub(super) fn limit_to(&mut self, largest: SectorCount) {
        self.largest = self.largest.min(largest);
        self.size = self.size.min(self.largest);
    }

    /// Whether the limit has room for a step of `count` sectors that is flushed and read while its gate is closed.
    pub(super) fn has_room_to_read(&self, count: SectorCount) -> bool {
        let more = self.written.time_of(count).saturating_sub(self.written.time_of(self.closed.count));
        let expected = self.closed.time.saturating_add(more).saturating_add(self.read.time_of(count));
        !self.closed.count.is_zero() && expected.saturating_add(self.closures.flush) <= self.aim()
    }

    /// Whether the limit has room for reading `count` sectors, after a flush if need be, while a zone is closed that was
    /// written and is closed for `time` already.
    pub(super) fn has_room_to_read_next(&self, count: SectorCount, time: Duration, flushes: bool) -> bool {
        let flush = if flushes { self.closures.flush } else { Duration::ZERO };
        let expected = time.saturating_add(self.read.time_of(count)).saturating_add(flush);
        expected.saturating_add(self.ending) <= self.aim()
    }

    /// It took `time` to make a written zone and its commit durable, without the next zone's reading.
    pub(super) fn ended_in(&mut self, time: Duration) {
        self.ending = time;
    }

    /// A step of `count` sectors had its gate closed for `time`, `aside` of it for reasons that have nothing to do with the
    /// step's size.
    pub(super) fn was_closed(&mut self, count: SectorCount, time: Duration, aside: Duration) {
        self.closures.zones = self.closures.zones.saturating_add(1);
        self.closures.longest = self.closures.longest.max(time);
        let alone = time.saturating_sub(aside);
        self.closed = Rate { count, time: alone };
        let (before, aim) = (self.size, self.aim());
        if alone > self.limit() {
            let excess = self.written.sectors_in(alone.saturating_sub(aim));
            self.size = count.checked_sub(excess).unwrap_or(self.smallest).min(before);
        } else if count >= self.size {
            let most = SectorCount::new(count.get().saturating_mul(MOST_GROWTH));
            let room = self.written.sectors_in(aim.saturating_sub(alone)).min(most);
            let possible = count.checked_add(room).unwrap_or(count).min(self.largest);
            // Every change costs a batch of sealed blocks: not for a little.
            if possible.get() > before.get().saturating_add(before.get() / 16) {
                self.size = possible;
            }
        }
        self.size = self.size.min(self.largest);
        if self.size < self.smallest {
            self.size = self.smallest;
        }
    }

    fn limit(&self) -> Duration {
        LEAST_LIMIT.max(self.closures.flush.saturating_mul(LIMIT_IN_FLUSHES))
    }

    /// A little less than the limit, because no step takes exactly as long as the last one.
    fn aim(&self) -> Duration {
        self.limit().saturating_mul(31) / 32
    }
}

/// `by / of` times `time`; nothing if `of` is.
pub(super) fn scaled(time: Duration, by: u64, of: u64) -> Duration {
    let nanos = time.as_nanos().saturating_mul(u128::from(by)).checked_div(u128::from(of)).unwrap_or(0);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{assert, assert_eq};

    use super::*;

    fn count(sectors: u64) -> SectorCount {
        SectorCount::new(sectors)
    }

    /// A device where every step takes `fixed` microseconds and 1 more for each sector, which writing it takes.
    fn settled(step: &mut StepSize, fixed: u64) -> (SectorCount, Duration) {
        let mut time = Duration::ZERO;
        for _ in 0..64 {
            let size = step.get(false);
            step.written_in(size, Duration::from_micros(size.get()));
            time = Duration::from_micros(fixed.saturating_add(size.get()));
            step.was_closed(size, time, Duration::ZERO);
        }
        (step.get(false), time)
    }

    #[test]
    fn steps_grow_to_the_limit_of_the_closed_gate_and_no_further() {
        let mut step = StepSize::new(count(512), count(1 << 20));
        let (size, time) = settled(&mut step, 100);
        assert!(time <= LEAST_LIMIT && time > Duration::from_millis(9), "{time:?}");
        assert!(size > count(8900), "{size}");
        for _ in 0..64 {
            step.flushed_in(Duration::from_millis(20));
        }
        let (_, time) = settled(&mut step, 60_000);
        assert!(time <= Duration::from_millis(100) && time > Duration::from_millis(90), "{time:?}");
        assert_eq!((step.closures().zones, step.closures().flush), (128, Duration::from_millis(20)));
        assert!(step.closures().longest >= time);
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

    #[test]
    fn a_zone_is_read_while_another_is_closed_only_if_the_limit_has_room() {
        let mut step = StepSize::new(count(512), count(4096));
        let (size, time) = settled(&mut step, 3000);
        step.read_in(size, Duration::from_millis(2));
        step.flushed_in(Duration::from_micros(500));
        assert_eq!((size, time), (count(4096), Duration::from_micros(7096)));
        assert!(step.has_room_to_read(size), "9.6 ms of 10");
        step.ended_in(Duration::from_millis(3));
        assert!(step.has_room_to_read_next(size, Duration::from_micros(4600), false));
        assert!(!step.has_room_to_read_next(size, Duration::from_micros(4600), true));
        step.read_in(size, Duration::from_millis(3));
        assert!(!step.has_room_to_read(size) && step.has_room_to_read(count(2048)));
        // The next zone's reading is not what a step is made shorter for.
        step.was_closed(size, Duration::from_millis(11), Duration::from_millis(3));
        assert_eq!(step.get(false), size);
    }
}
