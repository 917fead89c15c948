//! What torn sectors held when they were found.
//!
//! A torn sector heals when it is written, but the record that leaves it out comes later. If power is lost in between, the
//! record still lists it; that it holds something else now tells that it was written.

use crate::{DamagedSector, DataSector, journal::MAX_DAMAGED};

/// Digests of the contents of torn sectors. A digest of 0 stands for an unknown one.
pub(super) struct TornSectors {
    held: [(DataSector, u64); MAX_DAMAGED],
}

impl TornSectors {
    pub(super) const fn new() -> Self {
        Self { held: [(DataSector::ZERO, 0); MAX_DAMAGED] }
    }

    /// The digest of what a sector held, if it is known.
    pub(super) fn held(&self, sector: DataSector) -> Option<u64> {
        self.held.iter().find(|&&(at, digest)| at == sector && digest != 0).map(|&(_, digest)| digest)
    }

    /// Notes the digest of a sector. Without room it stays unknown.
    pub(super) fn note(&mut self, sector: DataSector, digest: u64) {
        let known = self.held.iter().position(|&(at, old)| at == sector && old != 0);
        let free = || self.held.iter().position(|&(_, old)| old == 0);
        if let Some(place) = known.or_else(free).and_then(|index| self.held.get_mut(index)) {
            *place = (sector, digest);
        }
    }

    /// Forgets the sectors that are not listed any more, so that there is room for all that are.
    pub(super) fn keep(&mut self, listed: &[DamagedSector]) {
        for (sector, digest) in &mut self.held {
            if !listed.iter().any(|damaged| damaged.sector == *sector) {
                *digest = 0;
            }
        }
    }
}
