//! Memory descriptor lists: make, build, lock, free.

use std::alloc::Layout;
use std::sync::atomic::{AtomicI16, Ordering};

use super::object::ObjectRef;
use crate::abi::routine::{ignored, routines};
use crate::abi::*;
use crate::core::{Kernel, Rule, real_address};
use crate::host::arena::{self, Kind};

const PAGE: usize = 4096;
const HEADER: usize = size_of::<MDL>();

pub(super) const MAPPED: i16 = 0x0001;
pub(super) const LOCKED: i16 = 0x0002;
pub(super) const NONPAGED: i16 = 0x0004;
pub(super) const PARTIAL: i16 = 0x0010;
pub(super) const PARTIAL_MAPPED: i16 = 0x0020;
const WRITE_OPERATION: i16 = 0x0080;

/// An MDL, as the memory manager works on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct MdlRef(ObjectRef);

impl MdlRef {
    pub(super) fn new(mdl: PMDL) -> Self {
        Self(ObjectRef::new(mdl))
    }

    pub(super) fn address(self) -> usize {
        self.0.address()
    }

    fn half(self, offset: usize) -> &'static AtomicI16 {
        self.0.half(offset)
    }

    pub(super) fn flags(self) -> i16 {
        self.half(0xA).load(Ordering::SeqCst)
    }

    pub(super) fn has(self, flag: i16) -> bool {
        self.flags() & flag != 0
    }

    pub(super) fn change(self, set: i16, clear: i16) {
        self.half(0xA).store((self.flags() & !clear) | set, Ordering::SeqCst);
    }

    pub(super) fn set_mapped(self, address: usize) {
        self.0.quad(0x18).store(address as u64, Ordering::SeqCst);
    }

    fn mapped(self) -> usize {
        usize::try_from(self.0.quad(0x18).load(Ordering::SeqCst)).unwrap_or(0)
    }

    fn start(self) -> usize {
        usize::try_from(self.0.quad(0x20).load(Ordering::SeqCst)).unwrap_or(0)
    }

    pub(super) fn len(self) -> usize {
        self.0.word(0x28).load(Ordering::SeqCst).cast_unsigned() as usize
    }

    fn offset(self) -> usize {
        self.0.word(0x2C).load(Ordering::SeqCst).cast_unsigned() as usize
    }

    /// The virtual address that the MDL was made for.
    pub(super) fn virtual_address(self) -> usize {
        self.start() + self.offset()
    }

    pub(super) fn pages(self) -> usize {
        (self.offset() + self.len()).div_ceil(PAGE)
    }

    /// Pages that the MDL's page array has room for.
    fn capacity(self) -> usize {
        let size = usize::try_from(self.half(8).load(Ordering::SeqCst)).unwrap_or(0);
        size.saturating_sub(HEADER) / 8
    }

    fn describe(self, address: usize, len: usize) {
        self.0.quad(0x20).store((address & !(PAGE - 1)) as u64, Ordering::SeqCst);
        self.0.word(0x28).store(u32::try_from(len).unwrap_or(u32::MAX).cast_signed(), Ordering::SeqCst);
        let offset = u32::try_from(address % PAGE).unwrap_or(0);
        self.0.word(0x2C).store(offset.cast_signed(), Ordering::SeqCst);
    }

    /// Writes the page array: the page number is that of the host's address.
    fn fill_pages(self) {
        let first = real_address(self.start()) / PAGE;
        for page in 0..self.pages().min(self.capacity()) {
            self.0.quad(HEADER + page * 8).store((first + page) as u64, Ordering::SeqCst);
        }
    }
}

fn bytes_for(address: usize, len: usize) -> usize {
    HEADER + (address % PAGE + len).div_ceil(PAGE) * 8
}

fn allocate(kernel: &Kernel, address: PVOID, len: ULONG) -> PMDL {
    let (address, len) = (address.expose_provenance(), len as usize);
    let bytes = bytes_for(address, len);
    let Ok(size) = i16::try_from(bytes) else { return std::ptr::null_mut() };
    let Ok(layout) = Layout::from_size_align(bytes, 16) else { return std::ptr::null_mut() };
    let block = arena::allocate(kernel, layout, Kind::Mdl, 0);
    if block.is_null() {
        return block.cast();
    }
    // SAFETY: the block was just allocated with this many bytes.
    unsafe { block.write_bytes(0, bytes) };
    let mdl = MdlRef::new(block.cast());
    mdl.half(8).store(size, Ordering::SeqCst);
    mdl.describe(address, len);
    block.cast()
}

/// Hangs the new MDL on the IRP: as its only one, or at the end of the chain.
fn attach(irp: PIRP, mdl: PMDL, secondary: bool) {
    if irp.is_null() {
        return;
    }
    let head = std::mem::offset_of!(IRP, MdlAddress);
    let mut link = ObjectRef::from_address(irp.expose_provenance() + head).quad(0);
    if secondary {
        while let Ok(next @ 1..) = usize::try_from(link.load(Ordering::SeqCst)) {
            link = ObjectRef::from_address(next).quad(0);
        }
    }
    link.store(mdl.expose_provenance() as u64, Ordering::SeqCst);
}

fn free(kernel: &Kernel, mdl: PMDL) {
    let view = MdlRef::new(mdl);
    if !kernel.arena.is_live(view.address()) {
        kernel.finding(Rule::MdlState, "IoFreeMdl of an MDL that is not allocated");
    }
    if view.has(LOCKED) && !view.has(PARTIAL) {
        kernel.finding(Rule::MdlState, "IoFreeMdl of an MDL whose pages are locked");
    }
    kernel.end_mapping(view.address());
    arena::free(kernel, view.address(), Kind::Mdl, None);
}

