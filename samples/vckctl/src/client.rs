//! Typed requests over a transport. Buffers that may carry a key are wiped.

use vck_common::jvck::JvckMetadataOptions;
use vck_common::wire::{
    self, AttachReq, BenchReq, BenchResp, IoctlCode, PrepareReq, ProgressEvent, Request, VolumeRequest, VolumeStatus,
    WireState, decode_response, encode_request, for_each_volume,
};
use zeroize::Zeroizing;

use crate::error::{CtlError, CtlResult, Exit, Fault};
use crate::transport::Transport;

/// Room for every answer; what existing clients use.
const ROOM: usize = 65536;
/// Room for a request: a key, a block and two paths at their longest.
const REQUEST: usize = 16384;

/// A volume's state as the driver tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Volume {
    /// The name it is known by.
    pub(crate) path: String,
    /// State number.
    pub(crate) state: i32,
    /// Sectors that are encrypted.
    pub(crate) encrypted: u64,
    /// Sectors of the data region.
    pub(crate) total: u64,
    /// Bytes of a sector.
    pub(crate) sector_size: u32,
    /// Whether it is attached.
    pub(crate) attached: bool,
    /// Whether the filter sits below the file system; not known for a list's entries.
    pub(crate) below_file_system: Option<bool>,
    /// Whether it is an OS volume; known for a list's entries alone.
    pub(crate) is_os: Option<bool>,
    /// What conversion last failed with.
    pub(crate) error: String,
}

/// Speeds of the driver's cipher, in MiB per second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Measured {
    /// Bytes that were encrypted, and decrypted.
    pub(crate) size: u64,
    /// The kernel that the driver uses, if it told.
    pub(crate) kernel: Option<String>,
    /// Encryption, decryption.
    pub(crate) speeds: [u64; 2],
    /// The same of the portable kernel, if the driver told.
    pub(crate) portable: Option<[u64; 2]>,
}

impl Measured {
    pub(crate) fn of(answer: &BenchResp<'_>) -> Self {
        let portable = [answer.portable_encrypt_mib_s, answer.portable_decrypt_mib_s];
        Self {
            size: answer.size_bytes,
            kernel: Some(answer.kernel.to_owned()).filter(|name| !name.is_empty()),
            speeds: [answer.encrypt_mib_s, answer.decrypt_mib_s],
            portable: Some(portable).filter(|speeds| !speeds.contains(&0)),
        }
    }
}

impl Volume {
    /// Encrypted part in percent; 0 of nothing.
    pub(crate) fn percent(&self) -> f64 {
        percent(self.encrypted, self.total)
    }

    /// Whether an error has stopped the conversion.
    pub(crate) fn is_faulted(&self) -> bool {
        WireState::from_i32(self.state) == Some(WireState::Paused) && self.error.starts_with(ProgressEvent::FAULTED)
    }

    /// The name of the state.
    pub(crate) fn state_name(&self) -> &'static str {
        if self.is_faulted() {
            ProgressEvent::FAULTED
        } else {
            WireState::from_i32(self.state).map_or("unknown", WireState::name)
        }
    }

    /// State number and name, and for an idle volume where it stands.
    pub(crate) fn describe(&self) -> String {
        let place = match (WireState::from_i32(self.state), self.encrypted) {
            (Some(WireState::Idle), 0) => ", nothing encrypted",
            (Some(WireState::Idle), at) if at == self.total => ", fully encrypted",
            (Some(WireState::Idle), _) => ", partly encrypted",
            _ => "",
        };
        format!("{} ({}{place})", self.state, self.state_name())
    }
}

/// Part in percent; 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "a percentage for people")]
pub(crate) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// A driver behind a transport, and the volume that commands are about.
pub(crate) struct Client {
    transport: Box<dyn Transport>,
}

impl Client {
    /// A client of a transport.
    pub(crate) fn new(transport: Box<dyn Transport>) -> Self {
        Self { transport }
    }

    /// The way to the driver.
    pub(crate) fn transport(&mut self) -> &mut dyn Transport {
        &mut *self.transport
    }

