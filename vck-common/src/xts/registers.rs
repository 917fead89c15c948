//! Proof that wide vector registers may be used.
//!
//! On x64 Windows a kernel-mode thread may use xmm registers with legacy SSE encodings at any time. The upper halves of
//! ymm, and all of zmm16 to zmm31 and the mask registers, belong to the user-mode thread that was interrupted or called;
//! a driver that touches them without saving them first destroys that thread's data.
//!
//! # Invariants
//! * A [`WideRegisters`] exists only while the registers of its mask are the holder's: only the unsafe constructor and,
//!   for programs, [`WideRegisters::in_user_mode`] make one.
//! * It stays on its thread.

use core::marker::PhantomData;

bitflags::bitflags! {
    /// Parts of the extended processor state, by their bits in XCR0 and in the `XSTATE_MASK_*` constants of Windows.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ExtendedMask: u64 {
        /// Upper halves of ymm0 to ymm15.
        const AVX = 1 << 2;
        /// Mask registers, upper halves of zmm0 to zmm15, zmm16 to zmm31.
        const AVX512 = 0b111 << 5;
    }
}

/// Permission to use wide registers for `'a`, on this thread and up to the IRQL at which the state was saved.
#[derive(Clone, Copy)]
pub struct WideRegisters<'a> {
    state: ExtendedMask,
    /// The guard that holds the saved state; a raw pointer keeps the permission on its thread.
    guard: PhantomData<&'a *const ()>,
}

impl WideRegisters<'_> {
    /// The permission that goes with a saved state.
    ///
    /// # Safety
    /// For all of the lifetime the registers in `saved` are the calling thread's to destroy: their contents are saved
    /// and will be restored before anything else on this thread relies on them, and the system has them enabled.
    #[must_use]
    #[expect(unsafe_code, reason = "the caller vouches for the state of the processor, which no type can see")]
    pub const unsafe fn new(saved: ExtendedMask) -> Self {
        Self { state: saved, guard: PhantomData }
    }

    /// What may be used.
    #[must_use]
    pub const fn state(self) -> ExtendedMask {
        self.state
    }

    /// In a program all registers that the system has enabled are the thread's own. Not for code that runs in the
    /// kernel, simulated or not: the simulator looks for wide registers that were changed outside a saved state.
    #[cfg(feature = "user-mode")]
    #[must_use]
    pub fn in_user_mode() -> WideRegisters<'static> {
        WideRegisters { state: super::features::enabled_state(), guard: PhantomData }
    }
}
