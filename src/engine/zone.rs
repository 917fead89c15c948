//! Both sides of the zone that is being converted, in memory reserved once.
use alloc::vec::Vec;
use core::ops::Range;

use zeroize::Zeroize;

use vck_common::{
    DataExtent, DataSector, Durability, Geometry, Lba, SectorCount, SectorIo, SectorSize, VckError, VckResult,
    VolumeCipher, VolumeState, zeroed,
};

use super::DamagedSectors;
use super::blocks::Position;

/// One step: the zone and the boundary after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) zone: DataExtent,
    pub(super) lba: Lba,
    pub(super) after: DataSector,
    pub(super) direction: VolumeState,
}

/// How the way is cut into steps.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    /// Sectors of a step, at most.
    pub(super) batch: SectorCount,
    /// Whether sector 0 is a step of its own. Where it is plaintext a file system can mount before the volume is attached. If
    /// a larger zone was interrupted, what that writes would be taken for damage; so a larger one never has a plain sector 0.
    pub(super) first_alone: bool,
}

/// Many devices show sectors of 512 bytes and write 4096 at a time. A loss of power may then cost all of these, so a zone ends
/// where such a physical sector ends: its neighbours are in no entry.
const PHYSICAL: u64 = 4096;

/// Sectors of a physical one.
const fn unit(size: SectorSize) -> u64 {
    let unit = PHYSICAL >> size.shift();
    if unit == 0 { 1 } else { unit }
}

/// `lba`, or the beginning of the physical sector that it lies in.
fn aligned_down(lba: u64, size: SectorSize) -> u64 {
    lba.saturating_sub(lba.checked_rem(unit(size)).unwrap_or(0))
}

impl Plan {
    /// The step from `boundary` on; `None` at the end of the way. It ends where a physical sector does, but at the end of the way
    /// and behind a sector 0 that is alone; steps of less than two physical sectors end anywhere.
    pub(super) fn next(geometry: &Geometry, boundary: DataSector, direction: VolumeState, cut: Cut) -> Option<Self> {
        let one = SectorCount::new(1);
        let (first, count, after) = match direction {
            VolumeState::Encrypt => {
                let end = DataSector::ZERO.checked_add(geometry.data_sectors())?;
                let alone = cut.first_alone && boundary == DataSector::ZERO;
                let batch = if alone { one } else { Self::up_from(geometry, boundary, cut.batch) };
                let count = end.checked_distance_from(boundary)?.min(batch);
                (boundary, count, boundary.checked_add(count)?)
            }
            VolumeState::Decrypt => {
                let left = boundary.checked_distance_from(DataSector::ZERO)?;
                let rest = if cut.first_alone { left.checked_sub(one).filter(|rest| !rest.is_zero()) } else { None };
                let count = rest.unwrap_or(left).min(Self::down_from(geometry, boundary, cut.batch));
                let first = boundary.checked_sub(count)?;
                (first, count, first)
            }
        };
        let lba = geometry.data_to_lba(first)?;
        (!count.is_zero()).then_some(Self { zone: DataExtent::new(first, count), lba, after, direction })
    }

    /// As many sectors of `batch` as end on the edge of a physical sector.
    fn up_from(geometry: &Geometry, boundary: DataSector, batch: SectorCount) -> SectorCount {
        let first = geometry.offset_sector().get().saturating_add(boundary.get());
        let end = aligned_down(first.saturating_add(batch.get()), geometry.sector_size());
        let has_room = batch.get() >= unit(geometry.sector_size()).saturating_mul(2);
        if has_room && end > first { SectorCount::new(end.saturating_sub(first)) } else { batch }
    }

    /// The same downwards.
    fn down_from(geometry: &Geometry, boundary: DataSector, batch: SectorCount) -> SectorCount {
        let size = geometry.sector_size();
        let end = geometry.offset_sector().get().saturating_add(boundary.get());
        let up = unit(size).saturating_sub(1);
        let first = aligned_down(end.saturating_sub(batch.get()).saturating_add(up), size);
        if batch.get() >= unit(size).saturating_mul(2) && first < end {
            SectorCount::new(end.saturating_sub(first))
        } else {
            batch
        }
    }
}

