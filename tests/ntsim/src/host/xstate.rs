//! Extended processor state of the host: AVX and AVX-512 registers, as whole images.
//!
//! Before driver code runs, the upper halves of the ymm registers, the zmm and the mask registers are loaded with a
//! pattern; when control comes back they are looked at. The state goes through `XSAVE` and `XRSTOR`, so that every
//! component that the host has is covered by the same few lines.
//!
//! # Invariants
//! * Only components in [`COMPONENTS`] are ever saved or loaded; they lie inside an [`Image`] at the offsets that the
//!   processor tells.
//! * Compiled code of the host keeps nothing in these registers across a call: all of them are the callee's to change.

use std::arch::x86_64::{__cpuid_count, _xgetbv, _xrstor64, _xsave64};
use std::cell::RefCell;
use std::sync::OnceLock;

/// x87 and SSE: saved by every caller of its own accord, never looked at here.
pub(crate) const LEGACY: u64 = 0b11;
/// The upper halves of ymm0 to ymm15.
pub(crate) const AVX: u64 = 0b100;
/// Mask registers, upper halves of zmm0 to zmm15, zmm16 to zmm31.
pub(crate) const AVX512: u64 = 0b1110_0000;
/// What is looked at.
const COMPONENTS: u64 = AVX | AVX512;

/// Room for the x87/SSE area, the header and the components in their standard places, with some to spare.
const IMAGE: usize = 4096;
const PATTERN: &[u8; 19] = b"extended-state-seen";
const MXCSR: usize = 24;
const HEADER: usize = 512;
/// All exceptions masked: what compiled code expects.
const MXCSR_DEFAULT: u32 = 0x1F80;

/// One processor's extended state.
#[repr(C, align(64))]
#[derive(Clone)]
pub(crate) struct Image([u8; IMAGE]);

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Image")
    }
}

thread_local! {
    static SCRATCH: RefCell<Image> = const { RefCell::new(Image([0; IMAGE])) };
}

/// Bit, offset and length of a component; the bit is zero when the host lacks it.
type Place = (u64, usize, usize);

/// What the host has.
struct Host {
    /// Components that the operating system has enabled, x87 and SSE included.
    enabled: u64,
    /// Offset and length of each component of [`COMPONENTS`] that is enabled.
    places: [Place; 6],
    pattern: Image,
}

fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        #[cfg(not(feature = "asan"))]
        std::hint::black_box(super::memory_routines::linked());
        let enabled = xcr0() & (LEGACY | COMPONENTS);
        let places = [2, 3, 4, 5, 6, 7].map(|bit| if enabled >> bit & 1 == 0 { (0, 0, 0) } else { place(bit) });
        let pattern = pattern(&places);
        Host { enabled, places, pattern }
    })
}

fn xcr0() -> u64 {
    #[target_feature(enable = "xsave")]
    fn read() -> u64 {
        // SAFETY: register 0 exists wherever the operating system has enabled XSAVE.
        unsafe { _xgetbv(0) }
    }
    // The bit says two things: the processor has it, the operating system has enabled it.
    if __cpuid_count(1, 0).ecx >> 27 & 1 == 0 {
        return LEGACY;
    }
    // SAFETY: checked just above.
    unsafe { read() }
}

fn place(bit: u32) -> Place {
    let leaf = __cpuid_count(0xD, bit);
    let size = |value: u32| usize::try_from(value).unwrap_or(usize::MAX);
    let (offset, length) = (size(leaf.ebx), size(leaf.eax));
    assert!(offset.saturating_add(length) <= IMAGE, "component {bit} of the extended state lies at {offset:#x}");
    (1 << bit, offset, length)
}

fn pattern(places: &[Place]) -> Image {
    let mut image = Image([0; IMAGE]);
    image.0[MXCSR..MXCSR + 4].copy_from_slice(&MXCSR_DEFAULT.to_le_bytes());
    let mut used = 0;
    for &(bit, offset, length) in places {
        used |= bit;
        for (at, byte) in image.0[offset..offset + length].iter_mut().enumerate() {
            // No byte is zero.
            *byte = PATTERN[(at ^ offset >> 6) % PATTERN.len()];
        }
    }
    image.0[HEADER..HEADER + 8].copy_from_slice(&used.to_le_bytes());
    image
}

/// What a person calls the components.
pub(crate) fn names(components: u64) -> String {
    let names = [(2, "ymm"), (5, "k0 to k7"), (6, "zmm"), (7, "zmm16 to zmm31")];
    let named = names.iter().filter(|(bit, _)| components >> bit & 1 != 0).map(|(_, name)| *name);
    named.collect::<Vec<_>>().join(", ")
}

/// What the operating system has enabled, out of what is modelled.
pub(crate) fn enabled() -> u64 {
    host().enabled
}

/// Components that are looked at on this host; none under `AddressSanitizer`, whose own copy routines use them.
pub(crate) fn watched() -> u64 {
    if cfg!(feature = "asan") { 0 } else { enabled() & COMPONENTS }
}

impl Image {
    /// The pattern that driver code is entered with.
    pub(crate) fn pattern() -> &'static Self {
        &host().pattern
    }

    /// Calls `f` with the current state of those components in `mask` that are enabled; the rest of the image is
    /// whatever it was. `f` must not give up the processor.
    pub(crate) fn with_current<R>(mask: u64, f: impl FnOnce(&Self) -> R) -> R {
        #[target_feature(enable = "xsave")]
        fn save(image: &mut Image, mask: u64) {
            // SAFETY: the image is 64-byte aligned and has room for the components (first invariant).
            unsafe { _xsave64(image.0.as_mut_ptr(), mask) }
        }
        SCRATCH.with(|scratch| {
            let mut image = scratch.borrow_mut();
            if mask & watched() != 0 {
                // SAFETY: something beyond SSE is enabled, so XSAVE is.
                unsafe { save(&mut image, mask & watched()) }
            }
            f(&image)
        })
    }

    /// Loads those components in `mask` that are enabled.
    pub(crate) fn load(&self, mask: u64) {
        #[target_feature(enable = "xsave")]
        fn restore(image: &Image, mask: u64) {
            // SAFETY: the image is `pattern` or was copied from it: aligned, header and MXCSR valid.
            unsafe { _xrstor64(image.0.as_ptr(), mask) }
        }
        if mask & watched() != 0 {
            // SAFETY: something beyond SSE is enabled, so XSAVE is.
            unsafe { restore(self, mask & watched()) }
        }
    }

    /// Those components in `mask` in which the two images differ.
    pub(crate) fn differences(&self, other: &Self, mask: u64) -> u64 {
        let differs = |&&(bit, offset, length): &&Place| {
            mask & bit != 0 && self.0[offset..offset + length] != other.0[offset..offset + length]
        };
        host().places.iter().filter(differs).map(|(bit, _, _)| bit).sum()
    }

    /// Takes the components in `mask` over from another image.
    pub(crate) fn take(&mut self, other: &Self, mask: u64) {
        for &(_, offset, length) in host().places.iter().filter(|(bit, _, _)| mask & bit != 0) {
            self.0[offset..offset + length].copy_from_slice(&other.0[offset..offset + length]);
        }
    }
}
