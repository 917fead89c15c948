//! The one error type. Every value has an NTSTATUS (the table is in the driver's `error.rs`).
use core::fmt;

/// An NTSTATUS value.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct NtStatus(pub i32);

/// Result of every fallible operation of this crate.
pub type VckResult<T> = Result<T, VckError>;
