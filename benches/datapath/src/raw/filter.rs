//! Two volume filters to compare with. One passes everything through; one serves READ and WRITE one at a time on a thread of its own,
//! each waiting for the one before, which is how a filter without an own data path is commonly written.

use core::ffi::c_void;
use core::ptr::null_mut;
use vck_ntsim::abi::*;

use super::{ALWAYS, location, wake};

#[repr(C)]
pub(super) struct Extension {
    pub(super) lower: PDEVICE_OBJECT,
    lock: IO_REMOVE_LOCK,
    /// Of the serial filter alone: what waits, and its thread.
    queue: LIST_ENTRY,
    guard: KSPIN_LOCK,
    work: KEVENT,
    ending: bool,
    thread: PVOID,
}

const TAG: u32 = u32::from_le_bytes(*b"Bnch");

/// Entry point of the filter that passes everything through.
pub(crate) unsafe extern "C" fn pass_through(driver: PDRIVER_OBJECT, _: PUNICODE_STRING) -> NTSTATUS {
    // SAFETY: DriverEntry's driver object.
    unsafe { fill_in(driver, add_device) }
}

/// Entry point of the filter that serves one request at a time.
pub(crate) unsafe extern "C" fn serial(driver: PDRIVER_OBJECT, _: PUNICODE_STRING) -> NTSTATUS {
    // SAFETY: DriverEntry's driver object.
    unsafe {
        let status = fill_in(driver, add_serial_device);
        (*driver).MajorFunction[IRP_MJ_READ as usize] = Some(queue);
        (*driver).MajorFunction[IRP_MJ_WRITE as usize] = Some(queue);
        status
    }
}

type AddDevice = unsafe extern "C" fn(PDRIVER_OBJECT, PDEVICE_OBJECT) -> NTSTATUS;

pub(super) unsafe fn fill_in(driver: PDRIVER_OBJECT, add: AddDevice) -> NTSTATUS {
    // SAFETY: DriverEntry's driver object.
    unsafe {
        (*driver).MajorFunction = [Some(pass as _); 28];
        (*driver).MajorFunction[IRP_MJ_PNP as usize] = Some(pnp);
        (*(*driver).DriverExtension).AddDevice = Some(add);
        (*driver).DriverUnload = Some(unload);
    }
    STATUS_SUCCESS
}

unsafe extern "C" fn unload(_: PDRIVER_OBJECT) {}

pub(super) unsafe extern "C" fn add_device(driver: PDRIVER_OBJECT, physical: PDEVICE_OBJECT) -> NTSTATUS {
    // SAFETY: AddDevice's arguments; the extension is zeroed, and complete before the device is reachable.
    unsafe {
        let mut filter: PDEVICE_OBJECT = null_mut();
        let size = size_of::<Extension>() as u32;
        let status = IoCreateDevice(driver, size, null_mut(), (*physical).DeviceType, 0, 0, &raw mut filter);
        if !NT_SUCCESS(status) {
            return status;
        }
        let extension = (*filter).DeviceExtension.cast::<Extension>();
        IoInitializeRemoveLockEx(&raw mut (*extension).lock, TAG, 0, 0, size_of::<IO_REMOVE_LOCK>() as u32);
        (*filter).Flags |= (*physical).Flags & (DO_DIRECT_IO | DO_BUFFERED_IO | DO_POWER_PAGABLE);
        let status = IoAttachDeviceToDeviceStackSafe(filter, physical, &raw mut (*extension).lower);
        if !NT_SUCCESS(status) {
            IoDeleteDevice(filter);
            return status;
        }
        (*filter).Flags &= !DO_DEVICE_INITIALIZING;
    }
    STATUS_SUCCESS
}

unsafe extern "C" fn add_serial_device(driver: PDRIVER_OBJECT, physical: PDEVICE_OBJECT) -> NTSTATUS {
    // SAFETY: as above; the newest device of the driver is the one just added, and no request can have reached it.
    unsafe {
        let status = add_device(driver, physical);
        if !NT_SUCCESS(status) {
            return status;
        }
        let extension = (*(*driver).DeviceObject).DeviceExtension.cast::<Extension>();
        let head = &raw mut (*extension).queue;
        head.write(LIST_ENTRY { Flink: head, Blink: head });
        KeInitializeEvent(&raw mut (*extension).work, _EVENT_TYPE::SynchronizationEvent, 0);
        let mut handle: HANDLE = null_mut();
        let status = PsCreateSystemThread(
            &raw mut handle,
            THREAD_ALL_ACCESS,
            null_mut(),
            null_mut(),
            null_mut(),
            Some(serve),
            extension.cast(),
        );
        if !NT_SUCCESS(status) {
            return status;
        }
        let thread = &raw mut (*extension).thread;
        let status = ObReferenceObjectByHandle(handle, THREAD_ALL_ACCESS, null_mut(), 0, thread, null_mut());
        let _closed = ZwClose(handle);
        status
    }
}

pub(super) unsafe fn extension(device: PDEVICE_OBJECT) -> *mut Extension {
    // SAFETY: the caller passes one of this driver's filter devices.
    unsafe { (*device).DeviceExtension.cast() }
}

