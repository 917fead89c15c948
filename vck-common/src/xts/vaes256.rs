//! VAES in ymm registers, sixteen blocks in flight. Runs only while the AVX state is saved.
//!
//! Sixteen registers hold eight pairs of blocks; round keys are broadcast from memory, a load that costs no vector unit,
//! and used eight times. The tweaks wait on the stack for the second whitening.

use core::arch::asm;
use core::arch::x86_64::{
    __m256i, _mm256_aesdec_epi128, _mm256_aesdeclast_epi128, _mm256_aesenc_epi128, _mm256_aesenclast_epi128,
    _mm256_broadcastsi128_si256, _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_loadu_si256,
    _mm256_mullo_epi16, _mm256_set_epi8, _mm256_set_epi16, _mm256_set_epi64x, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_shuffle_epi32, _mm256_sllv_epi64, _mm256_srli_epi16, _mm256_srlv_epi64,
    _mm256_storeu_si256, _mm256_xor_si256,
};
use core::hint::black_box;

use super::aesni;
use super::run::Window;
use super::schedule::{RoundKeys, Rounds, vector, word};
use super::tweak::{SectorTweaks, Sectors};

/// Registers in flight, two blocks each.
const WIDTH: usize = 8;
/// Blocks in flight.
const BLOCKS: usize = 2 * WIDTH;

/// Ciphers all sectors.
#[target_feature(enable = "aes,sse4.1,avx2,vaes")]
#[inline(never)]
pub(super) fn cipher<const ENCRYPT: bool>(keys: &RoundKeys, mut sectors: Sectors<'_>) {
    let mut tweaks = SectorTweaks::default();
    while let Some((batch, first)) = sectors.next_batch() {
        sector_tweaks(&keys.tweak, first, batch.sectors(), &mut tweaks);
        batch_of_sectors::<ENCRYPT>(keys.data::<ENCRYPT>(), batch, &tweaks);
    }
}

/// Encrypts the numbers of `count` sectors from `first` on, sixteen at a time; a single one alone.
#[target_feature(enable = "aes,sse4.1,avx2,vaes")]
fn sector_tweaks(keys: &Rounds, first: u64, count: usize, tweaks: &mut SectorTweaks) {
    let mut number = first;
    if count <= 2 {
        let (groups, _) = tweaks.0.as_chunks_mut::<2>();
        for group in groups.iter_mut().take(1) {
            encrypt_numbers::<1>(keys, &mut number, group);
        }
        return;
    }
    let (groups, _) = tweaks.0.as_chunks_mut::<BLOCKS>();
    for group in groups.iter_mut().take(count.div_ceil(BLOCKS)) {
        encrypt_numbers::<WIDTH>(black_box(keys), &mut number, group);
    }
}

/// Encrypts `2 * N` numbers.
#[inline]
#[target_feature(enable = "aes,sse4.1,avx2,vaes")]
fn encrypt_numbers<const N: usize>(keys: &Rounds, number: &mut u64, tweaks: &mut [u128]) {
    let [before, between @ .., after] = keys;
    let before = pair(before);
    let mut blocks = [_mm256_setzero_si256(); N];
    for block in &mut blocks {
        let numbers = _mm256_set_epi64x(0, number.wrapping_add(1).cast_signed(), 0, number.cast_signed());
        *block = _mm256_xor_si256(numbers, before);
        *number = number.wrapping_add(2);
    }
    for key in between {
        let key = pair(key);
        for block in &mut blocks {
            *block = _mm256_aesenc_epi128(*block, key);
        }
    }
    let after = pair(after);
    let (pairs, _) = tweaks.as_chunks_mut::<2>();
    for (block, [low, high]) in blocks.iter().zip(pairs) {
        let tweak = _mm256_aesenclast_epi128(*block, after);
        *low = word(_mm256_castsi256_si128(tweak));
        *high = word(_mm256_extracti128_si256::<1>(tweak));
    }
}

#[target_feature(enable = "aes,sse4.1,avx2,vaes")]
#[inline(never)]
fn batch_of_sectors<const ENCRYPT: bool>(keys: &Rounds, mut sectors: Sectors<'_>, tweaks: &SectorTweaks) {
    for tweak in &tweaks.0 {
        let Some(mut sector) = sectors.next_sector() else { return };
        let mut tweak = vector(tweak);
        while let Some(window) = sector.window::<BLOCKS>() {
            let tweaks = sixteen_tweaks(_mm256_broadcastsi128_si256(tweak));
            // Loaded anew for each group: kept, the schedule would be copied to the stack.
            group::<ENCRYPT>(black_box(keys), &window, &tweaks);
            let [.., last] = tweaks;
            tweak = aesni::times_x(_mm256_extracti128_si256::<1>(last));
        }
        if !sector.is_empty() {
            aesni::rest::<ENCRYPT>(keys, sector, tweak);
        }
    }
}

