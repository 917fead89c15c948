//! 1 MiB sequential at depth 8 through a device in memory, real time, against the model that device and cipher each take their own time:
//! 1 / (1 / device + 1 / XTS), both measured alone in the same round.

use std::hint::black_box;
use std::time::Instant;

use vck_common::xts::WideRegisters;
use vck_common::{DataSector, SectorSize, VolumeCipher, XtsVolumeCipher};

use crate::cost::{fill, machine};
use crate::raw::{Load, Pattern, run};
use crate::stack::{Machine, Stack};
use crate::table::{Row, Verdict, median};

const ROUNDS: usize = 7;
const BLOCK: u32 = 1 << 20;
const REQUESTS: u64 = 256;
const DATA: u64 = 64 << 20;

/// GB/s through a stack.
#[expect(clippy::cast_precision_loss, reason = "a few GiB")]
fn stack(machine: &Machine, write: bool) -> f64 {
    let pattern = Pattern::Sequential;
    let load = Load { write, block: BLOCK, depth: 8, count: REQUESTS, from: 0, span: DATA, pattern };
    let outcome = run(&machine.world, &machine.path(), load);
    assert_eq!(outcome.failed, 0);
    (REQUESTS * u64::from(BLOCK)) as f64 / outcome.elapsed as f64
}

/// GB/s of the cipher with the widest registers there are, over as many buffers as requests are outstanding.
#[expect(clippy::cast_precision_loss, reason = "a few GiB")]
fn cipher(write: bool) -> f64 {
    let cipher = XtsVolumeCipher::new(&[1; 32], &[2; 32]).expect("a cipher");
    let mut buffers = vec![vec![3_u8; BLOCK as usize]; 9];
    let source = buffers.pop().expect("nine");
    let registers = WideRegisters::in_user_mode();
    let begin = Instant::now();
    for number in 0..REQUESTS {
        let first = DataSector::new(number * 2048);
        let buffer = &mut buffers[usize::try_from(number % 8).unwrap_or(0)];
        if write {
            cipher.encrypt_copy_wide(black_box(&source), black_box(buffer), SectorSize::S512, first, registers);
        } else {
            cipher.decrypt_area_wide(black_box(buffer), SectorSize::S512, first, registers);
        }
    }
    (REQUESTS * u64::from(BLOCK)) as f64 / begin.elapsed().as_nanos() as f64
}

/// The rows of this measurement.
pub(crate) fn rows() -> Vec<Row> {
    let machines = [Stack::PassThrough, Stack::Encrypted].map(|stack| machine(stack, DATA));
    for machine in &machines {
        fill(machine, DATA);
    }
    let mut rows = Vec::new();
    for write in [false, true] {
        let kind = if write { "write" } else { "read" };
        let mut rates: [Vec<f64>; 4] = Default::default();
        for _ in 0..ROUNDS {
            let [pass, bound] = [&machines[0], &machines[1]].map(|machine| stack(machine, write));
            let xts = cipher(write);
            let model = 1.0 / (1.0 / pass + 1.0 / xts);
            for (rates, rate) in rates.iter_mut().zip([pass, xts, bound, bound / model]) {
                rates.push(rate);
            }
        }
        let [pass, xts, bound, ratio] = rates.map(median);
        let line = |what: &str| format!("1 MiB sequential {kind}, depth 8: {what}");
        let rate = |rate: f64| format!("{rate:.2} GB/s");
        rows.push(Row::new(&line("pass-through filter"), rate(pass), String::new(), "", Verdict::Baseline));
        rows.push(Row::new(&line("XTS alone, one thread"), rate(xts), String::new(), "", Verdict::Baseline));
        let against = format!("{:.0} % of the model", ratio * 100.0);
        rows.push(Row::new(&line("bound, cipher side"), rate(bound), against, ">= 85 %", Verdict::of(ratio >= 0.85)));
    }
    rows
}
