//! A named device that programs open: created, secured, linked, and taken back in mirror order.

use core::ptr::NonNull;

use vck_common::VckResult;

use super::device::{DeviceRole, OwnedDevice};
use super::driver::DriverObject;
use super::irql::Passive;
use super::names::SymbolicLink;
use super::security::{Ace, set_dacl};
use super::string::WideString;
use super::{check, sys};

/// How a device is published.
pub struct Publication<'a> {
    /// NT name of the device.
    pub device_name: WideString,
    /// NT name of the link that programs open.
    pub link_name: WideString,
    /// FILE_DEVICE_* type.
    pub device_type: u32,
    /// Who may do what.
    pub dacl: &'a [Ace],
}

/// A published device. It must be retired before the driver unloads.
///
/// # Invariant
/// `device` has role `E`, is registered for shutdown and open.
pub struct PublishedDevice<E: DeviceRole> {
    device: NonNull<sys::DEVICE_OBJECT>,
    link: SymbolicLink,
    role: core::marker::PhantomData<E>,
}

// SAFETY: names a device object; used at creation and at unload only.
unsafe impl<E: DeviceRole> Send for PublishedDevice<E> {}

impl<E: DeviceRole> PublishedDevice<E> {
    /// Creates and publishes a device that is told about shutdown. On error nothing of it is left.
    pub fn publish(passive: Passive, driver: DriverObject, how: Publication<'_>, value: E) -> VckResult<Self> {
        let name = how.device_name.as_unicode();
        let characteristics = sys::FILE_DEVICE_SECURE_OPEN;
        let device = OwnedDevice::create(passive, driver, Some(&name), how.device_type, characteristics, value)?;
        match Self::secure_and_link(passive, &device, how) {
            Ok(link) => {
                device.open();
                Ok(Self { device: device.raw(), link, role: core::marker::PhantomData })
            }
            Err(error) => {
                device.delete(passive);
                Err(error)
            }
        }
    }

    fn secure_and_link(passive: Passive, device: &OwnedDevice<E>, how: Publication<'_>) -> VckResult<SymbolicLink> {
        let raw = device.raw();
        // SAFETY: ours, not open yet: nobody else touches the flags.
        unsafe { (*raw.as_ptr()).Flags |= sys::DO_BUFFERED_IO };
        set_dacl(passive, raw, how.dacl)?;
        let link = SymbolicLink::create(passive, how.link_name, &how.device_name)?;
        // SAFETY: PASSIVE_LEVEL; a device of ours.
        check(unsafe { sys::IoRegisterShutdownNotification(raw.as_ptr()) })?;
        Ok(link)
    }

    /// Takes the device back. No handle is open any more.
    pub fn retire(self, passive: Passive) {
        // SAFETY: registered (invariant); PASSIVE_LEVEL.
        unsafe { sys::IoUnregisterShutdownNotification(self.device.as_ptr()) };
        drop(self.link);
        // SAFETY: invariant; nothing else deletes it.
        unsafe { OwnedDevice::<E>::from_raw(self.device) }.delete(passive);
    }
}
