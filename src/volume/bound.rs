//! A volume that a filter is bound to.

use alloc::boxed::Box;
use alloc::string::String;

use vck_common::{DataExtent, DataSector, EncryptedOffsetStore, Geometry, NtStatus, VckError, VckResult, VolumeCipher};

use super::load::Load;
use super::sweeper::Sweeper;
use crate::engine::Sweep;
use crate::io::VolumeIo;
use crate::nt::Event;
use crate::sync::{Access, Native, RangeGate, Refused, Wake};

/// How the volume came to be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Taken over from a boot loader, or prepared as the OS volume.
    OsVolume,
    /// Attached by a program.
    DataVolume,
}

/// One bound volume, shared by the requests inside, the sweep and the control plane.
pub struct Volume {
    /// The name under which it was prepared: the spelling that LIST and STATUS report.
    pub name: String,
    /// How it came to be attached.
    pub source: Source,
    /// Sizes and positions.
    pub geometry: Geometry,
    /// Whether its metadata was written by the PREPARE that bound it, so that nothing can be encrypted yet.
    pub fresh: bool,
    /// Cipher and conversion; none while provisional.
    pub cipher_side: Option<CipherSide>,
}

/// What a complete volume has and a provisional one lacks.
pub struct CipherSide {
    /// The sector cipher.
    pub cipher: Box<dyn VolumeCipher>,
    /// Where boundary and direction are persisted.
    pub store: Box<dyn EncryptedOffsetStore>,
    /// What the provider was given to reach the volume with; revoked when the volume is released.
    pub lent: VolumeIo,
    /// Admission of requests, and the boundary.
    pub gate: RangeGate<Native>,
    /// Signalled when the last request may have left a closed zone.
    pub drained: Event,
    /// The conversion.
    pub sweeper: Sweeper,
    /// What the volume is used for besides.
    pub(super) load: Load,
}

/// Whether a request that leaves must be followed by anything; see [`CipherSide::leave`].
pub type Leave = Wake;

impl CipherSide {
    /// A complete side with `sweep` not started yet.
    pub fn try_new(
        geometry: &Geometry,
        sweep: &Sweep,
        cipher: Box<dyn VolumeCipher>,
        store: Box<dyn EncryptedOffsetStore>,
        lent: VolumeIo,
    ) -> VckResult<Self> {
        let progress = sweep.snapshot();
        let gate = RangeGate::new(geometry.sector_size(), progress.boundary)?;
        if !sweep.damaged().iter().all(|damaged| gate.shield(damaged.sector)) {
            return Err(VckError::BadBlock("more sectors are damaged than the gate can shield"));
        }
        if let Some(zone) = sweep.fenced() {
            gate.fence(zone, progress.error.map_or(NtStatus::IO_DEVICE_ERROR, |error| error.status));
        }
        Ok(Self {
            cipher,
            store,
            lent,
            gate,
            drained: Event::try_new()?,
            sweeper: Sweeper::try_new(progress)?,
            load: Load::new(),
        })
    }

    /// Admits a request; see [`RangeGate::enter`].
    pub fn enter(&self, extent: DataExtent, access: Access) -> Result<DataSector, Refused> {
        let boundary = self.gate.enter(extent, access)?;
        self.load.entered(extent);
        Ok(boundary)
    }

    /// A write to `extent` succeeded. To be called before it leaves.
    pub fn wrote(&self, extent: DataExtent) {
        if self.gate.heal(extent) {
            // So that the record learns of it.
            self.sweeper.wake();
        }
    }

    /// Ends a request's stay in `extent`.
    pub fn leave(&self, extent: DataExtent) {
        self.load.left(extent);
        self.wake(self.gate.leave(extent));
    }

    /// Does what the gate asks for.
    pub fn wake(&self, wake: Wake) {
        if wake == Wake::Waiter {
            self.drained.set();
        }
    }
}

impl Volume {
    /// Whether sectors exist in the sweep's memory only, because the device took neither their old nor their new content.
    #[must_use]
    pub fn holds_only_copy(&self) -> bool {
        self.cipher_side.as_ref().is_some_and(|side| side.sweeper.holds_only_copy())
    }

    /// Whether any sector is, or may soon be, ciphertext.
    #[must_use]
    pub fn has_ciphertext(&self) -> bool {
        self.cipher_side.as_ref().is_some_and(|side| side.gate.boundary() > DataSector::ZERO)
    }
}
