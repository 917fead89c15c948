//! Routines of the I/O manager, the object manager and security.

pub(crate) mod arena;
pub(crate) mod callbacks;
mod device;
mod irp;
pub(crate) mod mdl;
pub(crate) mod view;

pub use device::*;
pub use irp::*;

/// All of them under the calling convention of a Windows image.
pub mod win64 {
    pub use super::device::win64::*;
    pub use super::irp::win64::*;
}
