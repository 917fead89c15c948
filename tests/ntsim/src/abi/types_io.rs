//! Structures, enumerations and constants of the kernel interface.

#[path = "types/mod.rs"]
mod types;

pub use types::*;
