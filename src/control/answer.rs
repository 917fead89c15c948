//! Answers, and their way into the caller's buffer.

use alloc::string::String;

use vck_common::wire::{
    AttachResp, BenchResp, EmptyResp, ListEncoder, PrepareResp, ProgressEvent, VolumeEntry, VolumeStatus, encode,
};
use vck_common::{VckError, VckResult};

use crate::engine::Progress;
use crate::nt::KVec;
use crate::volume::{AttachOutcome, Attachment, ErrorText, Source, VolumeSnapshot};

/// What a handler found; owns everything, so that the request's buffer can be wiped before it is filled.
pub(super) enum Answer {
    /// No bytes at all.
    NoBytes,
    /// An empty map.
    Empty,
    /// State of a bound volume.
    Status(VolumeSnapshot),
    /// State of a path that leads to no bound volume.
    NotAttached(String),
    /// Progress of a bound volume.
    Progress(Progress),
    /// Outcome of PREPARE.
    Prepared(Attachment),
    /// Outcome of ATTACH.
    Attached(Attachment),
    /// Outcome of BENCH_AES.
    Bench(BenchResp<'static>),
    /// All bound volumes.
    List(KVec<VolumeSnapshot>),
}

impl Answer {
    /// Encodes into `out`; the number of bytes. Errors: [`VckError::BufferTooSmall`].
    pub(super) fn encode(&self, out: &mut [u8]) -> VckResult<usize> {
        match self {
            Self::NoBytes => Ok(0),
            Self::Empty => encode(&EmptyResp {}, out),
            Self::Status(snapshot) => encode(&status_of(snapshot), out),
            Self::NotAttached(path) => encode(&not_attached(path), out),
            Self::Progress(progress) => {
                let error = ErrorText::of(progress);
                let event = ProgressEvent {
                    encrypted_sector: progress.boundary.get(),
                    total_sectors: progress.total.get(),
                    state: i32::from(progress.state.wire_code()),
                    error: error.as_str(),
                };
                encode(&event, out)
            }
            Self::Prepared(attachment) => encode(&prepared(attachment), out),
            Self::Attached(attachment) => {
                let Attachment { geometry, .. } = attachment;
                let answer = AttachResp {
                    offset_sector: geometry.offset_sector().get(),
                    total_sectors: geometry.data_sectors().get(),
                    sector_size: geometry.sector_size().bytes(),
                };
                encode(&answer, out)
            }
            Self::Bench(answer) => encode(answer, out),
            Self::List(volumes) => encode_list(volumes, out),
        }
    }
}

fn prepared(attachment: &Attachment) -> PrepareResp<'_> {
    let Attachment { geometry, paths, start, outcome } = attachment;
    PrepareResp {
        offset_sector: geometry.offset_sector().get(),
        data_sectors: geometry.data_sectors().get(),
        sector_size: geometry.sector_size().bytes(),
        raw_partition_path: paths.partition(),
        raw_disk_path: "",
        partition_start_lba: start.get(),
        fully_attached: *outcome == AttachOutcome::Complete,
    }
}

fn status_of(snapshot: &VolumeSnapshot) -> VolumeStatus<'_> {
    VolumeStatus {
        volume_path: &snapshot.name,
        state: i32::from(snapshot.progress.state.wire_code()),
        encrypted_sector: snapshot.progress.boundary.get(),
        total_sectors: snapshot.progress.total.get(),
        sector_size: snapshot.geometry.sector_size().bytes(),
        is_attached: true,
        filter_below_fsd: snapshot.filter_below_file_system,
    }
}

fn not_attached(path: &str) -> VolumeStatus<'_> {
    VolumeStatus {
        volume_path: path,
        state: 0,
        encrypted_sector: 0,
        total_sectors: 0,
        sector_size: 0,
        is_attached: false,
        filter_below_fsd: false,
    }
}

fn encode_list(volumes: &[VolumeSnapshot], out: &mut [u8]) -> VckResult<usize> {
    let count =
        u16::try_from(volumes.len()).map_err(|_| VckError::MsgpackEncode("more volumes than a list can hold"))?;
    let mut list = ListEncoder::new(out, count)?;
    for snapshot in volumes {
        list.push(&VolumeEntry {
            volume_path: &snapshot.name,
            state: i32::from(snapshot.progress.state.wire_code()),
            encrypted_sector: snapshot.progress.boundary.get(),
            total_sectors: snapshot.progress.total.get(),
            sector_size: snapshot.geometry.sector_size().bytes(),
            is_os_volume: snapshot.source == Source::OsVolume,
        })?;
    }
    list.finish()
}
