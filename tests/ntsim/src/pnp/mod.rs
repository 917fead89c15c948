//! Plug and Play of the volume class.
//!
//! A volume's stack, bottom up: the volume manager's physical device `\Device\HarddiskVolumeN`, the lower filters in
//! the order of the registry list, the function device, the upper filters. `AddDevice` of every driver comes before
//! START.
//!
//! ```text
//! Added --START--> Started --STOP--> Stopped --START--> Started
//! Started --`QUERY_REMOVE`--> `RemovePending` --CANCEL--> Started
//! Started | `RemovePending` --> Removing --> Removed
//! Started --`SURPRISE_REMOVAL`--> Surprised --> Removing --> Removed
//! ```
// Clippy itself leaves test builds alone here.
#![cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "kernel names are used as the headers have them"))]

mod world;

use crate::abi::io::view::{Device, Irp};
use crate::abi::*;
use crate::core::{Kernel, Rule};
use crate::io::device::{Builtin, NewDevice};
use crate::io::driver::FilterPosition;
use crate::io::lock;
use crate::io::request::{Reply, Request};
use crate::ob::namespace::Entry;
use crate::ob::security::SecurityDescriptor;
use crate::storage::device::Extent;

/// A disk of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskId(pub(crate) usize);

/// A volume of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VolumeId(pub(crate) usize);

impl VolumeId {
    /// The number that observations carry.
    #[must_use]
    pub fn number(self) -> usize {
        self.0
    }
}

/// What a file system makes of a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileSystemKind {
    /// It is mounted whatever its content.
    #[default]
    Always,
    /// It is mounted when its first sector begins with `NTSIMFS!`; otherwise it is raw.
    Signature,
}

/// How a volume is made.
#[derive(Clone, Debug)]
pub struct VolumeConfig {
    /// Disk it lies on.
    pub disk: DiskId,
    /// Byte offset on the disk.
    pub start: u64,
    /// Bytes; `None` for the rest of the disk.
    pub length: Option<u64>,
    /// Unique GUID of the GPT partition, in the order the bytes are stored on disk.
    pub guid: [u8; 16],
    /// Drive letter, if it gets one.
    pub letter: Option<char>,
    /// Partition number on the disk.
    pub partition: u32,
    /// What the file system makes of it.
    pub file_system: FileSystemKind,
}

impl VolumeConfig {
    /// A volume over a whole disk, without a drive letter.
    #[must_use]
    pub fn whole(disk: DiskId) -> Self {
        let mut guid = *b"ntsim-volume-000";
        guid[15] = u8::try_from(disk.0 % 256).unwrap_or(0);
        Self { disk, start: 0, length: None, guid, letter: None, partition: 1, file_system: FileSystemKind::Always }
    }

    /// The same volume with a drive letter.
    #[must_use]
    pub fn letter(mut self, letter: char) -> Self {
        self.letter = Some(letter);
        self
    }

    /// The same volume at another place of the disk.
    #[must_use]
    pub fn at(mut self, start: u64, length: u64) -> Self {
        self.start = start;
        self.length = Some(length);
        self
    }

    /// The same volume with another partition GUID.
    #[must_use]
    pub fn guid(mut self, guid: [u8; 16]) -> Self {
        self.guid = guid;
        self
    }
}

/// Where a volume's stack is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The stack is built, START has not succeeded.
    Added,
    /// In use.
    Started,
    /// STOP was sent.
    Stopped,
    /// `QUERY_REMOVE` is on its way, or was granted: the file system has locked the volume, nobody opens it.
    RemovePending,
    /// The device is gone; REMOVE is to come.
    Surprised,
    /// REMOVE is on its way.
    Removing,
    /// REMOVE is done.
    Removed,
}

/// What a volume answers about itself.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) guid: [u8; 16],
    pub(crate) partition: u32,
    pub(crate) label: String,
}

/// A volume's device node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) pdo: Device,
    pub(crate) phase: Phase,
    extent: Extent,
    identity: Identity,
    links: Vec<String>,
    pub(crate) file_system: FileSystemKind,
}

