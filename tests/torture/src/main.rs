//! The command line. The last line of a search is always the sum.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use clap::Parser;
use vck_torture::family::{Case, Family, Replay};
use vck_torture::run::Run;
use vck_torture::search::{Limits, Outcome, Search};
use vck_torture::tally::{Effort, Tally, under_way};
use vck_torture::weak::Weakness;

/// Cuts the power at every I/O event of a conversion and compares every sector with a model.
#[derive(Parser)]
#[expect(clippy::struct_excessive_bools, reason = "these are flags of a command line")]
struct Args {
    /// Lists the families of scenarios, with the cases and cut points of one round.
    #[arg(long)]
    list: bool,
    /// Stops after this time. Without any limit: 60.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Stops after so many cut points.
    #[arg(long, value_name = "N")]
    cuts: Option<u64>,
    /// The number of the first case of each family.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Repeats a case, or one cut of it, as a failure has named it.
    #[arg(long, value_name = "CASE")]
    replay: Option<Replay>,
    /// With `--replay`: prints every call of the device.
    #[arg(long)]
    trace: bool,
    /// Only families whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    family: String,
    /// Outcomes that are drawn for a cut with many.
    #[arg(long, value_name = "N", default_value_t = 4)]
    draws: u32,
    /// Of four boots, how many are cut again.
    #[arg(long, value_name = "N", default_value_t = 1)]
    again: u64,
    /// Breaks the protocol in this way; `--weakenings` lists them.
    #[arg(long, value_name = "NAME", default_value = "none", value_parser = weakness)]
    weakness: Weakness,
    /// Breaks the protocol in every way and shows how soon each is found.
    #[arg(long)]
    weakenings: bool,
    /// Threads. By default one per processor.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Prints the sum as JSON on the line before the last.
    #[arg(long)]
    json: bool,
}

fn weakness(name: &str) -> Result<Weakness, String> {
    Weakness::named(name).ok_or_else(|| {
        let names: Vec<_> = Weakness::ALL.iter().map(|weakness| weakness.name()).collect();
        format!("one of {}", names.join(", "))
    })
}

fn main() -> ExitCode {
    let args = Args::parse();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        eprintln!("PANIC in {}\n  replay: {}", under_way(), command(&under_way(), Weakness::None));
    }));
    let families: Vec<_> =
        Family::all().into_iter().filter(|family| family.to_string().contains(&args.family)).collect();
    if families.is_empty() {
        eprintln!("no family has {:?} in its name", args.family);
        return ExitCode::from(2);
    }
    if args.list {
        return list(&families, &args);
    }
    if args.weakenings {
        return weakenings(&families, &args);
    }
    let outcome = match &args.replay {
        Some(replay) => repeat(replay, &args),
        None => search(&families, &args).run(progress),
    };
    report(&outcome, &args)
}

fn command(name: &str, weakness: Weakness) -> String {
    let flag = if weakness == Weakness::None { String::new() } else { format!(" --weakness {}", weakness.name()) };
    format!("cargo run --release -p vck-torture -- --replay {name}{flag}")
}

fn search<'a>(families: &'a [Family], args: &Args) -> Search<'a> {
    let seconds = args.seconds.or_else(|| args.cuts.is_none().then_some(60));
    Search {
        families,
        seed: args.seed,
        weakness: args.weakness,
        effort: effort(args),
        limits: Limits { time: seconds.map(Duration::from_secs), cuts: args.cuts, ..Limits::default() },
        threads: threads(args),
    }
}

const fn effort(args: &Args) -> Effort {
    Effort { draws: args.draws, again: args.again }
}

fn threads(args: &Args) -> usize {
    args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into))
}

/// Per second.
fn rate(count: u64, time: Duration) -> u128 {
    u128::from(count) * 1000 / time.as_millis().max(1)
}

