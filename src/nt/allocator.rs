//! The global allocator of the image, over non-paged pool.
//!
//! # Invariants
//! Pool blocks are aligned to 16 bytes. For a larger alignment the block is enlarged, the pointer moved up, and the
//! address of the block stored in the eight bytes below the pointer, which are always inside the block then.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr;

use super::sys;

/// Allocates every Rust value of the driver from non-paged pool.
pub struct KernelAllocator;

const POOL_ALIGNMENT: usize = 16;
const TAG: u32 = u32::from_le_bytes(*b"VCKD");

// SAFETY: blocks come from ExAllocatePool2, are as large and as aligned as asked for (module invariants), and failure is
// reported by null. IRQL <= DISPATCH_LEVEL.
unsafe impl GlobalAlloc for KernelAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let extra = if layout.align() > POOL_ALIGNMENT { layout.align() } else { 0 };
        let Some(size) = layout.size().checked_add(extra) else { return ptr::null_mut() };
        // SAFETY: IRQL <= DISPATCH_LEVEL for non-paged pool; the size is not zero.
        let block = unsafe { sys::ExAllocatePool2(sys::POOL_FLAG_NON_PAGED, size as sys::SIZE_T, TAG) }.cast::<u8>();
        if block.is_null() || extra == 0 {
            return block;
        }
        // At least POOL_ALIGNMENT bytes, at most `extra`, because the block is aligned to POOL_ALIGNMENT.
        let up = layout.align().wrapping_sub(block.addr() & (layout.align() - 1));
        // SAFETY: `up` bytes are inside the block.
        let aligned = unsafe { block.add(up) };
        // SAFETY: the slot below is inside the block and aligned to 8.
        unsafe { aligned.cast::<*mut u8>().sub(1).write(block) };
        aligned
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let block = if layout.align() > POOL_ALIGNMENT {
            // SAFETY: stored by `alloc`.
            unsafe { memory.cast::<*mut u8>().sub(1).read() }
        } else {
            memory
        };
        // SAFETY: from ExAllocatePool2 with this tag.
        unsafe { sys::ExFreePoolWithTag(block.cast(), TAG) };
    }
}
