//! The durable part of a step: two commit points and the way back.
//!
//! ```text
//!  protect_and_write   after it the converted side is on the medium and the volume can be brought to either side
//!  commit              after it the new boundary is on the medium
//!  put_back            after it the old boundary is on the medium
//! ```
//! The sweep knows these three and not what is written for them. The volume's metadata blocks hold boundary and
//! direction only, so what protects the zone between the two commit points is the pair of copies in memory.
//!
//! # Ordering rules
//! The data is flushed before the first block is written; the blocks are flushed before `commit` returns. Blocks are
//! written in the order of the replicas and the first error ends `commit`, so a later replica is never newer.
use core::mem;

use vck_common::{DataSector, Durability, Lba, NtStatus, SealedUpdate, SectorIo, VckError, VolumeState};

use super::{ErrorKind, Parts};

/// A pair that the metadata blocks hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) boundary: DataSector,
    pub(super) direction: VolumeState,
}

/// An error and what was being done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    pub(super) kind: ErrorKind,
    pub(super) error: VckError,
}

impl ErrorKind {
    /// For `map_err`.
    pub(super) fn during(self) -> impl Fn(VckError) -> Failure {
        move |error| Failure { kind: self, error }
    }
}

/// Sealed blocks of the present and of the next position. Owned by the sweep.
pub(super) struct Journal {
    present: SealedUpdate,
    /// The position that `present` was sealed for.
    present_is: Option<Position>,
    next: SealedUpdate,
    next_is: Position,
    accept_no_flush: bool,
}

impl Journal {
    pub(super) fn new(present: Position, accept_no_flush: bool) -> Self {
        Self {
            present: SealedUpdate::new(),
            present_is: None,
            next: SealedUpdate::new(),
            next_is: present,
            accept_no_flush,
        }
    }

    /// Seals what the next commit, and its way back, will write. The gate is open: this may allocate, block and fail.
    pub(super) fn prepare(&mut self, parts: &Parts<'_>, present: Position, next: Position) -> Result<(), Failure> {
        let seal = |at: Position, out: &mut SealedUpdate| {
            parts.store.seal(at.boundary, at.direction, parts.random, out).map_err(ErrorKind::Seal.during())
        };
        // The blocks last committed are the present ones, so this seals only for a first step. It comes first because
        // the store is told about the last seal alone.
        if self.present_is != Some(present) {
            self.present_is = None;
            seal(present, &mut self.present)?;
            self.present_is = Some(present);
        }
        self.next_is = next;
        seal(next, &mut self.next)
    }

    /// Makes the converted side of a zone durable.
    pub(super) fn protect_and_write(&self, io: &dyn SectorIo, lba: Lba, data: &[u8]) -> Result<(), Failure> {
        io.write_sectors(lba, data, Durability::AtNextFlush).map_err(ErrorKind::Write.during())?;
        self.flush(io)
    }

    /// Makes the prepared position durable. To be repeated or undone with `put_back` after a failure.
    pub(super) fn commit(&mut self, parts: &Parts<'_>) -> Result<(), Failure> {
        self.next.apply(parts.io, Durability::AtNextFlush).map_err(ErrorKind::Persist.during())?;
        self.flush(parts.io)?;
        parts.store.sealed_is_durable(self.next_is.boundary, self.next_is.direction);
        mem::swap(&mut self.present, &mut self.next);
        self.present_is = Some(self.next_is);
        Ok(())
    }

    /// Writes the present blocks over those of a commit that failed, as many as the device takes.
    pub(super) fn put_back(&self, io: &dyn SectorIo) -> Result<(), Failure> {
        // A replica that refused the new block and now refuses the old one still holds the old one; the others must
        // not be left with the new one because of it.
        let mut result = Ok(());
        for (lba, bytes) in self.present.writes() {
            result = result.and(io.write_sectors(lba, bytes, Durability::AtNextFlush));
        }
        result.map_err(ErrorKind::Persist.during()).and(self.flush(io))
    }

    /// A flush; a device that has none is as good as flushed where the provider accepts that.
    pub(super) fn flush(&self, io: &dyn SectorIo) -> Result<(), Failure> {
        match io.flush() {
            Err(error) if self.accept_no_flush && is_unsupported(&error) => Ok(()),
            result => result.map_err(ErrorKind::Flush.during()),
        }
    }
}

/// True for the answers of a device that has no flush.
fn is_unsupported(error: &VckError) -> bool {
    const ANSWERS: [NtStatus; 3] =
        [NtStatus::NOT_SUPPORTED, NtStatus::INVALID_DEVICE_REQUEST, NtStatus::NOT_IMPLEMENTED];
    ANSWERS.contains(&error.status())
}