    /// The volume's name for messages.
    pub(crate) fn name(&self) -> String {
        self.transport.volume_name()
    }

    /// Whether a volume was named.
    pub(crate) fn has_volume(&self) -> bool {
        self.transport.volume_path().is_some()
    }

    /// The volume's path for requests.
    pub(crate) fn path(&self) -> CtlResult<String> {
        let path = self.transport.volume_path().map(str::to_owned);
        path.ok_or_else(|| CtlError::usage("no volume was named").advise("give --volume D: (Windows) or --image FILE"))
    }

    /// Ends the use of the driver.
    pub(crate) fn finish(self) -> CtlResult<()> {
        self.transport.finish()
    }

    fn send<'r>(&mut self, code: IoctlCode, request: &impl Request<'r>) -> Result<Vec<u8>, Fault> {
        let mut message = Zeroizing::new(vec![0; REQUEST]);
        let length = encode_request(request, &mut message).map_err(Fault::of)?;
        let message = message.get(..length).unwrap_or_default();
        self.transport.ioctl(code, message, ROOM)
    }

    fn refused(&self, action: &str, fault: Fault) -> CtlError {
        CtlError::refused(action, &self.name(), fault)
    }

    /// State of the volume.
    pub(crate) fn status(&mut self) -> CtlResult<Volume> {
        let path = self.path()?;
        let request = VolumeRequest { volume_path: &path };
        let answer = self.send(IoctlCode::GetStatus, &request).map_err(|fault| self.refused("query", fault))?;
        let status: VolumeStatus<'_> = decode_response(&answer).map_err(|error| misunderstood("status", error))?;
        let mut volume = Volume {
            path: status.volume_path.to_owned(),
            state: status.state,
            encrypted: status.encrypted_sector,
            total: status.total_sectors,
            sector_size: status.sector_size,
            attached: status.is_attached,
            below_file_system: Some(status.filter_below_fsd),
            is_os: None,
            error: String::new(),
        };
        if volume.attached {
            volume.error = self.progress_of(path)?.error;
        }
        Ok(volume)
    }

    /// Progress of the volume's conversion.
    pub(crate) fn progress(&mut self) -> CtlResult<Volume> {
        let path = self.path()?;
        self.progress_of(path)
    }

    fn progress_of(&mut self, path: String) -> CtlResult<Volume> {
        let request = VolumeRequest { volume_path: &path };
        let answer = self.send(IoctlCode::GetProgress, &request).map_err(|fault| self.refused("follow", fault))?;
        let event: ProgressEvent<'_> = decode_response(&answer).map_err(|error| misunderstood("progress", error))?;
        Ok(Volume {
            path,
            state: event.state,
            encrypted: event.encrypted_sector,
            total: event.total_sectors,
            sector_size: 0,
            attached: true,
            below_file_system: None,
            is_os: None,
            error: event.error.to_owned(),
        })
    }

    /// All attached volumes.
    pub(crate) fn list(&mut self) -> CtlResult<Vec<Volume>> {
        let answer = self.transport.ioctl(IoctlCode::ListVolumes, &[0x80], ROOM);
        let answer = answer.map_err(|fault| CtlError::refused("list", "the volumes", fault))?;
        let mut volumes = Vec::new();
        let listed = for_each_volume(&answer, |entry| {
            volumes.push(Volume {
                path: entry.volume_path.to_owned(),
                state: entry.state,
                encrypted: entry.encrypted_sector,
                total: entry.total_sectors,
                sector_size: entry.sector_size,
                attached: true,
                below_file_system: None,
                is_os: Some(entry.is_os_volume),
                error: String::new(),
            });
        });
        listed.map_err(|error| misunderstood("list", error))?;
        // A list tells no errors.
        for volume in &mut volumes {
            match self.progress_of(volume.path.clone()) {
                Ok(progress) => volume.error = progress.error,
                // It was detached meanwhile.
                Err(error) if error.exit == Exit::NotAttached => {}
                Err(error) => return Err(error),
            }
        }
        Ok(volumes)
    }

    /// PREPARE: with a block it makes the volume, without one it opens it; with ATTACH where that is still needed.
    pub(crate) fn prepare(
        &mut self,
        key: &[u8],
        options: &JvckMetadataOptions,
        block: &[u8],
        action: &str,
    ) -> CtlResult<()> {
        let path = self.path()?;
        let request = PrepareReq {
            volume_path: &path,
            nt_device_path: &path,
            use_header: options.use_header,
            use_footer: options.use_footer,
            metadata_size: options.metadata_size,
            vmk: key,
            metadata_block: block,
            is_os_volume: false,
        };
        let answer = self.send(IoctlCode::JvckPrepare, &request).map_err(|fault| self.refused(action, fault))?;
        let prepared: wire::PrepareResp<'_> =
            decode_response(&answer).map_err(|error| misunderstood("preparation", error))?;
        if prepared.fully_attached {
            return Ok(());
        }
        let request = AttachReq {
            volume_path: &path,
            vmk: key,
            use_header: options.use_header,
            use_footer: options.use_footer,
            metadata_size: options.metadata_size,
            nt_device_path: &path,
            raw_partition_path: "",
        };
        self.send(IoctlCode::JvckAttach, &request).map(drop).map_err(|fault| self.refused(action, fault))
    }

    /// Opens a volume that has metadata.
    pub(crate) fn attach(&mut self, key: &[u8]) -> CtlResult<()> {
        self.prepare(key, &JvckMetadataOptions::default(), &[], "attach")
    }

    /// One of the controls that take a volume and answer with nothing.
    pub(crate) fn command(&mut self, code: IoctlCode, action: &str) -> CtlResult<()> {
        let path = self.path()?;
        let request = VolumeRequest { volume_path: &path };
        self.send(code, &request).map(drop).map_err(|fault| self.refused(action, fault))
    }

    /// `BENCH_AES` with a comparison, which older drivers leave out.
    pub(crate) fn bench(&mut self, size_bytes: u64) -> CtlResult<Measured> {
        let answer = self.send(IoctlCode::BenchAes, &BenchReq { size_bytes, compare: true });
        let answer = answer.map_err(|fault| CtlError::refused("measure", "the driver's cipher", fault))?;
        let measured: BenchResp<'_> = decode_response(&answer).map_err(|error| misunderstood("measurement", error))?;
        Ok(Measured::of(&measured))
    }
}

