//! What the simulator knows about one simulated thread.
//!
//! The fields are atomics so that the state can be shared with the parallel scheduler; only the thread itself
//! changes them, so relaxed ordering suffices.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::host::xstate::Image;

/// Number of a simulated thread: counts up from 1 in order of creation, never reused within a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ThreadId(pub u64);

/// What kind of thread it is.
#[derive(Debug, Clone)]
pub enum ThreadKind {
    /// A kernel thread.
    System,
    /// A user-mode program's thread, with its token.
    User(crate::user::Token),
    /// A deferred procedure call: starts at `DISPATCH_LEVEL`, never waits.
    Dpc,
    /// A helper of the test itself: not subject to the rules for kernel code.
    Host,
}

/// A lock that a thread holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldLock {
    /// Address of the lock.
    pub(crate) address: usize,
    /// Name of the lock's type.
    pub(crate) kind: &'static str,
    /// IRQL to go back to on release.
    pub(crate) old_irql: u8,
}

/// Set while a thread has saved anything at all.
const GUARD_OPEN: u64 = 1 << 63;

/// Extended processor state that a thread has saved.
#[derive(Debug)]
pub(crate) struct SavedState {
    /// Where the driver keeps it.
    pub(crate) address: usize,
    /// IRQL at the time.
    pub(crate) irql: u8,
    /// Which components.
    pub(crate) mask: u64,
    /// What was in them.
    pub(crate) image: Image,
}

/// The model of the kernel stack: only driver frames count.
#[derive(Debug, Default)]
pub(crate) struct StackModel {
    /// Stack pointer where the innermost driver callback was entered; zero while no driver frame is below us.
    pub(crate) base: AtomicUsize,
    /// Bytes used by everything outside the innermost callback.
    pub(crate) outer: AtomicUsize,
    /// Bytes in use at the last call into the simulator: what a callback made now comes on top of.
    pub(crate) last_used: AtomicUsize,
    /// Bytes that this stack has.
    pub(crate) limit: AtomicUsize,
    /// The most that was ever in use.
    pub(crate) high_water: AtomicUsize,
}

/// One simulated thread.
#[derive(Debug)]
pub struct ThreadState {
    id: ThreadId,
    name: String,
    kind: ThreadKind,
    irql: AtomicU8,
    critical_depth: AtomicU32,
    guarded_depth: AtomicU32,
    /// Critical regions that the driver entered itself, not through a lock.
    pub(crate) regions: AtomicU32,
    /// Power dispatch routines of drivers that the thread is in.
    pub(crate) power_depth: AtomicU32,
    pub(crate) stack: StackModel,
    held: Mutex<Vec<HeldLock>>,
    /// How many they are.
    held_count: AtomicUsize,
    saved: Mutex<Vec<SavedState>>,
    /// Components that the driver may change now: those it has saved.
    guarded: AtomicU64,
    /// What is in them.
    live: Mutex<Option<Box<Image>>>,
    pub(crate) yielder: AtomicUsize,
    pub(crate) terminated: AtomicBool,
    /// What a driver sees of the thread: a dispatcher header, then fields of the simulator's.
    block: [AtomicU64; 8],
    pub(crate) slot: AtomicUsize,
    pub(crate) woken: AtomicBool,
    pub(crate) parked: Mutex<()>,
    pub(crate) unpark: Condvar,
}

impl ThreadState {
    pub(crate) fn new(id: ThreadId, name: String, kind: ThreadKind, stack_limit: usize) -> Self {
        let irql = if matches!(kind, ThreadKind::Dpc) { 2 } else { 0 };
        let stack = StackModel { limit: AtomicUsize::new(stack_limit), ..StackModel::default() };
        Self {
            id,
            name,
            kind,
            irql: AtomicU8::new(irql),
            critical_depth: AtomicU32::new(0),
            guarded_depth: AtomicU32::new(0),
            regions: AtomicU32::new(0),
            power_depth: AtomicU32::new(0),
            stack,
            held: Mutex::new(Vec::new()),
            held_count: AtomicUsize::new(0),
            saved: Mutex::new(Vec::new()),
            guarded: AtomicU64::new(0),
            live: Mutex::new(None),
            yielder: AtomicUsize::new(0),
            slot: AtomicUsize::new(usize::MAX),
            terminated: AtomicBool::new(false),
            block: Default::default(),
            woken: AtomicBool::new(false),
            parked: Mutex::new(()),
            unpark: Condvar::new(),
        }
    }

    /// The thread's number.
    #[must_use]
    pub fn id(&self) -> ThreadId {
        self.id
    }

    /// The thread's name, for reports.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many times the driver has saved extended state that it has not restored yet.
    pub(crate) fn saved_count(&self) -> usize {
        if self.guarded.load(Ordering::Relaxed) == 0 { 0 } else { self.saved_states().len() }
    }

