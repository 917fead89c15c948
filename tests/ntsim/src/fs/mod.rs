//! A file-system stand-in: mounts volumes through the VPB, holds the volume lock, sends paging I/O.
//!
//! # Rules modelled
//! * The first open of a volume that asks for more than attributes mounts it. The mount knows the size that
//!   `IOCTL_DISK_GET_LENGTH_INFO` gave then.
//! * `FSCTL_LOCK_VOLUME` fails while another file is open. While locked, opens fail.
//! * `FSCTL_DISMOUNT_VOLUME` flushes and ends the mount, but the volume can be mounted again only when the handle that
//!   dismounted it is closed. It is refused while the volume holds a paging file.
//! * Reads and writes of a volume handle go to the top of the volume's stack; writes need the lock or a dismount, and
//!   neither passes the mounted size without `FSCTL_ALLOW_EXTENDED_DASD_IO`.
// Clippy itself leaves test builds alone here.
#![cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "kernel names are used as the headers have them"))]

mod cache;
mod dispatch;

use crate::abi::io::arena::Span;
use crate::abi::io::view::{Device, File};
use crate::abi::*;
use crate::core::Kernel;
use crate::io::device::{Builtin, NewDevice};
use crate::io::lock;
use crate::io::request::{Data, Reply, Request};
use crate::ob::security::SecurityDescriptor;
use crate::pnp::FileSystemKind;
use std::collections::BTreeMap;

pub use cache::FsVolume;

/// First bytes of a volume that [`FileSystemKind::Signature`] recognises.
pub const SIGNATURE: &[u8; 8] = b"NTSIMFS!";

/// Key on which the end of a mount attempt is announced.
const MOUNT_KEY: usize = (1 << 60) | 1;

/// One mount of a volume.
#[derive(Debug)]
pub struct Mount {
    node: usize,
    pub(crate) device: Device,
    target: Device,
    /// Bytes.
    length: u64,
    sector: u32,
    raw: bool,
    /// No longer the volume's current mount.
    detached: bool,
    locked_by: Option<File>,
    dismounted_by: Option<File>,
    open: Vec<File>,
    extended: Vec<File>,
    paging_file: bool,
    cache: BTreeMap<u64, cache::Page>,
}

impl Kernel {
    /// The current mount of a volume.
    pub(crate) fn mount_of(&self, node: usize) -> Option<usize> {
        lock(&self.io.mounts).iter().position(|mount| mount.node == node && !mount.detached)
    }

    fn mount<R>(&self, mount: usize, f: impl FnOnce(&mut Mount) -> R) -> Option<R> {
        lock(&self.io.mounts).get_mut(mount).map(f)
    }

    pub(crate) fn mount_device(&self, mount: usize) -> Option<Device> {
        self.mount(mount, |mount| mount.device)
    }

    /// The file-system device for an open, mounting first when need be.
    pub(crate) fn mount_for_open(&self, node: usize) -> Result<(Device, usize), NTSTATUS> {
        let mount = self.mount_ensure(node)?;
        let state = self.mount(mount, |m| (m.device, m.locked_by.is_some() || m.dismounted_by.is_some()));
        match state {
            Some((device, false)) => Ok((device, mount)),
            _ => Err(STATUS_ACCESS_DENIED),
        }
    }

    /// Mounts a volume unless it is.
    pub(crate) fn mount_ensure(&self, node: usize) -> Result<usize, NTSTATUS> {
        let turn = self.block(&[MOUNT_KEY], None, "a mount", || {
            if let Some(mount) = self.mount_of(node) {
                return Some(Some(mount));
            }
            let mut busy = lock(&self.io.mounting);
            let mine = !busy.contains(&node);
            if mine {
                busy.push(node);
            }
            mine.then_some(None)
        });
        if let Ok(Some(mount)) = turn {
            return Ok(mount);
        }
        let made = self.mount_new(node);
        lock(&self.io.mounting).retain(|busy| *busy != node);
        self.wake(MOUNT_KEY);
        made
    }

