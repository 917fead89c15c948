//! The control device's wire format: codes, and `MessagePack` requests and responses.
//!
//! # Invariants
//! * A request is checked by an iterative scan ([`scan`]) before the recursive decoder sees it, so stack use does not
//!   depend on the message: at most 64 KiB, depth 8, 64 entries per container, strings of 4 KiB.
//! * Requests decode borrowed from the request buffer and responses encode into the caller's buffer: nothing is
//!   allocated, and no secret is copied. Whoever owns the request buffer wipes it when the request is done.
//! * Response bytes are exactly those that existing clients were written against.
//!
//! Decoding a request may rewrite its buffer: see [`scan`].

mod bytes;
pub mod codes;
mod encode;
mod list;
mod request;
mod response;
pub mod scan;

pub use codes::IoctlCode;
pub(crate) use encode::serialize_into;
pub use encode::{encode, encode_request, encoded_len};
pub use list::{ListEncoder, for_each_volume};
pub use request::{AttachReq, BenchReq, PrepareReq, Request, VolumeRequest, decode};
pub use response::{
    AttachResp, BenchResp, EmptyResp, ListResp, PrepareResp, ProgressEvent, Response, VolumeEntry, VolumeStatus,
    WireState, decode_response,
};