    pub(crate) fn saved_states(&self) -> std::sync::MutexGuard<'_, Vec<SavedState>> {
        self.saved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Components of extended processor state that the driver has saved and may change.
    pub(crate) fn guarded_state(&self) -> u64 {
        self.guarded.load(Ordering::Relaxed) & !GUARD_OPEN
    }

    /// The IRQL at which the driver saved extended state that it has not restored yet.
    pub(crate) fn guarded_at(&self) -> Option<u8> {
        if self.guarded.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.saved_states().last().map(|saved| saved.irql)
    }

    /// Saves the components in `mask` as the driver's code has them.
    pub(crate) fn save_state(&self, address: usize, mask: u64) {
        let image = self.with_live_state(|live| live.clone());
        self.saved_states().push(SavedState { address, irql: self.irql(), mask, image });
        self.guarded.fetch_or(mask | GUARD_OPEN, Ordering::Relaxed);
    }

    /// Takes back the innermost saved state.
    pub(crate) fn restore_state(&self) -> Option<SavedState> {
        let mut saved = self.saved_states();
        let last = saved.pop()?;
        let guarded = saved.iter().fold(0, |all, outer| all | outer.mask | GUARD_OPEN);
        self.guarded.store(guarded, Ordering::Relaxed);
        self.with_live_state(|live| live.take(&last.image, last.mask));
        Some(last)
    }

    /// What the driver's code has in the components that it has saved; in the others it is the pattern.
    pub(crate) fn with_live_state<R>(&self, f: impl FnOnce(&mut Image) -> R) -> R {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        f(live.get_or_insert_with(|| Box::new(Image::pattern().clone())))
    }

    /// What a driver sees of the thread.
    pub(crate) fn object(&self) -> *const AtomicU64 {
        self.block.as_ptr()
    }

    /// Sets the signal state of the thread's object.
    pub(crate) fn signal_end(&self) {
        self.block[0].fetch_or(1 << 32, Ordering::SeqCst);
    }

    /// What a thread must not have when it ends, if it has it.
    pub(crate) fn unfinished(&self) -> Option<String> {
        if let Some(lock) = self.held().first() {
            return Some(format!("a {} held", lock.kind));
        }
        if self.critical_depth() > 0 || self.guarded_depth() > 0 {
            return Some("APCs disabled".to_owned());
        }
        None
    }

    /// What kind of thread it is.
    #[must_use]
    pub fn kind(&self) -> &ThreadKind {
        &self.kind
    }

    /// Current IRQL.
    #[must_use]
    pub fn irql(&self) -> u8 {
        self.irql.load(Ordering::Relaxed)
    }

    /// Sets the IRQL without any check; returns the old one.
    pub fn set_irql(&self, irql: u8) -> u8 {
        self.irql.swap(irql, Ordering::Relaxed)
    }

    /// How many critical regions the thread is in.
    #[must_use]
    pub fn critical_depth(&self) -> u32 {
        self.critical_depth.load(Ordering::Relaxed)
    }

    /// How many guarded regions the thread is in.
    #[must_use]
    pub fn guarded_depth(&self) -> u32 {
        self.guarded_depth.load(Ordering::Relaxed)
    }

    pub(crate) fn set_critical_depth(&self, depth: u32) {
        self.critical_depth.store(depth, Ordering::Relaxed);
    }

    pub(crate) fn set_guarded_depth(&self, depth: u32) {
        self.guarded_depth.store(depth, Ordering::Relaxed);
    }

    /// The locks that the thread holds, oldest first.
    pub(crate) fn held(&self) -> Vec<HeldLock> {
        if self.held_count() == 0 { Vec::new() } else { self.held_locks().clone() }
    }

    /// How many locks the thread holds.
    pub(crate) fn held_count(&self) -> usize {
        self.held_count.load(Ordering::Relaxed)
    }

    fn held_locks(&self) -> std::sync::MutexGuard<'_, Vec<HeldLock>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread has taken a lock.
    pub(crate) fn hold(&self, lock: HeldLock) {
        let mut held = self.held_locks();
        held.push(lock);
        self.held_count.store(held.len(), Ordering::Relaxed);
    }

    /// Takes the newest lock that is meant out of those that the thread holds.
    pub(crate) fn release(&self, meant: impl Fn(&HeldLock) -> bool) -> Option<HeldLock> {
        let mut held = self.held_locks();
        let at = held.iter().rposition(meant)?;
        let lock = held.remove(at);
        self.held_count.store(held.len(), Ordering::Relaxed);
        Some(lock)
    }

    /// The most kernel stack that driver frames on this thread ever used, in bytes.
    #[must_use]
    pub fn stack_high_water(&self) -> usize {
        self.stack.high_water.load(Ordering::Relaxed)
    }
}

impl StackModel {
    /// Goes over to another stack segment of `limit` bytes, `used` of which are in use; gives those of the old one.
    pub(crate) fn swap(&self, limit: usize, used: usize) -> (usize, usize) {
        (self.limit.swap(limit, Ordering::Relaxed), self.last_used.swap(used, Ordering::Relaxed))
    }
}
