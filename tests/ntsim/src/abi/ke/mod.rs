//! Routines of the kernel core, the executive, memory and the run-time library.

mod irql;

pub use irql::*;
