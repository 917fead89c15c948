//! A correct pass-through filter of volumes in raw kernel calls: what the planted bugs are small changes of.
//!
//! # Invariants
//! * The extension is complete before the device is attached.
//! * Every request holds the remove lock from dispatch to completion; REMOVE waits for it.
//! * The extension of a device lives until `IoDeleteDevice`, which comes after the last request.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a raw driver is a run of kernel calls under one contract: that of the routine it is in"
)]
#![expect(clippy::cast_possible_truncation, reason = "constants of the headers are wider than the fields they go into")]

use core::ptr::null_mut;
use vck_ntsim::abi::*;

#[path = "passthrough_read.rs"]
mod read;

use crate::bugs::bugs;
use read::read;

bugs! {
    /// Nothing: the driver is correct.
    None,
    /// Reads: completes the IRP, then completes it again.
    CompleteTwice,
    /// Reads: returns success without completing or passing on.
    NeverComplete,
    /// Reads: pends for ever.
    PendForever,
    /// Reads: returns `STATUS_PENDING` without marking the IRP.
    PendingUnmarked,
    /// Reads: marks the IRP pending and returns success.
    MarkedNotPending,
    /// Reads: the completion routine does not pass `PendingReturned` up.
    NoPropagation,
    /// Reads: sends the IRP down twice.
    SendTwice,
    /// Reads: completes an IRP that is with the lower driver.
    CompleteAfterPass,
    /// Reads: sends an IRP of its own with too few stack locations.
    NoStackLocation,
    /// Reads: completes with a cancel routine set.
    CancelRoutineSet,
    /// Reads: frees the thread's IRP.
    FreeThreaded,
    /// Reads: `IoReuseIrp` on the thread's IRP.
    ReuseThreaded,
    /// Reads: lets an IRP of its own run through to the I/O manager.
    OwnIrpRunsThrough,
    /// Reads: an IRP of its own is never freed.
    LeakIrp,
    /// START: detaches the filter.
    DetachAtStart,
    /// `QUERY_REMOVE`: detaches and deletes the filter.
    DeleteAtQueryRemove,
    /// REMOVE: passes it on and forgets the device.
    ForgetRemove,
    /// REMOVE: deletes without detaching.
    DeleteAttached,
    /// REMOVE: deletes the device while a read is queued.
    DeleteInFlight,
    /// `SURPRISE_REMOVAL`: deletes the device while a read is queued.
    DeleteAtSurprise,
    /// `PnP`: fails every minor that it does not know.
    FailUnknownPnp,
    /// `PnP`: completes every minor that it does not know with success.
    SucceedUnknownPnp,
    /// `DriverEntry`: leaves a control device behind at unload.
    LeakDevice,
    /// `AddDevice`: leaves `DO_DEVICE_INITIALIZING` set.
    LeftInitializing,
    /// Reads: `IoCallDriver` at `DISPATCH_LEVEL`.
    CallAtDispatch,
    /// Reads: gives back a reference that it never took.
    DereferenceTwice,
    /// START: leaks a kernel handle.
    LeakHandle,
    /// START: closes a handle twice.
    CloseTwice,
    /// Reads: returns another status than the IRP was completed with.
    StatusMismatch,
    /// Reads: returns with the IRQL raised.
    RaisedOnReturn,
    /// Reads: keeps the IRP in the completion routine and forgets it.
    KeepAndForget,
    /// Reads: sets a completion routine where there is no next location.
    NoNextLocation,
    /// Reads: completes a pended IRP with a cancel routine set.
    CancelRoutineLate,
    /// Reads: pends with a cancel routine that keeps the cancel spin lock.
    CancelKeepsLock,
    /// Reads: pends with a cancel routine that follows a pointer to nothing.
    CancelWild,
    /// Reads: completes with `STATUS_PENDING`.
    CompletePending,
    /// Reads: a completion routine completes the IRP and lets the completion go on.
    CompleteInRoutine,
}

const TAG: u32 = u32::from_le_bytes(*b"Pass");

