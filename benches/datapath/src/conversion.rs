//! Conversion in virtual time: how fast a sweep is against reading and writing the same bytes alone, how long it keeps a zone closed, and
//! what it does to the requests of others.

use vck_ntsim::SchedulerKind;
use vck_ntsim::storage::{DiskOp, IoRecord, Timing};

use crate::raw::{Load, Pattern, run};
use crate::stack::{Machine, Setup, Stack};
use crate::table::{Row, Verdict};

const DATA: u64 = 256 << 20;
/// Requests of the foreground beside a sweep that uses the device.
const FOREGROUND: u64 = 2000;
/// The same beside one that yields: enough for many steps, the rests after them included.
const FOREGROUND_YIELDED: u64 = 20_000;

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

/// A sweep over the data region with nobody else there, nanoseconds.
struct Swept {
    elapsed: u64,
    reading: u64,
    writing: u64,
    records: u64,
    flushing: u64,
    flushes: u64,
    closed: Closed,
}

/// What flushes took, without the wait for what was at the device before: the mean, and the longest.
fn flushes(log: &[IoRecord]) -> (u64, u64) {
    let (mut busy, mut taken) = (0, Vec::new());
    for record in log {
        if record.op == DiskOp::Flush {
            taken.push(record.done - record.time.max(busy));
        }
        busy = busy.max(record.done);
    }
    (taken.iter().sum::<u64>() / (taken.len() as u64).max(1), taken.iter().copied().max().unwrap_or(0))
}

/// How long a zone may be closed on a device where a flush takes so long.
fn limit(flush: u64) -> u64 {
    (5 * flush).max(10_000_000)
}

/// How long zones were closed, nanoseconds.
#[derive(Clone, Copy)]
struct Closed {
    /// The longest, as the driver says when the conversion ends or pauses.
    longest: u64,
    /// What a flush took at the device on average, once everything before it was done.
    flush: u64,
    /// The longest that one took.
    slowest: u64,
    /// Bytes that were converted, and in how many zones.
    converted: u64,
    zones: u64,
}

impl Closed {
    fn of(machine: &Machine) -> Self {
        let said = |line: &String| {
            let (zones, rest) = line.split_once(" zones were closed for at most ")?;
            let zones = zones.rsplit(' ').next()?.parse::<u64>().ok()?;
            Some((rest.split_once(" us each")?.0.parse::<u64>().ok()?, zones))
        };
        let (longest, zones) = machine.world.log().iter().rev().find_map(said).expect("the driver says it");
        let (flush, slowest) = flushes(&machine.world.disk(machine.disk).log());
        let converted = machine.client().status(&machine.path()).expect("a status").boundary * 512;
        Self { longest: longest * 1000, flush, slowest, converted, zones }
    }

    fn row(self, what: &str) -> Row {
        let limit = limit(self.flush);
        let verdict = Verdict::of(self.longest <= limit);
        let ratio = format!("a flush took {}", ms(self.flush));
        Row::new(what, ms(self.longest), ratio, &format!("<= {}", ms(limit)), verdict)
    }
}

fn sweep(timing: Timing) -> Swept {
    let machine = boot(Stack::Full, timing);
    let disk = machine.world.disk(machine.disk);
    disk.clear_log();
    let (client, path) = (machine.client(), machine.path());
    client.encrypt(&path).expect("the conversion starts");
    machine.wait_for_conversion();
    assert_eq!(client.status(&path).expect("a status").boundary, DATA / 512);
    let log = disk.log();
    let spent = |of: &dyn Fn(&IoRecord) -> bool| -> u64 {
        log.iter().filter(|record| of(record)).map(|record| record.done - record.time).sum()
    };
    let is_data = |record: &IoRecord| record.lba < DATA / 512;
    Swept {
        elapsed: log.iter().map(|record| record.done).max().unwrap_or(0)
            - log.iter().map(|record| record.time).min().unwrap_or(0),
        reading: spent(&|record| record.op == DiskOp::Read),
        writing: spent(&|record| record.op == DiskOp::Write && is_data(record)),
        records: spent(&|record| record.op == DiskOp::Write && !is_data(record)),
        flushing: spent(&|record| record.op == DiskOp::Flush),
        flushes: log.iter().filter(|record| record.op == DiskOp::Flush).count() as u64,
        closed: Closed::of(&machine),
    }
}

/// What came of random 4 KiB requests at depth 4.
struct Beside {
    /// Latencies in ascending order, nanoseconds.
    latencies: Vec<u64>,
    /// Nanoseconds.
    elapsed: u64,
    /// What the sweep beside them did, if there was one.
    closed: Option<Closed>,
}

/// With a sweep beside them it begins when they begin, with a step, and goes on when they end.
fn foreground(stack: Stack, timing: Timing, write: bool, (count, sweeping): (u64, bool)) -> Beside {
    let machine = boot(stack, timing);
    machine.world.disk(machine.disk).clear_log();
    if sweeping {
        machine.client().encrypt(&machine.path()).expect("the conversion starts");
    }
    let load = Load { write, block: 4096, depth: 4, count, from: 0, span: DATA, pattern: Pattern::Random(5) };
    let outcome = run(&machine.world, &machine.path(), load);
    assert_eq!(outcome.failed, 0);
    let mut latencies = outcome.latencies;
    latencies.sort_unstable();
    let closed = sweeping.then(|| {
        let running = machine.client().progress(&machine.path()).expect("a progress").0 != 0;
        if running {
            machine.client().pause(&machine.path()).expect("the conversion pauses");
        }
        let closed = Closed::of(&machine);
        assert!(running || count == FOREGROUND, "the conversion ended before the requests did");
        closed
    });
    Beside { latencies, elapsed: outcome.elapsed, closed }
}

