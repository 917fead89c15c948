//! Memory descriptor lists of the I/O manager's own requests, and how devices of the simulator reach the pages of any.
//!
//! # Invariants
//! Physical memory is the host's address space: the page frame number of a page is its host address divided by 4096.
//! An MDL in the hands of a device describes locked pages, so its frame array is filled and the pages stay.

use super::arena::Span;
use super::callbacks::get;
use super::view::MdlView;
use crate::abi::*;
use crate::core::{Kernel, USER_BIT};

const PAGE: usize = 4096;

fn pages(addr: usize, len: usize) -> usize {
    (addr % PAGE + len).div_ceil(PAGE)
}

fn bytes(count: usize) -> usize {
    size_of::<MDL>() + count * size_of::<u64>()
}

impl Kernel {
    /// An MDL for a buffer whose pages are locked for the length of a request. With `unmapped` its virtual address is
    /// one that the kernel cannot touch: a user's, or none at all, as in paging I/O.
    pub(crate) fn mdl_for(&self, span: Span, unmapped: bool) -> PMDL {
        let count = pages(span.addr, span.len);
        let mdl = MdlView::at(self.io.arena.alloc(bytes(count)));
        mdl.set_size_field(i16::try_from(bytes(count)).unwrap_or(i16::MAX));
        mdl.set_flags(i16::try_from(MDL_PAGES_LOCKED).unwrap_or(2));
        let hidden = if unmapped { USER_BIT } else { 0 };
        if unmapped {
            self.mappings.hide((span.addr, span.len));
        }
        mdl.set_start((span.addr & !(PAGE - 1) | hidden) as PVOID);
        mdl.set_byte_offset(u32::try_from(span.addr % PAGE).unwrap_or(0));
        mdl.set_byte_count(u32::try_from(span.len).unwrap_or(u32::MAX));
        let frames = Span { addr: mdl.addr() + size_of::<MDL>(), len: count * size_of::<u64>() };
        for page in 0..count {
            let frame = (span.addr / PAGE + page) as u64;
            frames.write(page * size_of::<u64>(), &frame.to_le_bytes());
        }
        mdl.ptr()
    }

    /// Unlocks the pages of an MDL of [`Kernel::mdl_for`], which ends a mapping, and gives it back.
    pub(crate) fn mdl_done(&self, mdl: PMDL) {
        let view = MdlView::at(mdl as usize);
        self.release_mdl(view.addr());
        let start = view.start() as usize + view.byte_offset() as usize;
        let count = pages(start, view.byte_count() as usize);
        self.io.arena.free(view.addr(), bytes(count));
    }
}

/// The memory behind the first `len` bytes that an MDL describes, in runs; `None` when it describes fewer.
pub(crate) fn spans(mdl: PMDL, len: usize) -> Option<Vec<Span>> {
    if len == 0 {
        return Some(Vec::new());
    }
    if mdl.is_null() {
        return None;
    }
    let view = MdlView::at(mdl as usize);
    if (view.byte_count() as usize) < len {
        return None;
    }
    let frames = mdl.wrapping_add(1).cast_const().cast::<u64>();
    let mut runs: Vec<Span> = Vec::new();
    let mut at = view.byte_offset() as usize;
    let end = at + len;
    while at < end {
        let frame = usize::try_from(get(frames.wrapping_add(at / PAGE))?).ok()?;
        let addr = frame * PAGE + at % PAGE;
        let run = (PAGE - at % PAGE).min(end - at);
        match runs.last_mut() {
            Some(last) if last.addr + last.len == addr => last.len += run,
            _ => runs.push(Span { addr, len: run }),
        }
        at += run;
    }
    Some(runs)
}
