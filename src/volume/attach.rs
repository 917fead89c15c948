//! The attach transaction: one way for PREPARE, ATTACH and re-attach.
//!
//! # Steps
//! `survey` finds the filter and its size, `key` asks the provider, `bind` puts the volume in place. Each takes what the one
//! before gave; what is dropped on the way undoes itself. Nothing is written before the provider has opened the volume as it
//! will be, and nothing is bound before that. A step of a conversion that a loss of power interrupted is finished before the
//! volume is put in place: an attach that fails then has changed only what it found half done.
//!
//! # Going on
//! A conversion that the journal says was running goes on after the volume is in place, except in a volume whose block was
//! written by the PREPARE itself.
//!
//! # When the file system may stay mounted
//! Only if it sees no change: boundary 0, no header replicas, and it ends inside the data region. Otherwise it is locked
//! before the bind and dismounted after it, so that it mounts again on what it will then see.

use alloc::boxed::Box;
use core::time::Duration;

use vck_common::jvck::{ExistingMetadata, JvckMetadataOptions};
use vck_common::{
    Activity, ConversionJournal, DataSector, EncryptedOffsetStore, Geometry, Lba, NtStatus, VckError, VckResult,
    VolumeCipher,
};

use super::bound::{CipherSide, Source, Volume};
use super::place::DiskPaths;
use super::{Core, FilterDevice, owned_text};
use crate::engine::{ConversionPolicy, Opening, Site, Sweep};
use crate::io::{DiskPlace, VolumeIdentity, VolumeIo};
use crate::nt::{
    FsControl, Held, KernelRandom, OpenFor, Passive, Shared, VolumeHandle, WideString, on_wiped_stack, sleep,
};
use crate::provider::{AttachContext, IoConfig};

/// Transfer size of the provider's accesses: metadata, a few sectors at a time.
const PROVIDER_TRANSFER: usize = 64 * 1024;
/// How often a volume that is in use is tried to be locked, and the pause between two tries.
const LOCK_TRIES: usize = 4;
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// Transfer size of the sweep while nobody else uses the volume.
const SWEEP_TRANSFER: usize = 2 * 1024 * 1024;

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

/// A volume that was found and measured. The provider's access to it ends with this value, unless the volume is then bound.
pub(super) struct Surveyed<'a> {
    passive: Passive,
    filter: &'a Held<FilterDevice>,
    pub(super) identity: VolumeIdentity,
    place: DiskPlace,
    pub(super) io: VolumeIo,
}