fn percentile(sorted: &[u64], percent: usize) -> u64 {
    permille(sorted, percent * 10)
}

fn permille(sorted: &[u64], permille: usize) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((sorted.len() * permille / 1000).min(last)).copied().unwrap_or(0)
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
    let ratio = float(alone) / float(swept.elapsed);
    let [reading, writing, records] = [swept.reading, swept.writing, swept.records].map(ms);
    let flushing = format!("{} in {} flushes", ms(swept.flushing), swept.flushes);
    vec![
        Row::new(&format!("{name}: read, then write, nothing else"), ms(alone), String::new(), "", Verdict::Baseline),
        Row::new(
            &format!("{name}: sweep at Full"),
            ms(swept.elapsed),
            format!("{:.0} % of read, then write", ratio * 100.0),
            &format!(">= {:.0} %", share * 100.0),
            Verdict::of(ratio >= share),
        ),
        Row::new(
            &format!("{name}: of that reading, writing"),
            format!("{reading}, {writing}"),
            String::new(),
            "",
            Verdict::Baseline,
        ),
        Row::new(
            &format!("{name}: records and blocks, flushing"),
            format!("{records}, {flushing}"),
            String::new(),
            "",
            Verdict::Baseline,
        ),
        swept.closed.row(&format!("{name}: longest that a zone is closed, sweep at Full alone")),
    ]
}

/// How long a zone is closed with others there, as the driver says, and what they see of it: their longest request, less what the
/// longest takes without a sweep. The limit is that of the slowest flush, because a flush also writes what others wrote. They
/// may see twice as much: a bucket of the gate may lie in two zones that are closed one after the other, and their requests
/// also wait for the sweep's at the device.
fn closed((name, timing, _): Device) -> Vec<Row> {
    let beside = foreground(Stack::Full, timing, true, (FOREGROUND, true));
    let alone = foreground(Stack::Full, timing, true, (FOREGROUND, false));
    let waited = percentile(&beside.latencies, 100).saturating_sub(percentile(&alone.latencies, 100));
    let what = format!("{name}: longest that a zone is closed, sweep at Full beside random writes");
    let seen = format!("{name}: the longest of those writes, less the longest without a sweep");
    let rows = beside.closed.map(|closed| {
        let limit = 2 * limit(closed.slowest);
        let verdict = Verdict::of(waited <= limit);
        let seen = Row::new(&seen, ms(waited), String::new(), &format!("<= {}", ms(limit)), verdict);
        [Closed { flush: closed.slowest, ..closed }.row(&what), seen]
    });
    rows.into_iter().flatten().collect()
}

/// The requests never pause, so that this is the pace of a volume that is never idle. The sweep begins with a step, and every step is
/// in the measurement; of the rests after them all but the last are there to their end.
fn beside((name, timing, _): Device) -> Vec<Row> {
    let rows = |write| {
        let quiet = foreground(Stack::Balanced, timing, write, (FOREGROUND_YIELDED, false));
        let beside = foreground(Stack::Balanced, timing, write, (FOREGROUND_YIELDED, true));
        let at = |share| (permille(&quiet.latencies, share), permille(&beside.latencies, share));
        let [(quiet_99, beside_99), (quiet_999, beside_999), (quiet_all, beside_all)] = [990, 999, 1000].map(at);
        let ratio = float(beside_99) / float(quiet_99.max(1));
        let limit = quiet_99 * 3 / 2;
        let late = |latencies: &[u64]| latencies.iter().filter(|latency| **latency > limit).count();
        let what = format!("{name}: 4 KiB {}, sweep at Balanced", if write { "writes" } else { "reads" });
        let (converted, zones) = beside.closed.map_or((0, 0), |closed| (closed.converted, closed.zones));
        let rate = float(converted) / float(beside.elapsed.max(1)) * 1e9 / 1_048_576.0;
        // As many requests in both.
        let served = float(quiet.elapsed) / float(beside.elapsed.max(1));
        vec![
            Row::new(
                &format!("{what}: p99"),
                ms(beside_99),
                format!("{ratio:.2} x without"),
                "<= 1.5 x",
                Verdict::of(ratio <= 1.5),
            ),
            Row::new(
                &format!("{what}: p99.9, longest"),
                format!("{}, {}", ms(beside_999), ms(beside_all)),
                format!(
                    "without: {}, {}; {} of {} took more than 1.5 x p99",
                    ms(quiet_999),
                    ms(quiet_all),
                    late(&beside.latencies),
                    beside.latencies.len()
                ),
                "",
                Verdict::Baseline,
            ),
            Row::new(
                &format!("{what}: converted meanwhile"),
                format!("{rate:.2} MiB/s"),
                format!(
                    "{:.1} MiB in {zones} steps and {:.2} s; {:.2} GiB/h; {:.0} % of the requests without",
                    float(converted) / 1_048_576.0,
                    float(beside.elapsed) / 1e9,
                    rate * 3600.0 / 1024.0,
                    100.0 * served
                ),
                "",
                Verdict::Baseline,
            ),
        ]
    };
    [rows(false), rows(true)].concat()
}
