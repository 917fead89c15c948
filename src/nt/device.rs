//! Device objects of ours, their extensions, and the list that lets other threads hold one.
//!
//! # Invariants
//! * Every device of this driver has an [`Extension`] whose header is complete before the device can receive an IRP:
//!   a filter is attached only afterwards, a named device is opened only after DO_DEVICE_INITIALIZING is cleared.
//! * The value in an extension is dropped once, just before `IoDeleteDevice`, by [`OwnedDevice::delete`].
//! * `header.lower` is written by the I/O manager during the attach and never changes until the detach.

use core::any::TypeId;
use core::cell::UnsafeCell;
use core::mem::ManuallyDrop;
use core::ops::Deref;
use core::ptr::{self, NonNull};

use vck_common::{NtStatus, VckError, VckResult};

use super::driver::{DriverObject, PhysicalDevice};
use super::irp::{Disposition, Irp};
use super::irql::Passive;
use super::memory::KVec;
use super::sync::SpinLock;
use super::{LowerDevice, check, sys};

/// What a device of ours does with IRPs.
pub trait DeviceRole: Sized + Send + Sync + 'static {
    /// Disposes of one IRP. IRQL: PASSIVE_LEVEL or APC_LEVEL, DISPATCH_LEVEL for some callers and for power.
    fn dispatch(device: DeviceRef<'_, Self>, irp: Irp) -> Disposition;
}

#[repr(C)]
struct Header {
    role: TypeId,
    dispatch: unsafe fn(sys::PDEVICE_OBJECT, sys::PIRP) -> sys::NTSTATUS,
    lower: UnsafeCell<sys::PDEVICE_OBJECT>,
    remove_lock: UnsafeCell<sys::IO_REMOVE_LOCK>,
}

#[repr(C)]
struct Extension<E> {
    header: Header,
    value: ManuallyDrop<E>,
}

/// A device of ours, live for `'a`: during a dispatch or completion call (its IRP holds the remove lock), or through
/// a [`Held`].
pub struct DeviceRef<'a, E> {
    device: NonNull<sys::DEVICE_OBJECT>,
    extension: &'a Extension<E>,
}

impl<E> Clone for DeviceRef<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for DeviceRef<'_, E> {}

impl<E> Deref for DeviceRef<'_, E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.extension.value
    }
}

impl<'a, E: DeviceRole> DeviceRef<'a, E> {
    /// # Safety
    /// `device` was created by [`OwnedDevice::create`] with role `E` and stays live for `'a`.
    pub(super) unsafe fn from_raw(device: NonNull<sys::DEVICE_OBJECT>) -> Self {
        // SAFETY: a live device object.
        let extension = unsafe { device.as_ref() }.DeviceExtension.cast::<Extension<E>>();
        // SAFETY: the caller's contract and the module invariant.
        Self { device, extension: unsafe { &*extension } }
    }

    /// The value, for as long as the device is live.
    #[must_use]
    pub fn role(self) -> &'a E {
        &self.extension.value
    }

    /// The device we are attached to.
    #[must_use]
    pub(crate) fn lower(self) -> LowerDevice {
        // SAFETY: module invariant: no write after the attach.
        LowerDevice::from_raw(unsafe { *self.extension.header.lower.get() })
    }

    pub(super) fn remove_lock(self) -> NonNull<sys::IO_REMOVE_LOCK> {
        NonNull::from(&self.extension.header.remove_lock).cast()
    }

    /// Whether both name the same device.
    #[must_use]
    pub fn same(self, other: Self) -> bool {
        self.device == other.device
    }

    /// The device object's address, an identity for comparing.
    #[must_use]
    pub fn address(self) -> usize {
        self.device.as_ptr() as usize
    }

    /// Takes the device out of the stack and deletes it, value and all. REMOVE only, or a device that never carried I/O.
    ///
    /// The remove lock must have been released and waited for, so that nobody else is inside.
    pub fn detach_and_delete(self, passive: Passive) {
        let lower = self.lower();
        // SAFETY: PASSIVE_LEVEL; attached to `lower` since AddDevice.
        unsafe { sys::IoDetachDevice(lower.as_ptr()) };
        // SAFETY: detached, and nobody is inside (the caller's contract).
        unsafe { OwnedDevice::<E>::from_raw(self.device) }.delete(passive);
    }
}