impl Core {
    /// PREPARE: binds a volume, with its key at once if the request has one.
    ///
    /// Errors name the condition; disk and memory are then as before.
    pub fn prepare(&self, passive: Passive, request: &Prepare<'_>) -> VckResult<Attachment> {
        let path = if request.nt_device_path.is_empty() { request.volume_path } else { request.nt_device_path };
        self.on_filter(passive, path, |filter| {
            let survey = Surveyed::new(passive, filter)?;
            let taken = |filter: &Held<FilterDevice>| filter.volume().is_some();
            if taken(filter) || self.filter_by_name(request.volume_path).as_ref().is_some_and(taken) {
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
        self.on_filter(passive, path, |filter| {
            let survey = Surveyed::new(passive, filter)?;
            let volume = filter.volume().ok_or(VckError::NotAttached)?;
            if volume.cipher_side.is_some() {
                return Err(VckError::AlreadyAttached);
            }
            let keyed = self.key(&survey, &volume.name, vmk)?;
            check_same_layout(keyed.geometry(), &volume.geometry)?;
            if volume.fresh && !keyed.is_all_plain() {
                return Err(NOT_FRESH);
            }
            let geometry = *keyed.geometry();
            bind(passive, &survey, &volume.name, volume.source, keyed.fresh(volume.fresh))?;
            Ok(survey.attachment(geometry, AttachOutcome::Complete))
        })
    }

    /// A volume whose metadata is there already: the disk decides the layout.
    fn reattach(&self, passive: Passive, request: &Prepare<'_>, survey: &Surveyed<'_>) -> VckResult<Attachment> {
        let keyed = self.key(survey, request.volume_path, request.vmk)?;
        let geometry = *keyed.geometry();
        bind(passive, survey, request.volume_path, request.source, keyed)?;
        Ok(survey.attachment(geometry, AttachOutcome::Complete))
    }

    /// A volume that gets its metadata now, or only its size hidden.
    fn first_prepare(&self, passive: Passive, request: &Prepare<'_>, survey: &Surveyed<'_>) -> VckResult<Attachment> {
        let (geometry, existing, writes) = survey.plan(request)?;
        survey.check_room(&geometry, existing)?;
        // The start of the volume moves under a mount: it must end before. The lock keeps others from mounting.
        let locked = if geometry.header_count() > 0 { Some(survey.dismounted(passive)?) } else { None };
        let (name, fresh) = (request.volume_path, !request.block.is_empty());
        let provisional = Provisional::bind(passive, survey.filter, name, request.source, geometry, fresh)?;
        // The size is hidden now, so the file system cannot grow into the metadata any more.
        survey.check_room(&geometry, existing)?;
        survey.io.stage(passive, writes);
        let outcome = if request.vmk.is_empty() {
            survey.io.commit_staged(passive)?;
            AttachOutcome::Provisional
        } else {
            let mut keyed = self.key(survey, name, request.vmk)?;
            check_same_layout(keyed.geometry(), &geometry)?;
            if !keyed.is_all_plain() {
                return Err(NOT_FRESH);
            }
            if existing == ExistingMetadata::Identical {
                // The block is there already, and a record may be: that is restated before it is acted on, as always.
                survey.io.commit_staged(passive)?;
                keyed.recover(survey)?;
            }
            let built = Built::new(passive, survey, name, request.source, keyed.fresh(true))?;
            survey.io.commit_staged(passive)?;
            built.put();
            AttachOutcome::Complete
        };
        provisional.keep();
        drop(locked);
        Ok(survey.attachment(geometry, outcome))
    }

    /// Asks the provider, and checks its answer against the volume.
    fn key<'a>(&'a self, survey: &Surveyed<'_>, name: &'a str, vmk: &[u8]) -> VckResult<Keyed<'a>> {
        let context = AttachContext {
            io: survey.io.clone(),
            vmk,
            partition_guid: None,
            random: &self.random,
            features: self.features,
        };
        // What it derives leaves copies on the stack; they end here.
        match on_wiped_stack(|| self.provider.on_attach(&context))? {
            IoConfig::Passthrough => Err(VckError::Unsupported("the provider does not take this volume")),
            IoConfig::Encrypted { cipher, offset_sector, encrypted_offset, offset_store, policy } => {
                let opened = Opened { core: self, name };
                let total = encrypted_offset.total_sectors;
                let VolumeIdentity { sector_size, sectors } = survey.identity;
                let geometry = Geometry::whole(sector_size, sectors, offset_sector, total)?;
                if encrypted_offset.sector.get() > total.get() {
                    return Err(VckError::BadBlock("the boundary lies outside the data region"));
                }
                let mut journal = offset_store.journal()?;
                let site = survey.site(&*cipher, &*offset_store, &geometry, &policy);
                let opening = Opening::examine(&site, &mut journal)?;
                let parts =
                    KeyedParts { cipher, store: offset_store, geometry, journal, opening, policy, fresh: false };
                Ok(Keyed { parts, opened })
            }
        }
    }
}

const NOT_FRESH: VckError = VckError::ContradictsRequest("a new block must state that nothing is encrypted yet");

fn check_same_layout(found: &Geometry, expected: &Geometry) -> VckResult<()> {
    if found.offset_sector() == expected.offset_sector() && found.data_sectors() == expected.data_sectors() {
        Ok(())
    } else {
        Err(VckError::ContradictsRequest("the metadata states another layout than the prepare"))
    }
}

/// Binds a keyed volume; around a lock and a dismount of the file system if that would see a change.
fn bind(passive: Passive, survey: &Surveyed<'_>, name: &str, source: Source, keyed: Keyed<'_>) -> VckResult<()> {
    let geometry = *keyed.geometry();
    let mut keyed = keyed;
    // Nobody but the attached volume knows which sectors are damaged, so a write to one would not be seen to heal it.
    let whole = keyed.parts.opening.damaged.as_slice().is_empty();
    let unchanged = keyed.is_all_plain() && whole && geometry.offset_sector() == Lba::ZERO;
    if !unchanged {
        // The handle keeps the lock until the volume is in place: nothing can mount on what it was.
        let _locked = survey.dismounted(passive)?;
        keyed.recover(survey)?;
        Built::new(passive, survey, name, source, keyed)?.put();
        return Ok(());
    }
    survey.check_room(&geometry, ExistingMetadata::Identical)?;
    let provisional = Provisional::bind(passive, survey.filter, name, source, geometry, false)?;
    // Again, with the size hidden.
    survey.check_room(&geometry, ExistingMetadata::Identical)?;
    keyed.recover(survey)?;
    Built::new(passive, survey, name, source, keyed)?.put();
    provisional.keep();
    Ok(())
}

/// A volume that the provider has opened; it is told to let go unless the volume is put in place.
struct Keyed<'a> {
    parts: KeyedParts,
    opened: Opened<'a>,
}

