//! Handles of user-mode programs.

use super::User;
use super::pending::Pending;
use crate::abi::io::arena::Span;
use crate::abi::*;
use crate::core::Kernel;
use crate::io::Side;
use crate::io::file::{Control, Open};
use crate::io::request::{Reply, Ticket};

/// Access asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(pub u32);

impl Access {
    /// `GENERIC_READ | SYNCHRONIZE`.
    pub const READ: Self = Self(0x8010_0000);
    /// `GENERIC_WRITE | SYNCHRONIZE`.
    pub const WRITE: Self = Self(0x4010_0000);
    /// Both.
    pub const READ_WRITE: Self = Self(0xC010_0000);
    /// `FILE_READ_ATTRIBUTES | SYNCHRONIZE`: does not mount.
    pub const ATTRIBUTES: Self = Self(0x0010_0080);
    /// No data access at all, only `SYNCHRONIZE`.
    pub const NONE: Self = Self(0x0010_0000);
}

/// Sharing allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(pub u32);

impl Share {
    /// Read, write and delete.
    pub const ALL: Self = Self(7);
    /// Nothing.
    pub const NONE: Self = Self(0);
}

/// Everything a control came back with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoctlReply {
    /// Final status.
    pub status: NTSTATUS,
    /// `IO_STATUS_BLOCK.Information`.
    pub information: u64,
    /// The whole output buffer.
    pub output: Vec<u8>,
}

/// An open handle; closed on drop.
pub struct Handle<'w> {
    user: User<'w>,
    value: usize,
}

fn result(reply: Reply) -> Result<u64, NTSTATUS> {
    if NT_ERROR(reply.status) || NT_WARNING(reply.status) { Err(reply.status) } else { Ok(reply.information) }
}

/// A program's buffer: `len` bytes at `odd` bytes into a page.
pub(super) fn buffer(k: &Kernel, len: usize, odd: usize) -> (Span, Span) {
    let whole = Span { addr: k.io.arena.alloc(len + odd + 4096), len: len + odd + 4096 };
    (whole, whole.part(odd, len))
}

/// Sends a control and gives its ticket with the buffers to look at afterwards.
fn control(
    k: &Kernel,
    value: usize,
    call: (u32, bool),
    input: &[u8],
    room: usize,
) -> Result<(Ticket, Control, Span), NTSTATUS> {
    let (file, access) = k.file_of(value as HANDLE)?;
    let (whole, data) = buffer(k, input.len() + room, 0);
    let (from, to) = (data.part(0, input.len()), data.part(input.len(), room));
    from.write(0, input);
    let system = k.control_system_buffer(call.0, from, to);
    let control = Control { code: call.0, file_system: call.1, user: true, input: from, output: to, system };
    match k.file_control(file, access, &control) {
        Ok(ticket) => Ok((ticket, control, whole)),
        Err(status) => {
            k.control_done(system);
            k.io.arena.free(whole.addr, whole.len);
            Err(status)
        }
    }
}

fn control_end(k: &Kernel, control: &Control, whole: Span, reply: Reply) -> IoctlReply {
    k.control_copy_out(control, reply);
    let output = control.output.to_vec();
    k.control_done(control.system);
    k.io.arena.free(whole.addr, whole.len);
    IoctlReply { status: reply.status, information: reply.information, output }
}

/// Begins a read or write.
fn transfer(k: &Kernel, value: usize, write: bool, offset: u64, span: Span) -> Result<Ticket, NTSTATUS> {
    let (file, access) = k.file_of(value as HANDLE)?;
    let needed = if write { FILE_WRITE_DATA | FILE_APPEND_DATA } else { FILE_READ_DATA };
    if access & needed == 0 {
        return Err(STATUS_ACCESS_DENIED);
    }
    if write && let Some(node) = k.node_of_file(file) {
        k.observe(node, Side::WrittenAbove, offset, || span.to_vec());
    }
    Ok(k.file_transfer(file, write, offset, span, true))
}

