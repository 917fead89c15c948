//! Safe wrappers over raw kernel objects: the only unsafe code of the driver.
//!
//! Each file names the invariants of the objects that it wraps; every `SAFETY` comment cites one of them or the
//! documented contract of the routine. [`sys`] is the only file that names the platform.

#![expect(
    unsafe_code,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_lossless,
    reason = "the one place where raw kernel objects are handled; structure sizes and IRP codes fit the kernel's field widths"
)]

#[cfg(windows)]
mod allocator;
mod bounce;
mod completion;
mod crew;
mod described;
mod device;
mod driver;
mod entry;
mod file;
mod irp;
mod irql;
mod lower;
mod mdl;
mod memory;
mod mode;
mod names;
mod print;
mod published;
mod queue;
mod random;
mod region;
mod security;
mod slots;
mod stack;
mod string;
mod sync;
mod sys;
mod thread;
mod time;
mod token;
mod transfer;
mod xstate;

use core::ffi::c_void;
use core::ptr::NonNull;

use vck_common::{NtStatus, VckError, VckResult};

#[cfg(windows)]
pub use allocator::KernelAllocator;
pub use bounce::{Bounce, BounceDone};
pub use completion::{CompletedIrp, ContextWord, Intercept, Outcome, Watch};
pub use crew::{Crew, Piece};
pub use device::{DeviceList, DeviceRef, DeviceRole, Held, OwnedDevice};
pub use driver::{DriverCallbacks, DriverObject, PhysicalDevice};
pub use entry::{enter_driver, raw};
pub use file::{FsControl, NamedDevice, OpenFor, VolumeHandle};
pub use irp::{CancelFlag, Control, Disposition, Irp, Request};
pub use irql::{ApcOrBelow, Passive};
pub(crate) use lower::LowerDevice;
pub use mdl::MappingWindow;
pub use memory::{KVec, Shared, try_box};
pub use mode::{Entered, ModeCell, Stay};
pub use names::{MAX_NAME, SymbolicLink};
pub use published::{Publication, PublishedDevice};
pub use queue::IrpQueue;
pub use random::KernelRandom;
pub use region::CriticalRegion;
pub use security::{Ace, Sid};
pub use slots::Slots;
pub use stack::{on_large_stack, on_wiped_stack};
pub use string::{UnicodeStr, WideString};
pub use sync::{Event, Mutex, SpinLock, Waited};
pub use thread::{Priority, Thread, flush_queued_dpcs, processor_count, processor_number, remaining_stack};
pub use time::{Instant, nanoseconds, sleep};
pub use token::AccessToken;
pub use transfer::{Operation, Transfer};
pub use xstate::with_wide_registers;

/// IRP_MJ_* codes that the driver tells apart.
pub mod major {
    use super::sys;
    /// IRP_MJ_CREATE.
    pub const CREATE: u32 = sys::IRP_MJ_CREATE;
    /// IRP_MJ_CLOSE.
    pub const CLOSE: u32 = sys::IRP_MJ_CLOSE;
    /// IRP_MJ_READ.
    pub const READ: u32 = sys::IRP_MJ_READ;
    /// IRP_MJ_WRITE.
    pub const WRITE: u32 = sys::IRP_MJ_WRITE;
    /// IRP_MJ_FLUSH_BUFFERS.
    pub const FLUSH_BUFFERS: u32 = sys::IRP_MJ_FLUSH_BUFFERS;
    /// IRP_MJ_DEVICE_CONTROL.
    pub const DEVICE_CONTROL: u32 = sys::IRP_MJ_DEVICE_CONTROL;
    /// IRP_MJ_SHUTDOWN.
    pub const SHUTDOWN: u32 = sys::IRP_MJ_SHUTDOWN;
    /// IRP_MJ_CLEANUP.
    pub const CLEANUP: u32 = sys::IRP_MJ_CLEANUP;
    /// IRP_MJ_PNP.
    pub const PNP: u32 = sys::IRP_MJ_PNP;
}

