//! Storage below the filter: disks with durable bytes, a volatile cache, faults and timing.

mod disk;
mod fault;
mod store;
mod timing;

pub(crate) use disk::{Arrival, Outcome};
pub use disk::{Disk, DiskConfig, FlushSupport, IoRecord, Survivors};
pub use fault::{DiskOp, Fault, FaultEffect};
pub use timing::Timing;
