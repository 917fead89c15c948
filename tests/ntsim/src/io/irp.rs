//! IRPs: allocation, state, and who owns one.
//!
//! ```text
//! allocated --`IofCallDriver`--> in flight --`IofCompleteRequest`--> walking --end--> finished (freed when the I/O manager made it)
//!                                  ^                                |
//!                                  +-- `MORE_PROCESSING_REQUIRED` ----+
//! ```
//! A *frame* is one call of a dispatch routine. It is settled when two things are known: what the routine returned, and
//! whether the pending bit was set when its stack location was completed. The two must agree.

use super::lock;
use crate::abi::io::view::{Device, Irp};
use crate::abi::*;
use crate::core::{Kernel, NumberMap, Rule, ThreadId, ThreadState};
use crate::host::page_heap;

/// What becomes of a finished IRP that the I/O manager made.
pub(crate) type Finish = Box<dyn FnOnce(&Kernel, Irp) + Send>;

/// Who made an IRP.
pub(crate) enum Maker {
    /// A driver, with `IoAllocateIrp`: it must stop the walk and free it.
    Driver,
    /// The I/O manager, for a thread: finished and freed by the I/O manager.
    Manager(Option<Finish>),
}

/// What is known of one IRP.
pub(crate) struct IrpRecord {
    pub(crate) maker: Maker,
    pub(crate) bytes: usize,
    /// Completion routines are being called for it.
    pub(crate) walking: bool,
    /// The walk has reached the end.
    pub(crate) finished: bool,
    /// Cancellations that are looking at it; it is freed when the last of them is done.
    pub(crate) pins: u32,
    freed: bool,
    frames: Vec<u64>,
    pub(crate) priority: i32,
    pub(crate) activity: [u8; 16],
}

/// One call of a dispatch routine.
#[derive(Clone, Copy, Debug)]
struct Frame {
    irp: Irp,
    device: Device,
    location: i8,
    major: u8,
    minor: u8,
    thread: Option<ThreadId>,
    irql: u8,
    returned: Option<NTSTATUS>,
    /// Pending bit and status with which the location was completed.
    completed: Option<(bool, NTSTATUS)>,
}

/// The IRPs of a world.
#[derive(Default)]
pub(crate) struct Irps {
    pub(crate) live: NumberMap<usize, IrpRecord>,
    frames: NumberMap<u64, Frame>,
    next: u64,
}

fn this_thread(k: &Kernel) -> Option<ThreadId> {
    k.with_thread(ThreadState::id)
}

/// What a settled frame shows.
fn judge(frame: &Frame) -> Option<String> {
    let (returned, (pending, status)) = (frame.returned?, frame.completed?);
    let who = || format!("major {:#x} minor {:#x} at location {}", frame.major, frame.minor, frame.location);
    if returned == STATUS_PENDING && !pending {
        return Some(who() + ": dispatch returned STATUS_PENDING, but the location was never marked pending");
    }
    if returned != STATUS_PENDING && pending {
        return Some(format!("{}: marked pending, but dispatch returned {returned:#010x}", who()));
    }
    if returned != STATUS_PENDING && returned != status {
        return Some(format!(
            "{}: dispatch returned {returned:#010x}, the IRP was completed with {status:#010x}",
            who()
        ));
    }
    None
}

impl Irps {
    /// Marks the frames of a location as completed; what is wrong with one of them, if anything. With `called` a completion
    /// routine runs next, so that the driver above owns the IRP again: it may send it down anew.
    fn settle(&mut self, irp: Irp, location: i8, outcome: (bool, NTSTATUS), called: bool) -> Option<String> {
        let record = self.live.get_mut(&irp.addr())?;
        record.walking &= !called;
        let mut wrong = None;
        let frames = &mut self.frames;
        record.frames.retain(|id| {
            let Some(frame) = frames.get_mut(id) else { return false };
            if frame.location != location || frame.completed.is_some() {
                return true;
            }
            frame.completed = Some(outcome);
            wrong = wrong.take().or_else(|| judge(frame));
            if frame.returned.is_some() {
                frames.remove(id);
            }
            false
        });
        wrong
    }
}

impl Kernel {
    /// Allocates an IRP with `stack_count` locations.
    pub(crate) fn irp_new(&self, stack_count: i8, maker: Maker) -> Irp {
        let count = usize::try_from(stack_count).unwrap_or(0);
        let bytes = size_of::<IRP>() + count * size_of::<IO_STACK_LOCATION>();
        let irp = Irp::at(self.io.arena.alloc(bytes));
        irp_initialize(irp, bytes, stack_count);
        let record = IrpRecord {
            maker,
            bytes,
            walking: false,
            finished: false,
            pins: 0,
            freed: false,
            frames: Vec::new(),
            priority: 2,
            activity: [0; 16],
        };
        lock(&self.io.irps).live.insert(irp.addr(), record);
        irp
    }

