//! The filter device: what it does with each IRP of the volume stack.
//!
//! READ and WRITE: [`rw`]. Controls about size, and those that would bypass the cipher: [`controls`]. PnP: [`pnp`]. All else
//! goes down untouched.

mod controls;
mod pnp;
mod reserve;
mod rw;
mod size;
mod verify;

use vck_common::VckResult;

use crate::nt::{DeviceRef, DeviceRole, Disposition, DriverObject, Irp, OwnedDevice, Passive, PhysicalDevice, major};
use crate::volume::{Core, FilterDevice, FrontDoor};

pub use rw::work;

impl DeviceRole for FilterDevice {
    fn dispatch(device: DeviceRef<'_, Self>, irp: Irp) -> Disposition {
        match irp.request().major() {
            major::READ | major::WRITE => rw::dispatch(device, irp),
            major::FLUSH_BUFFERS => rw::flush(device, irp),
            major::DEVICE_CONTROL => controls::dispatch(device, irp),
            major::PNP => pnp::dispatch(device, irp),
            _ => irp.forward(device.lower()),
        }
    }
}

/// FILE_DEVICE_DISK.
const DEVICE_TYPE: u32 = 0x07;

/// Attaches an unbound filter above `physical`, before anything mounts.
pub fn add(core: &'static Core, passive: Passive, driver: DriverObject, physical: PhysicalDevice) -> VckResult<()> {
    let name = physical.name(passive)?;
    let front =
        FrontDoor { resubmit: rw::dispatch, resubmit_elsewhere: rw::dispatch_elsewhere, serve_starved: reserve::serve };
    let filter = FilterDevice::try_new(core, physical, name, front)?;
    let device = OwnedDevice::create(passive, driver, None, DEVICE_TYPE, 0, filter)?;
    device.attach(passive, physical, &core.filters)
}
