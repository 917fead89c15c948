//! Worker threads, one per processor.
//!
//! # Invariants
//! A queued request keeps what it owns (remove lock, stay in a mode, counts in the gate); the pool always makes progress,
//! because the work it runs never waits for another request of the pool.

use core::sync::atomic::{AtomicBool, Ordering};

use vck_common::VckResult;

use crate::nt::{
    Disposition, Event, EventKind, Irp, IrpQueue, KVec, Passive, Shared, SpinLock, Thread, processor_count,
};

/// What the threads do with a request and its word.
pub type Work = fn(Passive, Irp, usize);

/// The threads and their queue.
pub struct WorkerPool {
    shared: Shared<Jobs>,
    threads: SpinLock<KVec<Thread>>,
}

struct Jobs {
    queue: IrpQueue,
    ready: Event,
    ending: AtomicBool,
    work: Work,
}

impl Jobs {
    fn serve(&self, passive: Passive) {
        loop {
            while let Some((irp, word)) = self.queue.pop() {
                // One signal releases one thread, so each passes it on while there is more to do.
                if !self.queue.is_empty() {
                    self.ready.set();
                }
                (self.work)(passive, irp, word);
            }
            if self.ending.load(Ordering::Acquire) {
                self.ready.set();
                return;
            }
            self.ready.wait(passive);
        }
    }
}

impl WorkerPool {
    /// Starts the threads. On error none is left running.
    pub fn start(passive: Passive, work: Work) -> VckResult<Self> {
        let jobs = Jobs {
            queue: IrpQueue::uninterruptible()?,
            ready: Event::try_new(EventKind::Synchronization)?,
            ending: AtomicBool::new(false),
            work,
        };
        let pool = Self { shared: Shared::try_new(jobs)?, threads: SpinLock::new(KVec::new()) };
        for _ in 0..processor_count() {
            if let Err(error) = pool.add_thread(passive) {
                pool.stop(passive);
                return Err(error);
            }
        }
        Ok(pool)
    }

    fn add_thread(&self, passive: Passive) -> VckResult<()> {
        self.threads.with(|threads| threads.try_reserve(1))?;
        let jobs = self.shared.clone();
        let thread = Thread::spawn(passive, move |passive| jobs.serve(passive))?;
        self.threads.with(|threads| threads.try_push(thread))
    }

    /// Queues a request; it is pending from now on. IRQL <= DISPATCH_LEVEL.
    pub fn submit(&self, irp: Irp, word: usize) -> Disposition {
        self.shared.queue.push_and_signal(irp, word, &self.shared.ready)
    }

    /// Ends the threads after the last request. Later calls do nothing.
    pub fn stop(&self, passive: Passive) {
        self.shared.ending.store(true, Ordering::Release);
        self.shared.ready.set();
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