    /// Gives the driver an IRP, or takes it away: under a page heap the driver cannot touch it then.
    pub(crate) fn irp_owned_by_driver(&self, irp: Irp, owned: bool) {
        if self.config().page_heap
            && let Some(bytes) = self.irp_record(irp, |record| record.bytes)
        {
            page_heap::protect(irp.addr(), bytes, owned);
        }
    }

    /// What a touch of an inaccessible page of the object memory means.
    pub(crate) fn explain_page(&self, address: usize) -> (Rule, String) {
        let in_flight = {
            let irps = lock(&self.io.irps);
            irps.live.iter().any(|(start, record)| (*start..*start + record.bytes).contains(&address))
        };
        match () {
            () if in_flight => {
                (Rule::IrpTouchedAfterPass, "an IRP was touched that the driver does not own".to_owned())
            }
            () if self.io.arena.is_freed(address) || self.is_deleted_device(address) => {
                (Rule::UseAfterFree, "a kernel object was touched after its end: an IRP, an MDL, a device".to_owned())
            }
            () => (Rule::UnmappedAccess, "pages of a request were touched without a mapping".to_owned()),
        }
    }

    /// The IRP behind a driver's pointer; a finding when there is none.
    pub(crate) fn irp_known(&self, what: &str, rule: Rule, irp: PIRP) -> Irp {
        let known = lock(&self.io.irps).live.contains_key(&(irp as usize));
        if !known {
            self.finding(rule, format!("{what} on an IRP that is not (or no longer) allocated"));
        }
        Irp::at(irp as usize)
    }

    /// Looks at or changes the record of a live IRP.
    pub(crate) fn irp_record<R>(&self, irp: Irp, f: impl FnOnce(&mut IrpRecord) -> R) -> Option<R> {
        lock(&self.io.irps).live.get_mut(&irp.addr()).map(f)
    }

    /// Frees an IRP's memory, at once or when no cancellation looks at it any more.
    pub(crate) fn irp_release(&self, irp: Irp) {
        let pinned = self.irp_record(irp, |record| {
            record.freed = true;
            record.pins > 0
        });
        if pinned == Some(false) {
            self.irp_forget(irp);
        }
    }

    /// A cancellation is done with the IRP.
    pub(crate) fn irp_unpin(&self, irp: Irp) {
        let last = self.irp_record(irp, |record| {
            record.pins -= 1;
            record.pins == 0 && record.freed
        });
        if last == Some(true) {
            self.irp_forget(irp);
        }
    }

    fn irp_forget(&self, irp: Irp) {
        let record = lock(&self.io.irps).live.remove(&irp.addr());
        if let Some(record) = record {
            self.io.arena.free(irp.addr(), record.bytes);
        }
    }

    /// `IoFreeIrp`: only what a driver allocated, and only while the driver owns it.
    pub(crate) fn irp_free_by_driver(&self, irp: Irp) {
        self.irp_must_be_drivers("IoFreeIrp", irp);
        self.irp_release(irp);
    }

    /// `IoReuseIrp`.
    pub(crate) fn irp_reuse(&self, irp: Irp, status: NTSTATUS) {
        self.irp_must_be_drivers("IoReuseIrp", irp);
        let bytes = self.irp_record(irp, |record| {
            record.walking = false;
            record.finished = false;
            record.bytes
        });
        irp_initialize(irp, bytes.unwrap_or(0), irp.stack_count());
        irp.set_status(status);
    }

    fn irp_must_be_drivers(&self, what: &str, irp: Irp) {
        let (threaded, frames) =
            self.irp_record(irp, |r| (matches!(r.maker, Maker::Manager(_)), r.frames.clone())).unwrap_or_default();
        if threaded {
            self.finding(Rule::IrpThreaded, format!("{what} on an IRP that belongs to a thread"));
        }
        let open = {
            let irps = lock(&self.io.irps);
            frames.iter().filter_map(|id| irps.frames.get(id)).any(|frame| frame.completed.is_none())
        };
        if open {
            self.finding(Rule::IrpTouchedAfterPass, format!("{what} on an IRP that a lower driver still has"));
        }
    }

