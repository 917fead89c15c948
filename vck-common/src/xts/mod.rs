//! AES-256-XTS (IEEE 1619) over whole sectors: one cipher, four kernels.
//!
//! Key 1 encrypts data, key 2 the tweak. A data unit is one sector; its tweak is the data sector number, 128 bits
//! little-endian, encrypted with key 2 (when decrypting too). The next block's tweak is the previous one times x in
//! GF(2^128) with x^128 + x^7 + x^2 + x + 1.
//!
//! | kernel | registers | in flight | where it may run |
//! |---|---|---|---|
//! | portable | those of the `aes` crate | 8 blocks | anywhere; the oracle of the others |
//! | AES-NI | xmm, legacy SSE encodings | 8 blocks | anywhere |
//! | VAES-256 | ymm | 16 blocks | inside a saved AVX state |
//! | VAES-512 | zmm | 32 blocks | inside a saved AVX and AVX-512 state |
//!
//! # Invariants
//! * Kernels are chosen from what the processor has, never from what a caller says it has; callers can only take away.
//! * A kernel that changes extended state runs only with the proof that it is saved ([`WideRegisters`]).
//! * The key schedules are wiped on drop. No vector kernel looks up a table with secret data or branches on it.
//! * Stack use is bounded: 512 bytes of sector tweaks, up to 512 of block tweaks, spilled registers and the frames of the block
//!   cipher. What a vector kernel used of it is wiped.
//! * No length and no sector number leads to a panic. Rules for buffers that are not whole sectors: [`VolumeCipher`].

use zeroize::ZeroizeOnDrop;

// Before its users: macros are known from where they stand.
#[macro_use]
mod wide;

#[expect(unsafe_code, reason = "a vector kernel: intrinsics that load and store")]
mod aesni;
mod check;
mod features;
mod kernel;
mod portable;
mod registers;
mod run;
#[expect(unsafe_code, reason = "AES-NI intrinsics that load and store")]
mod schedule;
#[expect(unsafe_code, reason = "calls the kernels, which need features that were detected at run time")]
mod select;
mod tweak;
#[expect(unsafe_code, reason = "a vector kernel: intrinsics that load and store")]
mod vaes256;
#[expect(unsafe_code, reason = "a vector kernel: intrinsics that load and store")]
mod vaes512;

pub use check::self_test;
pub use features::Features;
pub use kernel::Kernel;
pub use registers::{ExtendedMask, WideRegisters};

use crate::{DataSector, SectorSize, VckResult, VolumeCipher};
use run::{BLOCK, Run};
use select::VectorKeys;

/// The volume cipher of JVCK volumes.
///
/// Equal keys are accepted because existing volumes may have them; [`crate::jvck`] refuses them for new volumes, as the
/// standard's security argument needs them to differ.
pub struct XtsVolumeCipher {
    keys: Keys,
}

enum Keys {
    Portable { _beside: Beside, keys: portable::Keys },
    Vector { _beside: Beside, keys: VectorKeys },
}

/// Zeros beside the byte that tells the kinds apart: a gap there would be copied from wherever the value was made.
type Beside = [u8; 15];

const _: () = assert!(size_of::<Keys>() == 1 + size_of::<Beside>() + size_of::<portable::Keys>());

impl ZeroizeOnDrop for XtsVolumeCipher {}

// The wiping itself is done by the schedules.
const _: () = {
    const fn wiped_on_drop<T: ZeroizeOnDrop>() {}
    wiped_on_drop::<portable::Keys>();
    wiped_on_drop::<schedule::RoundKeys>();
};

impl XtsVolumeCipher {
    /// A cipher with the best kernels of this processor. Expands both keys; the caller still has to wipe its own copies.
    ///
    /// # Errors
    /// None today; the signature leaves room for kernels that check themselves.
    pub fn new(data_key: &[u8; 32], tweak_key: &[u8; 32]) -> VckResult<Self> {
        Self::with_features(data_key, tweak_key, Features::all())
    }

