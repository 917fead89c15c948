//! Driver memory: pool blocks and the driver's Rust allocations, tracked per world.
//!
//! # Invariants
//! * A block in `live` was made by `alloc::allocate` with `layout` plus the trailing guard, and was not released.
//! * A block in `quarantine` is filled with [`POISON`] and belongs to nobody; it is released when it leaves.

use std::alloc::Layout;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::alloc;
use crate::core::{AddressHasher, Kernel, Rule};

/// What freed memory is filled with.
pub(crate) const POISON: u8 = 0xDD;
/// What fresh memory holds when nobody asked for zeros.
pub(crate) const FRESH: u8 = 0xCD;
const GUARD: u8 = 0xFD;
const GUARD_BYTES: usize = 16;
const QUARANTINE_BLOCKS: usize = if cfg!(feature = "asan") { 0 } else { 512 };
const QUARANTINE_BYTES: usize = 8 << 20;

/// What a block of driver memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A Rust allocation of the linked driver.
    Rust,
    /// A block from `ExAllocatePool2`.
    Pool,
    /// An IRP that the driver allocated.
    Irp,
    /// An MDL.
    Mdl,
    /// A work item.
    WorkItem,
    /// A device object with its extension.
    Device,
    /// A reserved mapping window.
    Mapping,
    /// Anything else that the simulator hands out, by name.
    Other(&'static str),
}

#[derive(Debug, Clone)]
struct Block {
    layout: Layout,
    kind: Kind,
    tag: u32,
    order: u64,
}

#[derive(Default)]
struct State {
    live: HashMap<usize, Block, BuildHasherDefault<AddressHasher>>,
    bytes: usize,
    next_order: u64,
    quarantine: VecDeque<(usize, Block)>,
    quarantine_bytes: usize,
    secrets: Vec<Vec<u8>>,
}

/// The driver memory of one world.
#[derive(Default)]
pub(crate) struct Arena {
    state: Mutex<State>,
    requests: AtomicU64,
    fail_at: AtomicU64,
}

impl Arena {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an allocation; true when it is the one that must fail.
    pub(crate) fn should_fail(&self) -> bool {
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        self.fail_at.load(Ordering::Relaxed) == number
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The `k`-th allocation from now on fails; zero for none.
    pub(crate) fn fail_allocation(&self, k: u64) {
        let at = if k == 0 { 0 } else { self.requests() + k };
        self.fail_at.store(at, Ordering::Relaxed);
    }

    pub(crate) fn watch_secret(&self, secret: &[u8]) {
        if !secret.is_empty() {
            self.lock().secrets.push(secret.to_vec());
        }
    }

    /// Whether secrets are looked for at all.
    pub(crate) fn watches_secrets(&self) -> bool {
        !self.lock().secrets.is_empty()
    }

    /// Whether one of the registered secrets is in `content`.
    pub(crate) fn holds_secret(&self, content: &[u8]) -> bool {
        holds_any(content, &self.lock().secrets)
    }

    /// Live blocks and bytes.
    pub(crate) fn usage(&self) -> (usize, usize) {
        let state = self.lock();
        (state.live.len(), state.bytes)
    }

    /// Live blocks of one kind.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.lock().live.values().filter(|block| block.kind == kind).count()
    }

    /// Live blocks, oldest first.
    pub(crate) fn report(&self) -> Vec<String> {
        let state = self.lock();
        let mut blocks: Vec<&Block> = state.live.values().collect();
        blocks.sort_by_key(|block| block.order);
        blocks.iter().map(|block| block.describe()).collect()
    }

    /// Whether `address` lies in a live block; gives the block's address and size.
    pub(crate) fn is_live(&self, address: usize) -> bool {
        self.lock().live.contains_key(&address)
    }

    /// Looks for writes to freed memory that is still in quarantine, and for writes past the end of live memory.
    pub(crate) fn check(&self) -> Option<(Rule, String)> {
        let state = self.lock();
        for (address, block) in &state.quarantine {
            if !all_bytes(*address, block.layout.size(), POISON) {
                return Some((Rule::UseAfterFree, format!("{} was written after it was freed", block.describe())));
            }
        }
        let mut blocks: Vec<(&usize, &Block)> = state.live.iter().collect();
        blocks.sort_by_key(|(_, block)| block.order);
        let broken = blocks.iter().find(|(address, block)| !guard_intact(**address, block));
        broken.map(|(_, block)| (Rule::PoolOverrun, format!("bytes after {} were written", block.describe())))
    }

    /// Gives all memory back: the power is gone, or the world ends. No code of the world may run any more.
    pub(crate) fn drop_all(&self) {
        let mut state = self.lock();
        let blocks: Vec<(usize, Block)> = state.live.drain().collect();
        let freed: Vec<(usize, Block)> = state.quarantine.drain(..).collect();
        state.bytes = 0;
        state.quarantine_bytes = 0;
        drop(state);
        for (address, block) in blocks.into_iter().chain(freed) {
            release(address, &block);
        }
    }
}

impl Block {
    fn describe(&self) -> String {
        let tag: String = self.tag.to_le_bytes().iter().map(|&byte| printable(byte)).collect();
        let name = match self.kind {
            Kind::Pool => format!("pool block '{tag}'"),
            Kind::Other(name) => name.to_owned(),
            kind => format!("{kind:?} block"),
        };
        format!("{name} of {} bytes, allocation {}", self.layout.size(), self.order)
    }
}

fn printable(byte: u8) -> char {
    if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '.' }
}

fn with_guard(layout: Layout) -> Option<Layout> {
    let size = layout.size().checked_add(GUARD_BYTES)?;
    Layout::from_size_align(size, layout.align()).ok()
}

