//! Bounce buffers of encrypted writes: kept for the next write instead of being freed.
//!
//! A fresh one costs four allocations and, as memory comes zeroed, one pass over its buffer. A kept one costs neither.
//!
//! # Invariants
//! * A kept buffer holds ciphertext only; one that held plaintext is wiped and freed.
//! * What is kept is bounded: [`SIZES`] states it, per volume.
//! * Taking and giving back need no lock: completion routines do it.

use alloc::boxed::Box;

use vck_common::VckResult;

use crate::nt::{Bounce, KVec, Slots, processor_count, processor_number, try_box};

/// Sizes that buffers are made in, bytes, and how many of each are kept: 10.5 MiB at most.
const SIZES: [(usize, usize); 3] = [(4 << 10, 128), (64 << 10, 32), (1 << 20, 8)];

/// More shelves would spread what is kept too thin.
const MAX_SHELVES: usize = 8;

/// One processor's kept buffers of each size; alone on its cache lines.
#[repr(align(128))]
struct Shelf {
    kept: [Slots<Bounce>; SIZES.len()],
}

/// The bounce buffers of one volume.
pub struct BounceBuffers {
    shelves: KVec<Shelf>,
}

impl BounceBuffers {
    /// Nothing kept yet, with room for all that may be.
    pub fn try_new() -> VckResult<Self> {
        let count = processor_count().min(MAX_SHELVES);
        let [small, middle, large] = SIZES.map(|(_, most)| most.div_ceil(count));
        let mut shelves = KVec::new();
        for _ in 0..count {
            let kept = [Slots::try_new(small)?, Slots::try_new(middle)?, Slots::try_new(large)?];
            shelves.try_push(Shelf { kept })?;
        }
        Ok(Self { shelves })
    }

    /// The index in [`SIZES`] of the size that holds `bytes`.
    fn class_of(bytes: usize) -> Option<usize> {
        SIZES.iter().position(|(size, _)| *size >= bytes)
    }

    /// The shelves, that of the current processor first.
    fn near_first(&self) -> impl Iterator<Item = &Shelf> {
        let own = processor_number().checked_rem(self.shelves.len()).unwrap_or(0);
        self.shelves.iter().cycle().skip(own).take(self.shelves.len())
    }

    /// A buffer of at least `bytes`. IRQL <= DISPATCH_LEVEL.
    ///
    /// Errors: no memory.
    pub fn take(&self, bytes: usize) -> VckResult<Box<Bounce>> {
        let Some(class) = Self::class_of(bytes) else { return try_box(Bounce::try_new(bytes)?) };
        let take = |shelf: &Shelf| shelf.kept.get(class).and_then(Slots::take);
        if let Some(bounce) = self.near_first().find_map(take) {
            return Ok(bounce);
        }
        let size = SIZES.get(class).map_or(bytes, |(size, _)| *size);
        try_box(Bounce::try_new(size)?)
    }

    /// Keeps `bounce` for another write, or frees it. IRQL <= DISPATCH_LEVEL.
    pub fn give_back(&self, bounce: Box<Bounce>) {
        let bytes = bounce.size();
        let class = Self::class_of(bytes).filter(|class| SIZES.get(*class).is_some_and(|(size, _)| *size == bytes));
        let Some(class) = class.filter(|_| bounce.may_be_kept()) else { return drop(bounce) };
        let mut bounce = bounce;
        for kept in self.near_first().filter_map(|shelf| shelf.kept.get(class)) {
            match kept.put(bounce) {
                Ok(()) => return,
                Err(back) => bounce = back,
            }
        }
    }

    /// Frees all that is kept.
    pub fn clear(&self) {
        for kept in self.shelves.iter().flat_map(|shelf| &shelf.kept) {
            while let Some(bounce) = kept.take() {
                drop(bounce);
            }
        }
    }
}
