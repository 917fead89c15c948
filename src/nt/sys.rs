//! The only file that names the platform: raw kernel types and routines from `wdk-sys` on Windows, from the simulated
//! kernel elsewhere. Names, types and field paths are the same; building against both catches drift.

#[cfg(not(windows))]
pub(crate) use vck_ntsim::abi::*;
#[cfg(windows)]
pub(crate) use wdk_sys::{ntddk::*, *};

#[cfg(windows)]
pub(crate) use self::cng::*;

/// Kernel CNG is outside the headers that `wdk-sys` binds.
#[cfg(windows)]
mod cng {
    use super::{NTSTATUS, PVOID, ULONG};

    #[link(name = "cng")]
    unsafe extern "C" {
        /// Fills a buffer from a random number generator. `IRQL` <= DISPATCH_LEVEL for the system-preferred one is not
        /// promised by the documentation, so callers hold PASSIVE_LEVEL.
        pub(crate) fn BCryptGenRandom(algorithm: PVOID, buffer: *mut u8, length: ULONG, flags: ULONG) -> NTSTATUS;
    }
}
