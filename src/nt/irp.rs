//! The IRP as a linear token.
//!
//! # Ownership states
//! *dispatched*: an [`Irp`] value, made by the dispatch shim, holding its device's remove lock. It is consumed by
//! complete, forward, forward with a completion routine, or queue; each gives the [`Disposition`] that the dispatch
//! routine must return and cannot make up.
//! *below*: between forward and completion nobody here may touch it.
//! *completed*: a [`CompletedIrp`](super::completion::CompletedIrp) in a completion routine, which lets it go on or
//! takes it back as an `Irp`.
//!
//! # Invariants
//! `raw` is an IRP that this driver owns at this moment, whose current stack location is ours. `lock`, if present, is
//! a remove lock held with `raw` as its tag. Dropping a token would lose the IRP for ever, so drop stops the machine.

use core::mem::offset_of;
use core::ptr::{self, NonNull};

use vck_common::{ByteLen, ByteOffset, Extent, NtStatus};

use super::irql::Passive;
use super::{LowerDevice, sys};

/// What became of an IRP: the value that a dispatch routine returns.
#[must_use]
pub struct Disposition(sys::NTSTATUS);

impl Disposition {
    pub(super) fn new(status: sys::NTSTATUS) -> Self {
        Self(status)
    }

    pub(super) fn into_raw(self) -> sys::NTSTATUS {
        self.0
    }

    /// For callers that are not dispatch routines (worker threads): the IRP is disposed of, nobody waits for a status.
    pub fn settled(self) {}
}

/// An IRP that this driver owns.
#[must_use]
pub struct Irp {
    raw: NonNull<sys::IRP>,
    lock: Option<NonNull<sys::IO_REMOVE_LOCK>>,
}

// SAFETY: an IRP may be worked on by any thread; the token is its only owner.
unsafe impl Send for Irp {}

/// The stack location that belongs to us.
///
/// # Safety
/// `irp` is live and owned by the caller.
pub(super) unsafe fn current_location(irp: NonNull<sys::IRP>) -> *mut sys::IO_STACK_LOCATION {
    // SAFETY: the caller owns the IRP.
    let tail = unsafe { &(*irp.as_ptr()).Tail };
    // SAFETY: the overlay is the form of an IRP on its way.
    let overlay = unsafe { &tail.Overlay };
    // SAFETY: the location is the form of its last part.
    unsafe { overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation }
}

/// The stack location of the driver below.
///
/// # Safety
/// As [`current_location`], and a location below is left.
pub(super) unsafe fn next_location(irp: NonNull<sys::IRP>) -> *mut sys::IO_STACK_LOCATION {
    // SAFETY: the caller's contract.
    let current = unsafe { current_location(irp) };
    // SAFETY: locations are used downwards; one is left.
    unsafe { current.sub(1) }
}

/// `IoCopyCurrentIrpStackLocationToNext`: all but the completion routine and its context.
///
/// # Safety
/// As [`next_location`].
unsafe fn copy_current_to_next(irp: NonNull<sys::IRP>) -> *mut sys::IO_STACK_LOCATION {
    // SAFETY: the caller's contract.
    let current = unsafe { current_location(irp) };
    // SAFETY: the caller's contract.
    let next = unsafe { next_location(irp) };
    let bytes = offset_of!(sys::IO_STACK_LOCATION, CompletionRoutine);
    // SAFETY: two different stack locations of one IRP.
    unsafe { ptr::copy_nonoverlapping(current.cast::<u8>(), next.cast::<u8>(), bytes) };
    // SAFETY: as above.
    unsafe { (*next).Control = 0 };
    next
}

/// `IoSetCompletionRoutine` for success, error and cancel.
///
/// # Safety
/// As [`next_location`]; `routine` accepts `context`.
pub(super) unsafe fn set_completion_routine(
    irp: NonNull<sys::IRP>,
    routine: sys::PIO_COMPLETION_ROUTINE,
    context: *mut core::ffi::c_void,
) {
    // SAFETY: the caller's contract.
    let next = unsafe { next_location(irp) };
    // SAFETY: a stack location of the caller's IRP.
    let next = unsafe { &mut *next };
    next.CompletionRoutine = routine;
    next.Context = context;
    next.Control = (sys::SL_INVOKE_ON_SUCCESS | sys::SL_INVOKE_ON_ERROR | sys::SL_INVOKE_ON_CANCEL) as u8;
}

