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

impl Plan {
    /// The step from `boundary` on; `None` at the end of the way.
    pub(super) fn next(geometry: &Geometry, boundary: DataSector, direction: VolumeState, cut: Cut) -> Option<Self> {
        let one = SectorCount::new(1);
        let (first, count, after) = match direction {
            VolumeState::Encrypt => {
                let end = DataSector::ZERO.checked_add(geometry.data_sectors())?;
                let batch = if cut.first_alone && boundary == DataSector::ZERO { one } else { cut.batch };
                let count = end.checked_distance_from(boundary)?.min(batch);
                (boundary, count, boundary.checked_add(count)?)
            }
            VolumeState::Decrypt => {
                let left = boundary.checked_distance_from(DataSector::ZERO)?;
                let rest = if cut.first_alone { left.checked_sub(one).filter(|rest| !rest.is_zero()) } else { None };
                let count = rest.unwrap_or(left).min(cut.batch);
                let first = boundary.checked_sub(count)?;
                (first, count, first)
            }
        };
        let lba = geometry.data_to_lba(first)?;
        (!count.is_zero()).then_some(Self { zone: DataExtent::new(first, count), lba, after, direction })
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
        let mut runs = damaged.readable_runs(plan.zone).flat_map(|run| pieces(run, piece));
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
        let mut runs = damaged.readable_runs(plan.zone).flat_map(|run| pieces(run, piece));
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

/// Cuts `run` into pieces of at most `piece` sectors.
fn pieces(run: DataExtent, piece: SectorCount) -> impl Iterator<Item = DataExtent> {
    let mut rest = run;
    core::iter::from_fn(move || {
        // A piece that would end behind all sectors is the rest.
        let end = rest.first.checked_add(piece).or(rest.end())?;
        let (now, later) = rest.split_at(end);
        rest = later;
        (!now.is_empty()).then_some(now)
    })
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
