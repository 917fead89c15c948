//! The sweep's thread, its orders, and the thread that serves requests from the reserve.
//!
//! # Ordering rules
//! * One order is under way at a time; the sweep thread takes it between two steps, never with a zone closed when it answers.
//! * The sweep thread ends before the reserve thread, which serves what the last zone let through, and both before the volume's mode
//!   is gone for good.

use core::cell::Cell;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;

use vck_common::{VckError, VckResult};

use super::bound::{CipherSide, Volume};
use super::device::{FilterDevice, Starved};
use super::seams::{LoadMeter, SweepGate};
use crate::engine::{Closures, Command, Parts, Progress, State, Step, Sweep};
use crate::io::VolumeIo;
use crate::nt::{
    Event, Held, KernelRandom, LowerDevice, MappingWindow, Mutex, Passive, Priority, Shared, SpinLock, Thread,
    Transfer, Waited,
};

/// What the sweep thread may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The volume is in place: bring its metadata up to date; `true`: and go on with its conversion.
    Begin(bool),
    /// A command of the control plane.
    Run(Command),
    /// Finish the step and stand still, without changing the state.
    Halt,
    /// Go on after a halt.
    Continue,
    /// As a halt, for a transaction that looks at what the sweep holds.
    Hold,
    /// The transaction came to nothing.
    LetGo,
    /// Finish the step and end the thread.
    End,
}

/// The control plane's side of the sweep.
pub struct Sweeper {
    orders: Mutex<()>,
    order: SpinLock<Option<Order>>,
    result: SpinLock<Option<VckResult<()>>>,
    work: Event,
    answered: Event,
    progress: SpinLock<Progress>,
    threads: SpinLock<Threads>,
    reserve_ends: AtomicBool,
    only_copy: AtomicBool,
}

#[derive(Default)]
struct Threads {
    sweep: Option<Thread>,
    reserve: Option<Thread>,
}

/// Preallocated means to serve any request piece by piece.
pub struct Reserve {
    /// IRP and buffer.
    pub transfer: Transfer,
    /// Addresses to reach the caller's buffer through.
    pub window: MappingWindow,
}

impl Reserve {
    fn try_new(passive: Passive, lower: LowerDevice) -> VckResult<Self> {
        Ok(Self { transfer: Transfer::try_new(lower, MappingWindow::PIECE)?, window: MappingWindow::try_new(passive)? })
    }
}

impl Sweeper {
    pub(super) fn try_new(progress: Progress) -> VckResult<Self> {
        Ok(Self {
            orders: Mutex::try_new(())?,
            order: SpinLock::new(None),
            result: SpinLock::new(None),
            work: Event::try_new()?,
            answered: Event::try_new()?,
            progress: SpinLock::new(progress),
            threads: SpinLock::new(Threads::default()),
            reserve_ends: AtomicBool::new(false),
            only_copy: AtomicBool::new(false),
        })
    }

    /// State, boundary and last error; never waits.
    pub fn progress(&self) -> Progress {
        self.progress.with(|progress| *progress)
    }

    /// Whether an order waits for the sweep thread.
    pub(super) fn has_order(&self) -> bool {
        self.order.with(|order| order.is_some())
    }

    /// Has the sweep thread look whether there is something to do. IRQL <= DISPATCH_LEVEL.
    pub(super) fn wake(&self) {
        self.work.set();
    }

    /// Whether a zone's only good copy is in the sweep's memory.
    pub(super) fn holds_only_copy(&self) -> bool {
        self.only_copy.load(Ordering::Acquire)
    }

    /// The volume is in place. Before that the thread touches nothing. `goes_on`: its conversion is resumed.
    pub(super) fn begin(&self, passive: Passive, goes_on: bool) -> VckResult<()> {
        self.order(passive, Order::Begin(goes_on))
    }

    /// Gives an order and waits until the sweep thread has carried it out.
    pub(super) fn order(&self, passive: Passive, order: Order) -> VckResult<()> {
        self.orders.with(passive, |()| {
            if self.threads.with(|threads| threads.sweep.is_none()) {
                return Err(VckError::WrongState("the volume is being released"));
            }
            self.put(passive, order)
        })
    }

    /// Hands an order to the living sweep thread and waits for the answer. Under `orders`.
    fn put(&self, passive: Passive, order: Order) -> VckResult<()> {
        self.order.with(|slot| *slot = Some(order));
        self.work.set();
        self.answered.wait(passive);
        self.result.with(Option::take).unwrap_or(Ok(()))
    }

