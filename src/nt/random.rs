//! The kernel's random number generator.

use core::ptr;

use vck_common::{RandomSource, VckError, VckResult};

use super::{irql, sys};

/// Kernel CNG, system-preferred generator. PASSIVE_LEVEL.
pub struct KernelRandom;

/// `BCRYPT_USE_SYSTEM_PREFERRED_RNG`: no algorithm handle is needed.
const SYSTEM_PREFERRED: u32 = 2;

impl RandomSource for KernelRandom {
    fn fill(&self, out: &mut [u8]) -> VckResult<()> {
        if irql::current() != 0 {
            return Err(VckError::CryptoFailed("the random generator was asked above PASSIVE_LEVEL"));
        }
        let length = u32::try_from(out.len()).map_err(|_| VckError::CryptoFailed("too many random bytes at once"))?;
        // SAFETY: PASSIVE_LEVEL; the buffer is writable and so long.
        let status = unsafe { sys::BCryptGenRandom(ptr::null_mut(), out.as_mut_ptr(), length, SYSTEM_PREFERRED) };
        if status == 0 { Ok(()) } else { Err(VckError::CryptoFailed("the system's random generator failed")) }
    }
}
