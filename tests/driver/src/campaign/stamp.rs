//! What sectors contain: every sector of the data region says which it is and which write made it.
//!
//! ```text
//!  0..4 "SEED"   4..8 sector number   8..16 version   16.. words drawn from both
//! ```
//! The first sixteen bytes are one AES block, so that a watcher can tell plaintext from ciphertext by two block
//! operations. Version 0 is a sector that nobody has written: all zeros.

use vck_common::{DataSector, SectorSize, VolumeCipher, XtsVolumeCipher};

use crate::{KEY1, KEY2};

const MAGIC: u32 = u32::from_le_bytes(*b"SEED");
const HEAD: usize = 16;

/// Fills `sector` with version `version` of data sector `number`.
pub(super) fn fill(sector: &mut [u8], number: u64, version: u64) {
    if version == 0 {
        sector.fill(0);
        return;
    }
    let (words, _) = sector.as_chunks_mut::<8>();
    let low = u32::try_from(number).unwrap_or(u32::MAX);
    let step = (version ^ number.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut value = step;
    for (index, word) in words.iter_mut().enumerate() {
        let next = match index {
            0 => u64::from(MAGIC) | u64::from(low) << 32,
            1 => version,
            _ => value,
        };
        *word = next.to_le_bytes();
        value = value.wrapping_add(step);
    }
}

/// The version that a plain sector claims to be, by its first bytes.
fn claimed(sector: &[u8], number: u64) -> Option<u64> {
    let head: &[u8; HEAD] = sector.first_chunk()?;
    if *head == [0; HEAD] {
        return Some(0);
    }
    let (first, version) = head.split_at(8);
    let expected = u64::from(MAGIC) | (number & u64::from(u32::MAX)) << 32;
    (first == expected.to_le_bytes()).then(|| u64::from_le_bytes(version.try_into().unwrap_or_default()))
}

/// The version of a plain sector, if every byte of it is that version's.
pub(super) fn version_of(sector: &[u8], number: u64, room: &mut Vec<u8>) -> Option<u64> {
    let version = claimed(sector, number)?;
    room.resize(sector.len(), 0);
    fill(room, number, version);
    (room == sector).then_some(version)
}

/// Which side of the cipher a sector is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As programs see it.
    Plain,
    /// As it is below the boundary.
    Cipher,
}

/// The oracle's own cipher.
pub(super) struct Oracle {
    cipher: XtsVolumeCipher,
    size: SectorSize,
}

impl Oracle {
    pub(super) fn new(sector_size: u32) -> Self {
        let cipher = XtsVolumeCipher::new(&KEY1, &KEY2).expect("the portable kernel takes any keys");
        Self { cipher, size: SectorSize::new(sector_size).expect("a sector size") }
    }

    /// Plain or cipher, by the first block; none when it is neither.
    pub(super) fn form(&self, sector: &[u8], number: u64) -> Option<Form> {
        if claimed(sector, number).is_some() {
            return Some(Form::Plain);
        }
        let mut head: [u8; HEAD] = *sector.first_chunk()?;
        self.cipher.decrypt_area(&mut head, self.size, DataSector::new(number));
        claimed(&head, number).map(|_| Form::Cipher)
    }

    /// Decrypts sectors in place.
    pub(super) fn decrypt(&self, sectors: &mut [u8], first: u64) {
        self.cipher.decrypt_area(sectors, self.size, DataSector::new(first));
    }
}
