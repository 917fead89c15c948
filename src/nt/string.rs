//! Counted UTF-16 strings.

use alloc::vec::Vec;
use core::marker::PhantomData;

use vck_common::{VckError, VckResult};

use super::sys;

/// An owned UTF-16 string.
pub struct WideString(Vec<u16>);

impl WideString {
    /// The longest string that an NT routine takes, in UTF-16 units.
    pub const MAX: usize = 32_767;

    /// Converts from UTF-8. Errors: no memory, or longer than [`MAX`](Self::MAX).
    pub fn try_new(text: &str) -> VckResult<Self> {
        Self::from_units(text.encode_utf16())
    }

    /// Collects UTF-16 units. Errors: as [`try_new`](Self::try_new).
    pub fn from_units(text: impl Iterator<Item = u16>) -> VckResult<Self> {
        let mut units = Vec::new();
        for unit in text {
            if units.len() == Self::MAX {
                return Err(VckError::InvalidData("the name is longer than NT allows"));
            }
            units.try_reserve(1).map_err(|_| VckError::NoMemory)?;
            units.push(unit);
        }
        Ok(Self(units))
    }

    /// The form that NT routines take.
    pub fn as_unicode(&self) -> UnicodeStr<'_> {
        let bytes = self.0.len().saturating_mul(2) as u16;
        UnicodeStr {
            raw: sys::UNICODE_STRING { Length: bytes, MaximumLength: bytes, Buffer: self.0.as_ptr().cast_mut() },
            text: PhantomData,
        }
    }
}

/// A borrowed UNICODE_STRING.
pub struct UnicodeStr<'a> {
    raw: sys::UNICODE_STRING,
    text: PhantomData<&'a [u16]>,
}

impl UnicodeStr<'_> {
    pub(super) fn as_ptr(&self) -> sys::PUNICODE_STRING {
        (&raw const self.raw).cast_mut()
    }
}

/// A UTF-16 slice as UTF-8, at most `limit` bytes of it; unpaired surrogates become U+FFFD.
pub(super) fn to_utf8(units: &[u16], limit: usize) -> VckResult<alloc::string::String> {
    let mut text = alloc::string::String::new();
    text.try_reserve_exact(limit).map_err(|_| VckError::NoMemory)?;
    for decoded in char::decode_utf16(units.iter().copied()) {
        let decoded = decoded.unwrap_or(char::REPLACEMENT_CHARACTER);
        if text.len().saturating_add(decoded.len_utf8()) > limit {
            break;
        }
        text.push(decoded);
    }
    Ok(text)
}