/// The dispatch routine of every major function of the driver object.
pub(super) unsafe extern "C" fn dispatch(device: sys::PDEVICE_OBJECT, irp: sys::PIRP) -> sys::NTSTATUS {
    // SAFETY: the I/O manager passes one of our devices, and each has an extension that begins with a header.
    let header = unsafe { (*device).DeviceExtension }.cast::<Header>();
    // SAFETY: as above; complete before the device was reachable.
    let role = unsafe { (*header).dispatch };
    // SAFETY: the function stored there was made for this device's role.
    unsafe { role(device, irp) }
}

impl Irp {
    /// Goes on with an IRP outside its dispatch routine, as that would: `body` gets the device that the IRP was sent to, which
    /// is live until the IRP is disposed of. Gives the IRP back if the device's role is not `E`.
    pub fn redispatch<E: DeviceRole, R>(self, body: impl FnOnce(DeviceRef<'_, E>, Self) -> R) -> Result<R, Self> {
        // SAFETY: owned.
        let location = unsafe { super::irp::current_location(self.raw()) };
        // SAFETY: our own stack location.
        let Some(device) = NonNull::new(unsafe { (*location).DeviceObject }) else { return Err(self) };
        // SAFETY: a device of ours: the token was made for it and holds its remove lock.
        let header = unsafe { device.as_ref() }.DeviceExtension.cast::<Header>();
        // SAFETY: as above.
        if unsafe { (*header).role } != TypeId::of::<E>() {
            return Err(self);
        }
        // SAFETY: the role was just checked.
        Ok(body(unsafe { DeviceRef::from_raw(device) }, self))
    }
}

unsafe fn dispatch_role<E: DeviceRole>(device: sys::PDEVICE_OBJECT, irp: sys::PIRP) -> sys::NTSTATUS {
    let (Some(device), Some(irp)) = (NonNull::new(device), NonNull::new(irp)) else {
        return NtStatus::INVALID_PARAMETER.0;
    };
    // SAFETY: `device` has role E (this function is stored in its header), and the I/O manager keeps it during the call.
    let device = unsafe { DeviceRef::<E>::from_raw(device) };
    match Irp::admit(irp, device.remove_lock()) {
        Ok(irp) => E::dispatch(device, irp).into_raw(),
        Err(refused) => refused.into_raw(),
    }
}

/// A device of ours that was created and not yet handed to the I/O manager, or is about to be deleted.
pub struct OwnedDevice<E: DeviceRole> {
    device: NonNull<sys::DEVICE_OBJECT>,
    role: core::marker::PhantomData<E>,
}

impl<E: DeviceRole> OwnedDevice<E> {
    /// Creates a device with `value` in its extension; not yet reachable (DO_DEVICE_INITIALIZING).
    ///
    /// `name` is an NT path or none. Errors: the status of `IoCreateDevice`, by which `value` is dropped.
    pub fn create(
        _: Passive,
        driver: DriverObject,
        name: Option<&super::UnicodeStr<'_>>,
        device_type: u32,
        characteristics: u32,
        value: E,
    ) -> VckResult<Self> {
        const { assert!(align_of::<Extension<E>>() <= 16, "the I/O manager aligns extensions to 16 bytes") };
        let size = u32::try_from(size_of::<Extension<E>>()).map_err(|_| VckError::NoMemory)?;
        let name = name.map_or(ptr::null_mut(), super::UnicodeStr::as_ptr);
        let mut device = ptr::null_mut();
        // SAFETY: PASSIVE_LEVEL by the witness; all pointers are valid for the call.
        let status = unsafe {
            sys::IoCreateDevice(driver.as_ptr(), size, name, device_type, characteristics, 0, &raw mut device)
        };
        check(status)?;
        let device = NonNull::new(device).ok_or(VckError::NoMemory)?;
        // SAFETY: a live device of ours.
        let extension = unsafe { device.as_ref() }.DeviceExtension.cast::<Extension<E>>();
        let header = Header {
            role: TypeId::of::<E>(),
            dispatch: dispatch_role::<E>,
            lower: UnsafeCell::new(ptr::null_mut()),
            // SAFETY: plain data, initialised just below at its final address.
            remove_lock: UnsafeCell::new(unsafe { core::mem::zeroed() }),
        };
        // SAFETY: the extension has this size, is ours alone, and is aligned (asserted above).
        unsafe { extension.write(Extension { header, value: ManuallyDrop::new(value) }) };
        // SAFETY: written above.
        let lock = unsafe { (*extension).header.remove_lock.get() };
        // SAFETY: PASSIVE_LEVEL; storage in the device extension, as the routine demands; 0 = no limits.
        unsafe {
            sys::IoInitializeRemoveLockEx(lock, super::REMOVE_LOCK_TAG, 0, 0, size_of::<sys::IO_REMOVE_LOCK>() as u32);
        }
        Ok(Self { device, role: core::marker::PhantomData })
    }