/// Ciphers sixteen blocks.
#[inline]
#[target_feature(enable = "aes,sse4.1,avx2,vaes")]
fn group<const ENCRYPT: bool>(keys: &Rounds, window: &Window<'_, BLOCKS>, tweaks: &[__m256i; WIDTH]) {
    let [before, between @ .., after] = keys;
    let before = pair(before);
    let mut blocks = [_mm256_setzero_si256(); WIDTH];
    for (index, (block, tweak)) in blocks.iter_mut().zip(tweaks).enumerate() {
        *block = _mm256_xor_si256(_mm256_xor_si256(load(window, index), before), *tweak);
    }
    for key in between {
        let key = pair(key);
        for block in &mut blocks {
            *block = if ENCRYPT { _mm256_aesenc_epi128(*block, key) } else { _mm256_aesdec_epi128(*block, key) };
        }
        abreast(&mut blocks);
    }
    let after = pair(after);
    for (index, (block, tweak)) in blocks.iter().zip(tweaks).enumerate() {
        let key = _mm256_xor_si256(*tweak, after);
        let done = if ENCRYPT { _mm256_aesenclast_epi128(*block, key) } else { _mm256_aesdeclast_epi128(*block, key) };
        store(window, index, done);
    }
}

/// The tweaks of sixteen blocks, two to a register, from the first of them in both halves.
///
/// The method is that of [`super::tweak`]: funnel shifts of prepared words, and one corrected byte per block.
#[inline]
#[target_feature(enable = "aes,sse4.1,avx2,vaes")]
fn sixteen_tweaks(first: __m256i) -> [__m256i; WIDTH] {
    // Counts of 64 and more shift everything out: the upper words stay untouched.
    let low = |count: i64| _mm256_set_epi64x(64, count, 64, count);
    let xor = |a, b| _mm256_xor_si256(a, b);
    let swapped = _mm256_shuffle_epi32::<0b01_00_11_10>(first);
    let spread = xor(_mm256_sllv_epi64(swapped, low(1)), _mm256_sllv_epi64(swapped, low(2)));
    let below = xor(xor(swapped, spread), _mm256_sllv_epi64(swapped, low(7)));
    let over = xor(_mm256_srlv_epi64(swapped, low(63)), _mm256_srlv_epi64(swapped, low(62)));
    let words = xor(xor(first, over), _mm256_srlv_epi64(swapped, low(57)));

    // Words: the seven bits of the upper word that block 0, 2, ... 14 and 1, 3, ... 15 correct with. Bytes 14 and 15
    // serve shifts below eight, bytes 13 and 14 the others.
    let windows = _mm256_shuffle_epi8(
        first,
        _mm256_set_epi8(
            14, 13, 14, 13, 14, 13, 14, 13, 15, 14, 15, 14, 15, 14, 15, 14, //
            14, 13, 14, 13, 14, 13, 14, 13, 15, 14, 15, 14, 15, 14, 15, 14,
        ),
    );
    let place = _mm256_set_epi16(128, 32, 8, 2, 128, 32, 8, 2, 64, 16, 4, 1, 64, 16, 4, 1);
    let seven = _mm256_srli_epi16::<9>(_mm256_mullo_epi16(windows, place));
    let bytes = xor(seven, xor(_mm256_srli_epi16::<5>(seven), _mm256_srli_epi16::<6>(seven)));

    let mut tweaks = [_mm256_setzero_si256(); WIDTH];
    let mut shift = 0;
    for tweak in &mut tweaks {
        let left = _mm256_set_epi64x(shift + 1, shift + 1, shift, shift);
        let right = _mm256_set_epi64x(63 - shift, 63 - shift, 64 - shift, 64 - shift);
        let byte = i8::try_from(shift).unwrap_or(0);
        let pick = _mm256_set_epi8(
            -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, byte, //
            -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, byte,
        );
        let shifted = xor(_mm256_sllv_epi64(words, left), _mm256_srlv_epi64(below, right));
        *tweak = xor(shifted, _mm256_shuffle_epi8(bytes, pick));
        shift += 2;
    }
    tweaks
}

/// A round key in both halves.
#[inline]
#[target_feature(enable = "aes,sse4.1,avx2,vaes")]
fn pair(key: &u128) -> __m256i {
    _mm256_broadcastsi128_si256(vector(key))
}

/// No instruction, but a point that all blocks reach together. Without it the compiler orders the rounds of one block after
/// those of another, and each waits for the latency of fourteen rounds: a third of the speed was lost that way.
#[inline]
#[target_feature(enable = "aes,sse4.1,avx2,vaes")]
fn abreast(blocks: &mut [__m256i; WIDTH]) {
    let [b0, b1, b2, b3, b4, b5, b6, b7] = blocks;
    // SAFETY: the template is a comment.
    unsafe {
        asm!(
            "/* {} {} {} {} {} {} {} {} */",
            inout(ymm_reg) * b0,
            inout(ymm_reg) * b1,
            inout(ymm_reg) * b2,
            inout(ymm_reg) * b3,
            inout(ymm_reg) * b4,
            inout(ymm_reg) * b5,
            inout(ymm_reg) * b6,
            inout(ymm_reg) * b7,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
}

#[inline]
#[target_feature(enable = "aes,sse4.1,avx2,vaes")]
fn load(window: &Window<'_, BLOCKS>, index: usize) -> __m256i {
    // SAFETY: the invariant of `Window`; callers count pairs below `WIDTH`. The load needs no alignment.
    unsafe { _mm256_loadu_si256(window.source(2 * index).cast()) }
}

#[inline]
#[target_feature(enable = "aes,sse4.1,avx2,vaes")]
fn store(window: &Window<'_, BLOCKS>, index: usize, pair: __m256i) {
    // SAFETY: the invariant of `Window`; callers count pairs below `WIDTH`. The store needs no alignment.
    unsafe { _mm256_storeu_si256(window.target(2 * index).cast(), pair) };
}
