//! The atomics that the protocols are written over.
//!
//! The driver uses [`Native`]. The model checker supplies words of its own, so that what it explores is the shipped
//! source and not a copy.
use core::sync::atomic::{AtomicU64, Ordering};

/// One 64-bit atomic word. Additions wrap, as the hardware's do.
pub trait AtomicWord: Send + Sync {
    /// A word that holds `value`.
    fn new(value: u64) -> Self;
    /// The value, read with `order`.
    fn load(&self, order: Ordering) -> u64;
    /// Replaces the value with `order`.
    fn store(&self, value: u64, order: Ordering);
    /// Adds `value` and returns what was there before.
    fn fetch_add(&self, value: u64, order: Ordering) -> u64;
    /// Subtracts `value` and returns what was there before.
    fn fetch_sub(&self, value: u64, order: Ordering) -> u64;
    /// Replaces `current` by `new`; may fail although the value is `current`. Returns what was there.
    ///
    /// # Errors
    /// The value found, when nothing was replaced.
    fn compare_exchange_weak(&self, current: u64, new: u64, done: Ordering, failed: Ordering) -> Result<u64, u64>;
}

/// A family of atomics.
pub trait Atomics {
    /// The 64-bit word of this family.
    type Word: AtomicWord;
}

/// The processor's own atomics.
#[derive(Clone, Copy, Debug)]
pub enum Native {}

impl Atomics for Native {
    type Word = AtomicU64;
}

impl AtomicWord for AtomicU64 {
    fn new(value: u64) -> Self {
        Self::new(value)
    }

    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }

    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.fetch_add(value, order)
    }

    fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
        self.fetch_sub(value, order)
    }

    fn compare_exchange_weak(&self, current: u64, new: u64, done: Ordering, failed: Ordering) -> Result<u64, u64> {
        self.compare_exchange_weak(current, new, done, failed)
    }
}
