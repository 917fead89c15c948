//! What a request costs the processor: one 4 KiB request at a time, through a device in memory that answers inside the call, so that
//! all work is done on one thread, whose processor time is what counts. The pass-through filter's stack is the baseline, and the
//! simulator's part in it.
//!
//! A round is a burst through each stack and one of the cipher alone, within a few milliseconds, on one processor; differences are
//! taken within a round. A round is left out for one reason: a thread lost its processor, or waited for it, during a burst. Rounds go on
//! until there are enough others, or for a limited time.

use std::hint::black_box;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use vck_common::xts::Features;
use vck_common::{DataSector, SectorSize, VolumeCipher, XtsVolumeCipher};
use vck_ntsim::SchedulerKind;
use vck_ntsim::storage::Timing;

use crate::raw::{Load, Outcome, Pattern, current_processor, preemptions, run, serve, stay_on, thread_time};
use crate::stack::{Machine, Setup, Stack};
use crate::table::{Row, Spread, Verdict};

/// Undisturbed rounds that are wanted, and fewer of which say nothing.
const ROUNDS: usize = 400;
const FEWEST: usize = 60;
const LIMIT: Duration = Duration::from_secs(20);
/// Requests of a burst, and those before it that bring caches back.
const REQUESTS: u64 = 128;
const WARM: u64 = 32;
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

/// A burst, and the processor on which it is to run.
#[derive(Clone, Copy)]
struct Order {
    load: Load,
    processor: usize,
}

impl Order {
    /// The next one, if there is any, with the current thread where it belongs.
    fn take(orders: &Receiver<Self>) -> Option<Load> {
        let order = orders.recv().ok()?;
        stay_on(order.processor);
        Some(order.load)
    }
}

/// A thread that runs bursts when it is told to, of requests or of the cipher.
struct Station {
    orders: Sender<Order>,
    outcomes: Receiver<Outcome>,
    thread: JoinHandle<()>,
}

impl Station {
    fn start(body: impl FnOnce(Receiver<Order>, Sender<Outcome>) + Send + 'static) -> Self {
        let (orders, taken) = channel();
        let (told, outcomes) = channel();
        Self { orders, outcomes, thread: spawn(move || body(taken, told)) }
    }

    /// A machine's volume.
    fn requests(stack: Stack) -> Self {
        Self::start(move |orders, outcomes| {
            let machine = machine(stack, DATA);
            fill(&machine, DATA);
            if stack == Stack::Encrypted {
                check_kernel(&machine);
            }
            let next = move || Order::take(&orders);
            let done = move |outcome| outcomes.send(outcome).unwrap_or_default();
            serve(&machine.world, &machine.path(), next, done);
        })
    }

    /// The cipher alone.
    fn cipher() -> Self {
        Self::start(|orders, outcomes| {
            let cipher = XtsVolumeCipher::new(&[1; 32], &[2; 32]).expect("a cipher");
            while let Some(load) = Order::take(&orders) {
                outcomes.send(encipher(&cipher, load)).expect("somebody listens");
            }
        })
    }

    fn burst(&self, order: Order) -> Outcome {
        self.orders.send(order).expect("the thread runs");
        let outcome = self.outcomes.recv().expect("the thread runs");
        assert_eq!(outcome.failed, 0);
        outcome
    }

    fn end(self) {
        drop((self.orders, self.outcomes));
        self.thread.join().expect("the thread ends");
    }
}

/// The cipher alone is measured with all that this processor has; the driver must have found the same.
fn check_kernel(machine: &Machine) {
    let found = format!("sector cipher: {:?}", Features::detected());
    let log = machine.world.log();
    assert!(log.iter().any(|line| line.contains(&found)), "the driver's cipher is another one: {log:?}");
}

/// As many sectors as `load` has, over one buffer.
fn encipher(cipher: &XtsVolumeCipher, load: Load) -> Outcome {
    let (source, mut buffer) = (vec![3_u8; load.block as usize], vec![0_u8; load.block as usize]);
    let (began, preempted, busy) = (Instant::now(), preemptions(), thread_time());
    for number in 0..load.count {
        let first = DataSector::new(number * 8);
        if load.write {
            cipher.encrypt_copy(black_box(&source), black_box(&mut buffer), SectorSize::S512, first);
        } else {
            cipher.decrypt_area(black_box(&mut buffer), SectorSize::S512, first);
        }
    }
    Outcome {
        processor: thread_time() - busy,
        preemptions: preemptions() - preempted,
        wall: u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX),
        ..Outcome::default()
    }
}

