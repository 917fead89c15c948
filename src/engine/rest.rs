//! How long the sweep rests where its flushes hold everybody else up.
//!
//! Some devices do nothing else while they flush. A rotating disk whose cache is full of scattered writes is busy for a quarter of
//! a second, and every request that is there meanwhile is late. On such a device
//! * nobody is let in from the end of the first flush of a step to the end of the step ([`Rests::holds`]), see `begin.rs`;
//! * who was there in the first flush, or waited then, is counted, and the sweep rests until `SHARE` times as many requests have
//!   completed.
//!
//! Whether a device is of that kind is measured in every step: fewer than half as many requests complete while it flushes as
//! complete in the same time while the sweep rests.
//!
//! A rest ends early when nobody is there any more, and after `LONGEST`, so that every volume is converted.
use core::time::Duration;

use super::pace::scaled;

/// Requests that are to complete for each that was late: fewer than one in a hundred is to be late, with some room for those that
/// are not counted, because a step slows them down without a flush.
const SHARE: u64 = 128;
/// The longest rest. A step is up to 4 MiB, so that even beside requests without end a terabyte takes weeks, not years.
const LONGEST: Duration = Duration::from_secs(10);
/// So many requests tell what is usual.
const ENOUGH: u64 = 64;
/// If they do not come, what came within this time does.
const LONGEST_LOOK: Duration = Duration::from_millis(250);
/// Flushes are judged once so many requests should have completed.
const ENOUGH_EXPECTED: u64 = 32;
/// The volume is idle when nothing happens for so many times the usual time between two requests.
const IDLE_GAPS: u32 = 4;
const SHORTEST_IDLE: Duration = Duration::from_millis(10);
const LONGEST_IDLE: Duration = Duration::from_millis(250);
const SHORTEST_SLICE: Duration = Duration::from_millis(1);
const LONGEST_SLICE: Duration = Duration::from_millis(10);

/// What the data path counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests that completed so far, about; wraps.
    pub completed: u64,
    /// Requests under way.
    pub inside: u64,
    /// Requests that wait for a zone to open.
    pub waiting: u64,
}

/// Flushes of the sweep while others were let in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flushed {
    /// How long they took, less the share of those who waited for a zone and could not complete.
    time: Duration,
    /// Requests that completed meanwhile.
    completed: u64,
    /// Requests that were there, in each flush.
    caught: u64,
}

impl Flushed {
    /// A flush took `time`.
    pub(super) fn add(&mut self, time: Duration, before: Traffic, after: Traffic) {
        let inside = before.inside.saturating_add(after.inside);
        let all = inside.saturating_add(before.waiting).saturating_add(after.waiting);
        self.time = self.time.saturating_add(scaled(time, inside, all));
        self.completed = self.completed.saturating_add(after.completed.wrapping_sub(before.completed));
        self.caught = self.caught.saturating_add(before.inside.max(after.inside));
    }

    fn join(&mut self, other: Self) {
        self.time = self.time.saturating_add(other.time);
        self.completed = self.completed.saturating_add(other.completed);
        self.caught = self.caught.saturating_add(other.caught);
    }
}

/// Requests that completed in a time.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    completed: u64,
    time: Duration,
}

impl Rate {
    fn and(self, other: Self) -> Self {
        let completed = self.completed.saturating_add(other.completed);
        Self { completed, time: self.time.saturating_add(other.time) }
    }

    /// The mean time from one to the next.
    fn gap(self) -> Duration {
        scaled(self.time, 1, self.completed)
    }

    fn expected_in(self, time: Duration) -> u64 {
        let product = u128::from(self.completed).saturating_mul(time.as_nanos());
        u64::try_from(product.checked_div(self.time.as_nanos()).unwrap_or(0)).unwrap_or(u64::MAX)
    }
}

/// A rest under way.
#[derive(Clone, Copy, Debug)]
struct Rest {
    begun: Duration,
    /// Completed then.
    before: u64,
    /// When somebody was last seen, and what had completed since the rest began.
    last_seen: Duration,
    completed: u64,
    /// Requests to wait for, once it is known what is usual.
    owed: Option<u64>,
}

