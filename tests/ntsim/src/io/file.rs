//! File objects: open, cleanup, close; and the requests that handles make.

use super::device::name_status;
use super::lock;
use super::request::{Data, Reply, Request, Ticket};
use crate::abi::io::arena::Span;
use crate::abi::io::view::{Device, File};
use crate::abi::*;
use crate::core::{Kernel, NumberMap, ThreadKind};
use crate::ob::Token;
use crate::ob::handles::ObjectKind;
use crate::pnp::Phase;

const SYNCHRONIZE_ACCESS: u32 = 0x0010_0000;
/// Rights that do not make a device mount its file system when its name alone is opened.
const ATTRIBUTE_RIGHTS: u32 = FILE_READ_ATTRIBUTES | READ_CONTROL | SYNCHRONIZE_ACCESS;

/// What is known of a file object.
#[derive(Debug)]
pub(crate) struct FileRecord {
    /// The device that the name led to.
    pub(crate) named: Device,
    name: Span,
    security: Span,
    closed: bool,
    /// The mount that the file was opened through.
    pub(crate) mount: Option<usize>,
}

/// File objects by address.
pub(crate) type Files = NumberMap<usize, FileRecord>;

/// How to open.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) path: String,
    pub(crate) access: u32,
    pub(crate) share: u32,
    pub(crate) disposition: u32,
    pub(crate) options: u32,
    pub(crate) token: Token,
    /// Whether the security descriptor is asked.
    pub(crate) checked: bool,
    /// Whether the create request says user mode.
    pub(crate) user_mode: bool,
}

/// The one folder of the model's file systems.
pub(crate) const SYSTEM_FOLDER: &str = r"\Windows";

/// Folders are opened as folders, files as files.
fn check_folder(rest: &str, options: u32) -> Result<(), NTSTATUS> {
    let is_folder = rest.eq_ignore_ascii_case(SYSTEM_FOLDER);
    if is_folder && options & FILE_NON_DIRECTORY_FILE != 0 {
        return Err(STATUS_FILE_IS_A_DIRECTORY);
    }
    if !is_folder && options & FILE_DIRECTORY_FILE != 0 {
        return Err(STATUS_NOT_A_DIRECTORY);
    }
    Ok(())
}

impl Kernel {
    /// Opens a path; the file object has one reference, to be owned by a handle or given back.
    pub(crate) fn file_open(&self, open: &Open) -> Result<(File, u32), NTSTATUS> {
        let found = lock(&self.io.names).resolve(&open.path).map_err(name_status)?;
        let named = Device::at(found.object);
        let secured = self.device_record(named, |record| (record.security.clone(), record.deleted));
        let Some((security, deleted)) = secured else { return Err(STATUS_OBJECT_TYPE_MISMATCH) };
        if deleted || named.flags() & DO_DEVICE_INITIALIZING != 0 {
            return Err(STATUS_NO_SUCH_DEVICE);
        }
        let below = !found.rest.is_empty();
        let access = crate::ob::security::map_generic(open.access);
        let must_check = open.checked && (!below || named.characteristics() & FILE_DEVICE_SECURE_OPEN != 0);
        let access =
            if must_check { security.check(&open.token, open.access).ok_or(STATUS_ACCESS_DENIED)? } else { access };
        if named.flags() & DO_EXCLUSIVE != 0 && named.reference_count() > 0 {
            return Err(STATUS_ACCESS_DENIED);
        }
        check_folder(&found.rest, open.options)?;
        let direct = !below && access & !ATTRIBUTE_RIGHTS == 0;
        let (target, mount) = self.open_target(named, direct)?;
        let file = self.file_new(open, (named, target, mount), &found.rest, access);
        if direct {
            file.set_flags(file.flags() | FO_DIRECT_DEVICE_OPEN);
        }
        named.set_reference_count(named.reference_count() + 1);
        self.object_reference(named.addr());
        let reply = self.request(&self.create_request(open, file, target, access));
        if !NT_SUCCESS(reply.status) {
            self.file_forget(file);
            return Err(reply.status);
        }
        if let Some(mount) = mount {
            self.mount_opened(mount, file);
        }
        Ok((file, access))
    }

    /// Where a create request goes: the file system of a mounted volume, or the top of the device's stack.
    fn open_target(&self, named: Device, direct: bool) -> Result<(Device, Option<usize>), NTSTATUS> {
        if Self::vpb_of(named).is_none() || direct {
            return Ok((self.device_top(named), None));
        }
        let node = self.device_record(named, |record| record.node).flatten();
        let Some(node) = node else { return Ok((self.device_top(named), None)) };
        if self.node_phase(node) == Phase::RemovePending {
            // The file system has locked the volume; where there is none, no new one may mount.
            let mounted = self.mount_of(node).is_some();
            return Err(if mounted { STATUS_ACCESS_DENIED } else { STATUS_DEVICE_DOES_NOT_EXIST });
        }
        let (device, mount) = self.mount_for_open(node)?;
        Ok((device, Some(mount)))
    }

