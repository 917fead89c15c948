//! What a request costs the processor: one 4 KiB request at a time, through a device in memory that answers inside the call, so that
//! all work is done on one thread, whose processor time is what counts. The pass-through filter's stack is the baseline, and the
//! simulator's part in it.

use std::hint::black_box;

use vck_common::{DataSector, SectorSize, VolumeCipher, XtsVolumeCipher};
use vck_ntsim::SchedulerKind;
use vck_ntsim::storage::Timing;

use crate::raw::{Load, Pattern, run, thread_time};
use crate::stack::{Machine, Setup, Stack};
use crate::table::{Row, Verdict, median};

const ROUNDS: usize = 41;
const REQUESTS: u64 = 4_000;
const DATA: u64 = 8 << 20;
const BLOCK: u32 = 4096;

/// A machine whose requests cost time.
pub(crate) fn machine(stack: Stack, data_bytes: u64) -> Machine {
    let (scheduler, timing) = (SchedulerKind::Parallel, Timing::immediate());
    Machine::boot(Setup { stack, scheduler, timing, data_bytes, processors: 2 })
}

/// Writes all of the volume: a device in memory has nothing to copy for what was never written, and a converted volume was written.
pub(crate) fn fill(machine: &Machine, data_bytes: u64) {
    let block = 64 << 10;
    let pattern = Pattern::Sequential;
    let count = data_bytes / u64::from(block);
    let load = Load { write: true, block, depth: 1, count, from: 0, span: data_bytes, pattern };
    assert_eq!(run(&machine.world, &machine.path(), load).failed, 0);
}

/// Nanoseconds of one request.
#[expect(clippy::cast_precision_loss, reason = "durations of minutes at most")]
fn request(machine: &Machine, write: bool) -> f64 {
    let pattern = Pattern::Random(3);
    let load = Load { write, block: BLOCK, depth: 1, count: REQUESTS, from: 0, span: DATA, pattern };
    let outcome = run(&machine.world, &machine.path(), load);
    assert_eq!(outcome.failed, 0);
    outcome.processor as f64 / REQUESTS as f64
}

/// Nanoseconds of the cipher alone for one request.
#[expect(clippy::cast_precision_loss, reason = "durations of minutes at most")]
fn cipher(write: bool) -> f64 {
    let cipher = XtsVolumeCipher::new(&[1; 32], &[2; 32]).expect("a cipher");
    let (source, mut buffer) = (vec![3_u8; BLOCK as usize], vec![0_u8; BLOCK as usize]);
    let begin = thread_time();
    for number in 0..REQUESTS {
        let first = DataSector::new(number * 8);
        if write {
            cipher.encrypt_copy(black_box(&source), black_box(&mut buffer), SectorSize::S512, first);
        } else {
            cipher.decrypt_area(black_box(&mut buffer), SectorSize::S512, first);
        }
    }
    (thread_time() - begin) as f64 / REQUESTS as f64
}

/// The rows of this measurement.
pub(crate) fn rows() -> Vec<Row> {
    let stacks = [Stack::PassThrough, Stack::Plain, Stack::Encrypted];
    let machines = stacks.map(|stack| machine(stack, DATA));
    for machine in &machines {
        fill(machine, DATA);
    }
    let mut rows = Vec::new();
    for write in [false, true] {
        let kind = if write { "write" } else { "read" };
        let (mut times, mut extra): ([Vec<f64>; 4], [Vec<f64>; 2]) = Default::default();
        // Side by side, so that what else runs on the machine meets all of them; differences are taken within a round.
        for _ in 0..ROUNDS {
            let [pass, plain, bound] = [0, 1, 2].map(|index: usize| request(&machines[index], write));
            let round = [pass, plain, bound, cipher(write)];
            times.iter_mut().zip(round).for_each(|(times, time)| times.push(time));
            extra[0].push(plain - pass);
            extra[1].push(bound - pass - round[3]);
        }
        let [pass, plain, bound, xts] = times.map(median);
        let [plain_extra, ours] = extra.map(median);
        let line = |what: &str| format!("4 KiB {kind}, processor: {what}");
        let us = |nanos: f64| format!("{:.2} us", nanos / 1e3);
        rows.push(Row::new(&line("pass-through filter"), us(pass), String::new(), "", Verdict::Baseline));
        rows.push(Row::new(&line("XTS alone"), us(xts), String::new(), "", Verdict::Baseline));
        rows.push(Row::new(
            &line("bound, plain side"),
            us(plain),
            format!("pass-through + {}", us(plain_extra)),
            "",
            Verdict::Baseline,
        ));
        let ratio = format!("pass-through + XTS + {}", us(ours));
        rows.push(Row::new(
            &line("bound, cipher side"),
            us(bound),
            ratio,
            "<= XTS + 1 us",
            Verdict::of(ours <= 1000.0),
        ));
    }
    rows
}
