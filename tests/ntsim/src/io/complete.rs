//! `IofCompleteRequest`: the walk back up through the completion routines.

use crate::abi::io::callbacks;
use crate::abi::io::view::{Irp, Stack};
use crate::abi::*;
use crate::core::{Kernel, Rule};
use crate::io::irp::Maker;

const SL_PENDING: u8 = 0x01;
const SL_ON_CANCEL: u8 = 0x20;
const SL_ON_SUCCESS: u8 = 0x40;
const SL_ON_ERROR: u8 = 0x80;

fn wants(control: u8, irp: Irp) -> bool {
    let on_status = if NT_SUCCESS(irp.status()) { SL_ON_SUCCESS } else { SL_ON_ERROR };
    control & on_status != 0 || (irp.cancelled() && control & SL_ON_CANCEL != 0)
}

impl Kernel {
    /// `IofCompleteRequest` as drivers call it.
    pub(crate) fn complete_checked(&self, irp: PIRP) {
        let irp = self.irp_known("IoCompleteRequest", Rule::IrpCompletedTwice, irp);
        if let Some((mine, _)) = self.frame_innermost(irp)
            && irp.current_location() != mine
            && irp.current_location() != mine + 1
        {
            self.finding(Rule::IrpTouchedAfterPass, "IoCompleteRequest on an IRP that was passed on".to_owned());
        }
        if irp.has_cancel_routine() {
            self.finding(Rule::IrpCancelRoutineSet, "IoCompleteRequest with a cancel routine still set".to_owned());
        }
        if irp.status() == STATUS_PENDING || irp.status() == -1 {
            self.finding(Rule::BadArgument, format!("IoCompleteRequest with status {:#010x}", irp.status()));
        }
        self.irp_owned_by_driver(irp, false);
        self.complete(irp);
    }

    /// Walks up from the current location.
    pub(crate) fn complete(&self, irp: Irp) {
        let twice = self.irp_record(irp, |record| std::mem::replace(&mut record.walking, true)).unwrap_or(true);
        if twice || irp.current_location() > irp.stack_count() + 1 {
            self.finding(Rule::IrpCompletedTwice, "an IRP was completed twice".to_owned());
        }
        while irp.current_location() <= irp.stack_count() {
            if !self.complete_level(irp) {
                return;
            }
        }
        self.finish(irp);
    }

    /// Completes the current location; false when a routine kept the IRP.
    fn complete_level(&self, irp: Irp) -> bool {
        let location = irp.current_location();
        let stack = irp.stack_at(location);
        let control = stack.control();
        let pending = control & SL_PENDING != 0;
        irp.set_pending_returned(u8::from(pending));
        let called = wants(control, irp);
        self.frame_complete(irp, location, (pending, irp.status()), called);
        let (routine, context) = (stack.routine(), stack.context());
        let above = location + 1;
        let owner = (above <= irp.stack_count()).then(|| irp.stack_at(above));
        irp.set_current_location(above);
        irp.set_current_stack(irp.stack_at(above).ptr());
        clear_completed(stack);
        if !called {
            if let Some(owner) = owner.filter(|_| pending) {
                owner.set_control(owner.control() | SL_PENDING);
            }
            return true;
        }
        let device = owner.map_or(std::ptr::null_mut(), Stack::device);
        self.irp_owned_by_driver(irp, true);
        if callbacks::completion(self, routine, device, irp, context) == STATUS_MORE_PROCESSING_REQUIRED {
            return false;
        }
        self.irp_owned_by_driver(irp, false);
        let resumed = self.irp_record(irp, |record| std::mem::replace(&mut record.walking, true));
        if resumed != Some(false) {
            self.finding(
                Rule::IrpTouchedAfterPass,
                "a completion routine freed or completed the IRP, but did not return MORE_PROCESSING_REQUIRED"
                    .to_owned(),
            );
        }
        if let Some(owner) = owner
            && pending
            && owner.control() & SL_PENDING == 0
        {
            self.finding(
                Rule::IrpPendingMismatch,
                "a completion routine let the completion go on without passing PendingReturned up".to_owned(),
            );
        }
        true
    }

    /// Every location is completed.
    fn finish(&self, irp: Irp) {
        let maker = self.irp_record(irp, |record| {
            record.finished = true;
            match &mut record.maker {
                Maker::Driver => None,
                Maker::Manager(finish) => Some(finish.take()),
            }
        });
        match maker.flatten() {
            Some(finish) => {
                if let Some(finish) = finish {
                    finish(self, irp);
                }
                self.irp_release(irp);
            }
            None => self.finding(
                Rule::IrpThreaded,
                "an IRP from IoAllocateIrp ran through to the I/O manager: its routine must keep it".to_owned(),
            ),
        }
    }
}

/// What the I/O manager wipes in a location that is done.
fn clear_completed(stack: Stack) {
    stack.set_minor(0);
    stack.set_flags(0);
    stack.set_control(0);
    stack.set_parameters([0; 4]);
    stack.set_file(std::ptr::null_mut());
    stack.set_routine(None);
    stack.set_context(std::ptr::null_mut());
}
