//! Making a volume, and checking a block that a client made.
//!
//! Writing a block over another volume's block destroys the only copy of that volume's keys, so both ways look first.

use core::sync::atomic::{AtomicBool, AtomicU64};

use super::{
    codec::MetadataCodec,
    header::JvckHeader,
    keys::JvckSecrets,
    layout::{BLOCK_SIZE, SALT_SIZE, block_salt, first_block},
    probe::find_block,
    record::Blocks,
    recovery::{OpenReport, ReplicaSet},
    store::{JvckMetadataStore, pack},
};
use crate::{
    DataSector, Durability, Geometry, RandomSource, SealedUpdate, SecretBytes, SectorCount, SectorIo, SectorSize,
    VckError, VckResult, VolumeState, zeroed,
};

/// How many replicas a volume gets, and how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JvckMetadataOptions {
    /// Replicas at the front.
    pub use_header: u32,
    /// Replicas at the end.
    pub use_footer: u32,
    /// Bytes per replica, vendor data included.
    pub metadata_size: u32,
}

impl Default for JvckMetadataOptions {
    /// What the tools use: two footers of 128 KiB.
    fn default() -> Self {
        Self { use_header: 0, use_footer: 2, metadata_size: crate::units::MIN_METADATA_SIZE }
    }
}

impl JvckMetadataOptions {
    /// The geometry of a new volume with these options.
    ///
    /// # Errors
    /// Those of [`Geometry::new`].
    pub fn geometry(&self, sector_size: SectorSize, volume_sectors: SectorCount) -> VckResult<Geometry> {
        Geometry::new(sector_size, volume_sectors, self.use_header, self.use_footer, self.metadata_size)
    }
}

/// What the places of a new block hold now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExistingMetadata {
    /// No JVCK block.
    None,
    /// The very block that is to be written: an earlier attempt. Writing it again changes nothing.
    Identical,
    /// Another block of the same volume. Its boundary may have moved on: attach it instead of writing.
    SameVolume,
    /// The block of another volume. It may be the only copy of that volume's keys.
    OtherVolume,
}

impl ExistingMetadata {
    const fn rank(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Identical => 1,
            Self::SameVolume => 2,
            Self::OtherVolume => 3,
        }
    }

    fn worse(self, other: Self) -> Self {
        if other.rank() > self.rank() { other } else { self }
    }
}

/// Lists the writes that place `block` in every replica, in index order. The salt of the block identifies the update.
///
/// # Errors
/// [`VckError::NoMemory`]; `out` is then empty.
pub(super) fn place_block(geometry: &Geometry, block: &[u8; BLOCK_SIZE], out: &mut SealedUpdate) -> VckResult<()> {
    let size = geometry.sector_size();
    out.clear();
    out.reserve(geometry.replica_count(), size.usize())?;
    let mut places = geometry.metadata_lbas();
    let Some(first) = places.next() else {
        return Err(VckError::ValidationFailed("no metadata replica was asked for"));
    };
    let listed = out.push_sector(first, block, size).and_then(|()| places.try_for_each(|lba| out.push_same(lba)));
    match listed.and_then(|()| block_salt(block)) {
        Ok(salt) => out.set_identity(salt),
        Err(error) => {
            out.clear();
            return Err(error);
        }
    }
    Ok(())
}

/// Checks a block that a client sealed, and the request that carries it, before anything is written. Lists the writes that
/// place it.
///
/// # Errors
/// For the request: those of [`Geometry::new`]. For the block: [`VckError::SizeMismatch`], [`VckError::SignatureMismatch`],
/// [`VckError::ChecksumMismatch`], [`VckError::Unsupported`] for another format version, [`VckError::BadBlock`] for another
/// sector size. [`VckError::ContradictsRequest`] if the two differ in counts or size.
pub fn check_prepared_block(
    block: &[u8],
    options: &JvckMetadataOptions,
    sector_size: SectorSize,
    volume_sectors: SectorCount,
    writes: &mut SealedUpdate,
) -> VckResult<(JvckHeader, Geometry)> {
    let geometry = options.geometry(sector_size, volume_sectors)?;
    let header = JvckHeader::parse(block)?;
    if u32::from(header.header_replica_count) != options.use_header
        || u32::from(header.footer_replica_count) != options.use_footer
    {
        return Err(VckError::ContradictsRequest("it states other replica counts"));
    }
    if header.metadata_size != options.metadata_size {
        return Err(VckError::ContradictsRequest("it states another metadata size"));
    }
    header.geometry(sector_size, volume_sectors)?;
    place_block(&geometry, first_block(block)?, writes)?;
    Ok((header, geometry))
}

