//! Reads, writes and flushes that the driver itself sends to the device below.
//!
//! A [`Transfer`] is an IRP, an MDL and a page-aligned buffer, all allocated at once, so that sending cannot fail for
//! lack of memory. It can be run synchronously any number of times, or sent once on behalf of a caller's IRP.
//!
//! # Invariants
//! `whole` describes the whole buffer and `part` has room for any piece of it. `irp` is ours except between the call
//! of the driver below and its completion routine, during which the `Transfer` is borrowed or owned by the request.

use alloc::boxed::Box;
use core::ffi::c_void;
use core::ptr::{self, NonNull};

use vck_common::{ByteOffset, NtStatus, VckError, VckResult};

use super::completion::{ContextWord, StackEvent};
use super::device::{DeviceRef, DeviceRole};
use super::irp::{Disposition, Irp, Request, current_location, mark_pending, next_location};
use super::irql::Passive;
use super::memory::PageBuffer;
use super::{LowerDevice, sys};

/// What the driver asks of the device below.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Read into the buffer.
    Read,
    /// Write from the buffer.
    Write {
        /// Durable before it completes.
        through: bool,
    },
    /// Make earlier writes durable.
    Flush,
}

/// An IRP with its buffer, ready to be sent.
pub struct Transfer {
    irp: NonNull<sys::IRP>,
    whole: NonNull<sys::MDL>,
    part: NonNull<sys::MDL>,
    buffer: PageBuffer,
    traced: bool,
    origin: Option<Irp>,
    word: usize,
}

// SAFETY: all parts are owned.
unsafe impl Send for Transfer {}

/// Called when a [`Transfer`] that was sent for a caller's IRP has completed. IRQL <= DISPATCH_LEVEL.
pub trait TransferDone<E: DeviceRole> {
    /// What it is told.
    type Context: ContextWord;
    /// Disposes of `origin`; `status` and `information` are the lower device's.
    fn done(
        device: DeviceRef<'_, E>,
        origin: Irp,
        transfer: Box<Transfer>,
        status: NtStatus,
        information: usize,
        context: Self::Context,
    );
}

impl Transfer {
    /// Allocates everything for transfers of up to `bytes`. IRQL <= DISPATCH_LEVEL.
    pub fn try_new(lower: LowerDevice, bytes: usize) -> VckResult<Self> {
        let buffer = PageBuffer::try_new(bytes)?;
        let length = u32::try_from(bytes).map_err(|_| VckError::NoMemory)?;
        let whole = allocate_mdl(&buffer, length)?;
        let part = allocate_mdl(&buffer, length);
        // SAFETY: IRQL <= DISPATCH_LEVEL; the count is the lower device's.
        let irp = NonNull::new(unsafe { sys::IoAllocateIrp(lower.stack_size(), 0) });
        if let (Ok(part), Some(irp)) = (part, irp) {
            // SAFETY: the buffer is non-paged pool and this MDL describes it.
            unsafe { sys::MmBuildMdlForNonPagedPool(whole.as_ptr()) };
            return Ok(Self { irp, whole, part, buffer, traced: false, origin: None, word: 0 });
        }
        for mdl in [Some(whole), part.ok()].into_iter().flatten() {
            // SAFETY: allocated above, used by nobody.
            unsafe { sys::IoFreeMdl(mdl.as_ptr()) };
        }
        if let Some(irp) = irp {
            // SAFETY: allocated above, never sent.
            unsafe { sys::IoFreeIrp(irp.as_ptr()) };
        }
        Err(VckError::NoMemory)
    }

    /// The buffer.
    pub fn buffer(&self) -> &[u8] {
        self.buffer.as_slice()
    }

    /// The buffer, to be filled.
    pub fn buffer_mut(&mut self) -> &mut [u8] {
        self.buffer.as_mut_slice()
    }

    /// States which bytes of the buffer are plaintext: they are wiped before its memory is used for anything else. At first all.
    pub fn set_plaintext(&mut self, plaintext: core::ops::Range<usize>) {
        self.buffer.set_wiped_on_drop(plaintext);
    }

    /// Whether nothing of the last caller is left in it: neither plaintext nor an activity id, which `IoReuseIrp` is not
    /// documented to take away.
    pub fn may_be_kept(&self) -> bool {
        !self.buffer.is_wiped_on_drop() && !self.traced
    }

