//! The sector cipher seam.

use alloc::{boxed::Box, sync::Arc};

use crate::xts::{ExtendedMask, WideRegisters};
use crate::{DataSector, SectorSize};

/// A length-preserving cipher over runs of whole sectors. Infallible; callable at any IRQL up to `DISPATCH_LEVEL`.
///
/// The methods without `wide` in their name must do with general registers and xmm. The `_wide` methods get proof that
/// the extended state is saved; their default is the narrow method, so a cipher without wide code ignores them. Both
/// kinds give the same bytes.
///
/// Buffers are whole sectors. If one is not, the trailing part is treated as a short sector of its whole 16-byte blocks,
/// and the last `len % 16` bytes are left as they are by the in-place methods and zeroed by [`VolumeCipher::encrypt_copy`],
/// which never lets a source byte through unencrypted.
pub trait VolumeCipher: Send + Sync {
    /// Encrypts `buf` (whole sectors, the first of which is `first`) in place.
    fn encrypt_area(&self, buf: &mut [u8], sector_size: SectorSize, first: DataSector);

    /// Decrypts `buf` in place.
    fn decrypt_area(&self, buf: &mut [u8], sector_size: SectorSize, first: DataSector);

    /// Encrypts `src` into `dst` of the same length, reading each byte of `src` once: another thread may be changing it.
    ///
    /// If the lengths differ, the shorter counts; the rest of `dst` is zeroed.
    fn encrypt_copy(&self, src: &[u8], dst: &mut [u8], sector_size: SectorSize, first: DataSector);

    /// The extended state that the `_wide` methods make use of; empty when saving it would be in vain.
    fn wide_state(&self) -> ExtendedMask {
        ExtendedMask::empty()
    }

    /// [`VolumeCipher::encrypt_area`] that may use the registers of `registers`. If some of [`VolumeCipher::wide_state`]
    /// are missing there it does with fewer.
    fn encrypt_area_wide(
        &self,
        buf: &mut [u8],
        sector_size: SectorSize,
        first: DataSector,
        registers: WideRegisters<'_>,
    ) {
        let _ = registers;
        self.encrypt_area(buf, sector_size, first);
    }

    /// [`VolumeCipher::decrypt_area`] that may use the registers of `registers`.
    fn decrypt_area_wide(
        &self,
        buf: &mut [u8],
        sector_size: SectorSize,
        first: DataSector,
        registers: WideRegisters<'_>,
    ) {
        let _ = registers;
        self.decrypt_area(buf, sector_size, first);
    }

    /// [`VolumeCipher::encrypt_copy`] that may use the registers of `registers`.
    fn encrypt_copy_wide(
        &self,
        src: &[u8],
        dst: &mut [u8],
        sector_size: SectorSize,
        first: DataSector,
        registers: WideRegisters<'_>,
    ) {
        let _ = registers;
        self.encrypt_copy(src, dst, sector_size, first);
    }

    /// Encrypts one sector of `sector.len()` bytes in place.
    fn encrypt_sector(&self, sector: &mut [u8], sector_size: SectorSize, number: DataSector) {
        self.encrypt_area(sector, sector_size, number);
    }

    /// Decrypts one sector of `sector.len()` bytes in place.
    fn decrypt_sector(&self, sector: &mut [u8], sector_size: SectorSize, number: DataSector) {
        self.decrypt_area(sector, sector_size, number);
    }
}

macro_rules! forward {
    ($($pointer:ty),+) => {$(
        impl<T: VolumeCipher + ?Sized> VolumeCipher for $pointer {
            fn encrypt_area(&self, buf: &mut [u8], sector_size: SectorSize, first: DataSector) {
                (**self).encrypt_area(buf, sector_size, first);
            }

            fn decrypt_area(&self, buf: &mut [u8], sector_size: SectorSize, first: DataSector) {
                (**self).decrypt_area(buf, sector_size, first);
            }

            fn encrypt_copy(&self, src: &[u8], dst: &mut [u8], sector_size: SectorSize, first: DataSector) {
                (**self).encrypt_copy(src, dst, sector_size, first);
            }

            fn wide_state(&self) -> ExtendedMask {
                (**self).wide_state()
            }

            fn encrypt_area_wide(
                &self,
                buf: &mut [u8],
                sector_size: SectorSize,
                first: DataSector,
                registers: WideRegisters<'_>,
            ) {
                (**self).encrypt_area_wide(buf, sector_size, first, registers);
            }

            fn decrypt_area_wide(
                &self,
                buf: &mut [u8],
                sector_size: SectorSize,
                first: DataSector,
                registers: WideRegisters<'_>,
            ) {
                (**self).decrypt_area_wide(buf, sector_size, first, registers);
            }

            fn encrypt_copy_wide(
                &self,
                src: &[u8],
                dst: &mut [u8],
                sector_size: SectorSize,
                first: DataSector,
                registers: WideRegisters<'_>,
            ) {
                (**self).encrypt_copy_wide(src, dst, sector_size, first, registers);
            }
        }
    )+};
}

forward!(&T, Arc<T>, Box<T>);
