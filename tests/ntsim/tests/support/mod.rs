//! Drivers that the simulator's own tests load.
#![expect(unreachable_pub, reason = "shared by several test programs")]

pub mod control;
pub mod passthrough;
