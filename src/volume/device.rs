//! The state of one filter device.

use alloc::string::String;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use vck_common::{NtStatus, VckResult};

use super::Core;
use super::bound::Volume;
use super::sweeper::Reserve;
use crate::io::{BounceBuffers, Flushes};
use crate::nt::{
    DeviceRef, Disposition, Entered, Event, Irp, IrpQueue, ModeCell, Passive, PhysicalDevice, Shared, SpinLock,
};

/// How this layer hands requests back to the layer that dispatches them.
#[derive(Clone, Copy)]
pub struct FrontDoor {
    /// Dispatches a READ or WRITE again. IRQL <= APC_LEVEL.
    pub resubmit: fn(DeviceRef<'_, FilterDevice>, Irp) -> Disposition,
    /// The same on another thread, without waiting, allocating or calling down on this one. IRQL <= DISPATCH_LEVEL.
    pub resubmit_elsewhere: fn(DeviceRef<'_, FilterDevice>, Irp) -> Disposition,
    /// Serves one request with the volume's reserve, because it could not get memory. PASSIVE_LEVEL.
    pub serve_starved: fn(Passive, DeviceRef<'_, FilterDevice>, Irp, &mut Reserve),
}

/// A filter on one volume's stack.
pub struct FilterDevice {
    /// The driver's shared state.
    pub core: &'static Core,
    /// The volume's physical device.
    pub physical: PhysicalDevice,
    /// The physical device's object name, or empty.
    pub name: String,
    /// What requests see.
    pub mode: ModeCell<Volume>,
    /// Requests that wait for a zone to open. They own nothing.
    pub waiters: IrpQueue,
    /// Requests that have waited for a zone since the last bind.
    pub waited: AtomicU64,
    /// Requests that wait for the volume's own thread, with what it is to do with them (a [`Starved`]).
    pub starved: IrpQueue,
    /// Signalled when `starved` gets a request.
    pub starved_work: Event,
    /// Buffers that encrypted writes go down in.
    pub bounce: BounceBuffers,
    /// Everybody's flushes of the device below.
    pub flushes: Shared<Flushes>,
    /// Set by SURPRISE_REMOVAL: no more I/O is started.
    pub gone: AtomicBool,
    pub(super) front: FrontDoor,
    /// What `mode` holds, for the control plane. Changed under the transaction lock, or by removal.
    pub(super) bound: SpinLock<Option<Shared<Volume>>>,
}

impl FilterDevice {
    /// A filter that passes everything through.
    pub fn try_new(core: &'static Core, physical: PhysicalDevice, name: String, front: FrontDoor) -> VckResult<Self> {
        Ok(Self {
            core,
            physical,
            name,
            mode: ModeCell::try_new()?,
            waiters: IrpQueue::cancellable()?,
            waited: AtomicU64::new(0),
            starved: IrpQueue::cancellable()?,
            starved_work: Event::try_new()?,
            bounce: BounceBuffers::try_new()?,
            flushes: Shared::try_new(Flushes::try_new()?)?,
            gone: AtomicBool::new(false),
            front,
            bound: SpinLock::new(None),
        })
    }

    /// What the filter is bound to. PASSIVE_LEVEL, because the reference may turn out to be the last one.
    pub fn volume(&self) -> Option<Shared<Volume>> {
        self.bound.with(|bound| bound.clone())
    }

    /// Whether `wanted` holds for the volume that the filter is bound to, if any. `wanted` runs at DISPATCH_LEVEL.
    ///
    /// No reference is taken: dropping the last one needs PASSIVE_LEVEL.
    pub fn is_bound_to(&self, wanted: impl FnOnce(&Volume) -> bool) -> bool {
        self.bound.with(|bound| bound.as_ref().is_some_and(|volume| wanted(volume)))
    }

    /// Whether the device has vanished.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Queues a request, which is out of the gate, for the reserve, and leaves the mode.
    pub fn starve(&self, irp: Irp, entered: Entered<'_, Volume>) -> Disposition {
        self.leave_to_thread(irp, Starved::Serve, entered)
    }

    /// Queues a request to be dispatched by the volume's own thread, and leaves the mode. IRQL <= DISPATCH_LEVEL.
    pub fn defer(&self, irp: Irp, entered: Entered<'_, Volume>) -> Disposition {
        self.leave_to_thread(irp, Starved::Dispatch, entered)
    }

    fn leave_to_thread(&self, irp: Irp, what: Starved, entered: Entered<'_, Volume>) -> Disposition {
        let mut entered = Some(entered);
        let queued = self.starved.push_if(irp, what as usize, || {
            self.starved_work.set();
            // Under the queue's lock: a mode change that sees this request gone also finds it in the queue, and
            // afterwards the request, and the device with it, may be gone.
            entered = None;
            true
        });
        // The condition is constant, so the request is never given back.
        queued.unwrap_or_else(|irp| irp.complete(NtStatus::UNSUCCESSFUL, 0))
    }
}

/// What the volume's own thread does with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Starved {
    /// Dispatches it: it came where that may not be done, and nobody else was free.
    Dispatch = 0,
    /// Serves it with the reserve: it could not get memory.
    Serve = 1,
}

impl DeviceRef<'_, FilterDevice> {
    /// Dispatches the requests that wait for a zone, once each: one that still has to wait queues itself again.
    pub fn readmit(self, _: Passive) {
        self.readmit_through(self.front.resubmit);
    }

    /// Has them dispatched by other threads. For the sweep's: the next zone may be closed, and while it is only the framework's own work
    /// is done there.
    pub fn readmit_elsewhere(self) {
        self.readmit_through(self.front.resubmit_elsewhere);
    }

    fn readmit_through(self, resubmit: fn(Self, Irp) -> Disposition) {
        for _ in 0..self.waiters.len() {
            let Some((irp, _)) = self.waiters.pop() else { return };
            resubmit(self, irp).settled();
        }
    }
}
