//! VAES in ymm registers, sixteen blocks in flight. Runs only while the AVX state is saved.
//!
//! Eight registers hold a pair of blocks each. The tweaks of the next sixteen blocks are computed beside the rounds, in general
//! registers and through the stack as in [`super::aesni`]: with vector instructions half of the shifts took a turn of
//! an AES unit. Round keys are broadcast from memory, a load that costs no vector unit, and used eight times.

use core::arch::asm;
use core::arch::x86_64::{
    __m256i, _mm_xor_si128, _mm256_aesenc_epi128, _mm256_aesenclast_epi128, _mm256_broadcastsi128_si256,
    _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_set_epi64x, _mm256_setzero_si256, _mm256_xor_si256,
};
use core::hint::black_box;
use core::mem;

use super::aesni::{Doubling, Whitening, halves, rest, word};
use super::run::Window;
use super::schedule::{self, RoundKeys, Rounds, vector};
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
        *low = schedule::word(_mm256_castsi256_si128(tweak));
        *high = schedule::word(_mm256_extracti128_si256::<1>(tweak));
    }
}

#[target_feature(enable = "aes,sse4.1,avx2,vaes")]
#[inline(never)]
fn batch_of_sectors<const ENCRYPT: bool>(keys: &Rounds, mut sectors: Sectors<'_>, tweaks: &SectorTweaks) {
    let [before, ..] = keys;
    let doubling = Doubling::of(*before);
    let mut tweaks = tweaks.0.iter().map(|tweak| tweak ^ before);
    let Some(mut after) = tweaks.next() else { return };
    let (mut first, mut second) = ([0; BLOCKS], [0; BLOCKS]);
    let (mut now, mut next) = (&mut first, &mut second);
    after = doubling.fill(now, after);
    while let Some(mut sector) = sectors.next_sector() {
        // Behind the last sector of a batch there is none: what is computed for it is not used.
        let next_sector = tweaks.next().unwrap_or(after);
        while let Some(window) = sector.window::<BLOCKS>() {
            let start = if sector.is_empty() { next_sector } else { after };
            after = group::<ENCRYPT>(keys, &window, now, next, start, &doubling);
            mem::swap(&mut now, &mut next);
        }
        if !sector.is_empty() {
            let [whitening, ..] = &*now;
            rest::<ENCRYPT>(keys, sector, _mm_xor_si128(vector(whitening), vector(before)));
            after = doubling.fill(now, next_sector);
        }
    }
}

/// The ninth whitening from the first, times x^8: two chains of eight blocks wait less than one of sixteen.
#[rustfmt::skip]
macro_rules! times_x8 {
    () => {
        concat!(
            "mov {low8}, {low}\n",
            "mov {high8}, {high}\n",
            "mov {over}, {high}\n",
            "mov {t}, {low}\n",
            "shl {low8}, 8\n",
            "shl {high8}, 8\n",
            "shr {over}, 56\n",
            "shr {t}, 56\n",
            "or {high8}, {t}\n",
            // What was shifted out times 0x87.
            "xor {low8}, {over}\n",
            "lea {t}, [{over} + {over}]\n",
            "shl {over}, 2\n",
            "xor {low8}, {t}\n",
            "xor {low8}, {over}\n",
            "shl {over}, 5\n",
            "xor {low8}, {over}\n",
            "xor {low8}, [{doubling} + 24]\n",
            "xor {high8}, [{doubling} + 32]\n",
        )
    };
}

/// Stores the whitening of a block and doubles it.
#[rustfmt::skip]
macro_rules! whitening {
    ($block:literal, $low:literal, $high:literal) => {
        concat!(
            "mov [{next} + 16 * ", $block, "], ", $low, "\n",
            "mov [{next} + 16 * ", $block, " + 8], ", $high, "\n",
            "mov {t}, [{doubling}]\n",
            "add ", $low, ", ", $low, "\n",
            "adc ", $high, ", ", $high, "\n",
            "cmovc {t}, [{doubling} + 8]\n",
            "xor ", $low, ", {t}\n",
            "xor ", $high, ", [{doubling} + 16]\n",
        )
    };
    ($one:literal and $other:literal) => {
        concat!(whitening!($one, "{low}", "{high}"), whitening!($other, "{low8}", "{high8}"))
    };
}

