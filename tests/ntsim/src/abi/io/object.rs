//! Object-manager routines.

use super::callbacks::{get, put, text};
use super::file::attributes;
use crate::abi::routine::routines;
use crate::abi::*;
use crate::core::{Kernel, Rule};
use crate::io::lock;
use crate::ob::handles::ObjectKind;

fn by_handle(k: &Kernel, handle: HANDLE, access: ACCESS_MASK, mode: KPROCESSOR_MODE, object: *mut PVOID) -> NTSTATUS {
    put(object, std::ptr::null_mut());
    let Some(entry) = k.handle_entry(handle) else { return STATUS_INVALID_HANDLE };
    if mode != 0 {
        if entry.kernel {
            return STATUS_INVALID_HANDLE;
        }
        if access & !entry.access != 0 {
            return STATUS_ACCESS_DENIED;
        }
    }
    k.object_reference(entry.object);
    put(object, entry.object as PVOID);
    STATUS_SUCCESS
}

fn dereference(k: &Kernel, object: PVOID) -> LONG_PTR {
    let addr = object as usize;
    if k.object_kind(addr) == Some(ObjectKind::File) && k.irql() > 0 && k.object_references(addr) == 1 {
        k.finding(Rule::IrqlTooHigh, "the last reference of a file object is given back above PASSIVE_LEVEL");
    }
    k.object_dereference(addr)
}

/// Stores a name in `OBJECT_NAME_INFORMATION`.
fn name_information(name: &str, info: POBJECT_NAME_INFORMATION, length: ULONG, needed: PULONG) -> NTSTATUS {
    let units: Vec<u16> = name.encode_utf16().collect();
    let head = size_of::<OBJECT_NAME_INFORMATION>();
    let tail = if units.is_empty() { 0 } else { units.len() * 2 + 2 };
    put(needed, ULONG::try_from(head + tail).unwrap_or(ULONG::MAX));
    if (length as usize) < head + tail {
        return if (length as usize) < head { STATUS_INFO_LENGTH_MISMATCH } else { STATUS_BUFFER_OVERFLOW };
    }
    let buffer = (info as usize + head) as PWSTR;
    let bytes = u16::try_from(units.len() * 2).unwrap_or(u16::MAX);
    let room = if units.is_empty() { 0 } else { bytes + 2 };
    let string = UNICODE_STRING {
        Length: bytes,
        MaximumLength: room,
        Buffer: if units.is_empty() { std::ptr::null_mut() } else { buffer },
    };
    put(info.cast::<UNICODE_STRING>(), string);
    for (at, unit) in units.iter().chain([&0]).take(tail / 2).enumerate() {
        put(buffer.wrapping_add(at), *unit);
    }
    STATUS_SUCCESS
}

