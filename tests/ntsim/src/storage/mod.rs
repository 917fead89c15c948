//! Storage below the filter: disks with durable bytes, a volatile cache, faults and timing.

mod controls;
pub(crate) mod device;
mod disk;
mod fault;
mod store;
mod timing;

pub use disk::{Disk, DiskConfig, FlushSupport, IoRecord, Survivors};
pub use fault::{DiskOp, Fault, FaultEffect};
pub use timing::Timing;