    /// Attaches above `physical`'s stack, takes over the flags of the device below, enters the device into `list`, and opens
    /// it for IRPs.
    ///
    /// On error the device is deleted; it never carried I/O.
    pub fn attach(self, passive: Passive, physical: PhysicalDevice, list: &DeviceList<E>) -> VckResult<()> {
        // SAFETY: a live device of ours.
        let header = unsafe { self.device.as_ref() }.DeviceExtension.cast::<Header>();
        // SAFETY: as above.
        let slot = unsafe { (*header).lower.get() };
        // SAFETY: PASSIVE_LEVEL (<= DISPATCH_LEVEL); the lower device is written before the first IRP can arrive.
        let status = unsafe { sys::IoAttachDeviceToDeviceStackSafe(self.device.as_ptr(), physical.as_ptr(), slot) };
        if let Err(error) = check(status) {
            self.delete(passive);
            return Err(error);
        }
        // SAFETY: attached: the slot was written.
        let below = unsafe { *slot };
        // SAFETY: attached: the device below is live.
        let lower = unsafe { &*below };
        // SAFETY: ours, and nobody else writes the flags of a device that is still initialising.
        let device = unsafe { &mut *self.device.as_ptr() };
        device.Flags |= lower.Flags & (sys::DO_BUFFERED_IO | sys::DO_DIRECT_IO | sys::DO_POWER_PAGABLE);
        device.DeviceType = lower.DeviceType;
        device.Characteristics |= lower.Characteristics;
        device.AlignmentRequirement = lower.AlignmentRequirement;
        if let Err(error) = list.insert(self.device) {
            // SAFETY: PASSIVE_LEVEL; attached just above, before the stack was started.
            unsafe { sys::IoDetachDevice(below) };
            self.delete(passive);
            return Err(error);
        }
        self.open();
        Ok(())
    }

    /// Clears DO_DEVICE_INITIALIZING: from here on IRPs arrive.
    pub(super) fn open(&self) {
        // SAFETY: ours; the bit is the creator's to clear.
        unsafe { (*self.device.as_ptr()).Flags &= !sys::DO_DEVICE_INITIALIZING };
    }

    /// # Safety
    /// `device` was created with role `E`, is out of reach of new requests, and nothing else deletes it.
    pub(super) unsafe fn from_raw(device: NonNull<sys::DEVICE_OBJECT>) -> Self {
        Self { device, role: core::marker::PhantomData }
    }

    /// The device object, for calls that name it before it is open.
    pub(super) fn raw(&self) -> NonNull<sys::DEVICE_OBJECT> {
        self.device
    }

    /// Drops the value and deletes the device.
    pub fn delete(self, _: Passive) {
        // SAFETY: a live device of ours.
        let extension = unsafe { self.device.as_ref() }.DeviceExtension.cast::<Extension<E>>();
        // SAFETY: no IRP and no Held is inside (the callers' contract).
        let value = unsafe { &mut (*extension).value };
        // SAFETY: dropped once, here.
        unsafe { ManuallyDrop::drop(value) };
        // SAFETY: PASSIVE_LEVEL; detached or never attached.
        unsafe { sys::IoDeleteDevice(self.device.as_ptr()) };
    }
}

/// Devices that other threads may look up and hold.
///
/// # Invariant
/// A device is in the list only while its remove lock still admits holders: REMOVE takes it out before it releases
/// and waits. So a lock acquired under the list's spin lock keeps the device live.
pub struct DeviceList<E: DeviceRole> {
    devices: SpinLock<KVec<Listed<E>>>,
}

struct Listed<E> {
    device: NonNull<sys::DEVICE_OBJECT>,
    role: core::marker::PhantomData<E>,
}

// SAFETY: a device object may be named from any thread; access to it follows the list's invariant.
unsafe impl<E: Send + Sync> Send for Listed<E> {}

impl<E: DeviceRole> DeviceList<E> {
    /// An empty list.
    pub const fn new() -> Self {
        Self { devices: SpinLock::new(KVec::new()) }
    }