    /// Starts both threads. On error none is left running.
    pub(super) fn start(
        &self,
        passive: Passive,
        filter: &Held<FilterDevice>,
        volume: &Shared<Volume>,
        io: VolumeIo,
        sweep: Sweep,
    ) -> VckResult<()> {
        let lower = filter.device().lower();
        let reserve = Reserve::try_new(passive, lower)?;
        let again = || filter.core.filters.find(|device| device.same(filter.device())).ok_or(VckError::Removed);
        let (sweep_filter, reserve_filter) = (again()?, again()?);
        let (sweep_volume, reserve_volume) = (volume.clone(), volume.clone());
        let thread = Thread::spawn(passive, Priority::Normal, move |passive| {
            if let Some(side) = &sweep_volume.cipher_side {
                let (filter, name) = (&sweep_filter, sweep_volume.name.as_str());
                SweepThread { side, filter, io: &io, name, reported: Cell::new(None) }.run(passive, sweep);
            }
        })?;
        self.threads.with(|threads| threads.sweep = Some(thread));
        let thread = Thread::spawn(passive, Priority::Requests, move |passive| {
            if let Some(side) = &reserve_volume.cipher_side {
                serve_from_reserve(passive, &reserve_filter, side, reserve);
            }
        });
        match thread {
            Ok(thread) => {
                self.threads.with(|threads| threads.reserve = Some(thread));
                Ok(())
            }
            Err(error) => {
                self.end(passive, filter);
                Err(error)
            }
        }
    }

    /// Ends both threads, the sweep at a committed step. Later calls do nothing.
    pub(super) fn end(&self, passive: Passive, filter: &FilterDevice) {
        // Taken and ended under one hold of the mutex: an order that comes later finds no thread and is refused.
        self.orders.with(passive, |()| {
            if let Some(thread) = self.threads.with(|threads| threads.sweep.take()) {
                // Ending cannot fail.
                let _ = self.put(passive, Order::End);
                thread.join(passive);
            }
        });
        self.reserve_ends.store(true, Ordering::Release);
        filter.starved_work.set();
        if let Some(thread) = self.threads.with(|threads| threads.reserve.take()) {
            thread.join(passive);
        }
    }
}

fn serve_from_reserve(passive: Passive, filter: &Held<FilterDevice>, side: &CipherSide, mut reserve: Reserve) {
    loop {
        while let Some((irp, what)) = filter.starved.pop() {
            if what == Starved::Serve as usize {
                (filter.front.serve_starved)(passive, filter.device(), irp, &mut reserve);
            } else {
                (filter.front.resubmit)(filter.device(), irp).settled();
            }
        }
        if side.sweeper.reserve_ends.load(Ordering::Acquire) {
            return;
        }
        filter.starved_work.wait(passive);
    }
}

/// Why the sweep stands still.
struct Stops {
    /// The volume is not in place yet.
    waits: bool,
    /// The device is being stopped or removed, or the system shuts down.
    halted: bool,
    /// A transaction looks at what it holds.
    held: bool,
}

impl Stops {
    fn any(&self) -> bool {
        self.waits || self.halted || self.held
    }

    /// Brings a step to its end. Before the volume is in place there is none.
    fn settle(&self, sweep: &mut Sweep, parts: &Parts<'_>) {
        if !self.waits {
            sweep.settle(parts);
        }
    }
}

/// What the sweep thread works with.
struct SweepThread<'a> {
    side: &'a CipherSide,
    filter: &'a Held<FilterDevice>,
    io: &'a VolumeIo,
    /// The volume's.
    name: &'a str,
    /// What the log says.
    reported: Cell<Option<Reported>>,
}

/// What is worth a line in the log when it changes.
#[derive(Clone, Copy)]
struct Reported {
    progress: Progress,
    fenced: bool,
    damaged: usize,
    lost: usize,
}

