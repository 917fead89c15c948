//! AES-NI in xmm registers, eight blocks in flight. Legacy SSE encodings alone: needs no saved state at any IRQL.
//!
//! Eight blocks are what two AES units need to be busy all the time. The tweaks of the next eight are computed beside the rounds,
//! in general registers: there they take nothing from the AES units. They go through the stack, already combined with the
//! first round key. Their halves are stored one by one and loaded together, which has to wait for the stores; so they are
//! computed in the first rounds of the group before.

use core::arch::asm;
use core::arch::x86_64::{
    __m128i, _mm_add_epi64, _mm_aesdec_si128, _mm_aesdeclast_si128, _mm_aesenc_si128, _mm_aesenclast_si128,
    _mm_and_si128, _mm_loadu_si128, _mm_set_epi32, _mm_set_epi64x, _mm_setzero_si128, _mm_shuffle_epi32,
    _mm_srai_epi32, _mm_storeu_si128, _mm_xor_si128,
};
use core::hint::black_box;
use core::mem;

use super::portable;
use super::run::{Run, Window};
use super::schedule::{self, RoundKeys, Rounds, vector};
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
            *tweak = schedule::word(_mm_aesenclast_si128(*block, vector(after)));
        }
    }
}

#[target_feature(enable = "aes,sse4.1")]
#[inline(never)]
fn batch_of_sectors<const ENCRYPT: bool>(keys: &Rounds, mut sectors: Sectors<'_>, tweaks: &SectorTweaks) {
    let [before, ..] = keys;
    let doubling = Doubling::of(*before);
    let mut tweaks = tweaks.0.iter().map(|tweak| tweak ^ before);
    let Some(mut after) = tweaks.next() else { return };
    let (mut first, mut second) = ([0; WIDTH], [0; WIDTH]);
    let (mut now, mut next) = (&mut first, &mut second);
    after = doubling.fill(now, after);
    while let Some(mut sector) = sectors.next_sector() {
        // Behind the last sector of a batch there is none: what is computed for it is not used.
        let next_sector = tweaks.next().unwrap_or(after);
        while let Some(window) = sector.window::<WIDTH>() {
            let start = if sector.is_empty() { next_sector } else { after };
            after = eight::<ENCRYPT>(keys, &window, now, next, start, &doubling);
            mem::swap(&mut now, &mut next);
        }
        if !sector.is_empty() {
            let [whitening, ..] = &*now;
            rest::<ENCRYPT>(keys, sector, _mm_xor_si128(vector(whitening), vector(before)));
            after = doubling.fill(now, next_sector);
        }
    }
}

/// A block's tweak combined with the first round key: what its plain text or cipher text is combined with.
pub(super) type Whitening = u128;

/// From the whitening of a block to that of the next: multiplied by x, with what takes the round key out and puts it back.
/// Multiplication is linear, so that is one constant; it depends on the carry of the whitening by 0x87 alone.
#[repr(C)]
pub(super) struct Doubling {
    /// Low half without and with a carry.
    low: [u64; 2],
    high: u64,
    /// The constant, low and high, for the block eight blocks on: there the whitening is multiplied by x^8.
    eight: [u64; 2],
}

impl Doubling {
    pub(super) fn of(key: u128) -> Self {
        let (low, high) = halves(portable::times_x(key) ^ key);
        let eighth = (0..8).fold(key, |word, _| portable::times_x(word));
        let (low8, high8) = halves(eighth ^ key);
        Self { low: [low, low ^ 0x87], high, eight: [low8, high8] }
    }

    /// The whitenings of some blocks from the first; gives that of the block after them.
    pub(super) fn fill(&self, whitenings: &mut [Whitening], mut first: Whitening) -> Whitening {
        let [even, _] = self.low;
        let constant = word(even, self.high);
        for whitening in whitenings {
            *whitening = first;
            first = portable::times_x(first) ^ constant;
        }
        first
    }
}

/// Low and high.
#[expect(clippy::cast_possible_truncation, reason = "a half is what is wanted")]
pub(super) const fn halves(word: u128) -> (u64, u64) {
    (word as u64, (word >> 64) as u64)
}

pub(super) const fn word(low: u64, high: u64) -> u128 {
    (high as u128) << 64 | low as u128
}

/// One round of eight blocks. Left to itself the compiler puts the rounds of one block after those of another, and each
/// waits for the latency of fourteen rounds.
#[rustfmt::skip]
macro_rules! round {
    ($aes:literal, $key:literal) => {
        concat!(
            "movaps {key}, [{keys} + 16 * ", $key, "]\n",
            $aes, " {b0}, {key}\n", $aes, " {b1}, {key}\n", $aes, " {b2}, {key}\n", $aes, " {b3}, {key}\n",
            $aes, " {b4}, {key}\n", $aes, " {b5}, {key}\n", $aes, " {b6}, {key}\n", $aes, " {b7}, {key}\n",
        )
    };
    // Beside it the whitening of a block of the next group is stored and doubled: the units for integers are idle.
    ($aes:literal, $key:literal, whitening $block:literal) => {
        concat!(
            "movaps {key}, [{keys} + 16 * ", $key, "]\n",
            $aes, " {b0}, {key}\n", "mov [{next} + 16 * ", $block, "], {low}\n",
            $aes, " {b1}, {key}\n", "mov [{next} + 16 * ", $block, " + 8], {high}\n",
            $aes, " {b2}, {key}\n", "mov {constant}, {even}\n",
            $aes, " {b3}, {key}\n", "add {low}, {low}\n",
            $aes, " {b4}, {key}\n", "adc {high}, {high}\n",
            $aes, " {b5}, {key}\n", "cmovc {constant}, {odd}\n",
            $aes, " {b6}, {key}\n", "xor {low}, {constant}\n",
            $aes, " {b7}, {key}\n", "xor {high}, {above}\n",
        )
    };
}

