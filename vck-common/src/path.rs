//! Volume paths of requests to NT paths.
//!
//! Trailing backslashes are dropped. `\\.\X` and `\\?\X` become `\??\X`; what starts with `\??\`, `\Device\` or `\DosDevices\`
//! (in exactly this case) is kept; anything else gets `\??\` in front. The result is two borrowed pieces, so nothing is
//! copied until it is written where it is needed.

use core::fmt;

const DOS_PREFIX: &str = r"\??\";
const KEPT: [&str; 3] = [DOS_PREFIX, r"\Device\", r"\DosDevices\"];
const WIN32_PREFIXES: [&str; 2] = [r"\\.\", r"\\?\"];

/// An NT path in two pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NtPath<'a> {
    prefix: &'static str,
    rest: &'a str,
}

impl<'a> NtPath<'a> {
    /// Maps a volume path of a request.
    #[must_use]
    pub fn from_volume_path(path: &'a str) -> Self {
        let path = path.trim_end_matches('\\');
        if let Some(rest) = WIN32_PREFIXES.iter().find_map(|prefix| path.strip_prefix(prefix)) {
            return Self { prefix: DOS_PREFIX, rest };
        }
        let prefix = if KEPT.iter().any(|prefix| path.starts_with(prefix)) { "" } else { DOS_PREFIX };
        Self { prefix, rest: path }
    }

    /// Length in bytes of UTF-8.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.prefix.len().saturating_add(self.rest.len())
    }

    /// True for a path of no bytes; none is ever made.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The UTF-16 code units that a `UNICODE_STRING` takes.
    pub fn utf16(&self) -> impl Iterator<Item = u16> + use<'a> {
        self.prefix.encode_utf16().chain(self.rest.encode_utf16())
    }

    /// Writes the path at the start of `out`; `None` if it does not fit.
    #[must_use]
    pub fn write_to<'o>(&self, out: &'o mut [u8]) -> Option<&'o str> {
        let out = out.get_mut(..self.len())?;
        let (front, back) = out.split_at_mut_checked(self.prefix.len())?;
        front.copy_from_slice(self.prefix.as_bytes());
        back.copy_from_slice(self.rest.as_bytes());
        core::str::from_utf8(out).ok()
    }
}

impl fmt::Display for NtPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix)?;
        f.write_str(self.rest)
    }
}
