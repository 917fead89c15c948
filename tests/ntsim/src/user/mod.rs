//! What user-mode programs do.

pub use crate::ob::Token;
