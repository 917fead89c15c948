//! Rundown of requests by mode.
//!
//! A filter works in one mode at a time (passing through, bound to a volume, fenced). Every request enters the current
//! epoch before it looks at the mode and exits when it is complete. Changing the mode is: store the new mode,
//! [`Epochs::advance`], wait until [`Epochs::is_drained`] says that nobody is left who may have seen the old one.
//!
//! ```text
//!  cell of one stripe and one parity:   63          62                           0
//!                                     +--------+-----------------------------------+
//!                                     | closed |  requests counted                 |
//!                                     +--------+-----------------------------------+
//!  epoch n is counted in the cells of parity n mod 2; those of the other parity are closed
//! ```
//!
//! # Invariants
//! * A request is in an epoch when it raised an open cell. Bit and count share the word, so every request
//!   that was let in is seen by the scan, and every one that came too late sees the bit and tries again.
//! * At most two epochs are alive: `advance` refuses until the last one was seen drained.
//! * The count on a closed cell only falls: whoever finds a cell closed leaves it alone.
//! * A ticket is exited on the stripe on which it was entered, so no cell ever goes below zero.
//!
//! # Ordering rules
//! `advance` opens the new cells, then publishes the new number, then closes the old cells. A request that finds its
//! cell closed has acquired that closing and so reads the new number at its next try: a try fails only when
//! `advance` ran meanwhile. A request that enters the new epoch has acquired the opening and sees the new mode. One
//! that read the number before two advances and enters only now lands in the newest epoch, whose cells have the same
//! parity, and sees its mode. A request that is in the old epoch may see either mode: the old one because
//! it is waited for, the new one because the next `advance` waits for it too, before it lets the new mode end.
use core::sync::atomic::Ordering;

use super::{AtomicWord, Atomics, Wake};

const CLOSED: u64 = 1 << 63;
const REQUESTS: u64 = CLOSED - 1;
const FIRST: u64 = 1;

/// The two cells of a stripe share a cache line: the same processor uses them.
#[repr(align(64))]
struct Stripe<A: Atomics> {
    even: A::Word,
    odd: A::Word,
}

impl<A: Atomics> Stripe<A> {
    /// Open for the first epoch.
    fn new() -> Self {
        Self { even: A::Word::new(CLOSED), odd: A::Word::new(0) }
    }

    fn cell(&self, parity: u64) -> &A::Word {
        if parity == 0 { &self.even } else { &self.odd }
    }
}

/// Counts the requests of one device by epoch, on `STRIPES + 1` stripes. See the module text for the protocol.
pub struct Epochs<A: Atomics, const STRIPES: usize = 15> {
    stripes: [Stripe<A>; STRIPES],
    last: Stripe<A>,
    current: A::Word,
    /// The newest epoch that was seen drained.
    drained: A::Word,
}

/// The stay of one request. Whoever holds it owes one [`Epochs::exit`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an epoch whose ticket is lost never drains"]
pub struct EpochTicket {
    stripe: usize,
    parity: u64,
}

/// An epoch that takes no new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the old mode may end only when the old epoch is drained"]
pub struct OldEpoch(u64);

/// The epoch before the current one still has requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StillDraining;

impl EpochTicket {
    /// As a number that fits a pointer-sized field of a request.
    #[must_use]
    pub const fn into_raw(self) -> usize {
        (self.stripe << 1) | if self.parity == 0 { 0 } else { 1 }
    }

    /// The stripe on which the request is counted: the number of its processor, modulo the number of stripes.
    #[must_use]
    pub const fn stripe(&self) -> usize {
        self.stripe
    }

    /// Back from [`EpochTicket::into_raw`].
    pub const fn from_raw(raw: usize) -> Self {
        Self { stripe: raw >> 1, parity: if raw & 1 == 0 { 0 } else { 1 } }
    }
}

