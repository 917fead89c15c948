//! Pool.

use std::alloc::Layout;

use crate::abi::routine::routines;
use crate::abi::*;
use crate::core::{Kernel, Rule};
use crate::host::arena::{self, Kind};

const PAGE: usize = 4096;
const KNOWN: POOL_FLAGS = POOL_FLAG_USE_QUOTA
    | POOL_FLAG_UNINITIALIZED
    | POOL_FLAG_CACHE_ALIGNED
    | POOL_FLAG_RAISE_ON_FAILURE
    | POOL_FLAG_NON_PAGED
    | POOL_FLAG_NON_PAGED_EXECUTE
    | POOL_FLAG_PAGED;

fn check(kernel: &Kernel, flags: POOL_FLAGS, bytes: usize, tag: ULONG) {
    let pools = flags & (POOL_FLAG_NON_PAGED | POOL_FLAG_NON_PAGED_EXECUTE | POOL_FLAG_PAGED);
    if flags & POOL_FLAG_NON_PAGED_EXECUTE != 0 {
        kernel.finding(Rule::PoolExecutable, "ExAllocatePool2 from executable pool");
    }
    if tag == 0 || tag.to_le_bytes().iter().any(|byte| *byte != 0 && !(0x20..=0x7E).contains(byte)) {
        kernel.finding(Rule::PoolUntagged, format!("ExAllocatePool2 with tag {tag:#x}"));
    }
    if bytes == 0 {
        kernel.finding(Rule::PoolZeroSize, "ExAllocatePool2 of no bytes");
    }
    let required = flags & 0xFFFF_FFFF;
    if pools.count_ones() != 1 || required & !KNOWN != 0 || flags & POOL_FLAG_RAISE_ON_FAILURE != 0 {
        kernel.finding(Rule::PoolFlags, format!("ExAllocatePool2 with flags {flags:#x}"));
    }
    if flags & POOL_FLAG_PAGED != 0 && kernel.irql() > 1 {
        kernel.finding(Rule::IrqlTooHigh, format!("paged pool was allocated at IRQL {}", kernel.irql()));
    }
}

fn allocate(kernel: &Kernel, flags: POOL_FLAGS, bytes: SIZE_T, tag: ULONG) -> PVOID {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    check(kernel, flags, bytes, tag);
    let align = match bytes {
        PAGE.. => PAGE,
        _ if flags & POOL_FLAG_CACHE_ALIGNED != 0 => 64,
        _ => 16,
    };
    let Ok(layout) = Layout::from_size_align(bytes, align) else { return std::ptr::null_mut() };
    let block = arena::allocate(kernel, layout, Kind::Pool, tag);
    if !block.is_null() && flags & POOL_FLAG_UNINITIALIZED == 0 {
        // SAFETY: the block was just allocated with this many bytes.
        unsafe { block.write_bytes(0, bytes) };
    }
    block.cast()
}

fn free(kernel: &Kernel, block: PVOID, tag: Option<ULONG>) {
    if block.is_null() {
        kernel.finding(Rule::PoolBadFree, "pool was freed at address zero");
    }
    arena::free(kernel, block.expose_provenance(), Kind::Pool, tag);
}

routines! {
    /// Allocates pool, zeroed unless POOL_FLAG_UNINITIALIZED is given; NULL when there is none. At or below
    /// DISPATCH_LEVEL, paged pool at or below APC_LEVEL. 16-byte aligned, page-aligned from a page on. Findings: no tag,
    /// no bytes, executable pool, flags that are not exactly one pool, POOL_FLAG_RAISE_ON_FAILURE (the exception could
    /// not be caught).
    fn ExAllocatePool2(Flags: POOL_FLAGS, NumberOfBytes: SIZE_T, Tag: ULONG) -> PVOID, max 2 => |k| {
        allocate(k, Flags, NumberOfBytes, Tag)
    }

    /// Frees pool; the tag must be that of the allocation, or zero. At or below DISPATCH_LEVEL.
    fn ExFreePoolWithTag(P: PVOID, Tag: ULONG), max 2 => |k| { free(k, P, Some(Tag)); }

    /// Frees pool. At or below DISPATCH_LEVEL.
    fn ExFreePool(P: PVOID), max 2 => |k| { free(k, P, None); }
}
