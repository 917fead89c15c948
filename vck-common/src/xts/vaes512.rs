//! VAES in zmm registers, 32 blocks in flight. Runs only while the AVX and AVX-512 state is saved.
//!
//! Of 32 registers eight hold blocks and eight their tweaks, already combined with the first round key. Round keys are loaded
//! when their round comes: one load for eight instructions of the cipher.

use core::arch::asm;
use core::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_aesdec_epi128, _mm512_aesdeclast_epi128, _mm512_aesenc_epi128,
    _mm512_aesenclast_epi128, _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_castsi512_si128, _mm512_loadu_si512,
    _mm512_maskz_permutexvar_epi8, _mm512_multishift_epi64_epi8, _mm512_set_epi64, _mm512_set1_epi8, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_shldi_epi64, _mm512_shldv_epi64, _mm512_shuffle_epi32, _mm512_sllv_epi64,
    _mm512_srlv_epi64, _mm512_storeu_si512, _mm512_ternarylogic_epi64, _mm512_xor_si512,
};
use core::hint::black_box;

use super::aesni;
use super::run::Window;
use super::schedule::{RoundKeys, Rounds, vector};
use super::tweak::{SectorTweaks, Sectors};

/// Registers in flight, four blocks each.
const WIDTH: usize = 8;
/// Blocks in flight.
const BLOCKS: usize = 4 * WIDTH;
/// Exclusive or of three values, for `vpternlogq`.
const XOR3: i32 = 0x96;
/// The first exclusive or with both of the others, for `vpternlogq`.
const XOR_AND: i32 = 0x78;

/// Ciphers all sectors.
#[target_feature(enable = "aes,sse4.1,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,vaes")]
#[inline(never)]
pub(super) fn cipher<const ENCRYPT: bool>(keys: &RoundKeys, mut sectors: Sectors<'_>) {
    let mut tweaks = SectorTweaks::default();
    while let Some((batch, first)) = sectors.next_batch() {
        sector_tweaks(&keys.tweak, first, batch.sectors(), &mut tweaks);
        batch_of_sectors::<ENCRYPT>(keys.data::<ENCRYPT>(), batch, &tweaks);
    }
}

/// Encrypts the numbers of `count` sectors from `first` on, with no more registers than they fill.
#[target_feature(enable = "aes,sse4.1,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,vaes")]
fn sector_tweaks(keys: &Rounds, first: u64, count: usize, tweaks: &mut SectorTweaks) {
    match count {
        0..=4 => encrypt_numbers::<1>(keys, first, tweaks),
        5..=8 => encrypt_numbers::<2>(keys, first, tweaks),
        9..=16 => encrypt_numbers::<4>(keys, first, tweaks),
        _ => encrypt_numbers::<WIDTH>(keys, first, tweaks),
    }
}

/// Encrypts the first `4 * N` numbers.
#[inline]
#[target_feature(enable = "aes,sse4.1,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,vaes")]
fn encrypt_numbers<const N: usize>(keys: &Rounds, first: u64, tweaks: &mut SectorTweaks) {
    let [before, between @ .., after] = keys;
    let before = broadcast(before);
    let n = first.cast_signed();
    let mut numbers =
        _mm512_add_epi64(_mm512_set_epi64(0, n, 0, n, 0, n, 0, n), _mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0));
    let mut blocks = [_mm512_setzero_si512(); N];
    for block in &mut blocks {
        *block = _mm512_xor_si512(numbers, before);
        numbers = _mm512_add_epi64(numbers, _mm512_set_epi64(0, 4, 0, 4, 0, 4, 0, 4));
    }
    for key in between {
        let key = broadcast(key);
        for block in &mut blocks {
            *block = _mm512_aesenc_epi128(*block, key);
        }
    }
    let after = broadcast(after);
    let (groups, _) = tweaks.0.as_chunks_mut::<4>();
    for (block, group) in blocks.iter().zip(groups) {
        let tweaks = _mm512_aesenclast_epi128(*block, after);
        // SAFETY: four u128 are 64 bytes, and the mutable reference is valid for writes of them.
        unsafe { _mm512_storeu_si512(group.as_mut_ptr().cast(), tweaks) };
    }
}

