//! Reads of the pass-through filter, which most of its bugs are in.

use super::*;

unsafe extern "C" fn complete_again(_device: PDEVICE_OBJECT, irp: PIRP, _context: PVOID) -> NTSTATUS {
    // SAFETY: the routine owns the IRP; the bug is to complete it and not to say so.
    unsafe {
        if (*irp).PendingReturned != 0 {
            mark_pending(irp);
        }
        IofCompleteRequest(irp, 0);
    }
    STATUS_SUCCESS
}

unsafe extern "C" fn cancel_and_keep(_device: PDEVICE_OBJECT, irp: PIRP) {
    // SAFETY: called with the cancel spin lock held; the routine owns the IRP.
    unsafe { finish(irp, STATUS_CANCELLED) };
}

unsafe extern "C" fn cancel_wild(_device: PDEVICE_OBJECT, irp: PIRP) {
    // SAFETY: the bug: there is nothing at that address, which the simulator survives.
    unsafe {
        core::hint::black_box(core::ptr::without_provenance::<u64>(16).read_volatile());
        IoReleaseCancelSpinLock((*irp).CancelIrql);
    }
}

unsafe extern "C" fn cancel(_device: PDEVICE_OBJECT, irp: PIRP) {
    // SAFETY: called with the cancel spin lock held.
    unsafe { IoReleaseCancelSpinLock((*irp).CancelIrql) }
}

pub(super) unsafe extern "C" fn read(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: as for `pass`; the bugs break the contracts on purpose, inside memory that stays.
    unsafe {
        let extension = extension(device);
        let lower = (*extension).lower;
        match (*extension).bug {
            Bug::CompleteTwice => {
                finish(irp, STATUS_SUCCESS);
                finish(irp, STATUS_SUCCESS)
            }
            Bug::NeverComplete => STATUS_SUCCESS,
            Bug::PendForever | Bug::DeleteInFlight | Bug::DeleteAtSurprise => {
                mark_pending(irp);
                (*extension).queued = irp;
                STATUS_PENDING
            }
            Bug::PendingUnmarked => {
                finish(irp, STATUS_SUCCESS);
                STATUS_PENDING
            }
            Bug::MarkedNotPending => {
                mark_pending(irp);
                finish(irp, STATUS_SUCCESS)
            }
            Bug::StatusMismatch => {
                finish(irp, STATUS_UNSUCCESSFUL);
                STATUS_SUCCESS
            }
            Bug::SendTwice => {
                copy_next(irp, Some(keep), null_mut());
                let _first = IofCallDriver(lower, irp);
                IofCallDriver(lower, irp)
            }
            Bug::CompleteAfterPass => {
                copy_next(irp, Some(propagate), null_mut());
                let _sent = IofCallDriver(lower, irp);
                finish(irp, STATUS_SUCCESS)
            }
            _ => read_with_more_bugs(device, irp),
        }
    }
}

unsafe fn read_with_more_bugs(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: as for `read`.
    unsafe {
        let extension = extension(device);
        let lower = (*extension).lower;
        match (*extension).bug {
            Bug::NoStackLocation => {
                let own = IoAllocateIrp(1, 0);
                skip_to_end(own);
                let _status = IofCallDriver(lower, own);
                let _again = IofCallDriver(lower, own);
                finish(irp, STATUS_SUCCESS)
            }
            Bug::CancelRoutineSet => {
                (*irp).CancelRoutine = Some(cancel);
                finish(irp, STATUS_SUCCESS)
            }
            Bug::KeepAndForget => {
                copy_next(irp, Some(keep), null_mut());
                let _status = IofCallDriver(lower, irp);
                STATUS_SUCCESS
            }
            Bug::NoNextLocation => {
                let own = IoAllocateIrp(1, 0);
                (*own).CurrentLocation = 1;
                let _status = IoSetCompletionRoutineEx(device, own, Some(keep), null_mut(), 1, 1, 1);
                finish(irp, STATUS_SUCCESS)
            }
            Bug::CancelRoutineLate => {
                mark_pending(irp);
                (*irp).CancelRoutine = Some(cancel);
                finish(irp, STATUS_SUCCESS);
                STATUS_PENDING
            }
            Bug::CancelKeepsLock | Bug::CancelWild => {
                mark_pending(irp);
                let keeps = (*extension).bug == Bug::CancelKeepsLock;
                (*irp).CancelRoutine = Some(if keeps { cancel_and_keep } else { cancel_wild });
                STATUS_PENDING
            }
            Bug::CompletePending => finish(irp, STATUS_PENDING),
            Bug::CompleteInRoutine => {
                copy_next(irp, Some(complete_again), null_mut());
                IofCallDriver(lower, irp)
            }
            Bug::FreeThreaded => {
                IoFreeIrp(irp);
                STATUS_SUCCESS
            }
            Bug::ReuseThreaded => {
                IoReuseIrp(irp, STATUS_SUCCESS);
                STATUS_SUCCESS
            }
            Bug::OwnIrpRunsThrough => {
                let own = IoAllocateIrp((*lower).StackSize, 0);
                (*location(own).sub(1)).MajorFunction = IRP_MJ_FLUSH_BUFFERS as u8;
                let _status = IofCallDriver(lower, own);
                finish(irp, STATUS_SUCCESS)
            }
            Bug::LeakIrp => {
                let _own = IoAllocateIrp((*lower).StackSize, 0);
                finish(irp, STATUS_SUCCESS)
            }
            Bug::CallAtDispatch => {
                let mut lock: KSPIN_LOCK = 0;
                KeInitializeSpinLock(&raw mut lock);
                let old = KeAcquireSpinLockRaiseToDpc(&raw mut lock);
                copy_next(irp, Some(propagate), null_mut());
                let status = IofCallDriver(lower, irp);
                KeReleaseSpinLock(&raw mut lock, old);
                status
            }
            Bug::DereferenceTwice => {
                let top = IoGetAttachedDeviceReference(lower);
                for _ in 0..4 {
                    ObfDereferenceObject(top.cast());
                }
                finish(irp, STATUS_SUCCESS)
            }
            Bug::RaisedOnReturn => {
                let mut lock: KSPIN_LOCK = 0;
                KeInitializeSpinLock(&raw mut lock);
                KeAcquireSpinLockRaiseToDpc(&raw mut lock);
                finish(irp, STATUS_SUCCESS)
            }
            _ => watched(device, irp),
        }
    }
}

unsafe fn skip_to_end(irp: PIRP) {
    // SAFETY: the IRP is this driver's own.
    unsafe {
        let next = location(irp).sub(1);
        (*next).MajorFunction = IRP_MJ_FLUSH_BUFFERS as u8;
        (*next).CompletionRoutine = Some(keep);
        (*next).Control = (SL_INVOKE_ON_SUCCESS | SL_INVOKE_ON_ERROR) as u8;
        (*irp).CurrentLocation = 1;
    }
}
