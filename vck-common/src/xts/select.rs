//! Which kernel runs: the one place that calls them.
//!
//! # Invariants
//! * `features` of a [`VectorKeys`] is a subset of what the processor has and the system enables.
//! * A kernel that changes extended state runs only with the proof that it is saved.
//! * No key stays on the stack behind a kernel.

use core::hint::black_box;

use super::run::Run;
use super::schedule::RoundKeys;
use super::tweak::Sectors;
use super::{Features, Kernel, aesni, vaes256, vaes512};

/// Key schedules on a processor that has AES-NI, and what else it has.
pub(super) struct VectorKeys {
    /// [`Features`], in a word that leaves no gap beside it.
    features: u128,
    keys: RoundKeys,
    _rest: [u128; REST],
}

/// What the portable schedules have more, which shares memory with these. Bytes that belong to nothing would be copied with the
/// value, from wherever it was made, and nothing would wipe them: these are zero.
const REST: usize = (size_of::<super::portable::Keys>() / 16).saturating_sub(size_of::<RoundKeys>() / 16 + 1);

// No byte of either kind of keys is nobody's.
const _: () = assert!(size_of::<VectorKeys>() == size_of::<super::portable::Keys>());
const _: () = assert!(size_of::<VectorKeys>() == 16 + size_of::<RoundKeys>() + 16 * REST);

impl VectorKeys {
    /// Expands the keys; `None` without AES-NI. Of `allowed` counts what the processor has.
    pub(super) fn new(data_key: &[u8; 32], tweak_key: &[u8; 32], allowed: Features) -> Option<Self> {
        let features = Features::detected().intersection(allowed);
        if !features.contains(Kernel::AesNi.features()) {
            return None;
        }
        // SAFETY: the processor has AES-NI and SSE4.1.
        let keys = unsafe { RoundKeys::new(data_key, tweak_key) };
        Some(Self { features: features.bits().into(), keys, _rest: [0; REST] })
    }

    /// What may be used.
    pub(super) fn features(&self) -> Features {
        u32::try_from(self.features).map_or(Features::empty(), Features::from_bits_truncate)
    }

    /// Ciphers sectors of `sector` blocks from number `first` on with `kernel`, or with AES-NI if the processor does not
    /// offer it. The caller has proof that the state of `kernel` is saved.
    pub(super) fn cipher<const ENCRYPT: bool>(&self, kernel: Kernel, run: Run<'_>, sector: usize, first: u64) {
        let sectors = Sectors::new(run, sector, first);
        match kernel {
            Kernel::Vaes512 if self.features().contains(kernel.features()) => {
                // SAFETY: the processor has what the kernel needs.
                unsafe { vaes512::cipher::<ENCRYPT>(&self.keys, sectors) }
            }
            Kernel::Vaes256 if self.features().contains(kernel.features()) => {
                // SAFETY: the processor has what the kernel needs.
                unsafe { vaes256::cipher::<ENCRYPT>(&self.keys, sectors) }
            }
            _ => {
                // SAFETY: `new` gives no keys without AES-NI and SSE4.1.
                unsafe { aesni::cipher::<ENCRYPT>(&self.keys, sectors) }
            }
        }
        wipe_frames();
    }
}

/// Bytes of stack that a kernel may have used: registers that it spilled, round keys among them, and sector tweaks.
const FRAMES: usize = 1792;

/// Overwrites the stack below the caller, where a kernel ran a moment ago: a kernel stack is pageable once its thread waits.
#[inline(never)]
fn wipe_frames() {
    // Never read, so not wiped for its own sake: the array lies where the frames were.
    black_box(&[0_u8; FRAMES]);
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::xts::portable;

    extern crate std;

    /// Devices have sectors of a power of two; the kernels take any number of blocks.
    #[test]
    fn sectors_of_any_number_of_blocks() {
        let (key1, key2) = ([7; 32], [9; 32]);
        let oracle = portable::Keys::new(&key1, &key2);
        for kernel in Kernel::ALL {
            let Some(keys) = VectorKeys::new(&key1, &key2, kernel.features()) else { continue };
            for blocks in (1..70).chain([95, 128, 129, 255, 256, 257, 300]) {
                let plain: Vec<u8> = (0..=250_u8).cycle().take(blocks * 16 * 37 + 16 * 3).collect();
                let mut expected = plain.clone();
                oracle.area::<true>(&mut expected, blocks * 16, 5);
                let mut run = plain.clone();
                keys.cipher::<true>(kernel, Run::in_place(&mut run), blocks, 5);
                assert!(run == expected, "{kernel}, {blocks} blocks");
                keys.cipher::<false>(kernel, Run::in_place(&mut run), blocks, 5);
                assert!(run == plain, "{kernel} back, {blocks} blocks");
            }
        }
    }
}
