//! 1 MiB sequential at depth 8 through a device in memory, real time, against the model that device and cipher each take their own time:
//! 1 / (1 / device + 1 / XTS), both measured alone in the same round.
//!
//! A round takes turns between the three in slices of some milliseconds. Here threads of the driver share the work, so what counts is
//! real time; a round is left out if other programs had more than a share of the processors meanwhile.

use std::hint::black_box;
use std::time::Instant;

use vck_common::xts::WideRegisters;
use vck_common::{DataSector, SectorSize, VolumeCipher, XtsVolumeCipher};

use crate::cost::{fill, machine};
use crate::raw::{Load, Pattern, machine_time, process_time, run};
use crate::stack::{Machine, Stack};
use crate::table::{Row, Spread, Verdict};

/// Undisturbed rounds that are wanted, fewer of which say nothing, and how many are tried at most.
const ROUNDS: usize = 15;
const FEWEST: usize = 5;
const TRIES: usize = 45;
const SLICES: u64 = 4;
const BLOCK: u32 = 1 << 20;
/// Of a slice.
const REQUESTS: u64 = 64;
const DATA: u64 = 64 << 20;

/// Nanoseconds of a slice through a stack.
fn stack(machine: &Machine, write: bool) -> u64 {
    let pattern = Pattern::Sequential;
    let load = Load { write, block: BLOCK, depth: 8, count: REQUESTS, from: 0, span: DATA, pattern };
    let outcome = run(&machine.world, &machine.path(), load);
    assert_eq!(outcome.failed, 0);
    outcome.elapsed
}

/// The cipher with the widest registers there are, over as many buffers as requests are outstanding.
struct Alone {
    cipher: XtsVolumeCipher,
    source: Vec<u8>,
    buffers: Vec<Vec<u8>>,
}

impl Alone {
    fn new() -> Self {
        let cipher = XtsVolumeCipher::new(&[1; 32], &[2; 32]).expect("a cipher");
        Self { cipher, source: vec![3; BLOCK as usize], buffers: vec![vec![3; BLOCK as usize]; 8] }
    }

    /// Nanoseconds of a slice.
    fn slice(&mut self, write: bool) -> u64 {
        let registers = WideRegisters::in_user_mode();
        let begin = Instant::now();
        for number in 0..REQUESTS {
            let first = DataSector::new(number * 2048);
            let buffer = &mut self.buffers[usize::try_from(number % 8).unwrap_or(0)];
            if write {
                let source = black_box(&self.source);
                self.cipher.encrypt_copy_wide(source, black_box(buffer), SectorSize::S512, first, registers);
            } else {
                self.cipher.decrypt_area_wide(black_box(buffer), SectorSize::S512, first, registers);
            }
        }
        u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// GB/s in a round.
#[derive(Clone, Copy)]
struct Rates {
    pass: f64,
    xts: f64,
    bound: f64,
}

impl Rates {
    /// How much of the model's rate the bound filter reaches.
    fn ratio(&self) -> f64 {
        self.bound * (1.0 / self.pass + 1.0 / self.xts)
    }
}

/// One round, and whether others left it alone.
#[expect(clippy::cast_precision_loss, reason = "a few GiB, and seconds")]
fn round(machines: &[Machine; 2], alone: &mut Alone, write: bool) -> (Rates, bool) {
    let clocks = || (Instant::now(), machine_time(), process_time());
    let before = clocks();
    let mut nanos = [0; 3];
    for _ in 0..SLICES {
        let [pass, bound] = machines;
        for (sum, slice) in nanos.iter_mut().zip([stack(pass, write), stack(bound, write), alone.slice(write)]) {
            *sum += slice;
        }
    }
    let after = clocks();
    let wall = u64::try_from((after.0 - before.0).as_nanos()).unwrap_or(u64::MAX);
    let others = (after.1 - before.1).saturating_sub(after.2 - before.2);
    // The machine's time counts in ticks of 10 ms for each of the processors.
    let quiet = others <= wall / 8 + 20_000_000;
    let [pass, bound, xts] = nanos.map(|nanos| (SLICES * REQUESTS * u64::from(BLOCK)) as f64 / nanos as f64);
    (Rates { pass, xts, bound }, quiet)
}

fn rows_of(machines: &[Machine; 2], write: bool) -> Vec<Row> {
    let kind = if write { "write" } else { "read" };
    let mut alone = Alone::new();
    // What the first requests of a stack allocate is there for the others.
    let _warm = round(machines, &mut alone, write);
    let (mut quiet, mut all) = (Vec::new(), Vec::new());
    while quiet.len() < ROUNDS && all.len() < TRIES {
        let (rates, undisturbed) = round(machines, &mut alone, write);
        quiet.extend(undisturbed.then_some(rates));
        all.push(rates);
    }
    let counted = format!("{} of {}", quiet.len(), all.len());
    let measured = quiet.len() >= FEWEST;
    let rounds = if measured { quiet } else { all };
    let spread = |of: fn(&Rates) -> f64| Spread::of(rounds.iter().map(of).collect());
    let line = |what: &str| format!("1 MiB sequential {kind}, depth 8: {what}");
    let rate = |of: fn(&Rates) -> f64| {
        let Spread { median, quartiles: (low, high) } = spread(of);
        format!("{median:.2} GB/s ({low:.2}-{high:.2})")
    };
    let ratio = spread(Rates::ratio);
    let percent = |ratio: f64| ratio * 100.0;
    let (low, high) = ratio.quartiles;
    let against = format!("{:.0} % of the model ({:.0}-{:.0})", percent(ratio.median), percent(low), percent(high));
    let verdict = if measured { Verdict::of(ratio.median >= 0.85) } else { Verdict::NotMeasured };
    let baseline = |what: &str, text: String| Row::new(&line(what), text, String::new(), "", Verdict::Baseline);
    vec![
        baseline("pass-through filter", rate(|rates| rates.pass)),
        baseline("XTS alone, one thread", rate(|rates| rates.xts)),
        Row::new(&line("bound, cipher side"), rate(|rates| rates.bound), against, ">= 85 %", verdict),
        baseline("undisturbed rounds", counted),
    ]
}

/// The rows of this measurement.
pub(crate) fn rows() -> Vec<Row> {
    let machines = [Stack::PassThrough, Stack::Encrypted].map(|stack| machine(stack, DATA));
    for machine in &machines {
        fill(machine, DATA);
    }
    [false, true].into_iter().flat_map(|write| rows_of(&machines, write)).collect()
}
