//! The kernels there are, and which of them may be used.

use core::fmt;

use super::{ExtendedMask, Features};

/// One implementation of the sector cipher. All give the same bytes. Ordered from slow to fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kernel {
    /// The `aes` crate, block by block with batches of eight: the oracle of the others.
    Portable,
    /// AES-NI in xmm registers with legacy SSE encodings, eight blocks in flight.
    AesNi,
    /// VAES in ymm registers, sixteen blocks in flight.
    Vaes256,
    /// VAES in zmm registers, 32 blocks in flight.
    Vaes512,
}

impl Kernel {
    /// Every kernel, slow to fast.
    pub const ALL: [Self; 4] = [Self::Portable, Self::AesNi, Self::Vaes256, Self::Vaes512];

    /// The name that tools and logs show.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::AesNi => "aes-ni",
            Self::Vaes256 => "vaes-256",
            Self::Vaes512 => "vaes-512",
        }
    }

    /// The extended state it changes: what has to be saved around a call.
    #[must_use]
    pub const fn state(self) -> ExtendedMask {
        match self {
            Self::Portable | Self::AesNi => ExtendedMask::empty(),
            Self::Vaes256 => ExtendedMask::AVX,
            Self::Vaes512 => ExtendedMask::all(),
        }
    }

    /// Whether it may run only while the extended state is saved.
    #[must_use]
    pub const fn needs_extended_state(self) -> bool {
        !self.state().is_empty()
    }

    /// What the processor must have for it.
    #[must_use]
    pub const fn features(self) -> Features {
        match self {
            Self::Portable => Features::empty(),
            Self::AesNi => Features::AES_NI,
            Self::Vaes256 => Features::AES_NI.union(Features::VAES_256),
            Self::Vaes512 => Features::AES_NI.union(Features::VAES_512),
        }
    }

    /// The fastest of those that `features` offers and that change no more than `state`.
    #[must_use]
    pub fn fastest(features: Features, state: ExtendedMask) -> Self {
        let usable = |kernel: &Self| features.contains(kernel.features()) && state.contains(kernel.state());
        Self::ALL.into_iter().rfind(usable).unwrap_or(Self::Portable)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_allowed_is_chosen() {
        let (all, none) = (ExtendedMask::all(), ExtendedMask::empty());
        assert_eq!(Kernel::fastest(Features::all(), all), Kernel::Vaes512);
        assert_eq!(Kernel::fastest(Features::all(), ExtendedMask::AVX), Kernel::Vaes256);
        assert_eq!(Kernel::fastest(Features::all(), ExtendedMask::AVX512), Kernel::AesNi, "ymm is part of zmm");
        assert_eq!(Kernel::fastest(Features::all(), none), Kernel::AesNi);
        assert_eq!(Kernel::fastest(Features::empty(), all), Kernel::Portable);
        assert_eq!(Kernel::fastest(Features::VAES_512, all), Kernel::Portable, "keys are expanded with AES-NI");
        assert_eq!(Kernel::fastest(Features::AES_NI | Features::VAES_256, all), Kernel::Vaes256);
    }
}
