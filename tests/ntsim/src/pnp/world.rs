//! What the host does with disks and volumes.

use super::{DiskId, Phase, VolumeConfig, VolumeId, status_result};
use crate::abi::io::view::Device;
use crate::abi::{IRP_MN_START_DEVICE, IRP_MN_SURPRISE_REMOVAL};
use crate::abi::{NTSTATUS, STATUS_UNSUCCESSFUL};
use crate::core::{Kernel, ThreadKind, World};
use crate::io::file::SYSTEM_FOLDER;
use crate::io::lock;
use crate::ob::namespace::Entry;
use crate::storage::{Disk, DiskConfig};

impl World {
    /// Adds a disk made now.
    ///
    /// # Panics
    /// When the image file cannot be opened.
    #[must_use]
    pub fn add_disk(&self, config: DiskConfig) -> DiskId {
        let disk = Disk::new(config);
        self.insert_disk(disk.unwrap_or_else(|error| panic!("the disk's image: {error}")))
    }

    /// Adds a disk that exists, for example one that survived a power cut.
    #[must_use]
    pub fn insert_disk(&self, disk: Disk) -> DiskId {
        let kernel = self.kernel();
        let mut disks = lock(&kernel.io.disks);
        disks.push(disk);
        DiskId(disks.len() - 1)
    }

    /// The handle of a disk.
    ///
    /// # Panics
    /// When the disk is another world's.
    #[must_use]
    pub fn disk(&self, id: DiskId) -> Disk {
        let found = lock(&self.kernel().io.disks).get(id.0).cloned();
        found.unwrap_or_else(|| panic!("no disk {id:?} in this world"))
    }

    fn pnp_call<T: Send + 'static>(
        &self,
        body: impl FnOnce(&Kernel) -> Result<T, NTSTATUS> + Send + 'static,
    ) -> Result<T, NTSTATUS> {
        self.inside("PnP", ThreadKind::System, body).unwrap_or(Err(STATUS_UNSUCCESSFUL))
    }

    /// Plugs a volume in: builds its stack and starts it.
    ///
    /// # Errors
    /// The status of the `AddDevice` or START that failed.
    pub fn plug(&self, config: VolumeConfig) -> Result<VolumeId, NTSTATUS> {
        self.pnp_call(move |k| k.volume_plug(&config)).map(VolumeId)
    }

    /// Says that the machine's system is on a volume: `\SystemRoot` leads there, for as long as the world lives.
    pub fn set_system_root(&self, volume: VolumeId) {
        let target = format!("{}{SYSTEM_FOLDER}", self.device_name(volume));
        let _taken = lock(&self.kernel().io.names).insert(r"\SystemRoot", Entry::Link(target));
    }

    /// Asks whether a volume may be removed.
    ///
    /// # Errors
    /// `STATUS_ACCESS_DENIED` while files are open on it; the status of the driver that refused.
    pub fn query_remove(&self, volume: VolumeId) -> Result<(), NTSTATUS> {
        self.pnp_call(move |k| k.volume_query_remove(volume.0))
    }

    /// Takes the question back.
    ///
    /// # Errors
    /// A failure status of the stack, which a correct driver never gives.
    pub fn cancel_remove(&self, volume: VolumeId) -> Result<(), NTSTATUS> {
        self.pnp_call(move |k| k.volume_cancel_remove(volume.0))
    }

    /// Removes a volume: asks first when nobody has, then sends REMOVE.
    ///
    /// # Errors
    /// As [`World::query_remove`].
    pub fn remove(&self, volume: VolumeId) -> Result<(), NTSTATUS> {
        self.pnp_call(move |k| {
            if k.node_phase(volume.0) == Phase::Started {
                k.volume_query_remove(volume.0)?;
            }
            k.volume_remove(volume.0);
            Ok(())
        })
    }

    /// The volume is gone without warning: `SURPRISE_REMOVAL`. [`World::remove`] sends REMOVE, as Windows does when the
    /// last handle is closed.
    ///
    /// # Errors
    /// A failure status of the stack, which a correct driver never gives.
    pub fn surprise_remove(&self, volume: VolumeId) -> Result<(), NTSTATUS> {
        self.pnp_call(move |k| {
            k.set_phase(volume.0, Phase::Surprised);
            status_result(k.pnp(volume.0, IRP_MN_SURPRISE_REMOVAL, [0; 4]).status)
        })
    }

    /// `QUERY_STOP` and STOP.
    ///
    /// # Errors
    /// The status of the driver that refused.
    pub fn stop(&self, volume: VolumeId) -> Result<(), NTSTATUS> {
        self.pnp_call(move |k| k.volume_stop(volume.0))
    }

    /// START after [`World::stop`].
    ///
    /// # Errors
    /// The status of the stack.
    pub fn start(&self, volume: VolumeId) -> Result<(), NTSTATUS> {
        self.pnp_call(move |k| status_result(k.pnp(volume.0, IRP_MN_START_DEVICE, [0; 4]).status))
    }

    /// Sends any `PnP` minor to the top of the stack; status and information of the answer.
    #[must_use]
    pub fn pnp_minor(&self, volume: VolumeId, minor: u32, parameters: [u64; 4]) -> (NTSTATUS, u64) {
        let reply = self.pnp_call(move |k| Ok(k.pnp(volume.0, minor, parameters)));
        reply.map_or_else(|status| (status, 0), |reply| (reply.status, reply.information))
    }

    /// Sends a power request to the top of the stack, at `DISPATCH_LEVEL` in hostile worlds; its status.
    #[must_use]
    pub fn power_minor(&self, volume: VolumeId, minor: u32, parameters: [u64; 4]) -> NTSTATUS {
        self.pnp_call(move |k| Ok(k.power(volume.0, minor, parameters).status)).unwrap_or_else(|status| status)
    }

    /// Grows or shrinks a volume without any request.
    pub fn resize(&self, volume: VolumeId, length: u64) {
        self.kernel().node_resize(volume.0, length);
    }

    /// Where a volume is in its life.
    #[must_use]
    pub fn phase(&self, volume: VolumeId) -> Phase {
        self.kernel().node_phase(volume.0)
    }

    /// Name of a volume's device.
    #[must_use]
    pub fn device_name(&self, volume: VolumeId) -> String {
        self.kernel().node_identity(volume.0).name
    }

    /// Names of the drivers of a volume's stack, bottom up.
    #[must_use]
    pub fn stack_of(&self, volume: VolumeId) -> Vec<String> {
        let kernel = self.kernel();
        let mut names = Vec::new();
        let mut at = kernel.node_pdo(volume.0);
        while let Some(device) = at {
            let driver = device.driver() as usize;
            names.push(lock(&kernel.io.names).name_of(driver).unwrap_or_default().to_owned());
            let above = device.attached() as usize;
            at = (above != 0).then(|| Device::at(above));
        }
        names
    }
}