impl Plan {
    /// The pair that holds before the step.
    pub(super) const fn from(&self) -> Position {
        let boundary = match self.direction {
            VolumeState::Encrypt => self.zone.first,
            VolumeState::Decrypt => match self.zone.end() {
                Some(end) => end,
                None => self.zone.first,
            },
        };
        Position { boundary, direction: self.direction }
    }

    /// The pair that holds after it.
    pub(super) const fn to(&self) -> Position {
        Position { boundary: self.after, direction: self.direction }
    }

    /// Cuts `run`, a part of the zone, into pieces of at most `piece` sectors, where a physical sector ends if they have room
    /// for one: half of one takes the device as long to write as all of it, and it has to read the other half first.
    fn pieces(&self, run: DataExtent, piece: SectorCount, size: SectorSize) -> impl Iterator<Item = DataExtent> {
        // What a data sector has to its LBA.
        let offset = self.lba.get().saturating_sub(self.zone.first.get());
        let mut rest = run;
        core::iter::from_fn(move || {
            if rest.count <= piece {
                let last = rest;
                rest.count = SectorCount::ZERO;
                return (!last.is_empty()).then_some(last);
            }
            let first = rest.first.get();
            let end =
                aligned_down(first.saturating_add(piece.get()).saturating_add(offset), size).saturating_sub(offset);
            let end = if end > first { DataSector::new(end) } else { rest.first.checked_add(piece)? };
            let (now, later) = rest.split_at(end);
            rest = later;
            Some(now)
        })
    }
}

/// The copies of one zone.
pub(super) struct ZoneCopies {
    size: SectorSize,
    original: Vec<u8>,
    converted: Vec<u8>,
    /// Bytes of the zone that the buffers hold.
    len: usize,
}

impl Drop for ZoneCopies {
    fn drop(&mut self) {
        self.release();
    }
}

impl ZoneCopies {
    /// Copies without memory yet.
    pub(super) const fn new(size: SectorSize) -> Self {
        Self { size, original: Vec::new(), converted: Vec::new(), len: 0 }
    }

    /// Takes memory for zones of up to `sectors` sectors, unless it is there. What was held is lost.
    pub(super) fn reserve(&mut self, sectors: SectorCount) -> VckResult<()> {
        let bytes = len_of(self.size, sectors)?;
        if self.original.len() < bytes || self.converted.len() < bytes {
            self.release();
            self.original = zeroed(bytes)?;
            self.converted = zeroed(bytes)?;
        }
        Ok(())
    }

    /// Gives the memory back, wiped: it held user data.
    pub(super) fn release(&mut self) {
        self.original.zeroize();
        self.converted.zeroize();
        (self.original, self.converted, self.len) = (Vec::new(), Vec::new(), 0);
    }

    /// Reads the zone of `plan` around its unreadable sectors, which are zeros in memory, `piece` sectors at a time.
    pub(super) fn read(
        &mut self,
        io: &dyn SectorIo,
        plan: &Plan,
        damaged: &DamagedSectors,
        piece: SectorCount,
    ) -> VckResult<()> {
        self.len = len_of(self.size, plan.zone.count)?;
        let (size, len) = (self.size, self.len);
        let original = front_mut(&mut self.original, len)?;
        if damaged.readable_runs(plan.zone).next() != Some(plan.zone) {
            // Where something is left out, nothing of an earlier zone stays.
            original.fill(0);
        }
        let mut runs = damaged.readable_runs(plan.zone).flat_map(|run| plan.pieces(run, piece, size));
        runs.try_for_each(|run| {
            let (lba, range) = place(size, plan, run)?;
            io.read_sectors(lba, original.get_mut(range).ok_or(TOO_LONG)?)
        })
    }

    /// Computes the other side of what was read.
    pub(super) fn convert(&mut self, cipher: &dyn VolumeCipher, plan: &Plan) -> VckResult<()> {
        let size = self.size;
        let original = front(&self.original, self.len)?;
        let converted = front_mut(&mut self.converted, self.len)?;
        match plan.direction {
            VolumeState::Encrypt => cipher.encrypt_copy(original, converted, size, plan.zone.first),
            VolumeState::Decrypt => {
                converted.copy_from_slice(original);
                cipher.decrypt_area(converted, size, plan.zone.first);
            }
        }
        Ok(())
    }

    /// The side that is ciphertext.
    pub(super) fn ciphertext(&self, plan: &Plan) -> VckResult<&[u8]> {
        match plan.direction {
            VolumeState::Encrypt => front(&self.converted, self.len),
            VolumeState::Decrypt => front(&self.original, self.len),
        }
    }

