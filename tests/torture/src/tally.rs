//! What is counted, how a failure is told, and what is under way when something panics.

use crate::family::Replay;

/// What was tried and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Power cuts after which the volume was booted, those during recovery included.
    pub cuts: u64,
    /// Runs and boots after which something was not as the model has it.
    pub mismatches: u64,
    /// Boots in which the volume could not be opened.
    pub unopenable: u64,
    /// Sectors that were kept from being read, with a cause.
    pub fenced: u64,
    /// Boots in which no metadata block was left, so that the volume was refused.
    pub refused: u64,
}

impl Tally {
    /// Adds another one.
    pub const fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.mismatches += other.mismatches;
        self.unopenable += other.unopenable;
        self.fenced += other.fenced;
        self.refused += other.refused;
    }

    /// Cut points with a wrong outcome.
    #[must_use]
    pub const fn bad(&self) -> u64 {
        self.mismatches + self.unopenable
    }
}

/// Something wrong, and how to see it again.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The case and its cuts.
    pub replay: Replay,
    /// What is wrong.
    pub what: String,
}

/// How thoroughly a case is cut.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Outcomes of a cut, unless there are few anyway.
    pub draws: u32,
    /// Of four boots, how many are cut again.
    pub again: u64,
}

impl Default for Effort {
    fn default() -> Self {
        Self { draws: 4, again: 1 }
    }
}

thread_local! {
    static UNDER_WAY: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

/// Remembers what this thread does, for [`under_way`].
pub(crate) fn watch(replay: &Replay) {
    use std::fmt::Write;
    UNDER_WAY.with_borrow_mut(|name| {
        name.clear();
        let _cannot_fail = write!(name, "{replay}");
    });
}

/// The case and cuts that this thread works on, for a panic's message.
#[must_use]
pub fn under_way() -> String {
    UNDER_WAY.with_borrow(String::clone)
}
