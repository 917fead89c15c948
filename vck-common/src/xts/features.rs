//! What the processor and the system offer to the kernels.

use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

use super::ExtendedMask;

bitflags::bitflags! {
    /// What a kernel needs from the processor. One bit stands for all instructions that one kernel uses.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Features: u32 {
        /// AES-NI and SSE4.1.
        const AES_NI = 1;
        /// VAES and AVX2, with ymm enabled by the system.
        const VAES_256 = 1 << 1;
        /// VAES and AVX-512 F, BW, VL, VBMI, VBMI2, with zmm enabled by the system: Ice Lake, Zen 4 and later.
        const VAES_512 = 1 << 2;
    }
}

/// Bits of CPUID leaf 1, ECX.
mod leaf1 {
    pub(super) const SSSE3: u32 = 1 << 9;
    pub(super) const SSE41: u32 = 1 << 19;
    pub(super) const AES: u32 = 1 << 25;
    pub(super) const OSXSAVE: u32 = 1 << 27;
    pub(super) const AVX: u32 = 1 << 28;
}

/// Bits of CPUID leaf 7, subleaf 0.
mod leaf7 {
    pub(super) const EBX_AVX2: u32 = 1 << 5;
    /// F, BW, VL.
    pub(super) const EBX_AVX512: u32 = 1 << 16 | 1 << 30 | 1 << 31;
    pub(super) const ECX_VAES: u32 = 1 << 9;
    /// VBMI, VBMI2.
    pub(super) const ECX_AVX512: u32 = 1 << 1 | 1 << 6;
}

/// XCR0: xmm.
const XCR0_SSE: u64 = 1 << 1;

impl Features {
    /// What this processor and system have. CPUID may trap to a hypervisor: tens of microseconds at worst, so it is
    /// asked once per cipher and never per request. Nothing with the feature `portable-only`. Any IRQL.
    #[must_use]
    pub fn detected() -> Self {
        if cfg!(feature = "portable-only") {
            return Self::empty();
        }
        let features = Self::from_cpuid(__cpuid(1).ecx, extended_leaf(), enabled_state());
        // The wide kernels expand their keys with AES-NI.
        if features.contains(Self::AES_NI) { features } else { Self::empty() }
    }

    fn from_cpuid(ecx1: u32, (ebx7, ecx7): (u32, u32), state: ExtendedMask) -> Self {
        let has = |value: u32, bits: u32| value & bits == bits;
        let mut features = Self::empty();
        features.set(Self::AES_NI, has(ecx1, leaf1::SSSE3 | leaf1::SSE41 | leaf1::AES));
        let vaes = has(ecx7, leaf7::ECX_VAES) && has(ecx1, leaf1::AVX);
        features.set(Self::VAES_256, vaes && has(ebx7, leaf7::EBX_AVX2) && state.contains(ExtendedMask::AVX));
        let avx512 = has(ebx7, leaf7::EBX_AVX512) && has(ecx7, leaf7::ECX_AVX512);
        features.set(Self::VAES_512, vaes && avx512 && state.is_all());
        features
    }
}

/// EBX and ECX of leaf 7, zero where the processor has no such leaf.
fn extended_leaf() -> (u32, u32) {
    if __cpuid(0).eax < 7 {
        return (0, 0);
    }
    let leaf = __cpuid_count(7, 0);
    (leaf.ebx, leaf.ecx)
}

/// The extended state that the system has enabled.
pub(super) fn enabled_state() -> ExtendedMask {
    if __cpuid(1).ecx & leaf1::OSXSAVE == 0 {
        return ExtendedMask::empty();
    }
    // SAFETY: OSXSAVE, checked above, says that XGETBV is enabled and what it is about is there.
    #[expect(unsafe_code, reason = "an instruction that not every processor has")]
    let xcr0 = unsafe { xcr0() };
    if xcr0 & XCR0_SSE == 0 { ExtendedMask::empty() } else { ExtendedMask::from_bits_truncate(xcr0) }
}

#[target_feature(enable = "xsave")]
fn xcr0() -> u64 {
    // SAFETY: register 0 exists wherever the instruction does, and reading it has no other effect.
    #[expect(unsafe_code, reason = "an instruction without a safe wrapper")]
    unsafe {
        _xgetbv(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ECX1: u32 = leaf1::SSSE3 | leaf1::SSE41 | leaf1::AES | leaf1::AVX;
    const LEAF7: (u32, u32) = (leaf7::EBX_AVX2 | leaf7::EBX_AVX512, leaf7::ECX_VAES | leaf7::ECX_AVX512);

    #[test]
    fn every_condition_of_a_kernel_counts() {
        let all = ExtendedMask::all();
        assert_eq!(Features::from_cpuid(ECX1, LEAF7, all), Features::all());
        assert_eq!(Features::from_cpuid(0, (0, 0), all), Features::empty());
        for bit in [leaf1::SSSE3, leaf1::SSE41, leaf1::AES] {
            assert!(!Features::from_cpuid(ECX1 & !bit, LEAF7, all).contains(Features::AES_NI));
        }
        let narrow = Features::AES_NI;
        assert_eq!(Features::from_cpuid(ECX1, (LEAF7.0, leaf7::ECX_AVX512), all), narrow, "no VAES");
        assert_eq!(Features::from_cpuid(ECX1 & !leaf1::AVX, LEAF7, all), narrow, "no AVX");
        assert_eq!(Features::from_cpuid(ECX1, LEAF7, ExtendedMask::empty()), narrow, "no state enabled");
        assert_eq!(Features::from_cpuid(ECX1, LEAF7, ExtendedMask::AVX), narrow | Features::VAES_256, "no zmm enabled");
        for bit in [1, 6] {
            let leaf = (LEAF7.0, LEAF7.1 & !(1 << bit));
            assert_eq!(Features::from_cpuid(ECX1, leaf, all), narrow | Features::VAES_256, "ECX bit {bit}");
        }
        for bit in [16, 30, 31] {
            let leaf = (LEAF7.0 & !(1 << bit), LEAF7.1);
            assert_eq!(Features::from_cpuid(ECX1, leaf, all), narrow | Features::VAES_256, "EBX bit {bit}");
        }
        // Of the three parts of the AVX-512 state none may be missing.
        for bit in 5..8 {
            let state = ExtendedMask::from_bits_retain(all.bits() & !(1 << bit));
            assert!(!Features::from_cpuid(ECX1, LEAF7, state).contains(Features::VAES_512), "XCR0 bit {bit}");
        }
    }

    #[test]
    fn detection_agrees_with_the_standard_library() {
        extern crate std;
        use std::is_x86_feature_detected as has;
        let found = Features::detected();
        let aes = has!("aes") && has!("sse4.1");
        assert_eq!(found.contains(Features::AES_NI), aes);
        assert_eq!(found.contains(Features::VAES_256), aes && has!("vaes") && has!("avx2"));
        let base = has!("avx512f") && has!("avx512bw") && has!("avx512vl");
        let bytes = has!("avx512vbmi") && has!("avx512vbmi2");
        assert_eq!(found.contains(Features::VAES_512), aes && has!("vaes") && base && bytes);
    }
}
