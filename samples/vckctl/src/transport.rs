//! The way to a driver: the real one on Windows, one in a simulated kernel elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use vck_common::SectorIo;
use vck_common::wire::IoctlCode;

use crate::error::{CtlResult, Fault};
use crate::volume_name::VolumeName;

#[cfg(not(windows))]
pub(crate) mod simulated;
#[cfg(windows)]
mod windows;

/// What a volume looks like to the operating system, above the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VolumeFacts {
    /// Bytes.
    pub(crate) length: u64,
    /// Bytes of a sector.
    pub(crate) sector_size: u32,
}

/// A way to a driver, and to the one volume that was named on the command line.
pub(crate) trait Transport {
    /// Sends a control to the control device; the bytes it answered.
    fn ioctl(&mut self, code: IoctlCode, input: &[u8], room: usize) -> Result<Vec<u8>, Fault>;

    /// The NT path under which the driver is asked about the volume; `None` if no volume was named.
    fn volume_path(&self) -> Option<&str>;

    /// The volume's name as the user gave it, for messages.
    fn volume_name(&self) -> String;

    /// The volume as the operating system sees it.
    fn facts(&mut self) -> Result<VolumeFacts, Fault>;

    /// The whole volume, for reading, while no filter hides its end.
    fn sectors(&mut self) -> CtlResult<Box<dyn SectorIo>>;

    /// Makes the file system smaller, or the volume larger, by `bytes`, so that metadata fits behind it.
    fn make_room(&mut self, bytes: u64) -> CtlResult<()>;

    /// Whether volumes have to be attached anew by every command, because the machine lives no longer than that.
    fn is_ephemeral(&self) -> bool;

    /// Waits; conversion goes on meanwhile.
    fn sleep(&mut self, duration: Duration);

    /// Ends the use of the driver in an orderly way.
    fn finish(self: Box<Self>) -> CtlResult<()>;
}

/// What the command line says about where to go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Destination {
    /// `--volume`.
    pub(crate) volume: Option<VolumeName>,
    /// `--image`.
    pub(crate) image: Option<PathBuf>,
    /// `--sector-size`.
    pub(crate) sector_size: Option<u32>,
    /// `--seed`.
    pub(crate) seed: Option<u64>,
    /// `--driver-log`.
    pub(crate) driver_log: bool,
}

#[cfg(not(windows))]
impl Destination {
    /// The seed of the simulated machine.
    pub(crate) fn seed(&self) -> u64 {
        self.seed.unwrap_or(1)
    }
}

/// Opens the way.
#[cfg(not(windows))]
pub(crate) fn open(destination: &Destination) -> CtlResult<Box<dyn Transport>> {
    simulated::Simulated::open(destination).map(|transport| Box::new(transport) as Box<dyn Transport>)
}

/// Opens the way.
#[cfg(windows)]
pub(crate) fn open(destination: &Destination) -> CtlResult<Box<dyn Transport>> {
    windows::Live::open(destination).map(|transport| Box::new(transport) as Box<dyn Transport>)
}