/// The first whitening of a block.
#[rustfmt::skip]
macro_rules! first {
    ($block:literal) => {
        concat!(
            "movdqu {b", $block, "}, [{source} + 16 * ", $block, "]\n",
            "pxor {b", $block, "}, [{now} + 16 * ", $block, "]\n",
        )
    };
}

/// The last round of a block. Its key goes in with the whitening, and takes the first one out of it again.
#[rustfmt::skip]
macro_rules! last {
    ($aes:literal, $block:literal) => {
        concat!(
            "movdqa {key}, [{now} + 16 * ", $block, "]\n",
            "pxor {key}, {last}\n",
            $aes, "last {b", $block, "}, {key}\n",
            "movdqu [{target} + 16 * ", $block, "], {b", $block, "}\n",
        )
    };
}

/// All rounds of eight blocks.
macro_rules! rounds {
    ($aes:literal, $($operands:tt)*) => {
        asm!(
            first!("0"), first!("1"), first!("2"), first!("3"), first!("4"), first!("5"), first!("6"), first!("7"),
            round!($aes, "1", whitening "0"),
            round!($aes, "2", whitening "1"),
            round!($aes, "3", whitening "2"),
            round!($aes, "4", whitening "3"),
            round!($aes, "5", whitening "4"),
            round!($aes, "6", whitening "5"),
            round!($aes, "7", whitening "6"),
            round!($aes, "8", whitening "7"),
            round!($aes, "9"), round!($aes, "10"), round!($aes, "11"), round!($aes, "12"), round!($aes, "13"),
            last!($aes, "0"), last!($aes, "1"), last!($aes, "2"), last!($aes, "3"),
            last!($aes, "4"), last!($aes, "5"), last!($aes, "6"), last!($aes, "7"),
            $($operands)*
        )
    };
}

/// Ciphers eight blocks with the whitenings `now`; writes the eight from `start` on to `next` and gives the one after them.
#[inline]
#[target_feature(enable = "aes,sse4.1")]
fn eight<const ENCRYPT: bool>(
    keys: &Rounds,
    window: &Window<'_, WIDTH>,
    now: &[Whitening; WIDTH],
    next: &mut [Whitening; WIDTH],
    start: Whitening,
    doubling: &Doubling,
) -> Whitening {
    let [before, .., after] = keys;
    let last = _mm_xor_si128(vector(before), vector(after));
    let (mut low, mut high) = halves(start);
    let [even, odd] = doubling.low;
    macro_rules! cipher {
        ($aes:literal) => {
            rounds!(
                $aes,
                source = in(reg) window.source(0),
                target = in(reg) window.target(0),
                keys = in(reg) keys.as_ptr(),
                now = in(reg) now.as_ptr(),
                next = in(reg) next.as_mut_ptr(),
                low = inout(reg) low,
                high = inout(reg) high,
                even = in(reg) even,
                odd = in(reg) odd,
                above = in(reg) doubling.high,
                constant = out(reg) _,
                last = in(xmm_reg) last,
                key = out(xmm_reg) _,
                b0 = out(xmm_reg) _,
                b1 = out(xmm_reg) _,
                b2 = out(xmm_reg) _,
                b3 = out(xmm_reg) _,
                b4 = out(xmm_reg) _,
                b5 = out(xmm_reg) _,
                b6 = out(xmm_reg) _,
                b7 = out(xmm_reg) _,
                options(nostack),
            )
        };
    }
    if ENCRYPT {
        // SAFETY: reads fifteen round keys, eight whitenings and the window's eight blocks, writes eight whitenings and the
        // window's blocks: by the references and the invariant of `Window` all of that is valid, and what is read with
        // `movaps`, `movdqa` and `pxor` is aligned as u128 are. Each block is read before it is written.
        unsafe { cipher!("aesenc") };
    } else {
        // SAFETY: as above.
        unsafe { cipher!("aesdec") };
    }
    word(low, high)
}

/// Ciphers what is left of a sector block by block.
#[inline]
#[target_feature(enable = "aes,sse4.1")]
pub(super) fn rest<const ENCRYPT: bool>(keys: &Rounds, mut sector: Run<'_>, mut tweak: __m128i) {
    while let Some(window) = sector.window::<1>() {
        // Loaded anew for each block: kept, they would be spilled to the frames of all who call this, who hardly ever do.
        let [before, between @ .., after] = black_box(keys);
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