    /// Opens a frame; gives its number.
    pub(crate) fn frame_enter(&self, irp: Irp, device: Device, location: i8) -> u64 {
        let stack = irp.stack_at(location);
        let frame = Frame {
            irp,
            device,
            location,
            major: stack.major(),
            minor: stack.minor(),
            thread: this_thread(self),
            irql: self.irql(),
            returned: None,
            completed: None,
        };
        let mut irps = lock(&self.io.irps);
        irps.next += 1;
        let id = irps.next;
        irps.frames.insert(id, frame);
        if let Some(record) = irps.live.get_mut(&irp.addr()) {
            record.frames.push(id);
        }
        id
    }

    /// The dispatch routine of a frame returned.
    pub(crate) fn frame_return(&self, id: u64, status: NTSTATUS) {
        let mut irps = lock(&self.io.irps);
        let Some(frame) = irps.frames.get_mut(&id) else { return };
        frame.returned = Some(status);
        let frame = *frame;
        if frame.completed.is_some() {
            irps.frames.remove(&id);
        }
        drop(irps);
        if frame.completed.is_none() && status != STATUS_PENDING {
            self.finding(
                Rule::IrpNeverCompleted,
                format!(
                    "major {:#x} minor {:#x}: dispatch returned {status:#010x} without completing the IRP",
                    frame.major, frame.minor
                ),
            );
        }
        if let Some(text) = judge(&frame) {
            self.finding(Rule::IrpPendingMismatch, text);
        }
    }

    /// A stack location is being completed with this pending bit, and its routine is called next, or not.
    pub(crate) fn frame_complete(&self, irp: Irp, location: i8, outcome: (bool, NTSTATUS), called: bool) {
        let wrong = lock(&self.io.irps).settle(irp, location, outcome, called);
        if let Some(text) = wrong {
            self.finding(Rule::IrpPendingMismatch, text);
        }
    }

    /// Location of the innermost frame that this thread has open for the IRP.
    pub(crate) fn frame_innermost(&self, irp: Irp) -> Option<(i8, u8)> {
        let thread = this_thread(self);
        let irps = lock(&self.io.irps);
        let record = irps.live.get(&irp.addr())?;
        let mine = |id: &u64| irps.frames.get(id).filter(|f| f.thread == thread && f.returned.is_none());
        record.frames.iter().rev().find_map(mine).map(|frame| (frame.location, frame.irql))
    }

    /// Requests that a device was handed and that have not been completed through it, `PnP` ones apart.
    pub(crate) fn frames_open_on(&self, device: Device) -> usize {
        let pnp = u8::try_from(IRP_MJ_PNP).unwrap_or(0);
        let irps = lock(&self.io.irps);
        irps.frames.values().filter(|f| f.device == device && f.completed.is_none() && f.major != pnp).count()
    }

    /// Number of live IRPs.
    #[must_use]
    pub fn live_irps(&self) -> usize {
        lock(&self.io.irps).live.len()
    }

    /// Number of live IRPs that drivers allocated.
    pub(crate) fn driver_irps(&self) -> usize {
        lock(&self.io.irps).live.values().filter(|record| matches!(record.maker, Maker::Driver)).count()
    }

    /// Numbers of the requests that drivers' devices have not completed.
    pub(crate) fn open_frames(&self) -> Vec<u64> {
        let irps = lock(&self.io.irps);
        irps.frames.iter().filter(|(_, frame)| frame.completed.is_none()).map(|(id, _)| *id).collect()
    }

    /// One line for each request that somebody has not completed.
    #[must_use]
    pub fn open_requests(&self) -> Vec<String> {
        let irps = lock(&self.io.irps);
        let mut open: Vec<_> = irps.frames.iter().filter(|(_, frame)| frame.completed.is_none()).collect();
        open.sort_by_key(|(id, _)| **id);
        let line =
            |f: &Frame| format!("major {:#x} minor {:#x}, location {}, {:x?}", f.major, f.minor, f.location, f.irp);
        open.into_iter().map(|(_, frame)| line(frame)).collect()
    }
}

/// `IoInitializeIrp` on memory of `bytes` bytes.
pub(crate) fn irp_initialize(irp: Irp, bytes: usize, stack_count: i8) {
    crate::abi::io::arena::Span { addr: irp.addr(), len: bytes }.write(0, &vec![0; bytes]);
    irp.set_kind(CSHORT::try_from(IO_TYPE_IRP).unwrap_or(6));
    irp.set_size(u16::try_from(bytes).unwrap_or(u16::MAX));
    irp.set_stack_count(stack_count);
    irp.set_current_location(stack_count + 1);
    irp.set_current_stack(irp.stack_at(stack_count + 1).ptr());
    let list = irp.addr() + std::mem::offset_of!(IRP, ThreadListEntry);
    irp.set_thread_list(LIST_ENTRY { Flink: list as *mut LIST_ENTRY, Blink: list as *mut LIST_ENTRY });
}
