//! What a seed makes of its world.

use vck_common::jvck::JvckMetadataOptions;
use vck_ntsim::core::Rng;
use vck_ntsim::pnp::FileSystemKind;
use vck_ntsim::storage::Timing;

/// Bytes of one metadata replica.
const REPLICA: u64 = 131_072;
const MIB: u64 = 1 << 20;

/// The choices of one seed.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) sector_size: u32,
    pub(super) data_sectors: u64,
    pub(super) options: JvckMetadataOptions,
    pub(super) timing: Timing,
    pub(super) hostile: bool,
    pub(super) force_pending: bool,
    pub(super) preemption: u8,
    /// Threads that read and write, beside the one that sends commands.
    pub(super) users: u64,
    /// A file system holds the volume; otherwise it is raw.
    pub(super) mounted: bool,
    /// No sector has been written before.
    pub(super) blank: bool,
    pub(super) ops: u64,
}

impl Plan {
    pub(super) fn new(seed: u64, ops: u64) -> Self {
        let mut rng = Rng::new(seed, 101);
        let sector_size = if rng.chance(1, 4) { 4096 } else { 512 };
        let whole = 2 + if rng.chance(1, 8) { rng.below(10) } else { rng.below(4) };
        let data_bytes = whole * MIB + rng.below(MIB / 4096) * 4096;
        let timing = match rng.below(8) {
            0 | 1 => Timing::immediate(),
            2..=4 => Timing { jitter: 60_000, ..Timing::nvme(50_000) },
            5 | 6 => Timing { jitter: 400_000, queue_depth: 4, ..Timing::nvme(1_000_000) },
            _ => Timing { jitter: 1_000_000, queue_depth: 8, ..Timing::hdd() },
        };
        let headers = rng.chance(1, 4);
        let options = JvckMetadataOptions {
            use_header: u32::from(headers),
            use_footer: if headers { u32::from(rng.chance(1, 2)) } else { 1 + u32::from(rng.chance(3, 4)) },
            ..JvckMetadataOptions::default()
        };
        Self {
            seed,
            sector_size,
            data_sectors: data_bytes / u64::from(sector_size),
            options,
            timing,
            hostile: rng.chance(1, 3),
            force_pending: rng.chance(1, 4),
            preemption: [16, 64, 128][rng.index(3)],
            users: 2 + rng.below(3),
            mounted: rng.chance(1, 3),
            blank: rng.chance(1, 3),
            ops,
        }
    }

    /// Bytes of the volume.
    pub(super) fn volume_bytes(&self) -> u64 {
        let replicas = u64::from(self.options.use_header + self.options.use_footer);
        self.data_sectors * u64::from(self.sector_size) + replicas * REPLICA
    }

    /// First data sector on the volume.
    pub(super) fn offset_sectors(&self) -> u64 {
        u64::from(self.options.use_header) * REPLICA / u64::from(self.sector_size)
    }

    pub(super) fn file_system(&self) -> FileSystemKind {
        if self.mounted { FileSystemKind::Always } else { FileSystemKind::Signature }
    }
}
