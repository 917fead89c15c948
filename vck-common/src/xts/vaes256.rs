//! VAES in ymm registers, sixteen blocks in flight. Runs only while the AVX state is saved.
//!
//! Sixteen registers hold eight pairs of blocks and what the tweaks of the next sixteen blocks are computed with, beside the
//! rounds; those go through the stack, already combined with the first round key. Round keys are broadcast from memory, a
//! load that costs no vector unit, and used eight times.

use core::arch::asm;
use core::arch::x86_64::{
    __m256i, _mm_xor_si128, _mm256_aesenc_epi128, _mm256_aesenclast_epi128, _mm256_broadcastsi128_si256,
    _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_set_epi64x, _mm256_setzero_si256, _mm256_xor_si256,
};
use core::hint::black_box;
use core::mem;

use super::aesni::rest;
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
    let mut tweaks = tweaks.0.iter();
    let Some(first) = tweaks.next() else { return };
    let mut after = pair(first);
    let (mut one, mut other) = (Whitenings([0; BLOCKS]), Whitenings([0; BLOCKS]));
    let (mut now, mut next) = (&mut one, &mut other);
    now.fill(keys, &mut after);
    while let Some(mut sector) = sectors.next_sector() {
        // Behind the last sector of a batch there is none: what is computed for it is not used.
        let next_sector = tweaks.next().unwrap_or(first);
        while let Some(window) = sector.window::<BLOCKS>() {
            if sector.is_empty() {
                after = pair(next_sector);
            }
            group::<ENCRYPT>(keys, &window, now, next, &mut after);
            mem::swap(&mut now, &mut next);
        }
        if !sector.is_empty() {
            let (Whitenings([whitening, ..]), [before, ..]) = (&*now, keys);
            rest::<ENCRYPT>(keys, sector, _mm_xor_si128(vector(whitening), vector(before)));
            after = pair(next_sector);
            now.fill(keys, &mut after);
        }
    }
}

/// Tweaks of sixteen blocks combined with the first round key.
#[repr(align(32))]
struct Whitenings([u128; BLOCKS]);

/// Constants of the tweaks. The method is that of [`super::tweak`]: funnel shifts of prepared words, and one corrected byte
/// per block.
#[repr(C, align(32))]
struct Tables {
    /// Shift counts of the lower words; those of 64 shift the upper ones out.
    low: [[u64; 4]; 6],
    /// Words: where the seven bits of the upper word are that block 0, 2, ... 14 and 1, 3, ... 15 correct with. Bytes 14 and
    /// 15 serve shifts below eight, bytes 13 and 14 the others.
    windows: [u8; 32],
    /// Multiplied with these the bits come to the same place.
    places: [u16; 16],
    /// How far the words of a pair of blocks are shifted left and right, and which byte corrects them.
    pairs: [Pair; WIDTH],
    /// The polynomial and the carry from the lower to the upper word, where the signs are spread.
    carries: [u32; 8],
}

#[repr(C)]
struct Pair {
    left: [u64; 4],
    right: [u64; 4],
    pick: [u8; 32],
}

static TABLES: Tables = Tables {
    low: [low(1), low(2), low(7), low(63), low(62), low(57)],
    windows: [
        14, 15, 14, 15, 14, 15, 14, 15, 13, 14, 13, 14, 13, 14, 13, 14, //
        14, 15, 14, 15, 14, 15, 14, 15, 13, 14, 13, 14, 13, 14, 13, 14,
    ],
    places: [1, 4, 16, 64, 1, 4, 16, 64, 2, 8, 32, 128, 2, 8, 32, 128],
    pairs: [both(0), both(2), both(4), both(6), both(8), both(10), both(12), both(14)],
    carries: [0x87, 0, 1, 0, 0x87, 0, 1, 0],
};

const fn low(count: u64) -> [u64; 4] {
    [count, 64, count, 64]
}

/// Of the blocks `block` and the one after it.
const fn both(block: u8) -> Pair {
    let mut pick = [0x80; 32];
    let (lanes, _) = pick.as_chunks_mut::<16>();
    let [[even, ..], [odd, ..]] = lanes else { return Pair { left: [0; 4], right: [0; 4], pick } };
    *even = block;
    *odd = block;
    let shift = block as u64;
    Pair { left: [shift, shift, shift + 1, shift + 1], right: [64 - shift, 64 - shift, 63 - shift, 63 - shift], pick }
}

