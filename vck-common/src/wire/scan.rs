//! The iterative check of a message, run before the recursive decoder sees it.
//!
//! Limits: message 64 KiB, depth 8 (the outer container is depth 1), 64 entries per container, strings 4 KiB, every length
//! within the buffer, no extension types. A byte field may also arrive as an array of up to 4096 integers 0..=255; since an
//! array cannot be borrowed as bytes, it is rewritten in place to the compact form, the rest of the message is moved
//! down, and the freed tail is zeroed so that no second copy of a secret stays behind.
//!
//! The compact form never needs more room than the array: an array of up to 15 single-byte integers holds ASCII and
//! becomes a `fixstr`, whose header is also one byte long; any larger element or count leaves room for a `bin` header.

use crate::{VckError, VckResult};

/// The longest message, in bytes.
pub const MAX_MESSAGE: usize = 65_536;
/// The deepest nesting; the outer container counts.
pub const MAX_DEPTH: usize = 8;
/// The most entries of an array or map.
pub const MAX_ENTRIES: u32 = 64;
/// The longest string, in bytes.
pub const MAX_STRING: usize = 4096;
/// The most elements of a byte field sent as an array of integers.
pub const MAX_BYTE_ARRAY: u32 = 4096;

/// A field that holds bytes.
#[derive(Clone, Copy, Debug)]
pub struct ByteField {
    /// Key in the map form.
    pub name: &'static str,
    /// Position in the array form, and the key when keys are sent as field numbers.
    pub index: u32,
    /// Whether a string may stand for bytes.
    pub accept_str: bool,
}

#[derive(Clone, Copy)]
enum Head {
    Scalar,
    /// `None` for a negative number.
    Int(Option<u64>),
    Str(usize),
    Bin(usize),
    Array(u32),
    Map(u32),
}

const TRUNCATED: VckError = VckError::Malformed("the message ends inside a value");

/// Reads heads and skips values; never recurses.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    max_entries: u32,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> VckResult<&'a [u8]> {
        let end = self.at.checked_add(len).ok_or(TRUNCATED)?;
        let taken = self.bytes.get(self.at..end).ok_or(TRUNCATED)?;
        self.at = end;
        Ok(taken)
    }

    fn uint(&mut self, len: usize) -> VckResult<u64> {
        Ok(self.take(len)?.iter().fold(0, |value, &byte| (value << 8) | u64::from(byte)))
    }

    fn int(&mut self, len: usize) -> VckResult<Head> {
        let value = self.uint(len)?;
        let negative = match len {
            1 => value > 0x7F,
            2 => value > 0x7FFF,
            4 => value > 0x7FFF_FFFF,
            _ => value > 0x7FFF_FFFF_FFFF_FFFF,
        };
        Ok(Head::Int((!negative).then_some(value)))
    }

    fn len(&mut self, len: usize) -> VckResult<usize> {
        usize::try_from(self.uint(len)?).map_err(|_| TRUNCATED)
    }

    fn count(&mut self, len: usize) -> VckResult<u32> {
        u32::try_from(self.uint(len)?).map_err(|_| TRUNCATED)
    }

    fn head(&mut self) -> VckResult<Head> {
        let [format] = *self.take(1)? else { return Err(TRUNCATED) };
        Ok(match format {
            0x00..=0x7F => Head::Int(Some(u64::from(format))),
            0x80..=0x8F => Head::Map(u32::from(format & 0x0F)),
            0x90..=0x9F => Head::Array(u32::from(format & 0x0F)),
            0xA0..=0xBF => Head::Str(usize::from(format & 0x1F)),
            0xC0 | 0xC2 | 0xC3 => Head::Scalar,
            0xC1 => return Err(VckError::Malformed("the byte C1 is no value")),
            0xC4 => Head::Bin(self.len(1)?),
            0xC5 => Head::Bin(self.len(2)?),
            0xC6 => Head::Bin(self.len(4)?),
            0xC7..=0xC9 | 0xD4..=0xD8 => return Err(VckError::Malformed("extension types are not accepted")),
            0xCA => self.take(4).map(|_| Head::Scalar)?,
            0xCB => self.take(8).map(|_| Head::Scalar)?,
            0xCC => Head::Int(Some(self.uint(1)?)),
            0xCD => Head::Int(Some(self.uint(2)?)),
            0xCE => Head::Int(Some(self.uint(4)?)),
            0xCF => Head::Int(Some(self.uint(8)?)),
            0xD0 => self.int(1)?,
            0xD1 => self.int(2)?,
            0xD2 => self.int(4)?,
            0xD3 => self.int(8)?,
            0xD9 => Head::Str(self.len(1)?),
            0xDA => Head::Str(self.len(2)?),
            0xDB => Head::Str(self.len(4)?),
            0xDC => Head::Array(self.count(2)?),
            0xDD => Head::Array(self.count(4)?),
            0xDE => Head::Map(self.count(2)?),
            0xDF => Head::Map(self.count(4)?),
            0xE0..=0xFF => Head::Int(None),
        })
    }

    fn check_entries(&self, count: u32) -> VckResult<u32> {
        if count > self.max_entries {
            return Err(VckError::Malformed("a container has too many entries"));
        }
        Ok(count)
    }

    fn skip_string(&mut self, len: usize) -> VckResult<&'a [u8]> {
        if len > MAX_STRING {
            return Err(VckError::Malformed("a string is longer than 4096 bytes"));
        }
        self.take(len)
    }

    /// Checks and skips the value whose head was just read; it stands inside `outer` containers.
    fn skip_rest(&mut self, head: Head, outer: usize) -> VckResult<()> {
        // Values still to be skipped, per open container.
        let mut open = [0_u32; MAX_DEPTH];
        let mut depth = 0_usize;
        let mut next = Some(head);
        loop {
            let head = match next.take() {
                Some(head) => head,
                None => self.head()?,
            };
            let children = match head {
                Head::Scalar | Head::Int(_) => 0,
                Head::Str(len) => self.skip_string(len).map(|_| 0)?,
                Head::Bin(len) => self.take(len).map(|_| 0)?,
                Head::Array(count) => self.check_entries(count)?,
                Head::Map(count) => self.check_entries(count)?.saturating_mul(2),
            };
            if matches!(head, Head::Array(_) | Head::Map(_)) {
                let too_deep = VckError::Malformed("the message is nested too deeply");
                if outer.saturating_add(depth) >= MAX_DEPTH {
                    return Err(too_deep);
                }
                *open.get_mut(depth).ok_or(too_deep)? = children;
                depth = depth.saturating_add(1);
            }
            // Close every container that has nothing left; count one value off the innermost that has.
            loop {
                let Some(level) = depth.checked_sub(1) else { return Ok(()) };
                match open.get_mut(level) {
                    Some(left) if *left > 0 => {
                        *left = left.saturating_sub(1);
                        break;
                    }
                    _ => depth = level,
                }
            }
        }
    }
}

