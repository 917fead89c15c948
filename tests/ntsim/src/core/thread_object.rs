//! Threads as objects that a driver can hold, wait for and end; the model of the kernel stack.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::kernel::Kernel;
use super::thread::{ThreadKind, ThreadState};
use crate::host::tls;

/// The threads that a driver made and that somebody still refers to, by address of their object.
pub(crate) type ThreadObjects = BTreeMap<usize, Arc<ThreadState>>;

/// Calls `f` with the world of the calling thread.
///
/// # Panics
/// When called outside every world.
pub(crate) fn with_current<R>(f: impl FnOnce(&Kernel) -> R) -> R {
    match tls::with_kernel(f) {
        Some(result) => result,
        None => panic!("simulator code ran outside every simulated world"),
    }
}

impl Kernel {
    /// The threads that drivers made.
    pub(crate) fn threads(&self) -> MutexGuard<'_, ThreadObjects> {
        self.thread_objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody refers to the thread object any more.
    pub fn forget_thread(&self, object: usize) {
        let gone = self.threads().remove(&object);
        drop(gone);
    }

    /// Ends the current thread in the middle of its work.
    pub(crate) fn terminate_thread(&self) -> ! {
        let _on_thread = tls::with_thread(|thread| {
            thread.terminated.store(true, Ordering::SeqCst);
            if !self.is_deterministic() {
                // The operating-system thread stays parked: it cannot unwind through the driver's frames.
                self.thread_ended(thread, thread.slot.load(Ordering::Relaxed));
            }
        });
        self.leave_for_ever()
    }

    /// Bytes of kernel stack that the driver has left at the current call into the simulator.
    #[must_use]
    pub fn stack_left(&self) -> usize {
        let left = |thread: &ThreadState| {
            let limit = thread.stack.limit.load(Ordering::Relaxed);
            limit.saturating_sub(thread.stack.last_used.load(Ordering::Relaxed))
        };
        tls::with_thread(left).unwrap_or(self.config.kernel_stack)
    }

    /// Bytes of the current kernel stack.
    #[must_use]
    pub fn stack_limit(&self) -> usize {
        tls::with_thread(|thread| thread.stack.limit.load(Ordering::Relaxed)).unwrap_or(self.config.kernel_stack)
    }

    #[expect(clippy::unused_self, reason = "the thread belongs to this world")]
    /// Runs `f`, which calls the driver, on a new stack segment of `size` bytes; on the current one with `None`.
    pub(crate) fn with_stack_of(&self, size: Option<usize>, f: impl FnOnce()) {
        let Some(size) = size else { return f() };
        let before = tls::with_thread(|thread| thread.stack.swap(size, 0));
        f();
        if let Some((limit, used)) = before {
            let _on_thread = tls::with_thread(|thread| thread.stack.swap(limit, used));
        }
    }

    /// Runs `f`, which calls the driver, with at most `left` bytes of kernel stack left: what is above has used the
    /// rest.
    pub fn with_stack_left<R>(&self, left: usize, f: impl FnOnce() -> R) -> R {
        let limit = self.stack_limit();
        let used = limit.saturating_sub(left.min(self.stack_left()));
        let before = tls::with_thread(|thread| thread.stack.last_used.swap(used, Ordering::Relaxed));
        let result = f();
        if let Some(before) = before {
            let _on_thread = tls::with_thread(|thread| thread.stack.last_used.store(before, Ordering::Relaxed));
        }
        result
    }

    /// The drivers below need `bytes` of the kernel stack from here on; a finding when there is less.
    pub fn assume_stack_use(&self, who: &str, bytes: usize) {
        let left = self.stack_left();
        if left < bytes && tls::with_thread(|_| ()).is_some() {
            self.finding(
                super::finding::Rule::StackOverrun,
                format!("{who} needs {bytes} bytes of stack, {left} are left"),
            );
        }
    }

    /// Enters a new thread without starting it.
    pub(crate) fn create_thread(
        &self,
        name: &str,
        kind: ThreadKind,
        body: impl FnOnce() + Send + 'static,
    ) -> Arc<ThreadState> {
        self.enter_thread(name, kind, Box::new(body), false)
    }
}

/// Where thread objects are kept.
pub(crate) type ThreadTable = Mutex<ThreadObjects>;
