//! A cipher that uses wide registers and the pool's threads where that pays.

use vck_common::{ByteLen, DataSector, SectorSize, VolumeCipher};

use crate::nt::{ApcOrBelow, Crew, Event, Piece};

/// Bytes from which saving the extended state costs less than the wide registers gain.
const WIDE_FROM: usize = 32 * 1024;
/// Bytes from which waking helpers costs less than they gain.
const SHARED_FROM: usize = 128 * 1024;
/// Bytes of a piece that one thread takes at a time.
const PIECE: usize = 64 * 1024;

/// A volume's cipher with the pool's help. Gives the same bytes as the cipher alone.
///
/// May be used at any IRQL up to DISPATCH_LEVEL; above APC_LEVEL it is the cipher alone. At or below it, large runs may wait for helpers:
/// not for completion routines.
pub struct HelpedCipher<'a> {
    cipher: &'a dyn VolumeCipher,
    crew: &'a Crew,
    helpers: &'a Event,
}

/// First sector of the piece that starts `from` bytes into a run.
fn sector_at(first: DataSector, size: SectorSize, from: usize) -> DataSector {
    // As in a cipher, numbers wrap: a run that ends beyond 2^64 sectors is on no device.
    DataSector::new(first.get().wrapping_add(size.sectors_in(ByteLen::new(from as u64)).get()))
}

impl<'a> HelpedCipher<'a> {
    pub(super) fn new(cipher: &'a dyn VolumeCipher, crew: &'a Crew, helpers: &'a Event) -> Self {
        Self { cipher, crew, helpers }
    }

    /// Does `wide` to every piece of `data`; false if the run is better left to the cipher alone.
    fn share(&self, data: &mut [u8], size: SectorSize, piece: &Piece<'_>) -> bool {
        let length = data.len();
        let level = if length >= WIDE_FROM { ApcOrBelow::check() } else { None };
        let Some(level) = level else { return false };
        let step = PIECE.saturating_sub(PIECE % size.usize()).max(size.usize());
        let step = if length >= SHARED_FROM { step } else { length };
        self.crew.run(level, self.cipher.wide_state(), data, step, piece, || self.helpers.set());
        true
    }
}

impl VolumeCipher for HelpedCipher<'_> {
    fn encrypt_area(&self, buf: &mut [u8], sector_size: SectorSize, first: DataSector) {
        let shared = self.share(buf, sector_size, &|registers, from, piece| {
            let first = sector_at(first, sector_size, from);
            match registers {
                Some(registers) => self.cipher.encrypt_area_wide(piece, sector_size, first, registers),
                None => self.cipher.encrypt_area(piece, sector_size, first),
            }
        });
        if !shared {
            self.cipher.encrypt_area(buf, sector_size, first);
        }
    }

    fn decrypt_area(&self, buf: &mut [u8], sector_size: SectorSize, first: DataSector) {
        let shared = self.share(buf, sector_size, &|registers, from, piece| {
            let first = sector_at(first, sector_size, from);
            match registers {
                Some(registers) => self.cipher.decrypt_area_wide(piece, sector_size, first, registers),
                None => self.cipher.decrypt_area(piece, sector_size, first),
            }
        });
        if !shared {
            self.cipher.decrypt_area(buf, sector_size, first);
        }
    }

    fn encrypt_copy(&self, src: &[u8], dst: &mut [u8], sector_size: SectorSize, first: DataSector) {
        let shared = self.share(dst, sector_size, &|registers, from, piece| {
            let first = sector_at(first, sector_size, from);
            let source = src.get(from..).unwrap_or_default();
            let source = source.get(..piece.len()).unwrap_or(source);
            match registers {
                Some(registers) => self.cipher.encrypt_copy_wide(source, piece, sector_size, first, registers),
                None => self.cipher.encrypt_copy(source, piece, sector_size, first),
            }
        });
        if !shared {
            self.cipher.encrypt_copy(src, dst, sector_size, first);
        }
    }
}
