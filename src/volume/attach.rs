//! The attach transaction: one way for PREPARE, ATTACH and re-attach.
//!
//! # Steps
//! `survey` finds the filter and its size, `key` asks the provider, `bind` puts the volume in place. Each takes what the one
//! before gave; what is dropped on the way undoes itself. Nothing is written before the provider has opened the volume as it
//! will be, and nothing is bound before that.
//!
//! # When the file system may stay mounted
//! Only if it sees no change: boundary 0, no header replicas, and it ends inside the data region. Otherwise it is locked
//! before the bind and dismounted after it, so that it mounts again on what it will then see.

use alloc::boxed::Box;

use vck_common::jvck::{ExistingMetadata, JvckMetadataOptions, check_prepared_block, examine_targets};
use vck_common::{
    DataSector, EncryptedOffset, EncryptedOffsetStore, Geometry, Lba, SealedUpdate, SectorIo, VckError, VckResult,
    VolumeCipher, bpb,
};

use super::bound::{CipherSide, Source, Volume};
use super::place::DiskPaths;
use super::{Core, FilterDevice, owned_text};
use crate::engine::{Sweep, SweepConfig};
use crate::io::{DiskPlace, VolumeIdentity, VolumeIo, zeroed};
use crate::nt::{FsControl, Held, OpenFor, Passive, Shared, VolumeHandle, WideString};
use crate::provider::{AttachContext, IoConfig};

/// Transfer size of the provider's accesses: metadata, a few sectors at a time.
const PROVIDER_TRANSFER: usize = 64 * 1024;
/// Transfer size of the sweep: one step.
const SWEEP_TRANSFER: usize = 1024 * 1024;
/// Bytes of a volume that show which file system it carries.
const BOOT_REGION: usize = 4096;

/// A PREPARE request.
pub struct Prepare<'a> {
    /// The name under which the volume will be known.
    pub volume_path: &'a str,
    /// The path to open it by; empty: derived from `volume_path`.
    pub nt_device_path: &'a str,
    /// Counts and size of the metadata replicas.
    pub options: JvckMetadataOptions,
    /// The key; empty: the attach is finished later.
    pub vmk: &'a [u8],
    /// A sealed block to write; empty: the volume has its metadata already.
    pub block: &'a [u8],
    /// OS volume or data volume.
    pub source: Source,
}

/// What an attached volume looks like.
pub struct Attachment {
    /// Sizes and positions.
    pub geometry: Geometry,
    /// Names of its place.
    pub paths: DiskPaths,
    /// First sector of the partition, 0 when unknown.
    pub start: Lba,
    /// Whether the cipher is active.
    pub outcome: AttachOutcome,
}

/// How far an attach got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachOutcome {
    /// Metadata hidden, no cipher yet.
    Provisional,
    /// Cipher active.
    Complete,
}

/// A volume that was found and measured.
struct Surveyed {
    filter: Held<FilterDevice>,
    identity: VolumeIdentity,
    place: DiskPlace,
    io: VolumeIo,
}

/// A volume that the provider has opened.
struct Keyed {
    cipher: Box<dyn VolumeCipher>,
    store: Box<dyn EncryptedOffsetStore>,
    geometry: Geometry,
    boundary: EncryptedOffset,
}

impl Core {
    /// PREPARE: binds a volume, with its key at once if the request has one.
    ///
    /// Errors name the condition; disk and memory are then as before.
    pub fn prepare(&self, passive: Passive, request: &Prepare<'_>) -> VckResult<Attachment> {
        self.transactions.with(passive, |()| {
            let path = if request.nt_device_path.is_empty() { request.volume_path } else { request.nt_device_path };
            let survey = self.survey(passive, path)?;
            let taken = |filter: &Held<FilterDevice>| filter.volume().is_some();
            if taken(&survey.filter) || self.filter_by_name(request.volume_path).as_ref().is_some_and(taken) {
                return Err(VckError::AlreadyAttached);
            }
            if request.block.is_empty() && !request.vmk.is_empty() {
                self.reattach(passive, request, &survey)
            } else {
                self.first_prepare(passive, request, &survey)
            }
        })
    }

    /// ATTACH: gives a provisional volume its key.
    pub fn attach(&self, passive: Passive, path: &str, vmk: &[u8]) -> VckResult<Attachment> {
        self.transactions.with(passive, |()| {
            let survey = self.survey(passive, path)?;
            let volume = survey.filter.volume().ok_or(VckError::NotAttached)?;
            if volume.cipher_side.is_some() {
                return Err(VckError::AlreadyAttached);
            }
            let keyed = self.key(&survey, vmk)?;
            let geometry = keyed.geometry;
            if geometry.offset_sector() != volume.geometry.offset_sector()
                || geometry.data_sectors() != volume.geometry.data_sectors()
            {
                return Err(VckError::ContradictsRequest("the metadata states another layout than the prepare"));
            }
            self.bind(passive, &survey, &volume.name, volume.source, keyed)?;
            Ok(survey.attachment(geometry, AttachOutcome::Complete))
        })
    }

