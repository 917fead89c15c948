//! Device, driver-object and symbolic-link routines.

use super::callbacks::{put, text};
use super::view::{Device, Driver};
use crate::abi::routine::routines;
use crate::abi::*;
use crate::core::Kernel;
use crate::io::device::{NewDevice, name_status};
use crate::io::file::Open;
use crate::io::lock;
use crate::ob::Token;
use crate::ob::namespace::Entry;
use crate::ob::security::SecurityDescriptor;

/// Everything but the security descriptor of a device to be created.
struct Wanted {
    driver: PDRIVER_OBJECT,
    extension: ULONG,
    name: PCUNICODE_STRING,
    device_type: ULONG,
    characteristics: ULONG,
    exclusive: BOOLEAN,
}

fn create(k: &Kernel, wanted: &Wanted, security: SecurityDescriptor, device: *mut PDEVICE_OBJECT) -> NTSTATUS {
    put(device, std::ptr::null_mut());
    if k.allocation_fails() {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    let name = text(wanted.name);
    let made = k.device_create(NewDevice {
        driver: Driver::at(wanted.driver as usize),
        builtin: None,
        extension: wanted.extension as usize,
        name: name.as_deref(),
        device_type: wanted.device_type,
        characteristics: wanted.characteristics,
        exclusive: wanted.exclusive != 0,
        security,
    });
    match made {
        Ok(made) => {
            put(device, made.ptr());
            STATUS_SUCCESS
        }
        Err(status) => status,
    }
}

fn link(k: &Kernel, name: PCUNICODE_STRING, target: PCUNICODE_STRING) -> NTSTATUS {
    let (Some(name), Some(target)) = (text(name), text(target)) else { return STATUS_INVALID_PARAMETER };
    match lock(&k.io.names).insert(&name, Entry::Link(target)) {
        Ok(()) => STATUS_SUCCESS,
        Err(error) => name_status(error),
    }
}

fn attach(k: &Kernel, source: PDEVICE_OBJECT, target: PDEVICE_OBJECT, store: *mut PDEVICE_OBJECT) -> NTSTATUS {
    let source = k.device_known("IoAttachDeviceToDeviceStackSafe", source);
    let target = k.device_known("IoAttachDeviceToDeviceStackSafe", target);
    match k.device_attach(source, target, |lower| put(store, lower.ptr())) {
        Ok(_) => STATUS_SUCCESS,
        Err(status) => {
            put(store, std::ptr::null_mut());
            status
        }
    }
}

routines! {
    /// Creates a device. At or below `APC_LEVEL`. The device has `DO_DEVICE_INITIALIZING` set: the I/O manager clears it
    /// for devices of `DriverEntry`, the driver itself for those of `AddDevice`.
    fn IoCreateDevice(DriverObject: PDRIVER_OBJECT, DeviceExtensionSize: ULONG, DeviceName: PUNICODE_STRING, DeviceType: ULONG, DeviceCharacteristics: ULONG, Exclusive: BOOLEAN, DeviceObject: *mut PDEVICE_OBJECT) -> NTSTATUS, max 1 => |k| {
        let wanted = Wanted {
            driver: DriverObject,
            extension: DeviceExtensionSize,
            name: DeviceName,
            device_type: DeviceType,
            characteristics: DeviceCharacteristics,
            exclusive: Exclusive,
        };
        create(k, &wanted, SecurityDescriptor::default_device(), DeviceObject)
    }

    /// Creates a named device with a security descriptor from SDDL (the library routine behind
    /// `IoCreateDeviceSecure`). At `PASSIVE_LEVEL`. `STATUS_INVALID_PARAMETER` for a string that cannot be read.
    fn WdmlibIoCreateDeviceSecure(DriverObject: PDRIVER_OBJECT, DeviceExtensionSize: ULONG, DeviceName: PUNICODE_STRING, DeviceType: ULONG, DeviceCharacteristics: ULONG, Exclusive: BOOLEAN, DefaultSDDLString: PCUNICODE_STRING, DeviceClassGuid: LPCGUID, DeviceObject: *mut PDEVICE_OBJECT) -> NTSTATUS, max 0 => |k| {
        let _ = DeviceClassGuid;
        let sddl = text(DefaultSDDLString).and_then(|sddl| SecurityDescriptor::from_sddl(&sddl));
        let Some(security) = sddl else { return STATUS_INVALID_PARAMETER };
        let wanted = Wanted {
            driver: DriverObject,
            extension: DeviceExtensionSize,
            name: DeviceName,
            device_type: DeviceType,
            characteristics: DeviceCharacteristics,
            exclusive: Exclusive,
        };
        create(k, &wanted, security, DeviceObject)
    }

    /// Deletes a device. At or below `APC_LEVEL`. It must be detached and idle; it goes with its last reference.
    fn IoDeleteDevice(DeviceObject: PDEVICE_OBJECT), max 1 => |k| {
        let device = k.device_known("IoDeleteDevice", DeviceObject);
        k.device_delete(device);
    }

    /// Creates a symbolic link. At `PASSIVE_LEVEL`.
    fn IoCreateSymbolicLink(SymbolicLinkName: PUNICODE_STRING, DeviceName: PUNICODE_STRING) -> NTSTATUS, max 0 => |k| {
        link(k, SymbolicLinkName, DeviceName)
    }

    /// Creates a symbolic link. At `PASSIVE_LEVEL`.
    fn IoCreateUnprotectedSymbolicLink(SymbolicLinkName: PUNICODE_STRING, DeviceName: PUNICODE_STRING) -> NTSTATUS, max 0 => |k| {
        link(k, SymbolicLinkName, DeviceName)
    }

    /// Deletes a symbolic link. At `PASSIVE_LEVEL`.
    fn IoDeleteSymbolicLink(SymbolicLinkName: PUNICODE_STRING) -> NTSTATUS, max 0 => |k| {
        let Some(name) = text(SymbolicLinkName) else { return STATUS_INVALID_PARAMETER };
        if lock(&k.io.names).remove(&name) { STATUS_SUCCESS } else { STATUS_OBJECT_NAME_NOT_FOUND }
    }

    /// Attaches a device on top of a stack; the device below is stored before any request can arrive. At or below
    /// `DISPATCH_LEVEL`. `STATUS_NO_SUCH_DEVICE` when the stack is not there.
    fn IoAttachDeviceToDeviceStackSafe(SourceDevice: PDEVICE_OBJECT, TargetDevice: PDEVICE_OBJECT, AttachedToDeviceObject: *mut PDEVICE_OBJECT) -> NTSTATUS, max 2 => |k| {
        attach(k, SourceDevice, TargetDevice, AttachedToDeviceObject)
    }

    /// Attaches a device on top of a stack; NULL on failure. At or below `DISPATCH_LEVEL`. A request may arrive before
    /// the caller has stored the result.
    fn IoAttachDeviceToDeviceStack(SourceDevice: PDEVICE_OBJECT, TargetDevice: PDEVICE_OBJECT) -> PDEVICE_OBJECT, max 2 => |k| {
        let mut lower: PDEVICE_OBJECT = std::ptr::null_mut();
        attach(k, SourceDevice, TargetDevice, &raw mut lower);
        k.preempt();
        lower
    }

    /// Detaches what is attached to `TargetDevice`. At `PASSIVE_LEVEL`.
    fn IoDetachDevice(TargetDevice: PDEVICE_OBJECT), max 0 => |k| {
        let lower = k.device_known("IoDetachDevice", TargetDevice);
        k.device_detach(lower);
    }

    /// Top of a stack, with a reference for the caller. At or below `DISPATCH_LEVEL`.
    fn IoGetAttachedDeviceReference(DeviceObject: PDEVICE_OBJECT) -> PDEVICE_OBJECT, max 2 => |k| {
        let device = k.device_known("IoGetAttachedDeviceReference", DeviceObject);
        let top = k.device_top(device);
        k.object_reference(top.addr());
        top.ptr()
    }

    /// Device below, with a reference for the caller; NULL at the bottom. At or below `DISPATCH_LEVEL`.
    fn IoGetLowerDeviceObject(DeviceObject: PDEVICE_OBJECT) -> PDEVICE_OBJECT, max 2 => |k| {
        let device = k.device_known("IoGetLowerDeviceObject", DeviceObject);
        let Some(lower) = k.device_lower(device) else { return std::ptr::null_mut() };
        k.object_reference(lower.addr());
        lower.ptr()
    }

    /// Bottom of a stack, with a reference for the caller. At or below `DISPATCH_LEVEL`.
    fn IoGetDeviceAttachmentBaseRef(DeviceObject: PDEVICE_OBJECT) -> PDEVICE_OBJECT, max 2 => |k| {
        let mut device = k.device_known("IoGetDeviceAttachmentBaseRef", DeviceObject);
        while let Some(lower) = k.device_lower(device) {
            device = lower;
        }
        k.object_reference(device.addr());
        device.ptr()
    }

    /// Opens a device by name; the file object has a reference for the caller, the device none. At `PASSIVE_LEVEL`.
    fn IoGetDeviceObjectPointer(ObjectName: PUNICODE_STRING, DesiredAccess: ACCESS_MASK, FileObject: *mut PFILE_OBJECT, DeviceObject: *mut PDEVICE_OBJECT) -> NTSTATUS, max 0 => |k| {
        let Some(path) = text(ObjectName) else { return STATUS_INVALID_PARAMETER };
        let open = Open {
            path,
            access: DesiredAccess,
            share: 7,
            disposition: FILE_OPEN,
            options: FILE_NON_DIRECTORY_FILE,
            token: Token::system(),
            checked: false,
            user_mode: false,
        };
        match k.file_open(&open) {
            Ok((file, _)) => {
                put(FileObject, file.ptr());
                put(DeviceObject, k.file_target(file).ptr());
                // The handle that the routine closes again sends CLEANUP; the reference stays the caller's.
                k.file_cleanup(file.addr());
                STATUS_SUCCESS
            }
            Err(status) => status,
        }
    }

    /// Allocates the driver object's block for a client address. At or below `DISPATCH_LEVEL`; the I/O manager frees it
    /// with the driver object. `STATUS_OBJECT_NAME_COLLISION` when the client has one.
    fn IoAllocateDriverObjectExtension(DriverObject: PDRIVER_OBJECT, ClientIdentificationAddress: PVOID, DriverObjectExtensionSize: ULONG, DriverObjectExtension: *mut PVOID) -> NTSTATUS, max 2 => |k| {
        put(DriverObjectExtension, std::ptr::null_mut());
        let client = ClientIdentificationAddress as usize;
        match k.driver_extension_new(DriverObject as usize, client, DriverObjectExtensionSize as usize) {
            Ok(addr) => {
                put(DriverObjectExtension, addr as PVOID);
                STATUS_SUCCESS
            }
            Err(status) => status,
        }
    }

    /// The block of a client address; NULL when there is none. At or below `DISPATCH_LEVEL`.
    fn IoGetDriverObjectExtension(DriverObject: PDRIVER_OBJECT, ClientIdentificationAddress: PVOID) -> PVOID, max 2 => |k| {
        k.driver_extension(DriverObject as usize, ClientIdentificationAddress as usize) as PVOID
    }

    /// Asks for `IRP_MJ_SHUTDOWN` before file systems flush. At `PASSIVE_LEVEL`.
    fn IoRegisterShutdownNotification(DeviceObject: PDEVICE_OBJECT) -> NTSTATUS, max 0 => |k| {
        let device = k.device_known("IoRegisterShutdownNotification", DeviceObject);
        k.shutdown_register(device, false);
        STATUS_SUCCESS
    }

    /// Asks for `IRP_MJ_SHUTDOWN` after file systems have flushed. At `PASSIVE_LEVEL`.
    fn IoRegisterLastChanceShutdownNotification(DeviceObject: PDEVICE_OBJECT) -> NTSTATUS, max 0 => |k| {
        let device = k.device_known("IoRegisterLastChanceShutdownNotification", DeviceObject);
        k.shutdown_register(device, true);
        STATUS_SUCCESS
    }

    /// Takes both registrations back. At `PASSIVE_LEVEL`.
    fn IoUnregisterShutdownNotification(DeviceObject: PDEVICE_OBJECT), max 0 => |k| {
        let device = k.device_known("IoUnregisterShutdownNotification", DeviceObject);
        k.shutdown_unregister(device);
    }

    /// Devices of a driver, each with a reference for the caller. At or below `DISPATCH_LEVEL`. `STATUS_BUFFER_TOO_SMALL`
    /// (with the number) when the list is too short.
    fn IoEnumerateDeviceObjectList(DriverObject: PDRIVER_OBJECT, DeviceObjectList: *mut PDEVICE_OBJECT, DeviceObjectListSize: ULONG, ActualNumberDeviceObjects: PULONG) -> NTSTATUS, max 2 => |k| {
        let devices = lock(&k.io.devices).of_driver(Driver::at(DriverObject as usize));
        put(ActualNumberDeviceObjects, ULONG::try_from(devices.len()).unwrap_or(ULONG::MAX));
        let room = DeviceObjectListSize as usize / size_of::<PDEVICE_OBJECT>();
        for (at, device) in devices.iter().take(room).enumerate() {
            k.object_reference(device.addr());
            put(DeviceObjectList.wrapping_add(at), device.ptr());
        }
        if devices.len() > room { STATUS_BUFFER_TOO_SMALL } else { STATUS_SUCCESS }
    }

    /// The process of the current thread: the model has one for all. Any IRQL.
    fn IoGetCurrentProcess() -> PEPROCESS, max 15 => |k| {
        k.process_object().cast()
    }

    /// Notes that the relations of a device have changed; nothing is enumerated anew in the model. At or below
    /// `DISPATCH_LEVEL`.
    fn IoInvalidateDeviceRelations(DeviceObject: PDEVICE_OBJECT, Type: DEVICE_RELATION_TYPE), max 2 => |k| {
        let _ = Type;
        k.device_known("IoInvalidateDeviceRelations", DeviceObject);
    }

    /// Drive letter of a volume device, as a string from pool that the caller frees. At or below `APC_LEVEL`.
    fn IoVolumeDeviceToDosName(VolumeDeviceObject: PVOID, DosName: PUNICODE_STRING) -> NTSTATUS, max 1 => |k| {
        let device = k.device_known("IoVolumeDeviceToDosName", VolumeDeviceObject.cast());
        let Some(name) = k.dos_name(device) else { return STATUS_OBJECT_NAME_NOT_FOUND };
        let span = k.string_new(&name);
        put(DosName, super::callbacks::get(span.addr as PCUNICODE_STRING).unwrap_or_default());
        STATUS_SUCCESS
    }
}

impl Kernel {
    fn dos_name(&self, device: Device) -> Option<String> {
        let name = self.device_record(device, |record| record.name.clone()).flatten()?;
        let links = lock(&self.io.names).links_to(&name);
        let short = |link: &str| link.strip_prefix(r"\??\").filter(|link| link.ends_with(':')).map(str::to_owned);
        links.iter().find_map(|link| short(link))
    }

    /// The one process object.
    pub(crate) fn process_object(&self) -> PVOID {
        let object = lock(&self.io.names).resolve(r"\KernelObjects\System");
        if let Ok(found) = object {
            return found.object as PVOID;
        }
        let addr = self.io.arena.alloc(64);
        let _inserted = lock(&self.io.names).insert(r"\KernelObjects\System", Entry::Object(addr));
        addr as PVOID
    }
}
