//! The sector cache of a mount: misses and write-backs are paging I/O to the top of the volume's stack.

use crate::abi::io::arena::Span;
use crate::abi::io::view::Device;
use crate::abi::*;
use crate::core::{Kernel, ThreadKind, World};
use crate::io::Side;
use crate::io::request::{Data, Request};
use crate::pnp::VolumeId;

/// Bytes of a cached page.
const PAGE: usize = 4096;
const APC_LEVEL: u8 = 1;

/// One cached page.
#[derive(Debug)]
pub(super) struct Page {
    data: Vec<u8>,
    dirty: bool,
}

impl Kernel {
    /// One paging-I/O transfer; at `APC_LEVEL` as often as not, as faults are taken there.
    fn paging(&self, node: usize, target: Device, offset: u64, span: Span, write: bool) -> NTSTATUS {
        let mut request = Request::new(target, if write { IRP_MJ_WRITE } else { IRP_MJ_READ });
        request.irp_flags = IRP_NOCACHE | IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO;
        request.parameters = [span.len as u64, 0, offset, 0];
        request.data = Data { mdl: Some(span), ..Data::default() };
        if write {
            self.observe(node, Side::WrittenAbove, offset, || span.to_vec());
        }
        let raise = self.irql() == 0 && self.rng().chance(1, 2);
        if raise {
            self.set_irql(APC_LEVEL);
        }
        let reply = self.request(&request);
        if raise {
            self.set_irql(0);
        }
        if NT_SUCCESS(reply.status) && reply.information != span.len as u64 {
            return STATUS_END_OF_FILE;
        }
        if NT_SUCCESS(reply.status) && !write {
            self.observe(node, Side::ReadAbove, offset, || span.to_vec());
        }
        reply.status
    }

    pub(super) fn paging_read(
        &self,
        node: usize,
        target: Device,
        offset: u64,
        len: usize,
    ) -> Result<Vec<u8>, NTSTATUS> {
        let span = Span { addr: self.io.arena.alloc(len.max(PAGE)), len };
        let status = self.paging(node, target, offset, span, false);
        let data = span.to_vec();
        self.io.arena.free(span.addr, len.max(PAGE));
        if NT_SUCCESS(status) { Ok(data) } else { Err(status) }
    }

    fn paging_write(&self, node: usize, target: Device, offset: u64, data: &[u8]) -> NTSTATUS {
        let span = Span { addr: self.io.arena.alloc(data.len().max(PAGE)), len: data.len() };
        span.write(0, data);
        let status = self.paging(node, target, offset, span, true);
        self.io.arena.free(span.addr, data.len().max(PAGE));
        status
    }

    /// Writes every dirty page back and flushes the device.
    pub(crate) fn mount_write_back(&self, mount: usize) -> NTSTATUS {
        let state = self.mount(mount, |mount| {
            let dirty: Vec<(u64, Vec<u8>)> =
                mount.cache.iter().filter(|(_, page)| page.dirty).map(|(at, page)| (*at, page.data.clone())).collect();
            (mount.node, mount.target, dirty)
        });
        let Some((node, target, dirty)) = state else { return STATUS_VOLUME_DISMOUNTED };
        for (at, data) in dirty {
            let status = self.paging_write(node, target, at * PAGE as u64, &data);
            if !NT_SUCCESS(status) {
                return status;
            }
            self.mount(mount, |mount| {
                if let Some(page) = mount.cache.get_mut(&at)
                    && page.data == data
                {
                    page.dirty = false;
                }
            });
        }
        let status = self.flush_below(target).status;
        // A device that cannot flush is no reason for a file system to fail.
        if status == STATUS_INVALID_DEVICE_REQUEST { STATUS_SUCCESS } else { status }
    }

    /// A page, from the cache or from the device.
    fn mount_page(&self, mount: usize, index: u64) -> Result<Vec<u8>, NTSTATUS> {
        let state = self.mount(mount, |mount| {
            let gone = mount.detached || mount.dismounted_by.is_some();
            (mount.node, mount.target, mount.length, gone, mount.cache.get(&index).map(|page| page.data.clone()))
        });
        let Some((node, target, length, false, cached)) = state else { return Err(STATUS_VOLUME_DISMOUNTED) };
        if let Some(data) = cached {
            return Ok(data);
        }
        let offset = index * PAGE as u64;
        let len = usize::try_from(length.saturating_sub(offset)).unwrap_or(PAGE).min(PAGE);
        if len == 0 {
            return Err(STATUS_END_OF_FILE);
        }
        let data = self.paging_read(node, target, offset, len)?;
        self.mount(mount, |mount| {
            mount.cache.entry(index).or_insert(Page { data: data.clone(), dirty: false });
        });
        Ok(data)
    }

