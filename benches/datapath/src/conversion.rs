//! Conversion in virtual time: how fast a sweep is against reading and writing the same bytes alone, how long it keeps a zone closed, and
//! what it does to the requests of others.

use vck_ntsim::SchedulerKind;
use vck_ntsim::storage::{DiskOp, Timing};

use crate::raw::{Load, Pattern, run};
use crate::stack::{Machine, Setup, Stack};
use crate::table::{Row, Verdict};

const DATA: u64 = 256 << 20;
/// Requests of the foreground.
const FOREGROUND: u64 = 2000;

/// A device, and the share of read-then-write that a sweep is to reach on it.
type Device = (&'static str, Timing, f64);

const DEVICES: [Device; 3] = [
    ("NVMe, flush 50 us", Timing::nvme(50_000), 0.80),
    ("NVMe, flush 1 ms", Timing::nvme(1_000_000), 0.60),
    ("HDD, flush 15 ms", Timing::hdd(), 0.40),
];

fn boot(stack: Stack, timing: Timing) -> Machine {
    let scheduler = SchedulerKind::Deterministic;
    Machine::boot(Setup { stack, scheduler, timing, data_bytes: DATA, processors: 4 })
}

/// Nanoseconds to read the data region and write it, 1 MiB at a time, one after the other, on the bare device.
fn read_then_write(timing: Timing) -> u64 {
    let machine = boot(Stack::Bare, timing);
    let pass = |write| {
        let (block, count) = (1_u32 << 20, DATA >> 20);
        let load = Load { write, block, depth: 1, count, from: 0, span: DATA, pattern: Pattern::Sequential };
        run(&machine.world, &machine.path(), load).elapsed
    };
    pass(false) + pass(true)
}

/// Nanoseconds of a sweep over the data region with nobody else there.
fn sweep(timing: Timing) -> u64 {
    let machine = boot(Stack::Full, timing);
    let disk = machine.world.disk(machine.disk);
    disk.clear_log();
    let (client, path) = (machine.client(), machine.path());
    client.encrypt(&path).expect("the conversion starts");
    machine.wait_for_conversion();
    assert_eq!(client.status(&path).expect("a status").boundary, DATA / 512);
    let log = disk.log();
    let times = || log.iter().filter(|record| record.op != DiskOp::Trim).map(|record| record.time);
    times().max().unwrap_or(0) - times().min().unwrap_or(0)
}

/// Latencies in ascending order, nanoseconds, of random 4 KiB requests at depth 4, with a sweep beside them if asked for.
fn foreground(stack: Stack, timing: Timing, write: bool, sweeping: bool) -> Vec<u64> {
    let machine = boot(stack, timing);
    if sweeping {
        machine.client().encrypt(&machine.path()).expect("the conversion starts");
    }
    let load =
        Load { write, block: 4096, depth: 4, count: FOREGROUND, from: 0, span: DATA, pattern: Pattern::Random(5) };
    let outcome = run(&machine.world, &machine.path(), load);
    assert_eq!(outcome.failed, 0);
    let mut latencies = outcome.latencies;
    latencies.sort_unstable();
    latencies
}

fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((sorted.len() * percent / 100).min(last)).copied().unwrap_or(0)
}

#[expect(clippy::cast_precision_loss, reason = "durations of minutes at most")]
fn float(nanos: u64) -> f64 {
    nanos as f64
}

fn ms(nanos: u64) -> String {
    format!("{:.2} ms", float(nanos) / 1e6)
}

/// The rows of this measurement.
pub(crate) fn rows() -> Vec<Row> {
    DEVICES.iter().flat_map(|device| [rate(*device), closed(*device), beside(*device)].concat()).collect()
}

fn rate((name, timing, share): Device) -> Vec<Row> {
    let (alone, swept) = (read_then_write(timing), sweep(timing));
    let ratio = float(alone) / float(swept);
    vec![
        Row::new(&format!("{name}: read, then write, nothing else"), ms(alone), String::new(), "", Verdict::Baseline),
        Row::new(
            &format!("{name}: sweep at Full"),
            ms(swept),
            format!("{:.0} % of read, then write", ratio * 100.0),
            &format!(">= {:.0} %", share * 100.0),
            Verdict::of(ratio >= share),
        ),
    ]
}

/// How long a gate stays closed, seen from outside: the longest request beside a sweep at full pace, less what the longest takes
/// without. Never too short: a request may also wait for the sweep's I/O at the device.
fn closed((name, timing, _): Device) -> Vec<Row> {
    let longest = |sweeping| percentile(&foreground(Stack::Full, timing, true, sweeping), 100);
    let waited = longest(true).saturating_sub(longest(false));
    let limit = (5 * timing.flush).max(10_000_000);
    vec![Row::new(
        &format!("{name}: longest wait for a gate, sweep at Full"),
        ms(waited),
        format!("{:.1} flushes", float(waited) / float(timing.flush.max(1))),
        &format!("<= {}", ms(limit)),
        Verdict::of(waited <= limit),
    )]
}

fn beside((name, timing, _): Device) -> Vec<Row> {
    let row = |write| {
        let p99 = |sweeping| percentile(&foreground(Stack::Balanced, timing, write, sweeping), 99);
        let (quiet, beside) = (p99(false), p99(true));
        let ratio = float(beside) / float(quiet.max(1));
        Row::new(
            &format!("{name}: p99 of a 4 KiB {}, sweep at Balanced", if write { "write" } else { "read" }),
            ms(beside),
            format!("{ratio:.2} x without"),
            "<= 1.5 x",
            Verdict::of(ratio <= 1.5),
        )
    };
    vec![row(false), row(true)]
}
