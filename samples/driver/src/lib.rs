//! The sample driver: JVCK volumes, AES-256-XTS. An OEM's starting point.

#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_macros))]

use vck_common::jvck::JvckMetadataStore;
use vck_common::{VckResult, XtsVolumeCipher};
use vck_windrv::control::ControlNames;
use vck_windrv::driver::Product;
use vck_windrv::engine::ConversionPolicy;
use vck_windrv::nt::try_box;
use vck_windrv::provider::{AdministratorsOnly, AttachContext, IoConfig, VolumeProvider};

/// Opens volumes by their JVCK metadata.
pub struct JvckProvider;

impl VolumeProvider for JvckProvider {
    fn on_attach(&self, context: &AttachContext<'_>) -> VckResult<IoConfig> {
        let store = JvckMetadataStore::open(context.io.clone(), context.vmk)?;
        let keys = store.fvek_keys();
        let (data_key, tweak_key) = (keys.fvek_key1.expose(), keys.fvek_key2.expose());
        let cipher = XtsVolumeCipher::with_features(data_key, tweak_key, context.features)?;
        Ok(IoConfig::Encrypted {
            cipher: try_box(cipher)?,
            offset_sector: store.geometry().offset_sector(),
            encrypted_offset: store.load_offset(),
            offset_store: try_box(store)?,
            policy: ConversionPolicy::default(),
        })
    }
}

fn product() -> VckResult<Product> {
    Ok(Product {
        provider: try_box(JvckProvider)?,
        authorization: try_box(AdministratorsOnly)?,
        control: ControlNames::default(),
    })
}

vck_windrv::driver_entry!(product);