fn seen(k: &Kernel, value: usize, offset: u64, data: &[u8]) {
    let node = k.file_of(value as HANDLE).ok().and_then(|(file, _)| k.node_of_file(file));
    if let Some(node) = node {
        k.observe(node, Side::ReadAbove, offset, || data.to_vec());
    }
}

impl<'w> Handle<'w> {
    pub(super) fn open(
        user: &User<'w>,
        path: &str,
        access: Access,
        share: Share,
        sync: bool,
    ) -> Result<Self, NTSTATUS> {
        let token = user.token().clone();
        let path = path.to_owned();
        let value = user.run(move |k| {
            let open = Open {
                path,
                access: access.0,
                share: share.0,
                disposition: FILE_OPEN,
                options: if sync { FILE_SYNCHRONOUS_IO_NONALERT } else { 0 },
                token,
                checked: true,
                user_mode: true,
            };
            let (file, granted) = k.file_open(&open)?;
            let handle = k.handle_insert(file.addr(), granted, false);
            k.object_dereference(file.addr());
            Ok(handle as usize)
        })?;
        Ok(Self { user: user.clone(), value })
    }

    /// The handle's value, for tests that pass it on.
    #[must_use]
    pub fn value(&self) -> usize {
        self.value
    }

    /// Reads `len` bytes.
    ///
    /// # Errors
    /// The status of the read, or `STATUS_ACCESS_DENIED` without read access.
    pub fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, NTSTATUS> {
        self.read_at(offset, len, 0)
    }

    /// Reads `len` bytes into a buffer that begins `odd` bytes into a page.
    ///
    /// # Errors
    /// As [`Handle::read`].
    pub fn read_at(&self, offset: u64, len: usize, odd: usize) -> Result<Vec<u8>, NTSTATUS> {
        let value = self.value;
        self.user.run(move |k| {
            let (whole, span) = buffer(k, len, odd);
            let done = transfer(k, value, false, offset, span).and_then(|ticket| result(k.wait_for(&ticket)));
            let data = done.map(|given| span.part(0, usize::try_from(given).unwrap_or(len)).to_vec());
            k.io.arena.free(whole.addr, whole.len);
            let data = data?;
            seen(k, value, offset, &data);
            Ok(data)
        })
    }

