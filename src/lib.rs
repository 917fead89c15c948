//! Placeholder, filled by the next commits.
#![no_std]

extern crate alloc;

pub mod engine;
pub mod sync;
