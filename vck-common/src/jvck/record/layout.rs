//! Byte layout of a conversion record, and where its two slots lie. Little-endian throughout.
//!
//! ```text
//! slot   | header 512 | damaged sectors 1024 | digests, 8 bytes per sector of the zone ... zeros to a whole sector |
//! header replica  | block | ..4 KiB | slot 0 | slot 1 | ...            footer replica  | slot 0 | slot 1 | ... | block |
//! ```
//! Slots begin and end on multiples of 4096 bytes from the start of the replica region, so that on a device with larger
//! physical sectors a torn write of one slot cannot harm the other or the block.

use core::ops::Range;

use crate::{Geometry, SectorCount, VendorSector, journal::MAX_DAMAGED};

/// Not `JVCK`: the search for metadata blocks must never stop at a record.
pub(super) const MAGIC_BYTES: [u8; 8] = *b"VCKRECRD";
/// The only version of the record.
pub(super) const RECORD_VERSION: u16 = 1;
/// Salts of blocks that may be on disk.
pub(super) const MAX_SALTS: usize = 15;
/// Digests that a slot holds at most, however large the vendor area is.
pub(super) const MAX_DIGESTS: usize = 16384;
/// A slot with room for fewer digests is not worth having.
const MIN_DIGESTS: usize = 64;
/// Slots are aligned to this, in bytes.
const SLOT_ALIGNMENT: u32 = 4096;

pub(super) const MAGIC: Range<usize> = 0..8;
pub(super) const VERSION: Range<usize> = 8..10;
pub(super) const ACTIVITY: Range<usize> = 10..11;
pub(super) const DIRECTION: Range<usize> = 11..12;
pub(super) const SECTOR_SIZE: Range<usize> = 12..16;
pub(super) const VOLUME_ID: Range<usize> = 16..32;
pub(super) const GENERATION: Range<usize> = 32..40;
pub(super) const BOUNDARY: Range<usize> = 40..48;
pub(super) const ZONE_FIRST: Range<usize> = 48..56;
pub(super) const ZONE_COUNT: Range<usize> = 56..64;
pub(super) const VOLUME_SECTORS: Range<usize> = 64..72;
pub(super) const ERROR_LBA: Range<usize> = 72..80;
pub(super) const ERROR_STATUS: Range<usize> = 80..84;
pub(super) const ERROR_COUNT: Range<usize> = 84..88;
pub(super) const ERROR_KIND: Range<usize> = 88..89;
pub(super) const HAS_ERROR: Range<usize> = 89..90;
pub(super) const SALT_COUNT: Range<usize> = 90..91;
pub(super) const HAS_UPCOMING: Range<usize> = 91..92;
pub(super) const DAMAGED_COUNT: Range<usize> = 92..94;
pub(super) const ZERO: Range<usize> = 94..96;
pub(super) const REPLICAS: Range<usize> = 96..128;
pub(super) const BLOCK_HEADER: Range<usize> = 128..160;
pub(super) const UPCOMING: Range<usize> = 160..176;
pub(super) const SALTS: Range<usize> = 176..416;
pub(super) const RESERVED: Range<usize> = 416..480;
pub(super) const MAC: Range<usize> = 480..512;
pub(super) const DAMAGED: Range<usize> = 512..1536;
/// Where the digests begin.
pub(super) const DIGESTS: usize = 1536;

/// Bytes of one digest.
pub(super) const DIGEST_SIZE: usize = 8;
/// Bytes of one damaged sector: its number, and in the top bit why; the digest of what it held, or 0.
pub(super) const DAMAGED_SIZE: usize = 16;
/// Set for a sector that could not be read, clear for a torn one.
pub(super) const DAMAGED_UNREADABLE: u64 = 1 << 63;

const fn len(range: &Range<usize>) -> usize {
    range.end.saturating_sub(range.start)
}

