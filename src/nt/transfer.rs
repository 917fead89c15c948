//! Reads, writes and flushes that the driver itself sends to the device below.
//!
//! A [`Transfer`] is an IRP and a page-aligned buffer with its MDLs, all allocated at once, so that sending cannot fail for
//! lack of memory. It can be run synchronously any number of times.
//!
//! # Invariants
//! `irp` is ours except between the call of the driver below and its completion routine, during which the `Transfer` is borrowed.

use core::ptr::{self, NonNull};

use vck_common::{ByteOffset, NtStatus, VckError, VckResult};

use super::completion::StackEvent;
use super::described::DescribedBuffer;
use super::irp::{Request, next_location};
use super::irql::Passive;
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
    buffer: DescribedBuffer,
}

// SAFETY: all parts are owned.
unsafe impl Send for Transfer {}

impl Transfer {
    /// Allocates everything for transfers of up to `bytes`. IRQL <= DISPATCH_LEVEL.
    pub fn try_new(lower: LowerDevice, bytes: usize) -> VckResult<Self> {
        let buffer = DescribedBuffer::try_new(bytes)?;
        // SAFETY: IRQL <= DISPATCH_LEVEL; the count is the lower device's.
        let irp = NonNull::new(unsafe { sys::IoAllocateIrp(lower.stack_size(), 0) });
        Ok(Self { irp: irp.ok_or(VckError::NoMemory)?, buffer })
    }

    /// The buffer.
    pub fn buffer(&self) -> &[u8] {
        self.buffer.as_slice()
    }

    /// The buffer, to be filled.
    pub fn buffer_mut(&mut self) -> &mut [u8] {
        self.buffer.as_mut_slice()
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
        self.buffer.forget();
        // SAFETY: completed, so ours again.
        let irp = unsafe { self.irp.as_ref() };
        // SAFETY: Status is the member that a completed request has.
        let status = NtStatus(unsafe { irp.IoStatus.__bindgen_anon_1.Status });
        if status.is_success() { Ok(irp.IoStatus.Information as usize) } else { Err(status) }
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
        let mdl = self.buffer.describe(length)?;
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
}

impl Drop for Transfer {
    fn drop(&mut self) {
        // SAFETY: ours, not in flight.
        unsafe { sys::IoFreeIrp(self.irp.as_ptr()) };
    }
}
