//! The driver: all its state, and its life from DriverEntry to unload.

use alloc::boxed::Box;

use vck_common::{VckError, VckResult};

use crate::control::{ControlDevice, ControlNames};
use crate::nt::{DriverCallbacks, DriverObject, Passive, PhysicalDevice, PublishedDevice, SpinLock, flush_queued_dpcs};
use crate::provider::{IoctlAuthorization, VolumeProvider};
use crate::volume::Core;

/// What a product puts into the framework.
pub struct Product {
    /// Keys, format and cipher.
    pub provider: Box<dyn VolumeProvider>,
    /// Who may send which control.
    pub authorization: Box<dyn IoctlAuthorization>,
    /// Names and security of the control device.
    pub control: ControlNames,
}

/// Everything the driver knows. Owned by the driver object's extension.
pub struct Driver {
    core: Core,
    control: SpinLock<Option<PublishedDevice<ControlDevice>>>,
    parts: SpinLock<Option<(Box<dyn IoctlAuthorization>, ControlNames)>>,
}

impl Driver {
    /// The state, with nothing reachable from outside yet.
    pub(crate) fn build(passive: Passive, product: Product) -> VckResult<Self> {
        Ok(Self {
            core: Core::try_new(passive, product.provider, crate::filter::work)?,
            control: SpinLock::new(None),
            parts: SpinLock::new(Some((product.authorization, product.control))),
        })
    }

    /// Publishes the control device. On error the threads are ended.
    pub(crate) fn start(&'static self, passive: Passive, driver: DriverObject) -> VckResult<()> {
        let published = self.publish(passive, driver);
        if published.is_err() {
            self.core.shut_down(passive);
        }
        published
    }

    fn publish(&'static self, passive: Passive, driver: DriverObject) -> VckResult<()> {
        let parts = self.parts.with(Option::take);
        let (authorization, names) = parts.ok_or(VckError::WrongState("the driver was started before"))?;
        let device = ControlDevice::publish(passive, driver, &self.core, &names, authorization)?;
        self.control.with(|control| *control = Some(device));
        log::info!("loaded; control device {}", names.device);
        Ok(())
    }
}

impl DriverCallbacks for Driver {
    fn add_device(&'static self, passive: Passive, driver: DriverObject, physical: PhysicalDevice) -> VckResult<()> {
        crate::filter::add(&self.core, passive, driver, physical)
    }

    fn unload(self: Box<Self>, passive: Passive) {
        // PnP unloads a driver only when all its stack devices are gone; a filter left here would run freed code.
        if !self.core.filters.is_empty() {
            log::error!("unloaded while {} filters are in place", self.core.filters.len());
        }
        flush_queued_dpcs(passive);
        let control = self.control.with(Option::take);
        if let Some(control) = control {
            control.retire(passive);
        }
        self.core.shut_down(passive);
        log::info!("unloaded");
    }
}
