//! The I/O manager: IRPs, devices, drivers, files, requests.
//!
//! # Ordering
//! Every table has a lock of its own, all of them leaves: nothing is called while one is held, least of all
//! [`Kernel::finding`](crate::Kernel::finding), which never comes back.
// Clippy itself leaves test builds alone here.
#![cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "kernel names are used as the headers have them"))]

pub(crate) mod cancel;
pub(crate) mod complete;
pub(crate) mod control;
pub(crate) mod device;
pub(crate) mod driver;
pub(crate) mod file;
pub(crate) mod irp;
pub(crate) mod observe;
pub(crate) mod request;
pub(crate) mod send;
pub(crate) mod shutdown;

use crate::abi::io::arena::Arena;
use crate::abi::io::view::{Device, Vpb};
use crate::core::Kernel;
use crate::ob::handles::Objects;
use crate::ob::namespace::Namespace;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub use driver::{DriverConfig, DriverEntry, DriverId, FilterPosition};
pub use observe::{Observation, Side};

/// Everything that belongs to the I/O side of a world.
#[derive(Default)]
pub struct IoState {
    pub(crate) irps: Mutex<irp::Irps>,
    pub(crate) devices: Mutex<device::Devices>,
    pub(crate) drivers: Mutex<Vec<driver::DriverRecord>>,
    pub(crate) names: Mutex<Namespace>,
    pub(crate) objects: Mutex<Objects>,
    pub(crate) files: Mutex<file::Files>,
    pub(crate) tokens: Mutex<Vec<(usize, crate::ob::Token)>>,
    pub(crate) nodes: Mutex<Vec<crate::pnp::Node>>,
    pub(crate) disks: Mutex<Vec<crate::storage::Disk>>,
    pub(crate) mounts: Mutex<Vec<crate::fs::Mount>>,
    /// Volumes that somebody is mounting.
    pub(crate) mounting: Mutex<Vec<usize>>,
    pub(crate) shutdown: Mutex<shutdown::Registrations>,
    pub(crate) cancel_lock: Mutex<cancel::CancelLock>,
    pub(crate) observer: Mutex<Option<observe::Observer>>,
    /// Freed last: the other tables hold addresses into it.
    pub(crate) arena: Arena,
}

impl IoState {
    pub(crate) fn new(page_heap: bool) -> Self {
        Self { arena: Arena::new(page_heap), ..Self::default() }
    }
}

/// Locks a table. A host thread that panicked with the lock held was a test failing; the others may go on.
pub(crate) fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kernel {
    /// The volume parameter block of a device, if it has one.
    pub(crate) fn vpb_of(device: Device) -> Option<Vpb> {
        let vpb = device.vpb() as usize;
        (vpb != 0).then(|| Vpb::at(vpb))
    }
}