    /// Runs one operation on the first `length` bytes of the buffer and waits for it; on behalf of `origin`, if given,
    /// whose flags, thread and priority it then carries (no activity: the request is used again for other callers).
    ///
    /// Returns the number of bytes transferred. Errors: the device's status, unchanged.
    pub fn run(
        &mut self,
        passive: Passive,
        lower: LowerDevice,
        operation: Operation,
        offset: ByteOffset,
        length: usize,
        origin: Option<Request<'_>>,
    ) -> Result<usize, NtStatus> {
        self.prepare(operation, offset, length)?;
        if let Some(origin) = origin {
            self.inherit(origin);
        }
        let event = StackEvent::new();
        // SAFETY: the IRP is ours; the event outlives the wait; the routine takes an event.
        unsafe {
            super::irp::set_completion_routine(
                self.irp,
                Some(super::completion::signal_and_keep),
                event.as_ptr().cast(),
            );
        }
        // SAFETY: the device below is live (see LowerDevice); IRQL is PASSIVE_LEVEL.
        let status = unsafe { sys::IofCallDriver(lower.as_ptr(), self.irp.as_ptr()) };
        if status == NtStatus::PENDING.0 {
            event.wait(passive);
        }
        self.unmap_part();
        // SAFETY: completed, so ours again.
        let irp = unsafe { self.irp.as_ref() };
        // SAFETY: Status is the member that a completed request has.
        let status = NtStatus(unsafe { irp.IoStatus.__bindgen_anon_1.Status });
        if status.is_success() { Ok(irp.IoStatus.Information as usize) } else { Err(status) }
    }

    /// Sends a WRITE of the first `length` bytes of the buffer for `origin`, which stays pending until `D::done` disposes of
    /// it. IRQL <= APC_LEVEL.
    ///
    /// The request below carries the caller's flags, thread, priority and activity. Through the thread a device below that
    /// asks for its medium to be verified (`IoSetHardErrorOrVerifyDevice`) marks the caller's thread, as it would have.
    ///
    /// Errors: nothing was sent, and what was passed comes back.
    pub fn send_write<E: DeviceRole, D: TransferDone<E>>(
        self: Box<Self>,
        device: DeviceRef<'_, E>,
        origin: Irp,
        (offset, length): (ByteOffset, usize),
        context: D::Context,
    ) -> Result<Disposition, (Irp, D::Context)> {
        let mut transfer = self;
        if transfer.prepare(Operation::Write { through: false }, offset, length).is_err() {
            return Err((origin, context));
        }
        transfer.inherit(origin.request());
        transfer.inherit_activity(origin.request());
        // SAFETY: owned; marked before the request below can complete.
        unsafe { mark_pending(origin.raw()) };
        let lower = device.lower();
        transfer.origin = Some(origin);
        transfer.word = context.into_word();
        let irp = transfer.irp;
        let raw = Box::into_raw(transfer);
        // SAFETY: the IRP is ours; the routine takes back the box.
        unsafe { super::irp::set_completion_routine(irp, Some(sent::<E, D>), raw.cast::<c_void>()) };
        // SAFETY: the device below is live: the origin holds the remove lock. The completion routine sees the status.
        let _ = unsafe { sys::IofCallDriver(lower.as_ptr(), irp.as_ptr()) };
        Ok(Disposition::new(NtStatus::PENDING.0))
    }

