//! Device objects and device stacks.

use super::lock;
use crate::abi::io::view::{Device, Driver, Vpb};
use crate::abi::*;
use crate::core::{Kernel, NumberMap, Rule};
use crate::host::page_heap;
use crate::ob::handles::ObjectKind;
use crate::ob::namespace::{Entry, NameError};
use crate::ob::security::SecurityDescriptor;

/// Which part of the simulator answers for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Builtin {
    /// The volume manager's device at the bottom of a volume's stack.
    VolumePdo(usize),
    /// The function device of a volume, above the lower filters.
    VolumeFdo(usize),
    /// A mounted file system's volume device.
    FileSystem(usize),
}

/// Who answers for a device.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    /// A driver's dispatch routines.
    Driver,
    /// The simulator.
    Builtin(Builtin),
}

/// What is known of a device.
#[derive(Debug)]
pub(crate) struct DeviceRecord {
    order: u64,
    pub(crate) builtin: Option<Builtin>,
    pub(crate) driver: Driver,
    pub(crate) name: Option<String>,
    pub(crate) security: SecurityDescriptor,
    pub(crate) lower: Option<Device>,
    pub(crate) node: Option<usize>,
    pub(crate) deleted: bool,
    /// Reads, writes, flushes and controls handed to it.
    pub(crate) carried: u64,
    bytes: usize,
}

/// The devices of a world.
#[derive(Debug, Default)]
pub(crate) struct Devices {
    map: NumberMap<usize, DeviceRecord>,
    next: u64,
}

impl Devices {
    /// Who answers for a device that is handed a request; `None` when there is no such device. Counts what drivers carry.
    pub(crate) fn role_to_dispatch(&mut self, device: Device, major: u8) -> Option<Role> {
        let record = self.map.get_mut(&device.addr())?;
        if let Some(builtin) = record.builtin {
            return Some(Role::Builtin(builtin));
        }
        let io = [IRP_MJ_READ, IRP_MJ_WRITE, IRP_MJ_FLUSH_BUFFERS].contains(&u32::from(major));
        record.carried += u64::from(io);
        Some(Role::Driver)
    }

    pub(crate) fn get(&self, device: Device) -> Option<&DeviceRecord> {
        self.map.get(&device.addr())
    }

    pub(crate) fn get_mut(&mut self, device: Device) -> Option<&mut DeviceRecord> {
        self.map.get_mut(&device.addr())
    }

    /// The devices of a driver, oldest first.
    pub(crate) fn of_driver(&self, driver: Driver) -> Vec<Device> {
        let mut found: Vec<_> = self.map.iter().filter(|(_, r)| r.driver == driver && !r.deleted).collect();
        found.sort_by_key(|(_, record)| record.order);
        found.into_iter().map(|(addr, _)| Device::at(*addr)).collect()
    }
}

/// What a new device is to be.
pub(crate) struct NewDevice<'a> {
    pub(crate) driver: Driver,
    pub(crate) builtin: Option<Builtin>,
    pub(crate) extension: usize,
    pub(crate) name: Option<&'a str>,
    pub(crate) device_type: u32,
    pub(crate) characteristics: u32,
    pub(crate) exclusive: bool,
    pub(crate) security: SecurityDescriptor,
}

/// Status of a failed look-up or insertion.
pub(crate) fn name_status(error: NameError) -> NTSTATUS {
    match error {
        NameError::Syntax => STATUS_OBJECT_PATH_SYNTAX_BAD,
        NameError::NotFound => STATUS_OBJECT_NAME_NOT_FOUND,
        NameError::PathNotFound => STATUS_OBJECT_PATH_NOT_FOUND,
        NameError::Collision => STATUS_OBJECT_NAME_COLLISION,
    }
}

/// Types of device that get a volume parameter block.
fn mountable(device_type: u32) -> bool {
    [FILE_DEVICE_DISK, FILE_DEVICE_CD_ROM, FILE_DEVICE_TAPE, FILE_DEVICE_VIRTUAL_DISK].contains(&device_type)
}

fn small(value: u32) -> i16 {
    i16::try_from(value).unwrap_or(0)
}