/// The fields of the header before the digests of the volume.
const LEADING: [Range<usize>; 20] = [
    MAGIC,
    VERSION,
    ACTIVITY,
    DIRECTION,
    SECTOR_SIZE,
    VOLUME_ID,
    GENERATION,
    BOUNDARY,
    ZONE_FIRST,
    ZONE_COUNT,
    VOLUME_SECTORS,
    ERROR_LBA,
    ERROR_STATUS,
    ERROR_COUNT,
    ERROR_KIND,
    HAS_ERROR,
    SALT_COUNT,
    HAS_UPCOMING,
    DAMAGED_COUNT,
    ZERO,
];

const _: () = {
    let mut next = 0;
    let mut rest: &[Range<usize>] = &LEADING;
    while let [first, others @ ..] = rest {
        assert!(first.start == next, "the fields follow each other without a gap");
        next = first.end;
        rest = others;
    }
    assert!(next == REPLICAS.start);
    assert!(REPLICAS.end == BLOCK_HEADER.start && BLOCK_HEADER.end == UPCOMING.start && UPCOMING.end == SALTS.start);
    assert!(SALTS.end == RESERVED.start && RESERVED.end == MAC.start && MAC.end == DAMAGED.start);
    assert!(len(&VOLUME_ID) == 16 && len(&UPCOMING) == 16 && len(&MAC) == 32);
    assert!(len(&REPLICAS) == 32 && len(&BLOCK_HEADER) == 32);
    assert!(len(&SALTS) == MAX_SALTS * 16);
    assert!(len(&DAMAGED) == MAX_DAMAGED * DAMAGED_SIZE);
    assert!(DAMAGED.end == DIGESTS && DIGESTS.is_multiple_of(DIGEST_SIZE));
    assert!(DIGESTS <= SLOT_ALIGNMENT as usize);
};

/// One of the two slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    First,
    Second,
}

impl Slot {
    pub(super) const BOTH: [Self; 2] = [Self::First, Self::Second];

    pub(super) const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// Where the slots of a volume lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slots {
    /// Sectors between multiples of the alignment, at least one.
    unit: u64,
    /// Sectors of one slot.
    sectors: u64,
    bytes: usize,
    /// Whether the block lies before the slots.
    headers: usize,
}

impl Slots {
    /// `None` if two slots do not fit the vendor area.
    pub(super) fn of(geometry: &Geometry) -> Option<Self> {
        let size = geometry.sector_size();
        let unit = u64::from(SLOT_ALIGNMENT / size.bytes()).max(1);
        // One unit is left to the block.
        let half = geometry.replica_sectors().get().checked_div(unit)?.checked_sub(1)? / 2;
        let most = u64::try_from(DIGEST_SIZE.checked_mul(MAX_DIGESTS)?.checked_add(DIGESTS)?).ok()?;
        let most = most.div_ceil(unit.checked_mul(size.u64())?);
        let sectors = half.min(most).checked_mul(unit)?;
        let bytes = usize::try_from(sectors.checked_mul(size.u64())?).ok()?;
        let slots = Self { unit, sectors, bytes, headers: usize::from(geometry.header_count()) };
        (slots.digests() >= MIN_DIGESTS).then_some(slots)
    }

    /// Bytes of one slot.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Digests that fit a slot.
    pub(super) fn digests(&self) -> usize {
        (self.bytes.saturating_sub(DIGESTS) / DIGEST_SIZE).min(MAX_DIGESTS)
    }

    /// The first vendor sector of a slot in replica `index`.
    pub(super) fn start(&self, index: usize, slot: Slot) -> Option<VendorSector> {
        // A header's vendor area begins one sector after its region, behind the block.
        let first = if index < self.headers { self.unit.checked_sub(1)? } else { 0 };
        let start = VendorSector::new(first);
        match slot {
            Slot::First => Some(start),
            Slot::Second => start.checked_add(SectorCount::new(self.sectors)),
        }
    }
}