/// The extension of every filter device.
#[repr(C)]
struct Extension {
    lower: PDEVICE_OBJECT,
    lock: IO_REMOVE_LOCK,
    bug: Bug,
    queued: PIRP,
}

/// Per-driver state: which bug, in the driver-object extension.
#[repr(C)]
struct Driver {
    bug: Bug,
    control: PDEVICE_OBJECT,
}

fn client() -> PVOID {
    entry as *const () as PVOID
}

/// The driver's entry point; the service's name says which bug it has.
pub(crate) unsafe extern "C" fn entry(driver: PDRIVER_OBJECT, path: PUNICODE_STRING) -> NTSTATUS {
    let mut block: PVOID = null_mut();
    // SAFETY: DriverEntry's driver object; every routine is called as documented.
    unsafe {
        let bug = Bug::of(path);
        let status = IoAllocateDriverObjectExtension(driver, client(), size_of::<Driver>() as u32, &raw mut block);
        if !NT_SUCCESS(status) {
            return status;
        }
        let mut control = null_mut();
        if bug == Bug::LeakDevice {
            let status = IoCreateDevice(driver, 0, null_mut(), FILE_DEVICE_UNKNOWN, 0, 0, &raw mut control);
            if !NT_SUCCESS(status) {
                return status;
            }
        }
        block.cast::<Driver>().write(Driver { bug, control });
        (*driver).MajorFunction = [Some(pass as _); 28];
        (*driver).MajorFunction[IRP_MJ_READ as usize] = Some(read);
        (*driver).MajorFunction[IRP_MJ_WRITE as usize] = Some(watched);
        (*driver).MajorFunction[IRP_MJ_PNP as usize] = Some(pnp);
        (*(*driver).DriverExtension).AddDevice = Some(add_device);
        (*driver).DriverUnload = Some(unload);
    }
    STATUS_SUCCESS
}

unsafe extern "C" fn unload(driver: PDRIVER_OBJECT) {
    // SAFETY: the extension was allocated in DriverEntry; it stays the driver object's.
    let _bug = unsafe { (*IoGetDriverObjectExtension(driver, client()).cast::<Driver>()).bug };
}

unsafe extern "C" fn add_device(driver: PDRIVER_OBJECT, pdo: PDEVICE_OBJECT) -> NTSTATUS {
    // SAFETY: the kernel's arguments; the extension is written before the device can be reached.
    unsafe {
        let bug = (*IoGetDriverObjectExtension(driver, client()).cast::<Driver>()).bug;
        let mut filter: PDEVICE_OBJECT = null_mut();
        let size = size_of::<Extension>() as u32;
        let status = IoCreateDevice(driver, size, null_mut(), (*pdo).DeviceType, 0, 0, &raw mut filter);
        if !NT_SUCCESS(status) {
            return status;
        }
        let extension = (*filter).DeviceExtension.cast::<Extension>();
        (*extension).bug = bug;
        IoInitializeRemoveLockEx(&raw mut (*extension).lock, TAG, 0, 0, size_of::<IO_REMOVE_LOCK>() as u32);
        (*filter).Flags |= (*pdo).Flags & (DO_DIRECT_IO | DO_BUFFERED_IO | DO_POWER_PAGABLE);
        let status = IoAttachDeviceToDeviceStackSafe(filter, pdo, &raw mut (*extension).lower);
        if !NT_SUCCESS(status) {
            IoDeleteDevice(filter);
            return status;
        }
        if bug != Bug::LeftInitializing {
            (*filter).Flags &= !DO_DEVICE_INITIALIZING;
        }
        STATUS_SUCCESS
    }
}

unsafe fn extension(device: PDEVICE_OBJECT) -> *mut Extension {
    // SAFETY: the caller passes one of this driver's filter devices.
    unsafe { (*device).DeviceExtension.cast() }
}

unsafe fn location(irp: PIRP) -> PIO_STACK_LOCATION {
    // SAFETY: the caller owns the IRP.
    unsafe { (*irp).Tail.Overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation }
}

