//! `Zw*` file routines: kernel-mode callers, through handles.

use super::arena::Span;
use super::callbacks::{get, put, text};
use super::view::File;
use crate::abi::routine::routines;
use crate::abi::*;
use crate::core::{Kernel, Rule};
use crate::io::file::{Control, Open};
use crate::io::request::{Reply, Ticket};
use crate::ob::Token;

/// What `OBJECT_ATTRIBUTES` say.
pub(super) struct Attributes {
    pub(super) path: String,
    pub(super) flags: u32,
}

/// Reads object attributes; the status of the open that they spoil otherwise.
pub(super) fn attributes(attributes: POBJECT_ATTRIBUTES) -> Result<Attributes, NTSTATUS> {
    let given = get(attributes.cast_const()).ok_or(STATUS_INVALID_PARAMETER)?;
    if given.Length as usize != size_of::<OBJECT_ATTRIBUTES>() || !given.RootDirectory.is_null() {
        return Err(STATUS_INVALID_PARAMETER);
    }
    let path = text(given.ObjectName.cast_const()).ok_or(STATUS_OBJECT_PATH_SYNTAX_BAD)?;
    Ok(Attributes { path, flags: given.Attributes })
}

fn store(iosb: PIO_STATUS_BLOCK, reply: Reply) {
    let mut block = IO_STATUS_BLOCK { Information: reply.information, ..IO_STATUS_BLOCK::default() };
    block.__bindgen_anon_1.Status = reply.status;
    put(iosb, block);
}

fn create(k: &Kernel, handle: PHANDLE, mut open: Open, given: POBJECT_ATTRIBUTES, iosb: PIO_STATUS_BLOCK) -> NTSTATUS {
    let given = match attributes(given) {
        Ok(given) => given,
        Err(status) => return status,
    };
    open.path = given.path;
    open.checked = given.flags & OBJ_FORCE_ACCESS_CHECK != 0;
    open.token = if open.checked { k.token() } else { Token::system() };
    let kernel = given.flags & OBJ_KERNEL_HANDLE != 0;
    if !kernel && k.with_thread(|thread| matches!(thread.kind(), crate::ThreadKind::User(_))) == Some(true) {
        k.finding(Rule::BadArgument, "a handle is opened in a user process's table: OBJ_KERNEL_HANDLE is missing");
    }
    match k.file_open(&open) {
        Ok((file, access)) => {
            put(handle, k.handle_insert(file.addr(), access, true));
            k.object_dereference(file.addr());
            store(iosb, Reply { status: STATUS_SUCCESS, information: u64::from(FILE_OPENED) });
            STATUS_SUCCESS
        }
        Err(status) => {
            store(iosb, Reply { status, information: 0 });
            status
        }
    }
}

fn opening(access: ACCESS_MASK, share: ULONG, options: ULONG) -> Open {
    Open {
        path: String::new(),
        access,
        share,
        disposition: FILE_OPEN,
        options,
        token: Token::system(),
        checked: false,
        user_mode: false,
    }
}

/// Waits for a request made through a handle. An asynchronous handle without an event cannot be waited for.
fn finish(k: &Kernel, ticket: &Ticket, iosb: PIO_STATUS_BLOCK) -> NTSTATUS {
    let reply = k.wait_for(ticket);
    store(iosb, reply);
    reply.status
}

fn transfer(
    k: &Kernel,
    handle: HANDLE,
    write: bool,
    data: (PVOID, ULONG, PLARGE_INTEGER),
    iosb: PIO_STATUS_BLOCK,
) -> NTSTATUS {
    let (file, access) = match k.file_of(handle) {
        Ok(found) => found,
        Err(status) => return status,
    };
    let needed = if write { FILE_WRITE_DATA | FILE_APPEND_DATA } else { FILE_READ_DATA };
    if access & needed == 0 {
        return STATUS_ACCESS_DENIED;
    }
    let (buffer, length, offset) = data;
    let synchronous = file.flags() & FO_SYNCHRONOUS_IO != 0;
    let Some(offset) = get(offset.cast::<u64>().cast_const()).or(synchronous.then(|| position(file))) else {
        return STATUS_INVALID_PARAMETER;
    };
    let span = Span { addr: buffer as usize, len: length as usize };
    let ticket = k.file_transfer(file, write, offset, span, false);
    let status = finish(k, &ticket, iosb);
    if synchronous && NT_SUCCESS(status) {
        file.set_position(i64::try_from(offset.saturating_add(u64::from(length))).unwrap_or(i64::MAX));
    }
    status
}

fn position(file: File) -> u64 {
    u64::try_from(file.position()).unwrap_or(0)
}

fn control(k: &Kernel, handle: HANDLE, call: (ULONG, bool), buffers: (Span, Span), iosb: PIO_STATUS_BLOCK) -> NTSTATUS {
    let (file, access) = match k.file_of(handle) {
        Ok(found) => found,
        Err(status) => return status,
    };
    let (input, output) = buffers;
    let (code, file_system) = call;
    let made = k.control_system_buffer(code, input, output);
    let control = Control { code, file_system, user: false, input, output, system: made };
    let status = match k.file_control(file, access, &control) {
        Ok(ticket) => {
            let reply = k.wait_for(&ticket);
            k.control_copy_out(&control, reply);
            store(iosb, reply);
            reply.status
        }
        Err(status) => status,
    };
    k.control_done(made);
    status
}

fn span(address: PVOID, len: ULONG) -> Span {
    Span { addr: address as usize, len: if address.is_null() { 0 } else { len as usize } }
}

