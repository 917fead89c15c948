//! Where replicas, vendor areas and the data region lie. The only converter between the units.
//!
//! ```text
//!  LBA 0                 offset_sector                       footer_start             volume_sectors
//!  | header 0 | header 1 |            data region            | footer 0 | footer 1    |
//!  ^metadata, then vendor             rel 0..data_sectors      vendor, then metadata^
//! ```

use super::{
    ByteLen, ByteOffset, DataExtent, DataSector, Extent, Lba, RangeClass, RequestorKind, SectorCount, SectorSize,
    VendorSector,
};
use crate::{VckError, VckResult};

/// The smallest replica region a new volume may have, in bytes.
pub const MIN_METADATA_SIZE: u32 = 131_072;

/// The most replicas at either end of the volume; the on-disk count is one byte.
pub const MAX_REPLICAS_PER_END: u32 = 255;

/// Sizes and positions on one volume.
///
/// # Invariants
/// `offset + data + footers * replica <= volume_sectors`, `data >= 1`, and `volume_sectors * sector_size` fits an `i64`,
/// because the I/O manager states byte offsets as signed 64-bit numbers. No position inside the volume therefore overflows;
/// what is asked about positions outside it is answered through checked arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    sector_size: SectorSize,
    volume_sectors: u64,
    headers: u8,
    footers: u8,
    metadata_size: u32,
    /// Sectors of one replica region.
    replica: u64,
    /// First data LBA.
    offset: u64,
    data: u64,
    /// First LBA of footer 0; the end of the volume if there is none.
    footer_start: u64,
}

impl Geometry {
    /// The geometry of a volume about to be created.
    ///
    /// # Errors
    /// [`VckError::ValidationFailed`] for more than 255 replicas at one end, none at all, or a metadata size below
    /// [`MIN_METADATA_SIZE`]; [`VckError::NoRoom`] when no data sector would be left;
    /// [`VckError::Unsupported`] for a volume larger than 2^63 bytes.
    pub fn new(
        sector_size: SectorSize,
        volume_sectors: SectorCount,
        headers: u32,
        footers: u32,
        metadata_size: u32,
    ) -> VckResult<Self> {
        let too_many = VckError::ValidationFailed("more than 255 metadata replicas at one end of the volume");
        let (Ok(headers), Ok(footers)) = (u8::try_from(headers), u8::try_from(footers)) else {
            return Err(too_many);
        };
        if metadata_size < MIN_METADATA_SIZE {
            return Err(VckError::ValidationFailed("the metadata size is below 131072 bytes"));
        }
        Self::open(sector_size, volume_sectors, headers, footers, metadata_size)
    }

    /// The geometry stated by a block that was found on the volume. Unlike [`Geometry::new`] it accepts a metadata size
    /// below the minimum, because such volumes exist and opening them harms nothing.
    ///
    /// # Errors
    /// As [`Geometry::new`], without the minimum size.
    pub fn open(
        sector_size: SectorSize,
        volume_sectors: SectorCount,
        headers: u8,
        footers: u8,
        metadata_size: u32,
    ) -> VckResult<Self> {
        check_volume_size(sector_size, volume_sectors)?;
        let replica = u64::from(metadata_size) >> sector_size.shift();
        if replica == 0 {
            return Err(VckError::ValidationFailed("a metadata replica is smaller than one sector"));
        }
        if headers == 0 && footers == 0 {
            return Err(VckError::ValidationFailed("no metadata replica was asked for"));
        }
        let room = VckError::NoRoom("the metadata replicas leave no data sector on this volume");
        let offset = u64::from(headers).checked_mul(replica).ok_or(room)?;
        let behind = u64::from(footers).checked_mul(replica).ok_or(room)?;
        let footer_start = volume_sectors.get().checked_sub(behind).ok_or(room)?;
        let data = footer_start.checked_sub(offset).filter(|&data| data > 0).ok_or(room)?;
        let volume_sectors = volume_sectors.get();
        Ok(Self { sector_size, volume_sectors, headers, footers, metadata_size, replica, offset, data, footer_start })
    }

