//! A correct filter that bounces reads and writes through a buffer of its own and scrambles them on the way: what the
//! planted bugs of `planted_bounce` are small changes of. It is a driver, not a test of any one rule.
//!
//! # Invariants
//! * The original IRP is pending from dispatch until `finish`; the remove lock is held with it as tag meanwhile.
//! * The driver's own IRP, MDL, buffer and bounce record are freed in the completion routine.
//! * Dispatch comes at or below `APC_LEVEL`: the worlds that it is tested in are not hostile.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a raw driver is a run of kernel calls under one contract: that of the routine it is in"
)]
#![expect(clippy::cast_possible_truncation, reason = "constants of the headers are wider than the fields they go into")]

use core::ptr::null_mut;
use vck_ntsim::abi::*;

use crate::bugs::bugs;

bugs! {
    /// Nothing: the driver is correct.
    None,
    /// The buffer is executable pool.
    ExecutableBuffer,
    /// The buffer has no tag.
    UntaggedBuffer,
    /// A length of zero is asked for.
    EmptyBuffer,
    /// The buffer is both paged and non-paged.
    TwoPools,
    /// The buffer is freed twice.
    FreeTwice,
    /// The buffer is written after it was freed.
    WriteAfterFree,
    /// One byte more than the request's is scrambled.
    OneByteTooMany,
    /// The buffer is never freed.
    LeakBuffer,
    /// The data in the buffer is not wiped, although it is secret.
    KeepPlaintext,
    /// The original MDL is mapped a second time.
    MapTwice,
    /// Reads: the mapping that the data goes to is made without write access.
    MapReadOnly,
    /// The MDL of non-paged pool is mapped.
    MapNonPaged,
    /// The address in the MDL is used without a mapping.
    NoMapping,
    /// The mapping is used after it has ended.
    AfterUnmap,
    /// The original IRP is looked at after it was completed.
    TouchCompleted,
    /// The driver's IRP is looked at after it was sent.
    TouchSent,
    /// The extension is used after `IoDeleteDevice`.
    TouchDeleted,
    /// Writes go down as they are.
    WriteClear,
    /// Reads come up as they are.
    ReadScrambled,
    /// `IoCallDriver` under a spin lock.
    SendUnderLock,
    /// The completion routine returns with the IRQL raised.
    RaisedInRoutine,
    /// The spin lock is taken as if the caller were at `DISPATCH_LEVEL`.
    AtDpcLevel,
    /// The completion routine waits.
    WaitInRoutine,
    /// The spin lock is taken twice.
    LockTwice,
    /// The spin lock is released without being held.
    UnlockFree,
    /// Two spin locks are taken in one order here and in the other there.
    BothOrders,
    /// Dispatch returns inside a critical region.
    StayCritical,
    /// The bounce buffer is taken inside a critical region.
    AllocateInRegion,
    /// A fast mutex is taken with APCs enabled.
    UnsafeMutex,
    /// An event is used that was never initialised.
    RawEvent,
    /// Dispatch uses more stack than is left for it.
    DeepFrame,
    /// Dispatch waits for an event that nobody sets.
    WaitForEver,
    /// Dispatch polls an event that nobody sets.
    PollForEver,
    /// The remove lock is released with another tag.
    OtherTag,
    /// REMOVE waits for the remove lock twice.
    DrainTwice,
    /// Extended state is saved and not restored.
    KeepState,
    /// The driver's IRP is sent while extended state is saved.
    SendGuarded,
    /// Data is scrambled with AVX, outside of any guard.
    VectorScramble,
    /// A work item is queued twice.
    QueueTwice,
    /// An impossible case stops the machine.
    Stop,
    /// Power: waits for the drivers below.
    PowerWait,
    /// Power: delays.
    PowerDelay,
    /// The original IRP is forgotten once the data is there.
    ForgetOriginal,
    /// The original IRP is completed, and then again with the status that it should have had.
    CompleteAgain,
    /// The driver's MDL replaces the original's and stays.
    ReplaceMdl,
    /// The driver's own IRP has the driver's MDL, but the caller's buffer in `UserBuffer`.
    KeepUserBuffer,
}

