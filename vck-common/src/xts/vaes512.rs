//! VAES in zmm registers, 32 blocks in flight. Runs only while the AVX and AVX-512 state is saved.
//!
//! Of 32 registers eight hold blocks, eight their tweaks, already combined with the first round key, and eight those of the next
//! 32 blocks, which are computed beside the rounds. Round keys are loaded when their round comes: one load for eight
//! instructions of the cipher.

use core::arch::asm;
use core::arch::x86_64::{
    __m512i, _mm_xor_si128, _mm512_add_epi64, _mm512_aesenc_epi128, _mm512_aesenclast_epi128, _mm512_broadcast_i32x4,
    _mm512_bslli_epi128, _mm512_castsi512_si128, _mm512_set_epi64, _mm512_setzero_si512, _mm512_storeu_si512,
    _mm512_xor_si512,
};

use core::ptr;

use super::aesni::rest;
use super::run::Window;
use super::schedule::{RoundKeys, Rounds, vector};
use super::tweak::{SectorTweaks, Sectors};

/// Registers in flight, four blocks each.
const WIDTH: usize = 8;
/// Blocks in flight.
const BLOCKS: usize = 4 * WIDTH;
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
    let mut tweaks = tweaks.0.iter().map(|tweak| broadcast(tweak));
    let Some(mut after) = tweaks.next() else { return };
    let doubling = Doubling::of(keys);
    let mut now = whitenings(keys, &mut after, &doubling);
    while let Some(mut sector) = sectors.next_sector() {
        // Behind the last sector of a batch there is none: what is computed for it is not used.
        let mut next_sector = tweaks.next().unwrap_or(after);
        while let Some(window) = sector.window::<BLOCKS>() {
            if sector.is_empty() {
                after = next_sector;
            }
            now = group::<ENCRYPT>(keys, &window, &now, &mut after, &doubling);
        }
        if !sector.is_empty() {
            let ([first, ..], [before, ..]) = (now, keys);
            rest::<ENCRYPT>(keys, sector, _mm_xor_si128(_mm512_castsi512_si128(first), vector(before)));
            now = whitenings(keys, &mut next_sector, &doubling);
            after = next_sector;
        }
    }
}

/// What computing whitenings takes: tweaks combined with the first round key, four blocks to a register.
///
/// Of a group's 32 blocks those of the first two registers are the group's tweak, shifted by less than eight bits. Every other
/// register is that of two before it times x^8: shifted by a byte, and corrected with the product of 0x87 and the bits that
/// were shifted out. All these bits are in the upper word of the group's tweak, so that the products for all registers are
/// computed together, 16 bits each: [`Tables`].
///
/// Byte shifts, byte permutations and ternary logic run beside the AES units of all processors that have this kernel. Bit shifts
/// share the one AES unit of Intel's (there are two to a group), and so does a carry-less multiplication on AMD's.
struct Doubling {
    /// Takes the round key out of what was shifted by a byte, and puts it back.
    key: __m512i,
    /// The lowest two bytes of each lane.
    product: u64,
    /// The same without the first lane: a shift by no bit has no product.
    shifted: u64,
}

impl Doubling {
    #[inline]
    #[target_feature(enable = "aes,sse4.1,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,vaes")]
    fn of(keys: &Rounds) -> Self {
        let [before, ..] = keys;
        let before = broadcast(before);
        Self {
            key: _mm512_xor_si512(_mm512_bslli_epi128::<1>(before), before),
            product: 0x0003_0003_0003_0003,
            shifted: 0x0003_0003_0003_0000,
        }
    }
}

/// Constants of the tweaks. Slot k of 0 to 24, 16 bits, is the product for the block eight after block k: its bits are those
/// that shifting block k's tweak by a byte pushes out. Slot 24 + k, for k of 1 to 7, is that of a shift by k bits.
#[repr(C, align(64))]
struct Tables {
    /// For `vpmultishiftqb`: where in the upper word the bits of a slot's factor are, shifted left by 0, 1, 2 and 7.
    positions: [[u8; 64]; 4],
    /// Which of them are the factor's.
    masks: [[u8; 64]; 4],
    /// For `vpermb`: the slots of a register's lanes, for each register and for the tweak of the next group.
    picks: [[u8; 64]; WIDTH + 1],
    /// How far the first two registers are shifted.
    shifts: [[u64; 8]; 2],
}

