//! Who asks.

use core::ffi::c_void;
use core::ptr::NonNull;

use super::irp::Irp;
use super::irql::Passive;
use super::sys;

/// A referenced access token.
///
/// # Invariant
/// `token` holds a reference taken by `PsReferencePrimaryToken`.
pub struct AccessToken {
    token: NonNull<c_void>,
}

impl AccessToken {
    /// The primary token of the process that sent `irp`; none for kernel requests without one.
    pub fn of_requestor(_: Passive, irp: &Irp) -> Option<Self> {
        // SAFETY: owned IRP; IRQL <= APC_LEVEL.
        let process = unsafe { sys::IoGetRequestorProcess(irp.raw().as_ptr()) };
        if process.is_null() {
            return None;
        }
        // SAFETY: the process lives while its request is pending; PASSIVE_LEVEL.
        let token = unsafe { sys::PsReferencePrimaryToken(process) };
        NonNull::new(token.cast()).map(|token| Self { token })
    }

    /// Whether the token's Administrators group is enabled. PASSIVE_LEVEL.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        // SAFETY: invariant.
        unsafe { sys::SeTokenIsAdmin(self.token.as_ptr().cast()) != 0 }
    }
}

impl Drop for AccessToken {
    fn drop(&mut self) {
        // SAFETY: invariant; the reference is given back once.
        unsafe { sys::PsDereferencePrimaryToken(self.token.as_ptr().cast()) };
    }
}
