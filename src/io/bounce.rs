//! Bounce buffers of encrypted writes: transfers that are kept for the next write instead of being freed.
//!
//! A fresh transfer costs four allocations and, as memory comes zeroed, one pass over its buffer. A kept one costs neither.
//!
//! # Invariants
//! * A kept buffer holds ciphertext only; one that held plaintext is wiped and freed.
//! * What is kept is bounded: [`SIZES`] states it, per volume.
//! * Taking and giving back need no lock: completion routines do it.

use alloc::boxed::Box;

use vck_common::VckResult;

use crate::nt::{KVec, LowerDevice, Slots, Transfer, processor_count, processor_number, try_box};

/// Sizes that buffers are made in, bytes, and how many of each are kept: 10.5 MiB at most.
const SIZES: [(usize, usize); 3] = [(4 << 10, 128), (64 << 10, 32), (1 << 20, 8)];

/// More shelves would spread what is kept too thin.
const MAX_SHELVES: usize = 8;

/// One processor's kept transfers of each size; alone on its cache lines.
#[repr(align(128))]
struct Shelf {
    kept: [Slots<Transfer>; SIZES.len()],
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

    /// A transfer whose buffer has at least `bytes`. IRQL <= DISPATCH_LEVEL.
    ///
    /// Errors: no memory.
    pub fn take(&self, lower: LowerDevice, bytes: usize) -> VckResult<Box<Transfer>> {
        let Some(class) = Self::class_of(bytes) else { return try_box(Transfer::try_new(lower, bytes)?) };
        let take = |shelf: &Shelf| shelf.kept.get(class).and_then(Slots::take);
        if let Some(transfer) = self.near_first().find_map(take) {
            return Ok(transfer);
        }
        let size = SIZES.get(class).map_or(bytes, |(size, _)| *size);
        try_box(Transfer::try_new(lower, size)?)
    }

    /// Keeps `transfer` for another write, or frees it. IRQL <= DISPATCH_LEVEL.
    pub fn give_back(&self, transfer: Box<Transfer>) {
        let bytes = transfer.buffer().len();
        let class = Self::class_of(bytes).filter(|class| SIZES.get(*class).is_some_and(|(size, _)| *size == bytes));
        let Some(class) = class.filter(|_| transfer.may_be_kept()) else { return drop(transfer) };
        let mut transfer = transfer;
        for kept in self.near_first().filter_map(|shelf| shelf.kept.get(class)) {
            match kept.put(transfer) {
                Ok(()) => return,
                Err(back) => transfer = back,
            }
        }
    }

    /// Frees all that is kept.
    pub fn clear(&self) {
        for kept in self.shelves.iter().flat_map(|shelf| &shelf.kept) {
            while let Some(transfer) = kept.take() {
                drop(transfer);
            }
        }
    }
}
