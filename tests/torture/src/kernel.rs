//! Which kernel of the sector cipher a run is forced to use: `VCK_KERNEL`, one of `portable`, `aes-ni`, `vaes-256`, `vaes-512`.
//!
//! Conversion is the same with every kernel; what is tried is that every kernel is the same to conversion.

use std::sync::{Arc, LazyLock};

use vck_common::xts::{Features, Kernel, WideRegisters};
use vck_common::{DataSector, SectorSize, VolumeCipher, XtsVolumeCipher};

/// What was asked for.
static ASKED: LazyLock<Option<Kernel>> = LazyLock::new(|| {
    let name = std::env::var("VCK_KERNEL").unwrap_or_default();
    let found = Kernel::ALL.into_iter().find(|kernel| kernel.name() == name);
    assert!(found.is_some() || name.is_empty(), "VCK_KERNEL={name}: one of portable, aes-ni, vaes-256, vaes-512");
    // A run that silently used another one would prove nothing.
    let there = found.is_none_or(|kernel| Features::detected().contains(kernel.features()));
    assert!(there, "VCK_KERNEL={name}: the processor does not have it");
    found
});

/// A cipher that uses its wide kernel for everything.
struct Wide(XtsVolumeCipher);

impl VolumeCipher for Wide {
    fn encrypt_area(&self, buf: &mut [u8], sector_size: SectorSize, first: DataSector) {
        self.0.encrypt_area_wide(buf, sector_size, first, WideRegisters::in_user_mode());
    }

    fn decrypt_area(&self, buf: &mut [u8], sector_size: SectorSize, first: DataSector) {
        self.0.decrypt_area_wide(buf, sector_size, first, WideRegisters::in_user_mode());
    }

    fn encrypt_copy(&self, src: &[u8], dst: &mut [u8], sector_size: SectorSize, first: DataSector) {
        self.0.encrypt_copy_wide(src, dst, sector_size, first, WideRegisters::in_user_mode());
    }
}

/// The cipher that `make` makes of the features that it may use.
pub(crate) fn fastest(make: impl Fn(Features) -> XtsVolumeCipher) -> Arc<dyn VolumeCipher> {
    forced(&make).unwrap_or_else(|| Arc::new(make(Features::all())))
}

/// The same, if a kernel is forced: then every volume has it.
pub(crate) fn forced(make: impl Fn(Features) -> XtsVolumeCipher) -> Option<Arc<dyn VolumeCipher>> {
    let kernel = (*ASKED)?;
    let cipher = make(kernel.features());
    Some(if kernel.needs_extended_state() { Arc::new(Wide(cipher)) } else { Arc::new(cipher) })
}
