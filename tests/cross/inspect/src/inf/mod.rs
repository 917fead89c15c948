//! x
use crate::Report;
/// x
pub fn check(_b: &[u8]) -> Report { Report::default() }
