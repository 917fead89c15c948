//! The list of volumes, one entry at a time in both directions, so that neither side needs a collection.

use messagepack_serde::from_slice;

use super::{
    VolumeEntry,
    encode::{serialize_into, serialized_len},
    scan,
};
use crate::{VckError, VckResult};

/// The most volumes a client reads from one answer.
const MAX_VOLUMES: u32 = 1024;

/// Writes the answer to `LIST_VOLUMES` entry by entry.
///
/// The bytes are those of [`super::ListResp`] with the same entries. `count` must be known beforehand because the header
/// states it; [`ListEncoder::finish`] refuses a list of another length.
pub struct ListEncoder<'o> {
    out: &'o mut [u8],
    written: usize,
    left: u16,
}

impl<'o> ListEncoder<'o> {
    /// Begins a list of `count` volumes at the start of `out`.
    ///
    /// # Errors
    /// [`VckError::BufferTooSmall`] if not even the header fits.
    pub fn new(out: &'o mut [u8], count: u16) -> VckResult<Self> {
        let mut list = Self { out, written: 0, left: count };
        list.put(b"\x81\xA7volumes")?;
        let [high, low] = count.to_be_bytes();
        if count <= 15 {
            list.put(&[0x90 | low])?;
        } else {
            list.put(&[0xDC, high, low])?;
        }
        Ok(list)
    }

    /// Appends one volume. Callers pass them in ascending byte order of the path.
    ///
    /// # Errors
    /// [`VckError::BufferTooSmall`] with the length needed up to and including this volume; [`VckError::MsgpackEncode`] for
    /// more volumes than announced.
    pub fn push(&mut self, entry: &VolumeEntry<'_>) -> VckResult<()> {
        self.left = self.left.checked_sub(1).ok_or(VckError::MsgpackEncode("more volumes than announced"))?;
        let needed = self.written.saturating_add(serialized_len(entry)?);
        let room = self.out.get_mut(self.written..).unwrap_or_default();
        match serialize_into(entry, room) {
            Ok(len) => {
                self.written = self.written.saturating_add(len);
                Ok(())
            }
            Err(VckError::BufferTooSmall { .. }) => Err(VckError::BufferTooSmall { needed }),
            Err(error) => Err(error),
        }
    }

    /// The length of the whole answer.
    ///
    /// # Errors
    /// [`VckError::MsgpackEncode`] if fewer volumes than announced were written.
    pub fn finish(self) -> VckResult<usize> {
        if self.left > 0 {
            return Err(VckError::MsgpackEncode("fewer volumes than announced"));
        }
        Ok(self.written)
    }

    fn put(&mut self, bytes: &[u8]) -> VckResult<()> {
        let needed = self.written.saturating_add(bytes.len());
        let Some(room) = self.out.get_mut(self.written..needed) else {
            return Err(VckError::BufferTooSmall { needed });
        };
        room.copy_from_slice(bytes);
        self.written = needed;
        Ok(())
    }
}

/// Calls `each` for every volume of an answer to `LIST_VOLUMES`, for clients.
///
/// # Errors
/// [`VckError::Malformed`] or [`VckError::MsgpackDecode`]; entries before the bad one have then been delivered.
pub fn for_each_volume<'a>(message: &'a [u8], mut each: impl FnMut(VolumeEntry<'a>)) -> VckResult<()> {
    scan::for_each_element(message, b"volumes", MAX_VOLUMES, |element| {
        let entry = from_slice(element).map_err(|_| VckError::MsgpackDecode("an entry of the list is not a volume"))?;
        each(entry);
        Ok(())
    })
}
