//! Routines of the I/O manager, the object manager and security.

pub(crate) mod arena;
pub(crate) mod callbacks;
mod device;
mod file;
mod irp;
pub(crate) mod mdl;
mod object;
mod security;
pub(crate) mod view;

pub use device::*;
pub use file::*;
pub use irp::*;
pub use object::*;
pub use security::*;

/// All of them under the calling convention of a Windows image.
pub mod win64 {
    pub use super::device::win64::*;
    pub use super::file::win64::*;
    pub use super::irp::win64::*;
    pub use super::object::win64::*;
    pub use super::security::win64::*;
}
