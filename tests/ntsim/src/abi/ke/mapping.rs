//! System mappings of MDLs, reserved mapping windows.

use std::alloc::Layout;

use super::mdl::{LOCKED, MAPPED, MdlRef, NONPAGED, PARTIAL, PARTIAL_MAPPED};
use crate::abi::routine::{ignored, routines};
use crate::abi::*;
use crate::core::{Kernel, Mapping, Rule, Shadow, Window, digest, real_address};
use crate::host::arena::{self, Kind};
use crate::host::page_heap::alias;

const NO_WRITE: ULONG = 0x8000_0000;
const NO_EXECUTE: ULONG = 0x4000_0000;
const PAGE: usize = 4096;

fn check_mappable(kernel: &Kernel, mdl: MdlRef) {
    if mdl.has(NONPAGED) {
        kernel.finding(Rule::MdlState, "an MDL for non-paged pool was mapped: it has a system address already");
    }
    if mdl.has(MAPPED) || kernel.mappings.is_mapped(mdl.address()) {
        kernel.finding(Rule::MdlDoubleMap, "an MDL was mapped that is mapped already");
    }
    if mdl.flags() & (LOCKED | PARTIAL) == 0 {
        kernel.finding(Rule::MdlState, "an MDL was mapped whose pages are not locked");
    }
}

/// What a mapping without write access shows: a copy of its own, so that writes to it can be seen.
fn shadow_of(address: usize, len: usize) -> Shadow {
    let start = std::ptr::with_exposed_provenance::<u8>(alias(address));
    let mut copy = vec![0_u8; len].into_boxed_slice();
    // SAFETY: the MDL describes `len` bytes of locked memory at this address, and the copy has as many.
    unsafe { std::ptr::copy_nonoverlapping(start, copy.as_mut_ptr(), len) };
    let digest = digest(&copy);
    Shadow { copy, digest }
}

fn establish(kernel: &Kernel, mdl: MdlRef, read_only: bool, window: Option<usize>) -> usize {
    let address = real_address(mdl.virtual_address());
    let shadow = (read_only && kernel.is_deterministic()).then(|| shadow_of(address, mdl.len()));
    let seen = shadow.as_ref().map_or(address, |shadow| shadow.copy.as_ptr().expose_provenance());
    mdl.set_mapped(seen);
    mdl.change(if mdl.has(PARTIAL) { MAPPED | PARTIAL_MAPPED } else { MAPPED }, 0);
    kernel.mappings.insert(mdl.address(), Mapping { address: seen, shadow, memory: (address, mdl.len()), window });
    seen
}

fn map(kernel: &Kernel, mdl: MdlRef, mode: KPROCESSOR_MODE, bug_check: ULONG, priority: ULONG) -> PVOID {
    check_mappable(kernel, mdl);
    if mode != 0 {
        kernel.finding(Rule::BadArgument, "a mapping into user space");
    }
    if bug_check != 0 {
        kernel.finding(Rule::BadArgument, "a mapping with BugCheckOnFailure");
    }
    if priority & NO_EXECUTE == 0 {
        kernel.finding(Rule::PoolExecutable, "an executable mapping: MdlMappingNoExecute is missing");
    }
    let rate = u64::from(kernel.config().mapping_failure_rate);
    let unlucky = rate > 0 && kernel.faults().chance(1, rate);
    if unlucky || kernel.allocation_fails() {
        return std::ptr::null_mut();
    }
    let seen = establish(kernel, mdl, priority & NO_WRITE != 0, None);
    std::ptr::with_exposed_provenance_mut(seen)
}

fn unmap(kernel: &Kernel, base: PVOID, mdl: MdlRef) {
    let Some(address) = kernel.mappings.address(mdl.address()) else {
        kernel.finding(Rule::MdlDoubleMap, "an MDL was unmapped that is not mapped");
    };
    if address != base.expose_provenance() {
        kernel.finding(Rule::BadArgument, "an MDL was unmapped at another address than it was mapped at");
    }
    mdl.change(0, MAPPED | PARTIAL_MAPPED);
    kernel.end_mapping(mdl.address());
}

fn reserve(kernel: &Kernel, bytes: SIZE_T, tag: ULONG) -> PVOID {
    let bytes = usize::try_from(bytes).unwrap_or(0);
    if bytes == 0 || tag == 0 {
        kernel.finding(Rule::BadArgument, "MmAllocateMappingAddress without a size or without a tag");
    }
    let Ok(layout) = Layout::from_size_align(16, 16) else { return std::ptr::null_mut() };
    let block = arena::allocate(kernel, layout, Kind::Mapping, tag);
    if !block.is_null() {
        let window = Window { pages: bytes.div_ceil(PAGE), tag, busy: false };
        kernel.mappings.add_window(block.expose_provenance(), window);
    }
    block.cast()
}