/// The words that are shifted, from tweak `t` in both halves.
#[rustfmt::skip]
macro_rules! words {
    () => {
        concat!(
            "vpshufd {x}, {t}, 0x4E\n",
            "vpsllvq {below}, {x}, [{tables}]\n",
            "vpsllvq {y}, {x}, [{tables} + 32]\n",
            "vpxor {below}, {below}, {y}\n",
            "vpsllvq {y}, {x}, [{tables} + 32 * 2]\n",
            "vpxor {below}, {below}, {x}\n",
            "vpxor {below}, {below}, {y}\n",
            "vpsrlvq {words}, {x}, [{tables} + 32 * 3]\n",
            "vpsrlvq {y}, {x}, [{tables} + 32 * 4]\n",
            "vpxor {words}, {words}, {t}\n",
            "vpsrlvq {x}, {x}, [{tables} + 32 * 5]\n",
            "vpxor {words}, {words}, {y}\n",
            "vpxor {words}, {words}, {x}\n",
        )
    };
}

/// The bytes that correct.
#[rustfmt::skip]
macro_rules! bytes {
    () => {
        concat!(
            "vpshufb {bytes}, {t}, [{tables} + 32 * 6]\n",
            "vpmullw {bytes}, {bytes}, [{tables} + 32 * 7]\n",
            "vpsrlw {bytes}, {bytes}, 9\n",
            "vpsrlw {x}, {bytes}, 5\n",
            "vpsrlw {y}, {bytes}, 6\n",
            "vpxor {bytes}, {bytes}, {x}\n",
            "vpxor {bytes}, {bytes}, {y}\n",
        )
    };
}

/// One pair. Leaves it in `x`, without the round key.
#[rustfmt::skip]
macro_rules! pair {
    ($pair:literal) => {
        concat!(
            "vpsllvq {x}, {words}, [{tables} + 32 * 8 + 96 * ", $pair, "]\n",
            "vpsrlvq {y}, {below}, [{tables} + 32 * 9 + 96 * ", $pair, "]\n",
            "vpxor {x}, {x}, {y}\n",
            "vpshufb {y}, {bytes}, [{tables} + 32 * 10 + 96 * ", $pair, "]\n",
            "vpxor {x}, {x}, {y}\n",
            "vpxor {y}, {x}, {before}\n",
            "vmovdqa [{next} + 32 * ", $pair, "], {y}\n",
        )
    };
}

/// The tweak after, in both halves of `t`: the last pair doubled, of which the upper half is it.
#[rustfmt::skip]
macro_rules! after {
    () => {
        concat!(
            "vpshufd {y}, {x}, 0x13\n",
            "vpsrad {y}, {y}, 31\n",
            "vpand {y}, {y}, [{tables} + 32 * 32]\n",
            "vpaddq {x}, {x}, {x}\n",
            "vpxor {x}, {x}, {y}\n",
            "vpermq {t}, {x}, 0xEE\n",
        )
    };
}

impl Whitenings {
    /// Those of the blocks from tweak `t` on, which is in both halves; `t` becomes the tweak of the block after them.
    #[inline]
    #[target_feature(enable = "aes,sse4.1,avx2,vaes")]
    fn fill(&mut self, keys: &Rounds, t: &mut __m256i) {
        let [before, ..] = keys;
        let before = pair(before);
        // SAFETY: reads constants and writes sixteen whitenings: by the references all of that is valid, and aligned as the
        // types are.
        unsafe {
            asm!(
                words!(),
                bytes!(),
                pair!("0"), pair!("1"), pair!("2"), pair!("3"), pair!("4"), pair!("5"), pair!("6"), pair!("7"),
                after!(),
                tables = in(reg) &raw const TABLES,
                next = in(reg) self.0.as_mut_ptr(),
                before = in(ymm_reg) before,
                t = inout(ymm_reg) *t,
                x = out(ymm_reg) _,
                y = out(ymm_reg) _,
                words = out(ymm_reg) _,
                below = out(ymm_reg) _,
                bytes = out(ymm_reg) _,
                options(nostack, preserves_flags),
            );
        }
    }
}

/// One round of all blocks. Left to itself the compiler puts the rounds of one block after those of another, and each waits
/// for the latency of fourteen rounds.
#[rustfmt::skip]
macro_rules! round {
    ($aes:literal, $key:literal) => {
        concat!(
            "vbroadcasti128 {key}, [{keys} + 16 * ", $key, "]\n",
            $aes, " {b0}, {b0}, {key}\n", $aes, " {b1}, {b1}, {key}\n",
            $aes, " {b2}, {b2}, {key}\n", $aes, " {b3}, {b3}, {key}\n",
            $aes, " {b4}, {b4}, {key}\n", $aes, " {b5}, {b5}, {key}\n",
            $aes, " {b6}, {b6}, {key}\n", $aes, " {b7}, {b7}, {key}\n",
        )
    };
}

