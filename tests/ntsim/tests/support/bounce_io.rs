//! Reads and writes of the bounce filter.

use super::*;

const NO_EXECUTE: u32 = 0x4000_0000;
const NO_WRITE: u32 = 0x8000_0000;

/// One request under way.
#[repr(C)]
struct Bounce {
    extension: *mut Extension,
    original: PIRP,
    buffer: PVOID,
    mdl: PMDL,
    length: u32,
    write: bool,
}

unsafe fn scramble(data: PVOID, length: usize) {
    for at in 0..length {
        let byte = data.cast::<u8>().wrapping_add(at);
        // SAFETY: the caller's buffer has `length` bytes.
        unsafe { byte.write(byte.read() ^ MASK) };
    }
}

/// [`scramble`], as a compiler makes it from code for AVX.
unsafe fn scramble_by_vector(data: PVOID, length: usize) {
    let mask = [MASK; 32];
    for at in (0..length / 32 * 32).step_by(32) {
        // SAFETY: the host has AVX; the caller's buffer has `length` bytes; upper halves are cleared at the end, as
        // compiled code does.
        unsafe {
            core::arch::asm!(
                "vmovups ymm0, [{data}]",
                "vxorps ymm0, ymm0, [{mask}]",
                "vmovups [{data}], ymm0",
                "vzeroupper",
                data = in(reg) data.cast::<u8>().wrapping_add(at),
                mask = in(reg) mask.as_ptr(),
                out("xmm0") _,
                options(nostack),
            );
        }
    }
}

unsafe fn buffer_for(bug: Bug, length: u32) -> PVOID {
    let (flags, bytes, tag) = match bug {
        Bug::ExecutableBuffer => (POOL_FLAG_NON_PAGED_EXECUTE, length, TAG),
        Bug::UntaggedBuffer => (POOL_FLAG_NON_PAGED, length, 0),
        Bug::EmptyBuffer => (POOL_FLAG_NON_PAGED, 0, TAG),
        Bug::TwoPools => (POOL_FLAG_NON_PAGED | POOL_FLAG_PAGED, length, TAG),
        _ => (POOL_FLAG_NON_PAGED, length, TAG),
    };
    // SAFETY: at or below DISPATCH_LEVEL.
    unsafe { ExAllocatePool2(flags, u64::from(bytes), tag) }
}

/// Copies between the original's pages and the buffer; false when they cannot be mapped.
unsafe fn copy(bounce: *mut Bounce, to_original: bool) -> bool {
    // SAFETY: the bounce record is complete and this code's; the original IRP is this driver's.
    unsafe {
        let (mdl, bug) = ((*(*bounce).original).MdlAddress, (*(*bounce).extension).bug);
        let read_only = !to_original || bug == Bug::MapReadOnly;
        let priority = 16 | NO_EXECUTE | if read_only { NO_WRITE } else { 0 };
        let target = if bug == Bug::MapNonPaged { (*bounce).mdl } else { mdl };
        let mut mapped = if bug == Bug::NoMapping {
            (*mdl).StartVa.cast::<u8>().wrapping_add((*mdl).ByteOffset as usize).cast()
        } else {
            MmMapLockedPagesSpecifyCache(target, 0, 1, null_mut(), 0, priority)
        };
        if mapped.is_null() {
            return false;
        }
        if bug == Bug::MapTwice {
            mapped = MmMapLockedPagesSpecifyCache(target, 0, 1, null_mut(), 0, priority);
        }
        let (from, to) = if to_original { ((*bounce).buffer, mapped) } else { (mapped, (*bounce).buffer) };
        core::ptr::copy(from.cast::<u8>(), to.cast::<u8>(), (*bounce).length as usize);
        MmUnmapLockedPages(mapped, mdl);
        if bug == Bug::AfterUnmap {
            core::hint::black_box(mapped.cast::<u8>().read_volatile());
        }
    }
    true
}