pub(super) unsafe fn acquire(extension: *mut Extension, irp: PIRP) -> NTSTATUS {
    let (file, size) = (c"bench".as_ptr().cast(), size_of::<IO_REMOVE_LOCK>() as u32);
    // SAFETY: the extension lives while the device does.
    unsafe { IoAcquireRemoveLockEx(&raw mut (*extension).lock, irp.cast(), file, 1, size) }
}

pub(super) unsafe fn release(extension: *mut Extension, irp: PIRP) {
    // SAFETY: acquired with this tag.
    unsafe { IoReleaseRemoveLockEx(&raw mut (*extension).lock, irp.cast(), size_of::<IO_REMOVE_LOCK>() as u32) }
}

unsafe fn skip_down(lower: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: the caller owns the IRP: IoSkipCurrentIrpStackLocation, IoCallDriver.
    unsafe {
        (*irp).CurrentLocation += 1;
        (*irp).Tail.Overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation = location(irp).add(1);
        IofCallDriver(lower, irp)
    }
}

pub(super) unsafe fn refuse(irp: PIRP, status: NTSTATUS) -> NTSTATUS {
    // SAFETY: the caller owns the IRP and gives it up.
    unsafe {
        (*irp).IoStatus.__bindgen_anon_1.Status = status;
        IofCompleteRequest(irp, 0);
    }
    status
}

unsafe extern "C" fn pass(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: dispatch: device and IRP are ours.
    unsafe {
        let extension = extension(device);
        let status = acquire(extension, irp);
        if !NT_SUCCESS(status) {
            return refuse(irp, status);
        }
        let status = skip_down((*extension).lower, irp);
        release(extension, irp);
        status
    }
}

unsafe extern "C" fn queue(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: dispatch: device and IRP are ours; the IRP's list entry belongs to its owner.
    unsafe {
        let extension = extension(device);
        let status = acquire(extension, irp);
        if !NT_SUCCESS(status) {
            return refuse(irp, status);
        }
        (*location(irp)).Control |= SL_PENDING_RETURNED as u8;
        let entry = &raw mut (*irp).Tail.Overlay.__bindgen_anon_2.ListEntry;
        let _before = ExInterlockedInsertTailList(&raw mut (*extension).queue, entry, &raw mut (*extension).guard);
        KeSetEvent(&raw mut (*extension).work, 0, 0);
    }
    STATUS_PENDING
}

/// The thread of the serial filter.
unsafe extern "C" fn serve(context: PVOID) {
    let extension = context.cast::<Extension>();
    // SAFETY: the extension lives until REMOVE has joined this thread; an IRP taken out of the queue is ours.
    unsafe {
        while !(&raw const (*extension).ending).read_volatile() {
            let entry = ExInterlockedRemoveHeadList(&raw mut (*extension).queue, &raw mut (*extension).guard);
            if entry.is_null() {
                let work = (&raw mut (*extension).work).cast();
                let _woken = KeWaitForSingleObject(work, _KWAIT_REASON::Executive, 0, 0, null_mut());
                continue;
            }
            let offset = core::mem::offset_of!(IRP, Tail.Overlay.__bindgen_anon_2.ListEntry);
            let irp = entry.byte_sub(offset).cast::<c_void>().cast::<IRP>();
            let _status = forward_and_wait((*extension).lower, irp);
            IofCompleteRequest(irp, 0);
            release(extension, irp);
        }
        let _ended = PsTerminateSystemThread(0);
    }
}

unsafe fn forward_and_wait(lower: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: PASSIVE_LEVEL; the caller owns the IRP; the event outlives the wait.
    unsafe {
        let mut event = KEVENT::default();
        KeInitializeEvent(&raw mut event, _EVENT_TYPE::NotificationEvent, 0);
        let (here, next) = (location(irp), location(irp).sub(1));
        next.write(here.read());
        (*next).CompletionRoutine = Some(wake);
        (*next).Context = (&raw mut event).cast();
        (*next).Control = ALWAYS;
        if IofCallDriver(lower, irp) == STATUS_PENDING {
            let _done = KeWaitForSingleObject((&raw mut event).cast(), _KWAIT_REASON::Executive, 0, 0, null_mut());
        }
        (*irp).IoStatus.__bindgen_anon_1.Status
    }
}

unsafe extern "C" fn pnp(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: PnP comes at PASSIVE_LEVEL; as for `pass`.
    unsafe {
        let extension = extension(device);
        let lower = (*extension).lower;
        if u32::from((*location(irp)).MinorFunction) != IRP_MN_REMOVE_DEVICE {
            return pass(device, irp);
        }
        let status = acquire(extension, irp);
        if !NT_SUCCESS(status) {
            return refuse(irp, status);
        }
        IoReleaseRemoveLockAndWaitEx(&raw mut (*extension).lock, irp.cast(), size_of::<IO_REMOVE_LOCK>() as u32);
        let thread = (*extension).thread;
        if !thread.is_null() {
            (&raw mut (*extension).ending).write_volatile(true);
            KeSetEvent(&raw mut (*extension).work, 0, 0);
            let _ended = KeWaitForSingleObject(thread, _KWAIT_REASON::Executive, 0, 0, null_mut());
            ObfDereferenceObject(thread);
        }
        (*irp).IoStatus.__bindgen_anon_1.Status = STATUS_SUCCESS;
        let status = skip_down(lower, irp);
        IoDetachDevice(lower);
        IoDeleteDevice(device);
        status
    }
}