struct KeyedParts {
    cipher: Box<dyn VolumeCipher>,
    store: Box<dyn EncryptedOffsetStore>,
    geometry: Geometry,
    journal: Option<Box<dyn ConversionJournal>>,
    opening: Opening,
    policy: ConversionPolicy,
    fresh: bool,
}

impl Keyed<'_> {
    fn geometry(&self) -> &Geometry {
        &self.parts.geometry
    }

    /// Whether no sector is ciphertext, as far as metadata and journal tell.
    fn is_all_plain(&self) -> bool {
        self.parts.opening.boundary == DataSector::ZERO && self.parts.opening.unfinished.is_empty()
    }

    /// The same volume; `fresh`: its block was written by a PREPARE of now.
    fn fresh(mut self, fresh: bool) -> Self {
        self.parts.fresh = fresh;
        self
    }

    /// Settles what the journal says, and finishes an interrupted step; what is mounted sees no sector of it.
    fn recover(&mut self, survey: &Surveyed<'_>) -> VckResult<()> {
        let KeyedParts { cipher, store, geometry, journal, opening, policy, .. } = &mut self.parts;
        let unfinished = opening.unfinished;
        let passive = survey.passive;
        let site = survey.site(&**cipher, &**store, geometry, policy);
        opening.finish_patiently(&site, journal, &|pause| sleep(passive, pause))?;
        if opening.fenced {
            log::error!(
                "a conversion was interrupted, and {} sectors at {} can be brought to neither side: all I/O to them fails \
                 until a START succeeds",
                unfinished.count,
                unfinished.first
            );
        } else if !unfinished.is_empty() {
            log::warn!("a conversion was interrupted; the step at {} was finished or undone", unfinished.first);
        }
        for damaged in opening.damaged.as_slice() {
            log::error!(
                "sector {} is damaged ({:?}): it reads as an error until it is written",
                damaged.sector,
                damaged.damage
            );
        }
        Ok(())
    }
}

/// The provider's side of an attach that is under way.
struct Opened<'a> {
    core: &'a Core,
    name: &'a str,
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.core.provider_lets_go(self.name);
    }
}

/// A complete volume with its threads running, in nobody's way yet. Dropping it ends them.
struct Built<'a> {
    passive: Passive,
    filter: &'a Held<FilterDevice>,
    volume: Option<Shared<Volume>>,
    goes_on: bool,
    _opened: Opened<'a>,
}

impl<'a> Built<'a> {
    fn new(
        passive: Passive,
        survey: &'a Surveyed<'a>,
        name: &str,
        source: Source,
        keyed: Keyed<'a>,
    ) -> VckResult<Self> {
        let Keyed { parts: KeyedParts { cipher, store, geometry, journal, opening, policy, fresh }, opened } = keyed;
        let goes_on = opening.activity == Activity::Running && !fresh;
        let sweep = Sweep::new(geometry, opening, journal, policy)?;
        let side = CipherSide::try_new(&geometry, &sweep, cipher, store, survey.io.clone())?;
        let (boundary, total) = (side.gate.boundary(), geometry.data_sectors());
        let volume = Volume { name: owned_text(name)?, source, geometry, fresh: false, cipher_side: Some(side) };
        let volume = Shared::try_new(volume)?;
        let VolumeIdentity { sector_size, sectors } = survey.identity;
        let (lower, flushes) = (survey.filter.device().lower(), survey.filter.flushes.clone());
        let io = VolumeIo::try_new(lower, flushes, sector_size, sectors, SWEEP_TRANSFER)?;
        if let Some(side) = &volume.cipher_side {
            side.sweeper.start(passive, survey.filter, &volume, io, sweep)?;
        }
        log::info!("attaching {name}: boundary {boundary} of {total} sectors");
        Ok(Self { passive, filter: survey.filter, volume: Some(volume), goes_on, _opened: opened })
    }

    /// Makes it what requests and the control plane see.
    fn put(self) {
        let mut built = core::mem::ManuallyDrop::new(self);
        let volume = built.volume.take();
        built.filter.put(built.passive, volume.clone());
        // Only now, when no request is left that does not know the gate.
        if let Some(side) = volume.as_ref().and_then(|volume| volume.cipher_side.as_ref())
            && let Err(error) = side.sweeper.begin(built.passive, built.goes_on)
        {
            log::error!("the conversion does not go on: {error}");
        }
    }
}

impl Drop for Built<'_> {
    fn drop(&mut self) {
        if let Some(side) = self.volume.take().as_ref().and_then(|volume| volume.cipher_side.as_ref()) {
            side.sweeper.end(self.passive, self.filter);
        }
    }
}