/// Decides about rests.
#[derive(Debug, Default)]
pub(super) struct Rests {
    /// What completes while the sweep rests.
    usual: Rate,
    /// Not judged yet.
    flushed: Flushed,
    holds: bool,
    /// Requests that were made to wait and are not rested for.
    waited: u64,
    now: Option<Rest>,
}

impl Rests {
    pub(super) const fn new() -> Self {
        Self {
            usual: Rate { completed: 0, time: Duration::ZERO },
            flushed: Flushed { time: Duration::ZERO, completed: 0, caught: 0 },
            holds: false,
            waited: 0,
            now: None,
        }
    }

    /// Whether flushes hold others up, so that everybody had better wait for a whole step.
    pub(super) const fn holds(&self) -> bool {
        self.holds
    }

    pub(super) const fn is_resting(&self) -> bool {
        self.now.is_some()
    }

    /// A step has ended beside others, and `waited` requests were made to wait for it.
    pub(super) fn begin(&mut self, now: Duration, traffic: Traffic, flushed: Flushed, waited: u64) {
        self.flushed.join(flushed);
        self.waited = self.waited.saturating_add(waited);
        self.now = Some(Rest { begun: now, before: traffic.completed, last_seen: now, completed: 0, owed: None });
    }

    /// How long to go on resting before this is asked again; `None`: the rest is over.
    pub(super) fn go_on(&mut self, now: Duration, traffic: Traffic) -> Option<Duration> {
        let mut rest = self.now?;
        let completed = traffic.completed.wrapping_sub(rest.before);
        if completed != rest.completed || traffic.inside > 0 {
            (rest.completed, rest.last_seen) = (completed, now);
        }
        let (rested, alone) = (now.saturating_sub(rest.begun), now.saturating_sub(rest.last_seen));
        let seen = Rate { completed, time: rest.last_seen.saturating_sub(rest.begun) };
        let usual = self.usual.and(seen);
        let idle = usual.gap().saturating_mul(IDLE_GAPS).clamp(SHORTEST_IDLE, LONGEST_IDLE);
        if rest.owed.is_none() && (usual.completed >= ENOUGH || rested >= LONGEST_LOOK) {
            rest.owed = Some(self.judge(usual));
        }
        self.now = Some(rest);
        if alone >= idle || rested >= LONGEST || rest.owed.is_some_and(|owed| completed >= owed) {
            self.end(seen);
            return None;
        }
        let missing = rest.owed.unwrap_or(ENOUGH).saturating_sub(completed);
        let expected = usual.gap().saturating_mul(u32::try_from(missing).unwrap_or(u32::MAX));
        Some(expected.clamp(SHORTEST_SLICE, LONGEST_SLICE))
    }

    /// Who waited before the volume fell idle is not made up for later.
    fn end(&mut self, seen: Rate) {
        self.now = None;
        self.waited = 0;
        self.usual = self.usual.and(seen);
        if self.usual.completed > ENOUGH.saturating_mul(ENOUGH) {
            // What is usual changes.
            self.usual = Rate { completed: self.usual.completed / 2, time: self.usual.time / 2 };
        }
    }