    /// Resets the IRP and fills in the request.
    fn prepare(&mut self, operation: Operation, offset: ByteOffset, length: usize) -> Result<(), NtStatus> {
        if length > self.buffer.as_slice().len() {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        // SAFETY: ours and not in use; a non-threaded IRP from IoAllocateIrp.
        unsafe { sys::IoReuseIrp(self.irp.as_ptr(), NtStatus::NOT_SUPPORTED.0) };
        // SAFETY: ours; the count of locations is the lower device's, so there is a next one.
        let next = unsafe { next_location(self.irp) };
        // SAFETY: a stack location of our IRP.
        let next = unsafe { &mut *next };
        let byte_offset = sys::LARGE_INTEGER { QuadPart: offset.get().cast_signed() };
        let major = match operation {
            Operation::Read => sys::IRP_MJ_READ,
            Operation::Write { .. } => sys::IRP_MJ_WRITE,
            Operation::Flush => sys::IRP_MJ_FLUSH_BUFFERS,
        };
        next.MajorFunction = major as u8;
        if let Operation::Write { through } = operation {
            // Writes under a mounted file system pass only with this flag.
            next.Flags = sys::SL_FORCE_DIRECT_WRITE as u8 | if through { sys::SL_WRITE_THROUGH as u8 } else { 0 };
        }
        if operation == Operation::Flush {
            return Ok(());
        }
        // READ and WRITE have one layout.
        next.Parameters.Read.Length = u32::try_from(length).map_err(|_| NtStatus::INVALID_PARAMETER)?;
        next.Parameters.Read.ByteOffset = byte_offset;
        let mdl = if length == self.buffer.as_slice().len() {
            self.whole
        } else {
            // SAFETY: the piece lies inside the whole, and `part` has room for it.
            unsafe {
                let (whole, part) = (self.whole.as_ptr(), self.part.as_ptr());
                sys::IoBuildPartialMdl(whole, part, self.buffer.as_ptr().cast(), length as u32);
            }
            self.part
        };
        // SAFETY: ours.
        unsafe { (*self.irp.as_ptr()).MdlAddress = mdl.as_ptr() };
        Ok(())
    }

    /// Copies from the caller's request what the drivers below may look at.
    fn inherit(&mut self, origin: Request<'_>) {
        const KEPT: u32 = sys::IRP_NOCACHE | sys::IRP_PAGING_IO | sys::IRP_SYNCHRONOUS_PAGING_IO;
        let (irp, location) = (origin.raw(), origin.location());
        // SAFETY: ours.
        let own = unsafe { &mut *self.irp.as_ptr() };
        own.Flags |= irp.Flags & KEPT;
        own.RequestorMode = irp.RequestorMode;
        // SAFETY: the overlay is the form of an IRP on its way.
        own.Tail.Overlay.Thread = unsafe { irp.Tail.Overlay.Thread };
        // SAFETY: ours; prepared before.
        let next = unsafe { next_location(self.irp) };
        // SAFETY: a stack location of our IRP.
        let next = unsafe { &mut *next };
        next.MinorFunction = location.MinorFunction;
        next.Flags |= location.Flags;
        next.FileObject = location.FileObject;
        // SAFETY: both are WRITE requests.
        next.Parameters.Write.Key = unsafe { location.Parameters.Write.Key };
        // SAFETY: live IRPs; any IRQL up to DISPATCH_LEVEL.
        let hint = unsafe { sys::IoGetIoPriorityHint(ptr::from_ref(irp).cast_mut()) };
        if hint != sys::_IO_PRIORITY_HINT::IoPriorityNormal {
            // SAFETY: ours. It fails only for an invalid hint, and this one comes from an IRP.
            let _ = unsafe { sys::IoSetIoPriorityHint(self.irp.as_ptr(), hint) };
        }
    }

    /// Copies the id under which the caller's request is traced, if it has one.
    fn inherit_activity(&mut self, origin: Request<'_>) {
        // SAFETY: plain data.
        let mut id: sys::GUID = unsafe { core::mem::zeroed() };
        // SAFETY: a live IRP; any IRQL; `id` is writable.
        let known = unsafe { sys::IoGetActivityIdIrp(ptr::from_ref(origin.raw()).cast_mut(), &raw mut id) };
        if known == 0 {
            self.traced = true;
            // SAFETY: ours, from IoAllocateIrp as the routine demands; any IRQL with an id. Without tracing it fails, which is all
            // the same.
            let _ = unsafe { sys::IoSetActivityIdIrp(self.irp.as_ptr(), &raw const id) };
        }
    }

    /// A driver below may have mapped the partial MDL; it must be unmapped before it is built anew (`MmPrepareMdlForReuse`).
    fn unmap_part(&mut self) {
        // SAFETY: ours.
        let fields = unsafe { self.part.as_ref() };
        if fields.MdlFlags & sys::MDL_PARTIAL_HAS_BEEN_MAPPED as sys::CSHORT != 0 {
            // SAFETY: mapped, as the flag says, at this address.
            unsafe { sys::MmUnmapLockedPages(fields.MappedSystemVa, self.part.as_ptr()) };
        }
    }
}

fn allocate_mdl(buffer: &PageBuffer, length: u32) -> VckResult<NonNull<sys::MDL>> {
    // SAFETY: IRQL <= DISPATCH_LEVEL; no IRP is associated.
    let mdl = unsafe { sys::IoAllocateMdl(buffer.as_ptr().cast(), length, 0, 0, ptr::null_mut()) };
    NonNull::new(mdl).ok_or(VckError::NoMemory)
}

impl Drop for Transfer {
    fn drop(&mut self) {
        self.unmap_part();
        // SAFETY: ours, not in flight.
        unsafe { sys::IoFreeIrp(self.irp.as_ptr()) };
        // SAFETY: ours, unmapped.
        unsafe { sys::IoFreeMdl(self.part.as_ptr()) };
        // SAFETY: ours; built over non-paged pool, which needs no unlocking.
        unsafe { sys::IoFreeMdl(self.whole.as_ptr()) };
    }
}

unsafe extern "C" fn sent<E: DeviceRole, D: TransferDone<E>>(
    _: sys::PDEVICE_OBJECT,
    irp: sys::PIRP,
    context: sys::PVOID,
) -> sys::NTSTATUS {
    // SAFETY: the box that `send_write` let go; the request is over.
    let mut transfer = unsafe { Box::from_raw(context.cast::<Transfer>()) };
    // SAFETY: ours again.
    let block = unsafe { (*irp).IoStatus };
    // SAFETY: Status is the member that a completed request has.
    let status = NtStatus(unsafe { block.__bindgen_anon_1.Status });
    let information = block.Information as usize;
    transfer.unmap_part();
    let word = transfer.word;
    if let Some(origin) = transfer.origin.take() {
        // SAFETY: the origin is owned by this request.
        let location = unsafe { current_location(origin.raw()) };
        // SAFETY: its own stack location.
        let device = unsafe { (*location).DeviceObject };
        if let Some(device) = NonNull::new(device) {
            // SAFETY: the origin was dispatched to this device of role E and holds its remove lock.
            let device = unsafe { DeviceRef::<E>::from_raw(device) };
            D::done(device, origin, transfer, status, information, D::Context::from_word(word));
        } else {
            origin.finish(NtStatus::UNSUCCESSFUL, 0);
        }
    }
    NtStatus::MORE_PROCESSING_REQUIRED.0
}