    /// Writes what was read back.
    pub(super) fn restore(&self, io: &dyn SectorIo, plan: &Plan, damaged: &DamagedSectors) -> VckResult<()> {
        self.write(io, plan, (damaged, plan.zone.count), &self.original)
    }

    /// Writes the other side, `piece` sectors at a time.
    pub(super) fn write_converted(
        &self,
        io: &dyn SectorIo,
        plan: &Plan,
        damaged: &DamagedSectors,
        piece: SectorCount,
    ) -> VckResult<()> {
        self.write(io, plan, (damaged, piece), &self.converted)
    }

    fn write(
        &self,
        io: &dyn SectorIo,
        plan: &Plan,
        (damaged, piece): (&DamagedSectors, SectorCount),
        side: &[u8],
    ) -> VckResult<()> {
        let side = front(side, self.len)?;
        let mut runs = damaged.readable_runs(plan.zone).flat_map(|run| plan.pieces(run, piece, self.size));
        runs.try_for_each(|run| {
            let (lba, range) = place(self.size, plan, run)?;
            io.write_sectors(lba, side.get(range).ok_or(TOO_LONG)?, Durability::AtNextFlush)
        })
    }

    /// Finds the first sector of the zone, apart from those known, that cannot be read, by halving. `None` if all can be
    /// read after all.
    ///
    /// It uses the memory of the copies and ends after about log2 of the zone's sectors reads.
    pub(super) fn first_unreadable(
        &mut self,
        io: &dyn SectorIo,
        plan: &Plan,
        damaged: &DamagedSectors,
    ) -> Option<(DataSector, VckError)> {
        let mut runs = damaged.readable_runs(plan.zone);
        let (mut run, mut found) = runs.find_map(|run| Some((run, self.try_read(io, plan, run)?)))?;
        while run.count.get() > 1 {
            let middle = run.first.checked_add(SectorCount::new(run.count.get() / 2))?;
            let (half, rest) = run.split_at(middle);
            if let Some(error) = self.try_read(io, plan, half) {
                (run, found) = (half, error);
            } else {
                // The error lies behind the readable half, or it was a passing one.
                found = self.try_read(io, plan, rest)?;
                run = rest;
            }
        }
        Some((run.first, found))
    }

    /// Whether a sector can be read. Uses the memory of the copies.
    pub(super) fn can_read(&mut self, io: &dyn SectorIo, geometry: &Geometry, sector: DataSector) -> bool {
        let bytes = self.original.get_mut(..self.size.usize());
        let place = geometry.data_to_lba(sector).zip(bytes);
        place.is_some_and(|(lba, bytes)| io.read_sectors(lba, bytes).is_ok())
    }

    fn try_read(&mut self, io: &dyn SectorIo, plan: &Plan, run: DataExtent) -> Option<VckError> {
        let (lba, range) = place(self.size, plan, run).ok()?;
        let bytes = self.original.get_mut(range).ok_or(TOO_LONG);
        bytes.and_then(|bytes| io.read_sectors(lba, bytes)).err()
    }
}

/// Where `run`, a part of the plan's zone, lies on the device and in the buffers.
fn place(size: SectorSize, plan: &Plan, run: DataExtent) -> VckResult<(Lba, Range<usize>)> {
    let before = run.first.checked_distance_from(plan.zone.first).ok_or(TOO_LONG)?;
    let lba = plan.lba.checked_add(before).ok_or(TOO_LONG)?;
    let start = len_of(size, before)?;
    let end = start.checked_add(len_of(size, run.count)?).ok_or(TOO_LONG)?;
    Ok((lba, start..end))
}

fn len_of(size: SectorSize, count: SectorCount) -> VckResult<usize> {
    let bytes = size.bytes_of(count).ok_or(TOO_LONG)?;
    usize::try_from(bytes.get()).map_err(|_| TOO_LONG)
}

const TOO_LONG: VckError = VckError::InvalidData("the zone is longer than the sweep's buffers");

fn front(buffer: &[u8], len: usize) -> VckResult<&[u8]> {
    buffer.get(..len).ok_or(TOO_LONG)
}

