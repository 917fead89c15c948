//! The driver in a simulated kernel, over an image file.
//!
//! A machine is booted for one command and shut down at its end; the image is all that stays. Conversion advances while
//! the command waits for it, and stops at a committed step when the machine is shut down, like on a real one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vck_common::wire::IoctlCode;
use vck_common::{NtStatus, SectorIo, SectorSize};
use vck_ntsim::io::{DriverConfig, DriverId, FilterPosition};
use vck_ntsim::pnp::{VolumeConfig, VolumeId};
use vck_ntsim::storage::{DiskConfig, Timing};
use vck_ntsim::user::{Access, Share, Token};
use vck_ntsim::{SchedulerKind, World};

use super::{Destination, Transport, VolumeFacts};
use crate::error::{CtlError, CtlResult, Exit, Fault};
use crate::file_io::{FileIo, length_of, sector_size_of};

/// The control device, as programs open it.
pub(crate) const CONTROL: &str = r"\??\VolumeCryptKitSample";
/// `IOCTL_DISK_GET_LENGTH_INFO`.
const GET_LENGTH: u32 = 0x0007_405C;
/// `IOCTL_DISK_GET_DRIVE_GEOMETRY`.
const GET_GEOMETRY: u32 = 0x0007_0000;
/// Nanoseconds that the modelled disk takes to flush.
const FLUSH: u64 = 1_000_000;

/// How the driver under test is loaded.
pub(crate) const DRIVER: DriverConfig = DriverConfig {
    service: "VolumeCryptKitSample",
    entry: vck_sample_driver::DriverEntry,
    filter: FilterPosition::VolumeLower,
};

/// A status of the simulator as a fault.
pub(crate) fn fault(status: i32) -> Fault {
    Fault::from_status(NtStatus(status))
}

/// One machine with at most one volume.
pub(crate) struct Simulated {
    world: Option<World>,
    driver: DriverId,
    plugged: Option<Plugged>,
    destination: Destination,
}

struct Plugged {
    image: PathBuf,
    size: SectorSize,
    volume: VolumeId,
    path: String,
    /// Held locked as long as the machine runs.
    file: File,
}

/// Boots a machine with the driver loaded.
fn boot(seed: u64, scheduler: SchedulerKind) -> CtlResult<(World, DriverId)> {
    let world = World::builder().seed(seed).scheduler(scheduler).build();
    match world.load_driver(DRIVER) {
        Ok(driver) => Ok((world, driver)),
        Err(status) => {
            findings(&world)?;
            Err(CtlError::refused("load", "the driver", fault(status)))
        }
    }
}

/// An error that lists what the verifier found, if it found anything.
pub(crate) fn findings(world: &World) -> CtlResult<()> {
    let found = world.findings();
    if found.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    Err(CtlError::failure(format!("the simulator's verifier found a broken rule:\n  {}", lines.join("\n  "))))
}

/// Length and sector size of a volume, as a program sees them.
pub(crate) fn facts(world: &World, path: &str) -> Result<VolumeFacts, i32> {
    let handle = world.user(Token::administrator()).open(path, Access::READ, Share::ALL)?;
    let length = handle.ioctl(GET_LENGTH, &[], 8)?;
    let geometry = handle.ioctl(GET_GEOMETRY, &[], 24)?;
    let length = length.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let sector = geometry.get(20..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes));
    Ok(VolumeFacts { length, sector_size: sector })
}

/// Sends a control as an administrator.
pub(crate) fn control(world: &World, code: u32, input: &[u8], room: usize) -> Result<Vec<u8>, i32> {
    let handle = world.user(Token::administrator()).open(CONTROL, Access::READ_WRITE, Share::NONE)?;
    handle.ioctl(code, input, room)
}

/// Shuts a machine down: file systems write back, volumes go, the driver is unloaded, and nothing may be left of it.
pub(crate) fn power_down(world: &World, driver: DriverId, volume: Option<VolumeId>) -> CtlResult<()> {
    world.shutdown();
    let removed = volume.map_or(Ok(()), |volume| world.remove(volume)).and_then(|()| world.unload_driver(driver));
    findings(world)?;
    removed.map_err(|status| CtlError::refused("shut down", "the simulated machine", fault(status)))
}

impl Simulated {
    /// Boots a machine, and plugs the image in if there is one.
    pub(crate) fn open(destination: &Destination) -> CtlResult<Self> {
        if destination.volume.is_some() {
            return Err(CtlError::usage("there is no driver in this system's kernel, so --volume leads nowhere")
                .advise("give --image FILE: the driver then runs in a simulated kernel over that file"));
        }
        // Without a volume there is only the benchmark to run, and that needs real time.
        let kind = if destination.image.is_some() { SchedulerKind::Deterministic } else { SchedulerKind::Parallel };
        let (world, driver) = boot(destination.seed(), kind)?;
        let mut this = Self { world: Some(world), driver, plugged: None, destination: destination.clone() };
        if let Some(image) = destination.image.clone() {
            this.plug(&image)?;
        }
        Ok(this)
    }

