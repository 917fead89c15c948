//! Memory of kernel objects (IRPs, devices, drivers, files, MDLs of the I/O manager, buffers of requests).
//!
//! # Invariants
//! * **Recycled, never returned**: a block handed out belongs to the world until the world is dropped. After `free` it
//!   may be handed out again for an object of the same size. So an address once handed out is readable and writable
//!   memory for as long as the world lives, which is what the views of [`super::view`] rest on.
//! * With a page heap every block has pages of its own; drivers are kept from freed ones, and from those that
//!   [`page_heap::protect`] takes away meanwhile. The simulator goes through [`alias`].
//! * A freed block is filled with [`POISON`] and waits in a quarantine before it is used again.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::host::page_heap::{self, PageHeap, alias};

/// Fill of freed blocks: as a pointer it is not canonical.
pub(crate) const POISON: u8 = 0xDD;
/// Freed blocks of one size that wait before the oldest is used again.
const QUARANTINE: usize = 64;
/// Alignment of small blocks; blocks of a page or more are page-aligned.
const ALIGN: usize = 16;
const PAGE: usize = 4096;

#[derive(Default)]
struct State {
    all: Vec<(usize, Layout)>,
    free: HashMap<usize, VecDeque<usize>>,
    /// A freed block in which somebody wrote, by its size.
    damaged: Option<usize>,
}

/// The object memory of one world.
#[derive(Default)]
pub(crate) struct Arena {
    state: Mutex<State>,
    pages: Option<PageHeap>,
}

impl Arena {
    /// Object memory with every block on pages of its own, if `page_heap` and the host has room for that.
    pub(crate) fn new(page_heap: bool) -> Self {
        Self { state: Mutex::default(), pages: page_heap.then(PageHeap::new).flatten() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn class(&self, size: usize) -> usize {
        let paged = size >= PAGE || self.pages.is_some();
        if paged { size.max(1).next_multiple_of(PAGE) } else { size.next_multiple_of(64).max(64) }
    }

    /// A zeroed block of at least `size` bytes; its address. Drivers can touch it.
    pub(crate) fn alloc(&self, size: usize) -> usize {
        let class = self.class(size);
        let mut state = self.lock();
        if let Some(list) = state.free.get_mut(&class)
            && list.len() > QUARANTINE
            && let Some(addr) = list.pop_front()
        {
            if !is_filled(addr, class) {
                state.damaged = Some(class);
            }
            drop(state);
            fill(addr, class, 0);
            page_heap::protect(addr, class, true);
            return addr;
        }
        if let Some(addr) = self.pages.as_ref().and_then(|pages| pages.take(class)) {
            page_heap::protect(addr, class, true);
            return addr;
        }
        let align = if class >= PAGE { PAGE } else { ALIGN };
        let Ok(layout) = Layout::from_size_align(class, align) else { return 0 };
        // SAFETY: the layout has a size of at least 64.
        let addr = unsafe { alloc_zeroed(layout) } as usize;
        assert_ne!(addr, 0, "the host is out of memory");
        state.all.push((addr, layout));
        addr
    }

    /// Gives a block back that [`Arena::alloc`] handed out for `size` bytes.
    pub(crate) fn free(&self, addr: usize, size: usize) {
        let class = self.class(size);
        page_heap::protect(addr, class, false);
        fill(addr, class, POISON);
        self.lock().free.entry(class).or_default().push_back(addr);
    }

    /// The size of a freed block that was written to, if there is one.
    pub(crate) fn damage(&self) -> Option<usize> {
        let state = self.lock();
        let broken = |(class, list): (&usize, &VecDeque<usize>)| {
            list.iter().any(|addr| !is_filled(*addr, *class)).then_some(*class)
        };
        state.damaged.or_else(|| state.free.iter().filter_map(broken).min())
    }

    /// Whether an address lies in a freed block.
    pub(crate) fn is_freed(&self, address: usize) -> bool {
        let state = self.lock();
        state.free.iter().any(|(class, list)| list.iter().any(|addr| (*addr..*addr + class).contains(&address)))
    }
}

fn is_filled(addr: usize, size: usize) -> bool {
    let bytes = Span { addr, len: size }.to_vec();
    // Every byte equals the one before it: one comparison of memory, where a loop over bytes would dominate a run.
    let Some((first, rest)) = bytes.split_first() else { return true };
    *first == POISON && *rest == bytes[..rest.len()]
}

fn fill(addr: usize, size: usize, byte: u8) {
    // SAFETY: first invariant of the module: the block is `size` bytes of this world, and nobody owns it now.
    unsafe { std::ptr::write_bytes(alias(addr) as *mut u8, byte, size) }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (addr, layout) in state.all.drain(..) {
            // SAFETY: allocated with this layout and never returned before; the world is gone, nobody uses it.
            unsafe { dealloc(addr as *mut u8, layout) }
        }
    }
}

/// A buffer in object memory: what a user-mode caller's pages, or a system buffer, are in the model.
///
/// # Invariants
/// `addr..addr + len` lies in one block of the arena, or in driver memory that the driver vouched for when it passed
/// the pointer to a routine whose contract makes it readable and writable for the length given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) addr: usize,
    pub(crate) len: usize,
}

impl Span {
    /// Copies the bytes out.
    pub(crate) fn to_vec(self) -> Vec<u8> {
        let mut out = vec![0; self.len];
        self.read(0, &mut out);
        out
    }

    /// Copies out from `offset`; what lies behind the end stays as it was.
    pub(crate) fn read(self, offset: usize, buf: &mut [u8]) {
        let run = buf.len().min(self.len.saturating_sub(offset));
        if run > 0 {
            let from = (alias(self.addr) + offset) as *const u8;
            // SAFETY: invariant of the type; `run` stays inside it. The host's buffer does not overlap.
            unsafe { std::ptr::copy_nonoverlapping(from, buf.as_mut_ptr(), run) }
        }
    }

    /// Copies in at `offset`; what does not fit is left out.
    pub(crate) fn write(self, offset: usize, buf: &[u8]) {
        let run = buf.len().min(self.len.saturating_sub(offset));
        if run > 0 {
            let to = (alias(self.addr) + offset) as *mut u8;
            // SAFETY: as for `read`.
            unsafe { std::ptr::copy_nonoverlapping(buf.as_ptr(), to, run) }
        }
    }

    /// Copies `len` bytes from another span, which may overlap.
    pub(crate) fn copy_from(self, other: Self) {
        let run = self.len.min(other.len);
        if run > 0 {
            // SAFETY: invariant of the type for both spans; overlapping is allowed by `copy`.
            unsafe { std::ptr::copy(alias(other.addr) as *const u8, alias(self.addr) as *mut u8, run) }
        }
    }

    /// The part from `offset`, at most `len` bytes.
    pub(crate) fn part(self, offset: usize, len: usize) -> Self {
        let offset = offset.min(self.len);
        Self { addr: self.addr + offset, len: len.min(self.len - offset) }
    }
}
