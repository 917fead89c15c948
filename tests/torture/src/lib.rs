//! Cuts the power at every I/O event of a conversion and compares every sector with a model.
//!
//! ```text
//! family, number --> plan: volume, script of commands, users, fault        plan.rs
//!   run the script over the shipped engine, a snapshot after every event    live.rs: subject.rs over machine.rs, disk.rs, fault.rs
//!     each snapshot, several outcomes of a cut                              run.rs, cut.rs
//!       boot: open, recover, compare; go on to the end, compare again       boot.rs, check.rs against model.rs
//!         and cut that once more
//! ```
//! # Invariants
//! * A case is decided by its name: same name, same events, same cuts, same outcomes.
//! * The oracle knows what users were told and what the device did, and nothing of what the engine believes.
//! * Whatever is believed to be found is shown to be found: `weak.rs`.
#![forbid(unsafe_code)]
#![expect(clippy::missing_panics_doc, reason = "it panics where this crate itself is mistaken, and nowhere else")]

mod boot;
pub mod check;
pub mod cipher;
pub mod cut;
pub mod disk;
pub mod family;
pub mod fault;
pub mod heap;
pub mod image;
pub mod journal;
mod kernel;
mod live;
pub mod machine;
pub mod model;
pub mod plan;
pub mod reference;
pub mod rng;
pub mod run;
pub mod search;
pub mod store;
pub mod subject;
pub mod tally;
pub mod users;
pub mod weak;
