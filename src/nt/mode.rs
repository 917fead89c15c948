//! A shared value that requests use while it may be exchanged under them: the mode of a filter.
//!
//! # Invariants
//! * `modes[p]` is the mode of the live epoch of parity `p` (see [`crate::sync::Epochs`]). It is written only while no request is in an
//!   epoch of that parity: before `advance` opens it, and after it has drained.
//! * A [`Stay`] is the ticket of one request; its lowest bit is the parity of the epoch that it entered.
//!
//! So a request keeps the mode it entered with, from dispatch to completion, whatever is exchanged meanwhile, and
//! [`ModeCell::exchange`] returns only when nobody uses the old one.

use alloc::boxed::Box;
use core::cell::UnsafeCell;

use vck_common::VckResult;

use super::completion::ContextWord;
use super::irql::Passive;
use super::memory::{Shared, try_box};
use super::sync::{Event, Mutex};
use super::thread::processor_number;
use crate::sync::{EpochTicket, Epochs, Native, Wake};

/// One exchangeable mode; `None` is the initial one.
pub struct ModeCell<T> {
    /// Boxed: its cache-line alignment exceeds that of a device extension.
    epochs: Box<Epochs<Native>>,
    modes: [UnsafeCell<Option<Shared<T>>>; 2],
    drained: Event,
    exchanging: Mutex<()>,
}

// SAFETY: `modes` follows the module invariants; the rest is Sync by itself.
unsafe impl<T: Send + Sync> Sync for ModeCell<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Send for ModeCell<T> {}

/// A request's stay in the mode it entered, on its way through an IRP. Losing it would block every later exchange.
#[must_use]
pub struct Stay(usize);

impl ContextWord for Stay {
    fn into_word(self) -> usize {
        self.0
    }

    fn from_word(word: usize) -> Self {
        Self(word)
    }
}

/// A request that is inside.
pub struct Entered<'a, T> {
    cell: &'a ModeCell<T>,
    word: usize,
}

impl<T> ModeCell<T> {
    /// A cell in mode `None`.
    pub fn try_new() -> VckResult<Self> {
        Ok(Self {
            epochs: try_box(Epochs::new())?,
            modes: [UnsafeCell::new(None), UnsafeCell::new(None)],
            drained: Event::try_new()?,
            exchanging: Mutex::try_new(())?,
        })
    }

    fn slot(&self, parity: usize) -> *mut Option<Shared<T>> {
        let [even, odd] = &self.modes;
        if parity & 1 == 0 { even.get() } else { odd.get() }
    }

    /// Enters the current mode. IRQL <= DISPATCH_LEVEL.
    pub fn enter(&self) -> Entered<'_, T> {
        Entered { cell: self, word: self.epochs.enter(processor_number()).into_raw() }
    }

    /// Takes up a stay that travelled through an IRP.
    pub fn resume(&self, stay: Stay) -> Entered<'_, T> {
        Entered { cell: self, word: stay.into_word() }
    }

    /// Puts `mode` in place, waits until every request of the old mode has left, and returns the old mode.
    pub fn exchange(&self, passive: Passive, mode: Option<Shared<T>>) -> Option<Shared<T>> {
        self.exchanging.with(passive, |()| {
            // The epoch before the current one drained before the last exchange returned, so `advance` cannot refuse.
            let next = self.word_of_next();
            // SAFETY: nobody is in an epoch of that parity (invariant).
            unsafe { *self.slot(next) = mode };
            let Ok(old) = self.epochs.advance() else {
                super::fatal(super::Fatal::EpochNotDrained, next);
            };
            while !self.epochs.is_drained(old) {
                self.drained.wait(passive);
            }
            // SAFETY: the old epoch has drained.
            unsafe { (*self.slot(next ^ 1)).take() }
        })
    }

    /// The parity of the next epoch. Exchanges are serialised.
    fn word_of_next(&self) -> usize {
        let ticket = self.epochs.enter(0);
        let word = ticket.into_raw();
        if self.epochs.exit(EpochTicket::from_raw(word)) == Wake::Waiter {
            self.drained.set();
        }
        (word & 1) ^ 1
    }
}

impl<T> Entered<'_, T> {
    /// The mode entered.
    #[must_use]
    pub fn mode(&self) -> Option<&Shared<T>> {
        // SAFETY: this stay keeps the epoch of its parity from draining, so the slot is not written.
        unsafe { (*self.cell.slot(self.word)).as_ref() }
    }

    /// The processor on which the request entered, or one that shares its count.
    #[must_use]
    pub fn processor(&self) -> usize {
        EpochTicket::from_raw(self.word).stripe()
    }

    /// Packs the stay for its way through an IRP.
    pub fn into_stay(self) -> Stay {
        let word = self.word;
        core::mem::forget(self);
        Stay(word)
    }
}

impl<T> Drop for Entered<'_, T> {
    fn drop(&mut self) {
        if self.cell.epochs.exit(EpochTicket::from_raw(self.word)) == Wake::Waiter {
            self.cell.drained.set();
        }
    }
}
