//! How long the sweep waits between two steps for the sake of foreground requests.
//!
//! The volume layer counts requests and times them; this is the policy. It never waits longer than a fixed limit, so
//! that a busy volume is converted too, only later.
//!
//! * `Full`: no pause.
//! * `Balanced`: no pause while nobody else uses the volume. Otherwise the pause doubles while requests take clearly
//!   longer than the best latency seen, and halves while they do not.
//! * `Background`: a long pause while the volume is in use, a short one otherwise.
//!
//! Where flushes hold others up, both `Balanced` and `Background` then rest for as long as `rest.rs` says.
use core::time::Duration;

use super::rest::{Flushed, Rests, Traffic};

/// The policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// Use the device.
    Full,
    /// Yield to foreground requests.
    #[default]
    Balanced,
    /// Stay out of the way.
    Background,
}

/// What the data path saw since the last step ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Foreground {
    /// Requests completed, about.
    pub completed: u32,
    /// Requests under way now, waiting ones included.
    pub outstanding: u32,
    /// Mean latency of some of the completed ones; zero when none of them was measured.
    pub mean_latency: Duration,
}

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(64);
const BACKGROUND_IDLE: Duration = Duration::from_millis(5);
const BACKGROUND_BUSY: Duration = Duration::from_millis(250);

/// Paces one sweep.
#[derive(Debug, Default)]
pub struct Throttle {
    pace: Pace,
    /// The pause before the next step under `Balanced`.
    pause: Duration,
    /// The best mean latency seen. It creeps upwards, so that a device that became slower is measured by what it is.
    best: Option<Duration>,
    rests: Rests,
}

impl Throttle {
    /// A throttle that has seen nothing.
    #[must_use]
    pub const fn new(pace: Pace) -> Self {
        Self { pace, pause: Duration::ZERO, best: None, rests: Rests::new() }
    }

    /// Whether flushes hold others up, so that nobody is let in between the flushes of a step.
    pub(super) const fn holds(&self) -> bool {
        self.rests.holds()
    }

    pub(super) const fn is_resting(&self) -> bool {
        self.rests.is_resting()
    }

    /// A step has ended and is followed by a pause. `flushed`: its flushes while others were let in; `waited` requests were
    /// made to wait for the whole of it.
    pub(super) fn rest(&mut self, now: Duration, traffic: Traffic, flushed: Flushed, waited: u64) {
        self.rests.begin(now, traffic, flushed, waited);
    }

    /// How much longer to rest before this is asked again; `None`: not at all.
    pub(super) fn rest_on(&mut self, now: Duration, traffic: Traffic) -> Option<Duration> {
        self.rests.go_on(now, traffic)
    }

    /// How long to wait before the next step. To be called once after each step.
    #[must_use]
    pub fn pause(&mut self, seen: Foreground) -> Duration {
        let busy = seen.completed > 0 || seen.outstanding > 0;
        match self.pace {
            Pace::Full => Duration::ZERO,
            Pace::Background if busy => BACKGROUND_BUSY,
            Pace::Background => BACKGROUND_IDLE,
            Pace::Balanced => {
                self.pause = if busy { self.balanced(seen) } else { Duration::ZERO };
                self.pause
            }
        }
    }

    fn balanced(&mut self, seen: Foreground) -> Duration {
        if self.is_slow(seen) {
            return self.pause.saturating_mul(2).clamp(SHORTEST, LONGEST);
        }
        (self.pause / 2).max(SHORTEST)
    }

    /// True when requests take more than five quarters of the best latency, or none completes at all.
    fn is_slow(&mut self, seen: Foreground) -> bool {
        if seen.completed == 0 {
            return true;
        }
        let latency = seen.mean_latency;
        if latency.is_zero() {
            return false;
        }
        let best = self.best.map_or(latency, |best| best.saturating_add(best / 64).min(latency));
        self.best = Some(best);
        latency > best.saturating_add(best / 4)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{assert, assert_eq};

    use super::*;

    fn busy(latency_us: u64) -> Foreground {
        Foreground { completed: 10, outstanding: 1, mean_latency: Duration::from_micros(latency_us) }
    }

    #[test]
    fn full_never_pauses() {
        let mut throttle = Throttle::new(Pace::Full);
        assert_eq!(throttle.pause(busy(1_000_000)), Duration::ZERO);
    }

    #[test]
    fn background_pauses_always_and_longer_when_busy() {
        let mut throttle = Throttle::new(Pace::Background);
        let idle = throttle.pause(Foreground::default());
        assert!(!idle.is_zero() && idle < throttle.pause(busy(1)));
    }

    #[test]
    fn balanced_pauses_only_while_the_volume_is_in_use() {
        let mut throttle = Throttle::new(Pace::Balanced);
        assert_eq!(throttle.pause(Foreground::default()), Duration::ZERO);
        assert_eq!(throttle.pause(busy(100)), SHORTEST);
        assert_eq!(throttle.pause(Foreground::default()), Duration::ZERO);
    }

    #[test]
    fn balanced_backs_off_while_requests_are_slow_and_returns() {
        let mut throttle = Throttle::new(Pace::Balanced);
        assert_eq!(throttle.pause(busy(100)), SHORTEST);
        let mut last = SHORTEST;
        for _ in 0..6 {
            let pause = throttle.pause(busy(1000));
            assert!(pause > last);
            last = pause;
        }
        assert_eq!(last, LONGEST);
        assert_eq!(throttle.pause(busy(1000)), LONGEST, "progress is guaranteed");
        for _ in 0..10 {
            last = throttle.pause(busy(100));
        }
        assert_eq!(last, SHORTEST);
    }

    #[test]
    fn balanced_backs_off_when_nothing_completes_at_all() {
        let mut throttle = Throttle::new(Pace::Balanced);
        let stuck = Foreground { completed: 0, outstanding: 4, mean_latency: Duration::ZERO };
        let first = throttle.pause(stuck);
        assert!(throttle.pause(stuck) > first);
    }

    #[test]
    fn what_was_slow_becomes_the_measure_if_it_stays() {
        let mut throttle = Throttle::new(Pace::Balanced);
        let _ = throttle.pause(busy(100));
        for _ in 0..400 {
            let _ = throttle.pause(busy(1000));
        }
        assert_eq!(throttle.pause(busy(1000)), SHORTEST);
    }
}