routines! {
    /// Opens a file or device. At `PASSIVE_LEVEL`. Kernel-mode callers are not checked unless `OBJ_FORCE_ACCESS_CHECK` is
    /// set. Weaker than Windows: only `FILE_OPEN`; relative names are refused.
    fn ZwCreateFile(FileHandle: PHANDLE, DesiredAccess: ACCESS_MASK, ObjectAttributes: POBJECT_ATTRIBUTES, IoStatusBlock: PIO_STATUS_BLOCK, AllocationSize: PLARGE_INTEGER, FileAttributes: ULONG, ShareAccess: ULONG, CreateDisposition: ULONG, CreateOptions: ULONG, EaBuffer: PVOID, EaLength: ULONG) -> NTSTATUS, max 0 => |k| {
        let _ = (AllocationSize, FileAttributes, EaBuffer, EaLength);
        let mut open = opening(DesiredAccess, ShareAccess, CreateOptions);
        open.disposition = CreateDisposition;
        create(k, FileHandle, open, ObjectAttributes, IoStatusBlock)
    }

    /// Opens a file or device. At `PASSIVE_LEVEL`. As [`ZwCreateFile`].
    fn ZwOpenFile(FileHandle: PHANDLE, DesiredAccess: ACCESS_MASK, ObjectAttributes: POBJECT_ATTRIBUTES, IoStatusBlock: PIO_STATUS_BLOCK, ShareAccess: ULONG, OpenOptions: ULONG) -> NTSTATUS, max 0 => |k| {
        create(k, FileHandle, opening(DesiredAccess, ShareAccess, OpenOptions), ObjectAttributes, IoStatusBlock)
    }

    /// Closes a handle. At `PASSIVE_LEVEL`. A handle that is none is a finding: it may be somebody else's by now.
    fn ZwClose(Handle: HANDLE) -> NTSTATUS, max 0 => |k| {
        let status = k.handle_close(Handle);
        if status == STATUS_INVALID_HANDLE {
            k.finding(Rule::ObjectReference, format!("ZwClose of {Handle:?}, which is no handle (any more)"));
        }
        status
    }

    /// Reads through a handle. At `PASSIVE_LEVEL`. Weaker than Windows: always waits, events and APCs are not taken.
    fn ZwReadFile(FileHandle: HANDLE, Event: HANDLE, ApcRoutine: PIO_APC_ROUTINE, ApcContext: PVOID, IoStatusBlock: PIO_STATUS_BLOCK, Buffer: PVOID, Length: ULONG, ByteOffset: PLARGE_INTEGER, Key: PULONG) -> NTSTATUS, max 0 => |k| {
        let _ = (Event, ApcRoutine, ApcContext, Key);
        transfer(k, FileHandle, false, (Buffer, Length, ByteOffset), IoStatusBlock)
    }

    /// Writes through a handle. At `PASSIVE_LEVEL`. As [`ZwReadFile`].
    fn ZwWriteFile(FileHandle: HANDLE, Event: HANDLE, ApcRoutine: PIO_APC_ROUTINE, ApcContext: PVOID, IoStatusBlock: PIO_STATUS_BLOCK, Buffer: PVOID, Length: ULONG, ByteOffset: PLARGE_INTEGER, Key: PULONG) -> NTSTATUS, max 0 => |k| {
        let _ = (Event, ApcRoutine, ApcContext, Key);
        transfer(k, FileHandle, true, (Buffer, Length, ByteOffset), IoStatusBlock)
    }

    /// Flushes through a handle. At `PASSIVE_LEVEL`.
    fn ZwFlushBuffersFile(FileHandle: HANDLE, IoStatusBlock: PIO_STATUS_BLOCK) -> NTSTATUS, max 0 => |k| {
        match k.file_of(FileHandle) {
            Ok((file, _)) => {
                let reply = k.file_flush(file, false);
                store(IoStatusBlock, reply);
                reply.status
            }
            Err(status) => status,
        }
    }

    /// Sends a device control through a handle. At `PASSIVE_LEVEL`. Waits, as [`ZwReadFile`].
    fn ZwDeviceIoControlFile(FileHandle: HANDLE, Event: HANDLE, ApcRoutine: PIO_APC_ROUTINE, ApcContext: PVOID, IoStatusBlock: PIO_STATUS_BLOCK, IoControlCode: ULONG, InputBuffer: PVOID, InputBufferLength: ULONG, OutputBuffer: PVOID, OutputBufferLength: ULONG) -> NTSTATUS, max 0 => |k| {
        let _ = (Event, ApcRoutine, ApcContext);
        let buffers = (span(InputBuffer, InputBufferLength), span(OutputBuffer, OutputBufferLength));
        control(k, FileHandle, (IoControlCode, false), buffers, IoStatusBlock)
    }

    /// Sends a file-system control through a handle. At `PASSIVE_LEVEL`. Waits, as [`ZwReadFile`].
    fn ZwFsControlFile(FileHandle: HANDLE, Event: HANDLE, ApcRoutine: PIO_APC_ROUTINE, ApcContext: PVOID, IoStatusBlock: PIO_STATUS_BLOCK, FsControlCode: ULONG, InputBuffer: PVOID, InputBufferLength: ULONG, OutputBuffer: PVOID, OutputBufferLength: ULONG) -> NTSTATUS, max 0 => |k| {
        let _ = (Event, ApcRoutine, ApcContext);
        let buffers = (span(InputBuffer, InputBufferLength), span(OutputBuffer, OutputBufferLength));
        control(k, FileHandle, (FsControlCode, true), buffers, IoStatusBlock)
    }
}