/// IRP_MN_* codes of IRP_MJ_PNP that the driver tells apart.
pub mod minor {
    use super::sys;
    /// IRP_MN_START_DEVICE.
    pub const START_DEVICE: u32 = sys::IRP_MN_START_DEVICE;
    /// IRP_MN_QUERY_REMOVE_DEVICE.
    pub const QUERY_REMOVE_DEVICE: u32 = sys::IRP_MN_QUERY_REMOVE_DEVICE;
    /// IRP_MN_REMOVE_DEVICE.
    pub const REMOVE_DEVICE: u32 = sys::IRP_MN_REMOVE_DEVICE;
    /// IRP_MN_CANCEL_REMOVE_DEVICE.
    pub const CANCEL_REMOVE_DEVICE: u32 = sys::IRP_MN_CANCEL_REMOVE_DEVICE;
    /// IRP_MN_QUERY_STOP_DEVICE.
    pub const QUERY_STOP_DEVICE: u32 = sys::IRP_MN_QUERY_STOP_DEVICE;
    /// IRP_MN_CANCEL_STOP_DEVICE.
    pub const CANCEL_STOP_DEVICE: u32 = sys::IRP_MN_CANCEL_STOP_DEVICE;
    /// IRP_MN_SURPRISE_REMOVAL.
    pub const SURPRISE_REMOVAL: u32 = sys::IRP_MN_SURPRISE_REMOVAL;
}

/// Tag that the remove locks carry for the verifier.
const REMOVE_LOCK_TAG: u32 = u32::from_le_bytes(*b"VCKI");

/// An NTSTATUS as a result. Informational and warning statuses are errors here: no routine used returns one on success.
fn check(status: sys::NTSTATUS) -> VckResult<()> {
    if status == 0 { Ok(()) } else { Err(VckError::Device { status: NtStatus(status), lba: None }) }
}

/// # Safety
/// An initialised lock of a live device. IRQL <= DISPATCH_LEVEL.
unsafe fn acquire_remove_lock(lock: NonNull<sys::IO_REMOVE_LOCK>, tag: *mut c_void) -> sys::NTSTATUS {
    let size = size_of::<sys::IO_REMOVE_LOCK>() as u32;
    // SAFETY: the caller's contract; file and line are for checked builds.
    unsafe { sys::IoAcquireRemoveLockEx(lock.as_ptr(), tag, c"vck".as_ptr().cast(), 0, size) }
}

/// # Safety
/// Held with `tag`. IRQL <= DISPATCH_LEVEL.
unsafe fn release_remove_lock(lock: NonNull<sys::IO_REMOVE_LOCK>, tag: *mut c_void) {
    let size = size_of::<sys::IO_REMOVE_LOCK>() as u32;
    // SAFETY: the caller's contract.
    unsafe { sys::IoReleaseRemoveLockEx(lock.as_ptr(), tag, size) };
}

/// Why the driver stops the machine: states that its own structure rules out.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Fatal {
    /// An IRP token was dropped; the request would never complete.
    IrpDropped = 1,
    /// A filter without a device below was used.
    NotAttached = 2,
    /// The object of a thread that was just created cannot be had.
    ThreadObject = 3,
    /// A mode was exchanged while an older one was in use.
    EpochNotDrained = 4,
    /// A mutex was entered by its owner.
    MutexRecursion = 5,
    /// A stack callout was entered and did not return.
    Callout = 6,
    /// A panic, which no reachable code raises.
    #[cfg(windows)]
    Panic = 7,
}

/// Stops the machine with the place of a panic. A driver that cannot go on must not spin with locks held.
#[cfg(windows)]
pub fn stop_on_panic(info: &core::panic::PanicInfo<'_>) -> ! {
    log::error!("{info}");
    fatal(Fatal::Panic, info.location().map_or(0, |location| location.line() as usize))
}

/// Bug check code of this driver ("VCK").
const BUG_CHECK: u32 = 0x5643_4B00;

fn fatal(why: Fatal, detail: usize) -> ! {
    // SAFETY: any IRQL; does not return.
    unsafe {
        sys::KeBugCheckEx(
            BUG_CHECK,
            NtStatus::INTERNAL_ERROR.0.cast_unsigned() as sys::ULONG_PTR,
            why as sys::ULONG_PTR,
            detail as sys::ULONG_PTR,
            0,
        )
    }
}