    /// Adds a device that has just been attached. [`remove`](Self::remove) comes before its deletion: REMOVE sees to that.
    fn insert(&self, device: NonNull<sys::DEVICE_OBJECT>) -> VckResult<()> {
        self.devices.with(|list| list.try_push(Listed { device, role: core::marker::PhantomData }))
    }

    /// Takes a device out; no new holder can come afterwards.
    pub fn remove(&self, device: DeviceRef<'_, E>) {
        self.devices.with(|list| list.retain(|listed| listed.device != device.device));
    }

    /// Number of devices.
    pub fn len(&self) -> usize {
        self.devices.with(|list| list.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Holds the first device for which `wanted` answers true. IRQL <= DISPATCH_LEVEL; `wanted` runs at DISPATCH_LEVEL.
    pub fn find(&self, mut wanted: impl FnMut(DeviceRef<'_, E>) -> bool) -> Option<Held<E>> {
        self.devices.with(|list| {
            list.iter().find_map(|listed| {
                // SAFETY: in the list, hence live while the list is locked.
                let device = unsafe { DeviceRef::<E>::from_raw(listed.device) };
                if wanted(device) { Held::acquire(device) } else { None }
            })
        })
    }

    /// Holds the device with the lowest address above that of `after`, or the lowest of all.
    ///
    /// A walk from one to the next meets every device that is in the list from its beginning to its end exactly once,
    /// whatever comes and goes meanwhile.
    pub fn next(&self, after: Option<&Held<E>>) -> Option<Held<E>> {
        let mut floor = after.map_or(0, |held| held.device.addr().get().saturating_add(1));
        loop {
            let lowest = self.devices.with(|list| {
                let addresses = list.iter().map(|listed| listed.device.addr().get());
                addresses.filter(|address| *address >= floor).min()
            })?;
            if let Some(held) = self.find(|device| device.address() == lowest) {
                return Some(held);
            }
            // It went away in between.
            floor = lowest.saturating_add(1);
        }
    }

    /// Every device of the list in turn; see [`next`](Self::next). One is held at a time.
    pub fn each(&self, mut body: impl FnMut(&Held<E>)) {
        let mut at = self.next(None);
        while let Some(held) = at {
            body(&held);
            at = self.next(Some(&held));
        }
    }
}

impl<E: DeviceRole> Default for DeviceList<E> {
    fn default() -> Self {
        Self::new()
    }
}

/// A device kept from removal: REMOVE waits until this is dropped.
pub struct Held<E: DeviceRole> {
    device: NonNull<sys::DEVICE_OBJECT>,
    role: core::marker::PhantomData<E>,
}

// SAFETY: names a device that its remove lock keeps live; may be dropped on any thread.
unsafe impl<E: DeviceRole> Send for Held<E> {}
// SAFETY: as above.
unsafe impl<E: DeviceRole> Sync for Held<E> {}

impl<E: DeviceRole> Held<E> {
    fn acquire(device: DeviceRef<'_, E>) -> Option<Self> {
        let lock = device.remove_lock();
        let tag = device.device.as_ptr().cast();
        // SAFETY: an initialised lock of a live device; IRQL <= DISPATCH_LEVEL.
        let status = unsafe { super::acquire_remove_lock(lock, tag) };
        (status == 0).then_some(Self { device: device.device, role: core::marker::PhantomData })
    }

    /// The device, for as long as it is held.
    pub fn device(&self) -> DeviceRef<'_, E> {
        // SAFETY: the remove lock is held until drop.
        unsafe { DeviceRef::from_raw(self.device) }
    }
}

impl<E: DeviceRole> Deref for Held<E> {
    type Target = E;

    fn deref(&self) -> &E {
        self.device().role()
    }
}

impl<E: DeviceRole> Drop for Held<E> {
    fn drop(&mut self) {
        let lock = self.device().remove_lock();
        // SAFETY: acquired with this tag in `acquire`, released once.
        unsafe { super::release_remove_lock(lock, self.device.as_ptr().cast()) };
    }
}
