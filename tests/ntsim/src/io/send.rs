//! `IofCallDriver`: an IRP goes to the next device.

use super::device::Role;
use super::lock;
use crate::abi::io::callbacks;
use crate::abi::io::view::{Device, Driver, Irp};
use crate::abi::*;
use crate::core::{Kernel, Rule};
use std::sync::atomic::Ordering;

/// Requests that a driver must not send down above `APC_LEVEL`: whoever answers them may have to wait.
const PATIENT: [u32; 6] =
    [IRP_MJ_READ, IRP_MJ_WRITE, IRP_MJ_FLUSH_BUFFERS, IRP_MJ_DEVICE_CONTROL, IRP_MJ_PNP, IRP_MJ_CREATE];

impl Kernel {
    /// `IofCallDriver` as drivers call it: ownership and IRQL are checked first.
    pub(crate) fn call_driver_checked(&self, device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
        let irp = self.irp_known("IoCallDriver", Rule::IrpTouchedAfterPass, irp);
        let device = self.device_known("IoCallDriver", device);
        let location = irp.current_location();
        let (mine, entered) = self.frame_innermost(irp).unwrap_or((location, 0));
        if location != mine && location != mine + 1 {
            self.finding(Rule::IrpTouchedAfterPass, "IoCallDriver on an IRP that was already passed on".to_owned());
        }
        if self.guarded_at().is_some() {
            self.finding(Rule::SimdGuard, "IoCallDriver while extended state is saved".to_owned());
        }
        let major = irp.stack_at(location - 1).major();
        let patient = PATIENT.contains(&u32::from(major));
        if patient && self.irql() > 1 && entered < self.irql() {
            let text = format!("IoCallDriver for major {major:#x} at IRQL {}", self.irql());
            self.finding(Rule::IrqlTooHigh, text);
        }
        self.send(device, irp)
    }

    /// Hands an IRP to a device: next stack location, dispatch, bookkeeping.
    pub(crate) fn send(&self, device: Device, irp: Irp) -> NTSTATUS {
        let walking = self.irp_record(irp, |record| (record.walking, record.finished)).unwrap_or((false, true));
        if walking.1 {
            self.finding(Rule::IrpTouchedAfterPass, "IoCallDriver on an IRP that was completed".to_owned());
        }
        let location = irp.current_location() - 1;
        if location <= 0 {
            self.finding(Rule::IrpNoStackLocation, "IoCallDriver, but the IRP has no stack location left".to_owned());
        }
        irp.set_current_location(location);
        let stack = irp.stack_at(location);
        irp.set_current_stack(stack.ptr());
        stack.set_device(device.ptr());
        let frame = self.frame_enter(irp, device, location);
        let status = self.dispatch(device, irp, stack.major());
        self.frame_return(frame, status);
        status
    }

    fn dispatch(&self, device: Device, irp: Irp, major: u8) -> NTSTATUS {
        let role = lock(&self.io.devices).role_to_dispatch(device, major);
        let Some(role) = role else {
            self.finding(Rule::ObjectReference, "an IRP was sent to a device that is deleted".to_owned())
        };
        if let Role::Builtin(builtin) = role {
            self.irp_owned_by_driver(irp, false);
            return self.builtin_dispatch(builtin, device, irp);
        }
        self.irp_owned_by_driver(irp, true);
        let power = u32::from(major) == IRP_MJ_POWER;
        if power {
            self.with_thread(|thread| thread.power_depth.fetch_add(1, Ordering::Relaxed));
        }
        let answer = callbacks::dispatch(self, Driver::at(device.driver() as usize), major, device, irp);
        if power {
            self.with_thread(|thread| thread.power_depth.fetch_sub(1, Ordering::Relaxed));
        }
        match answer {
            Some(status) => status,
            None => self.complete_with(irp, STATUS_INVALID_DEVICE_REQUEST, 0),
        }
    }

    /// Completes an IRP that a device of the simulator owns; gives the status for its dispatch routine to return.
    pub(crate) fn complete_with(&self, irp: Irp, status: NTSTATUS, information: u64) -> NTSTATUS {
        irp.set_status(status);
        irp.set_information(information);
        self.complete(irp);
        status
    }

    /// Passes an IRP on unchanged, as `IoSkipCurrentIrpStackLocation` and `IoCallDriver`.
    pub(crate) fn pass_down(&self, lower: Device, irp: Irp) -> NTSTATUS {
        irp.set_current_location(irp.current_location() + 1);
        irp.set_current_stack(irp.stack_at(irp.current_location()).ptr());
        self.send(lower, irp)
    }
}
