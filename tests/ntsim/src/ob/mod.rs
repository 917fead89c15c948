//! Objects, names, handles and security.

pub mod security;
pub mod sid;
pub mod token;
