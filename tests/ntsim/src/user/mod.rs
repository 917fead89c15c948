//! User-mode programs: tokens, handles, requests.

pub use crate::ob::token::Token;
