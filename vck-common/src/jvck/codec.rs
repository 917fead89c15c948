//! Sealing and unsealing: the seam at which a vendor may replace the cipher of the payload.
//!
//! The container (signature, header fields, salt, vendor bytes, checksum, replicas) stays the same for every codec.

use alloc::boxed::Box;

use aes::Aes256;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{
    header::JvckHeader,
    keys::{DerivedKeys, JvckSecrets, derive_keys},
    layout::{self, BLOCK_SIZE, SALT_SIZE, SEALED_SIZE, SIGNATURE_BYTES, TAG_SIZE, field, put},
};
use crate::{DataSector, Geometry, SectorCount, SectorIo, VckError, VckResult, VendorSector, VolumeState};

/// What a block keeps sealed.
pub struct Unsealed {
    /// The boundary.
    pub encrypted_offset: DataSector,
    /// The direction.
    pub state: VolumeState,
    /// The keys of the data region.
    pub secrets: JvckSecrets,
}

/// One replica as a codec sees it: its block, and access to its vendor area.
pub struct ReplicaCtx<'a> {
    pub(super) header: JvckHeader,
    pub(super) block: &'a [u8; BLOCK_SIZE],
    pub(super) index: usize,
    pub(super) geometry: &'a Geometry,
    pub(super) io: &'a dyn SectorIo,
}

impl ReplicaCtx<'_> {
    /// The plaintext fields of this replica.
    #[must_use]
    pub const fn header(&self) -> &JvckHeader {
        &self.header
    }

    /// The whole block.
    #[must_use]
    pub const fn block(&self) -> &[u8; BLOCK_SIZE] {
        self.block
    }

    /// The sealed part.
    ///
    /// # Errors
    /// None; the block always has it.
    pub fn encrypted_metadata(&self) -> VckResult<&[u8; SEALED_SIZE]> {
        field(self.block, layout::SEALED)
    }

    /// The salt.
    ///
    /// # Errors
    /// None; the block always has it.
    pub fn salt(&self) -> VckResult<&[u8; SALT_SIZE]> {
        field(self.block, layout::SALT)
    }

    /// The volume id.
    #[must_use]
    pub const fn volume_id(&self) -> &[u8; 16] {
        &self.header.volume_id
    }

    /// Headers first, then footers.
    #[must_use]
    pub const fn replica_index(&self) -> usize {
        self.index
    }

    /// Sectors of the vendor area of each replica.
    #[must_use]
    pub const fn vendor_data_sector_count(&self) -> SectorCount {
        self.geometry.vendor_sectors()
    }

    /// Reads whole sectors of this replica's vendor area. May block; `PASSIVE_LEVEL`.
    ///
    /// # Errors
    /// [`VckError::InvalidData`], [`VckError::ValidationFailed`] or the device's error.
    pub fn read_vendor_data(&self, rel: VendorSector, buf: &mut [u8]) -> VckResult<()> {
        read_vendor(self.io, self.geometry, self.index, rel, buf)
    }
}

/// Reads whole sectors of the vendor area of replica `index`.
pub(super) fn read_vendor(
    io: &dyn SectorIo,
    geometry: &Geometry,
    index: usize,
    rel: VendorSector,
    buf: &mut [u8],
) -> VckResult<()> {
    let count = geometry.sector_size().sectors_of_buffer(buf.len())?;
    io.read_sectors(geometry.vendor_lba(index, rel, count)?, buf)
}

/// Seals and unseals the 128-byte payload. `PASSIVE_LEVEL`.
pub trait MetadataCodec: Send + Sync {
    /// Opens one replica.
    ///
    /// # Errors
    /// [`VckError::WrongKey`] for a wrong VMK or a block of another suite; it must never succeed for those.
    fn unseal(&self, replica: &ReplicaCtx<'_>, vmk: &[u8]) -> VckResult<Unsealed>;

    /// Builds a whole block.
    ///
    /// # Errors
    /// [`VckError::CryptoFailed`]; `out` is then not to be used.
    #[expect(
        clippy::too_many_arguments,
        reason = "these are the fields of one block, and a struct of them would own secrets"
    )]
    fn seal(
        &self,
        header: &JvckHeader,
        secrets: &JvckSecrets,
        encrypted_offset: DataSector,
        state: VolumeState,
        salt: &[u8; SALT_SIZE],
        vmk: &[u8],
        out: &mut [u8; BLOCK_SIZE],
    ) -> VckResult<()>;

    /// The boundary alone.
    ///
    /// # Errors
    /// As [`MetadataCodec::unseal`].
    fn read_offset(&self, replica: &ReplicaCtx<'_>, vmk: &[u8]) -> VckResult<DataSector> {
        self.unseal(replica, vmk).map(|unsealed| unsealed.encrypted_offset)
    }
}

impl<T: MetadataCodec + ?Sized> MetadataCodec for Box<T> {
    fn unseal(&self, replica: &ReplicaCtx<'_>, vmk: &[u8]) -> VckResult<Unsealed> {
        (**self).unseal(replica, vmk)
    }