fn build_partial(kernel: &Kernel, source: PMDL, target: PMDL, address: PVOID, len: ULONG) {
    let (source, target) = (MdlRef::new(source), MdlRef::new(target));
    let address = address.expose_provenance();
    let begin = source.virtual_address();
    let end = begin + source.len();
    let len = if len == 0 { end.saturating_sub(address) } else { len as usize };
    if address < begin || address + len > end {
        kernel.finding(Rule::BadArgument, "IoBuildPartialMdl outside the source MDL");
    }
    if target.has(LOCKED) && !target.has(PARTIAL) {
        kernel.finding(Rule::MdlState, "IoBuildPartialMdl onto an MDL with locked pages");
    }
    if target.has(PARTIAL_MAPPED) {
        kernel.finding(Rule::MdlState, "IoBuildPartialMdl onto a mapped MDL: MmPrepareMdlForReuse is missing");
    }
    if (address % PAGE + len).div_ceil(PAGE) > target.capacity() {
        kernel.finding(Rule::BadArgument, "IoBuildPartialMdl onto an MDL with too small a page array");
    }
    target.describe(address, len);
    target.fill_pages();
    let inherited = source.flags() & (MAPPED | NONPAGED | LOCKED | WRITE_OPERATION);
    target.change(inherited | PARTIAL, MAPPED | NONPAGED | LOCKED | PARTIAL_MAPPED | WRITE_OPERATION);
    if inherited & (MAPPED | NONPAGED) != 0 {
        target.set_mapped(source.mapped() + (address - begin));
    }
}

fn lock(kernel: &Kernel, mdl: MdlRef, operation: LOCK_OPERATION) {
    if mdl.flags() & (LOCKED | NONPAGED | PARTIAL | MAPPED) != 0 {
        kernel.finding(Rule::MdlState, format!("MmProbeAndLockPages on an MDL with flags {:#x}", mdl.flags()));
    }
    let write = if operation == _LOCK_OPERATION::IoReadAccess { 0 } else { WRITE_OPERATION };
    mdl.fill_pages();
    mdl.change(LOCKED | write, 0);
}

fn unlock(kernel: &Kernel, mdl: MdlRef) {
    if !mdl.has(LOCKED) || mdl.has(PARTIAL) {
        kernel.finding(Rule::MdlState, "MmUnlockPages on an MDL whose pages it does not hold");
    }
    kernel.end_mapping(mdl.address());
    mdl.change(0, LOCKED | MAPPED | WRITE_OPERATION);
}

routines! {
    /// Allocates an MDL for a buffer; with an IRP it becomes the IRP's MDL, or with `SecondaryBuffer` the last of its
    /// chain. NULL when there is no memory. At or below DISPATCH_LEVEL. The caller frees it with IoFreeMdl, unless the
    /// IRP's completion does.
    fn IoAllocateMdl(VirtualAddress: PVOID, Length: ULONG, SecondaryBuffer: BOOLEAN, ChargeQuota: BOOLEAN, Irp: PIRP) -> PMDL, max 2 => |k| {
        ignored(ChargeQuota);
        let mdl = allocate(k, VirtualAddress, Length);
        if !mdl.is_null() {
            attach(Irp, mdl, SecondaryBuffer != 0);
        }
        mdl
    }

    /// Frees an MDL whose pages are not locked; a mapping of a partial MDL ends. At or below DISPATCH_LEVEL.
    fn IoFreeMdl(Mdl: PMDL), max 2 => |k| { free(k, Mdl); }

    /// Makes `TargetMdl` describe a part of `SourceMdl`; a length of zero means the rest. At or below DISPATCH_LEVEL.
    fn IoBuildPartialMdl(SourceMdl: PMDL, TargetMdl: PMDL, VirtualAddress: PVOID, Length: ULONG), max 2 => |k| {
        build_partial(k, SourceMdl, TargetMdl, VirtualAddress, Length);
    }

    /// Fills in the page array of an MDL for non-paged pool. At or below DISPATCH_LEVEL. Such an MDL needs no mapping.
    fn MmBuildMdlForNonPagedPool(MemoryDescriptorList: PMDL), max 2 => |k| {
        let mdl = MdlRef::new(MemoryDescriptorList);
        if mdl.flags() & (LOCKED | NONPAGED | PARTIAL | MAPPED) != 0 {
            k.finding(Rule::MdlState, format!("MmBuildMdlForNonPagedPool on an MDL with flags {:#x}", mdl.flags()));
        }
        mdl.fill_pages();
        mdl.set_mapped(real_address(mdl.virtual_address()));
        mdl.change(NONPAGED, 0);
    }

    /// Locks the pages of an MDL. At or below APC_LEVEL for pageable memory, else at or below DISPATCH_LEVEL. Weaker than
    /// Windows: never raises an exception, because a Rust driver could not catch it.
    fn MmProbeAndLockPages(MemoryDescriptorList: PMDL, AccessMode: KPROCESSOR_MODE, Operation: LOCK_OPERATION), max 2 => |k| {
        ignored(AccessMode);
        lock(k, MdlRef::new(MemoryDescriptorList), Operation);
    }

    /// Unlocks the pages of an MDL; a mapping ends. At or below DISPATCH_LEVEL.
    fn MmUnlockPages(MemoryDescriptorList: PMDL), max 2 => |k| { unlock(k, MdlRef::new(MemoryDescriptorList)); }

    /// Bytes that an MDL for a buffer takes. Any IRQL.
    fn MmSizeOfMdl(Base: PVOID, Length: SIZE_T) -> SIZE_T, max 15 => |_k| {
        bytes_for(Base.expose_provenance(), usize::try_from(Length).unwrap_or(0)) as SIZE_T
    }
}
