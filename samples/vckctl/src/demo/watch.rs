//! The shadow of the volume: what every sector must hold, kept from what is handed to the top of the stack, and what
//! passes the bottom of it.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use vck_common::{Lba, SectorIo, SectorSize};
use vck_ntsim::io::{Observation, Side};
use vck_ntsim::{Kernel, Rule};

use super::content::Stamp;
use crate::file_io::FileIo;

/// Requests up to this length are compared above and below the filter; the conversion's own are longer.
const COMPARED: usize = 512 << 10;
/// Requests below that wait for their counterpart above.
const REMEMBERED: usize = 64;

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) reads_above: u64,
    pub(super) writes_above: u64,
    pub(super) reads_below: u64,
    pub(super) writes_below: u64,
    /// Requests of which one part lay below the boundary and the other above it.
    pub(super) split_reads: u64,
    pub(super) split_writes: u64,
}

struct State {
    written: HashMap<u64, Box<[u8]>>,
    stamps: HashMap<u64, Stamp>,
    below: Vec<(u64, Vec<u8>)>,
    above: Vec<(u64, Vec<u8>)>,
    /// Sectors before this one are encrypted for sure.
    floor: u64,
    counts: Counts,
}

/// The watcher.
pub(super) struct Watch {
    size: SectorSize,
    /// What the volume held before; nothing but zeros without.
    base: Option<FileIo>,
    state: Mutex<State>,
}

impl Watch {
    pub(super) fn new(size: SectorSize, base: Option<FileIo>) -> Self {
        let state = State {
            written: HashMap::new(),
            stamps: HashMap::new(),
            below: Vec::new(),
            above: Vec::new(),
            floor: 0,
            counts: Counts::default(),
        };
        Self { size, base, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) const fn sector_size(&self) -> SectorSize {
        self.size
    }

    pub(super) fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Says that every sector before `lba` is encrypted and stays so until told otherwise.
    pub(super) fn set_floor(&self, lba: u64) {
        self.state().floor = lba;
    }

    /// Whose sector it is.
    pub(super) fn stamp_at(&self, lba: u64) -> Option<Stamp> {
        self.state().stamps.get(&lba).copied()
    }

    /// What `count` sectors must hold.
    pub(super) fn expected(&self, lba: u64, count: usize) -> io::Result<Vec<u8>> {
        let size = self.size.usize();
        let mut out = vec![0; count * size];
        if let Some(base) = &self.base {
            let known = usize::try_from(base.total_sectors().get().saturating_sub(lba)).unwrap_or(count).min(count);
            if known > 0 {
                base.read_sectors(Lba::new(lba), &mut out[..known * size]).map_err(io::Error::other)?;
            }
        }
        let state = self.state();
        for (at, sector) in (lba..).zip(out.chunks_exact_mut(size)) {
            if let Some(written) = state.written.get(&at) {
                sector.copy_from_slice(written);
            }
        }
        Ok(out)
    }

    /// Takes note of what passes.
    pub(super) fn see(&self, kernel: &Kernel, seen: &Observation<'_>) {
        let mut state = self.state();
        match seen.side {
            Side::WrittenAbove => state.written_above(self.size, seen),
            Side::WrittenBelow => {
                state.counts.writes_below += 1;
                let mixed = State::counterpart(self.size, &mut state.above, seen);
                state.counts.split_writes += u64::from(mixed);
                if let Some(lba) = state.leak(self.size, seen) {
                    drop(state);
                    kernel.report(Rule::ShadowOracle, format!("plaintext is written to LBA {lba}, below the boundary"));
                }
            }
            Side::ReadBelow => {
                state.counts.reads_below += 1;
                if seen.data.len() <= COMPARED {
                    remember(&mut state.below, seen);
                }
            }
            Side::ReadAbove => {
                state.counts.reads_above += 1;
                let mixed = State::counterpart(self.size, &mut state.below, seen);
                state.counts.split_reads += u64::from(mixed);
            }
        }
    }
}

fn remember(list: &mut Vec<(u64, Vec<u8>)>, seen: &Observation<'_>) {
    if list.len() == REMEMBERED {
        list.remove(0);
    }
    list.push((seen.offset, seen.data.to_vec()));
}

impl State {
    fn written_above(&mut self, size: SectorSize, seen: &Observation<'_>) {
        self.counts.writes_above += 1;
        for (lba, sector) in (seen.offset / size.u64()..).zip(seen.data.chunks_exact(size.usize())) {
            match Stamp::read(sector) {
                Some(stamp) => self.stamps.insert(lba, stamp),
                None => self.stamps.remove(&lba),
            };
            self.written.insert(lba, sector.into());
        }
        if seen.data.len() <= COMPARED {
            remember(&mut self.above, seen);
        }
    }

