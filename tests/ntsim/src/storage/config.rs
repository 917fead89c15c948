//! How disks are made, what their log holds, how their caches settle.

use super::fault::DiskOp;
use super::timing::Timing;
use std::path::PathBuf;

/// What a flush does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushSupport {
    /// Makes everything durable.
    #[default]
    Supported,
    /// Completed with `STATUS_INVALID_DEVICE_REQUEST`; nothing becomes durable.
    Unsupported,
    /// Completed with success; nothing becomes durable.
    Ignored,
}

/// How a disk is made.
#[derive(Clone, Debug)]
pub struct DiskConfig {
    /// Size in bytes; a multiple of the sector size.
    pub bytes: u64,
    /// Image file that holds the durable bytes; memory when `None`.
    pub image: Option<PathBuf>,
    /// Logical sector size in bytes: 512 or 4096.
    pub sector_size: u32,
    /// Physical sector size in bytes: 512 (512n) or 4096 (512e, 4Kn).
    pub physical_sector_size: u32,
    /// Whether writes go to a volatile cache first.
    pub volatile_cache: bool,
    /// What a flush does.
    pub flush: FlushSupport,
    /// How long requests take.
    pub timing: Timing,
    /// Whether TRIM is advertised.
    pub trim: bool,
    /// Whether the device and its media are removable.
    pub removable: bool,
    /// Alignment that the device asks of buffers, as `DEVICE_OBJECT.AlignmentRequirement` (a mask).
    pub alignment_mask: u32,
    /// Identity of the GPT disk.
    pub disk_guid: [u8; 16],
}

impl DiskConfig {
    /// A 512-byte-sector memory disk with a volatile cache.
    #[must_use]
    pub fn memory(bytes: u64) -> Self {
        Self {
            bytes,
            image: None,
            sector_size: 512,
            physical_sector_size: 512,
            volatile_cache: true,
            flush: FlushSupport::Supported,
            timing: Timing::immediate(),
            trim: true,
            removable: false,
            alignment_mask: 0,
            disk_guid: *b"ntsim-disk-guid!",
        }
    }

    /// A disk over a sparse image file.
    #[must_use]
    pub fn image(path: impl Into<PathBuf>, bytes: u64) -> Self {
        Self { image: Some(path.into()), ..Self::memory(bytes) }
    }

    /// The same disk with other sector sizes: (512, 512), (512, 4096) or (4096, 4096).
    #[must_use]
    pub fn sectors(mut self, logical: u32, physical: u32) -> Self {
        self.sector_size = logical;
        self.physical_sector_size = physical;
        self
    }

    /// The same disk with other timing.
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// The same disk, with or without a volatile write cache.
    #[must_use]
    pub fn volatile_cache(mut self, on: bool) -> Self {
        self.volatile_cache = on;
        self
    }
}

/// One request as it reached the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoRecord {
    /// Position in the log since the disk was made.
    pub seq: u64,
    /// Kind.
    pub op: DiskOp,
    /// First sector, disk-absolute.
    pub lba: u64,
    /// Sectors.
    pub sectors: u64,
    /// Whether the write was write-through (FUA).
    pub write_through: bool,
    /// IRP flags.
    pub irp_flags: u32,
    /// Stack-location flags.
    pub sl_flags: u8,
    /// Status of the request.
    pub status: i32,
    /// Virtual time of arrival in nanoseconds.
    pub time: u64,
    /// Virtual time at which it was over, in nanoseconds.
    pub done: u64,
}

/// How the cache settles when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survivors {
    /// Each sector independently: durable or any cached version, by the seed.
    Random,
    /// Like `Random`, and a sector may be torn: a prefix of one version, the rest of another.
    Torn,
    /// Every cached write survives.
    All,
    /// No cached write survives.
    Nothing,
}
