//! What the verifier knows about the driver's locks and other embedded objects.
//!
//! The state of a lock lives in its own bytes; what is kept here is bookkeeping: who holds what, in which order locks
//! were taken, which embedded objects are still known to the kernel when their memory goes away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::finding::Rule;
use super::kernel::Kernel;
use super::thread::{HeldLock, ThreadState};
use crate::host::tls;

/// A driver's object that the kernel would still touch.
#[derive(Debug, Clone)]
pub(crate) enum Embedded {
    /// A timer that is set; the number tells this setting from earlier ones.
    Timer(u64),
    /// A DPC that is queued.
    Dpc(u64),
    /// A remove lock: the tags that hold it, and whether it was waited for.
    RemoveLock {
        /// Tag of each acquisition, in order.
        tags: Vec<usize>,
        /// `IoReleaseRemoveLockAndWait` was called.
        retired: bool,
    },
}

#[derive(Default)]
struct State {
    /// `after[a]`: locks that were taken while `a` was held.
    after: BTreeMap<usize, BTreeSet<usize>>,
    embedded: BTreeMap<usize, Embedded>,
    next_number: u64,
}

/// Per-world bookkeeping.
#[derive(Default)]
pub(crate) struct Locks {
    state: Mutex<State>,
    /// Makes a wait for several objects atomic, as the dispatcher lock does.
    dispatcher: Mutex<()>,
}

impl Locks {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The dispatcher lock: held while signal states are looked at and changed together.
    pub(crate) fn dispatcher(&self) -> MutexGuard<'_, ()> {
        self.dispatcher.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lock was initialised at `address`: what was known of an earlier one there is void.
    pub(crate) fn initialized(&self, address: usize) {
        let mut state = self.lock();
        state.after.remove(&address);
        for set in state.after.values_mut() {
            set.remove(&address);
        }
    }

    /// Enters an embedded object; gives the number of this entry.
    pub(crate) fn embed(&self, address: usize, make: impl FnOnce(u64) -> Embedded) -> u64 {
        let mut state = self.lock();
        state.next_number += 1;
        let number = state.next_number;
        state.embedded.insert(address, make(number));
        number
    }

    /// Looks at, or changes, the entry of an embedded object.
    pub(crate) fn with_embedded<R>(&self, address: usize, f: impl FnOnce(&mut Option<Embedded>) -> R) -> R {
        let mut state = self.lock();
        let mut entry = state.embedded.remove(&address);
        let result = f(&mut entry);
        if let Some(entry) = entry {
            state.embedded.insert(address, entry);
        }
        result
    }

    /// Looks at, or changes, the entry of an embedded object that is there.
    pub(crate) fn with_entry<R>(&self, address: usize, f: impl FnOnce(&mut Embedded) -> R) -> Option<R> {
        self.lock().embedded.get_mut(&address).map(f)
    }

    /// Memory of the driver goes away; tells what in it was still in use.
    pub(crate) fn forget(&self, address: usize, len: usize) -> Option<&'static str> {
        let end = address.saturating_add(len.max(1));
        let mut state = self.lock();
        let gone: Vec<usize> = state.embedded.range(address..end).map(|(&at, _)| at).collect();
        let mut in_use = None;
        for at in gone {
            match state.embedded.remove(&at) {
                Some(Embedded::Timer(_)) => in_use = Some("a timer that is set"),
                Some(Embedded::Dpc(_)) => in_use = Some("a DPC that is queued"),
                Some(Embedded::RemoveLock { tags, .. }) if !tags.is_empty() => {
                    in_use = Some("a remove lock that is held");
                }
                _ => {}
            }
        }
        let locks: Vec<usize> = state.after.range(address..end).map(|(&at, _)| at).collect();
        for at in locks {
            state.after.remove(&at);
        }
        in_use
    }

    /// Remembers that `next` was taken while `held` was; true when the opposite order was seen before.
    fn record_order(&self, held: usize, next: usize) -> bool {
        let mut state = self.lock();
        let reversed = reaches(&state.after, next, held);
        state.after.entry(held).or_default().insert(next);
        reversed
    }
}

fn reaches(after: &BTreeMap<usize, BTreeSet<usize>>, from: usize, to: usize) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        if at == to {
            return true;
        }
        if seen.insert(at)
            && let Some(next) = after.get(&at)
        {
            open.extend(next.iter().copied());
        }
    }
    false
}

impl Kernel {
    /// Rules for taking a lock that must not be taken twice, before it is waited for.
    pub(crate) fn check_acquire(&self, address: usize, kind: &'static str) {
        let held = tls::with_thread(ThreadState::held).unwrap_or_default();
        if held.iter().any(|lock| lock.address == address) {
            self.finding(Rule::LockRecursion, format!("{kind} taken by the thread that holds it"));
        }
        for lock in &held {
            if self.locks.record_order(lock.address, address) {
                self.finding(
                    Rule::LockOrder,
                    format!("{kind} taken while a {} is held, elsewhere they are taken the other way round", lock.kind),
                );
            }
        }
    }

    /// The current thread has taken a lock.
    #[expect(clippy::unused_self, reason = "the thread belongs to this world")]
    pub(crate) fn note_acquired(&self, lock: HeldLock) {
        tls::with_thread(|thread| thread.hold(lock));
    }

    /// The current thread gives a lock back; a finding when it does not hold it.
    pub(crate) fn note_released(&self, address: usize, kind: &'static str) -> HeldLock {
        let found = tls::with_thread(|thread| thread.release(|lock| lock.address == address && lock.kind == kind));
        match found.flatten() {
            Some(lock) => lock,
            None => self.finding(Rule::LockNotHeld, format!("{kind} released by a thread that does not hold it")),
        }
    }

    /// The number of the current simulated thread; zero on the host's own.
    #[expect(clippy::unused_self, reason = "the thread belongs to this world")]
    pub(crate) fn thread_number(&self) -> u64 {
        tls::with_thread(|thread| thread.id().0).unwrap_or(0)
    }
}
