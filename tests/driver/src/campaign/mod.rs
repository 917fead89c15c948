//! A random scenario over the whole driver: one seed, one world, some hundred operations against a model.
//!
//! ```text
//!  Host: boots, plugs, removes, cuts power, arms faults          (drives the world)
//!    Program x 2..4: device and file reads and writes   \
//!    Commander:      attach, convert, pause, detach      > simulated threads, one Shared
//!    watch:          what reaches the device            /
//! ```
//!
//! # Invariants
//! * Everything is drawn from the seed: two runs of a seed give the same trace.
//! * The model allows what any serialisation of overlapping writes allows, and no more. A failure of a request is
//!   allowed only while the host has given a cause for it.

mod command;
mod coverage;
mod event;
mod file;
mod host;
mod machine;
mod model;
mod plan;
mod shared;
mod stamp;
mod transfer;
mod verdict;
mod watch;

use vck_ntsim::io::DriverEntry;

pub use coverage::Coverage;

/// Operations of a seed, unless told.
pub const OPERATIONS: u64 = 300;

/// What a seed came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it reached.
    pub coverage: Coverage,
    /// Depends on the outcome of every operation, on every scheduling decision and on the disk at the end.
    pub trace: u64,
}

/// The driver of a run.
#[derive(Clone, Copy)]
struct Driver {
    entry: DriverEntry,
    /// Freed memory is searched for keys. Not with a provider that a test program brings: it is compiled without
    /// optimisation, and its moves leave keys on the stack, from where padding carries them into the heap.
    keeps_secrets: bool,
}

/// Runs a seed with the sample driver.
///
/// # Errors
/// What is wrong: a mismatch with the model, an outcome that has no cause, a finding of the verifier, a leak.
pub fn run_seed(seed: u64, operations: u64) -> Result<Report, String> {
    run(seed, operations, Driver { entry: crate::kernel::entry(), keeps_secrets: true })
}

/// Runs a seed with a driver that a test program brings; without the search for keys.
///
/// # Errors
/// As [`run_seed`].
pub fn run_seed_with(seed: u64, operations: u64, entry: DriverEntry) -> Result<Report, String> {
    run(seed, operations, Driver { entry, keeps_secrets: false })
}

fn run(seed: u64, operations: u64, driver: Driver) -> Result<Report, String> {
    let run = host::Host::run(plan::Plan::new(seed, operations), driver)?;
    let coverage = run.shared.lock().coverage;
    Ok(Report { coverage, trace: run.trace })
}