/// What some bugs do on the way in.
unsafe fn plant_at_dispatch(extension: *mut Extension) {
    // SAFETY: the extension is complete; each arm breaks one contract on purpose.
    unsafe {
        let (first, second) = (&raw mut (*extension).first, &raw mut (*extension).second);
        match (*extension).bug {
            Bug::AtDpcLevel => KeAcquireSpinLockAtDpcLevel(first),
            Bug::LockTwice => {
                KeAcquireSpinLockRaiseToDpc(first);
                KeAcquireSpinLockRaiseToDpc(first);
            }
            Bug::UnlockFree => {
                let old = KeAcquireSpinLockRaiseToDpc(first);
                KeReleaseSpinLock(second, old);
            }
            Bug::BothOrders => both(first, second),
            Bug::AllocateInRegion => KeEnterCriticalRegion(),
            Bug::RawEvent => {
                KeSetEvent(&raw mut (*extension).raw, 0, 0);
            }
            Bug::WaitForEver => {
                let _status = wait(&raw mut (*extension).event);
            }
            Bug::PollForEver => while KeReadStateEvent(&raw mut (*extension).event) == 0 {},
            Bug::KeepState => {
                let mut state = XSTATE_SAVE::default();
                let _status = KeSaveExtendedProcessorState(4, &raw mut state);
            }
            Bug::QueueTwice => {
                let item = IoAllocateWorkItem((*extension).device);
                let old = KeAcquireSpinLockRaiseToDpc(first);
                IoQueueWorkItem(item, Some(worker), 1, null_mut());
                IoQueueWorkItem(item, Some(worker), 1, null_mut());
                KeReleaseSpinLock(first, old);
            }
            Bug::Stop => KeBugCheckEx(0xE2, 0, 0, 0, 0),
            _ => {}
        }
    }
}

unsafe fn both(first: *mut KSPIN_LOCK, second: *mut KSPIN_LOCK) {
    // SAFETY: both locks are initialised.
    unsafe {
        let old = KeAcquireSpinLockRaiseToDpc(first);
        KeAcquireSpinLockAtDpcLevel(second);
        KeReleaseSpinLockFromDpcLevel(second);
        KeReleaseSpinLock(first, old);
    }
}

unsafe extern "C" fn worker(_device: PDEVICE_OBJECT, _context: PVOID) {}

pub(super) unsafe extern "C" fn bounce(device: PDEVICE_OBJECT, irp: PIRP) -> NTSTATUS {
    // SAFETY: dispatch: device and IRP are this driver's.
    unsafe {
        let extension = extension(device);
        let length = (*location(irp)).Parameters.Read.Length;
        if length == 0 || (*irp).MdlAddress.is_null() {
            return pass(device, irp);
        }
        let status = acquire(extension, irp);
        if !NT_SUCCESS(status) {
            complete(irp, status, 0);
            return status;
        }
        plant_at_dispatch(extension);
        if (*extension).bug == Bug::DeepFrame {
            let frame = core::hint::black_box([1_u8; 4096]);
            let status = start(extension, irp, length);
            core::hint::black_box(&frame);
            return status;
        }
        let stays = (*extension).bug == Bug::StayCritical;
        let status = start(extension, irp, length);
        if stays {
            KeEnterCriticalRegion();
        }
        status
    }
}

unsafe fn start(extension: *mut Extension, irp: PIRP, length: u32) -> NTSTATUS {
    // SAFETY: the remove lock is held for this IRP, which is this driver's.
    unsafe {
        (*location(irp)).Control |= SL_PENDING_RETURNED as u8;
        let write = u32::from((*location(irp)).MajorFunction) == IRP_MJ_WRITE;
        let bug = (*extension).bug;
        let record = ExAllocatePool2(POOL_FLAG_NON_PAGED, size_of::<Bounce>() as u64, TAG).cast::<Bounce>();
        let buffer = buffer_for(bug, length);
        let mdl = IoAllocateMdl(buffer, length, 0, 0, null_mut());
        let own = IoAllocateIrp((*(*extension).lower).StackSize, 0);
        MmBuildMdlForNonPagedPool(mdl);
        record.write(Bounce { extension, original: irp, buffer, mdl, length, write });
        if write {
            if !copy(record, false) {
                free(record, own);
                finish(extension, irp, STATUS_INSUFFICIENT_RESOURCES, 0);
                return STATUS_PENDING;
            }
            if bug == Bug::VectorScramble {
                scramble_by_vector(buffer, length as usize);
            } else if bug != Bug::WriteClear {
                scramble(buffer, length as usize + usize::from(bug == Bug::OneByteTooMany));
            }
        }
        (*own).MdlAddress = mdl;
        if bug == Bug::ReplaceMdl {
            (*irp).MdlAddress = mdl;
        }
        if bug == Bug::KeepUserBuffer {
            let whole = &*(*irp).MdlAddress;
            (*own).UserBuffer = whole.StartVa.cast::<u8>().wrapping_add(whole.ByteOffset as usize).cast();
        }
        let next = location(own).sub(1);
        (*next).MajorFunction = (*location(irp)).MajorFunction;
        (*next).FileObject = (*location(irp)).FileObject;
        (*own).Flags = (*irp).Flags;
        (*next).Parameters.Read = (*location(irp)).Parameters.Read;
        (*next).CompletionRoutine = Some(bounced);
        (*next).Context = record.cast();
        (*next).Control = (SL_INVOKE_ON_SUCCESS | SL_INVOKE_ON_ERROR | SL_INVOKE_ON_CANCEL) as u8;
        send(extension, own);
    }
    STATUS_PENDING
}