fn unreserve(kernel: &Kernel, base: PVOID, tag: ULONG) {
    let address = base.expose_provenance();
    let state = kernel.mappings.with_window(address, |window| window.map(|window| (window.tag, window.busy)));
    match state {
        None => kernel.finding(Rule::BadArgument, "MmFreeMappingAddress of a range that is not reserved"),
        Some((_, true)) => kernel.finding(Rule::MdlState, "MmFreeMappingAddress of a range that is mapped"),
        Some((own, false)) if own != tag => {
            kernel.finding(Rule::BadArgument, "MmFreeMappingAddress with another tag");
        }
        Some(_) => {}
    }
    kernel.mappings.remove_window(address);
    arena::free(kernel, address, Kind::Mapping, Some(tag));
}

/// Takes the window for a mapping of `pages`; an error text when it is not to be had, `Ok(false)` when it is too small.
fn claim(window: Option<&mut Window>, tag: ULONG, pages: usize) -> Result<bool, &'static str> {
    let Some(window) = window else { return Err("a mapping into a range that is not reserved") };
    if window.tag != tag {
        return Err("a mapping into a reserved range with another tag");
    }
    if window.busy {
        return Err("two mappings into one reserved range");
    }
    window.busy = window.pages >= pages;
    Ok(window.busy)
}

fn map_reserved(kernel: &Kernel, base: PVOID, tag: ULONG, mdl: MdlRef) -> PVOID {
    check_mappable(kernel, mdl);
    let address = base.expose_provenance();
    match kernel.mappings.with_window(address, |window| claim(window, tag, mdl.pages())) {
        Err(text) => kernel.finding(Rule::MdlState, text),
        Ok(false) => std::ptr::null_mut(),
        Ok(true) => std::ptr::with_exposed_provenance_mut(establish(kernel, mdl, false, Some(address))),
    }
}

routines! {
    /// Maps the pages of an MDL into system space; NULL when that fails. At or below DISPATCH_LEVEL for KernelMode. The
    /// mapping ends with MmUnmapLockedPages, or when the pages are unlocked. `Priority` may carry MdlMappingNoWrite
    /// (then the mapping shows a private copy, compared when it ends) and must carry MdlMappingNoExecute.
    fn MmMapLockedPagesSpecifyCache(MemoryDescriptorList: PMDL, AccessMode: KPROCESSOR_MODE, CacheType: MEMORY_CACHING_TYPE, RequestedAddress: PVOID, BugCheckOnFailure: ULONG, Priority: ULONG) -> PVOID, max 2 => |k| {
        ignored((CacheType, RequestedAddress));
        map(k, MdlRef::new(MemoryDescriptorList), AccessMode, BugCheckOnFailure, Priority)
    }

    /// Ends a mapping. At or below DISPATCH_LEVEL.
    fn MmUnmapLockedPages(BaseAddress: PVOID, MemoryDescriptorList: PMDL), max 2 => |k| {
        unmap(k, BaseAddress, MdlRef::new(MemoryDescriptorList));
    }

    /// Reserves system addresses for later mappings; NULL when there are none. At or below APC_LEVEL.
    fn MmAllocateMappingAddress(NumberOfBytes: SIZE_T, PoolTag: ULONG) -> PVOID, max 1 => |k| {
        reserve(k, NumberOfBytes, PoolTag)
    }

    /// Gives reserved addresses back; nothing may be mapped there. At or below APC_LEVEL.
    fn MmFreeMappingAddress(BaseAddress: PVOID, PoolTag: ULONG), max 1 => |k| { unreserve(k, BaseAddress, PoolTag); }

    /// Maps the pages of an MDL into a reserved range; NULL only when the range is too small. At or below DISPATCH_LEVEL.
    /// Weaker than Windows: the mapping does not lie inside the range, so only the returned address is usable.
    fn MmMapLockedPagesWithReservedMapping(MappingAddress: PVOID, PoolTag: ULONG, MemoryDescriptorList: PMDL, CacheType: MEMORY_CACHING_TYPE) -> PVOID, max 2 => |k| {
        ignored(CacheType);
        map_reserved(k, MappingAddress, PoolTag, MdlRef::new(MemoryDescriptorList))
    }

    /// Ends a mapping in a reserved range. At or below DISPATCH_LEVEL. `BaseAddress` is what the mapping call returned
    /// or the start of the range.
    fn MmUnmapReservedMapping(BaseAddress: PVOID, PoolTag: ULONG, MemoryDescriptorList: PMDL), max 2 => |k| {
        ignored((BaseAddress, PoolTag));
        let mdl = MdlRef::new(MemoryDescriptorList);
        mdl.change(0, MAPPED | PARTIAL_MAPPED);
        if !k.end_mapping(mdl.address()) {
            k.finding(Rule::MdlDoubleMap, "a reserved mapping was ended that does not exist");
        }
    }
}
