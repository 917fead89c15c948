//! A load: one driver thread that keeps so many requests outstanding at the top of a volume's stack.
//!
//! # Ownership
//! IRPs, MDLs and buffers are made before the clock runs and used again for every request, so that the cost measured is the stack's.
//! A slot belongs to the thread, except between `IofCallDriver` and its completion routine, which sets the slot's bit.

use core::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use vck_ntsim::abi::*;
use vck_ntsim::{World, as_host};

use super::{ALWAYS, location, preemptions, thread_time};

/// Where the requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Each to a block drawn from the seed.
    Random(u64),
    /// One block after the other, around and around.
    Sequential,
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// WRITE instead of READ.
    pub(crate) write: bool,
    /// Bytes of each request.
    pub(crate) block: u32,
    /// Requests outstanding at a time, at most 64.
    pub(crate) depth: usize,
    /// Requests in all.
    pub(crate) count: u64,
    /// First byte of the range that they go to.
    pub(crate) from: u64,
    /// Bytes of that range.
    pub(crate) span: u64,
    /// Order.
    pub(crate) pattern: Pattern,
}

/// Hands out block numbers.
struct Order {
    pattern: Pattern,
    blocks: u64,
    state: u64,
}

impl Order {
    fn next(&mut self) -> u64 {
        let number = self.state;
        self.state = number.wrapping_add(1);
        match self.pattern {
            Pattern::Sequential => number % self.blocks,
            // SplitMix64.
            Pattern::Random(seed) => {
                let mixed = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
                let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                (mixed ^ (mixed >> 31)) % self.blocks
            }
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Nanoseconds from the first request to the last completion: virtual in a deterministic world, else real.
    pub(crate) elapsed: u64,
    /// Nanoseconds that the load's thread was running on a processor; with a device that answers inside the call that is all the work
    /// there is. Real time in every world.
    pub(crate) processor: u64,
    /// Nanoseconds of real time.
    pub(crate) wall: u64,
    /// How often the load's thread lost its processor to another.
    pub(crate) preemptions: u64,
    /// Nanoseconds of each request.
    pub(crate) latencies: Vec<u64>,
    /// Requests that failed.
    pub(crate) failed: u64,
}

/// The most requests that one load keeps outstanding.
const MOST: usize = 64;
const TAG: u32 = u32::from_le_bytes(*b"Load");

/// Shared by the slots' completion routines and the thread.
#[repr(C)]
struct Shared {
    done: AtomicU64,
    event: KEVENT,
}

/// One request in the making.
#[derive(Clone, Copy)]
#[repr(C)]
struct Slot {
    shared: *mut Shared,
    index: u32,
    irp: PIRP,
    mdl: PMDL,
    buffer: PVOID,
    started: u64,
}

/// Puts `load` on the volume and waits for its end.
///
/// # Panics
/// If the volume is not found or the world stops.
pub(crate) fn run(world: &World, volume: &str, load: Load) -> Outcome {
    let slot = Arc::new(Mutex::new(None));
    let out = Arc::clone(&slot);
    let name: Vec<u16> = volume.encode_utf16().collect();
    let returned = world.run_driver("load", move || {
        let outcome = with_device(&name, |device| drive(device, &load));
        as_host(|| *out.lock().unwrap_or_else(PoisonError::into_inner) = outcome);
    });
    world.assert_clean();
    assert!(returned, "the load never came back");
    let outcome = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    outcome.expect("the volume's stack is found")
}

/// Puts the loads that `next` gives on the volume, one after the other, and tells `done` what came of each, until there is none.
/// Everything is done on one thread of the host.
///
/// # Panics
/// If the volume is not found or the world stops.
pub(crate) fn serve(
    world: &World,
    volume: &str,
    mut next: impl FnMut() -> Option<Load> + Send + 'static,
    mut done: impl FnMut(Outcome) + Send + 'static,
) {
    let name: Vec<u16> = volume.encode_utf16().collect();
    let returned = world.run_driver("load", move || {
        let found = with_device(&name, |device| {
            while let Some(load) = as_host(&mut next) {
                let outcome = drive(device, &load);
                as_host(|| done(outcome));
            }
        });
        assert!(found.is_some(), "the volume's stack is found");
        // They are the host's.
        as_host(|| drop((next, done)));
    });
    world.assert_clean();
    assert!(returned, "the load never came back");
}

fn with_device<R>(name: &[u16], body: impl FnOnce(PDEVICE_OBJECT) -> R) -> Option<R> {
    let bytes = u16::try_from(name.len() * 2).ok()?;
    let mut name = UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: name.as_ptr().cast_mut() };
    let (mut file, mut device) = (null_mut(), null_mut());
    // SAFETY: PASSIVE_LEVEL on a system thread; all pointers outlive the call.
    let status =
        unsafe { IoGetDeviceObjectPointer(&raw mut name, FILE_READ_ATTRIBUTES, &raw mut file, &raw mut device) };
    if status != STATUS_SUCCESS {
        return None;
    }
    let result = body(device);
    // SAFETY: the reference that the routine above took.
    unsafe { ObfDereferenceObject(file.cast()) };
    Some(result)
}

/// Nanoseconds of the world's clock.
fn now() -> u64 {
    let mut rate = LARGE_INTEGER { QuadPart: 0 };
    // SAFETY: any IRQL; plain integers.
    let (ticks, rate) = unsafe { (KeQueryPerformanceCounter(&raw mut rate).QuadPart, rate.QuadPart) };
    let nanos = i128::from(ticks) * 1_000_000_000 / i128::from(rate.max(1));
    u64::try_from(nanos).unwrap_or(0)
}

fn drive(device: PDEVICE_OBJECT, load: &Load) -> Outcome {
    let depth = load.depth.clamp(1, MOST);
    // SAFETY: PASSIVE_LEVEL; the block is ours, zeroed, and freed below.
    let shared = unsafe {
        let shared = ExAllocatePool2(POOL_FLAG_NON_PAGED, size_of::<Shared>() as SIZE_T, TAG).cast::<Shared>();
        KeInitializeEvent(&raw mut (*shared).event, _EVENT_TYPE::SynchronizationEvent, 0);
        shared
    };
    let mut slots: [Option<Slot>; MOST] = [None; MOST];
    for (index, slot) in slots.iter_mut().enumerate().take(depth) {
        *slot = Some(make(device, shared, index as u32, load.block));
    }
    let outcome = send_all(device, shared, &mut slots, load, depth);
    for slot in slots.into_iter().flatten() {
        // SAFETY: ours, and over.
        unsafe {
            IoFreeMdl(slot.mdl);
            IoFreeIrp(slot.irp);
            ExFreePoolWithTag(slot.buffer, TAG);
        }
    }
    // SAFETY: ours; no request is left that could signal it.
    unsafe { ExFreePoolWithTag(shared.cast(), TAG) };
    outcome
}

fn make(device: PDEVICE_OBJECT, shared: *mut Shared, index: u32, block: u32) -> Slot {
    // SAFETY: PASSIVE_LEVEL; a live device; the MDL describes the block of non-paged pool.
    unsafe {
        let buffer = ExAllocatePool2(POOL_FLAG_NON_PAGED, SIZE_T::from(block), TAG);
        buffer.cast::<u8>().write_bytes(0x5A, block as usize);
        let mdl = IoAllocateMdl(buffer, block, 0, 0, null_mut());
        MmBuildMdlForNonPagedPool(mdl);
        let irp = IoAllocateIrp((*device).StackSize, 0);
        Slot { shared, index, irp, mdl, buffer, started: 0 }
    }
}

fn send_all(
    device: PDEVICE_OBJECT,
    shared: *mut Shared,
    slots: &mut [Option<Slot>; MOST],
    load: &Load,
    depth: usize,
) -> Outcome {
    let blocks = (load.span / u64::from(load.block)).max(1);
    let mut order = Order { pattern: load.pattern, blocks, state: 0 };
    let mut outcome = as_host(|| Outcome {
        latencies: Vec::with_capacity(usize::try_from(load.count).unwrap_or(0)),
        ..Outcome::default()
    });
    let (mut sent, mut ended) = (0_u64, 0_u64);
    let before = as_host(|| (Instant::now(), preemptions(), thread_time()));
    let begin = now();
    let mut ready = if depth >= 64 { u64::MAX } else { (1 << depth) - 1 };
    while ended < load.count {
        while ready != 0 {
            let index = ready.trailing_zeros() as usize;
            ready &= ready - 1;
            let Some(slot) = slots[index].as_mut() else { continue };
            if slot.started != 0 {
                // SAFETY: over, so ours.
                let status = unsafe { (*slot.irp).IoStatus.__bindgen_anon_1.Status };
                outcome.failed += u64::from(!NT_SUCCESS(status));
                outcome.latencies.push(now().saturating_sub(slot.started));
                ended += 1;
                slot.started = 0;
            }
            if sent < load.count {
                let block = order.next();
                sent += 1;
                slot.started = now().max(1);
                send(device, slot, load, load.from + block * u64::from(load.block));
            }
        }
        // SAFETY: live until all is over.
        ready = unsafe { (*shared).done.swap(0, Ordering::AcqRel) };
        if ready == 0 && ended < load.count {
            // SAFETY: as above; PASSIVE_LEVEL.
            unsafe {
                let event = (&raw mut (*shared).event).cast();
                let _woken = KeWaitForSingleObject(event, _KWAIT_REASON::Executive, 0, 0, null_mut());
            }
        }
    }
    outcome.elapsed = now().saturating_sub(begin);
    let (began, preempted, busy) = before;
    as_host(|| {
        outcome.processor = thread_time().saturating_sub(busy);
        outcome.preemptions = preemptions().saturating_sub(preempted);
        outcome.wall = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    });
    outcome
}

fn send(device: PDEVICE_OBJECT, slot: &mut Slot, load: &Load, offset: u64) {
    let major = if load.write { IRP_MJ_WRITE } else { IRP_MJ_READ };
    // SAFETY: ours and over; reused with the MDL of its own buffer. The slot stays where it is until the load is over.
    unsafe {
        IoReuseIrp(slot.irp, STATUS_NOT_SUPPORTED);
        (*slot.irp).MdlAddress = slot.mdl;
        (*slot.irp).Flags = IRP_NOCACHE;
        let next = &mut *location(slot.irp).sub(1);
        next.MajorFunction = major as u8;
        next.Flags = SL_FORCE_DIRECT_WRITE as u8;
        next.Parameters.Read.Length = load.block;
        next.Parameters.Read.ByteOffset = LARGE_INTEGER { QuadPart: offset.cast_signed() };
        next.CompletionRoutine = Some(over);
        next.Context = (&raw mut *slot).cast();
        next.Control = ALWAYS;
        let _status = IofCallDriver(device, slot.irp);
    }
}

/// Tells the thread that a slot's request is over, and leaves the IRP to it.
unsafe extern "C" fn over(_: PDEVICE_OBJECT, _: PIRP, context: PVOID) -> NTSTATUS {
    // SAFETY: the context is the request's slot; the shared block lives until the thread has seen every bit.
    unsafe {
        let slot = context.cast::<Slot>();
        let shared = (*slot).shared;
        let bit = 1_u64 << (*slot).index;
        let before = (*shared).done.fetch_or(bit, Ordering::AcqRel);
        if before == 0 {
            KeSetEvent(&raw mut (*shared).event, 0, 0);
        }
    }
    STATUS_MORE_PROCESSING_REQUIRED
}
