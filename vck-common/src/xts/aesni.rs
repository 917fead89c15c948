//! AES-NI in xmm registers, eight blocks in flight. Legacy SSE encodings alone: needs no saved state at any IRQL.
//!
//! Sixteen registers hold eight blocks, a round key and what computes the tweaks; the eight tweaks wait on the stack for
//! the second whitening, already combined with the first round key.

use core::arch::asm;
use core::arch::x86_64::{
    __m128i, _mm_add_epi64, _mm_aesdec_si128, _mm_aesdeclast_si128, _mm_aesenc_si128, _mm_aesenclast_si128,
    _mm_and_si128, _mm_loadu_si128, _mm_set_epi32, _mm_set_epi64x, _mm_setzero_si128, _mm_shuffle_epi32,
    _mm_srai_epi32, _mm_storeu_si128, _mm_xor_si128,
};
use core::hint::black_box;

use super::run::{Run, Window};
use super::schedule::{RoundKeys, Rounds, vector, word};
use super::tweak::{SectorTweaks, Sectors};

/// Blocks in flight.
const WIDTH: usize = 8;

/// Ciphers all sectors.
#[target_feature(enable = "aes,sse4.1")]
#[inline(never)]
pub(super) fn cipher<const ENCRYPT: bool>(keys: &RoundKeys, mut sectors: Sectors<'_>) {
    let mut tweaks = SectorTweaks::default();
    while let Some((batch, first)) = sectors.next_batch() {
        sector_tweaks(&keys.tweak, first, batch.sectors(), &mut tweaks);
        batch_of_sectors::<ENCRYPT>(keys.data::<ENCRYPT>(), batch, &tweaks);
    }
}

/// Encrypts the numbers of `count` sectors from `first` on, eight at a time.
#[target_feature(enable = "aes,sse4.1")]
fn sector_tweaks(keys: &Rounds, first: u64, count: usize, tweaks: &mut SectorTweaks) {
    let (groups, _) = tweaks.0.as_chunks_mut::<WIDTH>();
    let mut number = first;
    for group in groups.iter_mut().take(count.div_ceil(WIDTH)) {
        let mut blocks = [_mm_setzero_si128(); WIDTH];
        for block in &mut blocks {
            *block = _mm_set_epi64x(0, number.cast_signed());
            number = number.wrapping_add(1);
        }
        let [before, between @ .., after] = black_box(keys);
        for block in &mut blocks {
            *block = _mm_xor_si128(*block, vector(before));
        }
        for key in between {
            let key = vector(key);
            for block in &mut blocks {
                *block = _mm_aesenc_si128(*block, key);
            }
        }
        for (block, tweak) in blocks.iter().zip(group) {
            *tweak = word(_mm_aesenclast_si128(*block, vector(after)));
        }
    }
}

#[target_feature(enable = "aes,sse4.1")]
#[inline(never)]
fn batch_of_sectors<const ENCRYPT: bool>(keys: &Rounds, mut sectors: Sectors<'_>, tweaks: &SectorTweaks) {
    let mut tweaks = tweaks.0.iter().map(|tweak| vector(tweak));
    let Some(mut tweak) = tweaks.next() else { return };
    let mut ahead = Ahead::new(keys, tweak);
    while let Some(mut sector) = sectors.next_sector() {
        // Behind the last sector of a batch there is none: what is computed for it is not used.
        let next_sector = tweaks.next().unwrap_or(tweak);
        while let Some(window) = sector.window::<WIDTH>() {
            tweak = if sector.is_empty() { next_sector } else { ahead.after };
            // Loaded anew for each group: kept, the schedule would be copied to the stack.
            ahead = eight::<ENCRYPT>(black_box(keys), &window, &ahead, tweak);
        }
        if !sector.is_empty() {
            rest::<ENCRYPT>(keys, sector, tweak);
            tweak = next_sector;
            ahead = Ahead::new(keys, tweak);
        }
    }
}

/// The tweaks of the next eight blocks, computed while the eight before them are ciphered.
struct Ahead {
    /// Combined with the first round key.
    whitening: [__m128i; WIDTH],
    /// Tweak of the block after them.
    after: __m128i,
}

impl Ahead {
    #[inline]
    #[target_feature(enable = "aes,sse4.1")]
    fn new(keys: &Rounds, mut tweak: __m128i) -> Self {
        let [before, ..] = keys;
        let mut whitening = [_mm_setzero_si128(); WIDTH];
        for whitening in &mut whitening {
            *whitening = _mm_xor_si128(tweak, vector(before));
            tweak = times_x(tweak);
        }
        Self { whitening, after: tweak }
    }
}

