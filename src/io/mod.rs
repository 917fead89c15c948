//! Sector access to the device below a filter: the full volume, metadata included.
//!
//! # Invariants
//! * Everything runs at PASSIVE_LEVEL on the caller's thread, through one preallocated transfer: no call allocates.
//! * The device below is called only under the transfer's mutex and never after [`VolumeIo::revoke`], which the owner of the filter
//!   calls before the device may go. A provider may therefore keep a clone for as long as it likes.
//! * A flush succeeds only if no flush of the device by anybody failed since the first write that it is to make durable was sent.
//! * While writes are staged, readers see them as if they were on the volume, and nothing else can be written. So a
//!   provider can be asked to open a volume whose metadata is not there yet, and a refusal leaves the volume as it was.

use vck_common::{
    ByteLen, ByteOffset, Durability, Lba, NtStatus, SealedUpdate, SectorCount, SectorIo, SectorSize, VckError,
    VckResult, zeroed,
};

use crate::nt::{LowerDevice, Mutex, Operation, Passive, Shared, Transfer};

mod bounce;
mod flushes;
mod identity;

pub use bounce::BounceBuffers;
pub use flushes::Flushes;
pub use identity::{DiskPlace, VolumeIdentity};

/// A volume below the filter. Clones share one transfer.
#[derive(Clone)]
pub struct VolumeIo(Shared<Inner>);

struct Inner {
    lower: LowerDevice,
    sector_size: SectorSize,
    total: SectorCount,
    flushes: Shared<Flushes>,
    state: Mutex<State>,
}

struct State {
    transfer: Transfer,
    staged: Option<SealedUpdate>,
    /// What had failed when the first write was sent that no flush has made durable since.
    unflushed: Option<u64>,
    revoked: bool,
}

impl State {
    /// Errors: [`VckError::Removed`] after [`VolumeIo::revoke`].
    fn check(&self) -> VckResult<()> {
        if self.revoked { Err(VckError::Removed) } else { Ok(()) }
    }
}

impl VolumeIo {
    /// Access through a transfer buffer of `bytes`, rounded up to a sector. `flushes` are those of the device.
    pub(crate) fn try_new(
        lower: LowerDevice,
        flushes: Shared<Flushes>,
        sector_size: SectorSize,
        total: SectorCount,
        bytes: usize,
    ) -> VckResult<Self> {
        let transfer = Transfer::try_new(lower, bytes.next_multiple_of(sector_size.usize()))?;
        let state = Mutex::try_new(State { transfer, staged: None, unflushed: None, revoked: false })?;
        Ok(Self(Shared::try_new(Inner { lower, sector_size, total, flushes, state })?))
    }

    /// Whether both are clones of one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Shared::same(&self.0, &other.0)
    }

    /// Ends all access, by every clone: later calls return [`VckError::Removed`]. Waits for the call that is under way.
    pub(crate) fn revoke(&self, passive: Passive) {
        self.0.state.with(passive, |state| state.revoked = true);
    }

    /// Shows `writes` to readers without writing them.
    pub fn stage(&self, passive: Passive, writes: SealedUpdate) {
        self.0.state.with(passive, |state| state.staged = Some(writes));
    }

    /// Writes what was staged and makes it durable.
    ///
    /// Errors: the device's. What was there before is then put back as far as the device takes it.
    pub fn commit_staged(&self, passive: Passive) -> VckResult<()> {
        let Some(writes) = self.0.state.with(passive, |state| state.staged.take()) else { return Ok(()) };
        let mut before = SealedUpdate::new();
        for (lba, bytes) in writes.writes() {
            let mut content = zeroed(bytes.len())?;
            self.read_sectors(lba, &mut content)?;
            before.push(lba, &content)?;
        }
        if let Err(error) = self.write_durably(&writes) {
            if let Err(second) = self.write_durably(&before) {
                log::error!("metadata could be neither written ({error}) nor put back ({second})");
            }
            return Err(error);
        }
        Ok(())
    }

    /// Writes through, and flushes: one of the two is enough on any device, and some know only one.
    fn write_durably(&self, writes: &SealedUpdate) -> VckResult<()> {
        writes.apply(self, Durability::OnReturn)?;
        match self.flush() {
            Err(VckError::Unsupported(_)) => Ok(()),
            flushed => flushed,
        }
    }

    fn transfer_in_pieces(
        &self,
        lba: Lba,
        length: usize,
        mut piece: impl FnMut(&mut State, Passive, Lba, ByteOffset, usize, usize) -> Result<usize, NtStatus>,
    ) -> VckResult<()> {
        let passive = Passive::check().ok_or(VckError::Io("sector I/O needs PASSIVE_LEVEL"))?;
        let size = self.0.sector_size;
        let count = size.sectors_of_buffer(length)?;
        let fits = lba.checked_add(count).is_some_and(|end| end.get() <= self.0.total.get());
        if !fits {
            return Err(VckError::InvalidData("the sectors lie outside the volume"));
        }
        self.0.state.with(passive, |state| {
            state.check()?;
            let step = state.transfer.buffer().len();
            let mut from = 0_usize;
            while from < length {
                let bytes = step.min(length.saturating_sub(from));
                let sectors = size.sectors_in(ByteLen::new(from as u64));
                let at = lba.checked_add(sectors).ok_or(VckError::InvalidData("the sector number overflows"))?;
                let offset = size.bytes_of(SectorCount::new(at.get())).map_or(u64::MAX, ByteLen::get);
                let done = piece(state, passive, at, ByteOffset::new(offset), from, bytes)
                    .map_err(|status| VckError::Device { status, lba: Some(at) })?;
                if done != bytes {
                    return Err(VckError::Device { status: NtStatus::IO_DEVICE_ERROR, lba: Some(at) });
                }
                from = from.saturating_add(bytes);
            }
            Ok(())
        })
    }
}

