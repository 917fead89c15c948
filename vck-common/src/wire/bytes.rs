//! Byte fields are `bin` on the wire; serde alone would make an array of integers of them.

use serde::Serializer;

pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}
