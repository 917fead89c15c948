//! Batches of sectors: their tweaks are encrypted together.
//!
//! A sector's tweak is one AES block whose fourteen rounds wait for each other. One by one they would cost a 512-byte
//! sector about as much as its data; 32 at a time they cost one block in 33.

use super::run::Run;

/// Sectors whose tweaks are encrypted together.
pub(super) const BATCH: usize = 32;

/// The encrypted numbers of one batch.
#[repr(align(64))]
pub(super) struct SectorTweaks(pub(super) [u128; BATCH]);

impl Default for SectorTweaks {
    fn default() -> Self {
        Self([0; BATCH])
    }
}

/// Sectors that are still to be ciphered. A part of a sector at the end is a shorter one.
pub(super) struct Sectors<'a> {
    run: Run<'a>,
    /// Blocks of a sector, not zero.
    sector: usize,
    /// Number of the next sector.
    next: u64,
}

impl<'a> Sectors<'a> {
    /// Sectors of `sector` blocks each, numbered from `first`.
    pub(super) const fn new(run: Run<'a>, sector: usize, first: u64) -> Self {
        Self { run, sector: if sector == 0 { 1 } else { sector }, next: first }
    }

    /// Sectors left.
    pub(super) const fn sectors(&self) -> usize {
        self.run.blocks().div_ceil(self.sector)
    }

    /// The next sectors, as many as a batch has, and the number of the first.
    pub(super) const fn next_batch(&mut self) -> Option<(Self, u64)> {
        if self.run.is_empty() {
            return None;
        }
        let first = self.next;
        // A sector too large for the product is one that no run reaches the end of.
        let run = self.run.take(self.sector.saturating_mul(BATCH));
        self.next = first.wrapping_add(BATCH as u64);
        Some((Self { run, sector: self.sector, next: first }, first))
    }

    /// The next sector.
    pub(super) const fn next_sector(&mut self) -> Option<Run<'a>> {
        if self.run.is_empty() { None } else { Some(self.run.take(self.sector)) }
    }
}
