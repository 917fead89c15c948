//! The boot self-test: every kernel computes known answers before a volume depends on it.
//!
//! The portable kernel is held against a vector of IEEE 1619, the others against it, over a run that takes every path
//! of a kernel: full and partial batches, whole groups and the blocks left over, both directions, in place and copied.

use alloc::vec::Vec;

use super::{ExtendedMask, Features, Kernel, WideRegisters, XtsVolumeCipher};
use crate::{DataSector, SectorSize, VckError, VckResult, VolumeCipher, zeroed};

/// IEEE 1619-2007, Annex B, vector 10. The plaintext is the bytes 0, 1, ... 255, twice.
mod vector10 {
    pub(super) const KEY1: [u8; 32] = *b"\x27\x18\x28\x18\x28\x45\x90\x45\x23\x53\x60\x28\x74\x71\x35\x26\
        \x62\x49\x77\x57\x24\x70\x93\x69\x99\x59\x57\x49\x66\x96\x76\x27";
    pub(super) const KEY2: [u8; 32] = *b"\x31\x41\x59\x26\x53\x58\x97\x93\x23\x84\x62\x64\x33\x83\x27\x95\
        \x02\x88\x41\x97\x16\x93\x99\x37\x51\x05\x82\x09\x74\x94\x45\x92";
    pub(super) const UNIT: u64 = 0xFF;
    /// The first 32 bytes of the ciphertext.
    pub(super) const HEAD: [u8; 32] = *b"\x1c\x3b\x3a\x10\x2f\x77\x03\x86\xe4\x83\x6c\x99\xe3\x70\xcf\x9b\
        \xea\x00\x80\x3f\x5e\x48\x23\x57\xa4\xae\x12\xd4\x14\xa3\xe6\x3b";
    /// The last 32.
    pub(super) const TAIL: [u8; 32] = *b"\x77\x3d\xad\x38\x01\x4b\xd2\x09\x2f\xa7\x55\xc8\x24\xbb\x5e\x54\
        \xc4\xf3\x6f\xfd\xa9\xfc\xea\x70\xb9\xc6\xe6\x93\xe1\x48\xc1\x51";
}

/// One full batch of 512-byte sectors, a batch of five, and five blocks; two sectors of 8 KiB and part of a third.
const LENGTH: usize = 37 * 512 + 5 * 16;
/// A start whose numbers need more than 32 bits.
const FIRST: DataSector = DataSector::new(0xFFFF_FFF0);

/// Runs every kernel that the processor has and that `registers` allow, and gives the features whose kernels computed
/// the known answers. Wide kernels are left out without `registers`.
///
/// Takes about a millisecond and three buffers of 19 KiB. Any IRQL at which the registers may be used.
///
/// # Errors
/// [`VckError::NoMemory`]; [`VckError::CryptoFailed`] when the portable kernel itself is wrong, and then nothing may be
/// encrypted.
pub fn self_test(registers: Option<WideRegisters<'_>>) -> VckResult<Features> {
    check_portable()?;
    let mut known = Known { plain: zeroed(LENGTH)?, expected: zeroed(LENGTH)?, work: zeroed(LENGTH)? };
    for (byte, index) in known.plain.iter_mut().zip((0..=250_u8).cycle()) {
        *byte = index.wrapping_mul(167);
    }
    let detected = Features::detected();
    let mut passed = Features::empty();
    // Slow to fast: the wide kernels need the keys and the single blocks of AES-NI, so they fail with it.
    for kernel in [Kernel::AesNi, Kernel::Vaes256, Kernel::Vaes512] {
        let below = kernel == Kernel::AesNi || passed.contains(Features::AES_NI);
        if below && detected.contains(kernel.features()) && known.agrees(kernel, registers)? {
            passed |= kernel.features();
        }
    }
    Ok(passed)
}

#[inline(never)]
fn check_portable() -> VckResult<()> {
    let cipher = XtsVolumeCipher::with_features(&vector10::KEY1, &vector10::KEY2, Features::empty())?;
    let mut unit = [0; 512];
    for (byte, index) in unit.iter_mut().zip((0..=255).cycle()) {
        *byte = index;
    }
    cipher.encrypt_area(&mut unit, SectorSize::S512, DataSector::new(vector10::UNIT));
    let encrypted = unit.starts_with(&vector10::HEAD) && unit.ends_with(&vector10::TAIL);
    cipher.decrypt_area(&mut unit, SectorSize::S512, DataSector::new(vector10::UNIT));
    let decrypted = unit.iter().zip((0..=255).cycle()).all(|(byte, index)| *byte == index);
    if encrypted && decrypted {
        Ok(())
    } else {
        Err(VckError::CryptoFailed("the portable XTS kernel fails the vector of IEEE 1619"))
    }
}

/// The run that kernels are compared over.
struct Known {
    plain: Vec<u8>,
    expected: Vec<u8>,
    work: Vec<u8>,
}

impl Known {
    /// Whether `kernel` gives the bytes of the portable kernel in sectors of every size.
    fn agrees(&mut self, kernel: Kernel, registers: Option<WideRegisters<'_>>) -> VckResult<bool> {
        for size in [SectorSize::S512, SectorSize::new(8192)?] {
            self.ask_the_oracle(size)?;
            if !self.agrees_in(size, kernel, registers)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One cipher in a frame: each is 2 KiB.
    #[inline(never)]
    fn ask_the_oracle(&mut self, size: SectorSize) -> VckResult<()> {
        let oracle = XtsVolumeCipher::with_features(&vector10::KEY1, &vector10::KEY2, Features::empty())?;
        self.expected.copy_from_slice(&self.plain);
        oracle.encrypt_area(&mut self.expected, size, FIRST);
        Ok(())
    }

    /// Without the registers it needs a kernel counts as failed.
    #[inline(never)]
    fn agrees_in(&mut self, size: SectorSize, kernel: Kernel, registers: Option<WideRegisters<'_>>) -> VckResult<bool> {
        let cipher = XtsVolumeCipher::with_features(&vector10::KEY1, &vector10::KEY2, kernel.features())?;
        let wide = registers.filter(|_| kernel.needs_extended_state());
        if cipher.wide_kernel(wide.map_or(ExtendedMask::empty(), WideRegisters::state)) != kernel {
            return Ok(false);
        }
        let Self { plain, expected, work } = self;
        match wide {
            Some(registers) => cipher.encrypt_copy_wide(plain, work, size, FIRST, registers),
            None => cipher.encrypt_copy(plain, work, size, FIRST),
        }
        let copied = work == expected;
        match wide {
            Some(registers) => cipher.decrypt_area_wide(work, size, FIRST, registers),
            None => cipher.decrypt_area(work, size, FIRST),
        }
        let decrypted = work == plain;
        match wide {
            Some(registers) => cipher.encrypt_area_wide(work, size, FIRST, registers),
            None => cipher.encrypt_area(work, size, FIRST),
        }
        Ok(copied && decrypted && work == expected)
    }
}
