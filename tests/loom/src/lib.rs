//! The driver's atomic protocols under the `loom` model checker.
//!
//! `vck_windrv::sync` is generic over its atomics. This crate gives it the words of `loom`, which explores every
//! interleaving and every value that the memory model lets a load return. The models are in `tests/`; beside each
//! protocol stand weakened variants of its use that the checker must find out, so that a model that checks nothing
//! fails too.
//!
//! Data that a protocol protects is modelled by *relaxed* words: they order nothing themselves, so a load that sees
//! what it should sees it because of the protocol.
#![forbid(unsafe_code)]

use std::sync::atomic::Ordering;

use loom::sync::Notify;
use loom::sync::atomic::AtomicU64;
use vck_common::DataExtent;
use vck_windrv::sync::{AtomicWord, Atomics, RangeGate, Wake};

/// The words of the model checker.
#[derive(Debug)]
pub enum Modelled {}

/// One word of the model checker.
#[derive(Debug)]
pub struct Word(AtomicU64);

impl Atomics for Modelled {
    type Word = Word;
}

impl AtomicWord for Word {
    fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }

    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
    }

    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_add(value, order)
    }

    fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_sub(value, order)
    }

    fn compare_exchange_weak(&self, current: u64, new: u64, done: Ordering, failed: Ordering) -> Result<u64, u64> {
        self.0.compare_exchange_weak(current, new, done, failed)
    }
}

/// Explores `run`, completely for two threads and with at most three preemptions for more: the number of interleavings
/// of three threads is out of reach, and what goes wrong in practice goes wrong with fewer.
pub fn model(threads: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = (threads > 2).then_some(3);
    builder.check(run);
}

/// A word that carries data and orders nothing.
#[derive(Debug)]
pub struct Plain(AtomicU64);

impl Plain {
    /// A cell that holds `value`.
    #[must_use]
    pub fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// What this thread may see.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Replaces the value.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// What the sweep waits on for a zone to drain.
#[derive(Debug)]
pub struct Drain(Notify);

impl Drain {
    /// Not signalled.
    #[expect(clippy::new_without_default, reason = "a model makes it anew in every run")]
    #[must_use]
    pub fn new() -> Self {
        Self(Notify::new())
    }

    /// What a request does with the word that it was given on its way out.
    pub fn signal(&self, wake: Wake) {
        if wake.is_needed() {
            self.0.notify();
        }
    }

    /// Closes `zone` and waits for the requests inside.
    ///
    /// # Panics
    /// If more than two zones are closed at a time.
    pub fn close<const SLOTS: usize>(&self, gate: &RangeGate<Modelled, SLOTS>, zone: DataExtent) {
        gate.close(zone).expect("at most two zones are closed");
        while !gate.is_drained(zone) {
            self.0.wait();
        }
    }
}
