//! Tests of `vck-common` against the interoperability vectors, naive models, and the limits it promises.
//!
//! `vectors/` holds the bytes and behaviours that existing clients and volumes were recorded with. Where a case records a
//! flaw, the test asserts the mended behaviour and says so.

mod conformance;
mod filesystems;
mod geometry;
mod handover;
mod keys_and_blocks;
mod opening;
mod preparing;
mod record;
mod record_document;
mod record_hostile;
mod record_recovery;
mod record_salts;
mod record_vectors;
mod rekey;
mod secrets;
mod stack;
mod statuses;
mod store;
mod support;
mod wire;
mod wire_limits;
mod xts;
mod xts_kernels;
