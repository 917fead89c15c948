//! A volume in memory for tests: records every call, fails where told to, and forgets unflushed writes at a power cut.

use alloc::vec::Vec;

use spin::Mutex;

use crate::{
    Durability, Lba, NtStatus, SectorCount, SectorIo, SectorSize, VckError, VckResult, sector_io::check_extent,
};

/// One call, as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoEvent {
    /// A read.
    Read {
        /// First sector.
        lba: Lba,
        /// Sectors.
        count: SectorCount,
    },
    /// A write.
    Write {
        /// First sector.
        lba: Lba,
        /// Sectors.
        count: SectorCount,
        /// What the caller asked for.
        durability: Durability,
    },
    /// A flush.
    Flush,
}

/// Which calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Reads that touch the sector.
    Read(Lba),
    /// Writes that touch the sector; nothing of them is stored.
    Write(Lba),
    /// Flushes.
    Flush,
}

struct State {
    /// What reads see.
    current: Vec<u8>,
    /// What survives a power cut.
    durable: Vec<u8>,
    events: Vec<IoEvent>,
    faults: Vec<Fault>,
}

/// A volume in memory.
pub struct MemoryIo {
    size: SectorSize,
    total: SectorCount,
    state: Mutex<State>,
}

/// The status with which injected faults fail.
pub const FAULT_STATUS: NtStatus = NtStatus::DEVICE_DATA_ERROR;

impl MemoryIo {
    /// A zeroed volume.
    ///
    /// # Errors
    /// [`VckError::NoMemory`].
    pub fn new(size: SectorSize, total: SectorCount) -> VckResult<Self> {
        let len = size.bytes_of(total).and_then(|bytes| usize::try_from(bytes.get()).ok()).ok_or(VckError::NoMemory)?;
        let image = || -> VckResult<Vec<u8>> {
            let mut image = Vec::new();
            image.try_reserve_exact(len).map_err(|_| VckError::NoMemory)?;
            image.resize(len, 0);
            Ok(image)
        };
        let state = State { current: image()?, durable: image()?, events: Vec::new(), faults: Vec::new() };
        Ok(Self { size, total, state: Mutex::new(state) })
    }

    /// The calls since the last time.
    pub fn take_events(&self) -> Vec<IoEvent> {
        core::mem::take(&mut self.state.lock().events)
    }

    /// Makes some calls fail from now on.
    pub fn inject(&self, fault: Fault) {
        self.state.lock().faults.push(fault);
    }

    /// Makes no call fail any more.
    pub fn heal(&self) {
        self.state.lock().faults.clear();
    }

    /// Loses every write that was neither flushed nor written through.
    pub fn power_cut(&self) {
        let state = &mut *self.state.lock();
        state.current.clone_from(&state.durable);
    }

    /// A copy of what reads see.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        self.state.lock().current.clone()
    }

    /// Places bytes without recording a call; they are durable. `false` if they do not fit.
    #[must_use]
    pub fn place(&self, lba: Lba, bytes: &[u8]) -> bool {
        let state = &mut *self.state.lock();
        let Some(start) = usize::try_from(lba.get()).ok().and_then(|lba| lba.checked_mul(self.size.usize())) else {
            return false;
        };
        let Some(range) = start.checked_add(bytes.len()).map(|end| start..end) else { return false };
        let places = [state.current.get_mut(range.clone()), state.durable.get_mut(range)];
        places.into_iter().all(|place| place.map(|place| place.copy_from_slice(bytes)).is_some())
    }

    fn range(&self, lba: Lba, len: usize) -> VckResult<(core::ops::Range<usize>, SectorCount)> {
        let count = check_extent(self.size, self.total, lba, len)?;
        let start = usize::try_from(lba.get()).ok().and_then(|lba| lba.checked_mul(self.size.usize()));
        let range = start.and_then(|start| Some(start..start.checked_add(len)?));
        Ok((range.ok_or(VckError::InvalidData("the extent leaves the volume"))?, count))
    }
}

impl State {
    /// Fails if one of the faults selected by `place` lies in the extent.
    fn check(&self, lba: Lba, count: SectorCount, place: impl Fn(&Fault) -> Option<Lba>) -> VckResult<()> {
        let hit = self
            .faults
            .iter()
            .filter_map(place)
            .find(|at| at.checked_distance_from(lba).is_some_and(|distance| distance < count));
        hit.map_or(Ok(()), |lba| Err(VckError::Device { status: FAULT_STATUS, lba: Some(lba) }))
    }
}

impl SectorIo for MemoryIo {
    fn sector_size(&self) -> SectorSize {
        self.size
    }

    fn total_sectors(&self) -> SectorCount {
        self.total
    }

    fn read_sectors(&self, lba: Lba, buf: &mut [u8]) -> VckResult<()> {
        let (range, count) = self.range(lba, buf.len())?;
        let state = &mut *self.state.lock();
        state.events.push(IoEvent::Read { lba, count });
        state.check(lba, count, |fault| if let Fault::Read(at) = fault { Some(*at) } else { None })?;
        buf.copy_from_slice(state.current.get(range).unwrap_or_default());
        Ok(())
    }

    fn write_sectors(&self, lba: Lba, buf: &[u8], durability: Durability) -> VckResult<()> {
        let (range, count) = self.range(lba, buf.len())?;
        let state = &mut *self.state.lock();
        state.events.push(IoEvent::Write { lba, count, durability });
        state.check(lba, count, |fault| if let Fault::Write(at) = fault { Some(*at) } else { None })?;
        if let Some(place) = state.current.get_mut(range.clone()) {
            place.copy_from_slice(buf);
        }
        if let (Durability::OnReturn, Some(place)) = (durability, state.durable.get_mut(range)) {
            place.copy_from_slice(buf);
        }
        Ok(())
    }

    fn flush(&self) -> VckResult<()> {
        let state = &mut *self.state.lock();
        state.events.push(IoEvent::Flush);
        if state.faults.contains(&Fault::Flush) {
            return Err(VckError::Device { status: FAULT_STATUS, lba: None });
        }
        state.durable.clone_from(&state.current);
        Ok(())
    }
}
