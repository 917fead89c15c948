//! The rules that every [`SectorIo`] must keep, as a suite that any implementation can be put through.
//!
//! The suite answers with an error instead of panicking, so that it also runs where a panic is the end of the machine.

use alloc::vec::Vec;
use core::fmt;

use crate::{Durability, Lba, SectorCount, SectorIo, VckError, VckResult};

/// Which rule an implementation broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConformanceError {
    /// The rule, in words.
    pub rule: &'static str,
    /// The error that showed it, if it was one.
    pub cause: Option<VckError>,
}

impl fmt::Display for ConformanceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Some(cause) => write!(f, "{}: {cause}", self.rule),
            None => f.write_str(self.rule),
        }
    }
}

impl core::error::Error for ConformanceError {}

/// The smallest volume that the suite can work on, in sectors.
pub const MIN_SECTORS: u64 = 16;

type Outcome = Result<(), ConformanceError>;

/// Puts an implementation through the suite. `make` gives a fresh volume of at least [`MIN_SECTORS`] sectors for each rule; its
/// contents are overwritten.
///
/// # Errors
/// The first rule that was broken.
pub fn check<I: SectorIo>(mut make: impl FnMut() -> VckResult<I>) -> Outcome {
    let rules: [fn(&dyn SectorIo) -> Outcome; 6] = [
        states_its_size,
        reads_what_was_written,
        leaves_neighbours_alone,
        refuses_bad_extents,
        last_write_wins,
        flushes,
    ];
    for rule in rules {
        let io = must("a fresh volume can be made", make())?;
        rule(&io)?;
    }
    Ok(())
}

fn must<T>(rule: &'static str, result: VckResult<T>) -> Result<T, ConformanceError> {
    result.map_err(|cause| ConformanceError { rule, cause: Some(cause) })
}

fn holds(rule: &'static str, condition: bool) -> Outcome {
    if condition { Ok(()) } else { Err(ConformanceError { rule, cause: None }) }
}

fn buffer(io: &dyn SectorIo, sectors: usize, fill: u8) -> Result<Vec<u8>, ConformanceError> {
    let mut bytes = Vec::new();
    let len = sectors.saturating_mul(io.sector_size().usize());
    must("there is memory for the suite", bytes.try_reserve_exact(len).map_err(|_| VckError::NoMemory))?;
    // A pattern in which no sector equals its neighbour.
    bytes.extend(
        (0..len).map(|at| fill.wrapping_add((at % 251).to_le_bytes()[0]).wrapping_add((at / 512).to_le_bytes()[0])),
    );
    Ok(bytes)
}

fn back_from_end(io: &dyn SectorIo, sectors: u64) -> Lba {
    Lba::new(io.total_sectors().get().saturating_sub(sectors))
}

fn states_its_size(io: &dyn SectorIo) -> Outcome {
    holds("the volume has room for the suite", io.total_sectors().get() >= MIN_SECTORS)?;
    let before = (io.sector_size(), io.total_sectors());
    let mut sector = buffer(io, 1, 0)?;
    must("the last sector can be read", io.read_sectors(back_from_end(io, 1), &mut sector))?;
    holds("sizes do not change", (io.sector_size(), io.total_sectors()) == before)
}

fn reads_what_was_written(io: &dyn SectorIo) -> Outcome {
    for durability in [Durability::AtNextFlush, Durability::OnReturn] {
        for (lba, sectors) in [(Lba::ZERO, 1), (Lba::new(3), 5), (back_from_end(io, 1), 1), (back_from_end(io, 4), 4)] {
            let written = buffer(io, sectors, 7)?;
            must("an aligned extent inside the volume can be written", io.write_sectors(lba, &written, durability))?;
            let mut read = buffer(io, sectors, 99)?;
            must("an aligned extent inside the volume can be read", io.read_sectors(lba, &mut read))?;
            holds("a read returns what was last written", read == written)?;
        }
    }
    Ok(())
}

fn leaves_neighbours_alone(io: &dyn SectorIo) -> Outcome {
    let mut expected = buffer(io, 8, 1)?;
    must("eight sectors can be written", io.write_sectors(Lba::new(4), &expected, Durability::AtNextFlush))?;
    let size = io.sector_size().usize();
    let inner = buffer(io, 2, 200)?;
    must("two sectors can be written", io.write_sectors(Lba::new(7), &inner, Durability::AtNextFlush))?;
    for (to, from) in expected.iter_mut().skip(size.saturating_mul(3)).zip(&inner) {
        *to = *from;
    }
    let mut read = buffer(io, 8, 0)?;
    must("eight sectors can be read", io.read_sectors(Lba::new(4), &mut read))?;
    holds("a write changes its own sectors and no other", read == expected)
}

fn refuses_bad_extents(io: &dyn SectorIo) -> Outcome {
    let contents = buffer(io, 2, 30)?;
    let tail = back_from_end(io, 2);
    must("the last two sectors can be written", io.write_sectors(tail, &contents, Durability::OnReturn))?;
    let end = Lba::new(io.total_sectors().get());
    let size = io.sector_size().usize();
    let bad = [
        (Lba::ZERO, 0),
        (Lba::ZERO, 1),
        (Lba::ZERO, size.saturating_sub(1)),
        (Lba::ZERO, size.saturating_add(1)),
        (end, size),
        (back_from_end(io, 1), size.saturating_mul(2)),
        (Lba::new(u64::MAX), size),
        (Lba::new(u64::MAX / io.sector_size().u64()), size.saturating_mul(2)),
    ];
    let mut scratch = buffer(io, 2, 60)?;
    for (lba, len) in bad {
        let Some(part) = scratch.get_mut(..len) else { continue };
        let refused = |result| matches!(result, Err(VckError::InvalidData(_)));
        holds("a bad extent is not read", refused(io.read_sectors(lba, part)))?;
        holds("a bad extent is not written", refused(io.write_sectors(lba, part, Durability::AtNextFlush)))?;
    }
    let mut read = buffer(io, 2, 0)?;
    must("the last two sectors can be read", io.read_sectors(tail, &mut read))?;
    holds("a refused write changes nothing", read == contents)
}

fn last_write_wins(io: &dyn SectorIo) -> Outcome {
    let lba = Lba::new(2);
    let last = buffer(io, 1, 80)?;
    for fill in [10, 200, 80] {
        let sector = buffer(io, 1, fill)?;
        must("a sector can be written again", io.write_sectors(lba, &sector, Durability::AtNextFlush))?;
    }
    let mut read = buffer(io, 1, 0)?;
    must("a sector can be read", io.read_sectors(lba, &mut read))?;
    holds("the last of several writes is read", read == last)
}

fn flushes(io: &dyn SectorIo) -> Outcome {
    must("a flush with nothing to do succeeds", io.flush())?;
    let written = buffer(io, 3, 120)?;
    must("three sectors can be written", io.write_sectors(Lba::new(1), &written, Durability::AtNextFlush))?;
    must("a flush succeeds", io.flush())?;
    let mut read = buffer(io, 3, 0)?;
    must("three sectors can be read", io.read_sectors(Lba::new(1), &mut read))?;
    holds("a flush changes nothing that reads see", read == written)?;
    holds("a flush does not change the size", io.total_sectors() > SectorCount::new(3))
}
