//! A cheap cipher for the search. It is keyed by the sector and not its own inverse, so that a sector converted twice, or
//! with another sector's number, or in the wrong direction, is not what it should be.

use vck_common::{DataSector, SectorSize, VolumeCipher};

use crate::rng::mix;

/// Adds a key stream to 64-bit words.
#[derive(Clone, Copy, Debug)]
pub struct KeyStream(pub u64);

impl KeyStream {
    fn apply(self, bytes: &mut [u8], size: SectorSize, first: DataSector, change: impl Fn(u64, u64) -> u64) {
        for (number, sector) in (first.get()..).zip(bytes.chunks_mut(size.usize())) {
            let mut key = mix(self.0 ^ mix(number));
            for word in sector.chunks_exact_mut(8) {
                let value = u64::from_le_bytes((&*word).try_into().unwrap_or_default());
                word.copy_from_slice(&change(value, mix(key)).to_le_bytes());
                key = key.wrapping_add(0x9E37_79B9_7F4A_7C15);
            }
        }
    }
}

impl VolumeCipher for KeyStream {
    fn encrypt_area(&self, buf: &mut [u8], sector_size: SectorSize, first: DataSector) {
        self.apply(buf, sector_size, first, u64::wrapping_add);
    }

    fn decrypt_area(&self, buf: &mut [u8], sector_size: SectorSize, first: DataSector) {
        self.apply(buf, sector_size, first, u64::wrapping_sub);
    }

    fn encrypt_copy(&self, src: &[u8], dst: &mut [u8], sector_size: SectorSize, first: DataSector) {
        dst.copy_from_slice(src);
        self.encrypt_area(dst, sector_size, first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_and_twice_is_not_back() {
        let cipher = KeyStream(5);
        let plain = [0x5A; 1024];
        let mut bytes = plain;
        cipher.encrypt_area(&mut bytes, SectorSize::S512, DataSector::new(7));
        assert_ne!(bytes, plain);
        assert_ne!(bytes[..512], bytes[512..]);
        let once = bytes;
        cipher.encrypt_area(&mut bytes, SectorSize::S512, DataSector::new(7));
        assert!(bytes != plain && bytes != once);
        bytes = once;
        cipher.decrypt_area(&mut bytes, SectorSize::S512, DataSector::new(7));
        assert_eq!(bytes, plain);
    }
}