const TABLES: &Tables = &Tables {
    positions: [positions(0), positions(1), positions(2), positions(7)],
    masks: [masks(0), masks(1), masks(2), masks(7)],
    picks: [
        picks(24, 1),
        picks(28, 1),
        picks(0, 1),
        picks(4, 1),
        picks(8, 1),
        picks(12, 1),
        picks(16, 1),
        picks(20, 1),
        picks(24, 0),
    ],
    shifts: [[0, 0, 1, 1, 2, 2, 3, 3], [4, 4, 5, 5, 6, 6, 7, 7]],
};

/// Lowest bit, in the upper word, of a slot's factor, and how many bits it has.
const fn factor(slot: u8) -> (u8, u8) {
    if slot <= 24 { (56 - slot, 8) } else { (88 - slot, slot - 24) }
}

const fn positions(shift: u8) -> [u8; 64] {
    let mut bytes = [0; 64];
    let mut left: &mut [[u8; 2]] = bytes.as_chunks_mut::<2>().0;
    let mut slot = 0;
    while let [pair, rest @ ..] = left {
        let (lowest, _) = factor(slot);
        *pair = [(lowest - shift) % 64, (lowest - shift + 8) % 64];
        left = rest;
        slot += 1;
    }
    bytes
}

const fn masks(shift: u8) -> [u8; 64] {
    let mut bytes = [0; 64];
    let mut left: &mut [[u8; 2]] = bytes.as_chunks_mut::<2>().0;
    let mut slot = 0;
    while let [pair, rest @ ..] = left {
        let (_, width) = factor(slot);
        *pair = (((1_u16 << width) - 1) << shift).to_le_bytes();
        left = rest;
        slot += 1;
    }
    bytes
}

/// Lane n takes slot `first + n * step`.
const fn picks(first: u8, step: u8) -> [u8; 64] {
    let mut bytes = [0; 64];
    let mut left: &mut [[u8; 16]] = bytes.as_chunks_mut::<16>().0;
    let mut slot = first;
    while let [lane, rest @ ..] = left {
        let [low, high, ..] = lane;
        *low = 2 * slot;
        *high = 2 * slot + 1;
        left = rest;
        slot += step;
    }
    bytes
}

/// The products of all slots from the group's tweak `t`, in `products`.
#[rustfmt::skip]
macro_rules! products {
    () => {
        concat!(
            "vpshufd {x}, {t}, 0xEE\n",
            "vmovdqa64 {products}, [{tables}]\n",
            "vpmultishiftqb {products}, {products}, {x}\n",
            "vpandq {products}, {products}, [{tables} + 64 * 4]\n",
            products!("1"), products!("2"), products!("3"),
        )
    };
    ($part:literal) => {
        concat!(
            "vmovdqa64 {y}, [{tables} + 64 * ", $part, "]\n",
            "vpmultishiftqb {y}, {y}, {x}\n",
            // The first exclusive or with both of the others.
            "vpternlogq {products}, {y}, [{tables} + 64 * 4 + 64 * ", $part, "], 0x78\n",
        )
    };
}

/// The first two registers. Leaves the first round key in `x`.
#[rustfmt::skip]
macro_rules! shifted {
    () => {
        concat!(
            "vpslldq {x}, {t}, 8\n",
            "vmovdqa64 {n0}, {t}\n",
            "vmovdqa64 {n1}, {t}\n",
            "vpshldvq {n0}, {x}, [{tables} + 64 * 17]\n",
            "vpshldvq {n1}, {x}, [{tables} + 64 * 18]\n",
            "vbroadcasti32x4 {x}, [{keys}]\n",
            "vmovdqa64 {y}, [{tables} + 64 * 8]\n",
            "vpermb {y}{{{shifted}}}{{z}}, {y}, {products}\n",
            "vpternlogq {n0}, {y}, {x}, 0x96\n",
            "vmovdqa64 {y}, [{tables} + 64 * 9]\n",
            "vpermb {y}{{{product}}}{{z}}, {y}, {products}\n",
            "vpternlogq {n1}, {y}, {x}, 0x96\n",
        )
    };
}

