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
        self.run::<ENCRYPT>(kernel, run, sector, first);
        wipe_frames();
    }

    /// Leaves keys on the stack.
    #[inline]
    fn run<const ENCRYPT: bool>(&self, kernel: Kernel, run: Run<'_>, sector: usize, first: u64) {
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
    }
}

/// Bytes of stack that a kernel may use: sector tweaks, whitenings, registers that it spilled, round keys among them. Wiping
/// them takes about 10 ns.
const FRAMES: usize = 1792;

/// Overwrites the stack below the caller, where a kernel ran a moment ago: a kernel stack is pageable once its thread waits.
#[inline(never)]
fn wipe_frames() {
    let mut frames = [0_u8; FRAMES];
    // Never read, so not wiped for its own sake: the array lies where the frames were. Borrowed mutably, as a constant that
    // is only read would lie elsewhere.
    black_box(&mut frames);
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use aes::cipher::{BlockCipherEncrypt, KeyInit};
    use corosensei::stack::{Stack, StackPointer};
    use corosensei::{Coroutine, CoroutineResult};

    use super::*;
    use crate::xts::portable;
    use crate::xts::tweak::BATCH;

    extern crate std;

    const KEY1: [u8; 32] = *b"0123456789ABCDEF0123456789abcdef";
    const KEY2: [u8; 32] = *b"fedcba98765432100123456789ABCDEF";

    /// A stack that can be looked at afterwards.
    struct Glass(Vec<u128>);

    // SAFETY: both ends belong to memory that lives and stays as long as the stack, aligned to sixteen bytes.
    unsafe impl Stack for Glass {
        fn base(&self) -> StackPointer {
            StackPointer::new(self.0.as_ptr_range().end.addr()).unwrap()
        }

        fn limit(&self) -> StackPointer {
            StackPointer::new(self.0.as_ptr().addr()).unwrap()
        }
    }

    const UNTOUCHED: u128 = u128::from_le_bytes([0xA5; 16]);

    /// What a kernel and what it calls use beyond this on Windows: ten registers that each saves for its caller, less the 128 bytes
    /// below the stack pointer that Windows does not have.
    const WINDOWS: usize = 2 * 10 * 16 - 128;

    /// What `work` leaves on its stack, from the lowest address that it used.
    fn left_by(work: impl FnOnce() + 'static) -> Vec<u64> {
        let mut coroutine: Coroutine<(), (), (), _> =
            Coroutine::with_stack(Glass(vec![UNTOUCHED; 4096]), move |_, ()| work());
        assert!(matches!(coroutine.resume(()), CoroutineResult::Return(())));
        let Glass(memory) = coroutine.into_stack();
        let used = memory.into_iter().skip_while(|word| *word == UNTOUCHED);
        used.flat_map(halves).collect()
    }

    #[expect(clippy::cast_possible_truncation, reason = "a half is what is wanted")]
    fn halves(word: u128) -> [u64; 2] {
        [word as u64, (word >> 64) as u64]
    }

    /// All that must not stay behind: round keys, tweaks of the blocks of a batch, and both combined.
    fn secrets(keys: &RoundKeys, first: u64, blocks: usize) -> Vec<u64> {
        let mut secrets: Vec<u128> = [keys.encrypt, keys.decrypt, keys.tweak].concat();
        let cipher = aes::Aes256::new(&KEY2.into());
        for number in (first..).take(BATCH) {
            let mut tweak = u128::from(number).to_le_bytes().into();
            cipher.encrypt_block(&mut tweak);
            let mut tweak = u128::from_le_bytes(tweak.into());
            for _ in 0..=blocks {
                secrets.extend([tweak, tweak ^ keys.encrypt[0], tweak ^ keys.encrypt[14]]);
                tweak = tweak << 1 ^ if tweak >> 127 == 1 { 0x87 } else { 0 };
            }
        }
        secrets.into_iter().flat_map(halves).collect()
    }

    #[test]
    fn no_key_stays_on_the_stack() {
        for kernel in Kernel::ALL {
            // A group of every kernel, many, and some with a rest.
            for blocks in [32, 256, 35] {
                let Some(keys) = VectorKeys::new(&KEY1, &KEY2, kernel.features()) else { continue };
                let mut secrets = secrets(&keys.keys, 5, blocks);
                secrets.sort_unstable();
                let keys: &'static VectorKeys = std::boxed::Box::leak(std::boxed::Box::new(keys));
                let stack = |cipher: fn(&VectorKeys, Kernel, Run<'_>, usize, u64)| {
                    let mut area = vec![0; 16 * BATCH * blocks];
                    left_by(move || cipher(keys, kernel, Run::in_place(&mut area), blocks, 5))
                };
                let depth = size_of_val(&*stack(VectorKeys::run::<true>)) - size_of_val(&*stack(|_, _, _, _, _| {}));
                assert!(depth + WINDOWS <= FRAMES, "{kernel} uses {depth} bytes");
                let left = |cipher| stack(cipher).iter().filter(|word| secrets.binary_search(word).is_ok()).count();
                assert!(left(VectorKeys::run::<true>) > 0, "{kernel}: the search finds nothing");
                assert_eq!(left(VectorKeys::cipher::<true>), 0, "{kernel}, {blocks} blocks");
                assert_eq!(left(VectorKeys::cipher::<false>), 0, "{kernel} back, {blocks} blocks");
            }
        }
    }

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