/// Checks a message without byte fields, or one that may only be read. Returns the length of its outer value; what
/// follows is tolerated and ignored.
///
/// # Errors
/// [`VckError::Malformed`] with the limit that was exceeded.
pub fn check(message: &[u8], max_entries: u32) -> VckResult<usize> {
    check_length(message)?;
    let mut cursor = Cursor { bytes: message, at: 0, max_entries };
    let head = cursor.head()?;
    cursor.skip_rest(head, 0)?;
    Ok(cursor.at)
}

/// Checks a request and rewrites its byte fields from arrays to bytes. Returns the length of the outer value afterwards.
///
/// # Errors
/// [`VckError::Malformed`] with the limit that was exceeded; the message may then be partly rewritten.
pub fn check_and_compact(message: &mut [u8], fields: &[ByteField]) -> VckResult<usize> {
    check_length(message)?;
    let mut cursor = Cursor { bytes: message, at: 0, max_entries: MAX_ENTRIES };
    let (entries, keyed) = match cursor.head()? {
        Head::Map(count) => (cursor.check_entries(count)?, true),
        Head::Array(count) => (cursor.check_entries(count)?, false),
        _ => return Err(VckError::Malformed("the message is neither a map nor an array")),
    };
    let mut at = cursor.at;
    for position in 0..entries {
        let mut cursor = Cursor { bytes: message, at, max_entries: MAX_ENTRIES };
        let field = if keyed { key_field(&mut cursor, fields)? } else { position_field(position, fields) };
        let start = cursor.at;
        match (field, cursor.head()?) {
            (Some(_), Head::Array(count)) => {
                let body = cursor.at;
                at = compact(message, start, body, count)?;
            }
            (Some(field), Head::Str(_)) if !field.accept_str => {
                return Err(VckError::Malformed("a string stands where bytes are expected"));
            }
            (_, head) => {
                cursor.skip_rest(head, 1)?;
                at = cursor.at;
            }
        }
    }
    Ok(at)
}