    fn file_new(&self, open: &Open, to: (Device, Device, Option<usize>), rest: &str, access: u32) -> File {
        let (named, target, mount) = to;
        let file = File::at(self.io.arena.alloc(size_of::<FILE_OBJECT>()));
        file.set_kind(CSHORT::try_from(IO_TYPE_FILE).unwrap_or(5));
        file.set_size(CSHORT::try_from(size_of::<FILE_OBJECT>()).unwrap_or(0));
        file.set_device(named.ptr());
        if Self::vpb_of(named).is_some_and(|vpb| vpb.device() == target.ptr()) {
            file.set_vpb(named.vpb());
        }
        file.set_read_access(u8::from(access & FILE_READ_DATA != 0));
        file.set_write_access(u8::from(access & (FILE_WRITE_DATA | FILE_APPEND_DATA) != 0));
        let sync = open.options & (FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT) != 0;
        let flag = |on: bool, flag: u32| if on { flag } else { 0 };
        file.set_flags(
            flag(sync, FO_SYNCHRONOUS_IO)
                | flag(open.options & FILE_NO_INTERMEDIATE_BUFFERING != 0, FO_NO_INTERMEDIATE_BUFFERING)
                | flag(open.options & FILE_WRITE_THROUGH != 0, FO_WRITE_THROUGH)
                | flag(rest.is_empty(), FO_VOLUME_OPEN),
        );
        let name = self.string_new(rest);
        file.set_name(crate::abi::io::callbacks::get(name.addr as PCUNICODE_STRING).unwrap_or_default());
        let bytes = size_of::<IO_SECURITY_CONTEXT>() + size_of::<ACCESS_STATE>();
        let security = Span { addr: self.io.arena.alloc(bytes), len: bytes };
        let record = FileRecord { named, name, security, closed: false, mount };
        lock(&self.io.files).insert(file.addr(), record);
        self.object_insert(file.addr(), ObjectKind::File, file_last_reference);
        file
    }

    fn create_request(&self, open: &Open, file: File, target: Device, access: u32) -> Request {
        let security = lock(&self.io.files).get(&file.addr()).map_or(0, |record| record.security.addr);
        let state = security + size_of::<IO_SECURITY_CONTEXT>();
        let context = IO_SECURITY_CONTEXT {
            SecurityQos: std::ptr::null_mut(),
            AccessState: state as PACCESS_STATE,
            DesiredAccess: access,
            FullCreateOptions: open.options,
        };
        crate::abi::io::callbacks::put(security as *mut IO_SECURITY_CONTEXT, context);
        let mut request = Request::new(target, IRP_MJ_CREATE);
        let options = (open.disposition << 24) | (open.options & 0x00FF_FFFF);
        request.parameters = [security as u64, u64::from(options), u64::from(open.share) << 16, 0];
        request.irp_flags = IRP_CREATE_OPERATION | IRP_SYNCHRONOUS_API;
        request.file = Some(file);
        request.user_mode = open.user_mode;
        request
    }

    /// The device that requests of a file go to.
    pub(crate) fn file_target(&self, file: File) -> Device {
        let mount = lock(&self.io.files).get(&file.addr()).and_then(|record| record.mount);
        let base = mount.and_then(|mount| self.mount_device(mount));
        self.device_top(base.unwrap_or_else(|| Device::at(file.device() as usize)))
    }

    /// The last handle is gone.
    pub(crate) fn file_cleanup(&self, addr: usize) {
        let file = File::at(addr);
        let mut request = Request::new(self.file_target(file), IRP_MJ_CLEANUP);
        request.irp_flags = IRP_CLOSE_OPERATION | IRP_SYNCHRONOUS_API;
        request.file = Some(file);
        self.request(&request);
    }

    /// Gives a reference back; the last one sends CLOSE, from a thread of its own when the caller must not wait.
    pub(crate) fn file_dereference(&self, file: File) {
        self.object_dereference(file.addr());
    }

    fn file_close(&self, file: File) {
        let mut request = Request::new(self.file_target(file), IRP_MJ_CLOSE);
        request.irp_flags = IRP_CLOSE_OPERATION | IRP_SYNCHRONOUS_API;
        // No reference for this request: the object is on its way out and stays until it comes back.
        request.file = None;
        let ticket = self.submit_with_file(&request, file);
        self.wait_for(&ticket);
        let mount = lock(&self.io.files).get(&file.addr()).and_then(|record| record.mount);
        if let Some(mount) = mount {
            self.mount_closed(mount, file);
        }
        self.file_forget_record(file);
    }

    /// Drops a file object that was never opened.
    fn file_forget(&self, file: File) {
        if let Some(record) = lock(&self.io.files).get_mut(&file.addr()) {
            record.closed = true;
        }
        self.object_dereference(file.addr());
    }