    fn seal(
        &self,
        header: &JvckHeader,
        secrets: &JvckSecrets,
        encrypted_offset: DataSector,
        state: VolumeState,
        salt: &[u8; SALT_SIZE],
        vmk: &[u8],
        out: &mut [u8; BLOCK_SIZE],
    ) -> VckResult<()> {
        (**self).seal(header, secrets, encrypted_offset, state, salt, vmk, out)
    }

    fn read_offset(&self, replica: &ReplicaCtx<'_>, vmk: &[u8]) -> VckResult<DataSector> {
        (**self).read_offset(replica, vmk)
    }
}

/// The built-in suite: AES-256-CBC without padding, then HMAC-SHA256 over the ciphertext.
#[derive(Clone, Copy, Debug, Default)]
pub struct JvckCbcCodec;

/// The built-in codec.
#[must_use]
pub const fn default_codec() -> JvckCbcCodec {
    JvckCbcCodec
}

impl JvckCbcCodec {
    /// Opens the block at the start of `bytes` without a volume around it.
    ///
    /// # Errors
    /// Those of [`JvckHeader::parse`]; [`VckError::WrongKey`] if the tag does not match; [`VckError::BadBlock`] if it does
    /// but the payload is none.
    pub fn unseal_block(bytes: &[u8], vmk: &[u8]) -> VckResult<Unsealed> {
        let header = JvckHeader::parse(bytes)?;
        open_payload(layout::first_block(bytes)?, &header.volume_id, vmk)
    }
}

impl MetadataCodec for JvckCbcCodec {
    fn unseal(&self, replica: &ReplicaCtx<'_>, vmk: &[u8]) -> VckResult<Unsealed> {
        open_payload(replica.block, replica.volume_id(), vmk)
    }

    fn seal(
        &self,
        header: &JvckHeader,
        secrets: &JvckSecrets,
        encrypted_offset: DataSector,
        state: VolumeState,
        salt: &[u8; SALT_SIZE],
        vmk: &[u8],
        out: &mut [u8; BLOCK_SIZE],
    ) -> VckResult<()> {
        header.begin(salt, out)?;
        let mut payload = Zeroizing::new([0; SEALED_SIZE]);
        put(&mut *payload, layout::INNER_SIGNATURE, &SIGNATURE_BYTES)?;
        put(&mut *payload, layout::INNER_OFFSET, &encrypted_offset.get().to_le_bytes())?;
        put(&mut *payload, layout::INNER_STATE, &state.as_u16().to_le_bytes())?;
        put(&mut *payload, layout::INNER_KEY1, secrets.fvek_key1.expose())?;
        put(&mut *payload, layout::INNER_KEY2, secrets.fvek_key2.expose())?;
        let keys = derive_keys(&header.volume_id, salt, vmk)?;
        let (blocks, _) = aes::Block::slice_as_chunks_mut(payload.as_mut_slice());
        cbc::Encryptor::<Aes256>::new(keys.enc_key.expose().into(), keys.enc_iv.expose().into()).encrypt_blocks(blocks);
        put(out, layout::SEALED, &*payload)?;
        put(out, layout::TAG, &tag_state(&keys, &payload)?.finalize().into_bytes())?;
        JvckHeader::finish(out)
    }
}

fn tag_state(keys: &DerivedKeys, sealed: &[u8; SEALED_SIZE]) -> VckResult<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(keys.mac_key.expose())
        .map_err(|_| VckError::CryptoFailed("the tag of a metadata block"))?;
    mac.update(sealed);
    Ok(mac)
}

fn open_payload(block: &[u8; BLOCK_SIZE], volume_id: &[u8; 16], vmk: &[u8]) -> VckResult<Unsealed> {
    let keys = derive_keys(volume_id, field(block, layout::SALT)?, vmk)?;
    let sealed: &[u8; SEALED_SIZE] = field(block, layout::SEALED)?;
    let tag: &[u8; TAG_SIZE] = field(block, layout::TAG)?;
    // `verify` compares in constant time.
    tag_state(&keys, sealed)?.verify(tag.into()).map_err(|_| VckError::WrongKey)?;
    let mut payload = Zeroizing::new(*sealed);
    let (blocks, _) = aes::Block::slice_as_chunks_mut(payload.as_mut_slice());
    cbc::Decryptor::<Aes256>::new(keys.enc_key.expose().into(), keys.enc_iv.expose().into()).decrypt_blocks(blocks);
    let payload = &*payload;
    if field::<4>(payload, layout::INNER_SIGNATURE)? != &SIGNATURE_BYTES
        || field::<12>(payload, layout::INNER_ZERO)? != &[0; 12]
    {
        return Err(VckError::BadBlock("the sealed part is not a JVCK payload"));
    }
    Ok(Unsealed {
        encrypted_offset: DataSector::new(u64::from_le_bytes(*field(payload, layout::INNER_OFFSET)?)),
        state: VolumeState::from_u16(u16::from_le_bytes(*field(payload, layout::INNER_STATE)?)),
        secrets: JvckSecrets::copy_from(field(payload, layout::INNER_KEY1)?, field(payload, layout::INNER_KEY2)?),
    })
}
