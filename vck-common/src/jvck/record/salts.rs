//! The salts of the metadata blocks that may be on disk.

use super::layout::MAX_SALTS;
use crate::jvck::layout::SALT_SIZE;

/// The salt of a block: what tells it from every other block of the volume.
pub(in crate::jvck) type Salt = [u8; SALT_SIZE];

/// Up to [`MAX_SALTS`] different salts.
#[derive(Clone, Copy)]
pub(in crate::jvck) struct SaltSet {
    salts: [Salt; MAX_SALTS],
    len: usize,
}

impl SaltSet {
    pub(in crate::jvck) const fn new() -> Self {
        Self { salts: [[0; SALT_SIZE]; MAX_SALTS], len: 0 }
    }

    pub(in crate::jvck) fn only(salt: &Salt) -> Self {
        let mut set = Self::new();
        set.insert(salt);
        set
    }

    /// Adds a salt; `false` if there is no room for it.
    pub(in crate::jvck) fn insert(&mut self, salt: &Salt) -> bool {
        if self.contains(salt) {
            return true;
        }
        let Some(place) = self.salts.get_mut(self.len) else { return false };
        *place = *salt;
        self.len = self.len.saturating_add(1);
        true
    }

    pub(in crate::jvck) fn contains(&self, salt: &Salt) -> bool {
        self.as_slice().contains(salt)
    }

    pub(in crate::jvck) fn as_slice(&self) -> &[Salt] {
        self.salts.get(..self.len).unwrap_or_default()
    }

    /// True if another salt would not fit.
    pub(in crate::jvck) const fn is_full(&self) -> bool {
        self.len >= MAX_SALTS
    }
}
