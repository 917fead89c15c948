//! Owned by the I/O side of the simulator.

/// Per-world state of this module.
#[derive(Debug, Default)]
pub(crate) struct IoState {}