    fn mount_new(&self, node: usize) -> Result<usize, NTSTATUS> {
        let pdo = self.node_pdo(node).ok_or(STATUS_NO_SUCH_DEVICE)?;
        let target = self.device_top(pdo);
        let length = self.query_u64(target, 0x0007_405C, 8, 0)?;
        let sector = u32::try_from(self.query_u64(target, 0x0007_0000, 24, 16)? >> 32).unwrap_or(512);
        let raw = match self.file_system_kind(node) {
            FileSystemKind::Always => false,
            FileSystemKind::Signature => {
                let first = self.paging_read(node, target, 0, sector as usize)?;
                !first.starts_with(SIGNATURE)
            }
        };
        let index = lock(&self.io.mounts).len();
        let device = self.device_create(NewDevice {
            driver: self.file_system_driver(),
            builtin: Some(Builtin::FileSystem(index)),
            extension: 0,
            name: None,
            device_type: FILE_DEVICE_DISK_FILE_SYSTEM,
            characteristics: 0,
            exclusive: false,
            security: SecurityDescriptor::default(),
        })?;
        device.set_flags(DO_DIRECT_IO);
        device.set_stack_size(target.stack_size() + 1);
        device.set_sector_size(u16::try_from(sector).unwrap_or(0));
        if let Some(vpb) = Self::vpb_of(pdo) {
            vpb.set_device(device.ptr());
            vpb.set_flags(vpb.flags() | u16::try_from(VPB_MOUNTED).unwrap_or(1));
        }
        lock(&self.io.mounts).push(Mount {
            node,
            device,
            target,
            length,
            sector,
            raw,
            detached: false,
            locked_by: None,
            dismounted_by: None,
            open: Vec::new(),
            extended: Vec::new(),
            paging_file: false,
            cache: BTreeMap::new(),
        });
        Ok(index)
    }

    fn file_system_kind(&self, node: usize) -> FileSystemKind {
        lock(&self.io.nodes).get(node).map(|node| node.file_system).unwrap_or_default()
    }

    fn file_system_driver(&self) -> crate::abi::io::view::Driver {
        let found = lock(&self.io.names).resolve(r"\Driver\ntsimfs");
        found.map_or_else(|_| self.driver_object("ntsimfs"), |found| crate::abi::io::view::Driver::at(found.object))
    }

    /// One 64-bit field of a control's answer.
    fn query_u64(&self, device: Device, code: u32, room: usize, at: usize) -> Result<u64, NTSTATUS> {
        let mut answer = [0; 8];
        let (status, bytes) = self.kernel_control(device, code, &[], room);
        if !NT_SUCCESS(status) {
            return Err(status);
        }
        let field = bytes.get(at..at + 8).ok_or(STATUS_INFO_LENGTH_MISMATCH)?;
        answer.copy_from_slice(field);
        Ok(u64::from_le_bytes(answer))
    }

    /// A buffered device control from the kernel itself.
    pub(crate) fn kernel_control(&self, device: Device, code: u32, input: &[u8], room: usize) -> (NTSTATUS, Vec<u8>) {
        let bytes = room.max(input.len()).max(8);
        let system = Span { addr: self.io.arena.alloc(bytes), len: bytes };
        system.write(0, input);
        let mut request = Request::new(device, IRP_MJ_DEVICE_CONTROL);
        request.parameters = [room as u64, input.len() as u64, u64::from(code), 0];
        request.data = Data { system: Some(system), ..Data::default() };
        request.irp_flags = IRP_BUFFERED_IO;
        let reply = self.request(&request);
        let given = usize::try_from(reply.information).unwrap_or(0).min(room);
        let answer = system.part(0, given).to_vec();
        self.io.arena.free(system.addr, bytes);
        (reply.status, answer)
    }

    pub(crate) fn mount_opened(&self, mount: usize, file: File) {
        self.mount(mount, |mount| mount.open.push(file));
    }

    /// The last reference of a file of this mount is gone.
    pub(crate) fn mount_closed(&self, mount: usize, file: File) {
        let ends = self.mount(mount, |mount| mount.dismounted_by == Some(file)).unwrap_or(false);
        if ends {
            self.mount_detach(mount);
        }
    }

