//! MDLs and mappings: what the kernel knows beyond the bytes of the MDL itself.
//!
//! Physical memory is the host's memory. An address with [`USER_BIT`] set names a buffer that has no kernel mapping:
//! it is not canonical, so touching it faults; mapping it gives the real address. A mapping without write access is a
//! private copy that is compared when the mapping ends. Under a page heap the pages of a request are inaccessible to
//! the driver but while they are mapped.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::finding::Rule;
use super::kernel::Kernel;
use crate::host::page_heap;

const PAGE: usize = 4096;

/// Marks the address of a buffer that must be mapped before it is touched.
pub const USER_BIT: usize = 1 << 62;

/// The address behind one that may carry [`USER_BIT`].
#[must_use]
pub fn real_address(address: usize) -> usize {
    address & !USER_BIT
}

/// A mapping made without write access: the copy that the driver sees.
pub(crate) struct Shadow {
    pub(crate) copy: Box<[u8]>,
    pub(crate) digest: u64,
}

/// A system mapping of an MDL.
pub(crate) struct Mapping {
    /// What the driver got.
    pub(crate) address: usize,
    pub(crate) shadow: Option<Shadow>,
    /// Where the mapped memory is, and its bytes.
    pub(crate) memory: (usize, usize),
    /// The reserved window that it uses, if any.
    pub(crate) window: Option<usize>,
}

/// A range of addresses reserved for mappings.
pub(crate) struct Window {
    pub(crate) pages: usize,
    pub(crate) tag: u32,
    pub(crate) busy: bool,
}

#[derive(Default)]
struct State {
    mappings: BTreeMap<usize, Mapping>,
    windows: BTreeMap<usize, Window>,
    /// Mappings of each page that drivers can only touch through one.
    pages: BTreeMap<usize, u32>,
}

/// The pages of some memory that is in a page heap; of other memory none.
fn pages_of((address, bytes): (usize, usize)) -> impl Iterator<Item = usize> {
    let first = address & !(PAGE - 1);
    let end = if page_heap::contains(address) { address + bytes } else { first };
    (first..end).step_by(PAGE)
}

/// Per-world state.
#[derive(Default)]
pub(crate) struct Mappings {
    state: Mutex<State>,
}

impl Mappings {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_mapped(&self, mdl: usize) -> bool {
        self.lock().mappings.contains_key(&mdl)
    }

    pub(crate) fn insert(&self, mdl: usize, mapping: Mapping) {
        let mut state = self.lock();
        for page in pages_of(mapping.memory) {
            let count = state.pages.entry(page).or_default();
            *count += 1;
            if *count == 1 {
                page_heap::protect(page, 1, true);
            }
        }
        state.mappings.insert(mdl, mapping);
    }

    pub(crate) fn remove(&self, mdl: usize) -> Option<Mapping> {
        let mut state = self.lock();
        let mapping = state.mappings.remove(&mdl)?;
        for page in pages_of(mapping.memory) {
            let left = state.pages.get_mut(&page).map(|count| {
                *count -= 1;
                *count
            });
            if left == Some(0) {
                state.pages.remove(&page);
                page_heap::protect(page, 1, false);
            }
        }
        Some(mapping)
    }

    /// Keeps drivers from memory that they must map first.
    pub(crate) fn hide(&self, memory: (usize, usize)) {
        let state = self.lock();
        for page in pages_of(memory).filter(|page| !state.pages.contains_key(page)) {
            page_heap::protect(page, 1, false);
        }
    }

    pub(crate) fn address(&self, mdl: usize) -> Option<usize> {
        self.lock().mappings.get(&mdl).map(|mapping| mapping.address)
    }

    pub(crate) fn add_window(&self, address: usize, window: Window) {
        self.lock().windows.insert(address, window);
    }

    pub(crate) fn with_window<R>(&self, address: usize, f: impl FnOnce(Option<&mut Window>) -> R) -> R {
        f(self.lock().windows.get_mut(&address))
    }

    pub(crate) fn remove_window(&self, address: usize) {
        self.lock().windows.remove(&address);
    }

    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        state.mappings.clear();
        state.windows.clear();
    }
}

/// A digest that any change of the bytes changes, with near certainty.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325, |hash, chunk| {
        let mut word = [0_u8; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23)
    })
}

impl Kernel {
    /// The mapping of an MDL ends: nothing may have been written through it if it was made without write access.
    pub(crate) fn end_mapping(&self, mdl: usize) -> bool {
        let Some(mapping) = self.mappings.remove(mdl) else { return false };
        if let Some(window) = mapping.window {
            self.mappings.with_window(window, |window| {
                if let Some(window) = window {
                    window.busy = false;
                }
            });
        }
        if let Some(shadow) = mapping.shadow
            && digest(&shadow.copy) != shadow.digest
        {
            drop(shadow);
            self.fault(Rule::MdlNoWrite, "a mapping made with MdlMappingNoWrite was written");
        }
        true
    }

    /// A finding on a simulated thread, a report elsewhere.
    pub(crate) fn fault(&self, rule: Rule, text: impl Into<String>) {
        if self.with_thread(|_| ()).is_some() {
            self.finding(rule, text);
        }
        self.report(rule, text);
    }

    /// The I/O manager takes an MDL of its own back: pages are unlocked, mappings end.
    pub fn release_mdl(&self, mdl: usize) {
        self.end_mapping(mdl);
    }
}
