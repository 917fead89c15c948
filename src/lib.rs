//! A framework for Windows volume-encryption filter drivers.
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_macros))]
#![expect(
    clippy::missing_errors_doc,
    clippy::must_use_candidate,
    reason = "errors are stated in the sentence that begins with Errors, and the types whose loss matters are must_use"
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod control;
pub mod crypto;
pub mod driver;
pub mod engine;
pub mod entry;
pub mod filter;
pub mod io;
pub mod nt;
pub mod provider;
pub mod sync;
pub mod volume;