fn front_mut(buffer: &mut [u8], len: usize) -> VckResult<&mut [u8]> {
    buffer.get_mut(..len).ok_or(TOO_LONG)
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{assert, assert_eq, vec, vec::Vec};

    use super::*;

    fn geometry(size: SectorSize, data: u64, header: u32) -> Geometry {
        let region = 131_072;
        let total = data + u64::from(header + 1) * u64::from(region) / size.u64();
        Geometry::new(size, SectorCount::new(total), header, 1, region).unwrap()
    }

    fn steps(geometry: &Geometry, direction: VolumeState, batch: u64) -> Vec<(u64, u64)> {
        let cut = Cut { batch: SectorCount::new(batch), first_alone: true };
        let from = match direction {
            VolumeState::Encrypt => DataSector::ZERO,
            VolumeState::Decrypt => DataSector::new(geometry.data_sectors().get()),
        };
        let plans = core::iter::successors(Plan::next(geometry, from, direction, cut), |plan| {
            Plan::next(geometry, plan.after, direction, cut)
        });
        plans.map(|plan| (plan.zone.first.get(), plan.zone.count.get())).collect()
    }

    #[test]
    fn zones_end_where_physical_sectors_end() {
        use VolumeState::{Decrypt, Encrypt};
        let small = geometry(SectorSize::S512, 45, 0);
        assert_eq!(steps(&small, Encrypt, 18), vec![(0, 1), (1, 15), (16, 16), (32, 13)]);
        assert_eq!(steps(&small, Decrypt, 18), vec![(32, 13), (16, 16), (1, 15), (0, 1)]);
        assert_eq!(steps(&small, Encrypt, 16), vec![(0, 1), (1, 15), (16, 16), (32, 13)]);
        assert_eq!(steps(&small, Encrypt, 40), vec![(0, 1), (1, 39), (40, 5)]);
        // A sector of 4096 bytes ends where it ends; shorter steps end anywhere.
        assert_eq!(steps(&geometry(SectorSize::S4096, 7, 0), Encrypt, 3), vec![(0, 1), (1, 3), (4, 3)]);
        assert_eq!(steps(&geometry(SectorSize::S512, 10, 0), Encrypt, 3), vec![(0, 1), (1, 3), (4, 3), (7, 3)]);
    }

    #[test]
    fn every_step_is_taken_once_and_only_sector_1_and_the_end_are_no_edges() {
        for (data, batch, header) in [(1000, 16, 0), (1000, 19, 1), (997, 100, 1), (4096, 512, 0), (3, 64, 0)] {
            let geometry = geometry(SectorSize::S512, data, header);
            for direction in [VolumeState::Encrypt, VolumeState::Decrypt] {
                let mut steps = steps(&geometry, direction, batch);
                assert!(steps.iter().all(|(_, count)| (1..=batch).contains(count)));
                steps.sort_unstable();
                let mut at = 0;
                for (first, count) in steps {
                    assert_eq!(first, at);
                    let lba = geometry.data_to_lba(DataSector::new(first)).unwrap().get();
                    assert!(first <= 1 || lba.is_multiple_of(8), "{first}");
                    at += count;
                }
                assert_eq!(at, data);
            }
        }
    }

    #[test]
    fn edges_are_those_of_the_device_and_not_of_the_data_region() {
        // Data sector 0 at LBA 3.
        let total = SectorCount::new(60);
        let geometry = Geometry::whole(SectorSize::S512, total, Lba::new(3), SectorCount::new(40)).unwrap();
        assert_eq!(steps(&geometry, VolumeState::Encrypt, 16), vec![(0, 1), (1, 12), (13, 16), (29, 11)]);
        let plan = Plan::next(
            &geometry,
            DataSector::new(1),
            VolumeState::Encrypt,
            Cut { batch: SectorCount::new(40), first_alone: true },
        );
        let plan = plan.unwrap();
        let pieces = |piece| -> Vec<_> {
            let pieces = plan.pieces(plan.zone, SectorCount::new(piece), SectorSize::S512);
            pieces.map(|run| (run.first.get(), run.count.get())).collect()
        };
        assert_eq!((plan.zone.first.get(), plan.zone.count.get()), (1, 36));
        assert_eq!(pieces(16), vec![(1, 12), (13, 16), (29, 8)]);
        assert_eq!(pieces(u64::MAX), vec![(1, 36)]);
        assert_eq!(pieces(20)[..2], [(1, 20), (21, 16)]);
    }
}