const TAG: u32 = u32::from_le_bytes(*b"Bnce");
/// What every byte is scrambled with.
pub(crate) const MASK: u8 = 0xA5;

#[path = "bounce_io.rs"]
mod io;

use io::bounce;

#[repr(C)]
struct Extension {
    lower: PDEVICE_OBJECT,
    lock: IO_REMOVE_LOCK,
    first: KSPIN_LOCK,
    second: KSPIN_LOCK,
    event: KEVENT,
    raw: KEVENT,
    mutex: FAST_MUTEX,
    device: PDEVICE_OBJECT,
    bug: Bug,
}

/// The driver's entry point; the service's name says which bug it has.
pub(crate) unsafe extern "C" fn entry(driver: PDRIVER_OBJECT, path: PUNICODE_STRING) -> NTSTATUS {
    let mut block: PVOID = null_mut();
    // SAFETY: DriverEntry's arguments.
    unsafe {
        let status = IoAllocateDriverObjectExtension(driver, client(), size_of::<Bug>() as u32, &raw mut block);
        if !NT_SUCCESS(status) {
            return status;
        }
        block.cast::<Bug>().write(Bug::of(path));
        (*driver).MajorFunction = [Some(pass as _); 28];
        (*driver).MajorFunction[IRP_MJ_READ as usize] = Some(bounce);
        (*driver).MajorFunction[IRP_MJ_WRITE as usize] = Some(bounce);
        (*driver).MajorFunction[IRP_MJ_PNP as usize] = Some(pnp);
        (*driver).MajorFunction[IRP_MJ_POWER as usize] = Some(power);
        (*(*driver).DriverExtension).AddDevice = Some(add_device);
        (*driver).DriverUnload = Some(unload);
    }
    STATUS_SUCCESS
}

fn client() -> PVOID {
    entry as *const () as PVOID
}

unsafe extern "C" fn unload(_driver: PDRIVER_OBJECT) {}

unsafe extern "C" fn add_device(driver: PDRIVER_OBJECT, pdo: PDEVICE_OBJECT) -> NTSTATUS {
    // SAFETY: the kernel's arguments; the extension is complete before the device can be reached.
    unsafe {
        let bug = *IoGetDriverObjectExtension(driver, client()).cast::<Bug>();
        let mut filter: PDEVICE_OBJECT = null_mut();
        let size = size_of::<Extension>() as u32;
        let status = IoCreateDevice(driver, size, null_mut(), (*pdo).DeviceType, 0, 0, &raw mut filter);
        if !NT_SUCCESS(status) {
            return status;
        }
        let extension = (*filter).DeviceExtension.cast::<Extension>();
        (*extension).bug = bug;
        (*extension).device = filter;
        IoInitializeRemoveLockEx(&raw mut (*extension).lock, TAG, 0, 0, LOCK_SIZE);
        KeInitializeSpinLock(&raw mut (*extension).first);
        KeInitializeSpinLock(&raw mut (*extension).second);
        KeInitializeEvent(&raw mut (*extension).event, _EVENT_TYPE::NotificationEvent, 0);
        // The inline ExInitializeFastMutex.
        (*extension).mutex.Count = 1;
        (*filter).Flags |= (*pdo).Flags & (DO_DIRECT_IO | DO_BUFFERED_IO | DO_POWER_PAGABLE);
        let status = IoAttachDeviceToDeviceStackSafe(filter, pdo, &raw mut (*extension).lower);
        if !NT_SUCCESS(status) {
            IoDeleteDevice(filter);
            return status;
        }
        (*filter).Flags &= !DO_DEVICE_INITIALIZING;
        STATUS_SUCCESS
    }
}

const LOCK_SIZE: u32 = size_of::<IO_REMOVE_LOCK>() as u32;