#[target_feature(enable = "aes,sse4.1,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,vaes")]
#[inline(never)]
fn batch_of_sectors<const ENCRYPT: bool>(keys: &Rounds, mut sectors: Sectors<'_>, tweaks: &SectorTweaks) {
    for tweak in &tweaks.0 {
        let Some(mut sector) = sectors.next_sector() else { return };
        let mut tweak = broadcast(tweak);
        while let Some(window) = sector.window::<BLOCKS>() {
            // Loaded anew for each group: kept, they would not fit beside what `whitenings` needs, and be spilled to the stack.
            let keys = black_box(keys);
            let [before, ..] = keys;
            let (whitening, next) = whitenings(tweak, broadcast(before));
            group::<ENCRYPT>(keys, &window, &whitening);
            tweak = next;
        }
        if !sector.is_empty() {
            aesni::rest::<ENCRYPT>(keys, sector, _mm512_castsi512_si128(tweak));
        }
    }
}

/// Ciphers 32 blocks.
#[inline]
#[target_feature(enable = "aes,sse4.1,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,vaes")]
fn group<const ENCRYPT: bool>(keys: &Rounds, window: &Window<'_, BLOCKS>, whitening: &[__m512i; WIDTH]) {
    let [before, between @ .., after] = keys;
    let mut blocks = [_mm512_setzero_si512(); WIDTH];
    for (index, (block, whitening)) in blocks.iter_mut().zip(whitening).enumerate() {
        *block = _mm512_xor_si512(load(window, index), *whitening);
    }
    for key in between {
        let key = broadcast(key);
        for block in &mut blocks {
            *block = if ENCRYPT { _mm512_aesenc_epi128(*block, key) } else { _mm512_aesdec_epi128(*block, key) };
        }
        abreast(&mut blocks);
    }
    let last = _mm512_xor_si512(broadcast(before), broadcast(after));
    // The last round key goes in with the tweak, and takes the first one out of it again.
    for (index, (block, whitening)) in blocks.iter().zip(whitening).enumerate() {
        let key = _mm512_xor_si512(*whitening, last);
        let done = if ENCRYPT { _mm512_aesenclast_epi128(*block, key) } else { _mm512_aesdeclast_epi128(*block, key) };
        store(window, index, done);
    }
}

/// From the tweak of the first of 32 blocks, in all lanes: the tweaks of all, four to a register, combined with `key`;
/// and the tweak of the block after them, in all lanes.
///
/// The method is that of [`super::tweak`]: a funnel shift of prepared words, and one corrected byte per block.
#[inline]
#[target_feature(enable = "aes,sse4.1,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,vaes")]
fn whitenings(tweak: __m512i, key: __m512i) -> ([__m512i; WIDTH], __m512i) {
    // Counts of 64 shift everything out: the upper words stay untouched.
    let low = |count: i64| _mm512_set_epi64(64, count, 64, count, 64, count, 64, count);
    let swapped = _mm512_shuffle_epi32::<0b01_00_11_10>(tweak);
    let left = |count| _mm512_sllv_epi64(swapped, low(count));
    let right = |count| _mm512_srlv_epi64(swapped, low(count));
    let below = _mm512_xor_si512(_mm512_ternarylogic_epi64::<XOR3>(swapped, left(1), left(2)), left(7));
    let words = _mm512_xor_si512(_mm512_ternarylogic_epi64::<XOR3>(tweak, right(63), right(62)), right(57));

    // Byte k: `over` of the upper word shifted left by k. Bits above those it needs are masked out.
    let upper = _mm512_shuffle_epi32::<0b11_10_11_10>(tweak);
    let from = |position: &[u8; 64]| _mm512_multishift_epi64_epi8(load_bytes(position), upper);
    let seven = _mm512_and_si512(from(&FROM_57), _mm512_set1_epi8(0x7F));
    let two = _mm512_ternarylogic_epi64::<XOR_AND>(seven, from(&FROM_62), _mm512_set1_epi8(3));
    let bytes = _mm512_ternarylogic_epi64::<XOR_AND>(two, from(&FROM_63), _mm512_set1_epi8(1));

    let mut shift = _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0);
    // Byte 0 of each lane is the index of the lane's block; the others are masked out.
    let mut pick = shift;
    let mut whitening = [_mm512_setzero_si512(); WIDTH];
    for whitening in &mut whitening {
        let shifted = _mm512_shldv_epi64(words, below, shift);
        let byte = _mm512_maskz_permutexvar_epi8(LOWEST_BYTES, pick, bytes);
        *whitening = _mm512_ternarylogic_epi64::<XOR3>(shifted, byte, key);
        shift = _mm512_add_epi64(shift, _mm512_set1_epi64(4));
        pick = shift;
    }
    let next_byte = _mm512_maskz_permutexvar_epi8(LOWEST_BYTES, _mm512_set1_epi8(32), bytes);
    (whitening, _mm512_xor_si512(_mm512_shldi_epi64::<32>(words, below), next_byte))
}