fn bytes_at<'a>(address: usize, len: usize) -> &'a [u8] {
    let start = std::ptr::with_exposed_provenance::<u8>(address);
    // SAFETY: both invariants of the module: callers pass a block of `live` or `quarantine` with at most its length
    // and guard, and hold the lock that keeps it there.
    unsafe { std::slice::from_raw_parts(start, len) }
}

fn fill(address: usize, len: usize, byte: u8) {
    let start = std::ptr::with_exposed_provenance_mut::<u8>(address);
    // SAFETY: as in `bytes_at`; nobody else has a reference to fresh or freed memory.
    unsafe { start.write_bytes(byte, len) };
}

fn all_bytes(address: usize, len: usize, byte: u8) -> bool {
    let bytes = bytes_at(address, len);
    // Every byte equals the one before it: one comparison of memory, where a loop over bytes would dominate a run.
    let Some((first, rest)) = bytes.split_first() else { return true };
    *first == byte && *rest == bytes[..rest.len()]
}

fn guard_intact(address: usize, block: &Block) -> bool {
    all_bytes(address + block.layout.size(), GUARD_BYTES, GUARD)
}

fn release(address: usize, block: &Block) {
    let Some(layout) = with_guard(block.layout) else { return };
    let start = std::ptr::with_exposed_provenance_mut::<u8>(address);
    // SAFETY: invariants of the module: the block was made with this layout and has just left the tables.
    unsafe { alloc::release(start, layout) };
}

/// Allocates driver memory; null when there is none or when this allocation was chosen to fail.
pub(crate) fn allocate(kernel: &Kernel, layout: Layout, kind: Kind, tag: u32) -> *mut u8 {
    if kernel.irql() > 2 {
        kernel.finding(Rule::IrqlTooHigh, format!("memory was allocated at IRQL {}", kernel.irql()));
    }
    if kernel.arena.should_fail() {
        return std::ptr::null_mut();
    }
    let Some(guarded) = with_guard(layout) else { return std::ptr::null_mut() };
    let owner = std::ptr::from_ref(kernel).expose_provenance();
    let start = alloc::allocate(guarded, owner);
    if start.is_null() {
        return start;
    }
    let address = start.expose_provenance();
    fill(address, layout.size(), FRESH);
    fill(address + layout.size(), GUARD_BYTES, GUARD);
    let mut state = kernel.arena.lock();
    state.next_order += 1;
    let block = Block { layout, kind, tag, order: state.next_order };
    state.live.insert(address, block);
    state.bytes += layout.size();
    start
}

/// Takes driver memory back; every misuse is a finding.
pub(crate) fn free(kernel: &Kernel, address: usize, kind: Kind, tag: Option<u32>) {
    if kernel.irql() > 2 {
        kernel.finding(Rule::IrqlTooHigh, format!("memory was freed at IRQL {}", kernel.irql()));
    }
    let mut state = kernel.arena.lock();
    let wrong = match state.live.get(&address) {
        None => Some((Rule::PoolBadFree, format!("{kind:?} memory was freed that is not allocated"))),
        Some(block) => block.misuse(address, kind, tag, &state.secrets),
    };
    if let Some((rule, text)) = wrong {
        drop(state);
        return refuse(kernel, rule, text);
    }
    let Some(block) = state.live.remove(&address) else { return };
    let size = block.layout.size();
    state.bytes -= size;
    fill(address, size, POISON);
    state.quarantine_bytes += size;
    state.quarantine.push_back((address, block));
    let mut touched = None;
    while state.quarantine.len() > QUARANTINE_BLOCKS || state.quarantine_bytes > QUARANTINE_BYTES {
        let Some((address, block)) = state.quarantine.pop_front() else { break };
        state.quarantine_bytes -= block.layout.size();
        if !all_bytes(address, block.layout.size(), POISON) {
            touched = Some(block.describe());
        }
        release(address, &block);
    }
    drop(state);
    if let Some(what) = kernel.locks.forget(address, size) {
        refuse(kernel, Rule::ResourceLeak, format!("memory was freed with {what} in it"));
    }
    if let Some(block) = touched {
        refuse(kernel, Rule::UseAfterFree, format!("{block} was written after it was freed"));
    }
}

/// A finding where a simulated thread runs; a report where the host gives the memory back.
fn refuse(kernel: &Kernel, rule: Rule, text: String) {
    if kernel.with_thread(|_| ()).is_some() {
        kernel.finding(rule, text);
    }
    kernel.report(rule, text);
}

impl Block {
    fn misuse(&self, address: usize, kind: Kind, tag: Option<u32>, secrets: &[Vec<u8>]) -> Option<(Rule, String)> {
        if self.kind != kind {
            return Some((Rule::PoolBadFree, format!("{} was freed as {kind:?}", self.describe())));
        }
        if tag.is_some_and(|tag| tag != 0 && tag != self.tag) {
            return Some((Rule::PoolBadFree, format!("{} was freed with another tag", self.describe())));
        }
        if !guard_intact(address, self) {
            return Some((Rule::PoolOverrun, format!("bytes after {} were written", self.describe())));
        }
        let content = bytes_at(address, self.layout.size());
        holds_any(content, secrets)
            .then(|| (Rule::SecretLeft, format!("{} was freed with a secret in it", self.describe())))
    }
}

fn holds_any(content: &[u8], secrets: &[Vec<u8>]) -> bool {
    secrets.iter().any(|secret| contains(content, secret))
}

fn contains(content: &[u8], secret: &[u8]) -> bool {
    let Some((&first, _)) = secret.split_first() else { return false };
    let last = content.len().saturating_sub(secret.len());
    let candidates = content.iter().enumerate().take(last + 1).filter(|&(_, &byte)| byte == first);
    candidates.map(|(at, _)| at).any(|at| content.get(at..at + secret.len()) == Some(secret))
}
