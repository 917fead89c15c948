//! A page-aligned buffer with the MDLs that describe it.
//!
//! # Invariants
//! `whole` describes the whole buffer and `part` has room for any piece of it. Both and the buffer live and end together.

use core::ptr::{self, NonNull};

use vck_common::{NtStatus, VckError, VckResult};

use super::memory::PageBuffer;
use super::sys;

/// The buffer, all allocated at once, so that describing any beginning of it cannot fail for lack of memory.
pub(super) struct DescribedBuffer {
    whole: NonNull<sys::MDL>,
    part: NonNull<sys::MDL>,
    buffer: PageBuffer,
}

// SAFETY: all parts are owned.
unsafe impl Send for DescribedBuffer {}

impl DescribedBuffer {
    /// A zeroed buffer of `bytes`. IRQL <= DISPATCH_LEVEL.
    pub(super) fn try_new(bytes: usize) -> VckResult<Self> {
        let buffer = PageBuffer::try_new(bytes)?;
        let length = u32::try_from(bytes).map_err(|_| VckError::NoMemory)?;
        let whole = allocate_mdl(&buffer, length)?;
        let Ok(part) = allocate_mdl(&buffer, length) else {
            // SAFETY: allocated above, used by nobody.
            unsafe { sys::IoFreeMdl(whole.as_ptr()) };
            return Err(VckError::NoMemory);
        };
        // SAFETY: the buffer is non-paged pool and this MDL describes it.
        unsafe { sys::MmBuildMdlForNonPagedPool(whole.as_ptr()) };
        Ok(Self { whole, part, buffer })
    }

    /// Where the buffer, and every MDL of it, begins.
    pub(super) fn address(&self) -> *mut core::ffi::c_void {
        self.buffer.as_ptr().cast()
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.buffer.as_slice()
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        self.buffer.as_mut_slice()
    }

    /// States which bytes are plaintext: they are wiped before the memory is used for anything else. At first all.
    pub(super) fn set_plaintext(&mut self, plaintext: core::ops::Range<usize>) {
        self.buffer.set_wiped_on_drop(plaintext);
    }

    pub(super) fn holds_plaintext(&self) -> bool {
        self.buffer.is_wiped_on_drop()
    }

    /// An MDL of the first `length` bytes, for one request. IRQL <= DISPATCH_LEVEL. Errors: there are not so many.
    ///
    /// It is valid until the buffer is described again or dropped, and [`forget`](Self::forget) is to be called when the request is
    /// over.
    pub(super) fn describe(&mut self, length: usize) -> Result<NonNull<sys::MDL>, NtStatus> {
        let all = self.buffer.as_slice().len();
        if length == all {
            return Ok(self.whole);
        }
        if length > all {
            return Err(NtStatus::INVALID_PARAMETER);
        }
        // The whole has a length in 32 bits, so its piece does.
        let length = u32::try_from(length).map_err(|_| NtStatus::INVALID_PARAMETER)?;
        let (whole, part, start) = (self.whole.as_ptr(), self.part.as_ptr(), self.buffer.as_ptr().cast());
        // SAFETY: the piece lies inside the whole, and `part` has room for it.
        unsafe { sys::IoBuildPartialMdl(whole, part, start, length) };
        Ok(self.part)
    }

    /// A driver below may have mapped the partial MDL; it must be unmapped before it is built anew (`MmPrepareMdlForReuse`).
    pub(super) fn forget(&mut self) {
        // SAFETY: ours.
        let fields = unsafe { self.part.as_ref() };
        if fields.MdlFlags & sys::MDL_PARTIAL_HAS_BEEN_MAPPED as sys::CSHORT != 0 {
            // SAFETY: mapped, as the flag says, at this address.
            unsafe { sys::MmUnmapLockedPages(fields.MappedSystemVa, self.part.as_ptr()) };
        }
    }
}

fn allocate_mdl(buffer: &PageBuffer, length: u32) -> VckResult<NonNull<sys::MDL>> {
    // SAFETY: IRQL <= DISPATCH_LEVEL; no IRP is associated.
    let mdl = unsafe { sys::IoAllocateMdl(buffer.as_ptr().cast(), length, 0, 0, ptr::null_mut()) };
    NonNull::new(mdl).ok_or(VckError::NoMemory)
}

impl Drop for DescribedBuffer {
    fn drop(&mut self) {
        self.forget();
        // SAFETY: ours, unmapped.
        unsafe { sys::IoFreeMdl(self.part.as_ptr()) };
        // SAFETY: ours; built over non-paged pool, which needs no unlocking.
        unsafe { sys::IoFreeMdl(self.whole.as_ptr()) };
    }
}