    /// A cipher that uses no more than `allowed`: what the boot self-test left, or one kernel that a test wants. What the
    /// processor lacks is never used.
    ///
    /// # Errors
    /// As [`XtsVolumeCipher::new`].
    pub fn with_features(data_key: &[u8; 32], tweak_key: &[u8; 32], allowed: Features) -> VckResult<Self> {
        let keys = match VectorKeys::new(data_key, tweak_key, allowed) {
            Some(keys) => Keys::Vector { _beside: Beside::default(), keys },
            None => Keys::Portable { _beside: Beside::default(), keys: portable::Keys::new(data_key, tweak_key) },
        };
        Ok(Self { keys })
    }

    /// The kernel of the methods that need no saved state.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        self.wide_kernel(ExtendedMask::empty())
    }

    /// The kernel of the `_wide` methods when they get `saved`.
    #[must_use]
    pub fn wide_kernel(&self, saved: ExtendedMask) -> Kernel {
        match &self.keys {
            Keys::Portable { .. } => Kernel::Portable,
            Keys::Vector { keys, .. } => Kernel::fastest(keys.features(), saved),
        }
    }

    /// In place. `saved` is what the caller has proof of.
    fn area<const ENCRYPT: bool>(&self, buf: &mut [u8], size: SectorSize, first: DataSector, saved: ExtendedMask) {
        match &self.keys {
            Keys::Portable { keys, .. } => keys.area::<ENCRYPT>(buf, size.usize(), first.get()),
            Keys::Vector { keys, .. } => {
                let blocks = size.usize() / BLOCK;
                keys.cipher::<ENCRYPT>(self.wide_kernel(saved), Run::in_place(buf), blocks, first.get());
            }
        }
    }

    fn copy(&self, src: &[u8], dst: &mut [u8], size: SectorSize, first: DataSector, saved: ExtendedMask) {
        let common = src.len().min(dst.len());
        let whole_blocks = common.saturating_sub(common % BLOCK);
        let (area, rest) = dst.split_at_mut_checked(whole_blocks).unwrap_or_default();
        rest.fill(0);
        match &self.keys {
            Keys::Portable { keys, .. } => {
                // The only reads of `src`: from here on the copy is what counts.
                area.copy_from_slice(src.get(..whole_blocks).unwrap_or_default());
                keys.area::<true>(area, size.usize(), first.get());
            }
            Keys::Vector { keys, .. } => {
                let blocks = size.usize() / BLOCK;
                keys.cipher::<true>(self.wide_kernel(saved), Run::copy(src, area), blocks, first.get());
            }
        }
    }
}

impl VolumeCipher for XtsVolumeCipher {
    fn encrypt_area(&self, buf: &mut [u8], sector_size: SectorSize, first: DataSector) {
        self.area::<true>(buf, sector_size, first, ExtendedMask::empty());
    }

    fn decrypt_area(&self, buf: &mut [u8], sector_size: SectorSize, first: DataSector) {
        self.area::<false>(buf, sector_size, first, ExtendedMask::empty());
    }

    fn encrypt_copy(&self, src: &[u8], dst: &mut [u8], sector_size: SectorSize, first: DataSector) {
        self.copy(src, dst, sector_size, first, ExtendedMask::empty());
    }

    fn wide_state(&self) -> ExtendedMask {
        self.wide_kernel(ExtendedMask::all()).state()
    }

    fn encrypt_area_wide(
        &self,
        buf: &mut [u8],
        sector_size: SectorSize,
        first: DataSector,
        registers: WideRegisters<'_>,
    ) {
        self.area::<true>(buf, sector_size, first, registers.state());
    }

    fn decrypt_area_wide(
        &self,
        buf: &mut [u8],
        sector_size: SectorSize,
        first: DataSector,
        registers: WideRegisters<'_>,
    ) {
        self.area::<false>(buf, sector_size, first, registers.state());
    }

    fn encrypt_copy_wide(
        &self,
        src: &[u8],
        dst: &mut [u8],
        sector_size: SectorSize,
        first: DataSector,
        registers: WideRegisters<'_>,
    ) {
        self.copy(src, dst, sector_size, first, registers.state());
    }
}