    /// The geometry of a volume without JVCK metadata, as a provider states it: `data_sectors` from LBA `offset`.
    ///
    /// # Errors
    /// [`VckError::ValidationFailed`] if the region is empty or does not fit the volume;
    /// [`VckError::Unsupported`] for a volume larger than 2^63 bytes.
    pub fn whole(
        sector_size: SectorSize,
        volume_sectors: SectorCount,
        offset: Lba,
        data_sectors: SectorCount,
    ) -> VckResult<Self> {
        check_volume_size(sector_size, volume_sectors)?;
        let fits = offset.checked_add(data_sectors).is_some_and(|end| end.get() <= volume_sectors.get());
        if data_sectors.is_zero() || !fits {
            return Err(VckError::ValidationFailed("the data region is empty or does not fit the volume"));
        }
        Ok(Self {
            sector_size,
            volume_sectors: volume_sectors.get(),
            headers: 0,
            footers: 0,
            metadata_size: 0,
            replica: 0,
            offset: offset.get(),
            data: data_sectors.get(),
            footer_start: volume_sectors.get(),
        })
    }

    /// The device's logical sector size.
    #[must_use]
    #[inline]
    pub const fn sector_size(&self) -> SectorSize {
        self.sector_size
    }

    /// Size of the whole volume, metadata included.
    #[must_use]
    pub const fn volume_sectors(&self) -> SectorCount {
        SectorCount::new(self.volume_sectors)
    }

    /// Bytes of one replica region, as stored in the block.
    #[must_use]
    pub const fn metadata_size(&self) -> u32 {
        self.metadata_size
    }

    /// Sectors of one replica region.
    #[must_use]
    pub const fn replica_sectors(&self) -> SectorCount {
        SectorCount::new(self.replica)
    }

    /// Replicas at the front of the volume.
    #[must_use]
    pub const fn header_count(&self) -> u8 {
        self.headers
    }

    /// Replicas at the end of the volume.
    #[must_use]
    pub const fn footer_count(&self) -> u8 {
        self.footers
    }

    /// All replicas; indices run over headers first, then footers.
    #[must_use]
    pub const fn replica_count(&self) -> usize {
        (self.headers as usize).saturating_add(self.footers as usize)
    }

    /// LBA of the first data sector.
    #[must_use]
    pub const fn offset_sector(&self) -> Lba {
        Lba::new(self.offset)
    }

    /// Size of the data region: what the device above shows.
    #[must_use]
    pub const fn data_sectors(&self) -> SectorCount {
        SectorCount::new(self.data)
    }

    /// Size of the data region in bytes.
    #[must_use]
    #[inline]
    pub const fn data_bytes(&self) -> ByteLen {
        ByteLen::new(self.data << self.sector_size.shift())
    }

    /// Size of the whole volume in bytes (whole sectors).
    #[must_use]
    #[inline]
    pub const fn volume_bytes(&self) -> ByteLen {
        ByteLen::new(self.volume_sectors << self.sector_size.shift())
    }

    /// LBA of the sector with the metadata block of replica `index`; `None` if there is no such replica.
    #[must_use]
    pub fn metadata_lba(&self, index: usize) -> Option<Lba> {
        let (start, is_header) = self.replica_start(index)?;
        let last = start.checked_add(self.vendor_sectors())?;
        Some(if is_header { start } else { last })
    }