/// One round of all blocks.
macro_rules! round {
    ($aes:literal, $key:literal) => {
        wide_round!("vbroadcasti128", $aes, $key)
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

/// The last round key goes in with the whitening, and takes the first one out of it again.
#[rustfmt::skip]
macro_rules! last {
    ($aes:literal, $pair:literal) => {
        concat!(
            "vpxor {key}, {last}, [{now} + 32 * ", $pair, "]\n",
            $aes, "last {b", $pair, "}, {b", $pair, "}, {key}\n",
            "vmovdqu [{target} + 32 * ", $pair, "], {b", $pair, "}\n",
        )
    };
}

/// All rounds of sixteen blocks; beside them what the next sixteen are whitened with is computed.
macro_rules! rounds {
    ($aes:literal, $($operands:tt)*) => {
        asm!(
            first!("0"), first!("1"), first!("2"), first!("3"), first!("4"), first!("5"), first!("6"), first!("7"),
            times_x8!(),
            round!($aes, "1"),
            whitening!("0" and "8"),
            round!($aes, "2"),
            whitening!("1" and "9"),
            round!($aes, "3"),
            whitening!("2" and "10"),
            round!($aes, "4"),
            whitening!("3" and "11"),
            round!($aes, "5"),
            whitening!("4" and "12"),
            round!($aes, "6"),
            whitening!("5" and "13"),
            round!($aes, "7"),
            whitening!("6" and "14"),
            round!($aes, "8"),
            whitening!("7" and "15"),
            round!($aes, "9"), round!($aes, "10"), round!($aes, "11"), round!($aes, "12"), round!($aes, "13"),
            last!($aes, "0"), last!($aes, "1"), last!($aes, "2"), last!($aes, "3"),
            last!($aes, "4"), last!($aes, "5"), last!($aes, "6"), last!($aes, "7"),
            $($operands)*
        )
    };
}

/// Ciphers sixteen blocks with the whitenings `now`; writes the sixteen from `start` on to `next` and gives the one after them.
#[inline]
#[target_feature(enable = "aes,sse4.1,avx2,vaes")]
fn group<const ENCRYPT: bool>(
    keys: &Rounds,
    window: &Window<'_, BLOCKS>,
    now: &[Whitening; BLOCKS],
    next: &mut [Whitening; BLOCKS],
    start: Whitening,
    doubling: &Doubling,
) -> Whitening {
    let [before, .., after] = keys;
    let last = _mm256_xor_si256(pair(before), pair(after));
    let (low, high) = halves(start);
    let (low_after, high_after): (u64, u64);
    macro_rules! cipher {
        ($aes:literal) => {
            rounds!(
                $aes,
                source = in(reg) window.source(0),
                target = in(reg) window.target(0),
                keys = in(reg) keys.as_ptr(),
                now = in(reg) now.as_ptr(),
                next = in(reg) next.as_mut_ptr(),
                doubling = in(reg) &raw const *doubling,
                low = inout(reg) low => _,
                high = inout(reg) high => _,
                low8 = out(reg) low_after,
                high8 = out(reg) high_after,
                over = out(reg) _,
                t = out(reg) _,
                last = in(ymm_reg) last,
                key = out(ymm_reg) _,
                b0 = out(ymm_reg) _,
                b1 = out(ymm_reg) _,
                b2 = out(ymm_reg) _,
                b3 = out(ymm_reg) _,
                b4 = out(ymm_reg) _,
                b5 = out(ymm_reg) _,
                b6 = out(ymm_reg) _,
                b7 = out(ymm_reg) _,
                options(nostack),
            )
        };
    }
    if ENCRYPT {
        // SAFETY: reads round keys, constants, sixteen whitenings and the window's sixteen blocks, writes sixteen whitenings and
        // the window's blocks: by the references and the invariant of `Window` all of that is valid. Nothing need be aligned.
        // Each block is read before it is written.
        unsafe { cipher!("vaesenc") };
    } else {
        // SAFETY: as above.
        unsafe { cipher!("vaesdec") };
    }
    word(low_after, high_after)
}

/// A round key in both halves.
#[inline]
#[target_feature(enable = "aes,sse4.1,avx2,vaes")]
fn pair(key: &u128) -> __m256i {
    _mm256_broadcastsi128_si256(vector(key))
}