/// Text form of a GUID as stored.
fn guid_text(guid: &[u8; 16]) -> String {
    let hex = |order: &[usize]| order.iter().map(|at| format!("{:02x}", guid[*at])).collect::<Vec<_>>().concat();
    let groups = [hex(&[3, 2, 1, 0]), hex(&[5, 4]), hex(&[7, 6]), hex(&[8, 9]), hex(&[10, 11, 12, 13, 14, 15])];
    format!("{{{}}}", groups.join("-"))
}

impl Kernel {
    /// Part of the disk and phase of a volume.
    pub(crate) fn node_extent(&self, node: usize) -> Option<(Extent, Phase)> {
        lock(&self.io.nodes).get(node).map(|node| (node.extent.clone(), node.phase))
    }

    pub(crate) fn node_identity(&self, node: usize) -> Identity {
        let nodes = lock(&self.io.nodes);
        let none = Identity { name: String::new(), guid: [0; 16], partition: 0, label: String::new() };
        nodes.get(node).map_or(none, |node| node.identity.clone())
    }

    pub(crate) fn node_pdo(&self, node: usize) -> Option<Device> {
        lock(&self.io.nodes).get(node).filter(|node| node.phase != Phase::Removed).map(|node| node.pdo)
    }

    pub(crate) fn node_phase(&self, node: usize) -> Phase {
        lock(&self.io.nodes).get(node).map_or(Phase::Removed, |node| node.phase)
    }

    fn set_phase(&self, node: usize, phase: Phase) {
        if let Some(node) = lock(&self.io.nodes).get_mut(node) {
            node.phase = phase;
        }
    }

    pub(crate) fn node_is_being_removed(&self, node: usize) -> bool {
        matches!(self.node_phase(node), Phase::Removing | Phase::Removed)
    }

    /// Changes the length of a volume without telling anybody.
    fn node_resize(&self, node: usize, length: u64) {
        if let Some(node) = lock(&self.io.nodes).get_mut(node) {
            node.extent.length = length;
        }
    }

    fn builtin_driver(&self, service: &str) -> crate::abi::io::view::Driver {
        let name = format!(r"\Driver\{service}");
        let found = lock(&self.io.names).resolve(&name);
        found.map_or_else(|_| self.driver_object(service), |found| crate::abi::io::view::Driver::at(found.object))
    }

    /// Builds and starts a volume's stack.
    pub(crate) fn volume_plug(&self, config: &VolumeConfig) -> Result<usize, NTSTATUS> {
        let node = self.volume_create(config)?;
        let Some(pdo) = self.node_pdo(node) else { return Err(STATUS_NO_SUCH_DEVICE) };
        self.run_filters(FilterPosition::VolumeLower, pdo)?;
        let fdo = self.device_create(NewDevice {
            driver: self.builtin_driver("volume"),
            builtin: Some(Builtin::VolumeFdo(node)),
            extension: 0,
            name: None,
            device_type: FILE_DEVICE_DISK,
            characteristics: 0,
            exclusive: false,
            security: SecurityDescriptor::default_volume(),
        })?;
        fdo.set_flags(DO_DIRECT_IO | DO_POWER_PAGABLE);
        self.device_attach(fdo, pdo, |_| ())?;
        self.run_filters(FilterPosition::VolumeUpper, pdo)?;
        let reply = self.pnp(node, IRP_MN_START_DEVICE, [0; 4]);
        if !NT_SUCCESS(reply.status) {
            self.volume_remove(node);
            return Err(reply.status);
        }
        Ok(node)
    }

    fn run_filters(&self, position: FilterPosition, pdo: Device) -> Result<(), NTSTATUS> {
        for driver in self.filters(position) {
            let status = self.driver_add_device(driver, pdo);
            let top = self.device_top(pdo);
            if !NT_SUCCESS(status) {
                return Err(status);
            }
            if top.driver() == driver.ptr() && top.flags() & DO_DEVICE_INITIALIZING != 0 {
                self.finding(Rule::BadArgument, "AddDevice left DO_DEVICE_INITIALIZING set on its device");
            }
        }
        Ok(())
    }

