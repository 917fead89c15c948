//! Objects: names, handles, references, tokens, security.
// Clippy itself leaves test builds alone here.
#![cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "kernel names are used as the headers have them"))]

pub mod handles;
pub(crate) mod namespace;
pub mod security;
pub mod sid;
mod token;

pub use token::{Token, TokenKind};
