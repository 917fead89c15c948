//! Every kernel that this processor has, against the portable one, xts-mode and the vectors.

use aes::{Aes256, cipher::KeyInit};
use proptest::prelude::*;
use vck_common::xts::{ExtendedMask, Features, Kernel, WideRegisters, self_test};
use vck_common::{DataSector, SectorSize, VolumeCipher, XtsVolumeCipher};
use xts_mode::{Xts128, get_tweak_default};

use crate::support::{array, bytes, cases, number, sector_size, text, vectors};

/// The cipher that runs on this kernel and on no other; `None` where the processor lacks it.
fn forced(kernel: Kernel, key1: &[u8; 32], key2: &[u8; 32]) -> Option<XtsVolumeCipher> {
    let cipher = XtsVolumeCipher::with_features(key1, key2, kernel.features()).unwrap();
    (cipher.wide_kernel(WideRegisters::in_user_mode().state()) == kernel).then_some(cipher)
}

fn present() -> impl Iterator<Item = Kernel> {
    Kernel::ALL.into_iter().filter(|kernel| forced(*kernel, &[1; 32], &[2; 32]).is_some())
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..=250_u8).cycle().take(len).map(|i| i.wrapping_mul(31).wrapping_add(seed)).collect()
}

#[test]
fn the_kernels_are_those_that_the_processor_has() {
    let offered = Features::detected();
    for kernel in Kernel::ALL {
        assert_eq!(present().any(|found| found == kernel), offered.contains(kernel.features()), "{kernel}");
    }
}

#[test]
fn the_boot_self_test_passes_every_kernel_it_may_run() {
    let offered = Features::detected();
    let registers = WideRegisters::in_user_mode();
    assert_eq!(self_test(Some(registers)).unwrap(), offered);
    assert_eq!(self_test(None).unwrap(), offered & Features::AES_NI, "without saved state no wide kernel runs");
}

#[test]
fn without_saved_state_the_narrow_kernel_runs() {
    let cipher = XtsVolumeCipher::new(&[1; 32], &[2; 32]).unwrap();
    assert!(!cipher.kernel().needs_extended_state());
    assert_eq!(cipher.wide_kernel(ExtendedMask::empty()), cipher.kernel());
    assert_eq!(cipher.wide_state(), cipher.wide_kernel(ExtendedMask::all()).state());
    for state in [ExtendedMask::empty(), ExtendedMask::AVX, ExtendedMask::AVX512, ExtendedMask::all()] {
        assert!(state.contains(cipher.wide_kernel(state).state()));
    }
}

#[test]
fn every_kernel_matches_the_vectors() {
    let registers = WideRegisters::in_user_mode();
    for case in cases(&vectors!("xts.json"), "cases") {
        let (size, first) = (sector_size(case), DataSector::new(number(case, "rel_sector")));
        let affine = text(case, "plaintext").contains("(7*i + 3) mod 256");
        let (factor, addend) = if affine { (7_u8, 3_u8) } else { (1, 0) };
        let plain: Vec<u8> =
            (0..=255_u8).cycle().take(size.usize()).map(|i| factor.wrapping_mul(i).wrapping_add(addend)).collect();
        for kernel in present() {
            let cipher = forced(kernel, &array(case, "key1"), &array(case, "key2")).unwrap();
            let mut sector = plain.clone();
            cipher.encrypt_area_wide(&mut sector, size, first, registers);
            assert_eq!(sector, bytes(case, "ciphertext"), "{kernel}: {}", case["name"]);
            cipher.decrypt_area_wide(&mut sector, size, first, registers);
            assert_eq!(sector, plain, "{kernel}: {}", case["name"]);
        }
    }
}

