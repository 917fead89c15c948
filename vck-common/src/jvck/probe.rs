//! Finding a metadata block without a key.
//!
//! Order: the last sector, sector 0, then every sector within [`WINDOW`] bytes of either end from the outside inwards, then
//! the places where a replica would be if regions were larger powers of two. The windows find the healthy replicas of a
//! volume whose outermost sectors are damaged; a sector of user data that merely looks like a block is kept out by the
//! rule that a block's own geometry must put it where it lies.

use alloc::vec::Vec;

use super::{header::JvckHeader, layout::SIGNATURE_BYTES};
use crate::{Geometry, Lba, SectorCount, SectorIo, SectorSize, VckError, VckResult, zeroed};

/// How far from either end every sector is looked at, in bytes.
const WINDOW: u64 = 4 << 20;
/// How much is read at once inside a window, in bytes.
const CHUNK: usize = 64 << 10;
/// log2 of the largest region size that is tried, in bytes.
const LARGEST_REGION_SHIFT: u32 = 30;

/// A block that may be adopted.
pub(super) struct Found {
    pub(super) header: JvckHeader,
    pub(super) geometry: Geometry,
}

/// Finds the block whose header is adopted.
///
/// A block that is intact but cannot belong here, or a sector that cannot be read, does not end the search, but if nothing
/// better turns up it decides the error: "not found" would invite a caller to initialise the volume again.
pub(super) fn adopt(io: &dyn SectorIo) -> VckResult<Found> {
    let (size, total) = (io.sector_size(), io.total_sectors());
    let mut refused = None;
    let mut search = Search::new(io)?;
    let found = search.run(|lba, bytes, outermost| {
        let header = JvckHeader::parse(bytes).ok()?;
        let placed = header.geometry(size, total).and_then(|geometry| {
            let misplaced = VckError::BadBlock("it lies where its own geometry has no replica");
            geometry.replica_at(lba).map(|_| geometry).ok_or(misplaced)
        });
        match placed {
            Ok(geometry) => return Some(Found { header, geometry }),
            Err(error) if outermost => refused = refused.or(Some(error)),
            Err(_) => {}
        }
        None
    });
    found.ok_or_else(|| {
        refused.or(search.failed).unwrap_or(VckError::NotFound("there is no JVCK metadata on this volume"))
    })
}

/// Tells whether an intact JVCK block is on the volume, and where: at either end whatever it says, elsewhere only where its
/// own geometry puts it. May read up to 8 MiB. `PASSIVE_LEVEL`.
///
/// # Errors
/// [`VckError::NoMemory`], or the first read error if no block was found: then nobody can say that there is none.
pub fn find_block(io: &dyn SectorIo) -> VckResult<Option<(Lba, JvckHeader)>> {
    let (size, total) = (io.sector_size(), io.total_sectors());
    let mut search = Search::new(io)?;
    let found = search.run(|lba, bytes, outermost| {
        let header = JvckHeader::parse(bytes).ok()?;
        let placed = || header.geometry(size, total).is_ok_and(|geometry| geometry.replica_at(lba).is_some());
        (outermost || placed()).then_some((lba, header))
    });
    match (found, search.failed) {
        (None, Some(error)) => Err(error),
        (found, _) => Ok(found),
    }
}

struct Search<'a> {
    io: &'a dyn SectorIo,
    size: SectorSize,
    total: u64,
    chunk: Vec<u8>,
    /// The first read error.
    failed: Option<VckError>,
}

impl<'a> Search<'a> {
    fn new(io: &'a dyn SectorIo) -> VckResult<Self> {
        let size = io.sector_size();
        // Without memory for a chunk the search goes on sector by sector.
        let chunk = zeroed(CHUNK.max(size.usize())).or_else(|_| zeroed(size.usize()))?;
        Ok(Self { io, size, total: io.total_sectors().get(), chunk, failed: None })
    }

