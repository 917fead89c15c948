//! What the host may watch: every sector that arrives below the filters or is handed up above them.

use super::lock;
use crate::core::Kernel;
use std::sync::Arc;

/// Where data was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Written to the volume's own device, below every filter.
    WrittenBelow,
    /// Read from the volume's own device.
    ReadBelow,
    /// Given to the top of the volume's stack to be written.
    WrittenAbove,
    /// Handed up by the top of the volume's stack.
    ReadAbove,
}

/// Data at a place.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// Number of the volume.
    pub volume: usize,
    /// Where it was seen.
    pub side: Side,
    /// Byte offset on the volume, as the request at that place says.
    pub offset: u64,
    /// The bytes.
    pub data: &'a [u8],
}

/// The host's watcher. It must not call into the world, except to report.
pub(crate) type Observer = Arc<dyn Fn(&Kernel, &Observation<'_>) + Send + Sync>;

impl Kernel {
    /// Shows data to the watcher, if there is one.
    pub(crate) fn observe(&self, volume: usize, side: Side, offset: u64, data: impl FnOnce() -> Vec<u8>) {
        let observer = lock(&self.io.observer).clone();
        if let Some(observer) = observer {
            observer(self, &Observation { volume, side, offset, data: &data() });
        }
    }
}
