//! AES-256 key schedules for the vector kernels.
//!
//! # Invariants
//! * Made with AES-NI alone: no table is looked up with key bytes.
//! * Wiped on drop.

use core::arch::x86_64::{
    __m128i, _mm_aesimc_si128, _mm_aeskeygenassist_si128, _mm_load_si128, _mm_shuffle_epi32, _mm_slli_si128,
    _mm_store_si128, _mm_xor_si128,
};
use core::ptr;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Round keys of one AES-256 key: one before the first round and one after each of 14.
pub(super) type Rounds = [u128; 15];

/// The schedules of an XTS cipher, each round key as the sixteen bytes that a vector load sees.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct RoundKeys {
    /// Data key, for `aesenc`.
    pub(super) encrypt: Rounds,
    /// Data key, for `aesdec`: in reverse order, those between the ends through `aesimc`.
    pub(super) decrypt: Rounds,
    /// Tweak key, for `aesenc`.
    pub(super) tweak: Rounds,
}

impl RoundKeys {
    /// Expands both keys.
    #[target_feature(enable = "aes,sse4.1")]
    #[inline(never)]
    pub(super) fn new(data_key: &[u8; 32], tweak_key: &[u8; 32]) -> Self {
        let mut keys = Self { encrypt: expand(data_key), decrypt: [0; 15], tweak: expand(tweak_key) };
        for (to, from) in keys.decrypt.iter_mut().zip(keys.encrypt.iter().rev()) {
            *to = *from;
        }
        let [_, between @ .., _] = &mut keys.decrypt;
        for key in between {
            *key = word(_mm_aesimc_si128(vector(key)));
        }
        keys
    }

    /// The data schedule of one direction.
    pub(super) const fn data<const ENCRYPT: bool>(&self) -> &Rounds {
        if ENCRYPT { &self.encrypt } else { &self.decrypt }
    }
}

/// FIPS 197, 5.2: each pair of round keys from the pair before.
#[target_feature(enable = "aes,sse4.1")]
fn expand(key: &[u8; 32]) -> Rounds {
    let mut rounds = [0; 15];
    let (halves, _) = key.as_chunks::<16>();
    for (to, half) in rounds.iter_mut().zip(halves) {
        *to = u128::from_le_bytes(*half);
    }
    pair::<0, 0x01>(&mut rounds);
    pair::<2, 0x02>(&mut rounds);
    pair::<4, 0x04>(&mut rounds);
    pair::<6, 0x08>(&mut rounds);
    pair::<8, 0x10>(&mut rounds);
    pair::<10, 0x20>(&mut rounds);
    pair::<12, 0x40>(&mut rounds);
    rounds
}

/// From round keys `AT` and `AT + 1` the two that follow; of the last pair there is only the first.
#[target_feature(enable = "aes,sse4.1")]
fn pair<const AT: usize, const RCON: i32>(rounds: &mut Rounds) {
    let (_, [even, odd, next @ ..]) = rounds.split_at_mut(AT) else { return };
    let [next_even, next @ ..] = next else { return };
    // RotWord and SubWord of the last word, and the round constant.
    let rotated = _mm_shuffle_epi32::<0b11_11_11_11>(_mm_aeskeygenassist_si128::<RCON>(vector(odd)));
    let first = _mm_xor_si128(running_sums(vector(even)), rotated);
    *next_even = word(first);
    let [next_odd, ..] = next else { return };
    // SubWord alone.
    let substituted = _mm_shuffle_epi32::<0b10_10_10_10>(_mm_aeskeygenassist_si128::<0>(first));
    *next_odd = word(_mm_xor_si128(running_sums(vector(odd)), substituted));
}

/// Each word with all words before it.
#[target_feature(enable = "aes,sse4.1")]
fn running_sums(words: __m128i) -> __m128i {
    let pairs = _mm_xor_si128(words, _mm_slli_si128::<4>(words));
    _mm_xor_si128(pairs, _mm_slli_si128::<8>(pairs))
}

/// The sixteen bytes as a vector.
#[inline]
#[target_feature(enable = "aes,sse4.1")]
pub(super) fn vector(bytes: &u128) -> __m128i {
    // SAFETY: a reference to a u128 is valid for reads of its sixteen bytes and aligned to them.
    unsafe { _mm_load_si128(ptr::from_ref(bytes).cast()) }
}

/// The vector as sixteen bytes.
#[inline]
#[target_feature(enable = "aes,sse4.1")]
pub(super) fn word(vector: __m128i) -> u128 {
    let mut bytes = 0;
    // SAFETY: the mutable reference is valid for writes of sixteen bytes and aligned to them.
    unsafe { _mm_store_si128(ptr::from_mut(&mut bytes).cast(), vector) };
    bytes
}

const _: () = assert!(align_of::<u128>() == 16, "vector loads of round keys are aligned ones");
