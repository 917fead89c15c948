//! The random source seam.

use crate::VckResult;

/// A cryptographically secure random source. Max IRQL: `PASSIVE_LEVEL`.
pub trait RandomSource: Send + Sync {
    /// Fills `out`.
    ///
    /// # Errors
    /// [`crate::VckError::CryptoFailed`] without telling which bytes were written; the caller must not use any of them.
    fn fill(&self, out: &mut [u8]) -> VckResult<()>;
}

impl<T: RandomSource + ?Sized> RandomSource for &T {
    fn fill(&self, out: &mut [u8]) -> VckResult<()> {
        (**self).fill(out)
    }
}
