//! Who allocates: the subject under test or the machine around it.
//!
//! Every seam that the subject calls runs inside [`host`]. What a thread allocates outside of it, as [`count`] sees it at
//! two moments, was allocated by the subject between them.

use std::cell::Cell;

use vck_ntsim::allocations_of_this_thread;

thread_local! {
    /// Allocations of the outermost calls of [`host`] so far.
    static HOST: Cell<u64> = const { Cell::new(0) };
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Runs code of the machine that code under test has called.
pub fn host<T>(code: impl FnOnce() -> T) -> T {
    let before = allocations_of_this_thread();
    DEPTH.set(DEPTH.get() + 1);
    let result = code();
    DEPTH.set(DEPTH.get() - 1);
    if DEPTH.get() == 0 {
        HOST.set(HOST.get() + (allocations_of_this_thread() - before));
    }
    result
}

/// Allocations that this thread has made outside of [`host`]. To be asked inside of it at most for a difference of two
/// answers: those of the call under way are not yet known to be the host's.
#[must_use]
pub fn count() -> u64 {
    allocations_of_this_thread() - HOST.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_is_counted_and_the_host_is_not() {
        let before = count();
        let host = host(|| std::hint::black_box(vec![1_u8; 100]).len());
        assert_eq!((count() - before, host), (0, 100));
        drop(std::hint::black_box(vec![1_u8; 100]));
        assert_eq!(count() - before, 1);
    }
}
