//! The global allocator of every program that links the simulator: it tells the driver's allocations from the host's.
//!
//! # Invariants
//! * Every block is preceded by a prefix of [`prefix`] bytes whose last word is its owner: zero for the host, or the
//!   address of the `Kernel` whose arena tracks it. A world outlives its driver's code, so that address is valid
//!   whenever such a block is given back by code that runs in the world.
//! * Only driver code allocates for a world: the carrier's `owner` says so, and the simulator clears it on entry.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use super::arena::{self, Kind};
use super::tls;
use crate::core::Kernel;

thread_local! {
    /// Allocations of the host's own by this thread.
    static OF_THE_HOST: Cell<u64> = const { Cell::new(0) };
}

/// How often this thread has allocated for the host, and not for a world, since it began. For programs that run a part of a
/// driver without a world and want to know whether it allocates.
#[must_use]
pub fn allocations_of_this_thread() -> u64 {
    OF_THE_HOST.get()
}

struct OwnedAllocator;

#[global_allocator]
static ALLOCATOR: OwnedAllocator = OwnedAllocator;

/// Bytes in front of a block, for every owner alike.
const PREFIX: usize = 16;

/// Bytes between the start of the underlying allocation and the block.
pub(super) const fn prefix(align: usize) -> usize {
    if align > PREFIX { align } else { PREFIX }
}

fn underlying(layout: Layout) -> Option<Layout> {
    let align = if layout.align() > PREFIX { layout.align() } else { PREFIX };
    let size = layout.size().checked_add(prefix(layout.align()))?;
    Layout::from_size_align(size, align).ok()
}

/// The word in front of a block; aligned, because blocks and prefixes are multiples of 16 bytes or of their alignment.
fn owner_word(block: *mut u8) -> *mut usize {
    block.wrapping_sub(size_of::<usize>()).cast()
}

/// Allocates from the system and writes `owner` in front of the block; null when there is no memory.
pub(super) fn allocate(layout: Layout, owner: usize) -> *mut u8 {
    let Some(whole) = underlying(layout) else { return std::ptr::null_mut() };
    // SAFETY: `whole` has a size of at least the prefix, so it is not zero.
    let base = unsafe { System.alloc(whole) };
    if base.is_null() {
        return base;
    }
    let block = base.wrapping_add(prefix(layout.align()));
    // SAFETY: the word in front of the block is inside the allocation: the prefix is at least 16 bytes long.
    unsafe { owner_word(block).write(owner) };
    block
}

/// Gives a block back to the system.
///
/// # Safety
/// `block` came from [`allocate`] with this layout and is not used any more.
pub(super) unsafe fn release(block: *mut u8, layout: Layout) {
    let Some(whole) = underlying(layout) else { return };
    let base = block.wrapping_sub(prefix(layout.align()));
    // SAFETY: `allocate` made the allocation with the same layout, `prefix` bytes before the block.
    unsafe { System.dealloc(base, whole) };
}

// SAFETY: memory comes from `System` with a layout that covers prefix and block; blocks of a world come from its
// arena, which takes them from `allocate` too; `dealloc` finds out which by the owner word.
unsafe impl GlobalAlloc for OwnedAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let owned = tls::with_owner(|kernel| {
            tls::as_simulator("an allocation", || {
                kernel.check_region("a Rust allocation");
                arena::allocate(kernel, layout, Kind::Rust, 0)
            })
        });
        owned.unwrap_or_else(|| {
            // A thread that ends still allocates; nobody asks it any more.
            let _counted = OF_THE_HOST.try_with(|calls| calls.set(calls.get().wrapping_add(1)));
            allocate(layout, 0)
        })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: first invariant of the module: the owner word precedes every block.
        let owner = unsafe { owner_word(block).read() };
        let kernel = std::ptr::with_exposed_provenance::<Kernel>(owner);
        // SAFETY: first invariant of the module: the owner is zero or a world that still lives.
        match unsafe { kernel.as_ref() } {
            Some(kernel) => {
                let by_driver = tls::in_driver();
                tls::as_simulator("a deallocation", || {
                    if by_driver {
                        kernel.check_region("a Rust deallocation");
                    }
                    arena::free(kernel, block.expose_provenance(), Kind::Rust, None);
                });
            }
            // SAFETY: the block is the host's, from `allocate` with this layout.
            None => unsafe { release(block, layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is that of `alloc`.
        let block = unsafe { self.alloc(layout) };
        if !block.is_null() {
            // SAFETY: the block has `size` bytes.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }
}
