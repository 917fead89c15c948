//! Completion routines: the two shapes there are, and the protocol of each.
//!
//! *Watch*: always lets the IRP go on. Pending is propagated from below; dispatch returns what `IoCallDriver` returned.
//! *Intercept*: may take the IRP back. The IRP is marked pending before it goes down and dispatch returns
//! STATUS_PENDING, whatever happens below.
//!
//! A completion routine runs at IRQL <= DISPATCH_LEVEL on any thread, so it never waits.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::ptr::{self, NonNull};

use vck_common::{ByteOffset, NtStatus};

use super::device::{DeviceRef, DeviceRole};
use super::irp::{Disposition, Irp, Request, mark_pending};
use super::irql::Passive;
use super::sys;

/// A value that travels through a completion routine's context pointer.
pub trait ContextWord {
    /// Packs the value.
    fn into_word(self) -> usize;
    /// Unpacks what [`into_word`](Self::into_word) gave.
    fn from_word(word: usize) -> Self;
}

impl ContextWord for () {
    fn into_word(self) -> usize {
        0
    }

    fn from_word(_: usize) -> Self {}
}

/// A completion routine that only looks.
pub trait Watch<E: DeviceRole> {
    /// What it is told.
    type Context: ContextWord;
    /// Called once for each IRP that was forwarded with this routine.
    fn completed(device: DeviceRef<'_, E>, request: Request<'_>, context: Self::Context);
}

/// A completion routine that may change the outcome or keep the IRP.
pub trait Intercept<E: DeviceRole> {
    /// What it is told.
    type Context: ContextWord;
    /// Called once for each IRP that was forwarded with this routine.
    fn completed(device: DeviceRef<'_, E>, irp: CompletedIrp, context: Self::Context) -> Outcome;
}

/// What a completion routine decided.
#[must_use]
pub struct Outcome(sys::NTSTATUS);

/// An IRP that the drivers below have completed.
#[must_use]
pub struct CompletedIrp {
    raw: NonNull<sys::IRP>,
    lock: NonNull<sys::IO_REMOVE_LOCK>,
}

impl CompletedIrp {
    /// A read-only look.
    #[must_use]
    pub fn request(&self) -> Request<'_> {
        // SAFETY: ours during the routine.
        unsafe { Request::new(self.raw) }
    }

    /// Lets the IRP go on to the drivers above.
    pub fn go_on(self) -> Outcome {
        // SAFETY: held with this tag since admission.
        unsafe { super::release_remove_lock(self.lock, self.raw.as_ptr().cast()) };
        Outcome(NtStatus::SUCCESS.0)
    }

    /// Lets the IRP go on as a failure with no bytes transferred.
    pub fn fail(self, status: NtStatus) -> Outcome {
        // SAFETY: ours during the routine.
        let irp = unsafe { &mut *self.raw.as_ptr() };
        irp.IoStatus.__bindgen_anon_1.Status = status.0;
        irp.IoStatus.Information = 0;
        self.go_on()
    }

    /// Takes the IRP back: `next` disposes of it, now or from another thread.
    pub fn keep(self, next: impl FnOnce(Irp)) -> Outcome {
        // SAFETY: STATUS_MORE_PROCESSING_REQUIRED makes the IRP ours; it was marked pending before it was sent.
        next(unsafe { Irp::from_raw(self.raw, Some(self.lock)) });
        Outcome(NtStatus::MORE_PROCESSING_REQUIRED.0)
    }

    /// The shared system buffer of a buffered control, as long as its room for output.
    pub fn system_buffer(&mut self) -> &mut [u8] {
        self.shared_buffer(self.request().control().output)
    }

    /// The shared system buffer of a buffered control, as long as its input.
    pub fn system_input(&mut self) -> &mut [u8] {
        self.shared_buffer(self.request().control().input)
    }

    /// The first `bytes`, of which the control states that they are there.
    fn shared_buffer(&mut self, bytes: usize) -> &mut [u8] {
        // SAFETY: ours during the routine.
        let irp = unsafe { self.raw.as_ref() };
        // SAFETY: METHOD_BUFFERED fills this member.
        let start = unsafe { irp.AssociatedIrp.SystemBuffer }.cast::<u8>();
        if start.is_null() || bytes == 0 {
            return &mut [];
        }
        // SAFETY: the I/O manager allocated at least so many bytes, and nobody else uses them meanwhile.
        unsafe { core::slice::from_raw_parts_mut(start, bytes) }
    }
}