/// Copies what staged writes say about the sectors `lba..` over `bytes`.
fn overlay(staged: &SealedUpdate, lba: Lba, size: SectorSize, bytes: &mut [u8]) {
    for (at, content) in staged.writes() {
        let Some(distance) = at.checked_distance_from(lba) else { continue };
        let Some(start) = size.bytes_of(distance).and_then(|bytes| usize::try_from(bytes.get()).ok()) else { continue };
        let target = bytes.get_mut(start..).unwrap_or_default();
        for (to, from) in target.iter_mut().zip(content) {
            *to = *from;
        }
    }
}

fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

impl SectorIo for VolumeIo {
    fn sector_size(&self) -> SectorSize {
        self.0.sector_size
    }

    fn total_sectors(&self) -> SectorCount {
        self.0.total
    }

    fn read_sectors(&self, lba: Lba, buf: &mut [u8]) -> VckResult<()> {
        let (lower, size) = (self.0.lower, self.0.sector_size);
        self.transfer_in_pieces(lba, buf.len(), |state, passive, at, offset, from, bytes| {
            let done = state.transfer.run(passive, lower, Operation::Read, offset, bytes, None)?;
            let target = buf.get_mut(from..from.saturating_add(bytes)).unwrap_or_default();
            copy(target, state.transfer.buffer());
            if let Some(staged) = &state.staged {
                overlay(staged, at, size, target);
            }
            Ok(done)
        })
    }

    fn write_sectors(&self, lba: Lba, buf: &[u8], durability: Durability) -> VckResult<()> {
        let (lower, flushes) = (self.0.lower, &self.0.flushes);
        let through = durability == Durability::OnReturn;
        self.transfer_in_pieces(lba, buf.len(), |state, passive, _, offset, from, bytes| {
            if state.staged.is_some() {
                return Err(NtStatus::INVALID_DEVICE_STATE);
            }
            let source = buf.get(from..from.saturating_add(bytes)).unwrap_or_default();
            copy(state.transfer.buffer_mut(), source);
            state.unflushed.get_or_insert_with(|| flushes.failures());
            state.transfer.run(passive, lower, Operation::Write { through }, offset, bytes, None)
        })
    }

    fn flush(&self) -> VckResult<()> {
        let passive = Passive::check().ok_or(VckError::Io("sector I/O needs PASSIVE_LEVEL"))?;
        let (lower, flushes) = (self.0.lower, &self.0.flushes);
        self.0.state.with(passive, |state| {
            state.check()?;
            // Whatever becomes of it, the caller knows: what was written before counts no more.
            let unflushed = state.unflushed.take();
            match state.transfer.run(passive, lower, Operation::Flush, ByteOffset::ZERO, 0, None) {
                Ok(_) if unflushed.is_none_or(|before| before == flushes.failures_so_far(passive)) => Ok(()),
                Ok(_) => Err(VckError::Device { status: NtStatus::IO_DEVICE_ERROR, lba: None }),
                Err(status) if status.is_no_flush() => Err(VckError::Unsupported("the device has no flush")),
                Err(status) => {
                    flushes.note_failure();
                    Err(VckError::Device { status, lba: None })
                }
            }
        })
    }
}
