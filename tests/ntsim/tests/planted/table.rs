//! Which bugs stand for which rule; checked against the rules that there are, and against `README.md`.

use std::fmt::Write as _;
use std::{env, fs};

use vck_ntsim::Rule;

use super::{bounce, io, irql, locks, mdl, memory, misc, simd};

/// Where the table stands.
const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const BEGIN: &str = "<!-- table: planted bugs -->\n";
/// With this variable set the test writes the table instead of comparing it.
const WRITE: &str = "VCK_WRITE_TABLES";

/// Bugs in drivers that were written as drivers, not for a rule: the filter, and what is wrong in it.
fn in_filters(rule: Rule) -> Vec<String> {
    let passed = io::PLANTED.iter().filter(|plant| plant.rule == rule).map(|plant| format!("pass/{:?}", plant.bug));
    let bounced = bounce::PLANTED.iter().filter(|plant| plant.rule == rule);
    passed.chain(bounced.map(|plant| format!("bounce/{:?}", plant.bug))).collect()
}

/// Bugs in code that was written for the rule.
fn in_pieces(rule: Rule) -> Vec<&'static str> {
    let all = [irql::PLANTED, locks::PLANTED, mdl::PLANTED, memory::PLANTED, misc::PLANTED, simd::PLANTED];
    all.concat().into_iter().filter(|(of, _)| *of == rule).map(|(_, name)| name).collect()
}

fn table() -> String {
    let mut table = "| rule | in the filters | in code for the rule |\n|---|---|---|\n".to_owned();
    for &rule in Rule::ALL {
        let (filters, pieces) = (in_filters(rule).join(", "), in_pieces(rule).join(", "));
        let row = format!("| `{rule:?}` | {filters} | {pieces} |").replace("  ", " ");
        let _infallible = writeln!(table, "{row}");
    }
    table
}

#[test]
fn every_rule_stops_two_bugs_and_one_of_them_in_a_driver_that_was_not_written_for_it() {
    for &rule in Rule::ALL {
        let (filters, pieces) = (in_filters(rule), in_pieces(rule));
        assert!(!filters.is_empty(), "{rule:?}: no bug in a filter");
        assert!(filters.len() + pieces.len() >= 2, "{rule:?}: {filters:?}, {pieces:?}");
    }
}

#[test]
fn no_bug_is_listed_twice_and_every_bug_of_the_filters_is_used() {
    let mut names: Vec<String> = Rule::ALL.iter().flat_map(|&rule| in_filters(rule)).collect();
    names.sort();
    let before = names.len();
    names.dedup();
    assert_eq!(names.len(), before);
    // The correct driver is no bug; one bug is found as one of two rules, depending on the schedule.
    let bugs = (io::Bug::ALL.len() - 2) + (bounce::Bug::ALL.len() - 1);
    assert_eq!(names.len(), bugs);
}

#[test]
fn the_readme_lists_them() {
    let document = fs::read_to_string(README).unwrap_or_else(|error| panic!("{README}: {error}"));
    let (before, rest) = document.split_once(BEGIN).expect("the place of the table");
    let end: usize = rest.split_inclusive('\n').take_while(|line| line.starts_with('|')).map(str::len).sum();
    let table = table();
    if env::var_os(WRITE).is_some() {
        fs::write(README, format!("{before}{BEGIN}{table}{}", &rest[end..])).expect("the table can be written");
    } else {
        assert!(rest[..end] == table, "README.md is behind: run this test once with {WRITE}=1");
    }
}
