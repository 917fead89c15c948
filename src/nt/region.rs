//! Critical regions: the thread is not suspended and gets no normal kernel APC.

use core::marker::PhantomData;

use super::irql::Passive;
use super::sys;

/// A stay in a critical region. It ends when the value is dropped, on the thread that made it: it does not leave it.
pub struct CriticalRegion(PhantomData<*mut ()>);

impl CriticalRegion {
    /// Enters one. Regions nest.
    #[must_use]
    pub fn enter(_: Passive) -> Self {
        // SAFETY: PASSIVE_LEVEL by the witness; left once, when the value is dropped.
        unsafe { sys::KeEnterCriticalRegion() };
        Self(PhantomData)
    }
}

impl Drop for CriticalRegion {
    fn drop(&mut self) {
        // SAFETY: entered on this thread, which the value cannot leave.
        unsafe { sys::KeLeaveCriticalRegion() };
    }
}
