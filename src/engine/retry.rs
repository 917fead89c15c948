//! How often a failure is tried again, and after how long.
//!
//! There are two circles. Within a step, while the zone is closed and both its sides are in memory, an operation is
//! repeated a few times with short pauses, because user requests wait: a second or so in each stage, which outlasts the reset of a
//! bus. When that is used up the step is undone, the gate opened, and the whole step is tried again after longer pauses, half a
//! minute in all: other paths to a device take that long to be found. Then the sweep stops as faulted. What is transient is not
//! guessed from the status: devices report passing conditions with any of them.
//!
//! What comes before a step, and is nobody's fault at the device, is tried for ever: memory, sealing, and the end of other
//! people's requests, which a disk may keep for minutes.
use core::time::Duration;

/// Attempts at one operation while the zone is closed.
pub(super) const HELD_TRIES: u32 = 3;
/// The pauses between them.
const HELD_PAUSES: [Duration; HELD_TRIES as usize - 1] = [Duration::from_millis(20), Duration::from_secs(1)];
/// Attempts at one step.
pub(super) const STEP_TRIES: u32 = 4;
/// The pauses between them in a conversion, for which nobody waits.
const CONVERSION_PAUSES: [Duration; STEP_TRIES as usize - 1] =
    [Duration::from_millis(500), Duration::from_secs(5), Duration::from_secs(25)];

/// Pauses do not become longer after so many failures: 6.4 s.
const MOST_PATIENT: u32 = 6;
const STEP_PAUSE: Duration = Duration::from_millis(200);

/// The pause after `failures` failures (one or more) of an operation inside a closed zone.
pub(super) fn held_pause(failures: u32) -> Duration {
    nth(HELD_PAUSES, failures)
}

/// The pause after `failures` failures (one or more) of a step of a conversion.
pub(super) fn conversion_pause(failures: u32) -> Duration {
    nth(CONVERSION_PAUSES, failures)
}

/// The pause after `failures` failures (one or more) of a step of an attach, for which somebody waits.
pub(super) fn step_pause(failures: u32) -> Duration {
    doubled(STEP_PAUSE, failures)
}

/// The pause before another attempt at what is tried for ever.
pub(super) fn patient_pause(failures: u32) -> Duration {
    step_pause(failures.min(MOST_PATIENT))
}

/// The pause after the first failure, the second and so on; after more the last one.
fn nth<const N: usize>(pauses: [Duration; N], failures: u32) -> Duration {
    let before = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX);
    pauses.get(before).or(pauses.last()).copied().unwrap_or_default()
}

fn doubled(first: Duration, failures: u32) -> Duration {
    let times = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(times)
}
