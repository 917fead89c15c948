//! Bounce buffers of encrypted writes: kept for the next write instead of being freed.
//!
//! A fresh one costs four allocations and, as memory comes zeroed, one pass over its buffer. A kept one costs neither.
//!
//! # Invariants
//! * A kept buffer holds ciphertext only; one that held plaintext is wiped and freed.
//! * What is kept is bounded: [`SIZES`] states it, per volume.
//! * What there is, kept and in flight, is bounded by [`BounceBuffers::LIMIT`], per volume: whoever can write could otherwise take all
//!   non-paged pool of the machine. Beyond it writes go through the volume's reserve. A buffer that was taken is given back.
//! * Taking and giving back need no lock: completion routines do it.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicUsize, Ordering};

use vck_common::{VckError, VckResult};

use crate::nt::{Bounce, KVec, Slots, processor_count, try_box};

/// Sizes that buffers are made in, bytes, and how many of each are kept: 12.5 MiB at most.
const SIZES: [(usize, usize); 4] = [(4 << 10, 128), (64 << 10, 32), (256 << 10, 8), (1 << 20, 8)];

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
    /// Bytes of all buffers that there are. Touched when one is made or freed, not when a kept one is used.
    made: AtomicUsize,
}

impl BounceBuffers {
    /// The most bytes of buffers that one volume may have: 64 writes of a mebibyte. Beyond it writes go one at a time, which a queue
    /// deep enough to get there bears.
    pub const LIMIT: usize = 64 << 20;

    /// Nothing kept yet, with room for all that may be.
    pub fn try_new() -> VckResult<Self> {
        let count = processor_count().min(MAX_SHELVES);
        let [page, small, middle, large] = SIZES.map(|(_, most)| most.div_ceil(count));
        let mut shelves = KVec::new();
        for _ in 0..count {
            let kept = [Slots::try_new(page)?, Slots::try_new(small)?, Slots::try_new(middle)?, Slots::try_new(large)?];
            shelves.try_push(Shelf { kept })?;
        }
        Ok(Self { shelves, made: AtomicUsize::new(0) })
    }

    /// The index in [`SIZES`] of the size that holds `bytes`.
    fn class_of(bytes: usize) -> Option<usize> {
        SIZES.iter().position(|(size, _)| *size >= bytes)
    }

    /// What is kept of a class, beginning with the shelf `home`.
    fn kept(&self, home: usize, class: usize) -> impl Iterator<Item = &Slots<Bounce>> {
        let (after, own) = self.shelves.split_at(home.min(self.shelves.len()));
        own.iter().chain(after).filter_map(move |shelf| shelf.kept.get(class))
    }

    /// A buffer of at least `bytes`, of those of `processor` if there is one. IRQL <= DISPATCH_LEVEL.
    ///
    /// Errors: no memory, or as much in use as may be.
    pub fn take(&self, bytes: usize, processor: usize) -> VckResult<Box<Bounce>> {
        let home = processor.checked_rem(self.shelves.len()).unwrap_or(0);
        let Some(class) = Self::class_of(bytes) else { return self.make(bytes, home) };
        if let Some(bounce) = self.kept(home, class).find_map(Slots::take) {
            return Ok(bounce);
        }
        let size = SIZES.get(class).map_or(bytes, |(size, _)| *size);
        self.make(size, home)
    }

    /// A new one that belongs to shelf `home`, if that many bytes may be added.
    fn make(&self, bytes: usize, home: usize) -> VckResult<Box<Bounce>> {
        let sum = |made: usize| made.checked_add(bytes).filter(|sum| *sum <= Self::LIMIT);
        let counted = self.made.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
        counted.map_err(|_| VckError::NoMemory)?;
        Bounce::try_new(bytes, home).and_then(try_box).inspect_err(|_| self.unmake(bytes))
    }

    fn unmake(&self, bytes: usize) {
        self.made.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn free(&self, bounce: Box<Bounce>) {
        self.unmake(bounce.size());
        drop(bounce);
    }

    /// Keeps `bounce` for another write, on the shelf where it belongs if there is room, or frees it. IRQL <= DISPATCH_LEVEL.
    pub fn give_back(&self, bounce: Box<Bounce>) {
        let bytes = bounce.size();
        let class = Self::class_of(bytes).filter(|class| SIZES.get(*class).is_some_and(|(size, _)| *size == bytes));
        let Some(class) = class.filter(|_| bounce.may_be_kept()) else { return self.free(bounce) };
        let mut bounce = bounce;
        for kept in self.kept(bounce.home(), class) {
            match kept.put(bounce) {
                Ok(()) => return,
                Err(back) => bounce = back,
            }
        }
        self.free(bounce);
    }

    /// Frees all that is kept.
    pub fn clear(&self) {
        for kept in self.shelves.iter().flat_map(|shelf| &shelf.kept) {
            while let Some(bounce) = kept.take() {
                self.free(bounce);
            }
        }
    }
}
