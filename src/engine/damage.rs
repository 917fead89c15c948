//! Sectors that are kept from being read until they are written.
use alloc::vec::Vec;

use vck_common::journal::{Damage, MAX_DAMAGED};
use vck_common::{DamagedSector, DataExtent, DataSector, SectorCount, VckError, VckResult};

use super::progress::DamageNote;

/// At most [`MAX_DAMAGED`] sectors, ascending, in memory reserved once.
#[derive(Debug)]
pub struct DamagedSectors {
    sectors: Vec<DamagedSector>,
}

impl DamagedSectors {
    /// An empty list.
    ///
    /// # Errors
    /// [`VckError::NoMemory`].
    pub fn new() -> VckResult<Self> {
        let mut sectors = Vec::new();
        sectors.try_reserve_exact(MAX_DAMAGED).map_err(|_| VckError::NoMemory)?;
        Ok(Self { sectors })
    }

    /// The sectors, ascending.
    #[must_use]
    pub fn as_slice(&self) -> &[DamagedSector] {
        &self.sectors
    }

    /// What is told to the outside.
    pub(super) fn note(&self) -> Option<DamageNote> {
        self.sectors.first().map(|first| DamageNote { count: self.sectors.len(), first: first.sector })
    }

    /// Whether `sector` is listed.
    #[must_use]
    pub fn contains(&self, sector: DataSector) -> bool {
        self.sectors.iter().any(|damaged| damaged.sector == sector)
    }

    /// The sectors that could not be read.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = DataSector> + '_ {
        let all = self.sectors.iter().filter(|damaged| damaged.damage == Damage::Unreadable);
        all.map(|damaged| damaged.sector)
    }

    /// Lists a sector once. `false` if the list is full.
    pub(super) fn add(&mut self, sector: DataSector, damage: Damage) -> bool {
        if self.contains(sector) {
            return true;
        }
        if self.sectors.len() >= MAX_DAMAGED {
            return false;
        }
        // Within the capacity that was reserved.
        self.sectors.push(DamagedSector { sector, damage });
        self.sectors.sort_unstable_by_key(|damaged| damaged.sector);
        true
    }

    /// The places of the sectors for which `is` holds, as bits.
    pub(super) fn marked(&self, is: impl Fn(DataSector) -> bool) -> u64 {
        const { assert!(MAX_DAMAGED <= 64) };
        let marks = self.sectors.iter().enumerate().filter(|(_, damaged)| is(damaged.sector));
        marks.fold(0, |bits, (place, _)| bits | 1 << place)
    }

    /// Takes out the sectors at the marked places.
    pub(super) fn take_out(&mut self, marks: u64) {
        let mut place = 0_u32;
        self.sectors.retain(|_| {
            let marked = marks.checked_shr(place).unwrap_or(0) & 1 == 1;
            place = place.saturating_add(1);
            !marked
        });
    }

    /// A list of its own with the same sectors.
    pub(super) fn copy(&self) -> VckResult<Self> {
        let mut copy = Self::new()?;
        copy.set_to(self);
        Ok(copy)
    }

    /// Makes this the list `other`.
    pub(super) fn set_to(&mut self, other: &Self) {
        self.sectors.clear();
        // Both have the same limit.
        self.sectors.extend_from_slice(&other.sectors);
    }

    /// The parts of `zone` between its listed sectors, ascending. What a listed sector holds is of no known side, and it
    /// is not touched: so it can be told later whether a user has written it.
    pub(super) fn readable_runs(&self, zone: DataExtent) -> Runs<'_> {
        Runs { rest: zone, holes: &self.sectors }
    }
}

/// See [`DamagedSectors::readable_runs`].
pub(super) struct Runs<'a> {
    rest: DataExtent,
    holes: &'a [DamagedSector],
}

impl Iterator for Runs<'_> {
    type Item = DataExtent;

    fn next(&mut self) -> Option<DataExtent> {
        while !self.rest.is_empty() {
            let Some(hole) = self.holes.iter().find(|damaged| self.rest.contains(damaged.sector)) else {
                let last = self.rest;
                self.rest = DataExtent::new(last.first, SectorCount::ZERO);
                return Some(last);
            };
            let (run, from_hole) = self.rest.split_at(hole.sector);
            let behind = hole.sector.checked_add(SectorCount::new(1))?;
            self.rest = from_hole.split_at(behind).1;
            if !run.is_empty() {
                return Some(run);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{assert, assert_eq, vec, vec::Vec};

    use super::*;

    fn extent(first: u64, count: u64) -> DataExtent {
        DataExtent::new(DataSector::new(first), SectorCount::new(count))
    }

    fn runs(list: &DamagedSectors) -> Vec<(u64, u64)> {
        list.readable_runs(extent(10, 10)).map(|run| (run.first.get(), run.count.get())).collect()
    }

    #[test]
    fn runs_leave_listed_sectors_out_and_nothing_else() {
        let mut list = DamagedSectors::new().unwrap();
        assert_eq!(runs(&list), vec![(10, 10)]);
        for sector in [13, 9, 20] {
            assert!(list.add(DataSector::new(sector), Damage::Unreadable));
        }
        assert!(list.add(DataSector::new(15), Damage::Torn));
        assert_eq!(runs(&list), vec![(10, 3), (14, 1), (16, 4)]);
        for sector in [10, 14, 19] {
            assert!(list.add(DataSector::new(sector), Damage::Unreadable));
        }
        assert_eq!(runs(&list), vec![(11, 2), (16, 3)]);
    }

    #[test]
    fn the_list_is_full_at_its_limit() {
        let mut list = DamagedSectors::new().unwrap();
        for sector in 0..MAX_DAMAGED as u64 {
            assert!(list.add(DataSector::new(sector), Damage::Torn));
        }
        assert!(list.add(DataSector::new(3), Damage::Unreadable), "it is listed already");
        assert!(!list.add(DataSector::new(1000), Damage::Torn));
        let marks = list.marked(|sector| sector.get() == 3 || sector.get() == 63);
        assert_eq!(marks, 1 << 3 | 1 << 63);
        list.take_out(marks);
        assert!(!list.contains(DataSector::new(3)) && list.contains(DataSector::new(4)));
        assert!(list.add(DataSector::new(1000), Damage::Torn));
    }
}