    fn fs_read(&self, node: usize, offset: u64, len: usize) -> Result<Vec<u8>, NTSTATUS> {
        let mount = self.fs_mount(node)?;
        let mut out = Vec::with_capacity(len);
        while out.len() < len {
            let at = offset + out.len() as u64;
            let page = self.mount_page(mount, at / PAGE as u64)?;
            let within = usize::try_from(at % PAGE as u64).unwrap_or(0);
            let part = page.get(within..).filter(|part| !part.is_empty()).ok_or(STATUS_END_OF_FILE)?;
            out.extend_from_slice(&part[..part.len().min(len - out.len())]);
        }
        Ok(out)
    }

    fn fs_write(&self, node: usize, offset: u64, data: &[u8]) -> Result<(), NTSTATUS> {
        let mount = self.fs_mount(node)?;
        let mut done = 0;
        while done < data.len() {
            let at = offset + done as u64;
            let index = at / PAGE as u64;
            self.mount_page(mount, index)?;
            let within = usize::try_from(at % PAGE as u64).unwrap_or(0);
            let wrote = self.mount(mount, |mount| {
                let page = mount.cache.get_mut(&index)?;
                let room = page.data.get_mut(within..).filter(|room| !room.is_empty())?;
                let run = room.len().min(data.len() - done);
                room[..run].copy_from_slice(&data[done..done + run]);
                page.dirty = true;
                Some(run)
            });
            done += wrote.flatten().ok_or(STATUS_END_OF_FILE)?;
        }
        Ok(())
    }

    /// The mount for file I/O; raw volumes have none.
    fn fs_mount(&self, node: usize) -> Result<usize, NTSTATUS> {
        let mount = self.mount_ensure(node)?;
        let raw = self.mount(mount, |mount| mount.raw);
        if raw == Some(false) { Ok(mount) } else { Err(STATUS_UNRECOGNIZED_VOLUME) }
    }

    fn fs_invalidate(&self, node: usize) {
        if let Some(mount) = self.mount_of(node) {
            self.mount(mount, |mount| mount.cache.retain(|_, page| page.dirty));
        }
    }
}

/// File I/O on a volume, as the host asks for it.
pub struct FsVolume<'w> {
    world: Option<&'w World>,
    volume: VolumeId,
}

impl FsVolume<'_> {
    fn run<T: Send + 'static>(
        &self,
        body: impl FnOnce(&Kernel, usize) -> Result<T, NTSTATUS> + Send + 'static,
    ) -> Result<T, NTSTATUS> {
        let node = self.volume.0;
        match self.world {
            Some(world) => {
                let result = world.inside("file system", ThreadKind::System, move |k| body(k, node));
                result.unwrap_or(Err(STATUS_UNSUCCESSFUL))
            }
            None => crate::core::with_current(|k| body(k, node)),
        }
    }

    /// Reads through the cache. Mounts first when need be.
    ///
    /// # Errors
    /// The status of the paging read; `STATUS_END_OF_FILE` behind the mounted size.
    pub fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, NTSTATUS> {
        self.run(move |k, node| k.fs_read(node, offset, len))
    }

    /// Writes into the cache.
    ///
    /// # Errors
    /// As [`FsVolume::read`]: the page is read first.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), NTSTATUS> {
        let data = data.to_vec();
        self.run(move |k, node| k.fs_write(node, offset, &data))
    }

    /// Writes dirty pages back and flushes the device.
    ///
    /// # Errors
    /// The status of the first write or of the flush that failed.
    pub fn flush(&self) -> Result<(), NTSTATUS> {
        self.run(|k, node| crate::pnp::status_result(k.mount_flush(node)))
    }

    /// Forgets clean pages, so that the next read goes to the device.
    ///
    /// # Errors
    /// Never, unless the world has stopped.
    pub fn invalidate(&self) -> Result<(), NTSTATUS> {
        self.run(|k, node| {
            k.fs_invalidate(node);
            Ok(())
        })
    }

    /// Bytes that the mount believes the volume has.
    ///
    /// # Errors
    /// The status of the mount.
    pub fn length(&self) -> Result<u64, NTSTATUS> {
        self.run(|k, node| {
            let mount = k.mount_ensure(node)?;
            k.mount(mount, |mount| mount.length).ok_or(STATUS_VOLUME_DISMOUNTED)
        })
    }

    /// Puts a paging file on the volume, or takes it away: dismount is refused meanwhile.
    ///
    /// # Errors
    /// The status of the mount.
    pub fn set_paging_file(&self, on: bool) -> Result<(), NTSTATUS> {
        self.run(move |k, node| {
            k.mount_ensure(node)?;
            k.mount_set_paging_file(node, on);
            Ok(())
        })
    }
}

impl World {
    /// The file system of a volume.
    #[must_use]
    pub fn fs(&self, volume: VolumeId) -> FsVolume<'_> {
        FsVolume { world: Some(self), volume }
    }
}

impl VolumeId {
    /// The file system of the volume, for code that already runs on a simulated thread.
    #[must_use]
    pub fn fs_here(self) -> FsVolume<'static> {
        FsVolume { world: None, volume: self }
    }
}