/// The lowest byte of each lane.
const LOWEST_BYTES: u64 = 0x0001_0001_0001_0001;

const FROM_57: [u8; 64] = positions(57);
const FROM_62: [u8; 64] = positions(62);
const FROM_63: [u8; 64] = positions(63);

/// For `vpmultishiftqb`: byte k takes the eight bits from `first` - k on, for k up to 32.
const fn positions(first: u8) -> [u8; 64] {
    let mut positions = [first; 64];
    let mut left: &mut [u8] = &mut positions;
    let mut k = 0;
    while let [position, rest @ ..] = left {
        *position = first - k;
        left = rest;
        if k < 32 {
            k += 1;
        }
    }
    positions
}

#[inline]
#[target_feature(enable = "aes,sse4.1,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,vaes")]
fn load_bytes(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: the reference is valid for reads of 64 bytes. The load needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// Sixteen bytes in all lanes.
#[inline]
#[target_feature(enable = "aes,sse4.1,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,vaes")]
fn broadcast(bytes: &u128) -> __m512i {
    _mm512_broadcast_i32x4(vector(bytes))
}

/// No instruction, but a point that all blocks reach together. Without it the compiler orders the rounds of one block after
/// those of another, and each waits for the latency of fourteen rounds: a third of the speed was lost that way.
#[inline]
#[target_feature(enable = "aes,sse4.1,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,vaes")]
fn abreast(blocks: &mut [__m512i; WIDTH]) {
    let [b0, b1, b2, b3, b4, b5, b6, b7] = blocks;
    // SAFETY: the template is a comment.
    unsafe {
        asm!(
            "/* {} {} {} {} {} {} {} {} */",
            inout(zmm_reg) * b0,
            inout(zmm_reg) * b1,
            inout(zmm_reg) * b2,
            inout(zmm_reg) * b3,
            inout(zmm_reg) * b4,
            inout(zmm_reg) * b5,
            inout(zmm_reg) * b6,
            inout(zmm_reg) * b7,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
}

#[inline]
#[target_feature(enable = "aes,sse4.1,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,vaes")]
fn load(window: &Window<'_, BLOCKS>, index: usize) -> __m512i {
    // SAFETY: the invariant of `Window`; callers count groups of four below `WIDTH`. The load needs no alignment.
    unsafe { _mm512_loadu_si512(window.source(4 * index).cast()) }
}

#[inline]
#[target_feature(enable = "aes,sse4.1,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,vaes")]
fn store(window: &Window<'_, BLOCKS>, index: usize, blocks: __m512i) {
    // SAFETY: the invariant of `Window`; callers count groups of four below `WIDTH`. The store needs no alignment.
    unsafe { _mm512_storeu_si512(window.target(4 * index).cast(), blocks) };
}
