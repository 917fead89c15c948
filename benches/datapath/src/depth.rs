//! Queue depth: 32 random requests of 4 KiB outstanding on a device that takes 80 us for each and serves as many at once.
//! Virtual time: the processor costs nothing, so what shows is waiting alone.

use vck_ntsim::SchedulerKind;
use vck_ntsim::storage::Timing;

use crate::raw::{Load, Pattern, run};
use crate::stack::{Machine, Setup, Stack};
use crate::table::{Row, Verdict};

const DEPTH: usize = 32;
const REQUESTS: u64 = 2048;
const DATA: u64 = 8 << 20;

/// Nanoseconds for the whole load, and the most requests that were at the device at a time.
fn measure(stack: Stack, write: bool) -> (u64, usize) {
    let timing = Timing { latency: 80_000, ..Timing::immediate() };
    let scheduler = SchedulerKind::Deterministic;
    let machine = Machine::boot(Setup { stack, scheduler, timing, data_bytes: DATA, processors: 4 });
    let disk = machine.world.disk(machine.disk);
    disk.clear_log();
    let load =
        Load { write, block: 4096, depth: DEPTH, count: REQUESTS, from: 0, span: DATA, pattern: Pattern::Random(7) };
    let outcome = run(&machine.world, &machine.path(), load);
    assert_eq!(outcome.failed, 0);
    let arrivals: Vec<u64> = disk.log().iter().map(|record| record.time).collect();
    (outcome.elapsed, most_at_once(&arrivals, timing.latency))
}

/// The most requests at the device at a time, when each stays for `latency`.
fn most_at_once(arrivals: &[u64], latency: u64) -> usize {
    let mut sorted = arrivals.to_vec();
    sorted.sort_unstable();
    let during =
        |(index, &time): (usize, &u64)| index + 1 - sorted.partition_point(|&earlier| earlier + latency <= time);
    sorted.iter().enumerate().map(during).max().unwrap_or(0)
}

/// The rows of this measurement.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for write in [false, true] {
        let kind = if write { "write" } else { "read" };
        let (bare, _) = measure(Stack::Bare, write);
        for stack in [Stack::Bare, Stack::PassThrough, Stack::Serial, Stack::Plain, Stack::Encrypted] {
            let (elapsed, most) = measure(stack, write);
            let ratio = float(elapsed) / float(bare);
            let verdict = match stack {
                Stack::Plain | Stack::Encrypted => Verdict::of(ratio <= 1.1 && most == DEPTH),
                _ => Verdict::Baseline,
            };
            let what = format!("4 KiB random {kind}, 32 outstanding: {}", stack.name());
            let median = format!("{:.2} ms, {most} at the device", float(elapsed) / 1e6);
            rows.push(Row::new(&what, median, format!("{ratio:.2} x bare"), "<= 1.1 x, 32 at the device", verdict));
        }
    }
    rows
}

#[expect(clippy::cast_precision_loss, reason = "durations of minutes at most")]
fn float(nanos: u64) -> f64 {
    nanos as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_counted() {
        assert_eq!(most_at_once(&[0, 10, 20], 10), 1);
        assert_eq!(most_at_once(&[0, 9, 5, 100], 10), 3);
    }
}
