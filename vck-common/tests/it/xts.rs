//! xts.json, and runs of sectors against the oracle.

use aes_oracle::{decrypt, encrypt};
use proptest::prelude::*;
use serde_json::Value;
use vck_common::{DataSector, SectorSize, VolumeCipher, XtsVolumeCipher};

use crate::support::{array, bytes, cases, number, sector_size, text, vectors};

fn cipher(case: &Value) -> XtsVolumeCipher {
    XtsVolumeCipher::new(&array(case, "key1"), &array(case, "key2")).unwrap()
}

fn plaintext(rule: &str, len: usize) -> Vec<u8> {
    let (factor, addend) = if rule.contains("(7*i + 3) mod 256") { (7_u8, 3_u8) } else { (1, 0) };
    assert!(factor == 7 || rule.contains("i mod 256"), "{rule}");
    (0..=255_u8).cycle().take(len).map(|i| factor.wrapping_mul(i).wrapping_add(addend)).collect()
}

#[test]
fn sectors_match() {
    for case in cases(&vectors!("xts.json"), "cases") {
        let (size, rel) = (sector_size(case), DataSector::new(number(case, "rel_sector")));
        let plain = plaintext(text(case, "plaintext"), size.usize());
        let cipher = cipher(case);
        let mut sector = plain.clone();
        cipher.encrypt_sector(&mut sector, size, rel);
        assert_eq!(sector, bytes(case, "ciphertext"), "{}", case["name"]);
        let mut copy = vec![0; plain.len()];
        cipher.encrypt_copy(&plain, &mut copy, size, rel);
        assert_eq!(copy, sector, "{}", case["name"]);
        cipher.decrypt_sector(&mut sector, size, rel);
        assert_eq!(sector, plain, "{}", case["name"]);
    }
}

#[test]
fn runs_and_the_boundary_match() {
    let vectors = vectors!("xts.json");
    let area = &vectors["area"];
    let first = DataSector::new(number(area, "first_rel_sector"));
    let expected = bytes(area, "ciphertext");
    let mut run = plaintext(text(area, "plaintext"), expected.len());
    cipher(area).encrypt_area(&mut run, SectorSize::S512, first);
    assert_eq!(run, expected);

    let split = &vectors["boundary_split"];
    let expected = bytes(split, "on_disk");
    let first = DataSector::new(number(split, "first_rel_sector"));
    let count = SectorSize::S512.sectors_of_buffer(expected.len()).unwrap();
    let boundary = DataSector::new(number(split, "encrypted_boundary"));
    let (below, above) = vck_common::DataExtent::new(first, count).split_at(boundary);
    assert_eq!((below.count.get(), above.count.get()), (2, 2));
    let mut run = plaintext(text(split, "plaintext"), expected.len());
    let bytes_below = usize::try_from(SectorSize::S512.bytes_of(below.count).unwrap().get()).unwrap();
    cipher(split).encrypt_area(&mut run[..bytes_below], SectorSize::S512, below.first);
    assert_eq!(run, expected);
}

#[test]
fn a_part_of_a_sector_is_a_short_unit_and_never_leaks_from_a_copy() {
    let cipher = XtsVolumeCipher::new(&[1; 32], &[2; 32]).unwrap();
    let plain = plaintext("i mod 256", 512 + 37);
    let mut in_place = plain.clone();
    cipher.encrypt_area(&mut in_place, SectorSize::S512, DataSector::new(9));
    assert_eq!(in_place[512 + 32..], plain[512 + 32..], "what is less than a block stays");
    assert_ne!(in_place[512..512 + 32], plain[512..512 + 32]);
    let mut copy = vec![0xEE; plain.len() + 3];
    cipher.encrypt_copy(&plain, &mut copy, SectorSize::S512, DataSector::new(9));
    assert_eq!(copy[..512 + 32], in_place[..512 + 32]);
    assert_eq!(copy[512 + 32..], [0; 8], "a copy never carries source bytes that were not encrypted");
    cipher.decrypt_area(&mut in_place, SectorSize::S512, DataSector::new(9));
    assert_eq!(in_place, plain);
    cipher.encrypt_area(&mut [], SectorSize::S512, DataSector::ZERO);
}

/// An independent implementation.
mod aes_oracle {
    use aes::{Aes256, cipher::KeyInit};
    use xts_mode::{Xts128, get_tweak_default};

    fn oracle(key1: [u8; 32], key2: [u8; 32]) -> Xts128<Aes256> {
        Xts128::new(Aes256::new(&key1.into()), Aes256::new(&key2.into()))
    }

    pub(super) fn encrypt(key1: [u8; 32], key2: [u8; 32], buf: &mut [u8], size: usize, first: u64) {
        oracle(key1, key2).encrypt_area(buf, size, u128::from(first), get_tweak_default);
    }

    pub(super) fn decrypt(key1: [u8; 32], key2: [u8; 32], buf: &mut [u8], size: usize, first: u64) {
        oracle(key1, key2).decrypt_area(buf, size, u128::from(first), get_tweak_default);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_run_is_its_sectors_one_by_one(
        key1: [u8; 32],
        key2: [u8; 32],
        first in 0..u64::MAX - 16,
        sectors in 1_usize..12,
        shift in 9_u32..13,
        seed: u8,
    ) {
        let size = SectorSize::new(1 << shift).unwrap();
        let cipher = XtsVolumeCipher::new(&key1, &key2).unwrap();
        let plain: Vec<u8> = (0..=250_u8).cycle().take(sectors * size.usize()).map(|i| i.wrapping_mul(31).wrapping_add(seed)).collect();
        let mut run = plain.clone();
        cipher.encrypt_area(&mut run, size, DataSector::new(first));
        let mut single = plain.clone();
        for (index, sector) in (0..).zip(single.chunks_exact_mut(size.usize())) {
            cipher.encrypt_sector(sector, size, DataSector::new(first + index));
        }
        prop_assert_eq!(&run, &single);
        let mut expected = plain.clone();
        encrypt(key1, key2, &mut expected, size.usize(), first);
        prop_assert_eq!(&run, &expected);
        decrypt(key1, key2, &mut expected, size.usize(), first);
        cipher.decrypt_area(&mut run, size, DataSector::new(first));
        prop_assert_eq!(&run, &plain);
        prop_assert_eq!(&expected, &plain);
    }
}
