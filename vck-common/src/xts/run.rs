//! Runs of whole blocks that vector code reads and writes.
//!
//! # Invariants
//! * `source` is valid for reads and `target` for writes of `blocks` blocks, for `'a`. They are the same memory or do not
//!   overlap.
//! * Blocks are handed out once, front to back.
//!
//! No reference to the source is kept: when a copy is encrypted another thread may be changing it, and each block is
//! loaded once.

use core::marker::PhantomData;

/// Bytes of an AES block.
pub(super) const BLOCK: usize = 16;

/// Blocks that are still to be ciphered.
pub(super) struct Run<'a> {
    source: *const u8,
    target: *mut u8,
    blocks: usize,
    memory: PhantomData<&'a mut [u8]>,
}

/// The next `N` blocks of a run.
pub(super) struct Window<'a, const N: usize> {
    source: *const u8,
    target: *mut u8,
    memory: PhantomData<&'a mut [u8]>,
}

impl<'a> Run<'a> {
    /// The whole blocks of `buffer`, in place.
    pub(super) const fn in_place(buffer: &'a mut [u8]) -> Self {
        let target = buffer.as_mut_ptr();
        Self { source: target.cast_const(), target, blocks: buffer.len() / BLOCK, memory: PhantomData }
    }

    /// The whole blocks that both slices have.
    pub(super) const fn copy(source: &'a [u8], target: &'a mut [u8]) -> Self {
        let common = if source.len() < target.len() { source.len() } else { target.len() };
        Self { source: source.as_ptr(), target: target.as_mut_ptr(), blocks: common / BLOCK, memory: PhantomData }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.blocks == 0
    }

    /// Blocks left.
    pub(super) const fn blocks(&self) -> usize {
        self.blocks
    }

    /// Takes the next `blocks` blocks, or all if there are fewer.
    pub(super) const fn take(&mut self, blocks: usize) -> Self {
        let taken = if blocks < self.blocks { blocks } else { self.blocks };
        let front = Self { source: self.source, target: self.target, blocks: taken, memory: PhantomData };
        // Neither can overflow: these blocks are memory.
        let bytes = taken.wrapping_mul(BLOCK);
        self.source = self.source.wrapping_add(bytes);
        self.target = self.target.wrapping_add(bytes);
        self.blocks = self.blocks.wrapping_sub(taken);
        front
    }

    /// Takes the next `N` blocks if there are that many.
    pub(super) const fn window<const N: usize>(&mut self) -> Option<Window<'a, N>> {
        if self.blocks < N {
            return None;
        }
        let front = self.take(N);
        Some(Window { source: front.source, target: front.target, memory: PhantomData })
    }
}

impl<const N: usize> Window<'_, N> {
    /// Where block `index` is read from. Valid for reads of `N - index` blocks if `index` is below `N`.
    pub(super) const fn source(&self, index: usize) -> *const u8 {
        self.source.wrapping_add(index.wrapping_mul(BLOCK))
    }

    /// Where block `index` is written to. Valid for writes of `N - index` blocks if `index` is below `N`.
    pub(super) const fn target(&self, index: usize) -> *mut u8 {
        self.target.wrapping_add(index.wrapping_mul(BLOCK))
    }
}
