//! A program that talks to the driver.

use vck_common::NtStatus;
use vck_common::jvck::JvckMetadataOptions;
use vck_common::wire::{
    AttachReq, IoctlCode, PrepareReq, PrepareResp, ProgressEvent, Request, VolumeRequest, VolumeStatus,
    decode_response, encode_request, for_each_volume,
};
use vck_ntsim::user::{Access, Handle, Share, User};

use crate::VMK;

/// The link that programs open, as an NT path.
pub const CONTROL: &str = r"\??\VolumeCryptKitSample";
const ROOM: usize = 65_536;

/// How a request ended badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure(pub NtStatus);

/// An open control device.
pub struct Client<'w> {
    handle: Handle<'w>,
}

/// What GET_STATUS said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Name of the volume.
    pub path: String,
    /// State number.
    pub state: i32,
    /// Boundary, sectors.
    pub boundary: u64,
    /// Data region, sectors.
    pub total: u64,
    /// Attached at all.
    pub attached: bool,
    /// Position of the filter.
    pub below_file_system: bool,
}

/// What PREPARE said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// First data sector.
    pub offset: u64,
    /// Data region, sectors.
    pub data: u64,
    /// Whether the cipher is active.
    pub complete: bool,
    /// Partition path.
    pub partition: String,
}

/// A PREPARE with two footers of the default size and the tests' key.
#[must_use]
pub const fn default_prepare<'a>(path: &'a str, block: &'a [u8]) -> PrepareReq<'a> {
    PrepareReq {
        volume_path: path,
        nt_device_path: "",
        use_header: 0,
        use_footer: 2,
        metadata_size: 131_072,
        vmk: &VMK,
        metadata_block: block,
        is_os_volume: false,
    }
}

impl<'w> Client<'w> {
    /// Opens the control device.
    ///
    /// # Errors
    /// The open's status.
    pub fn open(user: &User<'w>, access: Access) -> Result<Self, Failure> {
        let handle = user.open(CONTROL, access, Share::ALL).map_err(|status| Failure(NtStatus(status)))?;
        Ok(Self { handle })
    }

    /// Sends a raw message.
    ///
    /// # Errors
    /// The control's status.
    pub fn raw(&self, code: u32, message: &[u8], room: usize) -> Result<Vec<u8>, Failure> {
        self.handle.ioctl(code, message, room).map_err(|status| Failure(NtStatus(status)))
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The control's status.
    ///
    /// # Panics
    /// If the request does not encode: a mistake of the test.
    pub fn send<'a, T: Request<'a>>(&self, code: IoctlCode, request: &T) -> Result<Vec<u8>, Failure> {
        let mut message = vec![0; ROOM];
        let length = encode_request(request, &mut message).expect("encodes");
        self.raw(code.code(), &message[..length], ROOM)
    }

    fn on_volume(&self, code: IoctlCode, path: &str) -> Result<Vec<u8>, Failure> {
        self.send(code, &VolumeRequest { volume_path: path })
    }

    /// PREPARE with options, key and block.
    ///
    /// # Errors
    /// The control's status.
    ///
    /// # Panics
    /// On an answer that does not decode.
    pub fn prepare(
        &self,
        path: &str,
        options: JvckMetadataOptions,
        vmk: &[u8],
        block: &[u8],
    ) -> Result<Prepared, Failure> {
        let request = PrepareReq {
            use_header: options.use_header,
            use_footer: options.use_footer,
            metadata_size: options.metadata_size,
            vmk,
            ..default_prepare(path, block)
        };
        let answer = self.send(IoctlCode::JvckPrepare, &request)?;
        let answer: PrepareResp<'_> = decode_response(&answer).expect("a PREPARE answer");
        Ok(Prepared {
            offset: answer.offset_sector,
            data: answer.data_sectors,
            complete: answer.fully_attached,
            partition: answer.raw_partition_path.to_owned(),
        })
    }

    /// Re-attach: PREPARE without a block.
    ///
    /// # Errors
    /// The control's status.
    pub fn reattach(&self, path: &str, vmk: &[u8]) -> Result<Prepared, Failure> {
        self.prepare(path, JvckMetadataOptions::default(), vmk, &[])
    }

    /// ATTACH of a provisional volume.
    ///
    /// # Errors
    /// The control's status.
    pub fn attach(&self, path: &str, vmk: &[u8]) -> Result<(), Failure> {
        let request = AttachReq {
            volume_path: path,
            vmk,
            use_header: 0,
            use_footer: 0,
            metadata_size: 0,
            nt_device_path: "",
            raw_partition_path: "",
        };
        self.send(IoctlCode::JvckAttach, &request).map(|_| ())
    }

    /// DETACH.
    ///
    /// # Errors
    /// The control's status.
    pub fn detach(&self, path: &str) -> Result<(), Failure> {
        self.on_volume(IoctlCode::Detach, path).map(|_| ())
    }

    /// START_ENCRYPT.
    ///
    /// # Errors
    /// The control's status.
    pub fn encrypt(&self, path: &str) -> Result<(), Failure> {
        self.on_volume(IoctlCode::StartEncrypt, path).map(|_| ())
    }

    /// START_DECRYPT.
    ///
    /// # Errors
    /// The control's status.
    pub fn decrypt(&self, path: &str) -> Result<(), Failure> {
        self.on_volume(IoctlCode::StartDecrypt, path).map(|_| ())
    }

    /// PAUSE.
    ///
    /// # Errors
    /// The control's status.
    pub fn pause(&self, path: &str) -> Result<(), Failure> {
        self.on_volume(IoctlCode::Pause, path).map(|_| ())
    }

    /// GET_STATUS.
    ///
    /// # Errors
    /// The control's status.
    ///
    /// # Panics
    /// On an answer that does not decode.
    pub fn status(&self, path: &str) -> Result<Status, Failure> {
        let answer = self.on_volume(IoctlCode::GetStatus, path)?;
        let answer: VolumeStatus<'_> = decode_response(&answer).expect("a status");
        Ok(Status {
            path: answer.volume_path.to_owned(),
            state: answer.state,
            boundary: answer.encrypted_sector,
            total: answer.total_sectors,
            attached: answer.is_attached,
            below_file_system: answer.filter_below_fsd,
        })
    }

    /// GET_PROGRESS: state, boundary, error text.
    ///
    /// # Errors
    /// The control's status.
    ///
    /// # Panics
    /// On an answer that does not decode.
    pub fn progress(&self, path: &str) -> Result<(i32, u64, String), Failure> {
        let answer = self.on_volume(IoctlCode::GetProgress, path)?;
        let answer: ProgressEvent<'_> = decode_response(&answer).expect("a progress event");
        Ok((answer.state, answer.encrypted_sector, answer.error.to_owned()))
    }

    /// LIST_VOLUMES: the names.
    ///
    /// # Errors
    /// The control's status.
    ///
    /// # Panics
    /// On an answer that does not decode.
    pub fn list(&self) -> Result<Vec<String>, Failure> {
        let answer = self.raw(IoctlCode::ListVolumes.code(), &[0x80], ROOM)?;
        let mut names = Vec::new();
        for_each_volume(&answer, |entry| names.push(entry.volume_path.to_owned())).expect("a list");
        Ok(names)
    }

    /// Polls until the conversion is over; the last state.
    ///
    /// # Errors
    /// The control's status.
    pub fn wait_until_idle(&self, path: &str) -> Result<i32, Failure> {
        loop {
            let (state, ..) = self.progress(path)?;
            if state != 1 && state != 2 {
                return Ok(state);
            }
        }
    }
}
