//! Both sides of the zone that is being converted, in memory reserved once.
use alloc::vec::Vec;

use zeroize::Zeroize;

use vck_common::{
    DataExtent, DataSector, Durability, Geometry, Lba, SectorCount, SectorIo, SectorSize, VckError, VckResult,
    VolumeCipher, VolumeState,
};

/// One step: the zone and the boundary after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) zone: DataExtent,
    pub(super) lba: Lba,
    pub(super) after: DataSector,
    pub(super) direction: VolumeState,
}

impl Plan {
    /// The step of at most `batch` sectors from `boundary` on; `None` at the end of the way.
    pub(super) fn next(
        geometry: &Geometry,
        boundary: DataSector,
        direction: VolumeState,
        batch: SectorCount,
    ) -> Option<Self> {
        let (first, count, after) = match direction {
            VolumeState::Encrypt => {
                let end = DataSector::ZERO.checked_add(geometry.data_sectors())?;
                let count = end.checked_distance_from(boundary)?.min(batch);
                (boundary, count, boundary.checked_add(count)?)
            }
            VolumeState::Decrypt => {
                let count = boundary.checked_distance_from(DataSector::ZERO)?.min(batch);
                let first = boundary.checked_sub(count)?;
                (first, count, first)
            }
        };
        let lba = geometry.data_to_lba(first)?;
        (!count.is_zero()).then_some(Self { zone: DataExtent::new(first, count), lba, after, direction })
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
    /// They hold user data, and the pool gets them back.
    fn drop(&mut self) {
        self.original.zeroize();
        self.converted.zeroize();
    }
}

impl ZoneCopies {
    /// Room for zones of up to `sectors` sectors.
    pub(super) fn new(size: SectorSize, sectors: SectorCount) -> VckResult<Self> {
        let bytes = len_of(size, sectors)?;
        Ok(Self { size, original: zeroed(bytes)?, converted: zeroed(bytes)?, len: 0 })
    }

    /// Reads the zone of `plan`.
    pub(super) fn read(&mut self, io: &dyn SectorIo, plan: &Plan) -> VckResult<()> {
        self.len = len_of(self.size, plan.zone.count)?;
        io.read_sectors(plan.lba, front_mut(&mut self.original, self.len)?)
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

    /// Writes what was read back.
    pub(super) fn restore(&self, io: &dyn SectorIo, plan: &Plan) -> VckResult<()> {
        io.write_sectors(plan.lba, front(&self.original, self.len)?, Durability::AtNextFlush)
    }

    /// The other side.
    pub(super) fn converted(&self) -> VckResult<&[u8]> {
        front(&self.converted, self.len)
    }

    /// Finds the first sector of the zone that cannot be read, by halving. `None` if all can be read after all.
    ///
    /// It uses the memory of the copies and ends after about log2 of the zone's sectors reads.
    pub(super) fn first_unreadable(&mut self, io: &dyn SectorIo, plan: &Plan) -> Option<(Lba, VckError)> {
        let mut first = plan.lba;
        let mut count = plan.zone.count;
        let mut found = self.try_read(io, first, count)?;
        while count.get() > 1 {
            let half = SectorCount::new(count.get() / 2);
            if let Some(error) = self.try_read(io, first, half) {
                (count, found) = (half, error);
            } else {
                let rest = first.checked_add(half)?;
                let left = count.checked_sub(half)?;
                // The error lies behind the readable half, or it was a passing one.
                found = self.try_read(io, rest, left)?;
                (first, count) = (rest, left);
            }
        }
        Some((first, found))
    }

    fn try_read(&mut self, io: &dyn SectorIo, lba: Lba, count: SectorCount) -> Option<VckError> {
        let len = len_of(self.size, count);
        len.and_then(|len| io.read_sectors(lba, front_mut(&mut self.original, len)?)).err()
    }
}

fn zeroed(bytes: usize) -> VckResult<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(bytes).map_err(|_| VckError::NoMemory)?;
    buffer.resize(bytes, 0);
    Ok(buffer)
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
