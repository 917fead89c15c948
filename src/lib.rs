//! A framework for Windows volume-encryption filter drivers.
#![no_std]
#![deny(unsafe_code)]

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
