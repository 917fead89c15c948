//! The core of a world: scheduler, clock, threads, findings, pool.
//!
//! [`Kernel`] is the state of one world, shared by everything that runs in it. [`World`] is the host's handle on it.
//! The other parts of the simulator (I/O, objects, `PnP`, storage) keep their state in fields of `Kernel` and are built
//! on what this module offers: [`Kernel::preempt`], [`Kernel::block`], [`Kernel::wake`], [`Kernel::spawn`],
//! [`Kernel::dpc`], [`Kernel::at`], [`Kernel::call_driver`], [`Kernel::finding`].

mod clock;
mod config;
mod deterministic;
mod finding;
mod kernel;
mod locks;
mod mdl;
mod memory;
mod parallel;
mod rng;
mod sched;
mod thread;
mod thread_object;
mod wait;
mod world;

pub use clock::Time;
pub(crate) use clock::boot_system_time as clock_boot;
pub use config::{Config, SchedulerKind};
pub use finding::{Finding, Rule};
pub use kernel::{Kernel, KernelRef, as_host, current};
pub(crate) use locks::Embedded;
pub(crate) use mdl::{Mapping, Shadow, Window, digest};
pub use mdl::{USER_BIT, real_address};
pub use rng::Rng;
pub use sched::TimedOut;
pub(crate) use sched::{AddressHasher, NumberMap};
pub(crate) use thread::HeldLock;
pub use thread::{ThreadId, ThreadKind, ThreadState};
pub(crate) use thread_object::with_current;
pub use world::{World, WorldBuilder};
