//! The names of `wdk_sys`: types, constants and routines, flat.
#![expect(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    clippy::missing_safety_doc,
    reason = "the names are those of the Windows headers; each routine's safety contract is its documented contract"
)]
// Clippy itself leaves test builds alone here.
#![cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "kernel names are used as the headers have them"))]

pub mod io;
pub mod ke;
pub(crate) mod routine;
pub mod types_io;

pub use io::*;
pub use ke::*;
pub use types_io::*;

/// Every routine under the calling convention of a Windows image.
pub mod win64 {
    pub use super::io::win64::*;
    pub use super::ke::win64::*;
}
