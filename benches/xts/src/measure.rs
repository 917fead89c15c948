//! One core: every implementation in turn, round after round, so that whatever else the machine does hits all alike.

use std::io;

use crate::contender::{Contender, Who};
use crate::peer::BUFFER;

const ROUNDS: usize = 25;

/// What is measured for each implementation: sector size and direction.
pub(crate) const CASES: [(usize, bool); 4] = [(512, true), (512, false), (4096, true), (4096, false)];

/// One implementation in one case, GB/s (10^9 bytes).
#[derive(Clone, Debug)]
pub(crate) struct Speed {
    pub(crate) who: Who,
    pub(crate) sector: usize,
    pub(crate) encrypt: bool,
    pub(crate) median: f64,
    /// First and third quartile of the rounds.
    pub(crate) quartiles: (f64, f64),
}

/// Bytes per nanosecond.
#[expect(clippy::cast_precision_loss, reason = "a time and a size far below 2^52")]
pub(crate) fn speed(bytes: usize, nanos: u64) -> f64 {
    bytes as f64 / nanos.max(1) as f64
}

/// Median, first and third quartile.
pub(crate) fn quartiles(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_unstable_by(f64::total_cmp);
    let at = |part: usize| values[(values.len() - 1) * part / 4];
    (at(2), at(1), at(3))
}

/// Measures for about `seconds`.
pub(crate) fn one_core(all: &mut [Contender], seconds: u64) -> io::Result<Vec<Speed>> {
    let series = all.len() * CASES.len();
    let share = seconds.saturating_mul(1_000_000_000) / (series * ROUNDS) as u64;
    let mut passes = Vec::new();
    for contender in &mut *all {
        for (sector, encrypt) in CASES {
            passes.push((share / contender.time(encrypt, sector, 5)?.max(1)).max(3));
        }
    }
    let mut rounds = vec![Vec::new(); series];
    for _ in 0..ROUNDS {
        // Cases outside, so that what is compared is measured within the same tenths of a second.
        for (case, (sector, encrypt)) in CASES.into_iter().enumerate() {
            for (number, contender) in all.iter_mut().enumerate() {
                let at = number * CASES.len() + case;
                rounds[at].push(speed(BUFFER, contender.time(encrypt, sector, passes[at])?));
            }
        }
    }
    let mut speeds = Vec::new();
    for (number, contender) in all.iter().enumerate() {
        for (case, (sector, encrypt)) in CASES.into_iter().enumerate() {
            let (median, low, high) = quartiles(std::mem::take(&mut rounds[number * CASES.len() + case]));
            speeds.push(Speed { who: contender.who, sector, encrypt, median, quartiles: (low, high) });
        }
    }
    Ok(speeds)
}