impl Irp {
    /// Passes a READ or WRITE down, at another byte offset if given, watched by `W`. IRQL <= APC_LEVEL.
    pub fn forward_watched<E: DeviceRole, W: Watch<E>>(
        self,
        device: DeviceRef<'_, E>,
        offset: Option<ByteOffset>,
        context: W::Context,
    ) -> Disposition {
        let word = ptr::without_provenance_mut::<c_void>(context.into_word());
        // SAFETY: the trampoline of the same W takes the word apart and releases the remove lock.
        Disposition::new(unsafe { self.forward_with(device.lower(), offset, Some(watch::<E, W>), word) })
    }

    /// Passes the request down marked pending, intercepted by `I`. IRQL <= APC_LEVEL.
    pub fn forward_intercepted<E: DeviceRole, I: Intercept<E>>(
        self,
        device: DeviceRef<'_, E>,
        offset: Option<ByteOffset>,
        context: I::Context,
    ) -> Disposition {
        let word = ptr::without_provenance_mut::<c_void>(context.into_word());
        // SAFETY: owned.
        unsafe { mark_pending(self.raw()) };
        // SAFETY: the trampoline of the same I takes the word apart and disposes of the remove lock.
        unsafe { self.forward_with(device.lower(), offset, Some(intercept::<E, I>), word) };
        Disposition::new(NtStatus::PENDING.0)
    }
}

unsafe extern "C" fn watch<E: DeviceRole, W: Watch<E>>(
    device: sys::PDEVICE_OBJECT,
    irp: sys::PIRP,
    context: sys::PVOID,
) -> sys::NTSTATUS {
    let (Some(device), Some(raw)) = (NonNull::new(device), NonNull::new(irp)) else {
        return NtStatus::SUCCESS.0;
    };
    // SAFETY: the routine was set by a device of role E, whose remove lock this IRP holds.
    let device = unsafe { DeviceRef::<E>::from_raw(device) };
    // SAFETY: ours during the routine.
    if unsafe { (*irp).PendingReturned } != 0 {
        // SAFETY: ours during the routine.
        unsafe { mark_pending(raw) };
    }
    // SAFETY: ours during the routine.
    let request = unsafe { Request::new(raw) };
    W::completed(device, request, W::Context::from_word(context.addr()));
    // SAFETY: held with this tag since admission.
    unsafe { super::release_remove_lock(device.remove_lock(), irp.cast()) };
    NtStatus::SUCCESS.0
}

unsafe extern "C" fn intercept<E: DeviceRole, I: Intercept<E>>(
    device: sys::PDEVICE_OBJECT,
    irp: sys::PIRP,
    context: sys::PVOID,
) -> sys::NTSTATUS {
    let (Some(device), Some(raw)) = (NonNull::new(device), NonNull::new(irp)) else {
        return NtStatus::SUCCESS.0;
    };
    // SAFETY: the routine was set by a device of role E, whose remove lock this IRP holds.
    let device = unsafe { DeviceRef::<E>::from_raw(device) };
    let completed = CompletedIrp { raw, lock: device.remove_lock() };
    I::completed(device, completed, I::Context::from_word(context.addr())).0
}

/// A KEVENT on the stack of a thread that waits for one IRP.
pub(super) struct StackEvent(UnsafeCell<sys::KEVENT>);

impl StackEvent {
    /// # Note
    /// Initialised lazily by `as_ptr`, at the address where it stays: the value must not move afterwards.
    pub(super) fn new() -> Self {
        // SAFETY: plain data; initialised in `as_ptr`.
        Self(UnsafeCell::new(unsafe { core::mem::zeroed() }))
    }

    pub(super) fn as_ptr(&self) -> *mut sys::KEVENT {
        // SAFETY: kernel stacks of threads that wait in KernelMode stay resident.
        unsafe { sys::KeInitializeEvent(self.0.get(), sys::_EVENT_TYPE::NotificationEvent, 0) };
        self.0.get()
    }

    pub(super) fn wait(&self, _: Passive) {
        // SAFETY: initialised by `as_ptr`; PASSIVE_LEVEL by the witness; KernelMode keeps the stack resident.
        let _ = unsafe {
            sys::KeWaitForSingleObject(
                self.0.get().cast(),
                sys::_KWAIT_REASON::Executive,
                sys::_MODE::KernelMode as sys::KPROCESSOR_MODE,
                0,
                ptr::null_mut(),
            )
        };
    }
}

/// Completion routine of synchronous forwards: wakes the sender, who keeps the IRP.
pub(super) unsafe extern "C" fn signal_and_keep(
    _: sys::PDEVICE_OBJECT,
    irp: sys::PIRP,
    context: sys::PVOID,
) -> sys::NTSTATUS {
    // SAFETY: ours during the routine.
    if unsafe { (*irp).PendingReturned } != 0 {
        // SAFETY: the context is the sender's event, which it waits for exactly when the call returned STATUS_PENDING.
        unsafe { sys::KeSetEvent(context.cast(), 0, 0) };
    }
    NtStatus::MORE_PROCESSING_REQUIRED.0
}
