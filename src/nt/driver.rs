//! The driver object: entry, state, AddDevice, unload.
//!
//! # Invariants
//! All driver state is one boxed `D`, named by the driver object's extension from before the first device exists until
//! unload. AddDevice and Unload are called by the I/O manager at PASSIVE_LEVEL in between.

use alloc::boxed::Box;
use core::ffi::c_void;
use core::ptr::{self, NonNull};

use vck_common::{VckError, VckResult};

use super::irql::Passive;
use super::memory::try_box;
use super::{check, sys};

/// A driver object, during the calls that the I/O manager makes with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DriverObject(NonNull<sys::DRIVER_OBJECT>);

// SAFETY: an identity; the object lives as long as the driver is loaded.
unsafe impl Send for DriverObject {}
// SAFETY: as above.
unsafe impl Sync for DriverObject {}

/// A physical device object that PnP offers to AddDevice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PhysicalDevice(NonNull<sys::DEVICE_OBJECT>);

// SAFETY: an identity; it is followed only during AddDevice and while our filter is attached above it.
unsafe impl Send for PhysicalDevice {}
// SAFETY: as above.
unsafe impl Sync for PhysicalDevice {}

/// What the driver does when the I/O manager calls it outside of IRPs.
pub trait DriverCallbacks: Sized + Send + Sync + 'static {
    /// A volume appeared: attach a filter. An error leaves the stack without one.
    fn add_device(&'static self, passive: Passive, driver: DriverObject, physical: PhysicalDevice) -> VckResult<()>;
    /// The driver goes away; every device but the control device is gone.
    fn unload(self: Box<Self>, passive: Passive);
}

impl DriverObject {
    /// # Safety
    /// `raw` is the driver object that DriverEntry was called with.
    pub(super) unsafe fn from_raw(raw: sys::PDRIVER_OBJECT) -> VckResult<Self> {
        NonNull::new(raw).map(Self).ok_or(VckError::InvalidData("no driver object"))
    }

    pub(super) fn as_ptr(self) -> sys::PDRIVER_OBJECT {
        self.0.as_ptr()
    }
}

impl PhysicalDevice {
    pub(super) fn as_ptr(self) -> sys::PDEVICE_OBJECT {
        self.0.as_ptr()
    }

    /// The device object's address, an identity for comparing.
    #[must_use]
    pub fn address(self) -> usize {
        self.0.as_ptr() as usize
    }
}

/// The address that names our extension among those of a driver object.
fn extension_id<D: DriverCallbacks>() -> *mut c_void {
    add_device::<D> as *mut c_void
}

/// Hangs `state` off the driver object and installs the routines of `D`. Called once, by DriverEntry, before any device exists.
///
/// # Safety
/// `driver` is the object of the DriverEntry call in progress.
pub(super) unsafe fn install<D: DriverCallbacks>(driver: DriverObject, state: D) -> VckResult<&'static D> {
    let mut slot = ptr::null_mut();
    let size = size_of::<*mut D>() as u32;
    // SAFETY: PASSIVE_LEVEL in DriverEntry; `slot` is writable.
    let status =
        unsafe { sys::IoAllocateDriverObjectExtension(driver.as_ptr(), extension_id::<D>(), size, &raw mut slot) };
    check(status)?;
    let state = Box::into_raw(try_box(state)?);
    // SAFETY: the extension has room for one pointer.
    unsafe { slot.cast::<*mut D>().write(state) };
    // SAFETY: the driver object is ours to fill in during DriverEntry.
    let object = unsafe { &mut *driver.as_ptr() };
    for entry in &mut object.MajorFunction {
        *entry = Some(super::device::dispatch);
    }
    object.DriverUnload = Some(unload::<D>);
    // SAFETY: every driver object has a driver extension.
    unsafe { (*object.DriverExtension).AddDevice = Some(add_device::<D>) };
    // SAFETY: boxed above; lives until unload, after which nothing of the driver runs.
    Ok(unsafe { &*state })
}

fn state<D: DriverCallbacks>(driver: DriverObject) -> Option<NonNull<D>> {
    // SAFETY: IRQL <= DISPATCH_LEVEL; a driver object of ours.
    let slot = unsafe { sys::IoGetDriverObjectExtension(driver.as_ptr(), extension_id::<D>()) };
    let slot = NonNull::new(slot.cast::<*mut D>())?;
    // SAFETY: written by `install`.
    NonNull::new(unsafe { slot.read() })
}

/// Takes the state back out of the driver object: unload, or a DriverEntry that fails late.
pub(super) fn take_state<D: DriverCallbacks>(driver: DriverObject) -> Option<Box<D>> {
    let state = state::<D>(driver)?;
    // SAFETY: the extension exists, as its content was just read.
    let slot = unsafe { sys::IoGetDriverObjectExtension(driver.as_ptr(), extension_id::<D>()) }.cast::<*mut D>();
    // SAFETY: as above; nobody can find the state afterwards.
    unsafe { slot.write(ptr::null_mut()) };
    // SAFETY: boxed by `install`, and nobody else refers to it: the I/O manager calls nothing concurrently with unload.
    Some(unsafe { Box::from_raw(state.as_ptr()) })
}

unsafe extern "C" fn add_device<D: DriverCallbacks>(
    driver: sys::PDRIVER_OBJECT,
    physical: sys::PDEVICE_OBJECT,
) -> sys::NTSTATUS {
    // SAFETY: the I/O manager calls with our driver object.
    let driver = unsafe { DriverObject::from_raw(driver) };
    let (Ok(driver), Some(physical), Some(passive)) = (driver, NonNull::new(physical), Passive::check()) else {
        return 0;
    };
    if let Some(state) = state::<D>(driver) {
        // SAFETY: lives until unload, which cannot run concurrently.
        let state: &'static D = unsafe { &*state.as_ptr() };
        if let Err(error) = state.add_device(passive, driver, PhysicalDevice(physical)) {
            log::error!("no filter on a new volume: {error}");
        }
    }
    // A volume without our filter must still start.
    0
}

unsafe extern "C" fn unload<D: DriverCallbacks>(driver: sys::PDRIVER_OBJECT) {
    // SAFETY: the I/O manager calls with our driver object.
    let driver = unsafe { DriverObject::from_raw(driver) };
    if let (Ok(driver), Some(passive)) = (driver, Passive::check())
        && let Some(state) = take_state::<D>(driver)
    {
        state.unload(passive);
    }
}
