//! What the programs, the watcher and the host of one seed share.
//!
//! # Rules
//! * The lock is never held across a call into the simulator: in a deterministic world all simulated threads run on one
//!   carrier, so whoever waited for it would wait for itself.
//! * A program that has the volume open counts as a session. Whoever needs the volume closed asks for quiet and waits
//!   until there is no session.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use vck_common::NtStatus;
use vck_ntsim::current;
use vck_ntsim::pnp::VolumeId;

use super::coverage::Coverage;
use super::model::Model;
use super::plan::Plan;

/// Who the host is in traces.
pub(super) const HOST: u64 = 100;
/// Operations that are remembered.
const HISTORY: usize = 40;

/// Key that nobody wakes: waiting on it is sleeping.
const SLEEP_KEY: usize = (1 << 62) | 0x5EED;

/// A program's request under way, for the watcher.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) id: u64,
    pub(super) write: bool,
    pub(super) sectors: Range<u64>,
    /// It brought ciphertext from the device.
    pub(super) brought_cipher: bool,
}

/// What the volume is known to be.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Life {
    /// It has metadata.
    pub(super) prepared: bool,
    /// It was prepared without a key and has not got one yet.
    pub(super) provisional: bool,
    /// A conversion has been asked for at some time: the raw volume is not the programs' any more.
    pub(super) ever_started: bool,
    /// A START has succeeded, so the metadata is not the block of the prepare any more.
    pub(super) rewritten: bool,
    /// What the last START asked for, until its end is seen: true for ciphertext.
    pub(super) running: Option<bool>,
    /// Value of `State::disturbances` at that START.
    pub(super) undisturbed: u64,
    /// Where the boundary was last seen.
    pub(super) boundary: u64,
    /// Whether it was attached when last looked at.
    pub(super) attached: bool,
}

/// What happened around a request, noted when it begins.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Window {
    generation: u64,
    dying: bool,
    faults: u64,
    faulty: bool,
    shortages: u64,
    short: bool,
    stops: u64,
    stopping: bool,
}

/// Which failures a request may end with.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Excuses {
    pub(super) removed: bool,
    pub(super) faulty: bool,
    pub(super) short: bool,
    /// The device was asked to stop, or was stopped.
    pub(super) stopped: bool,
}

/// Everything under the lock.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct State {
    pub(super) model: Model,
    pub(super) coverage: Coverage,
    pub(super) failure: Option<String>,
    pub(super) life: Life,
    pub(super) live: Vec<Live>,
    next_id: u64,
    hash: u64,
    /// The latest operations: time, who, what, where, outcome.
    history: VecDeque<[u64; 5]>,
    /// Name of the volume and its number.
    pub(super) path: String,
    pub(super) volume: VolumeId,
    /// Counts the volume's appearances.
    pub(super) generation: u64,
    /// A removal is under way.
    pub(super) dying: bool,
    /// Those who want the volume closed.
    pub(super) quiet: u64,
    /// One of them has it closed, for itself.
    alone: bool,
    /// The volume is about to be removed: nobody opens it any more, as after a question that the file system granted.
    pub(super) evicting: bool,
    /// Programs with pending requests may close their handles without waiting.
    pub(super) hasty: bool,
    /// No new commands.
    pub(super) hold: bool,
    pub(super) commanding: bool,
    pub(super) sessions: u64,
    pub(super) in_flight: u64,
    /// Somebody writes the file system's pages back.
    pub(super) writing_back: bool,
    /// File requests under way.
    pub(super) file_requests: u64,
    pub(super) limit: u64,
    /// Faults armed so far; bursts of refused allocations so far.
    pub(super) faults: u64,
    pub(super) faulty: bool,
    pub(super) shortages: u64,
    pub(super) short: bool,
    /// Questions and stops so far.
    pub(super) stops: u64,
    pub(super) stopping: bool,
    /// Threads that write metadata on their own.
    pub(super) sweepers: BTreeSet<u64>,
    /// Threads up to this number are older than any volume.
    pub(super) workers_end: u64,
}

/// One seed's common ground.
pub(super) struct Shared {
    pub(super) plan: Plan,
    state: Mutex<State>,
}

