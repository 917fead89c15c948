//! Encoding into a buffer of the caller.

use core::convert::Infallible;

use messagepack_serde::{messagepack_core::io::IoWrite, ser::to_core_writer, to_slice};
use serde::Serialize;

use super::{Request, Response};
use crate::{VckError, VckResult};

/// Counts instead of writing.
struct Counter(usize);

impl IoWrite for Counter {
    type Error = Infallible;

    fn write(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(())
    }
}

pub(crate) fn serialized_len<T: Serialize>(value: &T) -> VckResult<usize> {
    let mut counter = Counter(0);
    to_core_writer(value, &mut counter).map_err(|_| VckError::MsgpackEncode("a value has no encoding"))?;
    Ok(counter.0)
}

pub(crate) fn serialize_into<T: Serialize>(value: &T, out: &mut [u8]) -> VckResult<usize> {
    let needed = serialized_len(value)?;
    if out.len() < needed {
        return Err(VckError::BufferTooSmall { needed });
    }
    to_slice(value, out).map_err(|_| VckError::MsgpackEncode("a value has no encoding"))
}

/// The bytes that [`encode`] will write, for checking an output buffer before acting.
///
/// # Errors
/// [`VckError::MsgpackEncode`]; no response of this crate gives it.
pub fn encoded_len<T: Response>(response: &T) -> VckResult<usize> {
    serialized_len(response)
}

/// Encodes a response at the start of `out` and returns its length.
///
/// # Errors
/// [`VckError::BufferTooSmall`] with the length needed; `out` is then untouched.
pub fn encode<T: Response>(response: &T, out: &mut [u8]) -> VckResult<usize> {
    serialize_into(response, out)
}

/// Encodes a request at the start of `out`, for clients. Whoever owns `out` wipes it if the request carries a key.
///
/// # Errors
/// As [`encode`].
pub fn encode_request<'a, T: Request<'a>>(request: &T, out: &mut [u8]) -> VckResult<usize> {
    serialize_into(request, out)
}
