//! READ and WRITE requests as another driver may send them to the top of a volume's stack: any offset, any length, any MDL.
//!
//! Programs and file systems keep most of these away; drivers do not. This is the one module of the package with `unsafe` code.
//!
//! # Ownership
//! Everything is allocated and freed here. A request is ours again when its completion routine has run, because that keeps it.

#![cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "the kernel's names, as a driver sees them"))]
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "a raw request is a run of kernel calls under one contract: everything named in them is made in `run`"
)]

use std::ptr::null_mut;
use std::sync::{Arc, Mutex, PoisonError};

use vck_common::NtStatus;
use vck_ntsim::abi::*;
use vck_ntsim::as_host;

use crate::Bench;

/// How the buffer of a raw request is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawMdl {
    /// Exactly the request.
    Whole,
    /// More than the request.
    Long,
    /// A sector less than the request.
    Short,
    /// Not at all.
    Missing,
    /// By two MDLs in a chain.
    Chained,
}

/// A READ or WRITE to be sent.
#[derive(Clone, Copy, Debug)]
pub struct RawIo {
    /// WRITE instead of READ.
    pub write: bool,
    /// Says that it comes from a program.
    pub user_mode: bool,
    /// Says that it is paging I/O.
    pub paging: bool,
    /// Byte offset.
    pub offset: i64,
    /// Length in bytes.
    pub length: u32,
    /// Description of the buffer.
    pub mdl: RawMdl,
    /// What the buffer is filled with.
    pub fill: u8,
}

impl RawIo {
    /// A kernel-mode READ.
    #[must_use]
    pub fn read(offset: i64, length: u32) -> Self {
        Self { write: false, user_mode: false, paging: false, offset, length, mdl: RawMdl::Whole, fill: 0xEE }
    }

    /// A kernel-mode WRITE of bytes `fill`.
    #[must_use]
    pub fn write(offset: i64, length: u32, fill: u8) -> Self {
        Self { write: true, fill, ..Self::read(offset, length) }
    }

    /// The same from a program.
    #[must_use]
    pub fn from_user(self) -> Self {
        Self { user_mode: true, ..self }
    }

    /// The same as paging I/O.
    #[must_use]
    pub fn paging(self) -> Self {
        Self { paging: true, ..self }
    }

    /// The same with another description of the buffer.
    #[must_use]
    pub fn described(self, mdl: RawMdl) -> Self {
        Self { mdl, ..self }
    }
}

/// What a raw request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawReply {
    /// Final status.
    pub status: NtStatus,
    /// Bytes transferred.
    pub information: u64,
    /// The buffer afterwards.
    pub data: Vec<u8>,
}

impl Bench {
    /// Sends a request to the top of the volume's stack from a driver's thread and waits for it.
    ///
    /// # Panics
    /// If the volume cannot be found or the world stopped.
    #[must_use]
    pub fn send_raw(&self, request: RawIo) -> RawReply {
        let slot = Arc::new(Mutex::new(None));
        let out = Arc::clone(&slot);
        let name: Vec<u16> = self.path().encode_utf16().collect();
        let returned = self.world.run_driver("raw request", move || {
            let reply = run(&name, &request);
            as_host(|| *out.lock().unwrap_or_else(PoisonError::into_inner) = reply);
        });
        self.world.assert_clean();
        assert!(returned, "the thread that sent {request:?} never came back");
        let reply = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        reply.expect("the volume's stack is found")
    }
}

const TAG: u32 = u32::from_le_bytes(*b"Rawt");
/// Room around every buffer, so that an MDL may also say more than the request.
const SPARE: usize = 8192;
/// The longest buffer that is really there; longer requests must be refused for their range.
const LONGEST: u32 = 2 << 20;

fn run(name: &[u16], request: &RawIo) -> Option<RawReply> {
    let bytes = u16::try_from(name.len() * 2).ok()?;
    let mut name = UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: name.as_ptr().cast_mut() };
    let (mut file, mut device) = (null_mut(), null_mut());
    // SAFETY: PASSIVE_LEVEL on a system thread; all pointers outlive the call.
    let status =
        unsafe { IoGetDeviceObjectPointer(&raw mut name, FILE_READ_ATTRIBUTES, &raw mut file, &raw mut device) };
    if status != STATUS_SUCCESS {
        return None;
    }
    let reply = send(device, request);
    // SAFETY: the reference that the routine above took.
    unsafe { ObfDereferenceObject(file.cast()) };
    Some(reply)
}