fn progress(outcome: &Outcome) {
    let (seconds, Tally { cuts, fenced, .. }) = (outcome.time.as_secs_f64(), outcome.tally);
    let (rate, bad) = (rate(cuts, outcome.time), outcome.tally.bad());
    eprintln!(
        "{seconds:6.1} s  {:6} cases  families visited: {} of {}  {cuts:9} cut points  {rate:7}/s  bad {bad}  fenced {fenced}",
        outcome.cases, outcome.visited, outcome.families
    );
}

fn repeat(replay: &Replay, args: &Args) -> Outcome {
    let stop = |_: &Tally| false;
    let mut run = Run::new(replay, args.weakness, effort(args), &stop);
    run.trace = args.trace;
    run.run();
    Outcome { tally: run.tally, cases: 1, visited: 1, families: 1, failures: run.failures, time: Duration::ZERO }
}

fn report(outcome: &Outcome, args: &Args) -> ExitCode {
    for failure in &outcome.failures {
        println!("{}: {}", failure.replay, failure.what);
        println!("  replay: {}", command(&failure.replay.to_string(), args.weakness));
    }
    let Tally { cuts, mismatches, unopenable, fenced, refused } = outcome.tally;
    let seconds = outcome.time.as_secs_f64();
    if seconds > 0.0 {
        println!("{} cases in {seconds:.1} s, {} cut points per second", outcome.cases, rate(cuts, outcome.time));
        println!(
            "families visited: {} of {}, volumes without a metadata block refused: {refused}",
            outcome.visited, outcome.families
        );
    }
    if args.json {
        println!(
            "{{\"cuts\":{cuts},\"mismatches\":{mismatches},\"unopenable\":{unopenable},\"fenced\":{fenced},\"cases\":{},\"seconds\":{seconds:.3}}}",
            outcome.cases
        );
    }
    println!("cut points: {cuts}  mismatches: {mismatches}  unopenable: {unopenable}  fenced: {fenced}");
    if outcome.tally.bad() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn list(families: &[Family], args: &Args) -> ExitCode {
    println!("{:40} cut points of case {}", "family", args.seed);
    let all: Vec<_> = families.iter().map(|_| AtomicU64::new(0)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let stop = |_: &Tally| false;
        while let Some((family, cuts)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            families.get(index).zip(all.get(index))
        } {
            let replay = Replay { case: Case { family: *family, number: args.seed }, cuts: Vec::new() };
            let mut run = Run::new(&replay, args.weakness, effort(args), &stop);
            run.run();
            cuts.store(run.tally.cuts, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads(args) {
            scope.spawn(work);
        }
    });
    let cuts: Vec<u64> = all.iter().map(|cuts| cuts.load(Ordering::Relaxed)).collect();
    for (family, cuts) in families.iter().zip(&cuts) {
        println!("{:40} {cuts:6}", family.to_string());
    }
    println!("{} families, {} cut points", families.len(), cuts.iter().sum::<u64>());
    ExitCode::SUCCESS
}

fn weakenings(families: &[Family], args: &Args) -> ExitCode {
    println!("| weakening | what is broken | found after cut points | seconds |\n|---|---|---|---|");
    let mut missed = 0;
    for &weakness in Weakness::ALL {
        let families: Vec<_> = families.iter().copied().filter(|family| weakness.can_show_in(family)).collect();
        if families.is_empty() {
            println!("| `{}` | {} | cannot show in these families | |", weakness.name(), weakness.what());
            continue;
        }
        let mut search = Search { weakness, ..search(&families, args) };
        search.limits = Limits { first_failure: true, ..search.limits };
        let outcome = search.run(|_| {});
        let (cuts, seconds) = (outcome.tally.cuts, outcome.time.as_secs_f64());
        let found = outcome.tally.bad() > 0;
        let verdict = if found { cuts.to_string() } else { format!("nothing in {cuts}") };
        println!("| `{}` | {} | {verdict} | {seconds:.2} |", weakness.name(), weakness.what());
        missed += usize::from(found == weakness.is_sound());
    }
    println!("not as it should be: {missed}");
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