    /// What the flushes were to others, and how many requests have to complete to make up for it.
    fn judge(&mut self, usual: Rate) -> u64 {
        let expected = usual.expected_in(self.flushed.time);
        if expected >= ENOUGH_EXPECTED {
            self.holds = self.flushed.completed.saturating_mul(2) < expected;
            if self.holds {
                self.waited = self.waited.saturating_add(self.flushed.caught);
            }
            self.flushed = Flushed::default();
        }
        self.waited.saturating_mul(SHARE)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{assert, assert_eq};

    use super::*;

    const STALL: Duration = Duration::from_millis(230);

    /// A device with others on it, four at a time, and its clock.
    struct Device {
        now: Duration,
        traffic: Traffic,
        gap: Duration,
        /// Time that did not make up a request yet.
        left: Duration,
        rests: Rests,
    }

    impl Device {
        fn new(gap: Duration) -> Self {
            let traffic = Traffic { completed: u64::MAX - 20, inside: 4, waiting: 0 };
            Self { now: Duration::from_secs(1), traffic, gap, left: Duration::ZERO, rests: Rests::new() }
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
            self.left += time;
            let completed = u64::try_from(self.left.as_nanos() / self.gap.as_nanos()).unwrap();
            self.left -= self.gap * u32::try_from(completed).unwrap();
            self.traffic.completed = self.traffic.completed.wrapping_add(completed);
        }

        /// A step whose flush of `STALL` lets so many complete, and the rest after it.
        fn step(&mut self, completed: u64, waited: u64) -> Duration {
            let mut flushed = Flushed::default();
            let before = self.traffic;
            self.now += STALL;
            self.traffic.completed = self.traffic.completed.wrapping_add(completed);
            flushed.add(STALL, before, self.traffic);
            self.rests.begin(self.now, self.traffic, flushed, waited);
            self.rest()
        }

        fn rest(&mut self) -> Duration {
            let begun = self.now;
            while let Some(time) = self.rests.go_on(self.now, self.traffic) {
                assert!((SHORTEST_SLICE..=LONGEST_SLICE).contains(&time), "{time:?}");
                self.pass(time);
            }
            assert!(!self.rests.is_resting() && self.rests.go_on(self.now, self.traffic).is_none());
            self.now.saturating_sub(begun)
        }
    }

    #[test]
    fn who_was_held_up_is_made_up_for() {
        let mut device = Device::new(Duration::from_millis(7));
        // 33 are expected while it flushes.
        let rest = device.step(5, 0);
        assert!(device.rests.holds());
        assert!(
            (Duration::from_millis(4 * 128 * 7)..Duration::from_millis(4 * 128 * 7 + 50)).contains(&rest),
            "{rest:?}"
        );
        let rest = device.step(5, 4);
        assert!(
            (Duration::from_millis(8 * 128 * 7)..Duration::from_millis(8 * 128 * 7 + 50)).contains(&rest),
            "{rest:?}"
        );
        let rest = device.step(5, 400);
        assert!((LONGEST..=LONGEST + LONGEST_SLICE).contains(&rest), "{rest:?}");
        let rest = device.step(5, 0);
        assert!(rest < Duration::from_secs(4), "nothing is left of what was not made up for: {rest:?}");
    }

    #[test]
    fn nobody_is_made_up_for_who_was_served_meanwhile() {
        let mut device = Device::new(Duration::from_micros(20));
        let look = device.step(9000, 0);
        assert!(look < Duration::from_millis(5), "a look at what is usual: {look:?}");
        for _ in 0..20 {
            assert_eq!(device.step(9000, 0), Duration::ZERO);
        }
        assert!(!device.rests.holds());
        // A device may change.
        assert!(device.step(100, 0) > Duration::from_millis(8));
        assert!(device.rests.holds());
        device.step(9000, 4);
        assert!(!device.rests.holds());
    }

    #[test]
    fn who_waits_for_a_zone_is_not_held_up_by_the_device() {
        let mut device = Device::new(Duration::from_millis(1));
        device.step(230, 0);
        // Three of four wait.
        device.traffic = Traffic { inside: 1, waiting: 3, ..device.traffic };
        assert_eq!(device.step(58, 0), Duration::ZERO);
        assert!(!device.rests.holds());
    }

    #[test]
    fn a_rest_is_over_when_the_volume_is_idle() {
        for (gap, least, most) in [(100, 10, 20), (20_000, 80, 90), (400_000, 250, 260)] {
            let mut device = Device::new(Duration::from_micros(gap));
            for _ in 0..3 {
                device.step(0, 4);
            }
            device.rests.begin(device.now, device.traffic, Flushed::default(), 64);
            for _ in 0..10 {
                let time = device.rests.go_on(device.now, device.traffic).unwrap();
                device.pass(time.max(device.gap));
            }
            device.traffic.inside = 0;
            device.gap = Duration::MAX;
            let rest = device.rest().as_millis();
            assert!((least..=most).contains(&rest), "{gap}: {rest} ms");
        }
    }

    #[test]
    fn requests_that_a_device_keeps_end_no_rest_and_prolong_none() {
        let mut device = Device::new(Duration::from_hours(1));
        assert!(device.step(0, 0) <= LONGEST_LOOK + LONGEST_SLICE, "nothing is known");
        let mut device = Device::new(Duration::from_millis(7));
        device.step(0, 0);
        device.gap = Duration::MAX;
        assert!((LONGEST..=LONGEST + LONGEST_SLICE).contains(&device.step(0, 0)));
    }
}
