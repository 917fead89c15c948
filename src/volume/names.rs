//! From a path that a caller names to a filter.

use alloc::string::String;

use vck_common::path::NtPath;
use vck_common::{NtStatus, VckError, VckResult};

use super::{Core, FilterDevice};
use crate::nt::{Held, OpenFor, Passive, VolumeHandle, WideString};

/// FILE_DEVICE_DISK and FILE_DEVICE_VIRTUAL_DISK: the types of devices that carry volumes.
const DISK_TYPES: [u32; 2] = [0x07, 0x24];

/// The folder of the running system: a symbolic link that leads to its volume.
const SYSTEM_ROOT: &str = r"\SystemRoot";

/// An owned copy. Errors: no memory.
pub fn owned_text(text: &str) -> VckResult<String> {
    let mut owned = String::new();
    owned.try_reserve_exact(text.len()).map_err(|_| VckError::NoMemory)?;
    owned.push_str(text);
    Ok(owned)
}

/// Whether two spellings name the same NT path, ASCII letters compared without case.
fn same_path(a: &str, b: &str) -> bool {
    let lower = |unit: u16| u8::try_from(unit).map_or(unit, |byte| u16::from(byte.to_ascii_lowercase()));
    let (a, b) = (NtPath::from_volume_path(a), NtPath::from_volume_path(b));
    a.utf16().map(lower).eq(b.utf16().map(lower))
}

/// Whether the running system is on the volume. Errors: the status of opening the system's folder.
pub(super) fn holds_system(passive: Passive, filter: &FilterDevice) -> VckResult<bool> {
    let name = WideString::from_units(SYSTEM_ROOT.encode_utf16())?;
    match VolumeHandle::open(passive, &name, OpenFor::Folder) {
        Ok(folder) => Ok(folder.device(passive)?.address == filter.physical.address()),
        // A machine without one did not boot from a volume.
        Err(error) if error.status() == NtStatus::OBJECT_NAME_NOT_FOUND => Ok(false),
        Err(error) => Err(error),
    }
}

impl Core {
    /// Runs a transaction on the filter that `path` leads to.
    ///
    /// The path is opened before the transactions' mutex is taken: whoever serves it may take its time, and a removal waits for
    /// that mutex. Under it the filter is looked at again. Errors: those of [`filter_by_path`](Self::filter_by_path),
    /// [`VckError::Removed`] if the filter has gone meanwhile, [`VckError::Busy`] if the name has come to mean another.
    pub(super) fn on_filter<R>(
        &self,
        passive: Passive,
        path: &str,
        body: impl FnOnce(&Held<FilterDevice>) -> VckResult<R>,
    ) -> VckResult<R> {
        let filter = self.filter_by_path(passive, path)?;
        self.transactions.with(passive, |()| {
            // Set before REMOVE waits for this mutex, and the filter is held: it is in its stack as long as it is not set.
            if filter.is_gone() {
                return Err(VckError::Removed);
            }
            match self.filter_by_name(path) {
                Some(other) if !other.device().same(filter.device()) => Err(VckError::Busy),
                _ => body(&filter),
            }
        })
    }

    /// The filter whose volume is known under `path`, without opening anything: any caller may ask.
    pub(super) fn filter_by_name(&self, path: &str) -> Option<Held<FilterDevice>> {
        let known = |filter: &FilterDevice| filter.is_bound_to(|volume| same_path(&volume.name, path));
        self.filters.find(|device| known(device.role())).or_else(|| {
            self.filters.find(|device| !device.role().name.is_empty() && same_path(&device.role().name, path))
        })
    }

    /// The filter on the stack of the device that `path` leads to, by name or by opening it.
    ///
    /// Errors: [`VckError::NotAVolume`] if the path leads elsewhere, [`VckError::Unsupported`] if the volume has no filter, the
    /// status of the open if it leads nowhere.
    pub(super) fn filter_by_path(&self, passive: Passive, path: &str) -> VckResult<Held<FilterDevice>> {
        if let Some(filter) = self.filter_by_name(path) {
            return Ok(filter);
        }
        let name = WideString::from_units(NtPath::from_volume_path(path).utf16())?;
        let device = VolumeHandle::open(passive, &name, OpenFor::Identity)?.device(passive)?;
        if !DISK_TYPES.contains(&device.device_type) || !device.is_device_itself {
            return Err(VckError::NotAVolume);
        }
        let found = self.filters.find(|filter| filter.physical.address() == device.address);
        found.ok_or(VckError::Unsupported("the volume has no filter: restart its device or the system"))
    }
}