unsafe fn skip(irp: PIRP) {
    // SAFETY: the caller owns the IRP: `IoSkipCurrentIrpStackLocation`.
    unsafe {
        (*irp).CurrentLocation += 1;
        (*irp).Tail.Overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation = location(irp).add(1);
    }
}

unsafe fn copy_next(irp: PIRP, routine: PIO_COMPLETION_ROUTINE, context: PVOID) {
    // SAFETY: the caller owns the IRP and a location follows: copy without routine, then set one for every outcome.
    unsafe {
        let here = location(irp);
        let next = here.sub(1);
        next.write(here.read());
        (*next).CompletionRoutine = routine;
        (*next).Context = context;
        (*next).Control = (SL_INVOKE_ON_SUCCESS | SL_INVOKE_ON_ERROR | SL_INVOKE_ON_CANCEL) as u8;
    }
}

unsafe fn mark_pending(irp: PIRP) {
    // SAFETY: the caller owns the IRP.
    unsafe { (*location(irp)).Control |= SL_PENDING_RETURNED as u8 }
}

unsafe fn finish(irp: PIRP, status: NTSTATUS) -> NTSTATUS {
    // SAFETY: the caller owns the IRP and gives it up.
    unsafe {
        (*irp).IoStatus.__bindgen_anon_1.Status = status;
        (*irp).IoStatus.Information = 0;
        IofCompleteRequest(irp, 0);
    }
    status
}

unsafe fn acquire(extension: *mut Extension, tag: PVOID) -> NTSTATUS {
    // SAFETY: the extension is alive while the device is.
    unsafe {
        IoAcquireRemoveLockEx(
            &raw mut (*extension).lock,
            tag,
            c"pass".as_ptr().cast(),
            1,
            size_of::<IO_REMOVE_LOCK>() as u32,
        )
    }
}

unsafe fn release(extension: *mut Extension, tag: PVOID) {
    // SAFETY: acquired with this tag before.
    unsafe { IoReleaseRemoveLockEx(&raw mut (*extension).lock, tag, size_of::<IO_REMOVE_LOCK>() as u32) }
}

unsafe extern "C" fn pass(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: dispatch: device and IRP are ours.
    unsafe {
        let extension = extension(device);
        let status = acquire(extension, irp.cast());
        if !NT_SUCCESS(status) {
            return finish(irp, status);
        }
        let lower = (*extension).lower;
        skip(irp);
        let status = IofCallDriver(lower, irp);
        release(extension, irp.cast());
        status
    }
}

unsafe extern "C" fn watched(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: as for `pass`.
    unsafe {
        let extension = extension(device);
        let status = acquire(extension, irp.cast());
        if !NT_SUCCESS(status) {
            return finish(irp, status);
        }
        copy_next(irp, Some(done), extension.cast());
        IofCallDriver((*extension).lower, irp)
    }
}

unsafe extern "C" fn done(_device: PDEVICE_OBJECT, irp: PIRP, context: PVOID) -> NTSTATUS {
    // SAFETY: the context is the extension, which the remove lock keeps.
    unsafe {
        let extension = context.cast::<Extension>();
        if (*irp).PendingReturned != 0 && (*extension).bug != Bug::NoPropagation {
            mark_pending(irp);
        }
        release(extension, irp.cast());
    }
    STATUS_SUCCESS
}

unsafe extern "C" fn keep(_device: PDEVICE_OBJECT, _irp: PIRP, context: PVOID) -> NTSTATUS {
    // SAFETY: the context is an event on the waiting dispatch routine's stack, or null.
    unsafe {
        if !context.is_null() {
            KeSetEvent(context.cast(), 0, 0);
        }
    }
    STATUS_MORE_PROCESSING_REQUIRED
}

unsafe extern "C" fn propagate(_device: PDEVICE_OBJECT, irp: PIRP, _context: PVOID) -> NTSTATUS {
    // SAFETY: the routine owns the IRP.
    unsafe {
        if (*irp).PendingReturned != 0 {
            mark_pending(irp);
        }
    }
    STATUS_SUCCESS
}

