//! Many seeds of the random scenario, on as many threads as there are processors.
//!
//! `campaign [--seeds 1000] [--first 1] [--ops 300] [--threads N] [--replay SEED]`

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use vck_driver_tests::campaign::{Coverage, OPERATIONS, run_seed};

struct Options {
    seeds: u64,
    first: u64,
    ops: u64,
    threads: u64,
    replay: Option<u64>,
}

fn options() -> Result<Options, String> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let mut options = Options { seeds: 1000, first: 1, ops: OPERATIONS, threads, replay: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().and_then(|value| value.parse().ok());
        let value: u64 = value.ok_or_else(|| format!("{word} needs a number"))?;
        match word.as_str() {
            "--seeds" => options.seeds = value,
            "--first" => options.first = value,
            "--ops" => options.ops = value,
            "--threads" => options.threads = value.max(1),
            "--replay" => options.replay = Some(value),
            _ => return Err(format!("unknown option {word}")),
        }
    }
    Ok(options)
}

/// What the threads share.
struct Progress {
    next: AtomicU64,
    done: AtomicU64,
    total: Mutex<(Coverage, Option<(u64, String)>)>,
}

fn command(seed: u64, ops: u64) -> String {
    format!("cargo run --release -p vck-driver-tests --bin campaign -- --ops {ops} --replay {seed}")
}

fn replay(seed: u64, ops: u64) -> ExitCode {
    match run_seed(seed, ops) {
        Ok(report) => {
            print!("{}", report.coverage);
            println!("seed {seed}: trace {:016x}, 0 mismatches, 0 findings", report.trace);
            ExitCode::SUCCESS
        }
        Err(text) => {
            println!("seed {seed}: {text}");
            ExitCode::FAILURE
        }
    }
}

fn work(options: &Options, progress: &Progress) {
    loop {
        let seed = progress.next.fetch_add(1, Ordering::Relaxed);
        let failed = progress.total.lock().is_ok_and(|total| total.1.is_some());
        if seed >= options.first + options.seeds || failed {
            return;
        }
        let result = run_seed(seed, options.ops);
        progress.done.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut total) = progress.total.lock() {
            match result {
                Ok(report) => total.0.add(&report.coverage),
                Err(text) => {
                    total.1.get_or_insert((seed, text));
                }
            }
        }
    }
}

/// Seeds per second since `start`, to one decimal.
fn rate(seeds: u64, start: Instant) -> String {
    let tenths = u128::from(seeds) * 10_000 / start.elapsed().as_millis().max(1);
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn watch(options: &Options, progress: &Progress, start: Instant) {
    let mut shown = 0;
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let done = progress.done.load(Ordering::Relaxed);
        let failed = progress.total.lock().is_ok_and(|total| total.1.is_some());
        if done >= options.seeds || failed {
            return;
        }
        let seconds = start.elapsed().as_secs();
        if seconds >= shown + 10 {
            shown = seconds;
            println!("{done} of {} seeds, {} seeds/s, {seconds} s", options.seeds, rate(done, start));
        }
    }
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::FAILURE;
        }
    };
    if let Some(seed) = options.replay {
        return replay(seed, options.ops);
    }
    let start = Instant::now();
    let progress = Progress {
        next: AtomicU64::new(options.first),
        done: AtomicU64::new(0),
        total: Mutex::new((Coverage::default(), None)),
    };
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| work(&options, &progress));
        }
        watch(&options, &progress, start);
    });
    let Ok((coverage, failure)) = progress.total.into_inner() else { return ExitCode::FAILURE };
    if let Some((seed, text)) = failure {
        println!("seed {seed}: {text}\nreplay: {}", command(seed, options.ops));
        return ExitCode::FAILURE;
    }
    print!("{coverage}");
    println!("{:.1} s, {} seeds/s", start.elapsed().as_secs_f64(), rate(options.seeds, start));
    let missing = coverage.missing();
    if !missing.is_empty() {
        println!("never reached: {}", missing.join(", "));
        return ExitCode::FAILURE;
    }
    println!("campaign: {} seeds, {} operations, 0 mismatches, 0 findings", options.seeds, coverage.operations);
    ExitCode::SUCCESS
}
