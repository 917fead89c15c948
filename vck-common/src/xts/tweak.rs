//! Batches of sectors: their tweaks are encrypted together.
//!
//! A sector's tweak is one AES block whose fourteen rounds wait for each other. One by one they would cost a 512-byte
//! sector about as much as its data; 32 at a time they cost one block in 33.

//!
//! # Many tweaks of one sector at once
//!
//! The wide kernels get block k's tweak straight from the first one's, for all k below 33, without a chain of doublings.
//! With the tweak as two words (high, low), and q the top k bits of `high`:
//!
//! ```text
//! high(k) = high << k | low >> (64 - k)                    a funnel shift
//! low(k)  = low << k + q * 0x87                            carry-less; 0x87 stands for x^128
//! ```
//!
//! The product of all of `high` and 0x87 has 71 bits: `below`, its low word, and `over(high)`, the seven bits above.
//! `over` is linear: over(h) = h >> 57 + h >> 62 + h >> 63. Shifting the whole product instead of multiplying the top bits
//! is wrong only in what the lower 64 - k bits of `high` carry up, and that is `over` again:
//!
//! ```text
//! q * 0x87 = (high * 0x87) >> (64 - k)  +  over(high << k)
//! low(k)   = (low + over(high)) << k | below >> (64 - k)   a funnel shift of words that do not depend on k
//!            + over(high << k)                             one byte
//! ```
//!
//! So a block costs one shift per word and one byte, and the bytes of all blocks are computed together. Shifts, xors and
//! byte permutations leave the AES units alone; a carry-less multiplication would share them.

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
