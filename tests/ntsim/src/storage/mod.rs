//! Storage below the filter: disks with durable bytes, a volatile cache, faults and timing.
// Clippy itself leaves test builds alone here.
#![cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "kernel names are used as the headers have them"))]

mod config;
mod controls;
pub(crate) mod device;
mod disk;
mod fault;
mod store;
mod timing;

pub use config::{DiskConfig, FlushSupport, IoRecord, Survivors};
pub use disk::Disk;
pub use fault::{DiskOp, Fault, FaultEffect};
pub use timing::{Heads, Timing};
