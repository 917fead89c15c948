//! Key derivation: HKDF-SHA256 with salt `volume_id || salt` and the VMK as input, one expansion per purpose.

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

use super::{layout::SALT_SIZE, record::DIGEST_KEY_SIZE};
use crate::{Secret, VckError, VckResult};

/// The two keys of the data region.
pub struct JvckSecrets {
    /// Encrypts data.
    pub fvek_key1: Secret<32>,
    /// Encrypts tweaks.
    pub fvek_key2: Secret<32>,
}

impl JvckSecrets {
    /// Copies both keys. The caller still has to wipe its own copies.
    #[must_use]
    pub const fn copy_from(key1: &[u8; 32], key2: &[u8; 32]) -> Self {
        Self { fvek_key1: Secret::copy_from(key1), fvek_key2: Secret::copy_from(key2) }
    }

    /// A second copy, made where a visible act of copying is needed.
    #[must_use]
    pub const fn duplicate(&self) -> Self {
        Self::copy_from(self.fvek_key1.expose(), self.fvek_key2.expose())
    }
}

/// The keys that seal one block.
pub struct DerivedKeys {
    /// Authenticates the ciphertext.
    pub mac_key: Secret<32>,
    /// Encrypts the payload.
    pub enc_key: Secret<32>,
    /// Initialisation vector of the payload.
    pub enc_iv: Secret<16>,
}

/// Derives the keys of the block with this volume id and salt.
///
/// # Errors
/// [`VckError::CryptoFailed`]; it does not happen with these lengths.
pub fn derive_keys(volume_id: &[u8; 16], salt: &[u8; SALT_SIZE], vmk: &[u8]) -> VckResult<DerivedKeys> {
    let mut context = [0; 32];
    let (front, back) = context.split_at_mut(16);
    front.copy_from_slice(volume_id);
    back.copy_from_slice(salt);
    let expander = expander(&context, vmk)?;
    let mut keys = DerivedKeys { mac_key: Secret::zeroed(), enc_key: Secret::zeroed(), enc_iv: Secret::zeroed() };
    let purposes: [(&[u8], &mut [u8]); 3] = [
        (b"EncryptedMetadata:MAC", keys.mac_key.expose_mut()),
        (b"EncryptedMetadata:ENC", keys.enc_key.expose_mut()),
        (b"EncryptedMetadata:IV", keys.enc_iv.expose_mut()),
    ];
    for (info, out) in purposes {
        expander.expand(info, out).map_err(|_| VckError::CryptoFailed("key derivation"))?;
    }
    Ok(keys)
}

/// The keys of the conversion record. They do not depend on the salt of a block, so that they stay the same when blocks change.
pub(super) struct RecordKeys {
    /// Authenticates the record.
    pub(super) mac: Secret<32>,
    /// Keys the digests of sectors.
    pub(super) digest: Secret<DIGEST_KEY_SIZE>,
}

/// Derives the keys of the record of the volume with this id.
pub(super) fn derive_record_keys(volume_id: &[u8; 16], vmk: &[u8]) -> VckResult<RecordKeys> {
    let expander = expander(volume_id, vmk)?;
    let mut keys = RecordKeys { mac: Secret::zeroed(), digest: Secret::zeroed() };
    let purposes: [(&[u8], &mut [u8]); 2] =
        [(b"ConversionRecord:MAC", keys.mac.expose_mut()), (b"ConversionRecord:Digest", keys.digest.expose_mut())];
    for (info, out) in purposes {
        expander.expand(info, out).map_err(|_| VckError::CryptoFailed("key derivation"))?;
    }
    Ok(keys)
}

/// The extract step, spelt out so that the pseudo-random key can be wiped.
fn expander(context: &[u8], vmk: &[u8]) -> VckResult<Hkdf<Sha256>> {
    let failed = VckError::CryptoFailed("key derivation");
    let mut extract = Hmac::<Sha256>::new_from_slice(context).map_err(|_| failed)?;
    extract.update(vmk);
    let mut prk = extract.finalize().into_bytes();
    let expander = Hkdf::<Sha256>::from_prk(&prk);
    prk.as_mut_slice().zeroize();
    expander.map_err(|_| failed)
}
