//! A linter for the driver's INF, written from Microsoft's INF reference.
//!
//! A wrong INF of a boot-start filter does not fail at installation. It fails at the next start, or at the start after
//! removal, when the machine's volumes no longer come up. So the rules go beyond syntax: they check that what is
//! installed and what is removed are the same, and that nothing of anybody else is touched.

mod parse;
mod rules;

pub use parse::{Entry, Inf};

use crate::Report;

/// Judges the bytes of an INF (or of an INX, before `stampinf`).
#[must_use]
pub fn check(bytes: &[u8]) -> Report {
    let mut report = Report::default();
    let text = match parse::decode(bytes) {
        Ok(text) => text,
        Err(message) => {
            report.bad("syntax", message);
            return report;
        }
    };
    match Inf::parse(&text) {
        Ok(inf) => rules::check(&inf, &mut report),
        Err(problems) => problems.into_iter().for_each(|problem| report.bad("syntax", problem)),
    }
    report
}
