//! Names of objects and links.

use alloc::string::String;

use vck_common::VckResult;

use super::driver::PhysicalDevice;
use super::irql::Passive;
use super::string::{WideString, to_utf8};
use super::{check, sys};

/// The longest device name that is kept, bytes of UTF-8.
pub const MAX_NAME: usize = 512;

impl PhysicalDevice {
    /// The device's object name (`\Device\HarddiskVolumeN`), empty if it has none.
    pub fn name(self, _: Passive) -> VckResult<String> {
        // OBJECT_NAME_INFORMATION: a UNICODE_STRING with its characters behind it.
        #[repr(C)]
        struct NameBuffer {
            name: sys::UNICODE_STRING,
            units: [u16; MAX_NAME / 2],
        }
        let mut buffer = NameBuffer {
            // SAFETY: plain data.
            name: unsafe { core::mem::zeroed() },
            units: [0; MAX_NAME / 2],
        };
        let mut returned = 0;
        let size = size_of::<NameBuffer>() as u32;
        // SAFETY: a live object (AddDevice); PASSIVE_LEVEL; a buffer of `size` bytes.
        let status =
            unsafe { sys::ObQueryNameString(self.as_ptr().cast(), (&raw mut buffer).cast(), size, &raw mut returned) };
        if status != 0 {
            return Ok(String::new());
        }
        let units = usize::from(buffer.name.Length / 2).min(buffer.units.len());
        to_utf8(buffer.units.get(..units).unwrap_or(&[]), MAX_NAME)
    }
}

/// A symbolic link of ours; deleted on drop.
pub struct SymbolicLink {
    name: WideString,
}

impl SymbolicLink {
    /// Links `name` to `target`, both NT paths.
    pub fn create(_: Passive, name: WideString, target: &WideString) -> VckResult<Self> {
        // SAFETY: PASSIVE_LEVEL; both strings outlive the call.
        let status = unsafe { sys::IoCreateSymbolicLink(name.as_unicode().as_ptr(), target.as_unicode().as_ptr()) };
        check(status)?;
        Ok(Self { name })
    }
}

impl Drop for SymbolicLink {
    fn drop(&mut self) {
        // SAFETY: a link of ours; links are dropped at PASSIVE_LEVEL with their driver.
        let _ = unsafe { sys::IoDeleteSymbolicLink(self.name.as_unicode().as_ptr()) };
    }
}