routines! {
    /// Takes a reference on the object of a handle. At `PASSIVE_LEVEL`. Kernel mode is not checked for access.
    fn ObReferenceObjectByHandle(Handle: HANDLE, DesiredAccess: ACCESS_MASK, ObjectType: POBJECT_TYPE, AccessMode: KPROCESSOR_MODE, Object: *mut PVOID, HandleInformation: POBJECT_HANDLE_INFORMATION) -> NTSTATUS, max 0 => |k| {
        let _ = (ObjectType, HandleInformation);
        by_handle(k, Handle, DesiredAccess, AccessMode, Object)
    }

    /// As [`ObReferenceObjectByHandle`]; tags are not kept apart.
    fn ObReferenceObjectByHandleWithTag(Handle: HANDLE, DesiredAccess: ACCESS_MASK, ObjectType: POBJECT_TYPE, AccessMode: KPROCESSOR_MODE, Tag: ULONG, Object: *mut PVOID, HandleInformation: POBJECT_HANDLE_INFORMATION) -> NTSTATUS, max 0 => |k| {
        let _ = (ObjectType, HandleInformation, Tag);
        by_handle(k, Handle, DesiredAccess, AccessMode, Object)
    }

    /// Takes a reference. At or below `DISPATCH_LEVEL`.
    fn ObfReferenceObject(Object: PVOID) -> LONG_PTR, max 2 => |k| {
        k.object_reference(Object as usize)
    }

    /// Takes a reference. At or below `DISPATCH_LEVEL`.
    fn ObfReferenceObjectWithTag(Object: PVOID, Tag: ULONG) -> LONG_PTR, max 2 => |k| {
        let _ = Tag;
        k.object_reference(Object as usize)
    }

    /// Takes a reference. At or below `DISPATCH_LEVEL`.
    fn ObReferenceObjectByPointer(Object: PVOID, DesiredAccess: ACCESS_MASK, ObjectType: POBJECT_TYPE, AccessMode: KPROCESSOR_MODE) -> NTSTATUS, max 2 => |k| {
        let _ = (DesiredAccess, ObjectType, AccessMode);
        k.object_reference(Object as usize);
        STATUS_SUCCESS
    }

    /// Gives a reference back. At or below `DISPATCH_LEVEL`; the last one of a file object at `PASSIVE_LEVEL`.
    fn ObfDereferenceObject(Object: PVOID) -> LONG_PTR, max 2 => |k| {
        dereference(k, Object)
    }

    /// Gives a reference back. As [`ObfDereferenceObject`].
    fn ObfDereferenceObjectWithTag(Object: PVOID, Tag: ULONG) -> LONG_PTR, max 2 => |k| {
        let _ = Tag;
        dereference(k, Object)
    }

    /// Gives a reference back; deletion happens later on a worker. At or below `DISPATCH_LEVEL`.
    fn ObDereferenceObjectDeferDelete(Object: PVOID), max 2 => |k| {
        k.object_dereference(Object as usize);
    }

    /// Opens a handle to an object. At `PASSIVE_LEVEL`.
    fn ObOpenObjectByPointer(Object: PVOID, HandleAttributes: ULONG, PassedAccessState: PACCESS_STATE, DesiredAccess: ACCESS_MASK, ObjectType: POBJECT_TYPE, AccessMode: KPROCESSOR_MODE, Handle: PHANDLE) -> NTSTATUS, max 0 => |k| {
        let _ = (PassedAccessState, ObjectType);
        if AccessMode != 0 || HandleAttributes & OBJ_FORCE_ACCESS_CHECK != 0 {
            let security = k.device_security(Object as usize);
            if security.is_some_and(|security| security.check(&k.token(), DesiredAccess).is_none()) {
                return STATUS_ACCESS_DENIED;
            }
        }
        put(Handle, k.handle_insert(Object as usize, crate::ob::security::map_generic(DesiredAccess), HandleAttributes & OBJ_KERNEL_HANDLE != 0));
        STATUS_SUCCESS
    }

    /// Name of an object. At or below `APC_LEVEL`. `STATUS_INFO_LENGTH_MISMATCH` with the length needed when the buffer is too
    /// short; an object without a name has an empty one.
    fn ObQueryNameString(Object: PVOID, ObjectNameInfo: POBJECT_NAME_INFORMATION, Length: ULONG, ReturnLength: PULONG) -> NTSTATUS, max 1 => |k| {
        let name = k.object_name(Object as usize);
        name_information(&name, ObjectNameInfo, Length, ReturnLength)
    }

    /// Opens a symbolic link. At `PASSIVE_LEVEL`.
    fn ZwOpenSymbolicLinkObject(LinkHandle: PHANDLE, DesiredAccess: ACCESS_MASK, ObjectAttributes: POBJECT_ATTRIBUTES) -> NTSTATUS, max 0 => |k| {
        let given = match attributes(ObjectAttributes) {
            Ok(given) => given,
            Err(status) => return status,
        };
        let target = lock(&k.io.names).link_target(&given.path).map(str::to_owned);
        let Some(target) = target else { return STATUS_OBJECT_NAME_NOT_FOUND };
        let string = k.string_new(&target);
        k.object_insert(string.addr, ObjectKind::Link, |_, _| ());
        put(LinkHandle, k.handle_insert(string.addr, DesiredAccess, true));
        k.object_dereference(string.addr);
        STATUS_SUCCESS
    }

    /// Target of a symbolic link. At `PASSIVE_LEVEL`. `STATUS_BUFFER_TOO_SMALL` with the length needed.
    fn ZwQuerySymbolicLinkObject(LinkHandle: HANDLE, LinkTarget: PUNICODE_STRING, ReturnedLength: PULONG) -> NTSTATUS, max 0 => |k| {
        let Some(entry) = k.handle_entry(LinkHandle) else { return STATUS_INVALID_HANDLE };
        if k.object_kind(entry.object) != Some(ObjectKind::Link) {
            return STATUS_OBJECT_TYPE_MISMATCH;
        }
        let Some(target) = text(entry.object as PCUNICODE_STRING) else { return STATUS_INVALID_HANDLE };
        let Some(mut given) = get(LinkTarget.cast_const()) else { return STATUS_INVALID_PARAMETER };
        let units: Vec<u16> = target.encode_utf16().collect();
        let bytes = u16::try_from(units.len() * 2).unwrap_or(u16::MAX);
        put(ReturnedLength, ULONG::from(bytes));
        if given.MaximumLength < bytes {
            return STATUS_BUFFER_TOO_SMALL;
        }
        for (at, unit) in units.iter().enumerate() {
            put(given.Buffer.wrapping_add(at), *unit);
        }
        given.Length = bytes;
        put(LinkTarget, given);
        STATUS_SUCCESS
    }
}

impl Kernel {
    fn device_security(&self, addr: usize) -> Option<crate::ob::security::SecurityDescriptor> {
        self.device_record(super::view::Device::at(addr), |record| record.security.clone())
    }

    /// Name of an object: a device's own, a file's device and the rest of its path.
    fn object_name(&self, addr: usize) -> String {
        if self.object_kind(addr) == Some(ObjectKind::File) {
            let file = super::view::File::at(addr);
            let device = lock(&self.io.names).name_of(file.device() as usize).unwrap_or_default().to_owned();
            let name = file.name();
            return device + &text(&raw const name).unwrap_or_default();
        }
        lock(&self.io.names).name_of(addr).unwrap_or_default().to_owned()
    }
}
