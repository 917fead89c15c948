//! Secrets as types: wiped on drop, never printed, never cloned.
//!
//! # Invariants
//! The bytes live in one place that is overwritten before it is released. Nothing here implements `Debug`, `Clone` or
//! `Copy`, so a copy is always a visible act at the place that makes it.

use alloc::vec::Vec;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{VckError, VckResult};

/// The longest variable-length secret, in bytes: what a request may carry.
pub const MAX_SECRET_LEN: usize = 4096;

/// A secret of `N` bytes, wiped on drop.
pub struct Secret<const N: usize>([u8; N]);

impl<const N: usize> Secret<N> {
    /// All zero, to be filled through [`Secret::expose_mut`].
    #[must_use]
    pub const fn zeroed() -> Self {
        Self([0; N])
    }

    /// Copies `bytes`. The caller still has to wipe its own copy.
    #[must_use]
    pub const fn copy_from(bytes: &[u8; N]) -> Self {
        Self(*bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// The bytes, for filling in place.
    pub const fn expose_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<const N: usize> ZeroizeOnDrop for Secret<N> {}

/// A secret of up to [`MAX_SECRET_LEN`] bytes on the heap, wiped on drop. It never grows, so it never leaves a copy behind.
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Copies `bytes`. The caller still has to wipe its own copy.
    ///
    /// # Errors
    /// [`VckError::InvalidData`] above [`MAX_SECRET_LEN`]; [`VckError::NoMemory`] if there is none.
    pub fn copy_from(bytes: &[u8]) -> VckResult<Self> {
        if bytes.len() > MAX_SECRET_LEN {
            return Err(VckError::InvalidData("the secret is longer than 4096 bytes"));
        }
        let mut own = Vec::new();
        own.try_reserve_exact(bytes.len()).map_err(|_| VckError::NoMemory)?;
        own.extend_from_slice(bytes);
        Ok(Self(own))
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True for a secret of no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for SecretBytes {}