impl<A: Atomics, const STRIPES: usize> Epochs<A, STRIPES> {
    /// The first epoch, empty. Any IRQL.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stripes: core::array::from_fn(|_| Stripe::new()),
            last: Stripe::new(),
            current: A::Word::new(FIRST),
            drained: A::Word::new(FIRST - 1),
        }
    }

    /// Counts a request in. `cpu` chooses the stripe: the number of the current processor, or any other number.
    ///
    /// Any IRQL. One interlocked operation; more only while another thread uses the same stripe or calls `advance`.
    pub fn enter(&self, cpu: usize) -> EpochTicket {
        let stripe = cpu % (STRIPES + 1);
        loop {
            let parity = parity_of(self.current.load(Ordering::Acquire));
            let cell = self.cell(stripe, parity);
            let mut seen = cell.load(Ordering::Acquire);
            // An unconditional addition would leave a count on a closed cell for a moment, and taking it back would
            // have to signal the waiter; an exchange never touches a closed cell.
            while seen & CLOSED == 0 {
                // The count is below 2^63: there are not that many requests.
                match cell.compare_exchange_weak(seen, seen + 1, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => return EpochTicket { stripe, parity },
                    Err(now) => seen = now,
                }
            }
        }
    }

    /// Counts a request out.
    #[expect(clippy::needless_pass_by_value, reason = "a ticket is good for one exit")]
    pub fn exit(&self, ticket: EpochTicket) -> Wake {
        let before = self.cell(ticket.stripe, ticket.parity).fetch_sub(1, Ordering::AcqRel);
        if before == CLOSED | 1 { Wake::Waiter } else { Wake::Nobody }
    }

    /// Starts a new epoch and returns the one that ends. Callers are serialised.
    ///
    /// # Errors
    /// [`StillDraining`] while an earlier epoch has requests; nothing changed.
    pub fn advance(&self) -> Result<OldEpoch, StillDraining> {
        let ending = self.current.load(Ordering::Acquire);
        let starting = ending.wrapping_add(1);
        if !self.is_drained(OldEpoch(ending.wrapping_sub(1))) {
            return Err(StillDraining);
        }
        for stripe in self.all_stripes() {
            stripe.cell(parity_of(starting)).fetch_sub(CLOSED, Ordering::AcqRel);
        }
        self.current.store(starting, Ordering::Release);
        for stripe in self.all_stripes() {
            stripe.cell(parity_of(ending)).fetch_add(CLOSED, Ordering::AcqRel);
        }
        Ok(OldEpoch(ending))
    }

    /// True when nobody is left in `old`. Until then an exit signals the waiter. Serialised with [`Epochs::advance`].
    #[must_use]
    pub fn is_drained(&self, old: OldEpoch) -> bool {
        // The cells of an epoch that was seen drained may already serve a newer one.
        if old.0 <= self.drained.load(Ordering::Acquire) {
            return true;
        }
        let parity = parity_of(old.0);
        let empty = self.all_stripes().all(|stripe| stripe.cell(parity).load(Ordering::Acquire) & REQUESTS == 0);
        if empty {
            self.drained.store(old.0, Ordering::Release);
        }
        empty
    }

    fn cell(&self, stripe: usize, parity: u64) -> &A::Word {
        self.stripes.get(stripe).unwrap_or(&self.last).cell(parity)
    }

    fn all_stripes(&self) -> impl Iterator<Item = &Stripe<A>> {
        self.stripes.iter().chain([&self.last])
    }
}

impl<A: Atomics, const STRIPES: usize> Default for Epochs<A, STRIPES> {
    fn default() -> Self {
        Self::new()
    }
}

const fn parity_of(epoch: u64) -> u64 {
    epoch % 2
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::assert;
    use std::assert_eq;

    use super::*;
    use crate::sync::Native;

    #[test]
    fn an_advance_waits_for_the_one_before() {
        let epochs = Epochs::<Native>::new();
        let first = epochs.enter(0);
        let old = epochs.advance().unwrap();
        let second = epochs.enter(0);
        assert!(!epochs.is_drained(old));
        assert_eq!(epochs.advance(), Err(StillDraining));
        assert_eq!(epochs.exit(first), Wake::Waiter);
        let newer = epochs.advance().unwrap();
        assert!(epochs.is_drained(old));
        assert!(!epochs.is_drained(newer));
        assert_eq!(epochs.exit(second), Wake::Waiter);
        assert!(epochs.is_drained(newer));
    }

    #[test]
    fn a_ticket_is_exited_on_its_stripe_from_any_processor() {
        let epochs = Epochs::<Native, 3>::new();
        for cpu in [0, 1, 2, 3, 4, 1000] {
            let raw = epochs.enter(cpu).into_raw();
            let old = epochs.advance().unwrap();
            assert!(!epochs.is_drained(old), "processor {cpu}");
            assert_eq!(epochs.exit(EpochTicket::from_raw(raw)), Wake::Waiter);
            assert!(epochs.is_drained(old));
        }
    }

    #[test]
    fn an_exit_from_the_current_epoch_wakes_nobody() {
        let epochs = Epochs::<Native>::default();
        let ticket = epochs.enter(0);
        assert_eq!(epochs.exit(ticket), Wake::Nobody);
    }
}