unsafe fn send(extension: *mut Extension, own: PIRP) {
    // SAFETY: the IRP is complete; from here it is the lower driver's, whatever the status.
    unsafe {
        let bug = (*extension).bug;
        let lower = (*extension).lower;
        if bug == Bug::SendUnderLock {
            let old = KeAcquireSpinLockRaiseToDpc(&raw mut (*extension).first);
            let _status = IofCallDriver(lower, own);
            KeReleaseSpinLock(&raw mut (*extension).first, old);
            return;
        }
        if bug == Bug::SendGuarded {
            let mut state = XSTATE_SAVE::default();
            let _saved = KeSaveExtendedProcessorState(2, &raw mut state);
            let _sent = IofCallDriver(lower, own);
            KeRestoreExtendedProcessorState(&raw mut state);
            return;
        }
        let _status = IofCallDriver(lower, own);
        if bug == Bug::TouchSent {
            core::hint::black_box((&raw const (*own).IoStatus.Information).read_volatile());
        }
    }
}

unsafe fn free(record: *mut Bounce, own: PIRP) {
    // SAFETY: the request is over; all of this is the driver's own.
    unsafe {
        let bug = (*(*record).extension).bug;
        let (buffer, length) = ((*record).buffer, (*record).length as usize);
        IoFreeMdl((*record).mdl);
        if bug != Bug::KeepPlaintext {
            core::ptr::write_bytes(buffer.cast::<u8>(), 0, length);
        }
        if bug != Bug::LeakBuffer {
            ExFreePoolWithTag(buffer, TAG);
        }
        match bug {
            Bug::FreeTwice => ExFreePoolWithTag(buffer, TAG),
            Bug::WriteAfterFree => buffer.cast::<u8>().write_volatile(0),
            _ => {}
        }
        ExFreePoolWithTag(record.cast(), TAG);
        IoFreeIrp(own);
    }
}

unsafe fn finish(extension: *mut Extension, irp: PIRP, status: NTSTATUS, information: ULONG_PTR) {
    // SAFETY: the original is this driver's and given up here; the remove lock is held with it as tag.
    unsafe {
        let bug = (*extension).bug;
        let tag: PVOID = if bug == Bug::OtherTag { extension.cast() } else { irp.cast() };
        if bug != Bug::ForgetOriginal {
            complete(irp, status, information);
        }
        if bug == Bug::CompleteAgain {
            complete(irp, STATUS_UNSUCCESSFUL, 0);
        }
        if bug == Bug::TouchCompleted {
            (&raw mut (*irp).IoStatus.Information).write_volatile(0);
        }
        IoReleaseRemoveLockEx(&raw mut (*extension).lock, tag, LOCK_SIZE);
    }
}

unsafe extern "C" fn bounced(_device: PDEVICE_OBJECT, own: PIRP, context: PVOID) -> NTSTATUS {
    // SAFETY: the context is the record of this request; the IRP is this driver's again.
    unsafe {
        let record = context.cast::<Bounce>();
        let (extension, original) = ((*record).extension, (*record).original);
        let bug = (*extension).bug;
        match bug {
            Bug::WaitInRoutine => {
                let _status = wait(&raw mut (*extension).event);
            }
            Bug::BothOrders => both(&raw mut (*extension).second, &raw mut (*extension).first),
            _ => {}
        }
        let mut status = (*own).IoStatus.__bindgen_anon_1.Status;
        let mut information = (*own).IoStatus.Information;
        if NT_SUCCESS(status) && !(*record).write {
            if bug != Bug::ReadScrambled {
                scramble((*record).buffer, (*record).length as usize);
            }
            if !copy(record, true) {
                (status, information) = (STATUS_INSUFFICIENT_RESOURCES, 0);
            }
        }
        free(record, own);
        finish(extension, original, status, information);
        if bug == Bug::RaisedInRoutine {
            KfRaiseIrql(3);
        }
    }
    STATUS_MORE_PROCESSING_REQUIRED
}
