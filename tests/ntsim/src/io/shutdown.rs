//! Shutdown notification.

use super::lock;
use crate::abi::io::view::Device;
use crate::core::{Kernel, Rule};

/// Devices that asked to be told, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    pub(crate) first: Vec<Device>,
    pub(crate) last_chance: Vec<Device>,
}

impl Kernel {
    /// `IoRegisterShutdownNotification` and its last-chance form. The registration holds a reference on the device.
    pub(crate) fn shutdown_register(&self, device: Device, last_chance: bool) {
        self.object_reference(device.addr());
        let mut registrations = lock(&self.io.shutdown);
        let list = if last_chance { &mut registrations.last_chance } else { &mut registrations.first };
        list.push(device);
    }

    /// `IoUnregisterShutdownNotification`: from both lists.
    pub(crate) fn shutdown_unregister(&self, device: Device) {
        let mut registrations = lock(&self.io.shutdown);
        let before = registrations.first.len() + registrations.last_chance.len();
        registrations.first.retain(|at| *at != device);
        registrations.last_chance.retain(|at| *at != device);
        let gone = before - registrations.first.len() - registrations.last_chance.len();
        drop(registrations);
        if gone == 0 {
            self.finding(Rule::BadArgument, "IoUnregisterShutdownNotification on a device that is not registered");
        }
        for _ in 0..gone {
            self.object_dereference(device.addr());
        }
    }

    pub(crate) fn shutdown_registered(&self, device: Device) -> bool {
        let registrations = lock(&self.io.shutdown);
        registrations.first.contains(&device) || registrations.last_chance.contains(&device)
    }
}
