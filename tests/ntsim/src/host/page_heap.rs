//! Kernel objects on pages of their own, which a driver can be kept from touching.
//!
//! The memory is mapped twice. Drivers see the pages at an address in the first half of [`WINDOW`]; the simulator
//! reaches the same pages through [`alias`], whatever the driver may do with them at the moment.
//!
//! # Invariants
//! * An address in the window's first half that a [`PageHeap`] handed out has its alias mapped, readable and
//!   writable, until the heap is dropped.
//! * Only this module maps memory in the window, and only where nothing is mapped yet.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Where page heaps lie: the upper half of the address's bits.
const WINDOW: usize = 0x2a;
const WINDOW_SHIFT: u32 = 40;
/// Distance of the simulator's view from the driver's.
const ALIAS: usize = 1 << WINDOW_SHIFT;
/// Bytes of one world's heap; pages that were never used cost nothing.
const HEAP_BYTES: usize = 256 << 20;
const PAGE: usize = 4096;

/// Whether an address belongs to a page heap, as drivers see it.
pub(crate) fn contains(address: usize) -> bool {
    address >> WINDOW_SHIFT == WINDOW
}

/// Where the simulator finds what a driver sees at `address`; the address itself outside every page heap.
pub(crate) fn alias(address: usize) -> usize {
    if contains(address) { address | ALIAS } else { address }
}

/// One world's pages.
#[derive(Debug)]
pub(crate) struct PageHeap {
    base: usize,
    used: AtomicUsize,
}

fn map(address: usize, file: i32, protection: i32) -> bool {
    let wanted = std::ptr::without_provenance_mut::<libc::c_void>(address);
    let flags = libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE | libc::MAP_NORESERVE;
    // SAFETY: second invariant of the module: the call fails rather than replace a mapping; the file is open.
    let got = unsafe { libc::mmap(wanted, HEAP_BYTES, protection, flags, file, 0) };
    if got == wanted {
        return true;
    }
    if got != libc::MAP_FAILED {
        // An old kernel took the address for a hint.
        // SAFETY: the mapping was just made and nobody knows it.
        let _status = unsafe { libc::munmap(got, HEAP_BYTES) };
    }
    false
}

fn unmap(address: usize) {
    let start = std::ptr::without_provenance_mut::<libc::c_void>(address);
    // SAFETY: the caller made the mapping, and nobody uses it any more.
    let _status = unsafe { libc::munmap(start, HEAP_BYTES) };
}

impl PageHeap {
    /// Reserves a heap; `None` when the host has no room for one.
    pub(crate) fn new() -> Option<Self> {
        // SAFETY: the name is a terminated string.
        let file = unsafe { libc::memfd_create(c"vck-ntsim".as_ptr(), libc::MFD_CLOEXEC) };
        if file < 0 {
            return None;
        }
        let length = libc::off_t::try_from(HEAP_BYTES).unwrap_or(libc::off_t::MAX);
        // SAFETY: the file is open.
        let sized = unsafe { libc::ftruncate(file, length) } == 0;
        let base = (0..ALIAS / HEAP_BYTES).map(|at| (WINDOW << WINDOW_SHIFT) + at * HEAP_BYTES).find(|&base| {
            let seen = sized && map(base, file, libc::PROT_NONE);
            let both = seen && map(base | ALIAS, file, libc::PROT_READ | libc::PROT_WRITE);
            if seen && !both {
                unmap(base);
            }
            both
        });
        // SAFETY: the file is open, and the mappings keep its memory.
        let _status = unsafe { libc::close(file) };
        base.map(|base| Self { base, used: AtomicUsize::new(0) })
    }

    /// Fresh zeroed pages, inaccessible to the driver; `None` when the heap is used up.
    pub(crate) fn take(&self, bytes: usize) -> Option<usize> {
        let bytes = bytes.next_multiple_of(PAGE);
        let at = self.used.fetch_add(bytes, Ordering::Relaxed);
        (at + bytes <= HEAP_BYTES).then_some(self.base + at)
    }
}

/// Lets drivers touch the pages of a block, or keeps them from it. Blocks outside page heaps stay as they are.
pub(crate) fn protect(address: usize, bytes: usize, accessible: bool) {
    if !contains(address) || bytes == 0 {
        return;
    }
    let first = address & !(PAGE - 1);
    let length = (address + bytes).next_multiple_of(PAGE) - first;
    let protection = if accessible { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_NONE };
    let start = std::ptr::without_provenance_mut::<libc::c_void>(first);
    // SAFETY: second invariant of the module: these pages are a page heap's; the simulator itself uses the alias.
    let status = unsafe { libc::mprotect(start, length, protection) };
    assert_eq!(status, 0, "the host refuses to change the protection of a page");
}

impl Drop for PageHeap {
    fn drop(&mut self) {
        unmap(self.base);
        unmap(self.base | ALIAS);
    }
}
