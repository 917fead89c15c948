//! Routines of the I/O manager, the object manager and security.

pub(crate) mod arena;
pub(crate) mod callbacks;
pub(crate) mod view;
