//! Writes to all replicas, of which some fail.
//!
//! A replica of which one slot fails [`LOST_AFTER`] writes in a row is given up: one bad sector in one replica must not keep a
//! volume from being converted or opened while another replica takes what is written. It counts again when that slot takes a
//! write. What a given-up slot holds grows old; it is believed only if no other replica shows anything newer.
//!
//! Failures are counted by slot: the other slot of the same replica may be sound, and its successes prove nothing about this one.

use super::layout::Slot;
use crate::{VckError, VckResult};

/// Failed writes in a row after which a replica is given up.
const LOST_AFTER: u8 = 3;

/// Failed writes in a row, by slot.
pub(super) type Failures = [u8; 2];

/// Whether a replica whose slots have so many failed writes in a row is given up.
pub(super) fn is_lost(failures: Failures) -> bool {
    failures.into_iter().any(|failures| failures >= LOST_AFTER)
}

/// How the replicas take one write.
pub(super) struct Delivery<'a> {
    failures: &'a mut [Failures],
    /// Some replica has it.
    pub(super) taken: bool,
    failed: Option<VckError>,
    given_up: Option<VckError>,
}

impl<'a> Delivery<'a> {
    /// `failures` counts, by replica.
    pub(super) const fn new(failures: &'a mut [Failures]) -> Self {
        Self { failures, taken: false, failed: None, given_up: None }
    }

    /// Takes note of a write.
    pub(super) fn note(&mut self, index: usize, slot: Slot, written: VckResult<()>) {
        let Some(replica) = self.failures.get_mut(index) else { return };
        let [first, second] = replica;
        let failures = if slot == Slot::First { first } else { second };
        match written {
            Ok(()) => (*failures, self.taken) = (0, true),
            Err(error) => {
                *failures = failures.saturating_add(1);
                let kind = if is_lost(*replica) { &mut self.given_up } else { &mut self.failed };
                *kind = kind.or(Some(error));
            }
        }
    }

    /// The error that counts.
    pub(super) fn outcome(self) -> VckResult<()> {
        self.failed.or(self.given_up.filter(|_| !self.taken)).map_or(Ok(()), Err)
    }
}
