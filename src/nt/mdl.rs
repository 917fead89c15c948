//! Direct-I/O buffers of requests: checking, mapping, and the reserved window for when mapping fails.
//!
//! # Invariants
//! A request's MDL is mapped at most once, by its dispatch routine (or the worker that took over from it), before the
//! IRP goes down; completion routines only read the mapping. The I/O manager unmaps it when it frees the MDL.
//!
//! The pages may be shared with a user-mode program that writes to them meanwhile. Nothing here or above derives a
//! decision from bytes of such a buffer, and each byte is read at most once.

use core::ptr::{self, NonNull};

use vck_common::{VckError, VckResult};

use super::completion::CompletedIrp;
use super::irp::{Irp, Request};
use super::irql::Passive;
use super::memory::PAGE_SIZE;
use super::sys;

const MDL_MAPPING_NO_EXECUTE: u32 = 0x4000_0000;

/// Tag of reserved mapping windows; the routines demand one even though no pool is involved.
const WINDOW_TAG: u32 = u32::from_le_bytes(*b"VCKW");

impl Request<'_> {
    /// The MDL of a READ or WRITE of `length` bytes, if it covers them in one piece.
    fn mdl(self, length: usize) -> VckResult<NonNull<sys::MDL>> {
        let mdl = NonNull::new(self.raw().MdlAddress).ok_or(VckError::InvalidData("the request has no MDL"))?;
        // SAFETY: the IRP's MDL is live as long as the IRP.
        let fields = unsafe { mdl.as_ref() };
        if !fields.Next.is_null() {
            return Err(VckError::InvalidData("the request's MDL is chained"));
        }
        if (fields.ByteCount as usize) < length {
            return Err(VckError::InvalidData("the request's MDL is shorter than the request"));
        }
        Ok(mdl)
    }

    /// Checks that the MDL covers the request. Errors: STATUS_INVALID_PARAMETER.
    pub fn check_mdl(self) -> VckResult<()> {
        self.mdl(self.length()).map(|_| ())
    }

    fn length(self) -> usize {
        usize::try_from(self.extent().len.get()).unwrap_or(usize::MAX)
    }
}

/// Flags of an MDL whose MappedSystemVa is valid.
const SYSTEM_ADDRESS: sys::CSHORT = (sys::MDL_MAPPED_TO_SYSTEM_VA | sys::MDL_SOURCE_IS_NONPAGED_POOL) as sys::CSHORT;

/// `MmGetSystemAddressForMdlSafe`.
///
/// Writable for WRITEs too: the mapping stays in the MDL, and whoever owns it may use it for a READ next.
fn system_address(mdl: NonNull<sys::MDL>) -> VckResult<NonNull<u8>> {
    // SAFETY: a live MDL.
    let fields = unsafe { mdl.as_ref() };
    let address = if fields.MdlFlags & SYSTEM_ADDRESS != 0 {
        fields.MappedSystemVa
    } else {
        let priority = sys::_MM_PAGE_PRIORITY::HighPagePriority as u32 | MDL_MAPPING_NO_EXECUTE;
        // SAFETY: locked pages; IRQL <= DISPATCH_LEVEL; failure is reported by null (BugCheckOnFailure = FALSE).
        unsafe {
            sys::MmMapLockedPagesSpecifyCache(
                mdl.as_ptr(),
                sys::_MODE::KernelMode as sys::KPROCESSOR_MODE,
                sys::_MEMORY_CACHING_TYPE::MmCached,
                ptr::null_mut(),
                0,
                priority,
            )
        }
    };
    NonNull::new(address.cast()).ok_or(VckError::NoMemory)
}

impl Irp {
    /// Maps the bytes of a READ, to be changed in place. IRQL <= DISPATCH_LEVEL. Errors: no MDL, or no system PTEs.
    pub fn map_for_read(&mut self) -> VckResult<&mut [u8]> {
        let length = self.request().length();
        let start = system_address(self.request().mdl(length)?)?;
        // SAFETY: mapped, so long, and reachable through this token alone as far as the driver is concerned.
        Ok(unsafe { core::slice::from_raw_parts_mut(start.as_ptr(), length) })
    }

    /// Maps the bytes of a WRITE, read-only. IRQL <= DISPATCH_LEVEL. Errors: as [`map_for_read`](Self::map_for_read).
    pub fn map_for_write(&mut self) -> VckResult<&[u8]> {
        let length = self.request().length();
        let start = system_address(self.request().mdl(length)?)?;
        // SAFETY: mapped and so long; see the module doc on concurrent changes.
        Ok(unsafe { core::slice::from_raw_parts(start.as_ptr(), length) })
    }
}

impl CompletedIrp {
    /// The bytes of a READ that its dispatch routine mapped, cut to what the device transferred. IRQL <= DISPATCH_LEVEL.
    pub fn mapped(&mut self) -> VckResult<&mut [u8]> {
        let request = self.request();
        let length = request.length().min(request.information());
        let start = system_address(request.mdl(length)?)?;
        // SAFETY: ours during the routine; mapped and so long.
        Ok(unsafe { core::slice::from_raw_parts_mut(start.as_ptr(), length) })
    }
}

