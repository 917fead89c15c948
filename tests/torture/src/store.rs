//! The offset store of the machine: the shipped one, watched.

use std::sync::{Mutex, PoisonError};

use vck_common::journal::ConversionJournal;
use vck_common::jvck::JvckMetadataStore;
use vck_common::{
    DataSector, EncryptedOffset, EncryptedOffsetStore, RandomSource, SealedUpdate, VckResult, VolumeState,
};

use crate::heap;
use crate::journal::OwnJournal;
use crate::machine::Machine;
use crate::weak::Weakness;

/// Stands for the VMK.
pub const VMK: [u8; 32] = [0x5A; 32];

/// A [`JvckMetadataStore`] that complains when it is used while a zone is closed.
pub struct WatchedStore<'m> {
    inner: JvckMetadataStore<&'m Machine>,
    machine: &'m Machine,
    weakness: Weakness,
    /// The boundary of the last seal, for the store that lags.
    last: Mutex<Option<DataSector>>,
}

impl<'m> WatchedStore<'m> {
    /// Opens the volume as a boot does.
    ///
    /// # Errors
    /// Those of the shipped store.
    pub fn open(machine: &'m Machine, weakness: Weakness) -> VckResult<Self> {
        let inner = JvckMetadataStore::open(machine, &VMK)?;
        Ok(Self { inner, machine, weakness, last: Mutex::new(None) })
    }

    /// The shipped store.
    #[must_use]
    pub const fn inner(&self) -> &JvckMetadataStore<&'m Machine> {
        &self.inner
    }

    fn watch(&self, what: &str) {
        heap::host(|| {
            let mut world = self.machine.world();
            if world.is_closed() {
                world.complain(|| format!("the store is asked to {what} while a zone is closed"));
            }
        });
    }
}

impl EncryptedOffsetStore for WatchedStore<'_> {
    fn load(&self) -> VckResult<(EncryptedOffset, VolumeState)> {
        self.inner.load()
    }

    fn seal(
        &self,
        offset: DataSector,
        state: VolumeState,
        random: &dyn RandomSource,
        out: &mut SealedUpdate,
    ) -> VckResult<()> {
        self.watch("seal");
        let before = self.last.lock().unwrap_or_else(PoisonError::into_inner).replace(offset);
        let lags = self.weakness == Weakness::StoreSealsOldBoundary;
        self.inner.seal(before.filter(|_| lags).unwrap_or(offset), state, random, out)
    }

    fn sealed_is_durable(&self, offset: DataSector, state: VolumeState) {
        self.inner.sealed_is_durable(offset, state);
    }

    fn needs_rewrite(&self) -> bool {
        self.inner.needs_rewrite()
    }

    fn journal(&self) -> VckResult<Option<Box<dyn ConversionJournal>>> {
        self.watch("make a journal");
        if self.weakness.has_own_journal() {
            return Ok(Some(Box::new(OwnJournal::new(*self.inner.geometry(), self.weakness))));
        }
        self.inner.journal()
    }
}