    fn plug(&mut self, image: &Path) -> CtlResult<()> {
        let file = File::options().read(true).write(true).open(image);
        let file = file.map_err(|error| CtlError::file("open", image, &error))?;
        lock(&file, image)?;
        let size = sector_size_of(image, self.destination.sector_size)?;
        // Checks the length too.
        drop(FileIo::open(image, size)?);
        let bytes = length_of(image)?;
        let world = self.world()?;
        // Writes go straight into the file: nothing is lost when this process is killed.
        let disk = DiskConfig::image(image, bytes).sectors(size.bytes(), size.bytes()).volatile_cache(false);
        let disk = world.add_disk(disk.timing(Timing::nvme(FLUSH)));
        let volume = world.plug(VolumeConfig::whole(disk).letter('D'));
        findings(world)?;
        let volume =
            volume.map_err(|status| CtlError::refused("start", &image.display().to_string(), fault(status)))?;
        let path = world.device_name(volume);
        self.plugged = Some(Plugged { image: image.to_owned(), size, volume, path, file });
        Ok(())
    }

    fn world(&self) -> CtlResult<&World> {
        self.world.as_ref().ok_or_else(|| CtlError::failure("the simulated machine is off"))
    }

    fn plugged(&self) -> CtlResult<&Plugged> {
        self.plugged.as_ref().ok_or_else(no_image)
    }
}

fn no_image() -> CtlError {
    CtlError::usage("no volume was named").advise("give --image FILE")
}

/// Takes the image for this process alone.
pub(crate) fn lock(file: &File, image: &Path) -> CtlResult<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => {
            let text = format!("{} is in use by another vckctl", image.display());
            Err(CtlError::new(Exit::InUse, text).advise("wait until it has ended"))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(CtlError::file("lock", image, &error)),
    }
}

impl Transport for Simulated {
    fn ioctl(&mut self, code: IoctlCode, input: &[u8], room: usize) -> Result<Vec<u8>, Fault> {
        let world = self.world.as_ref().ok_or_else(|| Fault::from_status(NtStatus::NO_SUCH_DEVICE))?;
        control(world, code.code(), input, room).map_err(fault)
    }

    fn volume_path(&self) -> Option<&str> {
        self.plugged.as_ref().map(|plugged| plugged.path.as_str())
    }

    fn volume_name(&self) -> String {
        self.destination.image.as_ref().map_or_else(|| "no volume".to_owned(), |image| image.display().to_string())
    }

    fn facts(&mut self) -> Result<VolumeFacts, Fault> {
        let nothing = Fault::from_status(NtStatus::NO_SUCH_DEVICE);
        let (world, plugged) = (self.world.as_ref().ok_or(nothing)?, self.plugged.as_ref().ok_or(nothing)?);
        facts(world, &plugged.path).map_err(fault)
    }

    fn sectors(&mut self) -> CtlResult<Box<dyn SectorIo>> {
        let plugged = self.plugged()?;
        FileIo::open(&plugged.image, plugged.size).map(|io| Box::new(io) as Box<dyn SectorIo>)
    }

    fn make_room(&mut self, bytes: u64) -> CtlResult<()> {
        // A disk does not grow under a running machine: it is shut down, and booted again on the larger image.
        let plugged = self.plugged.take().ok_or_else(no_image)?;
        if let Some(world) = self.world.take() {
            power_down(&world, self.driver, Some(plugged.volume))?;
        }
        let length = length_of(&plugged.image)?.saturating_add(bytes);
        plugged.file.set_len(length).map_err(|error| CtlError::file("grow", &plugged.image, &error))?;
        let image = plugged.image.clone();
        drop(plugged);
        let (world, driver) = boot(self.destination.seed(), SchedulerKind::Deterministic)?;
        (self.world, self.driver) = (Some(world), driver);
        self.plug(&image)
    }

    fn is_ephemeral(&self) -> bool {
        true
    }

    fn sleep(&mut self, duration: Duration) {
        if let Some(world) = &self.world {
            world.run_for(duration);
        }
    }

    fn finish(mut self: Box<Self>) -> CtlResult<()> {
        let plugged = self.plugged.take();
        if let Some(world) = self.world.take() {
            if self.destination.driver_log {
                world.log().iter().for_each(|line| eprintln!("{}", line.trim_end()));
            }
            power_down(&world, self.driver, plugged.as_ref().map(|plugged| plugged.volume))?;
        }
        match plugged {
            Some(Plugged { image, file, .. }) => {
                file.sync_all().map_err(|error| CtlError::file("flush", &image, &error))
            }
            None => Ok(()),
        }
    }
}
