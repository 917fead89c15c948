//! A caller's WRITE that goes down with a buffer of the driver's in the place of its own.
//!
//! The drivers below get the caller's own IRP: its flags, thread, priority, activity and cancellation reach them as they would
//! without a filter. What they look at is the MDL, and that describes the driver's buffer while they have the IRP; so does the user
//! buffer, which drivers that split requests take for the address that the MDL begins with.
//!
//! # Invariants
//! The caller's MDL and buffer are out of its IRP only between the call of the driver below and our completion routine, which puts them back
//! before a driver above, or the I/O manager, sees the IRP again. The MDL stays locked and mapped meanwhile: whoever made it undoes
//! that when the IRP is complete.

use alloc::boxed::Box;
use core::ffi::c_void;
use core::ptr::{self, NonNull};

use vck_common::{ByteOffset, NtStatus, VckResult};

use super::completion::ContextWord;
use super::described::DescribedBuffer;
use super::device::{DeviceRef, DeviceRole};
use super::irp::{Disposition, Irp, Request, mark_pending};
use super::sys;

/// A buffer to send instead of a caller's.
pub struct Bounce {
    buffer: DescribedBuffer,
    /// The caller's MDL and user buffer while ours are in its IRP.
    callers: (*mut sys::MDL, *mut c_void),
    word: usize,
    /// A number of its owner's.
    home: usize,
}

// SAFETY: the buffer is owned; the caller's pointers belong to the IRP that the buffer travels with.
unsafe impl Send for Bounce {}

const NOBODYS: (*mut sys::MDL, *mut c_void) = (ptr::null_mut(), ptr::null_mut());

/// Called when a WRITE that was sent with a [`Bounce`] has completed, and its own MDL is in it again. The IRP goes on to the drivers
/// above afterwards, with the status from below. IRQL <= DISPATCH_LEVEL.
pub trait BounceDone<E: DeviceRole> {
    /// What it is told.
    type Context: ContextWord;
    /// Disposes of `bounce`.
    fn done(device: DeviceRef<'_, E>, request: Request<'_>, bounce: Box<Bounce>, context: Self::Context);
}

impl Bounce {
    /// Allocates everything for writes of up to `bytes`; `home` tells where it belongs. IRQL <= DISPATCH_LEVEL.
    pub fn try_new(bytes: usize, home: usize) -> VckResult<Self> {
        Ok(Self { buffer: DescribedBuffer::try_new(bytes)?, callers: NOBODYS, word: 0, home })
    }

    /// Where it belongs.
    pub fn home(&self) -> usize {
        self.home
    }

    /// Bytes of the buffer.
    pub fn size(&self) -> usize {
        self.buffer.as_slice().len()
    }

    /// The buffer, to be filled.
    pub fn buffer_mut(&mut self) -> &mut [u8] {
        self.buffer.as_mut_slice()
    }

    /// States which bytes of the buffer are plaintext: they are wiped before its memory is used for anything else. At first all.
    pub fn set_plaintext(&mut self, plaintext: core::ops::Range<usize>) {
        self.buffer.set_plaintext(plaintext);
    }

    /// Whether nothing of the last caller's is left in it.
    pub fn may_be_kept(&self) -> bool {
        !self.buffer.holds_plaintext()
    }

    /// Sends the WRITE `irp` to `offset` below, with the beginning of this buffer for its own, watched by `D`. IRQL <= APC_LEVEL.
    ///
    /// Errors: the buffer is smaller than the request; nothing was sent, and all that was passed comes back.
    pub fn send<E: DeviceRole, D: BounceDone<E>>(
        self: Box<Self>,
        device: DeviceRef<'_, E>,
        irp: Irp,
        offset: ByteOffset,
        context: D::Context,
    ) -> Result<Disposition, (Irp, Box<Self>, D::Context)> {
        let mut bounce = self;
        let length = usize::try_from(irp.request().extent().len.get()).unwrap_or(usize::MAX);
        let Ok(mdl) = bounce.buffer.describe(length) else { return Err((irp, bounce, context)) };
        // SAFETY: owned.
        let fields = unsafe { &mut *irp.raw().as_ptr() };
        bounce.callers = (fields.MdlAddress, fields.UserBuffer);
        (fields.MdlAddress, fields.UserBuffer) = (mdl.as_ptr(), bounce.buffer.address());
        bounce.word = context.into_word();
        let raw = Box::into_raw(bounce);
        // SAFETY: the routine of the same D takes the box back and releases the remove lock.
        let status = unsafe { irp.forward_with(device.lower(), Some(offset), Some(sent::<E, D>), raw.cast()) };
        Ok(Disposition::new(status))
    }
}

unsafe extern "C" fn sent<E: DeviceRole, D: BounceDone<E>>(
    device: sys::PDEVICE_OBJECT,
    irp: sys::PIRP,
    context: sys::PVOID,
) -> sys::NTSTATUS {
    // SAFETY: the box that `send` let go; the drivers below are done with it.
    let mut bounce = unsafe { Box::from_raw(context.cast::<Bounce>()) };
    let (Some(device), Some(raw)) = (NonNull::new(device), NonNull::new(irp)) else {
        return NtStatus::SUCCESS.0;
    };
    // SAFETY: ours during the routine.
    let fields = unsafe { &mut *irp };
    (fields.MdlAddress, fields.UserBuffer) = core::mem::replace(&mut bounce.callers, NOBODYS);
    if fields.PendingReturned != 0 {
        // SAFETY: ours during the routine.
        unsafe { mark_pending(raw) };
    }
    bounce.buffer.forget();
    let context = D::Context::from_word(bounce.word);
    // SAFETY: the routine was set by a device of role E, whose remove lock this IRP holds.
    let device = unsafe { DeviceRef::<E>::from_raw(device) };
    // SAFETY: ours during the routine.
    let request = unsafe { Request::new(raw) };
    D::done(device, request, bounce, context);
    // SAFETY: held with this tag since admission.
    unsafe { super::release_remove_lock(device.remove_lock(), irp.cast()) };
    NtStatus::SUCCESS.0
}
