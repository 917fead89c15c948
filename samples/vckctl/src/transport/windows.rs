//! The driver in the Windows kernel. Type-checked for `x86_64-pc-windows-gnu` on another host; not run yet.
//!
//! The one module with unsafe code: two calls that the standard library does not have. Volumes and the control device are
//! ordinary files.
#![expect(unsafe_code, reason = "DeviceIoControl and QueryDosDeviceW")]

use std::fs::{File, OpenOptions};
use std::os::windows::fs::{FileExt, OpenOptionsExt};
use std::os::windows::io::AsRawHandle;
use std::time::Duration;

use vck_common::sector_io::check_extent;
use vck_common::wire::IoctlCode;
use vck_common::{Durability, Lba, NtStatus, SectorCount, SectorIo, SectorSize, VckError, VckResult};
use windows_sys::Win32::Storage::FileSystem::QueryDosDeviceW;
use windows_sys::Win32::System::IO::DeviceIoControl;

use super::{Destination, Transport, VolumeFacts};
use crate::error::{CtlError, CtlResult, Exit, Fault};
use crate::volume_name::VolumeName;

const CONTROL: &str = r"\\.\VolumeCryptKitSample";
const GET_LENGTH: u32 = 0x0007_405C;
const GET_GEOMETRY: u32 = 0x0007_0000;
const ALLOW_EXTENDED_DASD: u32 = 0x0009_0083;
const SHRINK_VOLUME: u32 = 0x0009_01B0;
/// The steps of `SHRINK_VOLUME`.
const SHRINK_PREPARE: u32 = 1;
const SHRINK_COMMIT: u32 = 2;
const SHRINK_ABORT: u32 = 3;

/// The control device, and the volume that was named.
pub(super) struct Live {
    control: File,
    volume: Option<Named>,
}

struct Named {
    name: VolumeName,
    path: String,
}

/// `DeviceIoControl` on a file opened for synchronous use.
fn device_control(file: &File, code: u32, input: &[u8], room: usize) -> std::io::Result<Vec<u8>> {
    let mut output = vec![0_u8; room];
    let mut returned = 0_u32;
    let length = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    // SAFETY: the handle is open; both buffers are valid for the lengths given; the file is not overlapped, so nothing is
    // written after the call.
    let done = unsafe {
        DeviceIoControl(
            file.as_raw_handle(),
            code,
            input.as_ptr().cast(),
            length(input.len()),
            output.as_mut_ptr().cast(),
            length(room),
            &raw mut returned,
            std::ptr::null_mut(),
        )
    };
    if done == 0 {
        return Err(std::io::Error::last_os_error());
    }
    output.truncate(usize::try_from(returned).unwrap_or(room));
    Ok(output)
}

/// The NT path behind a DOS device name.
fn nt_path(dos_name: &str) -> std::io::Result<String> {
    let name: Vec<u16> = dos_name.encode_utf16().chain([0]).collect();
    let mut target = [0_u16; 1024];
    // SAFETY: `name` ends with a zero; `target` is valid for the length given.
    let length = unsafe { QueryDosDeviceW(name.as_ptr(), target.as_mut_ptr(), 1024) };
    if length == 0 {
        return Err(std::io::Error::last_os_error());
    }
    let first = target.split(|unit| *unit == 0).next().unwrap_or_default();
    Ok(String::from_utf16_lossy(first))
}

fn fault(error: &std::io::Error) -> Fault {
    Fault::from_win32(error.raw_os_error().map_or(31, i32::cast_unsigned))
}

impl Live {
    /// Opens the control device and finds the volume.
    pub(super) fn open(destination: &Destination) -> CtlResult<Self> {
        if destination.image.is_some() || destination.seed.is_some() || destination.driver_log {
            return Err(CtlError::usage(
                "--image, --seed and --driver-log are about a simulated kernel, which does not exist on Windows",
            )
            .advise("name the volume with --volume; `inspect IMAGE` needs no driver"));
        }
        let control = OpenOptions::new().read(true).write(true).share_mode(0).open(CONTROL).map_err(|error| {
            let exit = if error.raw_os_error() == Some(5) { Exit::Denied } else { Exit::Failure };
            CtlError::new(exit, format!("cannot open the driver's control device {CONTROL}: {error}"))
                .advise("run as administrator, and check that the driver's service is started")
        })?;
        let volume = destination.volume.clone().map(|name| {
            let path = match &name {
                VolumeName::Letter(letter) => nt_path(&format!("{letter}:")),
                VolumeName::Guid(guid) => nt_path(guid),
                VolumeName::Device(path) => Ok(path.clone()),
            };
            let path = path.map_err(|error| CtlError::refused("find", &name.to_string(), fault(&error)))?;
            Ok(Named { name, path })
        });
        Ok(Self { control, volume: volume.transpose()? })
    }

