//! Which kernel of the sector cipher a run is forced to use: `VCK_KERNEL`, one of `portable`, `aes-ni`, `vaes-256`, `vaes-512`.
//!
//! The wide kernels are taken away by a machine that does not have their registers. AES-NI cannot be taken from a processor: with
//! `portable` the provider uses less than it is offered, and everything else is the sample driver.

use vck_common::VckResult;
use vck_common::xts::{Features, Kernel};
use vck_ntsim::as_host;
use vck_ntsim::io::DriverEntry;
use vck_sample_driver::JvckProvider;
use vck_windrv::control::ControlNames;
use vck_windrv::driver::Product;
use vck_windrv::nt::try_box;
use vck_windrv::provider::{AdministratorsOnly, AttachContext, IoConfig, VolumeProvider};

const VARIABLE: &str = "VCK_KERNEL";

/// What was asked for; `None`, the fastest, when nothing was.
///
/// # Panics
/// For another value: a run that silently used another kernel would prove nothing.
fn asked() -> Option<Kernel> {
    // Providers ask too, and what the standard library does with wide registers is no business of the driver's.
    as_host(|| {
        let name = std::env::var(VARIABLE).unwrap_or_default();
        let found = Kernel::ALL.into_iter().find(|kernel| kernel.name() == name);
        assert!(found.is_some() || name.is_empty(), "{VARIABLE}={name}: one of portable, aes-ni, vaes-256, vaes-512");
        let there = found.is_none_or(|kernel| Features::detected().contains(kernel.features()));
        assert!(there, "{VARIABLE}={name}: the processor does not have it");
        found
    })
}

/// The extended processor features of the simulated machine.
#[must_use]
pub(crate) fn extended_features() -> u64 {
    match asked() {
        Some(Kernel::Portable | Kernel::AesNi) => 0x3,
        Some(Kernel::Vaes256) => 0x7,
        Some(Kernel::Vaes512) | None => u64::MAX,
    }
}

/// What a provider may use of the features that it is offered.
#[must_use]
pub fn allowed(offered: Features) -> Features {
    asked().map_or(offered, |kernel| offered.intersection(kernel.features()))
}

/// The driver.
#[must_use]
pub(crate) fn entry() -> DriverEntry {
    if asked() == Some(Kernel::Portable) { portable::DriverEntry } else { vck_sample_driver::DriverEntry }
}

/// The sample driver's provider, told that the processor has nothing.
struct Portable;

impl VolumeProvider for Portable {
    fn on_attach(&self, context: &AttachContext<'_>) -> VckResult<IoConfig> {
        let AttachContext { io, vmk, partition_guid, random, features } = context;
        let (io, features) = (io.clone(), allowed(*features));
        let context = AttachContext { io, vmk, partition_guid: *partition_guid, random: *random, features };
        JvckProvider.on_attach(&context)
    }
}

fn product() -> VckResult<Product> {
    Ok(Product {
        provider: try_box(Portable)?,
        authorization: try_box(AdministratorsOnly)?,
        control: ControlNames::default(),
    })
}

mod portable {
    vck_windrv::driver_entry!(super::product);
}
