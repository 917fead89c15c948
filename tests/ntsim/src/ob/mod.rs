//! Objects: names, handles, references, tokens, security.

pub mod handles;
pub(crate) mod namespace;
pub mod security;
pub mod sid;
mod token;

pub use token::{Token, TokenKind};