    fn open_volume(&self) -> Result<File, Fault> {
        let none = Fault::from_win32(2);
        let name = &self.volume.as_ref().ok_or(none)?.name;
        let path = match name {
            VolumeName::Letter(letter) => format!(r"\\.\{letter}:"),
            VolumeName::Guid(guid) => format!(r"\\?\{guid}"),
            VolumeName::Device(path) => format!(r"\\?\GLOBALROOT{path}"),
        };
        File::open(path).map_err(|error| fault(&error))
    }
}

fn measure(file: &File) -> std::io::Result<VolumeFacts> {
    let length = device_control(file, GET_LENGTH, &[], 8)?;
    let geometry = device_control(file, GET_GEOMETRY, &[], 24)?;
    let sector = geometry.get(20..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes));
    Ok(VolumeFacts { length: length.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)), sector_size: sector })
}

fn shrink_step(file: &File, step: u32, sectors: u64) -> std::io::Result<()> {
    let mut input = [0_u8; 24];
    let fields = step.to_le_bytes().into_iter().chain([0; 12]).chain(sectors.to_le_bytes());
    input.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    device_control(file, SHRINK_VOLUME, &input, 0).map(drop)
}

impl Transport for Live {
    fn ioctl(&mut self, code: IoctlCode, input: &[u8], room: usize) -> Result<Vec<u8>, Fault> {
        device_control(&self.control, code.code(), input, room).map_err(|error| fault(&error))
    }

    fn volume_path(&self) -> Option<&str> {
        self.volume.as_ref().map(|named| named.path.as_str())
    }

    fn volume_name(&self) -> String {
        self.volume.as_ref().map_or_else(|| "no volume".to_owned(), |named| named.name.to_string())
    }

    fn facts(&mut self) -> Result<VolumeFacts, Fault> {
        measure(&self.open_volume()?).map_err(|error| fault(&error))
    }

    fn sectors(&mut self) -> CtlResult<Box<dyn SectorIo>> {
        let refused = |fault| CtlError::refused("read", &self.volume_name(), fault);
        let file = self.open_volume().map_err(refused)?;
        // Without this the file system hides what lies behind its end.
        device_control(&file, ALLOW_EXTENDED_DASD, &[], 0).map_err(|error| refused(fault(&error)))?;
        let facts = measure(&file).map_err(|error| refused(fault(&error)))?;
        let size = SectorSize::new(facts.sector_size).map_err(|error| refused(Fault::of(error)))?;
        let total = SectorCount::new(facts.length / size.u64());
        Ok(Box::new(VolumeSectors { file, size, total }))
    }

    fn make_room(&mut self, bytes: u64) -> CtlResult<()> {
        let refused = |error: &std::io::Error| {
            CtlError::refused("shrink the file system of", &self.volume_name(), fault(error)).advise(
                "empty the end of the volume first (page file and shadow copies off, then `defrag D: /X`), and prepare \
                     again. Disk management is no help: it takes the room away from the volume, too",
            )
        };
        let file = self.open_volume().map_err(|fault| CtlError::refused("open", &self.volume_name(), fault))?;
        let facts = measure(&file).map_err(|error| refused(&error))?;
        let sectors = facts.length.saturating_sub(bytes).checked_div(u64::from(facts.sector_size)).unwrap_or(0);
        shrink_step(&file, SHRINK_PREPARE, sectors).map_err(|error| refused(&error))?;
        shrink_step(&file, SHRINK_COMMIT, 0).map_err(|error| {
            // Best effort: the volume works in the prepared state too, and the commit's error is the one to show.
            let _aborted = shrink_step(&file, SHRINK_ABORT, 0);
            refused(&error)
        })
    }

    fn is_ephemeral(&self) -> bool {
        false
    }

    fn sleep(&mut self, duration: Duration) {
        std::thread::sleep(duration);
    }

    fn finish(self: Box<Self>) -> CtlResult<()> {
        Ok(())
    }
}

/// A volume's sectors through its own handle, for reading.
struct VolumeSectors {
    file: File,
    size: SectorSize,
    total: SectorCount,
}

impl SectorIo for VolumeSectors {
    fn sector_size(&self) -> SectorSize {
        self.size
    }

    fn total_sectors(&self) -> SectorCount {
        self.total
    }

    fn read_sectors(&self, lba: Lba, buf: &mut [u8]) -> VckResult<()> {
        check_extent(self.size, self.total, lba, buf.len())?;
        let offset =
            lba.get().checked_mul(self.size.u64()).ok_or(VckError::InvalidData("the extent leaves the volume"))?;
        match self.file.seek_read(buf, offset) {
            Ok(read) if read == buf.len() => Ok(()),
            _ => Err(VckError::Device { status: NtStatus::IO_DEVICE_ERROR, lba: Some(lba) }),
        }
    }

    fn write_sectors(&self, _: Lba, _: &[u8], _: Durability) -> VckResult<()> {
        Err(VckError::Unsupported("the volume is open for reading only"))
    }

    fn flush(&self) -> VckResult<()> {
        Ok(())
    }
}
