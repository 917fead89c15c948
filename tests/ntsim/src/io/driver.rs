//! Driver objects: loading, extensions, unloading.

use super::lock;
use crate::abi::io::arena::Span;
use crate::abi::io::callbacks;
use crate::abi::io::view::{Device, Driver, DriverExtension};
use crate::abi::*;
use crate::core::{Kernel, Rule, ThreadKind, World};
use crate::ob::handles::ObjectKind;
use crate::ob::namespace::Entry;

/// A driver's entry point.
pub type DriverEntry = unsafe extern "C" fn(PDRIVER_OBJECT, PUNICODE_STRING) -> NTSTATUS;

/// Where a driver's devices go in the stacks of volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterPosition {
    /// Listed in the Volume class's `LowerFilters`.
    VolumeLower,
    /// Listed in the Volume class's `UpperFilters`.
    VolumeUpper,
    /// Not a filter.
    None,
}

/// What to load.
#[derive(Clone, Copy, Debug)]
pub struct DriverConfig {
    /// Name of the service key.
    pub service: &'static str,
    /// `DriverEntry`.
    pub entry: DriverEntry,
    /// Where it filters. Drivers of one list are called in the order they were loaded in.
    pub filter: FilterPosition,
}

/// A loaded driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriverId(pub(crate) usize);

/// What is known of a driver.
#[derive(Debug)]
pub(crate) struct DriverRecord {
    pub(crate) object: Driver,
    pub(crate) filter: FilterPosition,
    pub(crate) loaded: bool,
    /// Client identification and block of each driver-object extension.
    extensions: Vec<(usize, Span)>,
}

impl Kernel {
    /// A counted string in object memory, zero-terminated; the string structure precedes the text.
    pub(crate) fn string_new(&self, text: &str) -> Span {
        let units: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let head = size_of::<UNICODE_STRING>();
        let span = Span { addr: self.io.arena.alloc(head + units.len()), len: head + units.len() };
        span.write(head, &units);
        let length = u16::try_from(units.len() - 2).unwrap_or(u16::MAX - 1);
        let string = UNICODE_STRING { Length: length, MaximumLength: length + 2, Buffer: (span.addr + head) as PWSTR };
        callbacks::put(span.addr as PUNICODE_STRING, string);
        span
    }

    /// Makes a driver object, named `\Driver\<service>`.
    pub(crate) fn driver_object(&self, service: &str) -> Driver {
        let bytes = size_of::<DRIVER_OBJECT>() + size_of::<DRIVER_EXTENSION>();
        let driver = Driver::at(self.io.arena.alloc(bytes));
        let extension = DriverExtension::at(driver.addr() + size_of::<DRIVER_OBJECT>());
        driver.set_kind(CSHORT::try_from(IO_TYPE_DRIVER).unwrap_or(4));
        driver.set_size(CSHORT::try_from(size_of::<DRIVER_OBJECT>()).unwrap_or(0));
        driver.set_extension(extension.ptr());
        extension.set_driver(driver.ptr());
        let name = format!(r"\Driver\{service}");
        let string = self.string_new(&name);
        driver.set_name(callbacks::get(string.addr as PCUNICODE_STRING).unwrap_or_default());
        let key = self.string_new(service);
        extension.set_service(callbacks::get(key.addr as PCUNICODE_STRING).unwrap_or_default());
        let _taken = lock(&self.io.names).insert(&name, Entry::Object(driver.addr()));
        self.object_insert(driver.addr(), ObjectKind::Driver, |_, _| ());
        driver
    }

    /// Loads a driver on the current simulated thread.
    pub(crate) fn driver_load(&self, config: DriverConfig) -> Result<DriverId, NTSTATUS> {
        let object = self.driver_object(config.service);
        let path = format!(r"\REGISTRY\MACHINE\SYSTEM\CurrentControlSet\Services\{}", config.service);
        let registry_path = self.string_new(&path);
        let id = {
            let mut drivers = lock(&self.io.drivers);
            let filter = config.filter;
            drivers.push(DriverRecord { object, filter, loaded: true, extensions: Vec::new() });
            drivers.len() - 1
        };
        let status = callbacks::entry(self, config.entry, object, registry_path.addr as PUNICODE_STRING);
        let devices = lock(&self.io.devices).of_driver(object);
        if NT_SUCCESS(status) {
            for device in devices {
                device.set_flags(device.flags() & !DO_DEVICE_INITIALIZING);
            }
            return Ok(DriverId(id));
        }
        if !devices.is_empty() {
            let text = format!("DriverEntry failed with {status:#010x} and left {} devices", devices.len());
            self.finding(Rule::ResourceLeak, text);
        }
        self.driver_forget(id);
        Err(status)
    }

    fn driver_forget(&self, id: usize) {
        let gone = lock(&self.io.drivers).get_mut(id).map(|record| {
            record.loaded = false;
            (record.object, std::mem::take(&mut record.extensions))
        });
        if let Some((object, extensions)) = gone {
            lock(&self.io.names).remove_object(object.addr());
            for (_, span) in extensions {
                self.io.arena.free(span.addr, span.len);
            }
        }
    }