impl FilterDevice {
    /// Makes `volume` what requests and the control plane see; returns when no request sees the old one.
    ///
    /// The control plane learns of a volume last and of its end first: a conversion may begin only when no request is
    /// left that was dispatched without the volume's gate.
    pub(super) fn put(&self, passive: Passive, volume: Option<Shared<Volume>>) {
        let before = self.bound.with(Option::take);
        drop(self.mode.exchange(passive, volume.clone()));
        self.bound.with(|bound| *bound = volume);
        drop(before);
    }
}

impl Drop for Surveyed<'_> {
    fn drop(&mut self) {
        let bound = |side: &CipherSide| side.lent.is(&self.io);
        if !self.filter.is_bound_to(|volume| volume.cipher_side.as_ref().is_some_and(bound)) {
            self.io.revoke(self.passive);
        }
    }
}

impl<'a> Surveyed<'a> {
    fn new(passive: Passive, filter: &'a Held<FilterDevice>) -> VckResult<Self> {
        let lower = filter.device().lower();
        let identity = VolumeIdentity::query(passive, lower)?;
        let place = DiskPlace::query(passive, lower, identity.sector_size);
        let flushes = filter.flushes.clone();
        let io = VolumeIo::try_new(lower, flushes, identity.sector_size, identity.sectors, PROVIDER_TRANSFER)?;
        Ok(Self { passive, filter, identity, place, io })
    }

    fn attachment(&self, geometry: Geometry, outcome: AttachOutcome) -> Attachment {
        let start = self.place.start.unwrap_or(Lba::ZERO);
        Attachment { geometry, paths: DiskPaths::of(self.place), start, outcome }
    }
}

impl Surveyed<'_> {
    fn site<'b>(
        &'b self,
        cipher: &'b dyn VolumeCipher,
        store: &'b dyn EncryptedOffsetStore,
        geometry: &'b Geometry,
        policy: &ConversionPolicy,
    ) -> Site<'b> {
        let bad_sectors = policy.bad_sectors;
        Site { io: &self.io, cipher, store, random: &KernelRandom, geometry, bad_sectors }
    }

    /// A handle under whose lock the file system has been dismounted: nothing mounts until it is closed.
    fn dismounted(&self, passive: Passive) -> VckResult<VolumeHandle> {
        let handle = self.filter.open_locked(passive)?;
        handle.control(passive, FsControl::Dismount)?;
        Ok(handle)
    }
}

impl FilterDevice {
    /// A handle that holds the file system locked until it is closed. Somebody who has the volume open for a moment only, another
    /// control that looks at its path for instance, is waited for.
    pub(super) fn open_locked(&self, passive: Passive) -> VckResult<VolumeHandle> {
        for _ in 1..LOCK_TRIES {
            match self.try_open_locked(passive) {
                Err(VckError::VolumeInUse) => sleep(passive, LOCK_PAUSE),
                result => return result,
            }
        }
        self.try_open_locked(passive)
    }

    fn try_open_locked(&self, passive: Passive) -> VckResult<VolumeHandle> {
        // While somebody else holds the lock the open itself fails.
        let in_use = |error| match error {
            VckError::Device { status: NtStatus::ACCESS_DENIED | NtStatus::SHARING_VIOLATION, .. } => {
                VckError::VolumeInUse
            }
            other => other,
        };
        let handle = self.open_control(passive).map_err(in_use)?;
        handle.control(passive, FsControl::Lock).map_err(in_use)?;
        Ok(handle)
    }

    /// A handle for file-system controls.
    pub(super) fn open_control(&self, passive: Passive) -> VckResult<VolumeHandle> {
        VolumeHandle::open(passive, &WideString::try_new(&self.name)?, OpenFor::Control)
    }
}

/// A provisional bind that gives way to what was before unless it is kept.
struct Provisional<'a> {
    passive: Passive,
    filter: Option<&'a Held<FilterDevice>>,
    before: Option<Shared<Volume>>,
}

impl<'a> Provisional<'a> {
    fn bind(
        passive: Passive,
        filter: &'a Held<FilterDevice>,
        name: &str,
        source: Source,
        geometry: Geometry,
        fresh: bool,
    ) -> VckResult<Self> {
        let volume = Volume { name: owned_text(name)?, source, geometry, fresh, cipher_side: None };
        let volume = Shared::try_new(volume)?;
        let before = filter.volume();
        filter.put(passive, Some(volume));
        Ok(Self { passive, filter: Some(filter), before })
    }

    fn keep(mut self) {
        self.filter = None;
    }
}

impl Drop for Provisional<'_> {
    fn drop(&mut self) {
        if let Some(filter) = self.filter.take() {
            filter.put(self.passive, self.before.take());
        }
    }
}