    /// Writes bytes; how many were written.
    ///
    /// # Errors
    /// The status of the write, or `STATUS_ACCESS_DENIED` without write access.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<usize, NTSTATUS> {
        let (value, data) = (self.value, data.to_vec());
        self.user.run(move |k| {
            let (whole, span) = buffer(k, data.len(), 0);
            span.write(0, &data);
            let done = transfer(k, value, true, offset, span).and_then(|ticket| result(k.wait_for(&ticket)));
            k.io.arena.free(whole.addr, whole.len);
            done.map(|given| usize::try_from(given).unwrap_or(0))
        })
    }

    /// Sends a device control; `Information` bytes of the output.
    ///
    /// # Errors
    /// The status, warnings included.
    pub fn ioctl(&self, code: u32, input: &[u8], room: usize) -> Result<Vec<u8>, NTSTATUS> {
        let reply = self.ioctl_raw(code, input, room);
        result(Reply { status: reply.status, information: reply.information })?;
        let given = usize::try_from(reply.information).unwrap_or(room).min(room);
        Ok(reply.output[..given].to_vec())
    }

    /// Sends a device control; everything that came back.
    #[must_use]
    pub fn ioctl_raw(&self, code: u32, input: &[u8], room: usize) -> IoctlReply {
        self.control_raw((code, false), input, room)
    }

    /// Sends a file-system control.
    ///
    /// # Errors
    /// The status.
    pub fn fsctl(&self, code: u32) -> Result<(), NTSTATUS> {
        let reply = self.control_raw((code, true), &[], 0);
        result(Reply { status: reply.status, information: 0 }).map(|_| ())
    }

    fn control_raw(&self, call: (u32, bool), input: &[u8], room: usize) -> IoctlReply {
        let (value, input) = (self.value, input.to_vec());
        let reply = self.user.run(move |k| {
            let (ticket, sent, whole) = control(k, value, call, &input, room)?;
            let reply = k.wait_for(&ticket);
            Ok(control_end(k, &sent, whole, reply))
        });
        reply.unwrap_or_else(|status| IoctlReply { status, information: 0, output: vec![0; room] })
    }

    /// `FSCTL_LOCK_VOLUME`.
    ///
    /// # Errors
    /// `STATUS_ACCESS_DENIED` while another file is open.
    pub fn lock(&self) -> Result<(), NTSTATUS> {
        self.fsctl(0x0009_0018)
    }

    /// `FSCTL_UNLOCK_VOLUME`.
    ///
    /// # Errors
    /// `STATUS_NOT_LOCKED`.
    pub fn unlock(&self) -> Result<(), NTSTATUS> {
        self.fsctl(0x0009_001C)
    }

    /// `FSCTL_DISMOUNT_VOLUME`.
    ///
    /// # Errors
    /// `STATUS_ACCESS_DENIED` with a paging file or another's lock.
    pub fn dismount(&self) -> Result<(), NTSTATUS> {
        self.fsctl(0x0009_0020)
    }

    /// Flushes.
    ///
    /// # Errors
    /// The status of the flush.
    pub fn flush(&self) -> Result<(), NTSTATUS> {
        let value = self.value;
        self.user.run(move |k| {
            let (file, _) = k.file_of(value as HANDLE)?;
            result(k.file_flush(file, true)).map(|_| ())
        })
    }

    /// Begins a read; the data comes with [`Pending::wait`].
    ///
    /// # Errors
    /// `STATUS_ACCESS_DENIED` without read access.
    pub fn submit_read(&self, offset: u64, len: usize) -> Result<Pending<'w>, NTSTATUS> {
        let value = self.value;
        let (ticket, whole, span) = self.user.run(move |k| {
            let (whole, span) = buffer(k, len, 0);
            transfer(k, value, false, offset, span).map(|ticket| (ticket, whole, span))
        })?;
        Ok(Pending::new(self.user.clone(), ticket, whole, Some(span)))
    }

    /// Begins a write.
    ///
    /// # Errors
    /// `STATUS_ACCESS_DENIED` without write access.
    pub fn submit_write(&self, offset: u64, data: &[u8]) -> Result<Pending<'w>, NTSTATUS> {
        let (value, data) = (self.value, data.to_vec());
        let (ticket, whole) = self.user.run(move |k| {
            let (whole, span) = buffer(k, data.len(), 0);
            span.write(0, &data);
            transfer(k, value, true, offset, span).map(|ticket| (ticket, whole))
        })?;
        Ok(Pending::new(self.user.clone(), ticket, whole, None))
    }

    /// Begins a device control; its output comes with [`Pending::wait`]. For `METHOD_BUFFERED` codes.
    ///
    /// # Errors
    /// `STATUS_ACCESS_DENIED` when the code's access bits are not granted.
    pub fn submit_ioctl(&self, code: u32, input: &[u8], room: usize) -> Result<Pending<'w>, NTSTATUS> {
        let (value, input) = (self.value, input.to_vec());
        let (ticket, sent, whole) = self.user.run(move |k| control(k, value, (code, false), &input, room))?;
        Ok(Pending::new(self.user.clone(), ticket, whole, None).with_control(sent))
    }

    /// Closes the handle.
    ///
    /// # Errors
    /// `STATUS_INVALID_HANDLE` when the driver under test closed it behind the program's back.
    pub fn close(mut self) -> Result<(), NTSTATUS> {
        self.close_now()
    }

    fn close_now(&mut self) -> Result<(), NTSTATUS> {
        let value = std::mem::take(&mut self.value);
        if value == 0 {
            return Ok(());
        }
        self.user.run(move |k| crate::pnp::status_result(k.handle_close(value as HANDLE)))
    }
}

impl Drop for Handle<'_> {
    fn drop(&mut self) {
        let _closed = self.close_now();
    }
}

impl Kernel {
    /// The volume that a file was opened on, if it was one.
    pub(crate) fn node_of_file(&self, file: crate::abi::io::view::File) -> Option<usize> {
        let device = crate::abi::io::view::Device::at(file.device() as usize);
        self.device_record(device, |record| record.node).flatten()
    }
}
