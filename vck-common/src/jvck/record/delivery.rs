//! Writes to all replicas, of which some fail.
//!
//! A replica that fails [`LOST_AFTER`] writes in a row is given up: one bad sector in one replica must not keep a volume from
//! being converted or opened while another replica takes what is written. A write that succeeds makes it count again.
//! What a given-up replica holds grows old; it is believed only if no other replica shows anything newer.

use crate::{VckError, VckResult};

/// Failed writes in a row after which a replica is given up.
const LOST_AFTER: u8 = 3;

/// Whether a replica with so many failed writes in a row is given up.
pub(super) const fn is_lost(failures: u8) -> bool {
    failures >= LOST_AFTER
}

/// How the replicas take one write.
pub(super) struct Delivery<'a> {
    failures: &'a mut [u8],
    /// Some replica has it.
    pub(super) taken: bool,
    failed: Option<VckError>,
    given_up: Option<VckError>,
}

impl<'a> Delivery<'a> {
    /// `failures` counts, by replica.
    pub(super) const fn new(failures: &'a mut [u8]) -> Self {
        Self { failures, taken: false, failed: None, given_up: None }
    }

    /// Takes note of a write.
    pub(super) fn note(&mut self, index: usize, written: VckResult<()>) {
        let Some(failures) = self.failures.get_mut(index) else { return };
        match written {
            Ok(()) => (*failures, self.taken) = (0, true),
            Err(error) => {
                *failures = failures.saturating_add(1);
                let kind = if is_lost(*failures) { &mut self.given_up } else { &mut self.failed };
                *kind = kind.or(Some(error));
            }
        }
    }

    /// The error that counts.
    pub(super) fn outcome(self) -> VckResult<()> {
        self.failed.or(self.given_up.filter(|_| !self.taken)).map_or(Ok(()), Err)
    }
}
