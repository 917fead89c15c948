//! Routines of the kernel core, the executive, memory and the run-time library.
#![expect(
    clippy::doc_markdown,
    reason = "the types of the interface are one vocabulary; its names are not marked up in the contracts"
)]

mod debug;
mod dpc;
mod fast_mutex;
mod irql;
mod list;
mod mapping;
mod mdl;
mod object;
mod pool;
mod remove_lock;
mod spin;
mod string;
mod sync;
mod thread;
mod time;
mod wait;
mod work_item;
mod xstate;

pub use debug::*;
pub use dpc::*;
pub use fast_mutex::*;
pub use irql::*;
pub use list::*;
pub use mapping::*;
pub use mdl::*;
pub use pool::*;
pub use remove_lock::*;
pub use spin::*;
pub use string::*;
pub use sync::*;
pub use thread::*;
pub use time::*;
pub use wait::*;
pub use work_item::*;
pub use xstate::*;

/// All of them under the calling convention of a Windows image.
pub mod win64 {
    pub use super::debug::win64::*;
    pub use super::dpc::win64::*;
    pub use super::fast_mutex::win64::*;
    pub use super::irql::win64::*;
    pub use super::list::win64::*;
    pub use super::mapping::win64::*;
    pub use super::mdl::win64::*;
    pub use super::pool::win64::*;
    pub use super::remove_lock::win64::*;
    pub use super::spin::win64::*;
    pub use super::string::win64::*;
    pub use super::sync::win64::*;
    pub use super::thread::win64::*;
    pub use super::time::win64::*;
    pub use super::wait::win64::*;
    pub use super::work_item::win64::*;
    pub use super::xstate::win64::*;
}
