//! The device below a filter of ours.

use core::ptr::NonNull;

use vck_common::{NtStatus, VckError, VckResult, zeroed};

use super::completion::StackEvent;
use super::irp::next_location;
use super::irql::Passive;
use super::sys;

/// The device that a filter of ours is attached to.
///
/// # Invariant
/// Used only while that filter's remove lock is held or the filter is attached and bound: REMOVE unbinds and waits for
/// the lock before it detaches, and the lower device lives until then.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LowerDevice(NonNull<sys::DEVICE_OBJECT>);

// SAFETY: a device object may be called from any thread.
unsafe impl Send for LowerDevice {}
// SAFETY: as above.
unsafe impl Sync for LowerDevice {}

impl LowerDevice {
    pub(super) fn from_raw(device: sys::PDEVICE_OBJECT) -> Self {
        match NonNull::new(device) {
            Some(device) => Self(device),
            None => super::fatal(super::Fatal::NotAttached, 0),
        }
    }

    pub(super) fn as_ptr(self) -> sys::PDEVICE_OBJECT {
        self.0.as_ptr()
    }

    pub(super) fn stack_size(self) -> sys::CCHAR {
        // SAFETY: live (invariant).
        unsafe { self.0.as_ref() }.StackSize
    }

    /// FILE_DEVICE_* type of the device.
    #[must_use]
    pub fn device_type(self) -> u32 {
        // SAFETY: live (invariant).
        unsafe { self.0.as_ref() }.DeviceType
    }

    /// Sends a buffered device control that has no input and waits; `output` receives what the device returns.
    ///
    /// Errors: the device's status, or no memory.
    pub fn query(self, passive: Passive, code: u32, output: &mut [u8]) -> VckResult<usize> {
        let mut buffer = zeroed(output.len())?;
        let returned = self.control(passive, code, &mut buffer)?;
        let returned = returned.min(output.len());
        for (to, from) in output.iter_mut().zip(&buffer) {
            *to = *from;
        }
        Ok(returned)
    }

    /// Sends a buffered device control without input and with `buffer` as room for the output.
    fn control(self, passive: Passive, code: u32, buffer: &mut [u8]) -> VckResult<usize> {
        // SAFETY: IRQL <= DISPATCH_LEVEL.
        let irp = NonNull::new(unsafe { sys::IoAllocateIrp(self.stack_size(), 0) }).ok_or(VckError::NoMemory)?;
        // SAFETY: fresh, with a next location.
        let next = unsafe { next_location(irp) };
        // SAFETY: a stack location of our IRP.
        let next = unsafe { &mut *next };
        next.MajorFunction = sys::IRP_MJ_DEVICE_CONTROL as u8;
        // SAFETY: plain integers; the location is zeroed by IoAllocateIrp.
        let parameters = unsafe { &mut next.Parameters.DeviceIoControl };
        parameters.IoControlCode = code;
        parameters.OutputBufferLength = buffer.len() as u32;
        // SAFETY: fresh.
        let fields = unsafe { &mut *irp.as_ptr() };
        fields.AssociatedIrp.SystemBuffer = buffer.as_mut_ptr().cast();
        fields.IoStatus.__bindgen_anon_1.Status = NtStatus::NOT_SUPPORTED.0;
        let event = StackEvent::new();
        // SAFETY: the event outlives the wait; the routine takes an event.
        unsafe {
            super::irp::set_completion_routine(irp, Some(super::completion::signal_and_keep), event.as_ptr().cast());
        }
        // SAFETY: live (invariant); PASSIVE_LEVEL.
        let status = unsafe { sys::IofCallDriver(self.as_ptr(), irp.as_ptr()) };
        if status == NtStatus::PENDING.0 {
            event.wait(passive);
        }
        // SAFETY: completed and kept, so ours.
        let fields = unsafe { irp.as_ref() };
        // SAFETY: Status is the member that a completed request has.
        let status = NtStatus(unsafe { fields.IoStatus.__bindgen_anon_1.Status });
        let returned = fields.IoStatus.Information as usize;
        // SAFETY: ours; the system buffer is the caller's and no flag asks to free it.
        unsafe { sys::IoFreeIrp(irp.as_ptr()) };
        if status.is_success() { Ok(returned) } else { Err(VckError::Device { status, lba: None }) }
    }
}