    /// Shows candidate sectors to `visit(lba, sector, outermost)` until it answers.
    fn run<T>(&mut self, mut visit: impl FnMut(Lba, &[u8], bool) -> Option<T>) -> Option<T> {
        let last = self.total.checked_sub(1)?;
        for lba in [last, 0] {
            if let found @ Some(_) =
                self.range(lba, lba.saturating_add(1), false, &mut |at, bytes| visit(at, bytes, true))
            {
                return found;
            }
        }
        let mut inner = |lba: Lba, bytes: &[u8]| visit(lba, bytes, false);
        let window = WINDOW >> self.size.shift();
        let low = last.saturating_sub(window).max(1);
        let high = window.min(low);
        self.range(low, last, true, &mut inner)
            .or_else(|| self.range(1, high, false, &mut inner))
            .or_else(|| self.large_regions(last, &mut inner))
    }

    /// The neighbours of the outermost replicas if regions are powers of two larger than the windows.
    fn large_regions<T>(&mut self, last: u64, visit: &mut impl FnMut(Lba, &[u8]) -> Option<T>) -> Option<T> {
        (WINDOW.ilog2()..=LARGEST_REGION_SHIFT).find_map(|shift| {
            let region = 1_u64 << shift.saturating_sub(self.size.shift());
            let places = [last.checked_sub(region), Some(region).filter(|&lba| lba < last)];
            places.into_iter().flatten().find_map(|lba| self.range(lba, lba.saturating_add(1), false, visit))
        })
    }

    /// Visits the sectors `start..end`, from the far end if `backwards`.
    fn range<T>(
        &mut self,
        start: u64,
        end: u64,
        backwards: bool,
        visit: &mut impl FnMut(Lba, &[u8]) -> Option<T>,
    ) -> Option<T> {
        let capacity = u64::try_from(self.chunk.len() >> self.size.shift()).ok()?;
        let mut left = start..end;
        while !left.is_empty() {
            let count = capacity.min(left.end.saturating_sub(left.start));
            let first = if backwards { left.end.saturating_sub(count) } else { left.start };
            let found = self.chunk(first, count, backwards, visit);
            if found.is_some() {
                return found;
            }
            left = if backwards { left.start..first } else { first.saturating_add(count)..left.end };
        }
        None
    }

    fn chunk<T>(
        &mut self,
        first: u64,
        count: u64,
        backwards: bool,
        visit: &mut impl FnMut(Lba, &[u8]) -> Option<T>,
    ) -> Option<T> {
        let bytes = usize::try_from(self.size.bytes_of(SectorCount::new(count))?.get()).ok()?;
        let mut chunk = core::mem::take(&mut self.chunk);
        let found = match self.io.read_sectors(Lba::new(first), chunk.get_mut(..bytes)?) {
            Ok(()) => show(chunk.get(..bytes)?, first, self.size, backwards, visit),
            Err(error) if count == 1 => {
                self.failed = self.failed.or(Some(error));
                None
            }
            // One bad sector must not hide the others.
            Err(_) => self.one_by_one(first, count, backwards, chunk.get_mut(..self.size.usize())?, visit),
        };
        self.chunk = chunk;
        found
    }

    fn one_by_one<T>(
        &mut self,
        first: u64,
        count: u64,
        backwards: bool,
        sector: &mut [u8],
        visit: &mut impl FnMut(Lba, &[u8]) -> Option<T>,
    ) -> Option<T> {
        (0..count).find_map(|step| {
            let index = if backwards { count.saturating_sub(step).saturating_sub(1) } else { step };
            let lba = first.saturating_add(index);
            match self.io.read_sectors(Lba::new(lba), sector) {
                Ok(()) => show(sector, lba, self.size, false, visit),
                Err(error) => {
                    self.failed = self.failed.or(Some(error));
                    None
                }
            }
        })
    }
}

/// Visits those sectors of `bytes` that begin with the signature.
fn show<T>(
    bytes: &[u8],
    first: u64,
    size: SectorSize,
    backwards: bool,
    visit: &mut impl FnMut(Lba, &[u8]) -> Option<T>,
) -> Option<T> {
    let mut look = |(sector, lba): (&[u8], u64)| {
        if sector.starts_with(&SIGNATURE_BYTES) { visit(Lba::new(lba), sector) } else { None }
    };
    let sectors = bytes.chunks_exact(size.usize());
    if backwards {
        let last = first.saturating_add(u64::try_from(sectors.len()).ok()?);
        sectors.rev().zip((first..last).rev()).find_map(&mut look)
    } else {
        sectors.zip(first..).find_map(&mut look)
    }
}