/// `IoMarkIrpPending`.
///
/// # Safety
/// As [`current_location`].
pub(super) unsafe fn mark_pending(irp: NonNull<sys::IRP>) {
    // SAFETY: the caller's contract.
    let current = unsafe { current_location(irp) };
    // SAFETY: our own stack location.
    unsafe { (*current).Control |= sys::SL_PENDING_RETURNED as u8 };
}

impl Irp {
    /// Takes an IRP from the I/O manager: acquires the remove lock, or completes the IRP with the lock's status.
    pub(super) fn admit(raw: NonNull<sys::IRP>, lock: NonNull<sys::IO_REMOVE_LOCK>) -> Result<Self, Disposition> {
        // SAFETY: the lock of the live device that this IRP was sent to; IRQL <= DISPATCH_LEVEL.
        let status = unsafe { super::acquire_remove_lock(lock, raw.as_ptr().cast()) };
        if status == 0 {
            return Ok(Self { raw, lock: Some(lock) });
        }
        Err(Self { raw, lock: None }.complete(NtStatus(status), 0))
    }

    /// # Safety
    /// The caller owns the IRP, and `lock`, if any, is held with `raw` as its tag and passes over to the token.
    pub(super) unsafe fn from_raw(raw: NonNull<sys::IRP>, lock: Option<NonNull<sys::IO_REMOVE_LOCK>>) -> Self {
        Self { raw, lock }
    }

    pub(super) fn into_raw(self) -> (NonNull<sys::IRP>, Option<NonNull<sys::IO_REMOVE_LOCK>>) {
        let parts = (self.raw, self.lock);
        core::mem::forget(self);
        parts
    }

    pub(super) fn raw(&self) -> NonNull<sys::IRP> {
        self.raw
    }

