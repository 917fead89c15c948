//! Volumes: which filter belongs to which name, what it is bound to, and how that changes.
//!
//! # Phases of a filter
//! ```text
//!   unbound --PREPARE without key--> provisional --ATTACH--> complete
//!      \------------- PREPARE with key, re-attach ------------/   |
//!       <------------------------- DETACH, REMOVE ----------------+
//! ```
//! *unbound*: everything passes through. *provisional*: metadata hidden, offsets shifted, no cipher. *complete*: cipher and
//! sweep.
//!
//! # Invariants
//! * Phases change only under `Core::transactions`, through [`ModeCell::exchange`](crate::nt::ModeCell::exchange), which
//!   returns when no request is left that saw the old phase. Removal is the exception: it has the filter for itself.
//! * A transaction that fails has changed neither disk nor memory.
//! * Metadata is read and written below the filter only.

mod attach;
mod bound;
mod detach;
mod device;
mod load;
mod names;
mod place;
mod query;
mod room;
mod seams;
mod sweeper;

use alloc::boxed::Box;

use vck_common::VckResult;
use vck_common::xts::Features;

use crate::crypto::{WorkerPool, tested_features};
use crate::nt::{DeviceList, KernelRandom, Mutex, Passive};
use crate::provider::VolumeProvider;

pub use attach::{AttachOutcome, Attachment, Prepare};
pub use bound::{CipherSide, Leave, Source, Volume};
pub(crate) use detach::{go_on, halt};
pub use device::{FilterDevice, FrontDoor};
pub use names::owned_text;
pub use place::DiskPaths;
pub use query::{ErrorText, VolumeSnapshot};
pub use sweeper::Reserve;

/// What all volumes of the driver share. Lives from DriverEntry to unload.
pub struct Core {
    /// Every filter of the driver, bound or not.
    pub filters: DeviceList<FilterDevice>,
    /// The product's policy.
    pub provider: Box<dyn VolumeProvider>,
    /// The kernel's random source.
    pub random: KernelRandom,
    /// Threads for work that may not be done where a request arrives.
    pub pool: WorkerPool,
    /// What the sector cipher may use on this machine.
    pub features: Features,
    transactions: Mutex<()>,
}

impl Core {
    /// The shared state, with its worker threads running.
    pub fn try_new(passive: Passive, provider: Box<dyn VolumeProvider>, work: crate::crypto::Work) -> VckResult<Self> {
        Ok(Self {
            filters: DeviceList::new(),
            provider,
            random: KernelRandom,
            features: tested_features()?,
            pool: WorkerPool::start(passive, work)?,
            transactions: Mutex::try_new(())?,
        })
    }

    /// Ends the worker threads. All filters are gone.
    pub fn shut_down(&self, passive: Passive) {
        self.pool.stop(passive);
    }
}