/// Ciphers eight blocks; gives the tweaks of the eight that follow, the first of which is `tweak`. One of them is computed
/// per round: all at once they would wait until the AES units are done.
#[inline]
#[target_feature(enable = "aes,sse4.1")]
fn eight<const ENCRYPT: bool>(keys: &Rounds, window: &Window<'_, WIDTH>, ahead: &Ahead, mut tweak: __m128i) -> Ahead {
    let [before, between @ .., after] = keys;
    let before = vector(before);
    let mut blocks = [_mm_setzero_si128(); WIDTH];
    for (index, (block, whitening)) in blocks.iter_mut().zip(&ahead.whitening).enumerate() {
        *block = _mm_xor_si128(load(window, index), *whitening);
    }
    let mut next = [_mm_setzero_si128(); WIDTH];
    let (first, last) = between.split_at(WIDTH);
    for (key, next) in first.iter().zip(&mut next) {
        let key = vector(key);
        for block in &mut blocks {
            *block = round::<ENCRYPT>(*block, key);
        }
        *next = _mm_xor_si128(tweak, before);
        tweak = times_x(tweak);
        abreast(&mut blocks, &mut tweak);
    }
    for key in last {
        let key = vector(key);
        for block in &mut blocks {
            *block = round::<ENCRYPT>(*block, key);
        }
        abreast(&mut blocks, &mut tweak);
    }
    // The last round key goes in with the tweak, and takes the first one out of it again.
    let last = _mm_xor_si128(before, vector(after));
    for (index, (block, whitening)) in blocks.iter().zip(&ahead.whitening).enumerate() {
        store(window, index, last_round::<ENCRYPT>(*block, _mm_xor_si128(*whitening, last)));
    }
    Ahead { whitening: next, after: tweak }
}

/// Ciphers what is left of a sector block by block.
#[inline]
#[target_feature(enable = "aes,sse4.1")]
pub(super) fn rest<const ENCRYPT: bool>(keys: &Rounds, mut sector: Run<'_>, mut tweak: __m128i) {
    let [before, between @ .., after] = keys;
    while let Some(window) = sector.window::<1>() {
        let mut block = _mm_xor_si128(_mm_xor_si128(load(&window, 0), tweak), vector(before));
        for key in between {
            block = round::<ENCRYPT>(block, vector(key));
        }
        store(&window, 0, last_round::<ENCRYPT>(block, _mm_xor_si128(tweak, vector(after))));
        tweak = times_x(tweak);
    }
}

#[inline]
#[target_feature(enable = "aes,sse4.1")]
fn round<const ENCRYPT: bool>(block: __m128i, key: __m128i) -> __m128i {
    if ENCRYPT { _mm_aesenc_si128(block, key) } else { _mm_aesdec_si128(block, key) }
}

#[inline]
#[target_feature(enable = "aes,sse4.1")]
fn last_round<const ENCRYPT: bool>(block: __m128i, key: __m128i) -> __m128i {
    if ENCRYPT { _mm_aesenclast_si128(block, key) } else { _mm_aesdeclast_si128(block, key) }
}

/// Multiplies a tweak by x: both halves doubled, the carries of bit 63 and bit 127 put back as 2^64 and as the
/// polynomial. No branch and no carry-less multiplication, which would wait for an AES unit.
#[inline]
#[target_feature(enable = "aes,sse4.1")]
pub(super) fn times_x(tweak: __m128i) -> __m128i {
    let signs = _mm_srai_epi32::<31>(_mm_shuffle_epi32::<0b00_01_00_11>(tweak));
    let carries = _mm_and_si128(signs, _mm_set_epi32(0, 1, 0, 0x87));
    _mm_xor_si128(_mm_add_epi64(tweak, tweak), carries)
}

/// No instruction, but a point that all blocks reach together. Without it the compiler orders the rounds of one block after
/// those of another, and each waits for the latency of fourteen rounds: a third of the speed was lost that way.
#[inline]
#[target_feature(enable = "aes,sse4.1")]
fn abreast(blocks: &mut [__m128i; WIDTH], tweak: &mut __m128i) {
    let [b0, b1, b2, b3, b4, b5, b6, b7] = blocks;
    // SAFETY: the template is a comment.
    unsafe {
        asm!(
            "/* {} {} {} {} {} {} {} {} {} */",
            inout(xmm_reg) * b0,
            inout(xmm_reg) * b1,
            inout(xmm_reg) * b2,
            inout(xmm_reg) * b3,
            inout(xmm_reg) * b4,
            inout(xmm_reg) * b5,
            inout(xmm_reg) * b6,
            inout(xmm_reg) * b7,
            inout(xmm_reg) * tweak,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
}

#[inline]
#[target_feature(enable = "aes,sse4.1")]
fn load<const N: usize>(window: &Window<'_, N>, index: usize) -> __m128i {
    // SAFETY: the invariant of `Window`; callers count blocks below `N`. The load needs no alignment.
    unsafe { _mm_loadu_si128(window.source(index).cast()) }
}

#[inline]
#[target_feature(enable = "aes,sse4.1")]
fn store<const N: usize>(window: &Window<'_, N>, index: usize, block: __m128i) {
    // SAFETY: the invariant of `Window`; callers count blocks below `N`. The store needs no alignment.
    unsafe { _mm_storeu_si128(window.target(index).cast(), block) };
}