fn misunderstood(what: &str, error: vck_common::VckError) -> CtlError {
    CtlError::failure(format!("the driver's {what} cannot be read: {error}"))
        .advise("use the tool and the driver of one release")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn volume(state: i32, encrypted: u64) -> Volume {
        Volume {
            path: String::new(),
            state,
            encrypted,
            total: 200,
            sector_size: 512,
            attached: true,
            below_file_system: None,
            is_os: None,
            error: String::new(),
        }
    }

    #[test]
    fn states_have_names_beside_their_numbers() {
        assert_eq!(volume(0, 0).describe(), "0 (idle, nothing encrypted)");
        assert_eq!(volume(0, 200).describe(), "0 (idle, fully encrypted)");
        assert_eq!(volume(0, 1).describe(), "0 (idle, partly encrypted)");
        assert_eq!(volume(1, 50).describe(), "1 (encrypting)");
        assert_eq!(volume(2, 50).describe(), "2 (decrypting)");
        assert_eq!(volume(3, 50).describe(), "3 (paused)");
        assert_eq!(volume(9, 50).describe(), "9 (unknown)");
        let faulted = Volume { error: "faulted: reading failed at sector 7".into(), ..volume(3, 50) };
        assert_eq!(faulted.describe(), "3 (faulted)");
        let retrying = Volume { error: "retrying: reading failed at sector 7".into(), ..volume(1, 50) };
        assert!(!retrying.is_faulted());
    }

    #[test]
    fn nothing_of_nothing_is_zero_percent() {
        assert!(percent(0, 0).abs() < f64::EPSILON);
        assert!((volume(1, 50).percent() - 25.0).abs() < f64::EPSILON);
    }
}