/// Waits without a limit.
unsafe fn wait(event: *mut KEVENT) -> NTSTATUS {
    // SAFETY: the event lives in the extension.
    unsafe { KeWaitForSingleObject(event.cast(), 0, 0, 0, null_mut()) }
}

unsafe fn extension(device: PDEVICE_OBJECT) -> *mut Extension {
    // SAFETY: the caller passes one of this driver's devices.
    unsafe { (*device).DeviceExtension.cast() }
}

unsafe fn location(irp: PIRP) -> PIO_STACK_LOCATION {
    // SAFETY: the caller owns the IRP.
    unsafe { (*irp).Tail.Overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation }
}

unsafe fn skip(irp: PIRP) {
    // SAFETY: the caller owns the IRP.
    unsafe {
        (*irp).CurrentLocation += 1;
        (*irp).Tail.Overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation = location(irp).add(1);
    }
}

unsafe fn complete(irp: PIRP, status: NTSTATUS, information: ULONG_PTR) {
    // SAFETY: the caller owns the IRP and gives it up.
    unsafe {
        (*irp).IoStatus.__bindgen_anon_1.Status = status;
        (*irp).IoStatus.Information = information;
        IofCompleteRequest(irp, 0);
    }
}

unsafe fn acquire(extension: *mut Extension, irp: PIRP) -> NTSTATUS {
    // SAFETY: the extension lives while the device does.
    unsafe { IoAcquireRemoveLockEx(&raw mut (*extension).lock, irp.cast(), c"".as_ptr().cast(), 1, LOCK_SIZE) }
}

unsafe extern "C" fn pass(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: dispatch: device and IRP are this driver's.
    unsafe {
        let extension = extension(device);
        let status = acquire(extension, irp);
        if !NT_SUCCESS(status) {
            complete(irp, status, 0);
            return status;
        }
        let lower = (*extension).lower;
        skip(irp);
        let status = IofCallDriver(lower, irp);
        IoReleaseRemoveLockEx(&raw mut (*extension).lock, irp.cast(), LOCK_SIZE);
        status
    }
}

unsafe extern "C" fn power(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: as for `pass`.
    unsafe {
        let extension = extension(device);
        match (*extension).bug {
            Bug::PowerWait => {
                let _status = wait(&raw mut (*extension).event);
            }
            Bug::PowerDelay => {
                let mut time = LARGE_INTEGER { QuadPart: -10_000 };
                let _status = KeDelayExecutionThread(0, 0, &raw mut time);
            }
            _ => {}
        }
        pass(device, irp)
    }
}

unsafe extern "C" fn pnp(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: as for `pass`; REMOVE is the last request.
    unsafe {
        if (*extension(device)).bug == Bug::UnsafeMutex {
            ExAcquireFastMutexUnsafe(&raw mut (*extension(device)).mutex);
            ExReleaseFastMutexUnsafe(&raw mut (*extension(device)).mutex);
        }
        if u32::from((*location(irp)).MinorFunction) != IRP_MN_REMOVE_DEVICE {
            return pass(device, irp);
        }
        let extension = extension(device);
        let (lower, bug) = ((*extension).lower, (*extension).bug);
        let status = acquire(extension, irp);
        if !NT_SUCCESS(status) {
            complete(irp, status, 0);
            return status;
        }
        IoReleaseRemoveLockAndWaitEx(&raw mut (*extension).lock, irp.cast(), LOCK_SIZE);
        if bug == Bug::DrainTwice {
            IoReleaseRemoveLockAndWaitEx(&raw mut (*extension).lock, irp.cast(), LOCK_SIZE);
        }
        (*irp).IoStatus.__bindgen_anon_1.Status = STATUS_SUCCESS;
        skip(irp);
        let status = IofCallDriver(lower, irp);
        IoDetachDevice(lower);
        IoDeleteDevice(device);
        if bug == Bug::TouchDeleted {
            (&raw mut (*extension).first).write_volatile(1);
        }
        status
    }
}
