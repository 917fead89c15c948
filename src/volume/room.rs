//! Before anything is written: what a PREPARE asks for, what is there, and whether there is room.

use vck_common::jvck::{ExistingMetadata, check_prepared_block, examine_targets, find_block};
use vck_common::{Geometry, Lba, SealedUpdate, SectorCount, SectorIo, VckError, VckResult, bpb, zeroed};

use super::attach::{Prepare, Surveyed};

/// Bytes of a volume that show which file system it carries.
const BOOT_REGION: usize = 4096;
/// Bytes read at a time when a region must be blank.
const CHUNK: usize = 64 * 1024;

impl Surveyed<'_> {
    /// Layout, what its places hold now, and the writes that place the request's block.
    ///
    /// Errors: a request or block that is unusable; metadata that the block would destroy; a request that contradicts the
    /// metadata which is there.
    pub(super) fn plan(&self, request: &Prepare<'_>) -> VckResult<(Geometry, ExistingMetadata, SealedUpdate)> {
        let (size, sectors) = (self.identity.sector_size, self.identity.sectors);
        let mut writes = SealedUpdate::new();
        if request.block.is_empty() {
            let geometry = request.options.geometry(size, sectors)?;
            let Some((_, header)) = find_block(&self.io)? else {
                return Ok((geometry, ExistingMetadata::None, writes));
            };
            if header.geometry(size, sectors)? != geometry {
                return Err(VckError::ContradictsRequest("the volume has metadata with other counts or another size"));
            }
            return Ok((geometry, ExistingMetadata::Identical, writes));
        }
        let (_, geometry) = check_prepared_block(request.block, &request.options, size, sectors, &mut writes)?;
        match examine_targets(&self.io, &geometry, request.block)? {
            ExistingMetadata::SameVolume => {
                Err(VckError::Conflict("the volume has newer metadata of its own: attach it without a block"))
            }
            ExistingMetadata::OtherVolume => {
                Err(VckError::Conflict("the volume has metadata of another id, the only copy of its keys"))
            }
            existing => Ok((geometry, existing, writes)),
        }
    }

    /// Whether the metadata has room beside what is on the volume. Headers need a blank start. Footers need a file system
    /// that ends before them; where none is recognised, a volume that is blank at its start or in their place.
    ///
    /// Errors: [`VckError::NoRoom`].
    pub(super) fn check_room(&self, geometry: &Geometry, existing: ExistingMetadata) -> VckResult<()> {
        let ours = existing == ExistingMetadata::Identical;
        if geometry.offset_sector() > Lba::ZERO {
            let header = SectorCount::new(geometry.offset_sector().get());
            return if ours || self.is_blank(Lba::ZERO, header)? {
                Ok(())
            } else {
                Err(VckError::NoRoom("header replicas need a volume whose beginning is blank"))
            };
        }
        let boot = self.boot_region()?;
        if let Some(found) = bpb::recognise(&boot) {
            return if found.end > geometry.data_bytes() {
                Err(VckError::NoRoom("the file system reaches into the metadata region: shrink it first"))
            } else {
                Ok(())
            };
        }
        let footer = Lba::new(geometry.data_sectors().get());
        let count = self.identity.sectors.get().saturating_sub(footer.get());
        if ours || bpb::is_blank(&boot) || self.is_blank(footer, SectorCount::new(count))? {
            Ok(())
        } else {
            Err(VckError::NoRoom("the end of the volume holds data of a file system that is not recognised"))
        }
    }

    fn boot_region(&self) -> VckResult<alloc::vec::Vec<u8>> {
        let size = self.identity.sector_size.usize();
        let sectors = BOOT_REGION.div_ceil(size).min(usize::try_from(self.identity.sectors.get()).unwrap_or(1));
        let mut boot = zeroed(sectors.saturating_mul(size))?;
        self.io.read_sectors(Lba::ZERO, &mut boot)?;
        Ok(boot)
    }

    /// Whether all of `count` sectors from `first` are zero.
    fn is_blank(&self, first: Lba, count: SectorCount) -> VckResult<bool> {
        let size = self.identity.sector_size;
        let mut buffer = zeroed(CHUNK.max(size.usize()))?;
        let step = size.sectors_of_buffer(buffer.len())?;
        let (mut at, mut left) = (first, count);
        while !left.is_zero() {
            let now = left.min(step);
            let bytes = size.bytes_of(now).and_then(|bytes| usize::try_from(bytes.get()).ok());
            let chunk = bytes.and_then(|bytes| buffer.get_mut(..bytes)).unwrap_or_default();
            self.io.read_sectors(at, chunk)?;
            if !bpb::is_blank(chunk) {
                return Ok(false);
            }
            let end = VckError::InvalidData("the sector number overflows");
            at = at.checked_add(now).ok_or(end)?;
            left = left.checked_sub(now).ok_or(end)?;
        }
        Ok(true)
    }
}
