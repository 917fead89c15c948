//! The machine as a whole: it finds nothing in what is sound and something in everything that is not.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::time::Duration;

use vck_torture::family::{Family, Replay, trouble_name};
use vck_torture::run::Run;
use vck_torture::search::{Limits, Outcome, Search};
use vck_torture::tally::{Effort, Tally};
use vck_torture::weak::Weakness;

/// No weakening takes more cut points than this.
const BOUND: u64 = 60_000;
/// The search goes through the families in strides, so that so many of the 1,168 have everything that a family can have.
const SOUND: u64 = 48;

fn search(weakness: Weakness, limits: Limits) -> Outcome {
    let families: Vec<_> = Family::all().into_iter().filter(|family| weakness.can_show_in(family)).collect();
    let effort = Effort { draws: 1, again: 1 };
    Search { families: &families, seed: 0, weakness, effort, limits, threads: 2 }.run(|_| {})
}

fn first(outcome: &Outcome) -> String {
    outcome.failures.first().map(|failure| format!("{}: {}", failure.replay, failure.what)).unwrap_or_default()
}

#[test]
fn families_from_all_over_the_list_are_sound() {
    let outcome = search(Weakness::None, Limits { cases: Some(SOUND), ..Limits::default() });
    assert_eq!(outcome.tally.bad(), 0, "{}", first(&outcome));
    assert_eq!(outcome.cases, SOUND);
    assert!(outcome.tally.cuts > 10_000 && outcome.tally.fenced > 0, "{:?}", outcome.tally);
}

#[test]
fn the_control_is_sound_with_another_journal() {
    let outcome = search(Weakness::JournalPlain, Limits { cuts: Some(4_000), ..Limits::default() });
    assert_eq!(outcome.tally.bad(), 0, "{}", first(&outcome));
}

#[test]
fn every_weakening_is_found() {
    for &weakness in Weakness::ALL.iter().filter(|weakness| !weakness.is_sound()) {
        let outcome = search(weakness, Limits { cuts: Some(BOUND), first_failure: true, ..Limits::default() });
        assert!(outcome.tally.bad() > 0, "{} is not found in {} cut points", weakness.name(), outcome.tally.cuts);
    }
}

#[test]
fn the_baseline_is_corrupted_by_a_great_part_of_all_cuts() {
    let outcome = search(Weakness::ReferenceEngine, Limits { cuts: Some(2_000), ..Limits::default() });
    assert!(outcome.tally.mismatches * 5 > outcome.tally.cuts, "{:?}", outcome.tally);
}

fn run(replay: &Replay, weakness: Weakness) -> (Tally, Vec<String>) {
    let stop = |_: &Tally| false;
    let mut run = Run::new(replay, weakness, Effort::default(), &stop);
    run.run();
    (run.tally, run.failures.into_iter().map(|failure| format!("{}: {}", failure.replay, failure.what)).collect())
}

#[test]
fn a_case_is_decided_by_its_name() {
    for name in ["turn-512-hf-live-torn:5", "pause-4096-ff-live-transient:6"] {
        let replay = name.parse().unwrap();
        assert_eq!(run(&replay, Weakness::None), run(&replay, Weakness::None));
    }
}

/// The first failures with so many cuts, over the cases of a family.
fn failures(weakness: Weakness, cuts: usize) -> Vec<String> {
    let case = |number| format!("pause-512-ff-live-torn:{number}").parse().unwrap();
    let all = (0..30).flat_map(|number| run(&case(number), weakness).1);
    all.filter(|failure| failure.matches('@').count() == cuts).take(3).collect()
}

#[test]
fn a_failure_is_repeated_by_its_name() {
    // A second cut is needed to see that recovery flushes nothing.
    for (weakness, cuts) in [(Weakness::NoProtectFlush, 1), (Weakness::NoRecoveryFlush, 2)] {
        let failures = failures(weakness, cuts);
        assert_eq!(failures.len(), 3, "{}", weakness.name());
        for failure in failures {
            let replay = failure.split_once(": ").unwrap().0.parse().unwrap();
            assert_eq!(run(&replay, weakness).1, [failure]);
        }
    }
}

#[test]
fn the_document_lists_every_weakening() {
    let text = include_str!("../../../docs/testing.md");
    let rows: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | ")).collect();
    for &weakness in Weakness::ALL {
        let found = rows.iter().find(|(name, _)| *name == weakness.name());
        assert!(found.is_some_and(|(_, row)| row.starts_with(weakness.what())), "{}", weakness.name());
    }
}

#[test]
fn the_document_lists_every_trouble_and_every_pair() {
    let text = include_str!("../../../docs/testing.md");
    let names: BTreeSet<_> = Family::all().iter().map(|family| trouble_name(family.troubles)).collect();
    let rows = |heading: &str| -> Vec<_> {
        let table = text.split(heading).nth(1).unwrap().lines().skip(2).take_while(|line| line.starts_with('|'));
        table.filter_map(|line| line.strip_prefix("| `")?.split_once("` |")).map(|(name, _)| name.to_string()).collect()
    };
    let (alone, pairs) = (rows("| trouble | what goes wrong besides the power |"), rows("| pair | what it is about |"));
    let listed: BTreeSet<_> = alone.iter().chain(&pairs).cloned().collect();
    assert_eq!(listed, names);
    assert_eq!(alone.len() + pairs.len(), names.len());
    let count = Family::all().len();
    let (thousands, rest) = (count / 1000, count % 1000);
    assert!(text.contains(&format!("{thousands},{rest:03} families")), "{count}");
}

#[test]
fn a_short_search_visits_every_family() {
    let families = Family::all();
    let limits = Limits { time: Some(Duration::from_secs(20)), ..Limits::default() };
    let search = Search {
        families: &families[..40],
        seed: 3,
        weakness: Weakness::None,
        effort: Effort::default(),
        limits,
        threads: 2,
    };
    let outcome = search.run(|_| {});
    assert_eq!((outcome.visited, outcome.families), (40, 40));
    assert!(outcome.time < Duration::from_secs(40), "{:?}", outcome.time);
    assert_eq!(outcome.tally.bad(), 0, "{}", first(&outcome));
}