/// Looks for JVCK blocks that writing `block` into every replica of `geometry` would destroy or hide. `PASSIVE_LEVEL`.
///
/// # Errors
/// [`VckError::SizeMismatch`] or the like if `block` is none; the first read error, since a place that cannot be read may hold
/// anything.
pub fn examine_targets(io: &dyn SectorIo, geometry: &Geometry, block: &[u8]) -> VckResult<ExistingMetadata> {
    let (block, header) = (first_block(block)?, JvckHeader::parse(block)?);
    let mut sector = zeroed(geometry.sector_size().usize())?;
    let mut worst = ExistingMetadata::None;
    let elsewhere = find_block(io)?.map(|(lba, _)| lba);
    for lba in geometry.metadata_lbas().chain(elsewhere) {
        io.read_sectors(lba, &mut sector)?;
        worst = worst.worse(match JvckHeader::parse(&sector) {
            Err(_) => ExistingMetadata::None,
            Ok(_) if sector.starts_with(block) => ExistingMetadata::Identical,
            Ok(found) if found.volume_id == header.volume_id => ExistingMetadata::SameVolume,
            Ok(_) => ExistingMetadata::OtherVolume,
        });
    }
    Ok(worst)
}

impl<S: SectorIo, C: MetadataCodec> JvckMetadataStore<S, C> {
    /// Makes a volume: checks the layout, refuses one that already has metadata, and writes every replica with boundary 0 and
    /// direction encrypt, flushed. Vendor data is not initialised. `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// Those of [`Geometry::new`]; [`VckError::Conflict`] if an intact JVCK block is there; [`VckError::ValidationFailed`] if
    /// the two data keys are equal, which voids the security argument of XTS; codec, random and device errors.
    pub fn create(
        io: S,
        vmk: &[u8],
        options: &JvckMetadataOptions,
        secrets: JvckSecrets,
        volume_id: [u8; 16],
        codec: C,
        random: &dyn RandomSource,
    ) -> VckResult<Self> {
        let geometry = options.geometry(io.sector_size(), io.total_sectors())?;
        if secrets.fvek_key1.expose() == secrets.fvek_key2.expose() {
            return Err(VckError::ValidationFailed("the two data keys are equal"));
        }
        if find_block(&io)?.is_some() {
            return Err(VckError::Conflict("the volume already has JVCK metadata"));
        }
        let header = JvckHeader::for_new_volume(&geometry, volume_id);
        let vmk = SecretBytes::copy_from(vmk)?;
        let mut salt = [0; SALT_SIZE];
        random.fill(&mut salt)?;
        let mut block = [0; BLOCK_SIZE];
        let (offset, state) = (DataSector::ZERO, VolumeState::Encrypt);
        codec.seal(&header, &secrets, offset, state, &salt, vmk.expose(), &mut block)?;
        let mut update = SealedUpdate::new();
        place_block(&geometry, &block, &mut update)?;
        update.apply(&io, Durability::AtNextFlush)?;
        io.flush()?;
        let good = geometry.replica_count();
        let report = OpenReport { adopted: 0, good, stale: ReplicaSet::default(), conflicting: false };
        let mut blocks = Blocks::new();
        blocks.note(&header, &salt);
        let current = AtomicU64::new(pack(offset, state));
        let rewritten = AtomicBool::new(false);
        Ok(Self { io, geometry, header, secrets, codec, vmk, current, report, blocks, rewritten })
    }
}