    fn survey(&self, passive: Passive, path: &str) -> VckResult<Surveyed> {
        let filter = self.filter_by_path(passive, path)?;
        let lower = filter.device().lower();
        let identity = VolumeIdentity::query(passive, lower)?;
        let place = DiskPlace::query(passive, lower, identity.sector_size);
        let io = VolumeIo::try_new(lower, identity.sector_size, identity.sectors, PROVIDER_TRANSFER)?;
        Ok(Surveyed { filter, identity, place, io })
    }

    /// A volume whose metadata is there already: the disk decides the layout.
    fn reattach(&self, passive: Passive, request: &Prepare<'_>, survey: &Surveyed) -> VckResult<Attachment> {
        let keyed = self.key(survey, request.vmk)?;
        let geometry = keyed.geometry;
        self.bind(passive, survey, request.volume_path, request.source, keyed)?;
        Ok(survey.attachment(geometry, AttachOutcome::Complete))
    }

    /// A volume that gets its metadata now, or only its size hidden.
    fn first_prepare(&self, passive: Passive, request: &Prepare<'_>, survey: &Surveyed) -> VckResult<Attachment> {
        let (size, sectors) = (survey.identity.sector_size, survey.identity.sectors);
        let mut writes = SealedUpdate::new();
        let mut existing = ExistingMetadata::None;
        let geometry = if request.block.is_empty() {
            request.options.geometry(size, sectors)?
        } else {
            let (_, geometry) = check_prepared_block(request.block, &request.options, size, sectors, &mut writes)?;
            existing = examine_targets(&survey.io, &geometry, request.block)?;
            geometry
        };
        match existing {
            ExistingMetadata::None | ExistingMetadata::Identical => {}
            ExistingMetadata::SameVolume => {
                return Err(VckError::Conflict("the volume has newer metadata of its own: attach it without a block"));
            }
            ExistingMetadata::OtherVolume => {
                return Err(VckError::Conflict("the volume has metadata of another id, the only copy of its keys"));
            }
        }
        survey.check_room(&geometry, existing)?;
        let locked = if geometry.header_count() > 0 { Some(survey.lock(passive)?) } else { None };
        let name = request.volume_path;
        let provisional = Provisional::bind(passive, &survey.filter, name, request.source, geometry)?;
        // The size is hidden now, so the file system cannot grow into the metadata any more.
        survey.check_room(&geometry, existing)?;
        survey.io.stage(passive, writes);
        if request.vmk.is_empty() {
            survey.io.commit_staged(passive)?;
            provisional.keep();
            drop(locked);
            return Ok(survey.attachment(geometry, AttachOutcome::Provisional));
        }
        let keyed = self.key(survey, request.vmk)?;
        if keyed.boundary.sector != DataSector::ZERO {
            return Err(VckError::ContradictsRequest("a new block must state that nothing is encrypted yet"));
        }
        survey.io.commit_staged(passive)?;
        Self::complete(passive, survey, name, request.source, keyed)?;
        provisional.keep();
        drop(locked);
        Ok(survey.attachment(geometry, AttachOutcome::Complete))
    }

    /// Asks the provider, and checks its answer against the volume.
    fn key(&self, survey: &Surveyed, vmk: &[u8]) -> VckResult<Keyed> {
        let context = AttachContext { io: survey.io.clone(), vmk, partition_guid: None, random: &self.random };
        match self.provider.on_attach(&context)? {
            IoConfig::Passthrough => Err(VckError::Unsupported("the provider does not take this volume")),
            IoConfig::Encrypted { cipher, offset_sector, encrypted_offset, offset_store } => {
                let total = encrypted_offset.total_sectors;
                let VolumeIdentity { sector_size, sectors } = survey.identity;
                let geometry = Geometry::whole(sector_size, sectors, offset_sector, total)?;
                if encrypted_offset.sector.get() > total.get() {
                    return Err(VckError::BadBlock("the boundary lies outside the data region"));
                }
                Ok(Keyed { cipher, store: offset_store, geometry, boundary: encrypted_offset })
            }
        }
    }

    /// Binds a keyed volume, around a lock of the file system if that would see a change.
    fn bind(&self, passive: Passive, survey: &Surveyed, name: &str, source: Source, keyed: Keyed) -> VckResult<()> {
        let unchanged = keyed.boundary.sector == DataSector::ZERO && keyed.geometry.offset_sector() == Lba::ZERO;
        if unchanged {
            survey.check_room(&keyed.geometry, ExistingMetadata::None)?;
            return Self::complete(passive, survey, name, source, keyed);
        }
        let locked = survey.lock(passive)?;
        Self::complete(passive, survey, name, source, keyed)?;
        if let Err(error) = locked.control(passive, FsControl::Dismount) {
            if let Some(volume) = survey.filter.volume() {
                self.release(passive, &survey.filter, &volume);
            }
            return Err(error);
        }
        Ok(())
    }

