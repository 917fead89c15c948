//! From control codes to what the volumes do.

use vck_common::jvck::JvckMetadataOptions;
use vck_common::wire::{
    self, AttachReq, AttachResp, BenchReq, BenchResp, EmptyResp, IoctlCode, PrepareReq, PrepareResp, VolumeRequest,
};
use vck_common::{VckError, VckResult};

use super::answer::Answer;
use super::bench;
use crate::engine::Command;
use crate::nt::{CancelFlag, Passive};
use crate::volume::{Core, DiskPaths, Prepare, Source, owned_text};

/// Who asks whom.
pub(super) struct Asked<'a> {
    pub(super) passive: Passive,
    pub(super) core: &'a Core,
    /// Whether the driver may open paths for this caller.
    pub(super) privileged: bool,
    /// Bytes of room for the answer.
    pub(super) room: usize,
    /// Whether the caller has given up.
    pub(super) cancelled: CancelFlag<'a>,
}

/// Refuses a control whose answer would not fit, before anything is done. Queries are measured when they are encoded, a
/// comparison of kernels when its request is known.
pub(super) fn check_room(code: IoctlCode, output: usize) -> VckResult<()> {
    let needed = match code {
        IoctlCode::StartEncrypt | IoctlCode::StartDecrypt | IoctlCode::Pause | IoctlCode::Detach => EmptyResp::MAX_LEN,
        IoctlCode::JvckAttach => AttachResp::MAX_LEN,
        IoctlCode::JvckPrepare => PrepareResp::max_len(DiskPaths::MAX, 0),
        IoctlCode::BenchAes => BenchResp::MAX_LEN,
        IoctlCode::PauseOsVolume
        | IoctlCode::DetachAllVolumes
        | IoctlCode::GetStatus
        | IoctlCode::GetProgress
        | IoctlCode::ListVolumes => 0,
    };
    if output < needed { Err(VckError::BufferTooSmall { needed }) } else { Ok(()) }
}

/// Decodes the message and does what it asks.
pub(super) fn run(asked: &Asked<'_>, code: IoctlCode, message: &mut [u8]) -> VckResult<Answer> {
    let Asked { passive, core, .. } = *asked;
    match code {
        IoctlCode::GetStatus => status(asked, message),
        IoctlCode::GetProgress => {
            let request: VolumeRequest<'_> = wire::decode(message)?;
            Ok(Answer::Progress(asked.snapshot(request.volume_path)?.progress))
        }
        IoctlCode::StartEncrypt => convert(asked, message, Command::StartEncrypt),
        IoctlCode::StartDecrypt => convert(asked, message, Command::StartDecrypt),
        IoctlCode::Pause => convert(asked, message, Command::Pause),
        IoctlCode::JvckPrepare => prepare(asked, message),
        IoctlCode::JvckAttach => {
            let request: AttachReq<'_> = wire::decode(message)?;
            let path = if request.nt_device_path.is_empty() { request.volume_path } else { request.nt_device_path };
            core.attach(passive, path, request.vmk).map(Answer::Attached)
        }
        IoctlCode::Detach => {
            let request: VolumeRequest<'_> = wire::decode(message)?;
            core.detach(passive, request.volume_path).map(|()| Answer::Empty)
        }
        IoctlCode::PauseOsVolume => core.pause_os_volumes(passive).map(|()| Answer::NoBytes),
        IoctlCode::DetachAllVolumes => {
            core.detach_all(passive);
            Ok(Answer::NoBytes)
        }
        IoctlCode::BenchAes => {
            let request: BenchReq = wire::decode(message)?;
            bench::run(request, core.features, asked.room, asked.cancelled).map(Answer::Bench)
        }
        IoctlCode::ListVolumes => core.snapshots().map(Answer::List),
    }
}

impl Asked<'_> {
    fn snapshot(&self, path: &str) -> VckResult<crate::volume::VolumeSnapshot> {
        if self.privileged { self.core.snapshot(self.passive, path) } else { self.core.snapshot_by_name(path) }
    }
}

fn status(asked: &Asked<'_>, message: &mut [u8]) -> VckResult<Answer> {
    let request: VolumeRequest<'_> = wire::decode(message)?;
    match asked.snapshot(request.volume_path) {
        Ok(snapshot) => Ok(Answer::Status(snapshot)),
        Err(VckError::NotAttached) => owned_text(request.volume_path).map(Answer::NotAttached),
        Err(error) => Err(error),
    }
}

fn convert(asked: &Asked<'_>, message: &mut [u8], command: Command) -> VckResult<Answer> {
    let request: VolumeRequest<'_> = wire::decode(message)?;
    asked.core.convert(asked.passive, request.volume_path, command).map(|()| Answer::Empty)
}

fn prepare(asked: &Asked<'_>, message: &mut [u8]) -> VckResult<Answer> {
    let request: PrepareReq<'_> = wire::decode(message)?;
    let prepare = Prepare {
        volume_path: request.volume_path,
        nt_device_path: request.nt_device_path,
        options: JvckMetadataOptions {
            use_header: request.use_header,
            use_footer: request.use_footer,
            metadata_size: request.metadata_size,
        },
        vmk: request.vmk,
        block: request.metadata_block,
        source: if request.is_os_volume { Source::OsVolume } else { Source::DataVolume },
    };
    asked.core.prepare(asked.passive, &prepare).map(Answer::Prepared)
}
