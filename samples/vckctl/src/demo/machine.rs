//! One simulated machine of the demonstration: driver loaded, volume plugged in, watched.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use vck_common::wire::IoctlCode;
use vck_common::{Durability, Lba, NtStatus, SectorCount, SectorIo, SectorSize, VckError, VckResult};
use vck_ntsim::World;
use vck_ntsim::core::as_host;
use vck_ntsim::io::DriverId;
use vck_ntsim::pnp::{VolumeConfig, VolumeId};
use vck_ntsim::storage::Disk;

use super::watch::Watch;
use crate::client::Client;
use crate::error::{CtlError, CtlResult, Fault};
use crate::transport::simulated::{DRIVER, control, facts, fault, findings, power_down};
use crate::transport::{Transport, VolumeFacts};

/// A running machine.
pub(super) struct Machine {
    pub(super) world: World,
    pub(super) volume: VolumeId,
    pub(super) path: String,
    driver: DriverId,
    name: String,
}

impl Machine {
    /// Boots a machine with the disk in it.
    pub(super) fn boot(seed: u64, disk: &Disk, watch: &Arc<Watch>, name: &str) -> CtlResult<Rc<Self>> {
        let world = World::boot(seed);
        let watch = Arc::clone(watch);
        world.observe(move |kernel, seen| as_host(|| watch.see(kernel, seen)));
        let disk = world.insert_disk(disk.clone());
        let started = world
            .load_driver(DRIVER)
            .and_then(|driver| world.plug(VolumeConfig::whole(disk).letter('D')).map(|volume| (driver, volume)));
        findings(&world)?;
        let (driver, volume) = started.map_err(|status| CtlError::refused("start", name, fault(status)))?;
        let path = world.device_name(volume);
        Ok(Rc::new(Self { world, volume, path, driver, name: name.to_owned() }))
    }

    /// A client of its driver.
    pub(super) fn client(self: &Rc<Self>) -> Client {
        Client::new(Box::new(Link(Rc::clone(self))))
    }

    /// Runs file-system code on a thread of the machine.
    pub(super) fn on_thread<T: Send + 'static>(
        &self,
        what: &str,
        body: impl FnOnce(VolumeId) -> std::io::Result<T> + Send + 'static,
    ) -> CtlResult<T> {
        let volume = self.volume;
        let done = self.world.call("file system", vck_ntsim::ThreadKind::System, move || body(volume));
        findings(&self.world)?;
        let done = done.ok_or_else(|| CtlError::failure(format!("{what}: the machine stopped")))?;
        done.map_err(|error| CtlError::failure(format!("{what}: {error}")))
    }

    /// An error if the verifier found anything.
    pub(super) fn check(&self) -> CtlResult<()> {
        findings(&self.world)
    }

    /// Shuts it down and unloads the driver; nothing of it may be left.
    pub(super) fn shut_down(&self) -> CtlResult<()> {
        power_down(&self.world, self.driver, Some(self.volume))
    }

    /// Seconds of the machine's own time.
    #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
    pub(super) fn seconds(&self) -> f64 {
        self.world.now().0 as f64 / 1e7
    }
}

/// The way from a client to a machine.
struct Link(Rc<Machine>);

impl Transport for Link {
    fn ioctl(&mut self, code: IoctlCode, input: &[u8], room: usize) -> Result<Vec<u8>, Fault> {
        control(&self.0.world, code.code(), input, room).map_err(fault)
    }

    fn volume_path(&self) -> Option<&str> {
        Some(&self.0.path)
    }

    fn volume_name(&self) -> String {
        self.0.name.clone()
    }

    fn facts(&mut self) -> Result<VolumeFacts, Fault> {
        facts(&self.0.world, &self.0.path).map_err(fault)
    }

    fn sectors(&mut self) -> CtlResult<Box<dyn SectorIo>> {
        Err(CtlError::failure("the demonstration looks at its disk directly"))
    }

    fn make_room(&mut self, _: u64) -> CtlResult<()> {
        Err(CtlError::failure("the demonstration makes room before the machine is booted"))
    }

    fn is_ephemeral(&self) -> bool {
        true
    }

    fn sleep(&mut self, duration: Duration) {
        self.0.world.run_for(duration);
    }

    fn finish(self: Box<Self>) -> CtlResult<()> {
        Ok(())
    }
}

/// The medium itself, past every machine; for reading.
pub(super) struct Medium {
    disk: Disk,
    size: SectorSize,
}

impl Medium {
    pub(super) fn new(disk: &Disk, size: SectorSize) -> Self {
        Self { disk: disk.clone(), size }
    }
}

impl SectorIo for Medium {
    fn sector_size(&self) -> SectorSize {
        self.size
    }

    fn total_sectors(&self) -> SectorCount {
        SectorCount::new(self.disk.sectors())
    }

    fn read_sectors(&self, lba: Lba, buf: &mut [u8]) -> VckResult<()> {
        let count = self.size.sectors_of_buffer(buf.len())?;
        let data = self.disk.peek(lba.get(), count.get());
        if data.len() != buf.len() {
            return Err(VckError::Device { status: NtStatus::NONEXISTENT_SECTOR, lba: Some(lba) });
        }
        buf.copy_from_slice(&data);
        Ok(())
    }

    fn write_sectors(&self, _: Lba, _: &[u8], _: Durability) -> VckResult<()> {
        Err(VckError::Unsupported("the medium is only looked at"))
    }

    fn flush(&self) -> VckResult<()> {
        Ok(())
    }
}
