//! The sample driver's provider with the pace of its conversions chosen: one driver for each.

use vck_common::jvck::JvckMetadataStore;
use vck_common::{VckResult, XtsVolumeCipher};
use vck_windrv::control::ControlNames;
use vck_windrv::driver::Product;
use vck_windrv::engine::{ConversionPolicy, Pace};
use vck_windrv::nt::try_box;
use vck_windrv::provider::{AdministratorsOnly, AttachContext, IoConfig, VolumeProvider};

struct Paced(Pace);

impl VolumeProvider for Paced {
    fn on_attach(&self, context: &AttachContext<'_>) -> VckResult<IoConfig> {
        let store = JvckMetadataStore::open(context.io.clone(), context.vmk)?;
        let keys = store.fvek_keys();
        let (data_key, tweak_key) = (keys.fvek_key1.expose(), keys.fvek_key2.expose());
        Ok(IoConfig::Encrypted {
            cipher: try_box(XtsVolumeCipher::with_features(data_key, tweak_key, context.features)?)?,
            offset_sector: store.geometry().offset_sector(),
            encrypted_offset: store.load_offset(),
            offset_store: try_box(store)?,
            policy: ConversionPolicy { pace: self.0, ..ConversionPolicy::default() },
        })
    }
}

fn product(pace: Pace) -> VckResult<Product> {
    Ok(Product {
        provider: try_box(Paced(pace))?,
        authorization: try_box(AdministratorsOnly)?,
        control: ControlNames::default(),
    })
}

/// Converts as fast as it can.
pub(crate) mod full {
    use super::{Pace, product};
    vck_windrv::driver_entry!(|| product(Pace::Full));
}

/// Yields to other use of the volume.
pub(crate) mod balanced {
    use super::{Pace, product};
    vck_windrv::driver_entry!(|| product(Pace::Balanced));
}
