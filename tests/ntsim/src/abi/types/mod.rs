//! Types of the kernel interface, with the names, field paths and layouts of `wdk_sys`.
//!
//! Declared from the same generated bindings that the driver compiles against on Windows, so that one source fits both.
//! Fields that only the real kernel looks at are kept for their offsets. The files are tables taken over from the
//! bindings, which is why some of them are long.
#![expect(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    clippy::pub_underscore_fields,
    clippy::unreadable_literal,
    reason = "names, types and layouts are the kernel's; the driver documentation describes them"
)]

mod aliases;
mod callbacks;
mod constants;
mod constants_file;
mod constants_io;
mod constants_security;
mod defaults;
mod enums;
mod executive;
mod irp;
mod layout;
mod objects;
mod opaque;
mod other;
mod stack_location;
mod status;

pub use aliases::*;
pub use callbacks::*;
pub use constants::*;
pub use constants_file::*;
pub use constants_io::*;
pub use constants_security::*;
pub use enums::*;
pub use executive::*;
pub use irp::*;
pub use objects::*;
pub use opaque::*;
pub use other::*;
pub use stack_location::*;
pub use status::*;
