//! The random source seam.
use crate::VckResult;

/// A cryptographically secure random source. PASSIVE_LEVEL.
pub trait RandomSource: Send + Sync {
    /// Fills `out`, or fails without telling which bytes were written.
    fn fill(&self, out: &mut [u8]) -> VckResult<()>;
}