/// Calls `each` with the bytes of every element of the array that stands under `name` in a map.
///
/// # Errors
/// [`VckError::Malformed`], or the first error of `each`.
pub(super) fn for_each_element<'a>(
    message: &'a [u8],
    name: &[u8],
    max_entries: u32,
    mut each: impl FnMut(&'a [u8]) -> VckResult<()>,
) -> VckResult<()> {
    let len = check(message, max_entries)?;
    let mut cursor = Cursor { bytes: message.get(..len).ok_or(TRUNCATED)?, at: 0, max_entries };
    let Head::Map(entries) = cursor.head()? else {
        return Err(VckError::Malformed("the message is not a map"));
    };
    for _ in 0..entries {
        let wanted = match cursor.head()? {
            Head::Str(len) | Head::Bin(len) => cursor.skip_string(len)? == name,
            head => cursor.skip_rest(head, 1).map(|()| false)?,
        };
        match cursor.head()? {
            Head::Array(count) if wanted => {
                for _ in 0..count {
                    let start = cursor.at;
                    let head = cursor.head()?;
                    cursor.skip_rest(head, 2)?;
                    each(message.get(start..cursor.at).ok_or(TRUNCATED)?)?;
                }
            }
            head => cursor.skip_rest(head, 1)?,
        }
    }
    Ok(())
}

fn check_length(message: &[u8]) -> VckResult<()> {
    if message.len() > MAX_MESSAGE {
        return Err(VckError::Malformed("the message is longer than 64 KiB"));
    }
    Ok(())
}

fn position_field(position: u32, fields: &[ByteField]) -> Option<&ByteField> {
    fields.iter().find(|field| field.index == position)
}

/// Skips a key and tells which byte field it names, if any.
fn key_field<'f>(cursor: &mut Cursor<'_>, fields: &'f [ByteField]) -> VckResult<Option<&'f ByteField>> {
    let name = match cursor.head()? {
        Head::Str(len) | Head::Bin(len) => cursor.skip_string(len)?,
        Head::Int(Some(index)) => return Ok(fields.iter().find(|field| u64::from(field.index) == index)),
        head => return cursor.skip_rest(head, 1).map(|()| None),
    };
    Ok(fields.iter().find(|field| field.name.as_bytes() == name))
}

/// Rewrites the array of `count` integers whose head is at `start` and whose elements begin at `body`. Returns where the
/// next value begins.
fn compact(message: &mut [u8], start: usize, body: usize, count: u32) -> VckResult<usize> {
    if count > MAX_BYTE_ARRAY {
        return Err(VckError::Malformed("a byte field has more than 4096 elements"));
    }
    let (end, widest) = measure(message, body, count)?;
    let [low, high, ..] = count.to_le_bytes();
    // See the module text for why each of these fits in front of the elements still to be read.
    let (head, head_len) = match count {
        0..=15 if widest <= 0x7F => ([0xA0 | low, 0, 0], 1),
        0..=255 => ([0xC4, low, 0], 2),
        _ => ([0xC5, high, low], 3),
    };
    let mut write = start.checked_add(head_len).ok_or(TRUNCATED)?;
    // The bytes are moved towards the front before the head goes in, one element at a time, so that no element is
    // overwritten before it was read: the write position never passes the read position.
    let mut read = body;
    let mut pending = None;
    for _ in 0..count {
        let mut cursor = Cursor { bytes: message, at: read, max_entries: 0 };
        let value = byte_value(cursor.head()?)?;
        read = cursor.at;
        if let Some((at, byte)) = pending.replace((write, value)) {
            put(message, at, byte)?;
        }
        write = write.checked_add(1).ok_or(TRUNCATED)?;
    }
    if let Some((at, byte)) = pending {
        put(message, at, byte)?;
    }
    for (offset, byte) in head.into_iter().take(head_len).enumerate() {
        put(message, start.checked_add(offset).ok_or(TRUNCATED)?, byte)?;
    }
    close_gap(message, write, end)?;
    Ok(write)
}

/// The end of an integer array and its largest element.
fn measure(message: &[u8], body: usize, count: u32) -> VckResult<(usize, u8)> {
    let mut cursor = Cursor { bytes: message, at: body, max_entries: 0 };
    let mut widest = 0;
    for _ in 0..count {
        widest = byte_value(cursor.head()?)?.max(widest);
    }
    Ok((cursor.at, widest))
}

fn byte_value(head: Head) -> VckResult<u8> {
    match head {
        Head::Int(Some(value)) => u8::try_from(value).ok(),
        _ => None,
    }
    .ok_or(VckError::Malformed("an element of a byte field is not an integer from 0 to 255"))
}

fn put(message: &mut [u8], at: usize, byte: u8) -> VckResult<()> {
    *message.get_mut(at).ok_or(TRUNCATED)? = byte;
    Ok(())
}

/// Moves everything from `from` on down to `to` and zeroes what is left over at the end.
fn close_gap(message: &mut [u8], to: usize, from: usize) -> VckResult<()> {
    let gap = from.checked_sub(to).ok_or(TRUNCATED)?;
    let kept = message.len().checked_sub(gap).ok_or(TRUNCATED)?;
    if from > message.len() {
        return Err(TRUNCATED);
    }
    message.copy_within(from.., to);
    message.get_mut(kept..).ok_or(TRUNCATED)?.fill(0);
    Ok(())
}