fn send(device: PDEVICE_OBJECT, request: &RawIo) -> RawReply {
    let length = request.length.min(LONGEST);
    let room = length as usize + SPARE;
    // SAFETY: PASSIVE_LEVEL; the block is ours and has `room` bytes.
    let buffer = unsafe {
        let buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, room as SIZE_T, TAG);
        buffer.cast::<u8>().write_bytes(request.fill, room);
        buffer
    };
    let (first, second) = describe(buffer, length, request.mdl);
    // SAFETY: a live device; a fresh IRP with as many locations as its stack needs, so there is a next one.
    let (irp, event) = unsafe {
        let irp = IoAllocateIrp((*device).StackSize, 0);
        let event = ExAllocatePool2(POOL_FLAG_NON_PAGED, size_of::<KEVENT>() as SIZE_T, TAG).cast::<KEVENT>();
        KeInitializeEvent(event, _EVENT_TYPE::NotificationEvent, 0);
        (irp, event)
    };
    fill_in(irp, request, first, event.cast());
    // SAFETY: ours and complete; the event and the buffer live until the request is over.
    let (status, information) = unsafe {
        if IofCallDriver(device, irp) == STATUS_PENDING {
            let _ = KeWaitForSingleObject(event.cast(), 0, 0, 0, null_mut());
        }
        assert!((*irp).MdlAddress == first && (*irp).UserBuffer == virtual_address(first), "not as it was sent");
        ((*irp).IoStatus.__bindgen_anon_1.Status, (*irp).IoStatus.Information)
    };
    // SAFETY: the buffer has at least `length` bytes and nobody uses it any more.
    let data = as_host(|| unsafe { std::slice::from_raw_parts(buffer.cast::<u8>(), length as usize) }.to_vec());
    for mdl in [second, first].into_iter().filter(|mdl| !mdl.is_null()) {
        // SAFETY: allocated in `describe`, of non-paged pool, which needs no unlocking.
        unsafe { IoFreeMdl(mdl) };
    }
    // SAFETY: all of them ours, and the request is over.
    unsafe {
        IoFreeIrp(irp);
        ExFreePoolWithTag(event.cast(), TAG);
        ExFreePoolWithTag(buffer, TAG);
    }
    RawReply { status: NtStatus(status), information, data }
}

/// The MDLs of a request: the first one, and the one chained to it.
fn describe(buffer: PVOID, length: u32, shape: RawMdl) -> (PMDL, PMDL) {
    let make = |from: u32, bytes: u32| {
        let start = buffer.cast::<u8>().wrapping_add(from as usize);
        // SAFETY: a part of a live block of non-paged pool.
        unsafe {
            let mdl = IoAllocateMdl(start.cast(), bytes.max(1), 0, 0, null_mut());
            MmBuildMdlForNonPagedPool(mdl);
            mdl
        }
    };
    match shape {
        RawMdl::Whole => (make(0, length), null_mut()),
        RawMdl::Long => (make(0, length + 4096), null_mut()),
        RawMdl::Short => (make(0, length.saturating_sub(512)), null_mut()),
        RawMdl::Missing => (null_mut(), null_mut()),
        RawMdl::Chained => {
            let half = length / 2;
            let (first, second) = (make(0, half), make(half, length - half));
            // SAFETY: ours.
            unsafe { (*first).Next = second };
            (first, second)
        }
    }
}

/// `MmGetMdlVirtualAddress`. Those who send paging writes put it into UserBuffer.
fn virtual_address(mdl: PMDL) -> PVOID {
    // SAFETY: null or an MDL of ours.
    unsafe { mdl.as_ref() }.map_or(null_mut(), |mdl| mdl.StartVa.wrapping_byte_add(mdl.ByteOffset as usize))
}

fn fill_in(irp: PIRP, request: &RawIo, mdl: PMDL, event: PVOID) {
    let major = if request.write { IRP_MJ_WRITE } else { IRP_MJ_READ };
    let paging = IRP_NOCACHE | IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO;
    // SAFETY: a fresh IRP that is ours, with a next location.
    unsafe {
        (*irp).MdlAddress = mdl;
        (*irp).UserBuffer = virtual_address(mdl);
        (*irp).Flags = if request.paging { paging } else { IRP_NOCACHE };
        (*irp).RequestorMode = i8::from(request.user_mode);
        let current = (*irp).Tail.Overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation;
        let next = &mut *current.sub(1);
        next.MajorFunction = u8::try_from(major).unwrap_or(0);
        // A raw write under a mounted file system says that it knows what it does.
        next.Flags = u8::try_from(SL_FORCE_DIRECT_WRITE).unwrap_or(0);
        next.Parameters.Read.Length = request.length;
        next.Parameters.Read.ByteOffset = LARGE_INTEGER { QuadPart: request.offset };
        next.CompletionRoutine = Some(wake);
        next.Context = event;
        next.Control = u8::try_from(SL_INVOKE_ON_SUCCESS | SL_INVOKE_ON_ERROR | SL_INVOKE_ON_CANCEL).unwrap_or(0);
    }
}

/// Wakes the sender, who keeps the request.
unsafe extern "C" fn wake(_: PDEVICE_OBJECT, irp: PIRP, event: PVOID) -> NTSTATUS {
    // SAFETY: ours during the routine; the context is the sender's event.
    unsafe {
        if (*irp).PendingReturned != 0 {
            KeSetEvent(event.cast(), 0, 0);
        }
    }
    STATUS_MORE_PROCESSING_REQUIRED
}