impl SweepThread<'_> {
    fn run(&self, passive: Passive, mut sweep: Sweep) {
        let gate = SweepGate::new(self.side, self.filter, passive);
        let load = LoadMeter::new(self.side, self.filter);
        let parts = Parts {
            io: self.io,
            cipher: &*self.side.cipher,
            store: &*self.side.store,
            random: &KernelRandom,
            gate: &gate,
            meter: &load,
        };
        self.publish(&sweep);
        let mut stops = Stops { waits: true, halted: false, held: false };
        loop {
            if let Some(order) = self.side.sweeper.order.with(Option::take) {
                let result = Self::obey(order, &mut sweep, &parts, &mut stops);
                self.publish(&sweep);
                if order == Order::End && !stops.waits {
                    self.report_lag(&sweep);
                }
                self.side.sweeper.result.with(|slot| *slot = Some(result));
                self.side.sweeper.answered.set();
                if order == Order::End {
                    return;
                }
                continue;
            }
            if stops.any() {
                self.side.sweeper.work.wait(passive);
                continue;
            }
            let step = sweep.step(&parts);
            self.publish(&sweep);
            match step {
                Step::Worked => {}
                Step::Idle => self.side.sweeper.work.wait(passive),
                Step::Rest(pause) | Step::RetryAfter(pause) => {
                    let _: Waited = self.side.sweeper.work.wait_for(passive, pause.max(Duration::from_millis(1)));
                }
            }
        }
    }

    fn obey(order: Order, sweep: &mut Sweep, parts: &Parts<'_>, stops: &mut Stops) -> VckResult<()> {
        match order {
            Order::Begin(goes_on) => {
                stops.waits = false;
                if goes_on { sweep.command(parts, Command::Resume) } else { Ok(()) }
            }
            Order::Run(_) if stops.waits => Err(VckError::WrongState("the volume is just being attached")),
            Order::Run(stop @ (Command::Pause | Command::Suspend)) => sweep.command(parts, stop),
            Order::Run(_) if stops.held && !stops.halted => {
                Err(VckError::WrongState("a detach of the volume is under way"))
            }
            Order::Run(_) if stops.any() => Err(VckError::WrongState("the device is being stopped or removed")),
            Order::Run(command) => sweep.command(parts, command),
            Order::Halt | Order::Hold => {
                *(if order == Order::Halt { &mut stops.halted } else { &mut stops.held }) = true;
                stops.settle(sweep, parts);
                Ok(())
            }
            Order::Continue | Order::LetGo => {
                *(if order == Order::Continue { &mut stops.halted } else { &mut stops.held }) = false;
                Ok(())
            }
            Order::End => {
                stops.settle(sweep, parts);
                Ok(())
            }
        }
    }

    fn publish(&self, sweep: &Sweep) {
        let snapshot = sweep.snapshot();
        self.side.sweeper.progress.with(|progress| *progress = snapshot);
        self.side.sweeper.only_copy.store(sweep.holds_only_copy(), Ordering::Release);
        if !sweep.holds_zone() {
            self.report(sweep, snapshot);
        }
    }

    /// Logs what changed. No zone is closed.
    fn report(&self, sweep: &Sweep, progress: Progress) {
        let now = Reported {
            progress,
            fenced: sweep.fenced().is_some(),
            damaged: sweep.damaged().len(),
            lost: sweep.lost_replicas(),
        };
        let Some(before) = self.reported.replace(Some(now)) else { return };
        let Progress { state, boundary, total, error, damage: _ } = progress;
        let name = self.name;
        if state != before.progress.state {
            match error.filter(|_| state == State::Faulted) {
                Some(error) => log::error!("{name}: the conversion stopped at {boundary} of {total}: {error}"),
                None => log::info!("{name}: {state:?} at {boundary} of {total}"),
            }
        }
        if before.progress.is_running() && !progress.is_running() {
            let Closures { zones, longest, flush } = sweep.closures();
            let (longest, flush) = (longest.as_micros(), flush.as_micros());
            log::info!("{name}: {zones} zones were closed for at most {longest} us each; a flush took {flush} us");
        }
        if now.fenced && !before.fenced {
            log::error!("{name}: a part of the volume is fenced until a START mends it");
        }
        if now.damaged > before.damaged {
            log::error!("{name}: {} sectors are damaged; reads of them fail until they are written", now.damaged);
        }
        if now.lost > before.lost {
            log::error!("{name}: {} replicas take no conversion record and are given up", now.lost);
        }
    }

    /// Logs if readers that know no journal see an old boundary after a stop.
    fn report_lag(&self, sweep: &Sweep) {
        if sweep.blocks_lag() {
            log::warn!("{}: the metadata blocks could not be brought up to date; the conversion record is", self.name);
        }
    }
}