    /// Unloads a driver on the current simulated thread.
    pub(crate) fn driver_unload(&self, id: DriverId) -> Result<(), NTSTATUS> {
        let object = lock(&self.io.drivers).get(id.0).filter(|r| r.loaded).map(|r| r.object);
        let Some(object) = object else { return Err(STATUS_OBJECT_NAME_NOT_FOUND) };
        let devices = lock(&self.io.devices).of_driver(object);
        let busy = devices.iter().any(|device| {
            self.device_record(*device, |record| record.node.is_some()).unwrap_or(false)
                || self.object_references(device.addr()) > 1 + i64::from(self.shutdown_registered(*device))
        });
        if busy || object.unload().is_none() {
            return Err(STATUS_INVALID_DEVICE_REQUEST);
        }
        callbacks::unload(self, object.unload(), object);
        let left = lock(&self.io.devices).of_driver(object);
        if !left.is_empty() {
            self.finding(Rule::ResourceLeak, format!("{} devices outlived DriverUnload", left.len()));
        }
        if !lock(&self.io.drivers).iter().enumerate().any(|(at, record)| record.loaded && at != id.0) {
            let open = self.open_requests();
            if !open.is_empty() {
                self.finding(Rule::IrpNeverCompleted, format!("still open at DriverUnload: {}", open.join("; ")));
            }
        }
        let irps = self.driver_irps();
        if irps > 0 {
            self.finding(Rule::ResourceLeak, format!("{irps} IRPs from IoAllocateIrp outlived DriverUnload"));
        }
        let handles = self.kernel_handles();
        if handles > 0 {
            self.finding(Rule::ResourceLeak, format!("{handles} kernel handles outlived DriverUnload"));
        }
        self.driver_forget(id.0);
        if !lock(&self.io.drivers).iter().any(|record| record.loaded) {
            self.check_unloaded();
        }
        Ok(())
    }

    /// `IoAllocateDriverObjectExtension`.
    pub(crate) fn driver_extension_new(&self, object: usize, client: usize, size: usize) -> Result<usize, NTSTATUS> {
        if self.allocation_fails() {
            return Err(STATUS_INSUFFICIENT_RESOURCES);
        }
        let span = Span { addr: self.io.arena.alloc(size), len: size };
        let mut drivers = lock(&self.io.drivers);
        let Some(record) = drivers.iter_mut().find(|r| r.loaded && r.object.addr() == object) else {
            return Err(STATUS_INVALID_PARAMETER);
        };
        if record.extensions.iter().any(|(id, _)| *id == client) {
            return Err(STATUS_OBJECT_NAME_COLLISION);
        }
        record.extensions.push((client, span));
        Ok(span.addr)
    }

    /// `IoGetDriverObjectExtension`; 0 when there is none.
    pub(crate) fn driver_extension(&self, object: usize, client: usize) -> usize {
        let drivers = lock(&self.io.drivers);
        let record = drivers.iter().find(|r| r.loaded && r.object.addr() == object);
        let found = record.and_then(|r| r.extensions.iter().find(|(id, _)| *id == client));
        found.map_or(0, |(_, span)| span.addr)
    }

    /// The loaded filter drivers of a position, in the order of the registry list.
    pub(crate) fn filters(&self, position: FilterPosition) -> Vec<Driver> {
        let drivers = lock(&self.io.drivers);
        drivers.iter().filter(|r| r.loaded && r.filter == position).map(|r| r.object).collect()
    }

    /// `AddDevice` of a driver for a physical device.
    pub(crate) fn driver_add_device(&self, driver: Driver, pdo: Device) -> NTSTATUS {
        let routine = DriverExtension::at(driver.extension() as usize).add_device();
        callbacks::add_device(self, routine, driver, pdo)
    }
}

impl World {
    /// Loads a driver: `DriverEntry` runs on a system thread.
    ///
    /// # Errors
    /// The status of `DriverEntry`; `STATUS_DRIVER_UNABLE_TO_LOAD` when a finding stopped the world in it.
    pub fn load_driver(&self, config: DriverConfig) -> Result<DriverId, NTSTATUS> {
        self.inside("load driver", ThreadKind::System, move |k| k.driver_load(config))
            .unwrap_or(Err(STATUS_DRIVER_UNABLE_TO_LOAD))
    }

    /// Stops a driver's service: `DriverUnload`, when no `PnP` device and no handle is left.
    ///
    /// # Errors
    /// `STATUS_INVALID_DEVICE_REQUEST` when the driver has devices in use or no unload routine.
    pub fn unload_driver(&self, id: DriverId) -> Result<(), NTSTATUS> {
        self.inside("unload driver", ThreadKind::System, move |k| k.driver_unload(id))
            .unwrap_or(Err(STATUS_UNSUCCESSFUL))
    }

    /// Runs `body` on a simulated thread with the world's state.
    pub(crate) fn inside<T: Send + 'static>(
        &self,
        name: &str,
        kind: ThreadKind,
        body: impl FnOnce(&Kernel) -> T + Send + 'static,
    ) -> Option<T> {
        self.call(name, kind, move || crate::host::tls::with_kernel(body)).flatten()
    }
}