    fn file_forget_record(&self, file: File) {
        let gone = lock(&self.io.files).remove(&file.addr());
        if let Some(record) = gone {
            record.named.set_reference_count(record.named.reference_count() - 1);
            self.object_dereference(record.named.addr());
            self.io.arena.free(record.name.addr, record.name.len);
            self.io.arena.free(record.security.addr, record.security.len);
            self.io.arena.free(file.addr(), size_of::<FILE_OBJECT>());
        }
    }

    /// A read or write through a file, with its data in `span`.
    pub(crate) fn file_transfer(&self, file: File, write: bool, offset: u64, span: Span, user: bool) -> Ticket {
        let device = self.file_target(file);
        let major = if write { IRP_MJ_WRITE } else { IRP_MJ_READ };
        let mut request = Request::new(device, major);
        request.file = Some(file);
        request.user_mode = user;
        let operation = if write { IRP_WRITE_OPERATION } else { IRP_READ_OPERATION };
        let unbuffered = if file.flags() & FO_NO_INTERMEDIATE_BUFFERING != 0 { IRP_NOCACHE } else { 0 };
        request.irp_flags = operation | unbuffered | synchronous(file);
        if file.flags() & FO_WRITE_THROUGH != 0 && write {
            request.sl_flags = 0x04;
        }
        request.parameters = [span.len as u64, 0, offset, 0];
        let flags = device.flags();
        request.data = if flags & DO_BUFFERED_IO != 0 {
            Data { system: Some(span), ..Data::default() }
        } else if flags & DO_DIRECT_IO != 0 {
            Data { mdl: (span.len > 0).then_some(span), ..Data::default() }
        } else {
            Data { user: Some(span), ..Data::default() }
        };
        self.submit(&request)
    }

    /// A control through a file. The access bits of the code are checked here, before any request exists.
    pub(crate) fn file_control(&self, file: File, access: u32, control: &Control) -> Result<Ticket, NTSTATUS> {
        let needed = (control.code >> 14) & 3;
        if needed & !(access & 3) != 0 {
            return Err(STATUS_ACCESS_DENIED);
        }
        let device = self.file_target(file);
        let mut request =
            Request::new(device, if control.file_system { IRP_MJ_FILE_SYSTEM_CONTROL } else { IRP_MJ_DEVICE_CONTROL });
        request.file = Some(file);
        request.user_mode = control.user;
        request.irp_flags = synchronous(file);
        let (input, output) = (control.input, control.output);
        let hidden = if control.user { crate::core::USER_BIT } else { 0 };
        let type3 = if control.code & 3 == METHOD_NEITHER { (input.addr | hidden) as u64 } else { 0 };
        request.parameters = [output.len as u64, input.len as u64, u64::from(control.code), type3];
        request.data = match control.code & 3 {
            METHOD_BUFFERED => Data { system: control.system, user: Some(output), ..Data::default() },
            METHOD_NEITHER => Data { user: Some(output), ..Data::default() },
            _ => Data { system: control.system, mdl: (output.len > 0).then_some(output), ..Data::default() },
        };
        if control.code & 3 == METHOD_BUFFERED && control.system.is_some() {
            request.irp_flags |= IRP_BUFFERED_IO | IRP_INPUT_OPERATION;
        }
        Ok(self.submit(&request))
    }

    /// A flush through a file.
    pub(crate) fn file_flush(&self, file: File, user: bool) -> Reply {
        let mut request = Request::new(self.file_target(file), IRP_MJ_FLUSH_BUFFERS);
        request.file = Some(file);
        request.user_mode = user;
        request.irp_flags = IRP_SYNCHRONOUS_API;
        self.request(&request)
    }

    /// Handles keep a file alive through this.
    pub(crate) fn file_of(&self, handle: HANDLE) -> Result<(File, u32), NTSTATUS> {
        let entry = self.handle_entry(handle).ok_or(STATUS_INVALID_HANDLE)?;
        if self.object_kind(entry.object) != Some(ObjectKind::File) {
            return Err(STATUS_OBJECT_TYPE_MISMATCH);
        }
        Ok((File::at(entry.object), entry.access))
    }
}

/// A device or file-system control.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Control {
    pub(crate) code: u32,
    pub(crate) file_system: bool,
    pub(crate) user: bool,
    /// Caller's input.
    pub(crate) input: Span,
    /// Caller's output.
    pub(crate) output: Span,
    /// System buffer that already holds the input, when the method takes one.
    pub(crate) system: Option<Span>,
}

fn synchronous(file: File) -> u32 {
    if file.flags() & FO_SYNCHRONOUS_IO != 0 { IRP_SYNCHRONOUS_API } else { 0 }
}

fn file_last_reference(k: &Kernel, addr: usize) {
    let file = File::at(addr);
    let never_opened = lock(&k.io.files).get(&addr).is_none_or(|record| record.closed);
    if never_opened {
        k.file_forget_record(file);
    } else if k.irql() > 0 || k.with_thread(|_| ()).is_none() {
        k.spawn("file close", ThreadKind::System, move || {
            crate::core::with_current(|k| k.file_close(file));
        });
    } else {
        k.file_close(file);
    }
}