#[rustfmt::skip]
macro_rules! first {
    ($pair:literal) => {
        concat!(
            "vmovdqu {b", $pair, "}, [{source} + 32 * ", $pair, "]\n",
            "vpxor {b", $pair, "}, {b", $pair, "}, [{now} + 32 * ", $pair, "]\n",
        )
    };
}

/// The last round key goes in with the whitening, and takes the first one out of it again: `before` is both by now.
#[rustfmt::skip]
macro_rules! last {
    ($aes:literal, $pair:literal, $key:literal) => {
        concat!(
            "vpxor ", $key, ", {before}, [{now} + 32 * ", $pair, "]\n",
            $aes, "last {b", $pair, "}, {b", $pair, "}, ", $key, "\n",
            "vmovdqu [{target} + 32 * ", $pair, "], {b", $pair, "}\n",
        )
    };
}

/// All rounds of sixteen blocks; beside them what the next sixteen are whitened with is computed.
macro_rules! rounds {
    ($aes:literal, $($operands:tt)*) => {
        asm!(
            first!("0"), first!("1"), first!("2"), first!("3"), first!("4"), first!("5"), first!("6"), first!("7"),
            round!($aes, "1"),
            words!(),
            round!($aes, "2"),
            bytes!(),
            round!($aes, "3"),
            pair!("0"),
            round!($aes, "4"),
            pair!("1"),
            round!($aes, "5"),
            pair!("2"),
            round!($aes, "6"),
            pair!("3"),
            round!($aes, "7"),
            pair!("4"),
            round!($aes, "8"),
            pair!("5"),
            round!($aes, "9"),
            pair!("6"),
            round!($aes, "10"),
            pair!("7"),
            round!($aes, "11"),
            after!(),
            round!($aes, "12"),
            "vbroadcasti128 {x}, [{keys} + 16 * 14]",
            "vpxor {before}, {before}, {x}",
            round!($aes, "13"),
            last!($aes, "0", "{x}"), last!($aes, "1", "{y}"), last!($aes, "2", "{key}"), last!($aes, "3", "{words}"),
            last!($aes, "4", "{x}"), last!($aes, "5", "{y}"), last!($aes, "6", "{key}"), last!($aes, "7", "{words}"),
            $($operands)*
        )
    };
}

/// Ciphers sixteen blocks with the whitenings `now`. Writes those of the sixteen from tweak `t` on, which is in both halves, to
/// `next`; `t` becomes the tweak of the block after them.
#[inline]
#[target_feature(enable = "aes,sse4.1,avx2,vaes")]
fn group<const ENCRYPT: bool>(
    keys: &Rounds,
    window: &Window<'_, BLOCKS>,
    now: &Whitenings,
    next: &mut Whitenings,
    t: &mut __m256i,
) {
    let [before, ..] = keys;
    let before = pair(before);
    macro_rules! cipher {
        ($aes:literal) => {
            rounds!(
                $aes,
                source = in(reg) window.source(0),
                target = in(reg) window.target(0),
                keys = in(reg) keys.as_ptr(),
                tables = in(reg) &raw const TABLES,
                now = in(reg) now.0.as_ptr(),
                next = in(reg) next.0.as_mut_ptr(),
                before = inout(ymm_reg) before => _,
                t = inout(ymm_reg) *t,
                key = out(ymm_reg) _,
                x = out(ymm_reg) _,
                y = out(ymm_reg) _,
                words = out(ymm_reg) _,
                below = out(ymm_reg) _,
                bytes = out(ymm_reg) _,
                b0 = out(ymm_reg) _,
                b1 = out(ymm_reg) _,
                b2 = out(ymm_reg) _,
                b3 = out(ymm_reg) _,
                b4 = out(ymm_reg) _,
                b5 = out(ymm_reg) _,
                b6 = out(ymm_reg) _,
                b7 = out(ymm_reg) _,
                options(nostack, preserves_flags),
            )
        };
    }
    if ENCRYPT {
        // SAFETY: reads round keys, constants, sixteen whitenings and the window's sixteen blocks, writes sixteen whitenings and
        // the window's blocks: by the references and the invariant of `Window` all of that is valid. What `vmovdqa` stores to
        // is aligned as the type is; nothing else need be. Each block is read before it is written.
        unsafe { cipher!("vaesenc") };
    } else {
        // SAFETY: as above.
        unsafe { cipher!("vaesdec") };
    }
}

/// A round key in both halves.
#[inline]
#[target_feature(enable = "aes,sse4.1,avx2,vaes")]
fn pair(key: &u128) -> __m256i {
    _mm256_broadcastsi128_si256(vector(key))
}
