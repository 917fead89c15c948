//! How long the sweep waits between two steps for the sake of foreground requests.
//!
//! The volume layer counts requests and times them; this is the policy. It never waits longer than a fixed limit, so
//! that a busy volume is converted too, only later.
//!
//! * `Full`: no pause.
//! * `Balanced`: no pause while the volume is otherwise idle. While it is in use the pause doubles as long as requests
//!   take clearly longer than they do between steps' pauses at best, and halves when they do not.
//! * `Background`: a long pause while the volume is in use, a short one otherwise.
use core::time::Duration;

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
    /// Requests completed.
    pub completed: u32,
    /// Requests under way now, waiting ones included.
    pub outstanding: u32,
    /// Mean latency of the completed ones; zero when there were none.
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
    /// The best mean latency seen, which creeps upwards so that one lucky moment does not set the measure for ever.
    best: Option<Duration>,
}

impl Throttle {
    /// A throttle that has seen nothing.
    #[must_use]
    pub const fn new(pace: Pace) -> Self {
        Self { pace, pause: Duration::ZERO, best: None }
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
        let best = self.best.map_or(latency, |best| best.saturating_add(best / 64).min(latency));
        self.best = Some(best);
        latency > best.saturating_add(best / 4)
    }
}
