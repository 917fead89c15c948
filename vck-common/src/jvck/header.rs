//! The plaintext fields of a block: parse and encode.
//!
//! Nothing here is authenticated except the volume id (through the keys). What is taken from a header is therefore
//! checked against the device and against the place where the block was found before it is used.

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};
use uuid::Uuid;

use super::layout::{self, BLOCK_SIZE, METADATA_VERSION, SALT_SIZE, SIGNATURE_BYTES, VENDOR_RESERVED_SIZE, field, put};
use crate::{Geometry, SectorCount, SectorSize, VckError, VckResult};

/// The plaintext fields of a metadata block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JvckHeader {
    /// Which vendor's suite sealed the block; 0 is the built-in one.
    pub vendor_id: u64,
    /// Version of the format.
    pub metadata_version: u16,
    /// Version of the vendor's suite.
    pub vendor_version: u16,
    /// Bytes of one replica region, vendor data included.
    pub metadata_size: u32,
    /// Bytes of a sector.
    pub sector_size: u32,
    /// Replicas at the front.
    pub header_replica_count: u8,
    /// Replicas at the end.
    pub footer_replica_count: u8,
    /// Random identity of the volume.
    pub volume_id: [u8; 16],
    /// The vendor's plaintext bytes.
    pub vendor_reserved: [u8; VENDOR_RESERVED_SIZE],
}

impl JvckHeader {
    /// Reads the fields of the block at the start of `bytes`.
    ///
    /// # Errors
    /// In this order: [`VckError::SizeMismatch`] below 512 bytes, [`VckError::SignatureMismatch`],
    /// [`VckError::ChecksumMismatch`].
    pub fn parse(bytes: &[u8]) -> VckResult<Self> {
        let block = layout::first_block(bytes)?;
        if field::<4>(block, layout::SIGNATURE)? != &SIGNATURE_BYTES {
            return Err(VckError::SignatureMismatch);
        }
        if field::<4>(block, layout::CRC)? != &checksum(block) {
            return Err(VckError::ChecksumMismatch);
        }
        let [header_replica_count] = *field(block, layout::HEADER_COUNT)?;
        let [footer_replica_count] = *field(block, layout::FOOTER_COUNT)?;
        Ok(Self {
            vendor_id: u64::from_le_bytes(*field(block, layout::VENDOR_ID)?),
            metadata_version: u16::from_le_bytes(*field(block, layout::VERSION)?),
            vendor_version: u16::from_le_bytes(*field(block, layout::VENDOR_VERSION)?),
            metadata_size: u32::from_le_bytes(*field(block, layout::METADATA_SIZE)?),
            sector_size: u32::from_le_bytes(*field(block, layout::SECTOR_SIZE)?),
            header_replica_count,
            footer_replica_count,
            volume_id: *field(block, layout::VOLUME_ID)?,
            vendor_reserved: *field(block, layout::VENDOR_RESERVED)?,
        })
    }

    /// The header that a new volume of this geometry gets.
    #[must_use]
    pub const fn for_new_volume(geometry: &Geometry, volume_id: [u8; 16]) -> Self {
        Self {
            vendor_id: 0,
            metadata_version: METADATA_VERSION,
            vendor_version: 0,
            metadata_size: geometry.metadata_size(),
            sector_size: geometry.sector_size().bytes(),
            header_replica_count: geometry.header_count(),
            footer_replica_count: geometry.footer_count(),
            volume_id,
            vendor_reserved: [0; VENDOR_RESERVED_SIZE],
        }
    }

    /// The volume id as a UUID, in the big-endian byte order in which it is shown.
    #[must_use]
    pub const fn volume_guid(&self) -> Uuid {
        Uuid::from_bytes(self.volume_id)
    }

    /// The geometry this header states, if it can be a header of a volume of this size on this device.
    ///
    /// # Errors
    /// [`VckError::Unsupported`] for another format version; [`VckError::BadBlock`] for another sector size, no replica, or
    /// replicas that do not fit.
    pub fn geometry(&self, sector_size: SectorSize, volume_sectors: SectorCount) -> VckResult<Geometry> {
        if self.metadata_version != METADATA_VERSION {
            return Err(VckError::Unsupported("the metadata has another format version"));
        }
        if self.sector_size != sector_size.bytes() {
            return Err(VckError::BadBlock("it states another sector size than the device"));
        }
        let (headers, footers) = (self.header_replica_count, self.footer_replica_count);
        Geometry::open(sector_size, volume_sectors, headers, footers, self.metadata_size)
            .map_err(|_| VckError::BadBlock("its replicas do not fit this volume"))
    }

    /// True if both headers can belong to replicas of one volume. The vendor's bytes may differ: an update of them can have
    /// been interrupted.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        let without_vendor_bytes = |header: &Self| Self { vendor_reserved: [0; VENDOR_RESERVED_SIZE], ..*header };
        without_vendor_bytes(self) == without_vendor_bytes(other)
    }

    /// Starts a block: zeros, the plaintext fields, the salt.
    pub(super) fn begin(&self, salt: &[u8; SALT_SIZE], block: &mut [u8; BLOCK_SIZE]) -> VckResult<()> {
        block.fill(0);
        put(block, layout::SIGNATURE, &SIGNATURE_BYTES)?;
        put(block, layout::VENDOR_ID, &self.vendor_id.to_le_bytes())?;
        put(block, layout::VERSION, &self.metadata_version.to_le_bytes())?;
        put(block, layout::VENDOR_VERSION, &self.vendor_version.to_le_bytes())?;
        put(block, layout::METADATA_SIZE, &self.metadata_size.to_le_bytes())?;
        put(block, layout::SECTOR_SIZE, &self.sector_size.to_le_bytes())?;
        put(block, layout::HEADER_COUNT, &[self.header_replica_count])?;
        put(block, layout::FOOTER_COUNT, &[self.footer_replica_count])?;
        put(block, layout::VOLUME_ID, &self.volume_id)?;
        put(block, layout::SALT, salt)?;
        put(block, layout::VENDOR_RESERVED, &self.vendor_reserved)
    }

    /// Ends a block: the checksum over everything before it.
    pub(super) fn finish(block: &mut [u8; BLOCK_SIZE]) -> VckResult<()> {
        let sum = checksum(block);
        put(block, layout::CRC, &sum)
    }
}

fn checksum(block: &[u8; BLOCK_SIZE]) -> [u8; 4] {
    // Without a table: 508 bytes now and then are not worth a kilobyte of image.
    let crc = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);
    crc.checksum(block.get(layout::COVERED).unwrap_or_default()).to_le_bytes()
}
