//! Many cases side by side.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::family::{Case, Family, Replay};
use crate::run::Run;
use crate::tally::{Effort, Failure, Tally};
use crate::weak::Weakness;

/// When a search ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// After this time.
    pub time: Option<Duration>,
    /// After so many cut points.
    pub cuts: Option<u64>,
    /// After so many cases.
    pub cases: Option<u64>,
    /// At the first failure.
    pub first_failure: bool,
}

/// What is searched, and how.
pub struct Search<'a> {
    /// The families, in turn.
    pub families: &'a [Family],
    /// The number of the first case of each.
    pub seed: u64,
    /// What is broken.
    pub weakness: Weakness,
    /// How thoroughly.
    pub effort: Effort,
    /// When it ends.
    pub limits: Limits,
    /// Threads.
    pub threads: usize,
}

/// What a search has found, so far or at its end.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Sums.
    pub tally: Tally,
    /// Cases that were begun.
    pub cases: u64,
    /// Families of which a case was run.
    pub visited: usize,
    /// Families in all.
    pub families: usize,
    /// The first failures.
    pub failures: Vec<Failure>,
    /// Since the search began.
    pub time: Duration,
}

/// Cut points that a case has at least, unless the search is over.
const FEWEST: u64 = 20;
/// Failures that are kept.
const KEPT: usize = 20;
/// Neighbours in the list of families differ little: a stride that meets all of them.
const STRIDE: u64 = 67;

impl Search<'_> {
    /// The case number `index` of the search.
    fn case(&self, index: u64) -> Case {
        let count = self.families.len() as u64;
        let stride = if count.is_multiple_of(STRIDE) { 1 } else { STRIDE };
        let family = usize::try_from((index % count) * stride % count).expect("few");
        Case { family: self.families[family], number: self.seed + index / count }
    }

    /// When the case number `index` must end, so that every family has its turn before the time is over. Nothing presses as long
    /// as the search is as far as the clock; then a case may take a few times its share.
    fn deadline(&self, index: u64, began: Instant) -> Option<Duration> {
        // A little is left for the last one.
        let (count, time) = (self.families.len() as u64, self.limits.time? / 20 * 19);
        let left = u32::try_from(count.checked_sub(index).filter(|left| *left > 0)?).ok()?;
        let now = began.elapsed();
        let threads = u32::try_from(self.threads).unwrap_or(1);
        let share = time.saturating_sub(now) * threads / left;
        let ahead = now.as_millis() * u128::from(count) <= time.as_millis() * u128::from(index);
        Some(now + share * if ahead { 4 } else { 1 })
    }

    /// Searches. `tell` is called about once a second.
    ///
    /// # Panics
    /// If a thread of the search panics.
    #[must_use]
    pub fn run(&self, tell: impl Fn(&Outcome) + Sync) -> Outcome {
        let began = Instant::now();
        let next = AtomicU64::new(0);
        let families = self.families.len();
        let outcome = Mutex::new((Outcome { families, ..Outcome::default() }, began));
        let worker = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let sum = |outcome: &Outcome| self.is_over(outcome.tally, began, index);
                if sum(&outcome.lock().expect("no panic").0) {
                    return;
                }
                let replay = Replay { case: self.case(index), cuts: Vec::new() };
                let deadline = self.deadline(index, began);
                let stop = |tally: &Tally| {
                    if tally.cuts >= FEWEST && deadline.is_some_and(|deadline| began.elapsed() >= deadline) {
                        return true;
                    }
                    let mut sum = outcome.lock().expect("no panic").0.tally;
                    sum.add(tally);
                    self.is_over(sum, began, 0)
                };
                let mut run = Run::new(&replay, self.weakness, self.effort, &stop);
                run.run();
                let (sum, told) = &mut *outcome.lock().expect("no panic");
                sum.tally.add(&run.tally);
                sum.cases += 1;
                sum.visited = families.min(usize::try_from(sum.cases).unwrap_or(usize::MAX));
                let room = KEPT.saturating_sub(sum.failures.len());
                sum.failures.extend(run.failures.into_iter().take(room));
                sum.time = began.elapsed();
                if told.elapsed() >= Duration::from_secs(1) {
                    *told = Instant::now();
                    tell(sum);
                }
            }
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads).map(|_| scope.spawn(worker)).collect();
            for thread in threads {
                thread.join().expect("a thread of the search");
            }
        });
        let mut outcome = outcome.into_inner().expect("no panic").0;
        outcome.time = began.elapsed();
        outcome
    }

    fn is_over(&self, tally: Tally, began: Instant, index: u64) -> bool {
        let limits = &self.limits;
        limits.time.is_some_and(|time| began.elapsed() >= time)
            || limits.cuts.is_some_and(|cuts| tally.cuts >= cuts)
            || limits.cases.is_some_and(|cases| index >= cases)
            || limits.first_failure && tally.bad() > 0
    }
}