    /// Puts a complete volume in place, with its threads running.
    fn complete(passive: Passive, survey: &Surveyed, name: &str, source: Source, keyed: Keyed) -> VckResult<()> {
        let Keyed { cipher, store, geometry, boundary } = keyed;
        let (_, direction) = store.load()?;
        let sweep = Sweep::new(geometry, boundary.sector, direction, SweepConfig::default())?;
        let side = CipherSide::try_new(&geometry, boundary.sector, cipher, store)?;
        let volume = Volume { name: owned_text(name)?, source, geometry, cipher_side: Some(side) };
        let volume = Shared::try_new(volume)?;
        let VolumeIdentity { sector_size, sectors } = survey.identity;
        let io = VolumeIo::try_new(survey.filter.device().lower(), sector_size, sectors, SWEEP_TRANSFER)?;
        if let Some(side) = &volume.cipher_side {
            side.sweeper.start(passive, &survey.filter, &volume, io, sweep)?;
        }
        survey.filter.put(passive, Some(volume));
        log::info!("attached {name}: boundary {} of {} sectors", boundary.sector.get(), boundary.total_sectors.get());
        Ok(())
    }
}

impl FilterDevice {
    /// Makes `volume` what requests and the control plane see; returns when no request sees the old one.
    pub(super) fn put(&self, passive: Passive, volume: Option<Shared<Volume>>) {
        self.bound.with(|bound| bound.clone_from(&volume));
        drop(self.mode.exchange(passive, volume));
    }
}

impl Surveyed {
    fn attachment(&self, geometry: Geometry, outcome: AttachOutcome) -> Attachment {
        let start = self.place.start.unwrap_or(Lba::ZERO);
        Attachment { geometry, paths: DiskPaths::of(self.place), start, outcome }
    }

    /// Headers need a blank start; footers need a file system that ends before them.
    fn check_room(&self, geometry: &Geometry, existing: ExistingMetadata) -> VckResult<()> {
        let size = self.identity.sector_size;
        let volume = self.identity.sectors.get().saturating_mul(size.u64());
        let bytes = BOOT_REGION.max(size.usize()).min(usize::try_from(volume).unwrap_or(BOOT_REGION));
        let mut boot = zeroed(bytes.saturating_sub(bytes % size.usize()))?;
        self.io.read_sectors(Lba::ZERO, &mut boot)?;
        if geometry.offset_sector() > Lba::ZERO {
            let first = boot.get(..size.usize()).unwrap_or_default();
            let ours = existing == ExistingMetadata::Identical;
            return if ours || bpb::is_blank(first) {
                Ok(())
            } else {
                Err(VckError::NoRoom("header replicas need a volume whose first sector is blank"))
            };
        }
        match bpb::recognise(&boot) {
            Some(found) if found.end > geometry.data_bytes() => {
                Err(VckError::NoRoom("the file system reaches into the metadata region: shrink it first"))
            }
            _ => Ok(()),
        }
    }

    /// Locks the file system. Errors: [`VckError::VolumeInUse`] while files are open.
    fn lock(&self, passive: Passive) -> VckResult<VolumeHandle> {
        self.filter.open_locked(passive)
    }
}

impl FilterDevice {
    /// A handle that holds the file system locked until it is closed.
    pub(super) fn open_locked(&self, passive: Passive) -> VckResult<VolumeHandle> {
        let handle = self.open_control(passive)?;
        handle.control(passive, FsControl::Lock).map_err(|error| match error {
            VckError::Device { .. } => VckError::VolumeInUse,
            other => other,
        })?;
        Ok(handle)
    }

    /// A handle for file-system controls.
    pub(super) fn open_control(&self, passive: Passive) -> VckResult<VolumeHandle> {
        VolumeHandle::open(passive, &WideString::try_new(&self.name)?, OpenFor::Control)
    }
}

/// A provisional bind that undoes itself unless it is kept.
struct Provisional<'a> {
    passive: Passive,
    filter: Option<&'a Held<FilterDevice>>,
}

impl<'a> Provisional<'a> {
    fn bind(
        passive: Passive,
        filter: &'a Held<FilterDevice>,
        name: &str,
        source: Source,
        geometry: Geometry,
    ) -> VckResult<Self> {
        let volume = Volume { name: owned_text(name)?, source, geometry, cipher_side: None };
        filter.put(passive, Some(Shared::try_new(volume)?));
        Ok(Self { passive, filter: Some(filter) })
    }

    fn keep(mut self) {
        self.filter = None;
    }
}

impl Drop for Provisional<'_> {
    fn drop(&mut self) {
        if let Some(filter) = self.filter.take() {
            filter.put(self.passive, None);
        }
    }
}
