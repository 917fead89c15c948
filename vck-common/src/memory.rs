//! Memory that may not be there.

use alloc::vec::Vec;

use crate::{VckError, VckResult};

/// A zeroed buffer. Allocates; `DISPATCH_LEVEL` or below where the allocator is non-paged pool.
///
/// # Errors
/// [`VckError::NoMemory`].
pub fn zeroed(bytes: usize) -> VckResult<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(bytes).map_err(|_| VckError::NoMemory)?;
    buffer.resize(bytes, 0);
    Ok(buffer)
}