impl Kernel {
    /// Creates a device.
    pub(crate) fn device_create(&self, new: NewDevice<'_>) -> Result<Device, NTSTATUS> {
        let bytes = size_of::<DEVICE_OBJECT>() + size_of::<_DEVOBJ_EXTENSION>() + new.extension.next_multiple_of(16);
        let device = Device::at(self.io.arena.alloc(bytes));
        if let Some(name) = new.name {
            let inserted = lock(&self.io.names).insert(name, Entry::Object(device.addr()));
            if let Err(error) = inserted {
                self.io.arena.free(device.addr(), bytes);
                return Err(name_status(error));
            }
        }
        let object_extension = device.addr() + size_of::<DEVICE_OBJECT>();
        let extension = object_extension + size_of::<_DEVOBJ_EXTENSION>();
        device.set_kind(small(IO_TYPE_DEVICE));
        device.set_size(u16::try_from(size_of::<DEVICE_OBJECT>() + new.extension).unwrap_or(u16::MAX));
        device.set_driver(new.driver.ptr());
        device.set_next(new.driver.first_device());
        new.driver.set_first_device(device.ptr());
        let named = if new.name.is_some() { DO_DEVICE_HAS_NAME } else { 0 };
        let exclusive = if new.exclusive { DO_EXCLUSIVE } else { 0 };
        device.set_flags(DO_DEVICE_INITIALIZING | named | exclusive);
        device.set_characteristics(new.characteristics);
        device.set_device_type(new.device_type);
        device.set_stack_size(1);
        device.set_extension(if new.extension == 0 { std::ptr::null_mut() } else { extension as PVOID });
        device.set_object_extension(object_extension as *mut _DEVOBJ_EXTENSION);
        if mountable(new.device_type) {
            device.set_vpb(self.vpb_new(device).ptr());
        }
        self.object_insert(device.addr(), ObjectKind::Device, device_last_reference);
        let mut devices = lock(&self.io.devices);
        devices.next += 1;
        let record = DeviceRecord {
            order: devices.next,
            builtin: new.builtin,
            driver: new.driver,
            name: new.name.map(str::to_owned),
            security: new.security,
            lower: None,
            node: None,
            deleted: false,
            carried: 0,
            bytes,
        };
        devices.map.insert(device.addr(), record);
        Ok(device)
    }

    fn vpb_new(&self, device: Device) -> Vpb {
        let vpb = Vpb::at(self.io.arena.alloc(size_of::<VPB>()));
        vpb.set_kind(small(IO_TYPE_VPB));
        vpb.set_size(i16::try_from(size_of::<VPB>()).unwrap_or(0));
        vpb.set_real_device(device.ptr());
        vpb
    }

    /// The device behind a driver's pointer; a finding when there is none.
    pub(crate) fn device_known(&self, what: &str, device: PDEVICE_OBJECT) -> Device {
        let view = Device::at(device as usize);
        let known = lock(&self.io.devices).get(view).is_some();
        if !known {
            self.finding(Rule::ObjectReference, format!("{what} on a device that does not exist (any more)"));
        }
        view
    }

    /// Looks at or changes the record of a device.
    pub(crate) fn device_record<R>(&self, device: Device, f: impl FnOnce(&mut DeviceRecord) -> R) -> Option<R> {
        lock(&self.io.devices).get_mut(device).map(f)
    }

    /// The top of the stack that a device is in.
    #[expect(clippy::unused_self, reason = "the walk belongs to the world that owns the stack")]
    pub(crate) fn device_top(&self, device: Device) -> Device {
        let mut top = device;
        while !top.attached().is_null() {
            top = Device::at(top.attached() as usize);
        }
        top
    }

    /// The device below, if any.
    pub(crate) fn device_lower(&self, device: Device) -> Option<Device> {
        self.device_record(device, |record| record.lower).flatten()
    }

    /// Attaches `source` on top of the stack of `target`; `store` gets the device below before anything can be sent
    /// to `source`.
    pub(crate) fn device_attach(
        &self,
        source: Device,
        target: Device,
        store: impl FnOnce(Device),
    ) -> Result<Device, NTSTATUS> {
        if self.device_lower(source).is_some() {
            self.finding(Rule::BadArgument, "a device that is attached already is attached again".to_owned());
        }
        let top = self.device_top(target);
        let deleted = self.device_record(top, |record| record.deleted).unwrap_or(true);
        if deleted || top == source || top.flags() & DO_DEVICE_INITIALIZING != 0 {
            return Err(STATUS_NO_SUCH_DEVICE);
        }
        source.set_stack_size(top.stack_size() + 1);
        source.set_alignment(top.alignment());
        source.set_sector_size(top.sector_size());
        let node = self.device_record(top, |record| record.node).flatten();
        self.device_record(source, |record| {
            record.lower = Some(top);
            record.node = node;
        });
        // What is attached keeps the device below: a lower driver may delete its device before the upper detaches.
        self.object_reference(top.addr());
        store(top);
        top.set_attached(source.ptr());
        Ok(top)
    }