/// Whether somebody else had the processor during a burst.
fn disturbed(outcome: &Outcome) -> bool {
    outcome.preemptions > 0 || outcome.wall > outcome.processor + outcome.processor / 50 + 10_000
}

/// What is measured in a round, in the order of [`Costs`].
const STACKS: [Stack; 4] = [Stack::PassThrough, Stack::Shell, Stack::Plain, Stack::Encrypted];

/// Nanoseconds of one request or of its cipher.
#[derive(Clone, Copy)]
struct Costs {
    pass: f64,
    shell: f64,
    plain: f64,
    bound: f64,
    xts: f64,
}

/// One round, and whether it was undisturbed.
#[expect(clippy::cast_precision_loss, reason = "durations of milliseconds")]
fn round(stations: &[Station; 5], write: bool, number: usize) -> (Costs, bool) {
    // Wherever the host has put this thread, which does nothing but wake up: where there is room.
    let processor = current_processor();
    let order = |count, seed| {
        let pattern = Pattern::Random(seed);
        Order { load: Load { write, block: BLOCK, depth: 1, count, from: 0, span: DATA, pattern }, processor }
    };
    let mut nanos = [0.0; 5];
    let mut all_quiet = true;
    // There and back, so that what grows or falls from burst to burst favours nobody.
    for step in 0..stations.len() {
        let index = if number.is_multiple_of(2) { step } else { stations.len() - 1 - step };
        let seed = number as u64;
        stations[index].burst(order(WARM, !seed));
        let outcome = stations[index].burst(order(REQUESTS, seed));
        all_quiet &= !disturbed(&outcome);
        nanos[index] = outcome.processor as f64 / REQUESTS as f64;
    }
    let [pass, shell, plain, bound, xts] = nanos;
    (Costs { pass, shell, plain, bound, xts }, all_quiet)
}

fn rows_of(stations: &[Station; 5], write: bool) -> Vec<Row> {
    let kind = if write { "write" } else { "read" };
    let (mut quiet, mut all, began) = (Vec::new(), Vec::new(), Instant::now());
    while quiet.len() < ROUNDS && began.elapsed() < LIMIT {
        let (costs, undisturbed) = round(stations, write, all.len());
        quiet.extend(undisturbed.then_some(costs));
        all.push(costs);
    }
    let counted = format!("{} of {}", quiet.len(), all.len());
    let measured = quiet.len() >= FEWEST;
    let rounds = if measured { quiet } else { all };
    let spread = |of: fn(&Costs) -> f64| Spread::of(rounds.iter().map(of).collect());
    let line = |what: &str| format!("4 KiB {kind}, processor: {what}");
    let baseline =
        |what: &str, cost: Spread, ratio: String| Row::new(&line(what), cost.micros(), ratio, "", Verdict::Baseline);
    let ours = spread(|costs| costs.bound - costs.pass - costs.xts);
    let more = |text: &str, cost: Spread| format!("{text} + {}", cost.micros());
    vec![
        baseline("pass-through filter", spread(|costs| costs.pass), String::new()),
        baseline("XTS alone", spread(|costs| costs.xts), String::new()),
        baseline(
            "the bound filter's kernel calls alone",
            spread(|costs| costs.shell),
            more("pass-through", spread(|costs| costs.shell - costs.pass)),
        ),
        baseline(
            "bound, plain side",
            spread(|costs| costs.plain),
            more("pass-through", spread(|costs| costs.plain - costs.pass)),
        ),
        Row::new(
            &line("bound, cipher side"),
            spread(|costs| costs.bound).micros(),
            more("pass-through + XTS", ours),
            "<= XTS + 1 us",
            if measured { Verdict::of(ours.median <= 1000.0) } else { Verdict::NotMeasured },
        ),
        Row::new(&line("undisturbed rounds"), counted, String::new(), "", Verdict::Baseline),
    ]
}

/// The rows of this measurement.
pub(crate) fn rows() -> Vec<Row> {
    let [pass, shell, plain, bound] = STACKS.map(Station::requests);
    let stations = [pass, shell, plain, bound, Station::cipher()];
    let rows = [false, true].into_iter().flat_map(|write| rows_of(&stations, write)).collect();
    stations.into_iter().for_each(Station::end);
    rows
}