/// A reserved range of addresses through which any buffer can be reached piece by piece, even when none can be mapped.
///
/// # Invariants
/// `window` reserves `PIECE + PAGE_SIZE` bytes and is mapped only inside [`with`](Self::with); `mdl` has room for as many pages.
pub struct MappingWindow {
    window: NonNull<core::ffi::c_void>,
    mdl: NonNull<sys::MDL>,
}

// SAFETY: used through &mut by one thread at a time.
unsafe impl Send for MappingWindow {}

impl MappingWindow {
    /// The largest piece that one mapping can show, bytes.
    pub const PIECE: usize = 64 * 1024;

    /// Reserves the addresses. PASSIVE_LEVEL.
    pub fn try_new(_: Passive) -> VckResult<Self> {
        let bytes = Self::PIECE + PAGE_SIZE;
        // SAFETY: IRQL <= APC_LEVEL.
        let window = unsafe { sys::MmAllocateMappingAddress(bytes as sys::SIZE_T, WINDOW_TAG) };
        let window = NonNull::new(window).ok_or(VckError::NoMemory)?;
        // The address is never followed: it gives the MDL the worst case of a piece that starts at the end of a page.
        let worst = ptr::without_provenance_mut(PAGE_SIZE - 1);
        // SAFETY: IRQL <= DISPATCH_LEVEL; only memory for the descriptor is allocated.
        let mdl = unsafe { sys::IoAllocateMdl(worst, Self::PIECE as u32, 0, 0, ptr::null_mut()) };
        if let Some(mdl) = NonNull::new(mdl) {
            return Ok(Self { window, mdl });
        }
        // SAFETY: reserved above with this tag and not mapped.
        unsafe { sys::MmFreeMappingAddress(window.as_ptr(), WINDOW_TAG) };
        Err(VckError::NoMemory)
    }

    /// Shows `body` the bytes `from..from + length` of the request's buffer; of a WRITE they are to be read only.
    /// IRQL <= DISPATCH_LEVEL.
    ///
    /// `length` is at most [`PIECE`](Self::PIECE) and the range lies inside the request.
    pub fn with<R>(
        &mut self,
        irp: &mut Irp,
        from: usize,
        length: usize,
        body: impl FnOnce(&mut [u8]) -> R,
    ) -> VckResult<R> {
        let end = from.checked_add(length).filter(|_| length <= Self::PIECE);
        let end = end.ok_or(VckError::InvalidData("the piece is larger than the window"))?;
        let source = irp.request().mdl(end)?;
        // SAFETY: live as long as the IRP.
        let fields = unsafe { source.as_ref() };
        if fields.MdlFlags & SYSTEM_ADDRESS != 0 {
            // Mapped before memory ran out. A partial MDL would inherit that mapping, so the window is not for it.
            let start = fields.MappedSystemVa.cast::<u8>().wrapping_add(from);
            let mapped = NonNull::new(start).ok_or(VckError::NoMemory)?;
            // SAFETY: mapped, and the MDL covers `end` bytes; exclusive through `irp`.
            return Ok(body(unsafe { core::slice::from_raw_parts_mut(mapped.as_ptr(), length) }));
        }
        let start = fields.StartVa.wrapping_byte_add(fields.ByteOffset as usize).wrapping_byte_add(from);
        // SAFETY: the range lies inside the source, and the target has room (invariant).
        unsafe { sys::IoBuildPartialMdl(source.as_ptr(), self.mdl.as_ptr(), start, length as u32) };
        // SAFETY: our reservation with our tag, not mapped at present.
        let mapped = unsafe {
            sys::MmMapLockedPagesWithReservedMapping(
                self.window.as_ptr(),
                WINDOW_TAG,
                self.mdl.as_ptr(),
                sys::_MEMORY_CACHING_TYPE::MmCached,
            )
        };
        let mapped = NonNull::new(mapped.cast::<u8>()).ok_or(VckError::NoMemory)?;
        // SAFETY: mapped and so long; exclusive through `irp` and `self`.
        let result = body(unsafe { core::slice::from_raw_parts_mut(mapped.as_ptr(), length) });
        // SAFETY: mapped just above with the same window, tag and MDL.
        unsafe { sys::MmUnmapReservedMapping(self.window.as_ptr(), WINDOW_TAG, self.mdl.as_ptr()) };
        Ok(result)
    }
}

impl Drop for MappingWindow {
    fn drop(&mut self) {
        // SAFETY: ours, and not mapped outside `with`.
        unsafe { sys::IoFreeMdl(self.mdl.as_ptr()) };
        // SAFETY: reserved with this tag.
        unsafe { sys::MmFreeMappingAddress(self.window.as_ptr(), WINDOW_TAG) };
    }
}
