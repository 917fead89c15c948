//! DriverEntry on one screen, and the macro that emits it in a product's crate.

use vck_common::VckResult;

use crate::driver::{Driver, Product};
use crate::nt::{enter_driver, raw};

/// Starts the driver with the product that `product` makes.
///
/// # Safety
/// To be called by DriverEntry alone, with its own argument.
#[expect(unsafe_code, reason = "the entry shim: the raw DriverEntry argument comes in here")]
pub unsafe fn start(driver: raw::PDRIVER_OBJECT, product: impl FnOnce() -> VckResult<Product>) -> raw::NTSTATUS {
    // SAFETY: the caller's contract.
    unsafe { enter_driver::<Driver>(driver, |passive| Driver::build(passive, product()?), Driver::start) }
}

/// Emits `DriverEntry`, and in a Windows image the allocator and the panic handler.
///
/// `$product` is an expression of type `fn() -> VckResult<Product>` or a closure without captures.
#[macro_export]
macro_rules! driver_entry {
    ($product:expr) => {
        /// The routine that the I/O manager calls first.
        ///
        /// # Safety
        /// Called by the I/O manager alone, with this driver's object.
        #[cfg_attr(windows, unsafe(no_mangle))]
        #[expect(unsafe_code, reason = "the entry shim")]
        pub unsafe extern "C" fn DriverEntry(
            driver: $crate::nt::raw::PDRIVER_OBJECT,
            _registry_path: $crate::nt::raw::PUNICODE_STRING,
        ) -> $crate::nt::raw::NTSTATUS {
            // SAFETY: the I/O manager's own call.
            unsafe { $crate::entry::start(driver, $product) }
        }

        #[cfg(windows)]
        #[global_allocator]
        static KERNEL_ALLOCATOR: $crate::nt::KernelAllocator = $crate::nt::KernelAllocator;

        #[cfg(windows)]
        #[panic_handler]
        fn panic(info: &::core::panic::PanicInfo<'_>) -> ! {
            $crate::nt::stop_on_panic(info)
        }
    };
}
