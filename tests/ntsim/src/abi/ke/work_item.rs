//! Work items.

use std::alloc::Layout;
use std::sync::atomic::Ordering;

use super::object::ObjectRef;
use crate::abi::routine::{ignored, routines};
use crate::abi::*;
use crate::core::{Kernel, Rule, ThreadKind, with_current};
use crate::host::arena::{self, Kind};
use crate::host::ptr::SendPtr;

// Layout of a work item: the device, then whether it is queued.
const DEVICE: usize = 0;
const QUEUED: usize = 8;

/// How the routine of a work item is called.
#[derive(Clone, Copy)]
enum Routine {
    Plain(unsafe extern "C" fn(PDEVICE_OBJECT, PVOID)),
    Extended(unsafe extern "C" fn(PVOID, PVOID, PIO_WORKITEM)),
}

fn live(kernel: &Kernel, item: PIO_WORKITEM) -> ObjectRef {
    let object = ObjectRef::new(item);
    if !kernel.arena.is_live(object.address()) {
        kernel.finding(Rule::WorkItem, "a work item was used that is not allocated");
    }
    object
}

fn allocate(kernel: &Kernel, device: PDEVICE_OBJECT) -> PIO_WORKITEM {
    let Ok(layout) = Layout::from_size_align(64, 16) else { return std::ptr::null_mut() };
    let block = arena::allocate(kernel, layout, Kind::WorkItem, 0);
    if !block.is_null() {
        let item = ObjectRef::new(block);
        item.quad(DEVICE).store(device.expose_provenance() as u64, Ordering::SeqCst);
        item.word(QUEUED).store(0, Ordering::SeqCst);
    }
    block.cast()
}

fn free(kernel: &Kernel, item: PIO_WORKITEM) {
    let object = live(kernel, item);
    if object.word(QUEUED).load(Ordering::SeqCst) != 0 {
        kernel.finding(Rule::WorkItem, "a work item was freed while it is queued");
    }
    arena::free(kernel, object.address(), Kind::WorkItem, None);
}

fn queue(kernel: &Kernel, item: PIO_WORKITEM, routine: Option<Routine>, context: PVOID) {
    let object = live(kernel, item);
    let Some(routine) = routine else { kernel.finding(Rule::BadArgument, "a work item without a routine") };
    if object.word(QUEUED).swap(1, Ordering::SeqCst) != 0 {
        kernel.finding(Rule::WorkItem, "a work item was queued that is queued already");
    }
    let device = usize::try_from(object.quad(DEVICE).load(Ordering::SeqCst)).unwrap_or(0);
    kernel.object_reference(device);
    let (item, context) = (SendPtr(item), SendPtr(context));
    kernel.spawn("worker", ThreadKind::System, move || {
        with_current(|kernel| run(kernel, item, device, routine, context));
    });
}

/// The body of a worker. The routine may free the item, so it is not queued any more when the routine runs.
fn run(
    kernel: &Kernel,
    item: SendPtr<_IO_WORKITEM>,
    device: usize,
    routine: Routine,
    context: SendPtr<core::ffi::c_void>,
) {
    ObjectRef::new(item.get()).word(QUEUED).store(0, Ordering::SeqCst);
    let object: PDEVICE_OBJECT = std::ptr::with_exposed_provenance_mut(device);
    kernel.call_driver("work item", || match routine {
        // SAFETY: the documented contract of IoQueueWorkItem: the driver stays loaded while the device is referenced.
        Routine::Plain(f) => unsafe { f(object, context.get()) },
        // SAFETY: as above.
        Routine::Extended(f) => unsafe { f(object.cast(), context.get(), item.get()) },
    });
    kernel.object_dereference(device);
}

routines! {
    /// Allocates a work item for a device; NULL when there is no memory. At or below DISPATCH_LEVEL.
    fn IoAllocateWorkItem(DeviceObject: PDEVICE_OBJECT) -> PIO_WORKITEM, max 2 => |k| { allocate(k, DeviceObject) }

    /// Frees a work item that is not queued. At or below DISPATCH_LEVEL.
    fn IoFreeWorkItem(IoWorkItem: PIO_WORKITEM), max 2 => |k| { free(k, IoWorkItem); }

    /// Has a system worker call the routine at PASSIVE_LEVEL; the device is referenced until it has returned. At or below
    /// DISPATCH_LEVEL. Weaker than Windows: there are as many workers as items, so items never wait for each other.
    fn IoQueueWorkItem(IoWorkItem: PIO_WORKITEM, WorkerRoutine: PIO_WORKITEM_ROUTINE, QueueType: WORK_QUEUE_TYPE, Context: PVOID), max 2 => |k| {
        ignored(QueueType);
        queue(k, IoWorkItem, WorkerRoutine.map(Routine::Plain), Context);
    }

    /// IoQueueWorkItem with a routine that also gets the item, and may free it. At or below DISPATCH_LEVEL.
    fn IoQueueWorkItemEx(IoWorkItem: PIO_WORKITEM, WorkerRoutine: PIO_WORKITEM_ROUTINE_EX, QueueType: WORK_QUEUE_TYPE, Context: PVOID), max 2 => |k| {
        ignored(QueueType);
        queue(k, IoWorkItem, WorkerRoutine.map(Routine::Extended), Context);
    }
}