    fn volume_create(&self, config: &VolumeConfig) -> Result<usize, NTSTATUS> {
        let disk = lock(&self.io.disks).get(config.disk.0).cloned().ok_or(STATUS_NO_SUCH_DEVICE)?;
        let length = config.length.unwrap_or(disk.config().bytes.saturating_sub(config.start));
        let sector = disk.config().sector_size;
        let alignment = disk.config().alignment_mask;
        let node = lock(&self.io.nodes).len();
        let name = format!(r"\Device\HarddiskVolume{}", node + 1);
        let pdo = self.device_create(NewDevice {
            driver: self.builtin_driver("volmgr"),
            builtin: Some(Builtin::VolumePdo(node)),
            extension: 0,
            name: Some(&name),
            device_type: FILE_DEVICE_DISK,
            characteristics: FILE_DEVICE_SECURE_OPEN,
            exclusive: false,
            security: SecurityDescriptor::default_volume(),
        })?;
        pdo.set_flags(
            (pdo.flags() | DO_DIRECT_IO | DO_POWER_PAGABLE | DO_BUS_ENUMERATED_DEVICE) & !DO_DEVICE_INITIALIZING,
        );
        pdo.set_sector_size(u16::try_from(sector).unwrap_or(0));
        pdo.set_alignment(alignment);
        self.device_record(pdo, |record| record.node = Some(node));
        let links = volume_links(config, &name);
        for link in &links {
            let _taken = lock(&self.io.names).insert(link, Entry::Link(name.clone()));
        }
        let extent = Extent { disk, disk_number: config.disk.0, start: config.start, length };
        let identity =
            Identity { name, guid: config.guid, partition: config.partition, label: "Basic data".to_owned() };
        let file_system = config.file_system;
        lock(&self.io.nodes).push(Node { pdo, phase: Phase::Added, extent, identity, links, file_system });
        Ok(node)
    }

    /// Sends a `PnP` request to the top of a volume's stack.
    pub(crate) fn pnp(&self, node: usize, minor: u32, parameters: [u64; 4]) -> Reply {
        let Some(pdo) = self.node_pdo(node) else { return Reply { status: STATUS_NO_SUCH_DEVICE, information: 0 } };
        let mut request = Request::new(self.device_top(pdo), IRP_MJ_PNP);
        request.minor = u8::try_from(minor).unwrap_or(u8::MAX);
        request.parameters = parameters;
        request.initial = STATUS_NOT_SUPPORTED;
        let reply = self.request(&request);
        let known = u32::from(request.minor) <= IRP_MN_SURPRISE_REMOVAL;
        if !known && reply.status != STATUS_NOT_SUPPORTED {
            self.finding(Rule::PnpStatusChanged, format!("PnP minor {minor:#x} came back with {:#010x}", reply.status));
        }
        reply
    }

    /// Sends a power request to the top of a volume's stack.
    fn power(&self, node: usize, minor: u32, parameters: [u64; 4]) -> Reply {
        let Some(pdo) = self.node_pdo(node) else { return Reply { status: STATUS_NO_SUCH_DEVICE, information: 0 } };
        let mut request = Request::new(self.device_top(pdo), IRP_MJ_POWER);
        request.minor = u8::try_from(minor).unwrap_or(u8::MAX);
        request.parameters = parameters;
        request.initial = STATUS_NOT_SUPPORTED;
        self.request(&request)
    }

    /// `PnP` at the bottom of the stack.
    pub(crate) fn volume_pnp(&self, node: usize, irp: Irp) -> NTSTATUS {
        let minor = u32::from(irp.stack().minor());
        match minor {
            IRP_MN_START_DEVICE => self.set_phase(node, Phase::Started),
            IRP_MN_STOP_DEVICE => self.set_phase(node, Phase::Stopped),
            IRP_MN_QUERY_REMOVE_DEVICE
            | IRP_MN_QUERY_STOP_DEVICE
            | IRP_MN_CANCEL_STOP_DEVICE
            | IRP_MN_CANCEL_REMOVE_DEVICE
            | IRP_MN_SURPRISE_REMOVAL
            | IRP_MN_REMOVE_DEVICE
            | IRP_MN_DEVICE_USAGE_NOTIFICATION => {}
            // A minor that the bus does not know goes back as it came.
            _ => return self.complete_with(irp, irp.status(), irp.information()),
        }
        self.volume_plain(irp, STATUS_SUCCESS)
    }

