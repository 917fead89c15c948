//! What is on a medium, sector by sector. Copies share what they have in common, so that a snapshot costs next to nothing.

use std::sync::Arc;

use vck_common::SectorSize;

use crate::rng::{Rng, mix};

/// Sectors that are copied together when one of them is changed.
const CHUNK: usize = 32;

/// The contents of a sector.
#[derive(Clone, Debug, Default)]
pub enum Sector {
    /// Never written.
    #[default]
    Zero,
    /// Written.
    Bytes {
        /// The whole write that it was part of.
        write: Arc<[u8]>,
        /// Where the sector begins in it.
        at: usize,
    },
    /// Trimmed: every read shows something else.
    Unstable,
}

impl Sector {
    /// A sector with these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::Bytes { write: bytes.into(), at: 0 }
    }

    /// What a read shows. `noise` tells reads of unstable sectors apart.
    pub fn read(&self, out: &mut [u8], noise: u64) {
        match self {
            Self::Zero => out.fill(0),
            Self::Bytes { write, at } => out.copy_from_slice(&write[*at..*at + out.len()]),
            Self::Unstable => {
                let mut rng = Rng::new(noise);
                out.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&rng.next().to_le_bytes()[..chunk.len()]));
            }
        }
    }

    /// A sector whose write was interrupted: the first `split` bytes are of `self` and the others of `other`.
    #[must_use]
    pub fn torn(&self, other: &Self, split: usize, size: SectorSize, noise: u64) -> Self {
        let mut front = vec![0; size.usize()];
        let mut back = front.clone();
        self.read(&mut front, mix(noise));
        other.read(&mut back, mix(noise ^ 1));
        front[split..].copy_from_slice(&back[split..]);
        Self::of(&front)
    }
}

/// The contents of a medium.
#[derive(Clone, Debug)]
pub struct Image {
    chunks: Vec<Arc<[Sector; CHUNK]>>,
    size: SectorSize,
    total: u64,
}

impl Image {
    /// A medium on which nothing was ever written.
    #[must_use]
    pub fn new(size: SectorSize, total: u64) -> Self {
        let chunks = usize::try_from(total).expect("a small volume").div_ceil(CHUNK);
        let empty: Arc<[Sector; CHUNK]> = Arc::new(std::array::from_fn(|_| Sector::Zero));
        Self { chunks: vec![empty; chunks], size, total }
    }

    /// Its sector size.
    #[must_use]
    pub const fn size(&self) -> SectorSize {
        self.size
    }

    /// Its sectors.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The sector at `lba`.
    #[must_use]
    pub fn sector(&self, lba: u64) -> &Sector {
        let (chunk, at) = Self::place(lba);
        &self.chunks[chunk][at]
    }

    /// Replaces the sector at `lba`.
    pub fn put(&mut self, lba: u64, sector: Sector) {
        let (chunk, at) = Self::place(lba);
        Arc::make_mut(&mut self.chunks[chunk])[at] = sector;
    }

    /// Reads whole sectors.
    pub fn read(&self, lba: u64, out: &mut [u8], noise: u64) {
        for (sector, out) in (lba..).zip(out.chunks_mut(self.size.usize())) {
            self.sector(sector).read(out, mix(noise ^ mix(sector)));
        }
    }

    /// Writes whole sectors.
    pub fn write(&mut self, lba: u64, bytes: &[u8]) {
        let write: Arc<[u8]> = bytes.into();
        for (index, sector) in (lba..).take(bytes.len() / self.size.usize()).enumerate() {
            self.put(sector, Sector::Bytes { write: Arc::clone(&write), at: index * self.size.usize() });
        }
    }

    fn place(lba: u64) -> (usize, usize) {
        let lba = usize::try_from(lba).expect("a small volume");
        (lba / CHUNK, lba % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_does_not_follow_the_original() {
        let mut image = Image::new(SectorSize::S512, 100);
        image.write(40, &[1; 1024]);
        let copy = image.clone();
        image.write(41, &[2; 512]);
        let (mut ours, mut theirs) = ([0; 1024], [0; 1024]);
        image.read(40, &mut ours, 0);
        copy.read(40, &mut theirs, 0);
        assert!(ours[..512] == [1; 512] && ours[512..] == [2; 512]);
        assert_eq!(theirs, [1; 1024]);
    }

    #[test]
    fn an_unstable_sector_shows_something_else_every_time() {
        let mut image = Image::new(SectorSize::S512, 4);
        image.put(2, Sector::Unstable);
        let (mut first, mut second) = ([0; 512], [0; 512]);
        image.read(2, &mut first, 1);
        image.read(2, &mut second, 2);
        assert_ne!(first, second);
    }

    #[test]
    fn a_torn_sector_is_both() {
        let (old, new) = (Sector::of(&[1; 512]), Sector::of(&[2; 512]));
        let mut bytes = [0; 512];
        new.torn(&old, 128, SectorSize::S512, 0).read(&mut bytes, 0);
        assert!(bytes[..128] == [2; 128] && bytes[128..] == [1; 384]);
    }
}
