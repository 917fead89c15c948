//! The sector cipher seam.
use crate::{DataSector, SectorSize};

/// A length-preserving cipher over runs of whole sectors. Infallible; callable at any IRQL up to DISPATCH_LEVEL.
pub trait VolumeCipher: Send + Sync {
    /// Encrypts `buf` (whole sectors, the first of which is `first`) in place.
    fn encrypt_area(&self, buf: &mut [u8], sector_size: SectorSize, first: DataSector);
    /// Decrypts `buf` in place.
    fn decrypt_area(&self, buf: &mut [u8], sector_size: SectorSize, first: DataSector);
    /// Encrypts `src` into `dst` of the same length, reading each byte of `src` once.
    fn encrypt_copy(&self, src: &[u8], dst: &mut [u8], sector_size: SectorSize, first: DataSector);
}