    /// A read-only look at the request.
    #[must_use]
    pub fn request(&self) -> Request<'_> {
        // SAFETY: owned; the view borrows the token.
        unsafe { Request::new(self.raw) }
    }

    /// Completes the request. IRQL <= DISPATCH_LEVEL.
    pub fn complete(self, status: NtStatus, information: usize) -> Disposition {
        let (raw, lock) = self.into_raw();
        // SAFETY: owned.
        let irp = unsafe { &mut *raw.as_ptr() };
        irp.IoStatus.__bindgen_anon_1.Status = status.0;
        irp.IoStatus.Information = information as sys::ULONG_PTR;
        // SAFETY: owned, no cancel routine is set (tokens in queues are not tokens), IRQL <= DISPATCH_LEVEL.
        unsafe { sys::IofCompleteRequest(raw.as_ptr(), sys::IO_NO_INCREMENT as sys::CCHAR) };
        release(lock, raw);
        Disposition(status.0)
    }

    /// Completes a request whose status block is already filled in (one that came back from below).
    pub fn complete_as_is(self) -> Disposition {
        let status = self.request().status();
        let information = self.request().information();
        self.complete(status, information)
    }

    /// Completes a request that was marked pending earlier, from a context that is not its dispatch routine.
    pub fn finish(self, status: NtStatus, information: usize) {
        self.complete(status, information).settled();
    }

    /// Passes the request down unchanged and forgets it. Not for READ and WRITE of a filter: those are counted.
    pub fn forward(self, lower: LowerDevice) -> Disposition {
        let (raw, lock) = self.into_raw();
        // SAFETY: owned; IoSkipCurrentIrpStackLocation: the driver below gets our location.
        let irp = unsafe { &mut *raw.as_ptr() };
        irp.CurrentLocation = irp.CurrentLocation.wrapping_add(1);
        // SAFETY: owned.
        let current = unsafe { current_location(raw) };
        // SAFETY: the location above ours belongs to the same IRP; IoCallDriver steps back onto ours.
        irp.Tail.Overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation = unsafe { current.add(1) };
        // SAFETY: the device below stays live while the lock is held, which is until the call returns.
        let status = unsafe { sys::IofCallDriver(lower.as_ptr(), raw.as_ptr()) };
        release(lock, raw);
        Disposition(status)
    }

    /// Passes the request down and waits until it comes back; the token is then ours again.
    ///
    /// PnP minors that must be seen on their way up (START_DEVICE).
    pub fn forward_and_wait(self, passive: Passive, lower: LowerDevice) -> Self {
        let event = super::completion::StackEvent::new();
        // SAFETY: owned; a location is left because our StackSize counts the stack below.
        unsafe { copy_current_to_next(self.raw) };
        // SAFETY: the event outlives the wait below; the routine takes an event as its context.
        unsafe {
            set_completion_routine(self.raw, Some(super::completion::signal_and_keep), event.as_ptr().cast());
        }
        // SAFETY: the device below is live: the lock is held by the token.
        let status = unsafe { sys::IofCallDriver(lower.as_ptr(), self.raw.as_ptr()) };
        if status == NtStatus::PENDING.0 {
            event.wait(passive);
        }
        self
    }

    /// Passes the request down with a completion routine; the mechanics for `completion.rs`.
    ///
    /// # Safety
    /// `routine` accepts `context` and disposes of the remove lock.
    pub(super) unsafe fn forward_with(
        self,
        lower: LowerDevice,
        byte_offset: Option<ByteOffset>,
        routine: sys::PIO_COMPLETION_ROUTINE,
        context: *mut core::ffi::c_void,
    ) -> sys::NTSTATUS {
        let (raw, _lock) = self.into_raw();
        // SAFETY: owned; a location is left because our StackSize counts the stack below.
        let next = unsafe { copy_current_to_next(raw) };
        // SAFETY: a stack location of the IRP.
        let next = unsafe { &mut *next };
        if let Some(offset) = byte_offset {
            // READ and WRITE have one layout.
            next.Parameters.Read.ByteOffset.QuadPart = offset.get().cast_signed();
        }
        // SAFETY: the caller's contract.
        unsafe { set_completion_routine(raw, routine, context) };
        // SAFETY: the device below is live: the remove lock is held until the routine releases it.
        unsafe { sys::IofCallDriver(lower.as_ptr(), raw.as_ptr()) }
    }

    /// The system buffer of a control, as long as the transfer method of its code makes it: `max(input, output)` bytes for
    /// METHOD_BUFFERED, the input alone for the direct methods; empty when there is none.
    ///
    /// The caller chooses the code and with it the method, so even a request that is refused must not be taken at the
    /// length that another method would have.
    pub fn system_buffer(&mut self) -> &mut [u8] {
        let control = self.request().control();
        let bytes = match control.code & 3 {
            sys::METHOD_BUFFERED => control.input.max(control.output),
            sys::METHOD_IN_DIRECT | sys::METHOD_OUT_DIRECT => control.input,
            _ => 0,
        };
        // SAFETY: owned.
        let irp = unsafe { self.raw.as_ref() };
        // SAFETY: METHOD_BUFFERED fills this member.
        let start = unsafe { irp.AssociatedIrp.SystemBuffer }.cast::<u8>();
        if start.is_null() || bytes == 0 {
            return &mut [];
        }
        // SAFETY: the I/O manager allocated so many bytes, and the token is the only owner.
        unsafe { core::slice::from_raw_parts_mut(start, bytes) }
    }

    /// As [`system_buffer`](Self::system_buffer), with a way to see meanwhile whether the request has been cancelled.
    pub fn system_buffer_and_cancel(&mut self) -> (&mut [u8], CancelFlag<'_>) {
        // SAFETY: owned; only an address is computed.
        let flag = unsafe { &raw const (*self.raw.as_ptr()).Cancel };
        (self.system_buffer(), CancelFlag { flag, irp: core::marker::PhantomData })
    }

    /// Gives up the remove lock and waits until every other holder has: for REMOVE_DEVICE alone.
    pub fn release_and_wait(mut self, _: Passive) -> Self {
        if let Some(lock) = self.lock.take() {
            // SAFETY: PASSIVE_LEVEL; held with this tag since admission.
            unsafe {
                sys::IoReleaseRemoveLockAndWaitEx(
                    lock.as_ptr(),
                    self.raw.as_ptr().cast(),
                    size_of::<sys::IO_REMOVE_LOCK>() as u32,
                );
            }
        }
        self
    }

    /// Sets the status block before the request is passed on (PnP).
    pub fn set_status(&mut self, status: NtStatus) {
        // SAFETY: owned.
        let irp = unsafe { self.raw.as_mut() };
        irp.IoStatus.__bindgen_anon_1.Status = status.0;
    }
}

