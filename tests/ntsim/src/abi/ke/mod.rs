//! Routines of the kernel core, the executive, memory and the run-time library.

mod fast_mutex;
mod irql;
mod object;
mod spin;
mod sync;
mod thread;
mod time;
mod wait;

pub use fast_mutex::*;
pub use irql::*;
pub use spin::*;
pub use sync::*;
pub use thread::*;
pub use time::*;
pub use wait::*;

/// All of them under the calling convention of a Windows image.
pub mod win64 {
    pub use super::fast_mutex::win64::*;
    pub use super::irql::win64::*;
    pub use super::spin::win64::*;
    pub use super::sync::win64::*;
    pub use super::thread::win64::*;
    pub use super::time::win64::*;
    pub use super::wait::win64::*;
}
