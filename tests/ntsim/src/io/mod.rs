//! The I/O manager.

/// Everything that belongs to the I/O side of a world.
#[derive(Default)]
pub struct IoState {}
