//! One keyed 64-bit digest per sector.
//!
//! Per 512 bytes, NH over 64-bit words (Black, Halevi, Krawczyk, Krovetz, Rogaway: UMAC, 1999): the sum modulo 2^128 of
//! `(m[2i] + k[2i]) * (m[2i+1] + k[2i+1])`, the inner sums modulo 2^64. The 128-bit values of all pieces, low half first,
//! and the number of the sector go through SipHash-2-4 (Aumasson, Bernstein 2012) under a key of its own.
//!
//! Two different sectors have the same NH value with a probability of at most 2^-64 over the key, whoever chose them
//! without knowing the key; SipHash adds 2^-64, and keeps the digests on disk from telling anything about the NH key. NH
//! takes one multiplication per 16 bytes and needs no vector registers at all.

use zeroize::Zeroize;

use crate::{DataSector, Secret};

/// Bytes of a piece.
const PIECE: usize = 512;
/// Words of the NH key.
const NH_WORDS: usize = PIECE / 8;
/// Bytes of key material: the NH key, then the two words of SipHash.
pub(in crate::jvck) const DIGEST_KEY_SIZE: usize = PIECE + 16;

/// The key of the digests, wiped on drop.
pub(super) struct DigestKey {
    nh: [u64; NH_WORDS],
    sip: [u64; 2],
}

impl DigestKey {
    pub(super) fn new(material: &Secret<DIGEST_KEY_SIZE>) -> Self {
        let mut key = Self { nh: [0; NH_WORDS], sip: [0; 2] };
        let (words, _) = material.expose().as_chunks::<8>();
        for (word, bytes) in key.nh.iter_mut().chain(&mut key.sip).zip(words) {
            *word = u64::from_le_bytes(*bytes);
        }
        key
    }

    /// The digest of `bytes` at `sector`. A rest behind the last whole piece does not count; sectors have none.
    pub(super) fn digest(&self, sector: DataSector, bytes: &[u8]) -> u64 {
        let [k0, k1] = self.sip;
        let mut sip = Sip::new(k0, k1);
        let (pieces, _) = bytes.as_chunks::<PIECE>();
        for piece in pieces {
            let sum = self.nh(piece).to_le_bytes();
            let (halves, _) = sum.as_chunks::<8>();
            for half in halves {
                sip.word(u64::from_le_bytes(*half));
            }
        }
        sip.word(sector.get());
        sip.finish()
    }

    fn nh(&self, piece: &[u8; PIECE]) -> u128 {
        let (words, _) = piece.as_chunks::<8>();
        let (words, _) = words.as_chunks::<2>();
        let (keys, _) = self.nh.as_chunks::<2>();
        let mut sum = 0_u128;
        for ([m0, m1], [k0, k1]) in words.iter().zip(keys) {
            let first = u64::from_le_bytes(*m0).wrapping_add(*k0);
            let second = u64::from_le_bytes(*m1).wrapping_add(*k1);
            sum = sum.wrapping_add(u128::from(first).wrapping_mul(u128::from(second)));
        }
        sum
    }
}

impl Drop for DigestKey {
    fn drop(&mut self) {
        self.nh.zeroize();
        self.sip.zeroize();
    }
}

/// SipHash-2-4 over whole words.
struct Sip {
    v: [u64; 4],
    words: u64,
}

impl Sip {
    const fn new(k0: u64, k1: u64) -> Self {
        let v = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        Self { v, words: 0 }
    }

    const fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.v;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.v = [a, b, c, d];
    }

    const fn absorb(&mut self, word: u64) {
        let [a, b, c, d] = self.v;
        self.v = [a, b, c, d ^ word];
        self.round();
        self.round();
        let [a, b, c, d] = self.v;
        self.v = [a ^ word, b, c, d];
    }

    const fn word(&mut self, word: u64) {
        self.words = self.words.wrapping_add(1);
        self.absorb(word);
    }

    /// The last word holds the length in bytes, modulo 256, in its top byte.
    const fn finish(mut self) -> u64 {
        self.absorb(self.words << 59);
        let [a, b, c, d] = self.v;
        self.v = [a, b, c ^ 0xff, d];
        self.round();
        self.round();
        self.round();
        self.round();
        let [a, b, c, d] = self.v;
        a ^ b ^ c ^ d
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::jvck::keys::derive_record_keys;

    /// The first values of `vectors_sip64` of the reference implementation that are whole words long.
    #[test]
    fn siphash_is_siphash() {
        let key = |first: u8| u64::from_le_bytes(core::array::from_fn(|at| first + u8::try_from(at).unwrap()));
        let hash = |words: u8| {
            let mut sip = Sip::new(key(0), key(8));
            (0..words).for_each(|word| sip.word(key(8 * word)));
            sip.finish().to_le_bytes()
        };
        assert_eq!(hash(0), [0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72]);
        assert_eq!(hash(1), [0x62, 0x24, 0x93, 0x9a, 0x79, 0xf5, 0xf5, 0x93]);
    }

    /// Another implementation has the same keys and digests.
    #[test]
    fn digests_match_the_vectors() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../../../tests/vectors/record.json")).unwrap();
        let hex = |value: &serde_json::Value| -> Vec<u8> {
            let digits = value.as_str().unwrap().as_bytes().chunks(2);
            digits.map(|two| u8::from_str_radix(core::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
        };
        let keys = &vectors["keys"];
        let volume_id = hex(&keys["volume_id"]).try_into().unwrap();
        let derived = derive_record_keys(&volume_id, &hex(&keys["vmk"])).ok().unwrap();
        assert_eq!(derived.mac.expose(), &*hex(&keys["mac_key"]));
        assert_eq!(derived.digest.expose(), &*hex(&keys["digest_key"]));
        let key = DigestKey::new(&derived.digest);
        let cases = vectors["digests"].as_array().unwrap();
        assert_eq!(cases.len(), 4);
        for case in cases {
            let size = usize::try_from(case["size"].as_u64().unwrap()).unwrap();
            let sector: Vec<u8> = (0..size).map(|at| u8::try_from((7 * at + at / 512) % 256).unwrap()).collect();
            let digest = key.digest(DataSector::new(case["sector"].as_u64().unwrap()), &sector);
            let expected = case["digest"].as_str().unwrap().strip_prefix("0x").unwrap();
            assert_eq!(digest, u64::from_str_radix(expected, 16).unwrap(), "{case}");
        }
    }
}
