//! A simulated NT kernel, so that a Windows driver runs, is tested and is broken on a machine without Windows.
//!
//! The driver is linked into the test program and calls [`abi`], which has the names, signatures and structure
//! layouts of `wdk_sys`. A [`World`] is one machine: scheduler, clock, pool, objects, devices, disks. Nothing is
//! global but the pointer from a carrier thread to the world it is running, so many worlds live in one process.
//!
//! # Invariants
//! * In a deterministic world everything that happens is a function of the seed and of the host's calls: no
//!   decision looks at an address, at the time of day, or at the order of a hash table.
//! * A broken rule is a [`Finding`], never a panic: the world stops, and the simulated thread that broke the rule
//!   is never resumed.
//! * No host lock is held while driver code runs or while a simulated thread waits.
//!
//! `unsafe` code lives in [`abi`] and `host` alone.

pub mod abi;
pub mod core;
pub mod fs;
pub mod io;
pub mod ob;
pub mod pnp;
pub mod storage;
pub mod user;
pub mod verifier;

pub(crate) mod host;

pub use crate::host::alloc::allocations_of_this_thread;
pub use crate::host::arena::Kind as MemoryKind;

pub use crate::core::{
    Finding, Kernel, KernelRef, Rule, SchedulerKind, ThreadId, ThreadKind, ThreadState, Time, TimedOut, World,
    WorldBuilder, as_host, current,
};