    /// `IoDetachDevice`: takes off what is attached to `lower`.
    pub(crate) fn device_detach(&self, lower: Device) {
        let upper = lower.attached() as usize;
        if upper == 0 {
            self.finding(Rule::BadArgument, "IoDetachDevice on a device that nothing is attached to".to_owned());
        }
        let upper = Device::at(upper);
        self.check_removal("detached", upper);
        lower.set_attached(std::ptr::null_mut());
        self.device_record(upper, |record| record.lower = None);
        self.object_dereference(lower.addr());
    }

    /// `IoDeleteDevice`.
    pub(crate) fn device_delete(&self, device: Device) {
        let twice = self.device_record(device, |record| record.deleted).unwrap_or(true);
        if twice {
            self.finding(Rule::ObjectReference, "a device is deleted twice".to_owned());
        }
        self.check_removal("deleted", device);
        if self.device_lower(device).is_some() {
            self.finding(Rule::DeviceDeletedInFlight, "a device is deleted while it is attached".to_owned());
        }
        let open = self.frames_open_on(device);
        if open > 0 {
            let text = format!("a device is deleted with {open} requests in flight");
            self.finding(Rule::DeviceDeletedInFlight, text);
        }
        if self.shutdown_registered(device) {
            self.finding(Rule::ResourceLeak, "a device is deleted that is registered for shutdown".to_owned());
        }
        // Others may keep the object a little longer; the driver that deleted it has no business there any more.
        let bytes = self.device_record(device, |record| record.bytes).unwrap_or(0);
        page_heap::protect(device.addr(), bytes, false);
        self.device_destroy(device);
    }

    /// Whether an address lies in a device that its driver has deleted.
    pub(crate) fn is_deleted_device(&self, address: usize) -> bool {
        let devices = lock(&self.io.devices);
        let hit = |(start, record): (&usize, &DeviceRecord)| {
            record.deleted && (*start..*start + record.bytes).contains(&address)
        };
        devices.map.iter().any(hit)
    }

    /// Takes a device out of the world; its memory goes with the last reference.
    pub(crate) fn device_destroy(&self, device: Device) {
        lock(&self.io.names).remove_object(device.addr());
        let driver = self.device_record(device, |record| {
            record.deleted = true;
            record.driver
        });
        if let Some(driver) = driver {
            unlink(driver, device);
        }
        self.object_dereference(device.addr());
    }

    /// Detaching and deleting are for REMOVE, unless the device has never carried a request.
    fn check_removal(&self, what: &str, device: Device) {
        let state = self.device_record(device, |record| (record.node, record.carried)).unwrap_or((None, 0));
        if let (Some(node), carried @ 1..) = state
            && !self.node_is_being_removed(node)
        {
            let text = format!("a device that carried {carried} requests is {what} outside IRP_MN_REMOVE_DEVICE");
            self.finding(Rule::DeviceDeleteOutsideRemove, text);
        }
    }
}

/// Takes a device out of its driver's list.
fn unlink(driver: Driver, device: Device) {
    if driver.first_device() == device.ptr() {
        driver.set_first_device(device.next());
        return;
    }
    let mut at = driver.first_device();
    while !at.is_null() {
        let view = Device::at(at as usize);
        if view.next() == device.ptr() {
            view.set_next(device.next());
            return;
        }
        at = view.next();
    }
}

fn device_last_reference(k: &Kernel, addr: usize) {
    let gone = lock(&k.io.devices).map.remove(&addr);
    if let Some(record) = gone {
        if let Some(vpb) = Kernel::vpb_of(Device::at(addr)) {
            k.io.arena.free(vpb.addr(), size_of::<VPB>());
        }
        k.io.arena.free(addr, record.bytes);
    }
}
