//! Names of the place where a volume lies.

use core::fmt::Write;

use crate::io::DiskPlace;

/// `\Device\HarddiskX\PartitionY`, in a buffer of its own; empty when unknown.
pub struct DiskPaths {
    partition: Text,
}

/// Text of at most so many bytes; what does not fit is left out.
struct Text {
    bytes: [u8; DiskPaths::MAX],
    used: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let end = self.used.saturating_add(text.len());
        let room = self.bytes.get_mut(self.used..end).ok_or(core::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.used = end;
        Ok(())
    }
}

impl DiskPaths {
    /// The longest path, in bytes: two 32-bit numbers in decimal.
    pub const MAX: usize = 48;

    /// The paths of a place.
    pub fn of(place: DiskPlace) -> Self {
        let mut partition = Text { bytes: [0; Self::MAX], used: 0 };
        if let Some((disk, number)) = place.numbers
            && write!(partition, r"\Device\Harddisk{disk}\Partition{number}").is_err()
        {
            partition.used = 0;
        }
        Self { partition }
    }

    /// The partition's path.
    pub fn partition(&self) -> &str {
        let bytes = self.partition.bytes.get(..self.partition.used).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}
