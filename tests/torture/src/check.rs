//! The comparison with the model, and what a reader sees that knows the metadata blocks only.

use vck_common::jvck::JvckMetadataStore;
use vck_common::{DataSector, EncryptedOffsetStore, Lba, VolumeState};

use crate::cut::place;
use crate::image::Image;
use crate::machine::{Machine, World};
use crate::model::Model;
use crate::store::VMK;
use crate::weak::Weakness;

impl World {
    /// Compares every sector that may be read with the model. One that is called damaged needs a cause: it was torn or
    /// trimmed, or the device cannot read or write it. Returns the number of sectors that are kept from being read. After a boot,
    /// what is seen stays.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn compare(&mut self, just_booted: bool) -> Result<u64, String> {
        let (published, mut fenced) = (self.published, 0);
        let faults = self.disk.faults();
        for sector in 0..self.geometry.data_sectors().get() {
            let lba = self.geometry.offset_sector().get() + sector;
            let is_bad = faults.bad_sectors().any(|bad| bad == lba);
            if self.is_fenced(sector) {
                // One bad sector may keep its whole zone from being of one side.
                if faults.may_stop() {
                    fenced += 1;
                    continue;
                }
                return Err(format!("data sector {sector} is fenced while the device works, boundary {published}"));
            }
            if self.shields.contains(&sector) {
                if is_bad || self.model.may_be_fenced(sector) {
                    fenced += 1;
                    continue;
                }
                return Err(format!("data sector {sector} is called damaged without a cause, boundary {published}"));
            }
            let bytes = self.plaintext(self.disk.current(), sector, published);
            if !self.model.accepts(sector, &bytes) {
                return Err(format!("data sector {sector} is wrong, boundary {published}"));
            }
            // Whatever is in doubt otherwise may still be in the cache.
            if just_booted {
                self.model.observed(sector, &bytes);
            }
        }
        match self.complaints.first() {
            Some(complaint) => Err(complaint.clone()),
            None => Ok(fenced),
        }
    }

    /// Prints the calls of the device.
    pub fn print_events(&self, name: &str) {
        println!("--- {name}: faults {:?}", self.disk.faults());
        for (number, event) in self.disk.events().iter().enumerate() {
            let whose = if event.user { "user" } else { "conversion" };
            let place = place(&self.geometry, event.lba);
            let at = self.geometry.lba_to_data(Lba::new(event.lba)).map_or(event.lba, DataSector::get);
            println!("{number:5} {whose:10} {:?} {place:?} {at}+{}", event.op, event.count);
        }
    }

    fn is_fenced(&self, sector: u64) -> bool {
        self.fences.iter().any(|(fence, _)| fence.contains(DataSector::new(sector)))
    }

    fn plaintext(&self, image: &Image, sector: u64, boundary: u64) -> Vec<u8> {
        let size = self.geometry.sector_size();
        let mut bytes = vec![0; size.usize()];
        image.read(self.geometry.offset_sector().get() + sector, &mut bytes, sector);
        if sector < boundary {
            self.cipher.decrypt_area(&mut bytes, size, DataSector::new(sector));
        }
        bytes
    }

    /// After a clean stop: what is durable must be the truth for a reader that knows nothing but the metadata blocks.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn compare_blocks(&self, direction: VolumeState) -> Result<(), String> {
        let durable = &self.disk.medium().durable;
        let mut model: Model = self.model.clone();
        model.cut(std::iter::empty());
        let reader = Machine::new(
            durable.clone(),
            self.geometry,
            model.clone(),
            std::sync::Arc::clone(&self.cipher),
            0,
            Weakness::None,
        );
        let opened = JvckMetadataStore::open(&reader, &VMK).and_then(|store| store.load());
        let (offset, found) = opened.map_err(|error| format!("a reader of the blocks alone cannot open: {error}"))?;
        let boundary = offset.sector.get();
        if (boundary, found) != (self.published, direction) {
            let ours = self.published;
            return Err(format!("after a clean stop at {ours}, {direction:?}, the blocks say {boundary}, {found:?}"));
        }
        for sector in 0..self.geometry.data_sectors().get() {
            // A torn sector that its user has just written is torn on the medium until the next flush.
            let kept_away = self.is_fenced(sector) || self.shields.contains(&sector) || model.may_be_fenced(sector);
            let bytes = self.plaintext(durable, sector, boundary);
            if !kept_away && !model.accepts(sector, &bytes) {
                return Err(format!(
                    "a reader of the blocks alone sees data sector {sector} wrong, boundary {boundary}"
                ));
            }
        }
        Ok(())
    }
}