/// A register from the one two before it.
#[rustfmt::skip]
macro_rules! times_x8 {
    ($to:literal, $from:literal) => { times_x8!($to, concat!("vpslldq {y}, {n", $from, "}, 1\n"), concat!("{n", $to, "}")) };
    ($pick:expr, $shift:expr, $to:expr) => {
        concat!(
            "vmovdqa64 ", $to, ", [{tables} + 64 * 8 + 64 * ", $pick, "]\n",
            "vpermb ", $to, "{{{product}}}{{z}}, ", $to, ", {products}\n",
            $shift,
            "vpternlogq ", $to, ", {y}, {key8}, 0x96\n",
        )
    };
}

/// The tweak of the group after.
#[rustfmt::skip]
macro_rules! after {
    () => {
        concat!(
            times_x8!("8", "vshufi64x2 {y}, {n6}, {n6}, 0\nvpslldq {y}, {y}, 1\n", "{t}"),
            "vpxorq {t}, {t}, {x}\n",
        )
    };
}

/// The whitenings of the 32 blocks from tweak `t` on, which is in all lanes; `t` becomes the tweak of the block after them.
#[inline]
#[target_feature(enable = "aes,sse4.1,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,vaes")]
fn whitenings(keys: &Rounds, t: &mut __m512i, doubling: &Doubling) -> [__m512i; WIDTH] {
    let mut n = [_mm512_setzero_si512(); WIDTH];
    let [n0, n1, n2, n3, n4, n5, n6, n7] = &mut n;
    // Not used, see `group`.
    let [x, y, products] = &mut [_mm512_setzero_si512(); 3];
    // SAFETY: reads a round key and constants: by the references all of that is valid; constants are aligned as the loads
    // demand.
    unsafe {
        asm!(
            products!(),
            shifted!(),
            times_x8!("2", "0"),
            times_x8!("3", "1"),
            times_x8!("4", "2"),
            times_x8!("5", "3"),
            times_x8!("6", "4"),
            times_x8!("7", "5"),
            after!(),
            keys = in(reg) keys.as_ptr(),
            tables = in(reg) ptr::from_ref(TABLES),
            product = in(kreg) doubling.product,
            shifted = in(kreg) doubling.shifted,
            key8 = in(zmm_reg) doubling.key,
            t = inout(zmm_reg) *t,
            x = out(zmm_reg) *x,
            y = out(zmm_reg) *y,
            products = out(zmm_reg) *products,
            n0 = out(zmm_reg) *n0,
            n1 = out(zmm_reg) *n1,
            n2 = out(zmm_reg) *n2,
            n3 = out(zmm_reg) *n3,
            n4 = out(zmm_reg) *n4,
            n5 = out(zmm_reg) *n5,
            n6 = out(zmm_reg) *n6,
            n7 = out(zmm_reg) *n7,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    n
}

/// One round of all blocks.
macro_rules! round {
    ($aes:literal, $key:literal) => {
        wide_round!("vbroadcasti32x4", $aes, $key)
    };
}

#[rustfmt::skip]
macro_rules! first {
    ($four:literal) => { concat!("vpxorq {b", $four, "}, {w", $four, "}, [{source} + 64 * ", $four, "]\n") };
}

/// The last round key goes in with the whitening, and takes the first one out of it again.
#[rustfmt::skip]
macro_rules! last {
    ($aes:literal, $four:literal, $key:literal) => {
        concat!(
            "vpxorq ", $key, ", {w", $four, "}, {last}\n",
            $aes, "last {b", $four, "}, {b", $four, "}, ", $key, "\n",
            "vmovdqu64 [{target} + 64 * ", $four, "], {b", $four, "}\n",
        )
    };
}

/// All rounds of 32 blocks; beside them what the next 32 are whitened with is computed.
macro_rules! rounds {
    ($aes:literal, $($operands:tt)*) => {
        asm!(
            first!("0"), first!("1"), first!("2"), first!("3"), first!("4"), first!("5"), first!("6"), first!("7"),
            round!($aes, "1"),
            products!(),
            round!($aes, "2"),
            round!($aes, "3"),
            shifted!(),
            round!($aes, "4"),
            round!($aes, "5"),
            times_x8!("2", "0"),
            times_x8!("3", "1"),
            round!($aes, "6"),
            times_x8!("4", "2"),
            times_x8!("5", "3"),
            round!($aes, "7"),
            times_x8!("6", "4"),
            times_x8!("7", "5"),
            round!($aes, "8"),
            after!(),
            round!($aes, "9"), round!($aes, "10"), round!($aes, "11"), round!($aes, "12"), round!($aes, "13"),
            last!($aes, "0", "{x}"), last!($aes, "1", "{y}"), last!($aes, "2", "{key}"), last!($aes, "3", "{products}"),
            last!($aes, "4", "{x}"), last!($aes, "5", "{y}"), last!($aes, "6", "{key}"), last!($aes, "7", "{products}"),
            $($operands)*
        )
    };
}

/// Ciphers 32 blocks with the whitenings `now`. Gives those of the 32 from tweak `t` on, which is in all lanes; `t` becomes the
/// tweak of the block after them.
#[inline]
#[target_feature(enable = "aes,sse4.1,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,vaes")]
fn group<const ENCRYPT: bool>(
    keys: &Rounds,
    window: &Window<'_, BLOCKS>,
    now: &[__m512i; WIDTH],
    t: &mut __m512i,
    doubling: &Doubling,
) -> [__m512i; WIDTH] {
    let [before, .., after] = keys;
    let last = _mm512_xor_si512(broadcast(before), broadcast(after));
    let [w0, w1, w2, w3, w4, w5, w6, w7] = *now;
    let mut next = [_mm512_setzero_si512(); WIDTH];
    let [n0, n1, n2, n3, n4, n5, n6, n7] = &mut next;
    // Not used; without a value of their type the compiler misnames the upper sixteen registers.
    let [b0, b1, b2, b3, b4, b5, b6, b7] = &mut [_mm512_setzero_si512(); WIDTH];
    let [key, x, y, products] = &mut [_mm512_setzero_si512(); 4];
    macro_rules! cipher {
        ($aes:literal) => {
            rounds!(
                $aes,
                source = in(reg) window.source(0),
                target = in(reg) window.target(0),
                keys = in(reg) keys.as_ptr(),
                tables = in(reg) ptr::from_ref(TABLES),
                product = in(kreg) doubling.product,
                shifted = in(kreg) doubling.shifted,
                key8 = in(zmm_reg) doubling.key,
                last = in(zmm_reg) last,
                t = inout(zmm_reg) *t,
                key = out(zmm_reg) *key,
                x = out(zmm_reg) *x,
                y = out(zmm_reg) *y,
                products = out(zmm_reg) *products,
                w0 = in(zmm_reg) w0,
                w1 = in(zmm_reg) w1,
                w2 = in(zmm_reg) w2,
                w3 = in(zmm_reg) w3,
                w4 = in(zmm_reg) w4,
                w5 = in(zmm_reg) w5,
                w6 = in(zmm_reg) w6,
                w7 = in(zmm_reg) w7,
                n0 = out(zmm_reg) *n0,
                n1 = out(zmm_reg) *n1,
                n2 = out(zmm_reg) *n2,
                n3 = out(zmm_reg) *n3,
                n4 = out(zmm_reg) *n4,
                n5 = out(zmm_reg) *n5,
                n6 = out(zmm_reg) *n6,
                n7 = out(zmm_reg) *n7,
                b0 = out(zmm_reg) *b0,
                b1 = out(zmm_reg) *b1,
                b2 = out(zmm_reg) *b2,
                b3 = out(zmm_reg) *b3,
                b4 = out(zmm_reg) *b4,
                b5 = out(zmm_reg) *b5,
                b6 = out(zmm_reg) *b6,
                b7 = out(zmm_reg) *b7,
                options(nostack, preserves_flags),
            )
        };
    }
    if ENCRYPT {
        // SAFETY: reads round keys, constants and the window's 32 blocks, writes the window's blocks: by the references and the
        // invariant of `Window` all of that is valid. Constants are aligned. Each block is read before it is written.
        unsafe { cipher!("vaesenc") };
    } else {
        // SAFETY: as above.
        unsafe { cipher!("vaesdec") };
    }
    next
}

/// Sixteen bytes in all lanes.
#[inline]
#[target_feature(enable = "aes,sse4.1,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2,vaes")]
fn broadcast(bytes: &u128) -> __m512i {
    _mm512_broadcast_i32x4(vector(bytes))
}
