//! MDLs and mappings.

use super::driver::*;
use super::{caught, clean, planted};
use vck_ntsim::abi::*;

const NO_EXECUTE: u32 = 0x4000_0000;
const NO_WRITE: u32 = 0x8000_0000;

/// An MDL that describes a buffer, its pages not locked.
pub(crate) fn plain(buffer: PVOID, len: u32) -> PMDL {
    nt!(IoAllocateMdl(buffer, len, 0, 0, std::ptr::null_mut()))
}

/// An MDL with locked pages.
pub(crate) fn locked(buffer: PVOID, len: u32) -> PMDL {
    let mdl = plain(buffer, len);
    nt!(MmProbeAndLockPages(mdl, 0, 1));
    mdl
}

fn map(mdl: PMDL, priority: u32) -> PVOID {
    nt!(MmMapLockedPagesSpecifyCache(mdl, 0, 1, std::ptr::null_mut(), 0, 16 | NO_EXECUTE | priority))
}

fn buffer() -> PVOID {
    object::<[u64; 32]>().cast()
}

fn release(mdl: PMDL, buffer: PVOID) {
    nt!(MmUnlockPages(mdl));
    nt!(IoFreeMdl(mdl));
    dispose(buffer.cast::<[u64; 32]>());
}

#[test]
fn mapping_reaches_the_buffer() {
    clean(|| {
        let buffer = buffer();
        let mdl = locked(buffer, 256);
        let address = map(mdl, 0);
        poke(address, 17, 5);
        nt!(MmUnmapLockedPages(address, mdl));
        assert_eq!(peek(buffer, 17), 5);
        release(mdl, buffer);
    });
}

#[test]
fn partial_mdl_over_a_nonpaged_one() {
    clean(|| {
        let block = pool(8192);
        let whole = plain(block, 8192);
        nt!(MmBuildMdlForNonPagedPool(whole));
        let part = plain(block, 8192);
        let start = block.cast::<u8>().wrapping_add(5000).cast();
        nt!(IoBuildPartialMdl(whole, part, start, 0));
        let view = copy(part);
        assert_eq!((view.ByteCount, view.ByteOffset, view.MappedSystemVa), (3192, 904, start));
        nt!(IoFreeMdl(part));
        nt!(IoFreeMdl(whole));
        nt!(ExFreePoolWithTag(block, TAG));
    });
}

#[test]
fn reserved_window_carries_a_mapping() {
    clean(|| {
        let buffer = buffer();
        let mdl = locked(buffer, 256);
        let window = nt!(MmAllocateMappingAddress(8192, TAG));
        let address = nt!(MmMapLockedPagesWithReservedMapping(window, TAG, mdl, 1));
        poke(address, 0, 9);
        nt!(MmUnmapReservedMapping(window, TAG, mdl));
        assert_eq!(peek(buffer, 0), 9);
        nt!(MmFreeMappingAddress(window, TAG));
        release(mdl, buffer);
    });
}

planted! {
    MdlState: fn mdl_freed_with_locked_pages(rule) {
        caught(rule, || nt!(IoFreeMdl(locked(buffer(), 256))));
    }

    MdlState: fn mdl_mapped_without_locked_pages(rule) {
        caught(rule, || {
            map(plain(buffer(), 256), 0);
        });
    }

    MdlState: fn window_freed_while_it_is_mapped(rule) {
        caught(rule, || {
            let window = nt!(MmAllocateMappingAddress(8192, TAG));
            nt!(MmMapLockedPagesWithReservedMapping(window, TAG, locked(buffer(), 256), 1));
            nt!(MmFreeMappingAddress(window, TAG));
        });
    }

    MdlDoubleMap: fn mdl_mapped_twice(rule) {
        caught(rule, || {
            let mdl = locked(buffer(), 256);
            map(mdl, 0);
            map(mdl, NO_WRITE);
        });
    }

    MdlDoubleMap: fn mdl_unmapped_twice(rule) {
        caught(rule, || {
            let mdl = locked(buffer(), 256);
            let address = map(mdl, 0);
            nt!(MmUnmapLockedPages(address, mdl));
            nt!(MmUnmapLockedPages(address, mdl));
        });
    }

    MdlNoWrite: fn write_through_a_no_write_mapping_seen_at_unmap(rule) {
        caught(rule, || {
            let mdl = locked(buffer(), 256);
            let address = map(mdl, NO_WRITE);
            poke(address, 255, 1);
            nt!(MmUnmapLockedPages(address, mdl));
        });
    }

    MdlNoWrite: fn write_through_a_no_write_mapping_seen_at_unlock(rule) {
        caught(rule, || {
            let mdl = locked(buffer(), 256);
            poke(map(mdl, NO_WRITE), 0, 1);
            nt!(MmUnlockPages(mdl));
        });
    }
}