    /// Finds the same request on the other side; whether some of its sectors are the same there and others are not.
    fn counterpart(size: SectorSize, list: &mut Vec<(u64, Vec<u8>)>, seen: &Observation<'_>) -> bool {
        let same = |(offset, data): &(u64, Vec<u8>)| *offset == seen.offset && data.len() == seen.data.len();
        let Some(index) = list.iter().rposition(same) else { return false };
        let (_, other) = list.remove(index);
        let pairs = || other.chunks_exact(size.usize()).zip(seen.data.chunks_exact(size.usize()));
        pairs().any(|(a, b)| a == b) && pairs().any(|(a, b)| a != b)
    }

    /// The first sector before the floor that is what was written above: plaintext where ciphertext must be.
    fn leak(&self, size: SectorSize, seen: &Observation<'_>) -> Option<u64> {
        let sectors = (seen.offset / size.u64()..self.floor).zip(seen.data.chunks_exact(size.usize()));
        let mut plain = sectors.filter(|(lba, sector)| self.written.get(lba).is_some_and(|known| **known == **sector));
        plain.next().map(|(lba, _)| lba)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::content;

    fn seen(side: Side, offset: u64, data: &[u8]) -> Observation<'_> {
        Observation { volume: 0, side, offset, data }
    }

    #[test]
    fn written_sectors_are_expected_and_stamped() {
        let world = vck_ntsim::World::boot(1);
        let kernel = world.kernel();
        let watch = Watch::new(SectorSize::S512, None);
        let data = content::units(7, 3, 2, 0);
        watch.see(&kernel, &seen(Side::WrittenAbove, 1024, &data));
        assert_eq!(watch.expected(2, 2).unwrap(), data);
        assert_eq!(watch.expected(0, 1).unwrap(), [0; 512]);
        assert_eq!(watch.stamp_at(3), Some(Stamp { file: 7, unit: 4 }));
        watch.see(&kernel, &seen(Side::WrittenAbove, 1024, &[0; 512]));
        assert_eq!(watch.stamp_at(2), None);
    }

    #[test]
    fn a_request_that_differs_in_part_is_split() {
        let world = vck_ntsim::World::boot(1);
        let kernel = world.kernel();
        let watch = Watch::new(SectorSize::S512, None);
        let (plain, mixed) = ([1; 1024], [[2; 512], [1; 512]].concat());
        watch.see(&kernel, &seen(Side::ReadBelow, 0, &mixed));
        watch.see(&kernel, &seen(Side::ReadAbove, 0, &plain));
        watch.see(&kernel, &seen(Side::WrittenAbove, 0, &plain));
        watch.see(&kernel, &seen(Side::WrittenBelow, 0, &plain));
        let counts = watch.counts();
        assert_eq!((counts.split_reads, counts.split_writes), (1, 0));
        assert!(world.findings().is_empty());
    }

    #[test]
    fn plaintext_below_the_boundary_is_a_finding() {
        let world = vck_ntsim::World::boot(1);
        let kernel = world.kernel();
        let watch = Watch::new(SectorSize::S512, None);
        watch.see(&kernel, &seen(Side::WrittenAbove, 512, &[5; 512]));
        watch.set_floor(1);
        watch.see(&kernel, &seen(Side::WrittenBelow, 512, &[5; 512]));
        assert!(world.findings().is_empty(), "above the boundary it may be plain");
        watch.see(&kernel, &seen(Side::WrittenAbove, 512, &[5; 512]));
        watch.set_floor(2);
        watch.see(&kernel, &seen(Side::WrittenBelow, 512, &[5; 512]));
        assert_eq!(world.findings().len(), 1);
    }
}