/// Tweaks with few bits set, and long runs of set bits, are where a carry would be lost: sector numbers cannot choose the
/// encrypted tweak, but many of them meet every byte value in every place.
#[test]
fn long_runs_agree_with_the_oracle() {
    let (key1, key2) = ([0xA5; 32], [0x3C; 32]);
    let oracle = forced(Kernel::Portable, &key1, &key2).unwrap();
    let plain = pattern((1 << 20) + 512 * 5, 3);
    for size in [512, 4096, 65536].map(|bytes| SectorSize::new(bytes).unwrap()) {
        let mut expected = plain.clone();
        oracle.encrypt_area(&mut expected, size, DataSector::new(77));
        for kernel in present() {
            let cipher = forced(kernel, &key1, &key2).unwrap();
            let mut run = vec![0; plain.len()];
            cipher.encrypt_copy_wide(&plain, &mut run, size, DataSector::new(77), WideRegisters::in_user_mode());
            assert!(run == expected, "{kernel} encrypts {size:?}");
            cipher.decrypt_area_wide(&mut run, size, DataSector::new(77), WideRegisters::in_user_mode());
            assert!(run == plain, "{kernel} decrypts {size:?}");
        }
    }
}

/// One buffer with guards around an area at any alignment.
struct Guarded {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Guarded {
    const GUARD: u8 = 0xEE;

    fn new(area: &[u8], start: usize) -> Self {
        let mut bytes = vec![Self::GUARD; start + area.len() + 64];
        bytes[start..start + area.len()].copy_from_slice(area);
        Self { bytes, start, len: area.len() }
    }

    fn area(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }

    fn is_intact(&self) -> bool {
        let (before, rest) = self.bytes.split_at(self.start);
        before.iter().chain(&rest[self.len..]).all(|byte| *byte == Self::GUARD)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_runs_agree(
        key1: [u8; 32],
        key2: [u8; 32],
        first: u64,
        len in 0_usize..40_000,
        shift in 9_u32..17,
        (start, to) in (0_usize..64, 0_usize..64),
        seed: u8,
    ) {
        let size = SectorSize::new(1 << shift).unwrap();
        let first = DataSector::new(first);
        let registers = WideRegisters::in_user_mode();
        let plain = pattern(len, seed);
        let mut expected = plain.clone();
        forced(Kernel::Portable, &key1, &key2).unwrap().encrypt_area(&mut expected, size, first);
        for kernel in present() {
            let cipher = forced(kernel, &key1, &key2).unwrap();
            let mut place = Guarded::new(&plain, start);
            cipher.encrypt_area_wide(place.area(), size, first, registers);
            prop_assert!(place.area() == expected, "{} in place", kernel);
            cipher.decrypt_area_wide(place.area(), size, first, registers);
            prop_assert!(place.area() == plain, "{} decrypts", kernel);
            prop_assert!(place.is_intact(), "{} writes outside", kernel);

            let mut copy = Guarded::new(&pattern(len, !seed), to);
            cipher.encrypt_copy_wide(place.area(), copy.area(), size, first, registers);
            let whole = len - len % 16;
            prop_assert!(copy.area()[..whole] == expected[..whole], "{} copies", kernel);
            prop_assert!(copy.area()[whole..].iter().all(|byte| *byte == 0), "{} leaves a tail", kernel);
            prop_assert!(copy.is_intact() && place.area() == plain, "{} writes outside a copy", kernel);

            cipher.encrypt_area(place.area(), size, first);
            prop_assert!(place.area() == expected, "{} without registers", kernel);
        }
    }

    #[test]
    fn random_whole_sectors_agree_with_xts_mode(
        key1: [u8; 32],
        key2: [u8; 32],
        first in 0..u64::MAX - 200,
        sectors in 1_usize..140,
        large: bool,
    ) {
        let size = if large { SectorSize::S4096 } else { SectorSize::S512 };
        let plain = pattern(sectors * size.usize(), 9);
        let mut expected = plain.clone();
        Xts128::new(Aes256::new(&key1.into()), Aes256::new(&key2.into())).encrypt_area(
            &mut expected,
            size.usize(),
            u128::from(first),
            get_tweak_default,
        );
        for kernel in present() {
            let cipher = forced(kernel, &key1, &key2).unwrap();
            let mut run = plain.clone();
            cipher.encrypt_area_wide(&mut run, size, DataSector::new(first), WideRegisters::in_user_mode());
            prop_assert!(run == expected, "{}", kernel);
        }
    }
}