    /// The mount is over: the VPB is free for another. Files still open keep their device.
    fn mount_detach(&self, mount: usize) {
        let state = self.mount(mount, |mount| {
            let was = mount.detached;
            mount.detached = true;
            (mount.node, mount.device, was)
        });
        let Some((node, device, false)) = state else { return };
        let vpb = self.node_pdo(node).and_then(Self::vpb_of);
        if let Some(vpb) = vpb.filter(|vpb| vpb.device() == device.ptr()) {
            vpb.set_device(std::ptr::null_mut());
            vpb.set_flags(vpb.flags() & !u16::try_from(VPB_MOUNTED | VPB_LOCKED).unwrap_or(0));
        }
        self.wake(MOUNT_KEY);
    }

    /// The volume goes away: so does its mount.
    pub(crate) fn mount_drop(&self, node: usize) {
        if let Some(mount) = self.mount_of(node) {
            self.mount_detach(mount);
        }
    }

    pub(crate) fn mount_has_open_files(&self, node: usize) -> bool {
        lock(&self.io.mounts).iter().any(|mount| mount.node == node && !mount.open.is_empty())
    }

    fn mount_lock(&self, mount: usize, file: File) -> NTSTATUS {
        let alone = self.mount(mount, |mount| {
            let alone = mount.open == [file] && mount.locked_by.is_none();
            if alone {
                mount.locked_by = Some(file);
            }
            alone
        });
        if alone != Some(true) {
            return STATUS_ACCESS_DENIED;
        }
        let flushed = self.mount_write_back(mount);
        if !NT_SUCCESS(flushed) {
            self.mount(mount, |mount| mount.locked_by = None);
            return flushed;
        }
        self.vpb_locked(mount, true);
        STATUS_SUCCESS
    }

    fn mount_unlock(&self, mount: usize, file: File) -> NTSTATUS {
        let mine = self.mount(mount, |mount| mount.locked_by.take_if(|by| *by == file).is_some());
        if mine != Some(true) {
            return STATUS_NOT_LOCKED;
        }
        self.vpb_locked(mount, false);
        STATUS_SUCCESS
    }

    fn vpb_locked(&self, mount: usize, on: bool) {
        let pdo = self.mount(mount, |mount| mount.node).and_then(|node| self.node_pdo(node));
        if let Some(vpb) = pdo.and_then(Self::vpb_of) {
            let bit = u16::try_from(VPB_LOCKED).unwrap_or(2);
            vpb.set_flags(if on { vpb.flags() | bit } else { vpb.flags() & !bit });
        }
    }

    fn mount_dismount(&self, mount: usize, file: File) -> NTSTATUS {
        let refused = self.mount(mount, |mount| {
            if mount.paging_file || mount.locked_by.is_some_and(|by| by != file) {
                return Some(STATUS_ACCESS_DENIED);
            }
            mount.dismounted_by.map(|_| STATUS_VOLUME_DISMOUNTED)
        });
        if let Some(status) = refused.flatten() {
            return status;
        }
        let flushed = self.mount_write_back(mount);
        if !NT_SUCCESS(flushed) {
            return flushed;
        }
        self.mount(mount, |mount| {
            mount.dismounted_by = Some(file);
            mount.cache.clear();
        });
        STATUS_SUCCESS
    }

    /// Writes back what a volume's mount has cached, as `QUERY_REMOVE` and shutdown do.
    pub(crate) fn mount_flush(&self, node: usize) -> NTSTATUS {
        match self.mount_of(node) {
            Some(mount) => self.mount_write_back(mount),
            None => STATUS_SUCCESS,
        }
    }

    /// Says that the volume holds a paging file, or no longer.
    pub(crate) fn mount_set_paging_file(&self, node: usize, on: bool) {
        if let Some(mount) = self.mount_of(node) {
            self.mount(mount, |mount| mount.paging_file = on);
        }
    }

    /// A flush request to the top of the volume's stack.
    fn flush_below(&self, target: Device) -> Reply {
        let mut request = Request::new(target, IRP_MJ_FLUSH_BUFFERS);
        request.irp_flags = IRP_SYNCHRONOUS_API;
        self.request(&request)
    }
}