    /// `PnP` at the function device.
    pub(crate) fn volume_fdo_pnp(&self, node: usize, device: Device, irp: Irp) -> NTSTATUS {
        let minor = u32::from(irp.stack().minor());
        let Some(lower) = self.device_lower(device) else { return self.complete_with(irp, STATUS_NO_SUCH_DEVICE, 0) };
        let status = self.pass_down(lower, irp);
        if minor == IRP_MN_REMOVE_DEVICE && self.node_is_being_removed(node) {
            self.device_detach(lower);
            self.device_destroy(device);
        }
        status
    }

    /// Asks to remove a volume: file systems first, then the stack; CANCEL follows a refusal.
    pub(crate) fn volume_query_remove(&self, node: usize) -> Result<(), NTSTATUS> {
        if self.node_phase(node) != Phase::Started {
            return Err(STATUS_INVALID_DEVICE_REQUEST);
        }
        // From here on nobody opens the volume.
        self.set_phase(node, Phase::RemovePending);
        if self.mount_has_open_files(node) {
            self.remove_is_off(node);
            return Err(STATUS_ACCESS_DENIED);
        }
        self.mount_flush(node);
        let reply = self.pnp(node, IRP_MN_QUERY_REMOVE_DEVICE, [0; 4]);
        if NT_SUCCESS(reply.status) {
            return Ok(());
        }
        self.pnp(node, IRP_MN_CANCEL_REMOVE_DEVICE, [0; 4]);
        self.remove_is_off(node);
        Err(reply.status)
    }

    /// A removal that was asked for does not happen, unless the device is gone already.
    fn remove_is_off(&self, node: usize) {
        if self.node_phase(node) == Phase::RemovePending {
            self.set_phase(node, Phase::Started);
        }
    }

    fn volume_cancel_remove(&self, node: usize) -> Result<(), NTSTATUS> {
        let reply = self.pnp(node, IRP_MN_CANCEL_REMOVE_DEVICE, [0; 4]);
        self.remove_is_off(node);
        status_result(reply.status)
    }

    /// Sends REMOVE and looks at what is left.
    pub(crate) fn volume_remove(&self, node: usize) {
        let Some(pdo) = self.node_pdo(node) else { return };
        self.mount_drop(node);
        self.set_phase(node, Phase::Removing);
        self.pnp(node, IRP_MN_REMOVE_DEVICE, [0; 4]);
        if !pdo.attached().is_null() {
            self.finding(Rule::ResourceLeak, "a device is still attached after IRP_MN_REMOVE_DEVICE");
        }
        self.set_phase(node, Phase::Removed);
        let links = lock(&self.io.nodes).get(node).map(|node| node.links.clone()).unwrap_or_default();
        for link in links {
            lock(&self.io.names).remove(&link);
        }
        self.device_destroy(pdo);
    }

    fn volume_stop(&self, node: usize) -> Result<(), NTSTATUS> {
        let reply = self.pnp(node, IRP_MN_QUERY_STOP_DEVICE, [0; 4]);
        if !NT_SUCCESS(reply.status) {
            self.pnp(node, IRP_MN_CANCEL_STOP_DEVICE, [0; 4]);
            return Err(reply.status);
        }
        status_result(self.pnp(node, IRP_MN_STOP_DEVICE, [0; 4]).status)
    }
}

pub(crate) fn status_result(status: NTSTATUS) -> Result<(), NTSTATUS> {
    if NT_SUCCESS(status) { Ok(()) } else { Err(status) }
}

fn volume_links(config: &VolumeConfig, name: &str) -> Vec<String> {
    let mut links = vec![format!(r"\??\Volume{}", guid_text(&config.guid))];
    if let Some(letter) = config.letter {
        links.push(format!(r"\??\{letter}:"));
    }
    if let Some(number) = name.strip_prefix(r"\Device\HarddiskVolume") {
        links.push(format!(r"\??\HarddiskVolume{number}"));
    }
    links
}
