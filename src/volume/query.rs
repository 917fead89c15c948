//! Answers and commands of the control plane about bound volumes.

use alloc::string::String;
use core::fmt::Write;

use vck_common::{Geometry, VckError, VckResult};

use super::bound::Source;
use super::names::holds_system;
use super::sweeper::Order;
use super::{Core, FilterDevice, owned_text};
use crate::engine::{Command, Progress, State};
use crate::nt::{Held, KVec, Passive};

/// The text of a sweep error, cut to what fits.
pub struct ErrorText {
    bytes: [u8; ErrorText::MAX],
    used: usize,
}

impl ErrorText {
    /// Bytes kept.
    pub const MAX: usize = 160;

    /// The text that a response carries.
    pub fn of(progress: &Progress) -> Self {
        let mut text = Self { bytes: [0; Self::MAX], used: 0 };
        // A text that is cut still says the most important part first.
        let _ = progress.error_text(&mut text);
        text
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.bytes.get(..self.used).unwrap_or_default()).unwrap_or_default()
    }
}

impl Write for ErrorText {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for letter in text.chars() {
            let end = self.used.saturating_add(letter.len_utf8());
            let room = self.bytes.get_mut(self.used..end).ok_or(core::fmt::Error)?;
            letter.encode_utf8(room);
            self.used = end;
        }
        Ok(())
    }
}

/// A bound volume and the state of its conversion. A copy: it keeps neither the volume nor its keys.
pub struct VolumeSnapshot {
    /// The name under which it was prepared.
    pub name: String,
    /// How it came to be attached.
    pub source: Source,
    /// Sizes and positions.
    pub geometry: Geometry,
    /// Its conversion; a provisional one is idle at 0.
    pub progress: Progress,
    /// Whether the filter sits below the file system.
    pub filter_below_file_system: bool,
}

/// FILE_DEVICE_DISK_FILE_SYSTEM.
const FILE_SYSTEM_DEVICE: u32 = 0x08;

impl VolumeSnapshot {
    /// The filter's volume, if it is bound.
    fn of(filter: &Held<FilterDevice>) -> VckResult<Option<Self>> {
        let Some(volume) = filter.volume() else { return Ok(None) };
        let idle = Progress {
            state: State::Idle,
            boundary: vck_common::DataSector::ZERO,
            total: volume.geometry.data_sectors(),
            error: None,
            damage: None,
        };
        let progress = volume.cipher_side.as_ref().map_or(idle, |side| side.sweeper.progress());
        let filter_below_file_system = filter.device().lower().device_type() != FILE_SYSTEM_DEVICE;
        let (name, source, geometry) = (owned_text(&volume.name)?, volume.source, volume.geometry);
        Ok(Some(Self { name, source, geometry, progress, filter_below_file_system }))
    }
}

/// Nothing in this driver opens a volume at boot, whatever the PREPARE called it: the system would not start again.
fn check_opened_at_boot(passive: Passive, filter: &FilterDevice) -> VckResult<()> {
    if holds_system(passive, filter)? {
        return Err(VckError::Unsupported(
            "the running system is on this volume: nothing would open it at the next boot",
        ));
    }
    Ok(())
}

impl Core {
    /// The volume known under `path`, without opening anything. For callers who may not make the driver open things.
    pub fn snapshot_by_name(&self, path: &str) -> VckResult<VolumeSnapshot> {
        let filter = self.filter_by_name(path).ok_or(VckError::NotAttached)?;
        VolumeSnapshot::of(&filter)?.ok_or(VckError::NotAttached)
    }

    /// The volume that `path` leads to. Errors: [`VckError::NotAttached`], also for paths that lead nowhere.
    pub fn snapshot(&self, passive: Passive, path: &str) -> VckResult<VolumeSnapshot> {
        let filter = self.filter_by_path(passive, path).map_err(|_| VckError::NotAttached)?;
        VolumeSnapshot::of(&filter)?.ok_or(VckError::NotAttached)
    }

    /// Every bound volume, ascending by the bytes of its name.
    pub fn snapshots(&self) -> VckResult<KVec<VolumeSnapshot>> {
        let mut all = KVec::new();
        let mut outcome = Ok(());
        self.filters.each(|filter| {
            let snapshot = VolumeSnapshot::of(filter).and_then(|found| found.map_or(Ok(()), |one| all.try_push(one)));
            if outcome.is_ok() {
                outcome = snapshot;
            }
        });
        outcome?;
        all.sort_unstable_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
        Ok(all)
    }

    /// Runs a conversion command. Errors: [`VckError::NotAttached`], [`VckError::WrongState`] on a volume without key,
    /// [`VckError::Unsupported`] for encrypting the running system, or the command's own.
    pub fn convert(&self, passive: Passive, path: &str, command: Command) -> VckResult<()> {
        let filter = self.filter_by_path(passive, path).map_err(|_| VckError::NotAttached)?;
        let volume = filter.volume().ok_or(VckError::NotAttached)?;
        let side = volume.cipher_side.as_ref();
        let side = side.ok_or(VckError::WrongState("the volume is prepared but has no key yet: attach it first"))?;
        if command == Command::StartEncrypt {
            check_opened_at_boot(passive, &filter)?;
        }
        side.sweeper.order(passive, Order::Run(command))
    }

    /// PAUSE_OS_VOLUME: pauses the conversion of every OS volume. Errors: the first that one of them met.
    pub fn pause_os_volumes(&self, passive: Passive) -> VckResult<()> {
        let mut outcome = Ok(());
        self.filters.each(|filter| {
            let volume = filter.volume().filter(|volume| volume.source == Source::OsVolume);
            if let Some(side) = volume.as_ref().and_then(|volume| volume.cipher_side.as_ref()) {
                let paused = side.sweeper.order(passive, Order::Run(Command::Suspend));
                outcome = outcome.and(paused);
            }
        });
        outcome
    }
}