unsafe fn forward_and_wait(lower: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: PASSIVE_LEVEL; the event outlives the wait.
    unsafe {
        let mut event = KEVENT::default();
        KeInitializeEvent(&raw mut event, _EVENT_TYPE::NotificationEvent, 0);
        copy_next(irp, Some(keep), (&raw mut event).cast());
        if IofCallDriver(lower, irp) == STATUS_PENDING {
            let object = (&raw mut event).cast();
            let _done = KeWaitForSingleObject(object, _KWAIT_REASON::Executive, 0, 0, null_mut());
        }
        (*irp).IoStatus.__bindgen_anon_1.Status
    }
}

unsafe fn open_handle(lower: PDEVICE_OBJECT, bug: Bug) {
    // SAFETY: PASSIVE_LEVEL; the device below is alive while the filter is attached.
    unsafe {
        let mut handle: HANDLE = null_mut();
        let object = lower.cast();
        let _opened = ObOpenObjectByPointer(object, OBJ_KERNEL_HANDLE, null_mut(), 0, null_mut(), 0, &raw mut handle);
        if bug == Bug::CloseTwice {
            let _first = ZwClose(handle);
            let _second = ZwClose(handle);
        }
    }
}

unsafe extern "C" fn pnp(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: PnP comes at PASSIVE_LEVEL; as for `pass`.
    unsafe {
        let extension = extension(device);
        let (lower, bug) = ((*extension).lower, (*extension).bug);
        let minor = u32::from((*location(irp)).MinorFunction);
        let status = acquire(extension, irp.cast());
        if !NT_SUCCESS(status) {
            return finish(irp, status);
        }
        match minor {
            IRP_MN_START_DEVICE => {
                let status = forward_and_wait(lower, irp);
                if matches!(bug, Bug::LeakHandle | Bug::CloseTwice) {
                    open_handle(lower, bug);
                }
                if bug == Bug::DetachAtStart && (*extension).queued.is_null() {
                    // Only a filter that has carried requests must not do this: the test restarts the volume.
                    (*extension).queued = irp;
                } else if bug == Bug::DetachAtStart {
                    IoDetachDevice(lower);
                }
                release(extension, irp.cast());
                IofCompleteRequest(irp, 0);
                status
            }
            IRP_MN_QUERY_REMOVE_DEVICE if bug == Bug::DeleteAtQueryRemove => {
                skip(irp);
                let status = IofCallDriver(lower, irp);
                IoDetachDevice(lower);
                IoDeleteDevice(device);
                status
            }
            IRP_MN_SURPRISE_REMOVAL if bug == Bug::DeleteAtSurprise => {
                skip(irp);
                let status = IofCallDriver(lower, irp);
                IoDeleteDevice(device);
                status
            }
            IRP_MN_REMOVE_DEVICE => remove(device, irp),
            _ if minor > IRP_MN_SURPRISE_REMOVAL && matches!(bug, Bug::FailUnknownPnp | Bug::SucceedUnknownPnp) => {
                release(extension, irp.cast());
                let status = if bug == Bug::FailUnknownPnp { STATUS_UNSUCCESSFUL } else { STATUS_SUCCESS };
                finish(irp, status)
            }
            _ => {
                skip(irp);
                let status = IofCallDriver(lower, irp);
                release(extension, irp.cast());
                status
            }
        }
    }
}

unsafe fn remove(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: REMOVE is the last request; the remove lock is held once, for it.
    unsafe {
        let extension = extension(device);
        let (lower, bug) = ((*extension).lower, (*extension).bug);
        if bug != Bug::DeleteInFlight {
            let size = size_of::<IO_REMOVE_LOCK>() as u32;
            IoReleaseRemoveLockAndWaitEx(&raw mut (*extension).lock, irp.cast(), size);
        }
        (*irp).IoStatus.__bindgen_anon_1.Status = STATUS_SUCCESS;
        skip(irp);
        let status = IofCallDriver(lower, irp);
        match bug {
            Bug::ForgetRemove => {}
            Bug::DeleteAttached => IoDeleteDevice(device),
            _ => {
                IoDetachDevice(lower);
                IoDeleteDevice(device);
            }
        }
        status
    }
}
