//! Whole-driver tests: the sample driver in the simulated kernel, driven as programs and PnP would.
//!
//! [`Bench`] is one machine with one volume; the wire messages go through the same encoders that clients use.

mod bench;
pub mod campaign;
mod client;
mod footprint;
mod kernel;
mod keys;
mod raw;

pub use bench::{Bench, Setup};
pub use client::{CONTROL, Client, Failure, Prepared, Status, default_prepare};
pub use footprint::Footprint;
pub use kernel::allowed;
pub use keys::{KEY1, KEY2, VMK, VOLUME_ID, WRONG_VMK, sealed_block};
pub use raw::{RawIo, RawMdl, RawReply};

/// Bytes that the metadata of the tests' volumes takes: two footers of 128 KiB.
pub const FOOTERS: u64 = 2 * 131_072;
