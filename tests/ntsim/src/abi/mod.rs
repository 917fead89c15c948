//! The names of `wdk_sys`: types, constants and routines, flat.
#![expect(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    clippy::missing_safety_doc,
    reason = "the names are those of the Windows headers; each routine's safety contract is its documented contract"
)]

pub mod io;
pub mod ke;
pub(crate) mod routine;
pub mod types_base;
pub mod types_io;
pub mod types_ke;

pub use io::*;
pub use ke::*;
pub use types_base::*;
pub use types_io::*;
pub use types_ke::*;
