//! Worker threads, in two groups of one thread per processor.
//!
//! *Finishers* do what follows a request's completion below, and help with large encryptions and decryptions. What they do only
//! computes: it never calls the device below and never waits for another request.
//! *Callers* dispatch requests that arrived where that may not be done. They call the device below, which may wait for requests to
//! other volumes of ours.
//!
//! # Invariants
//! * A queued request keeps what it owns (remove lock, stay in a mode, counts in the gate).
//! * Finishers never wait for callers, so every request that has come back from below gets completed, whatever the callers wait for.
//! * A request queued with [`WorkerPool::try_call`] has a caller to itself: it does not wait for one that another request occupies, and
//!   with it perhaps the very request that this one is part of (a volume in a file on another volume). If no caller is free the
//!   request comes back, for the volume's own thread.

use core::sync::atomic::{AtomicBool, AtomicIsize, Ordering};

use vck_common::VckResult;

use super::burst::{Bursts, Turn};
use super::helped::HelpedCipher;
use crate::nt::{
    Crew, Disposition, Event, Irp, IrpQueue, KVec, Passive, Priority, Shared, SpinLock, Thread, processor_count,
};

/// What the threads do with a request and its word.
pub type Work = fn(Passive, Irp, usize);

/// The threads and their queues.
pub struct WorkerPool {
    jobs: Shared<Jobs>,
    bursts: Bursts,
    threads: SpinLock<KVec<Thread>>,
}

/// A queue and the signal that it has something.
struct Lane {
    queue: IrpQueue,
    ready: Event,
}

struct Jobs {
    finish: Lane,
    call: Lane,
    free_callers: FreeCallers,
    crew: Crew,
    ending: AtomicBool,
    work: Work,
}

/// Callers that neither have a request nor one queued for them. Below zero: requests that wait for their turn.
struct FreeCallers(AtomicIsize);

impl FreeCallers {
    /// Sets a free caller aside for a request, if there is one.
    fn claim(&self) -> bool {
        let one_less = |free: isize| free.checked_sub(1).filter(|_| free > 0);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_ok()
    }

    /// Counts a request that will take the next caller that becomes free.
    fn wait_for_one(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    /// A caller has nothing to do any more.
    fn release(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

impl Lane {
    fn try_new() -> VckResult<Self> {
        Ok(Self { queue: IrpQueue::uninterruptible()?, ready: Event::try_new()? })
    }

    fn push(&self, irp: Irp, word: usize) -> Disposition {
        self.queue.push_and_signal(irp, word, &self.ready)
    }

    fn pop(&self) -> Option<(Irp, usize)> {
        let next = self.queue.pop()?;
        // One signal releases one thread, so each passes it on while there is more to do.
        if !self.queue.is_empty() {
            self.ready.set();
        }
        Some(next)
    }
}

impl Jobs {
    fn finisher(&self, passive: Passive) {
        loop {
            if let Some((irp, word)) = self.finish.pop() {
                (self.work)(passive, irp, word);
            } else if self.crew.help(passive, || self.finish.ready.set()) {
                // There may be more of either.
            } else if self.ending.load(Ordering::Acquire) {
                self.finish.ready.set();
                return;
            } else {
                self.finish.ready.wait(passive);
            }
        }
    }

    fn caller(&self, passive: Passive) {
        loop {
            if let Some((irp, word)) = self.call.pop() {
                (self.work)(passive, irp, word);
                self.free_callers.release();
            } else if self.ending.load(Ordering::Acquire) {
                self.call.ready.set();
                return;
            } else {
                self.call.ready.wait(passive);
            }
        }
    }
}

impl WorkerPool {
    /// Starts the threads. On error none is left running.
    pub fn start(passive: Passive, work: Work) -> VckResult<Self> {
        let jobs = Jobs {
            finish: Lane::try_new()?,
            call: Lane::try_new()?,
            free_callers: FreeCallers(AtomicIsize::new(0)),
            crew: Crew::try_new()?,
            ending: AtomicBool::new(false),
            work,
        };
        let jobs = Shared::try_new(jobs)?;
        let pool = Self { jobs, bursts: Bursts::try_new()?, threads: SpinLock::new(KVec::new()) };
        pool.threads.with(|threads| threads.try_reserve(processor_count().saturating_mul(2)))?;
        for _ in 0..processor_count() {
            pool.add_thread(passive, Jobs::finisher)?;
            pool.add_thread(passive, Jobs::caller)?;
            pool.jobs.free_callers.release();
        }
        Ok(pool)
    }

    fn add_thread(&self, passive: Passive, body: fn(&Jobs, Passive)) -> VckResult<()> {
        let jobs = self.jobs.clone();
        let thread = Thread::spawn(passive, Priority::Requests, move |passive| body(&jobs, passive))?;
        self.threads.with(|threads| threads.try_push(thread))
    }

    /// Queues a request that has come back from below. What is then done with it must only compute. IRQL <= DISPATCH_LEVEL.
    pub fn finish(&self, irp: Irp, word: usize) -> Disposition {
        self.jobs.finish.push(irp, word)
    }

    /// Queues a request for a caller that has nothing else to do, or gives it back. IRQL <= DISPATCH_LEVEL.
    pub fn try_call(&self, irp: Irp, word: usize) -> Result<Disposition, Irp> {
        if self.jobs.free_callers.claim() { Ok(self.jobs.call.push(irp, word)) } else { Err(irp) }
    }

    /// Queues a request that no volume's own thread could take: its filter is bound to none. IRQL <= DISPATCH_LEVEL.
    pub fn call(&self, irp: Irp, word: usize) -> Disposition {
        self.jobs.free_callers.wait_for_one();
        self.jobs.call.push(irp, word)
    }

    /// Whether a completion routine may itself decrypt `bytes`; asked once for each time it does. IRQL <= DISPATCH_LEVEL.
    pub fn may_decrypt_here(&self, bytes: usize) -> Option<Turn> {
        self.bursts.admit(bytes)
    }

    /// To be called, at the same IRQL, when the decryption that [`may_decrypt_here`](Self::may_decrypt_here) allowed is done.
    pub fn decrypted_here(&self, turn: Turn) {
        self.bursts.done(turn);
    }

    /// `cipher` with the help of the pool's threads and with wide registers, for runs that are worth it.
    pub fn helped<'a>(&'a self, cipher: &'a dyn vck_common::VolumeCipher) -> HelpedCipher<'a> {
        let Jobs { crew, finish, .. } = &*self.jobs;
        HelpedCipher::new(cipher, crew, &finish.ready)
    }

    /// Ends the threads after the last request. Later calls do nothing.
    pub fn stop(&self, passive: Passive) {
        self.jobs.ending.store(true, Ordering::Release);
        self.jobs.finish.ready.set();
        self.jobs.call.ready.set();
        while let Some(thread) = self.threads.with(KVec::pop) {
            thread.join(passive);
        }
    }
}

impl Drop for WorkerPool {
    /// A driver whose start fails drops its state; no thread may be left to run unloaded code.
    fn drop(&mut self) {
        if let Some(passive) = Passive::check() {
            self.stop(passive);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn a_request_is_never_queued_behind_one_that_occupies_its_caller() {
        let free = FreeCallers(AtomicIsize::new(0));
        assert!(!free.claim(), "no threads");
        free.release();
        free.release();
        assert!(free.claim());
        assert!(free.claim());
        assert!(!free.claim(), "both callers have a request, and may wait below for this very one");
        free.wait_for_one();
        free.release();
        assert!(!free.claim(), "the caller that became free takes the request that waited");
        free.release();
        assert!(free.claim());
    }
}