impl Shared {
    pub(super) fn new(plan: Plan, path: String, volume: VolumeId) -> Self {
        let written = !plan.blank;
        let model = Model::new(plan.data_sectors, plan.sector_size, |_| u64::from(written));
        let state = State {
            model,
            coverage: Coverage::default(),
            failure: None,
            life: Life::default(),
            live: Vec::new(),
            next_id: 0,
            hash: 0xCBF2_9CE4_8422_2325,
            history: VecDeque::new(),
            path,
            volume,
            generation: 0,
            dying: false,
            quiet: 0,
            alone: false,
            evicting: false,
            hasty: false,
            hold: false,
            commanding: false,
            sessions: 0,
            in_flight: 0,
            writing_back: false,
            file_requests: 0,
            limit: 0,
            faults: 0,
            faulty: false,
            shortages: 0,
            short: false,
            stops: 0,
            stopping: false,
            sweepers: BTreeSet::new(),
            workers_end: 0,
        };
        Self { plan, state: Mutex::new(state) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records what is wrong; the first one counts.
    pub(super) fn fail(&self, text: impl Into<String>) {
        self.lock().failure.get_or_insert(text.into());
    }

    /// Whether programs shall come to their end.
    pub(super) fn round_over(&self) -> bool {
        let state = self.lock();
        state.failure.is_some() || state.coverage.operations >= state.limit
    }

    /// Whether programs shall close the volume.
    pub(super) fn quiet(&self) -> bool {
        self.lock().quiet > 0
    }

    /// Waits until the caller has the volume for itself; false when that takes unreasonably long. To be followed by
    /// [`Shared::loud`] in either case.
    pub(super) fn quieten(&self) -> bool {
        self.lock().quiet += 1;
        sleep_until(|| {
            let mut state = self.lock();
            let mine = state.sessions == 0 && state.in_flight == 0 && !state.alone;
            state.alone |= mine;
            mine
        })
    }

    /// Others may use the volume again.
    pub(super) fn loud(&self, was_alone: bool) {
        let mut state = self.lock();
        state.quiet -= 1;
        state.alone &= !was_alone;
    }

    pub(super) fn window(&self) -> Window {
        let state = self.lock();
        Window {
            generation: state.generation,
            dying: state.dying,
            faults: state.faults,
            faulty: state.faulty,
            shortages: state.shortages,
            short: state.short,
            stops: state.stops,
            stopping: state.stopping,
        }
    }

    pub(super) fn excuses(&self, window: Window) -> Excuses {
        let state = self.lock();
        Excuses {
            removed: window.dying || state.dying || state.generation != window.generation,
            faulty: window.faulty || state.faulty || state.faults != window.faults,
            short: window.short || state.short || state.shortages != window.shortages,
            stopped: window.stopping || state.stopping || state.stops != window.stops,
        }
    }

    /// Notes one more operation and its outcome.
    pub(super) fn operation(&self, who: u64, what: u64, place: u64, outcome: i32) {
        let now = if who == HOST { 0 } else { current().now().0 };
        let mut state = self.lock();
        state.coverage.operations += 1;
        let entry = [now, who, what, place, u64::from(outcome.cast_unsigned())];
        if state.history.len() == HISTORY {
            state.history.pop_front();
        }
        state.history.push_back(entry);
        for word in entry {
            state.mix(word);
        }
    }

    /// Whether the volume shows programs what the model knows: attached, or never converted.
    pub(super) fn is_ours(&self, attached: bool) -> bool {
        attached || !self.lock().life.ever_started && self.plan.offset_sectors() == 0
    }

    /// The plan and the latest operations, for a person.
    pub(super) fn history(&self) -> String {
        let state = self.lock();
        let mut text = format!("{:?}\n{:?}\n", self.plan, state.life);
        for [time, who, what, place, outcome] in &state.history {
            let _ = writeln!(text, "  {time:>12} who {who:>3} what {what:>2} at {place:>6}: {outcome:#010x}");
        }
        text
    }
}

impl State {
    /// Makes the trace depend on `word`.
    pub(super) fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
    }

    pub(super) fn trace(&self) -> u64 {
        self.hash
    }

    /// Faults and shortages so far: anything that may stop a conversion.
    pub(super) fn disturbances(&self) -> u64 {
        self.faults + self.shortages
    }

    pub(super) fn begin_live(&mut self, write: bool, sectors: Range<u64>) -> u64 {
        self.next_id += 1;
        self.in_flight += 1;
        self.live.push(Live { id: self.next_id, write, sectors, brought_cipher: false });
        self.next_id
    }

    pub(super) fn end_live(&mut self, id: u64) -> Option<Live> {
        self.in_flight -= 1;
        let at = self.live.iter().position(|live| live.id == id)?;
        Some(self.live.remove(at))
    }
}

/// Lets `units` of 100 ns of the world's time pass. On a simulated thread.
pub(super) fn sleep(units: u64) {
    let kernel = current();
    let end = kernel.now().after(units);
    let _timed_out = kernel.block(&[SLEEP_KEY], Some(end), "its own pleasure", || None::<()>);
}

/// Sleeps until `done` holds; false when that takes unreasonably long.
pub(super) fn sleep_until(mut done: impl FnMut() -> bool) -> bool {
    for _ in 0..20_000 {
        if done() {
            return true;
        }
        sleep(2_000);
    }
    false
}

/// Whether a status says that the device failed, was taken away, or had no memory, and that is excused.
pub(super) fn excused(status: i32, excuses: Excuses) -> bool {
    const GONE: [NtStatus; 7] = [
        NtStatus::NO_SUCH_DEVICE,
        NtStatus::DEVICE_REMOVED,
        NtStatus::DEVICE_DOES_NOT_EXIST,
        NtStatus::DELETE_PENDING,
        NtStatus::DEVICE_NOT_READY,
        NtStatus::OBJECT_NAME_NOT_FOUND,
        VOLUME_DISMOUNTED,
    ];
    let status = NtStatus(status);
    excuses.removed && GONE.contains(&status)
        || excuses.faulty && status == NtStatus::IO_DEVICE_ERROR
        || excuses.short && status == NtStatus::INSUFFICIENT_RESOURCES
}

/// `STATUS_VOLUME_DISMOUNTED`.
pub(super) const VOLUME_DISMOUNTED: NtStatus = NtStatus::from_u32(0xC000_026E);