    /// LBAs of all metadata blocks in index order, which is the write order.
    pub fn metadata_lbas(&self) -> impl Iterator<Item = Lba> + '_ {
        (0..self.replica_count()).filter_map(|index| self.metadata_lba(index))
    }

    /// The replica whose metadata block lies at `lba`.
    #[must_use]
    pub fn replica_at(&self, lba: Lba) -> Option<usize> {
        (0..self.replica_count()).find(|&index| self.metadata_lba(index) == Some(lba))
    }

    /// LBA of the first vendor-data sector of replica `index`; `None` if there is no such replica.
    #[must_use]
    pub fn vendor_base_lba(&self, index: usize) -> Option<Lba> {
        let (start, is_header) = self.replica_start(index)?;
        let second = start.checked_add(SectorCount::new(1))?;
        Some(if is_header { second } else { start })
    }

    /// Vendor-data sectors of each replica.
    #[must_use]
    pub const fn vendor_sectors(&self) -> SectorCount {
        SectorCount::new(self.replica.saturating_sub(1))
    }

    /// LBA of vendor sector `rel` of replica `index`, after checking that `count` sectors from there are vendor data.
    ///
    /// # Errors
    /// [`VckError::NotFound`] for an unknown replica, [`VckError::ValidationFailed`] outside the vendor area.
    pub fn vendor_lba(&self, index: usize, rel: VendorSector, count: SectorCount) -> VckResult<Lba> {
        let base = self.vendor_base_lba(index).ok_or(VckError::NotFound("there is no such metadata replica"))?;
        let inside = rel.checked_add(count).is_some_and(|end| end.get() <= self.vendor_sectors().get());
        if !inside {
            return Err(VckError::ValidationFailed("the request leaves the vendor area of the replica"));
        }
        base.checked_add(SectorCount::new(rel.get()))
            .ok_or(VckError::ValidationFailed("the request leaves the vendor area of the replica"))
    }

    /// The LBA of a data sector; `None` outside the data region.
    #[must_use]
    pub const fn data_to_lba(&self, sector: DataSector) -> Option<Lba> {
        if sector.get() >= self.data {
            return None;
        }
        self.offset_sector().checked_add(SectorCount::new(sector.get()))
    }

    /// The data sector at `lba`; `None` outside the data region.
    #[must_use]
    pub const fn lba_to_data(&self, lba: Lba) -> Option<DataSector> {
        match lba.get().checked_sub(self.offset) {
            Some(rel) if rel < self.data => Some(DataSector::new(rel)),
            _ => None,
        }
    }

    /// The byte offset on the volume of a byte offset in the data region; `None` on overflow. It does not check that the
    /// offset lies in the data region: classify the extent first.
    #[must_use]
    #[inline]
    pub const fn shift(&self, data_offset: ByteOffset) -> Option<ByteOffset> {
        data_offset.checked_add(ByteLen::new(self.offset << self.sector_size.shift()))
    }

    /// The byte extent, relative to the data region, of a run of data sectors; `None` if it leaves the region.
    #[must_use]
    pub fn byte_extent(&self, extent: DataExtent) -> Option<Extent> {
        if extent.end()?.get() > self.data {
            return None;
        }
        let shift = self.sector_size.shift();
        Some(Extent::new(ByteOffset::new(extent.first.get() << shift), ByteLen::new(extent.count.get() << shift)))
    }

    /// Decides about a request by its whole extent, never by its first sector alone.
    ///
    /// `extent.offset` counts from the start of the data region, as the request states it.
    #[must_use]
    #[inline]
    pub fn classify(&self, extent: Extent, requestor: RequestorKind) -> RangeClass {
        let size = self.sector_size;
        if !size.is_aligned(extent.offset.get()) || !size.is_aligned(extent.len.get()) {
            return RangeClass::Misaligned;
        }
        if extent.end().is_some_and(|end| end.get() <= self.data_bytes().get()) {
            let first = DataSector::new(extent.offset.get() >> size.shift());
            return RangeClass::Data(DataExtent::new(first, size.sectors_in(extent.len)));
        }
        let starts_inside = self.shift(extent.offset).is_some_and(|start| start.get() < self.volume_bytes().get());
        match requestor {
            RequestorKind::User if starts_inside => RangeClass::MetadataDenied,
            RequestorKind::User | RequestorKind::Kernel => RangeClass::OutOfRange,
        }
    }

    /// First LBA of the region of replica `index`, and whether it is a header.
    fn replica_start(&self, index: usize) -> Option<(Lba, bool)> {
        if index >= self.replica_count() {
            return None;
        }
        let (base, position) = match index.checked_sub(usize::from(self.headers)) {
            None => (0, index),
            Some(position) => (self.footer_start, position),
        };
        let before = u64::try_from(position).ok()?.checked_mul(self.replica)?;
        Some((Lba::new(base.checked_add(before)?), index < usize::from(self.headers)))
    }
}

fn check_volume_size(sector_size: SectorSize, volume_sectors: SectorCount) -> VckResult<()> {
    let limit = i64::MAX.unsigned_abs();
    if sector_size.bytes_of(volume_sectors).is_some_and(|bytes| bytes.get() <= limit) {
        return Ok(());
    }
    Err(VckError::Unsupported("the volume is larger than 2^63 bytes"))
}