fn release(lock: Option<NonNull<sys::IO_REMOVE_LOCK>>, tag: NonNull<sys::IRP>) {
    if let Some(lock) = lock {
        // SAFETY: held with this tag since admission; the tag is compared, not followed.
        unsafe { super::release_remove_lock(lock, tag.as_ptr().cast()) };
    }
}

impl Drop for Irp {
    fn drop(&mut self) {
        super::fatal(super::Fatal::IrpDropped, self.raw.as_ptr() as usize);
    }
}

/// Whether somebody has asked for a request to be cancelled.
#[derive(Clone, Copy)]
pub struct CancelFlag<'a> {
    flag: *const sys::BOOLEAN,
    irp: core::marker::PhantomData<&'a Irp>,
}

impl CancelFlag<'_> {
    /// The answer, now. Any IRQL.
    #[must_use]
    pub fn is_set(self) -> bool {
        // SAFETY: a field of the IRP that `'_` keeps ours; the I/O manager sets it at any time.
        unsafe { ptr::read_volatile(self.flag) != 0 }
    }
}

/// What an IRP asks for.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    irp: &'a sys::IRP,
    location: &'a sys::IO_STACK_LOCATION,
}

/// Lengths and code of a device control.
#[derive(Clone, Copy)]
pub struct Control {
    /// The IOCTL code.
    pub code: u32,
    /// Bytes of input.
    pub input: usize,
    /// Bytes of room for output.
    pub output: usize,
}

impl<'a> Request<'a> {
    /// # Safety
    /// `raw` is live and owned by the caller for `'a`.
    pub(super) unsafe fn new(raw: NonNull<sys::IRP>) -> Self {
        // SAFETY: the caller's contract.
        let location = unsafe { current_location(raw) };
        // SAFETY: a stack location of the IRP.
        let location = unsafe { &*location };
        // SAFETY: the caller's contract.
        Self { irp: unsafe { &*raw.as_ptr() }, location }
    }

    /// IRP_MJ_*.
    #[must_use]
    pub fn major(self) -> u32 {
        u32::from(self.location.MajorFunction)
    }

    /// IRP_MN_*.
    #[must_use]
    pub fn minor(self) -> u32 {
        u32::from(self.location.MinorFunction)
    }

    /// Whether a user-mode program asks.
    #[must_use]
    pub fn from_user_mode(self) -> bool {
        i32::from(self.irp.RequestorMode) != sys::_MODE::KernelMode
    }

    /// The bytes that a READ or WRITE names.
    #[must_use]
    pub fn extent(self) -> Extent {
        // SAFETY: the caller knows the major function; Read and Write have one layout, and all bits are valid.
        let read = unsafe { &self.location.Parameters.Read };
        // SAFETY: a plain integer.
        let offset = unsafe { read.ByteOffset.QuadPart };
        Extent { offset: ByteOffset::new(offset.cast_unsigned()), len: ByteLen::new(u64::from(read.Length)) }
    }

    /// Code and lengths of a DEVICE_CONTROL.
    #[must_use]
    pub fn control(self) -> Control {
        // SAFETY: plain integers, valid in any bit pattern.
        let parameters = unsafe { self.location.Parameters.DeviceIoControl };
        Control {
            code: parameters.IoControlCode,
            input: parameters.InputBufferLength as usize,
            output: parameters.OutputBufferLength as usize,
        }
    }

    /// The status block's status.
    #[must_use]
    pub fn status(self) -> NtStatus {
        // SAFETY: Status is the member in use once the request was passed down.
        NtStatus(unsafe { self.irp.IoStatus.__bindgen_anon_1.Status })
    }

    /// The status block's information.
    #[must_use]
    pub fn information(self) -> usize {
        self.irp.IoStatus.Information as usize
    }

    pub(super) fn raw(self) -> &'a sys::IRP {
        self.irp
    }

    pub(super) fn location(self) -> &'a sys::IO_STACK_LOCATION {
        self.location
    }
}
