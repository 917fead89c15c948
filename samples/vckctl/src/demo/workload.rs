//! A program that uses the volume while it is converted: a simulated user thread with a FAT file system and a handle on
//! the volume, checking everything it reads.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fatfs::FileSystem;
use vck_common::NtStatus;
use vck_common::wire::codes::GET_PROGRESS;
use vck_common::wire::{ProgressEvent, VolumeRequest, decode_response, encode_request};
use vck_ntsim::pnp::VolumeId;
use vck_ntsim::user::{Access, Handle, Share, User};

use super::content::{self, STAMP, Spec, UNIT};
use super::rng::Rng;
use super::streams::{Mounted, io_error, open_fat};
use super::watch::Watch;
use crate::transport::simulated::CONTROL;

/// Sectors that one conversion step covers, as far as the workload cares: it aims at both ends of the step under way.
const STEP: u64 = (1 << 20) / 512;
/// The volume, as programs open it.
const VOLUME: &str = r"\??\D:";
/// Most sectors on either side of the boundary that one request covers.
const REACH: u64 = 96;

/// What the program did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) file_reads: u64,
    pub(super) file_writes: u64,
    /// Of these, with the boundary inside the file.
    pub(super) reads_inside: u64,
    pub(super) writes_inside: u64,
    /// Requests on the volume's handle.
    pub(super) raw_reads: u64,
    pub(super) raw_writes: u64,
    pub(super) bytes_checked: u64,
}

/// What the host and the program share.
#[derive(Default)]
pub(super) struct Shared {
    stop: AtomicBool,
    failure: Mutex<Option<String>>,
    files: Mutex<BTreeMap<String, (Spec, Vec<u8>)>>,
    tally: Mutex<Tally>,
    generation: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Adds a file that exists with this content.
    pub(super) fn add(&self, spec: Spec, content: Vec<u8>) {
        lock(&self.files).insert(spec.path.clone(), (spec, content));
    }

    /// What every file must hold.
    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        lock(&self.files).iter().map(|(path, (_, content))| (path.clone(), content.clone())).collect()
    }

    pub(super) fn tally(&self) -> Tally {
        *lock(&self.tally)
    }

    pub(super) fn ask_to_stop(&self, stop: bool) {
        self.stop.store(stop, Ordering::Release);
    }

    pub(super) fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut lock(&self.tally));
    }
}

/// What the program needs.
pub(super) struct Workload {
    pub(super) volume: VolumeId,
    pub(super) path: String,
    pub(super) watch: Arc<Watch>,
    pub(super) shared: Arc<Shared>,
    pub(super) seed: u64,
}

impl Workload {
    /// The program. It ends when it is asked to, or when something is wrong.
    pub(super) fn run(self, user: &User<'static>) {
        if let Err(error) = self.work(user) {
            *lock(&self.shared.failure) = Some(error.to_string());
        }
    }

    fn work(&self, user: &User<'static>) -> io::Result<()> {
        let mut rng = Rng::new(self.seed);
        let control = user.open(CONTROL, Access::READ, Share::ALL).map_err(io_error)?;
        let paths: Vec<String> = lock(&self.shared.files).keys().cloned().collect();
        let fat = if paths.is_empty() { None } else { Some(open_fat(Mounted::new(self.volume)?)?) };
        while !self.shared.stop.load(Ordering::Acquire) {
            let (boundary, total) = self.progress(&control)?;
            match (rng.below(4), &fat) {
                (0 | 1, Some(fat)) => self.read_file(fat, self.pick(&mut rng, &paths, boundary), boundary, &mut rng)?,
                (2, Some(fat)) => self.write_file(fat, self.pick(&mut rng, &paths, boundary), boundary, &mut rng)?,
                _ => self.straddle(user, boundary, total, &mut rng)?,
            }
        }
        if let Some(fat) = fat {
            fat.unmount()?;
        }
        self.volume.fs_here().flush().map_err(io_error)
    }

    /// The boundary, and the sectors of the data region.
    fn progress(&self, control: &Handle<'static>) -> io::Result<(u64, u64)> {
        let mut message = [0; 512];
        let request = VolumeRequest { volume_path: &self.path };
        let length = encode_request(&request, &mut message).map_err(io::Error::other)?;
        let answer = control.ioctl(GET_PROGRESS, &message[..length], 512).map_err(io_error)?;
        let event: ProgressEvent<'_> = decode_response(&answer).map_err(io::Error::other)?;
        Ok((event.encrypted_sector, event.total_sectors))
    }

    /// Any file, and every other time the one that the boundary is in.
    fn pick<'a>(&self, rng: &mut Rng, paths: &'a [String], boundary: u64) -> &'a str {
        let any = &paths[rng.index(paths.len())];
        if rng.below(2) == 0 {
            return any;
        }
        let inside = self.watch.stamp_at(boundary).map(|stamp| stamp.file);
        paths.iter().find(|path| inside.is_some() && self.id_of(path) == inside).unwrap_or(any)
    }

    fn id_of(&self, path: &str) -> Option<u32> {
        lock(&self.shared.files).get(path).map(|(spec, _)| spec.id)
    }

    fn is_inside(&self, path: &str, boundary: u64) -> bool {
        let stamp = self.watch.stamp_at(boundary);
        stamp.is_some_and(|stamp| stamp.unit > 0 && Some(stamp.file) == self.id_of(path))
    }

    fn read_file(&self, fat: &FileSystem<Mounted>, path: &str, boundary: u64, rng: &mut Rng) -> io::Result<()> {
        // What is cached would not reach the driver.
        self.volume.fs_here().invalidate().map_err(io_error)?;
        let length = lock(&self.shared.files).get(path).map_or(0, |(_, content)| content.len());
        let from = rng.index(length);
        let count = (1 + rng.index(64 << 10)).min(length - from);
        let mut data = vec![0; count];
        let mut file = fat.root_dir().open_file(path)?;
        file.seek(SeekFrom::Start(from as u64))?;
        file.read_exact(&mut data)?;
        let inside = u64::from(self.is_inside(path, boundary));
        let files = lock(&self.shared.files);
        let expected = files.get(path).and_then(|(_, content)| content.get(from..from + count)).unwrap_or_default();
        if let Some(at) = first_difference(expected, &data) {
            return Err(io::Error::other(format!("{path} differs at byte {} (boundary {boundary})", from + at)));
        }
        drop(files);
        self.shared.count(|tally| {
            tally.file_reads += 1;
            tally.reads_inside += inside;
            tally.bytes_checked += count as u64;
        });
        Ok(())
    }

    fn write_file(&self, fat: &FileSystem<Mounted>, path: &str, boundary: u64, rng: &mut Rng) -> io::Result<()> {
        let Some((spec, length)) =
            lock(&self.shared.files).get(path).map(|(spec, content)| (spec.clone(), content.len()))
        else {
            return Ok(());
        };
        let units = length.div_ceil(UNIT);
        let first = rng.index(units);
        let (from, data) = if rng.below(4) == 0 {
            // A few bytes in the middle of a sector, behind its stamp.
            let from = first * UNIT + STAMP + rng.index(UNIT - STAMP - 16);
            (from, b"edited in place!".to_vec())
        } else {
            let count = (1 + rng.index(64)).min(units - first);
            (first * UNIT, self.fresh(&spec, first, count))
        };
        let count = data.len().min(length.saturating_sub(from));
        let mut file = fat.root_dir().open_file(path)?;
        file.seek(SeekFrom::Start(from as u64))?;
        file.write_all(&data[..count])?;
        drop(file);
        self.patch(path, from, &data[..count]);
        self.volume.fs_here().flush().map_err(io_error)?;
        let inside = u64::from(self.is_inside(path, boundary));
        self.shared.count(|tally| {
            tally.file_writes += 1;
            tally.writes_inside += inside;
        });
        Ok(())
    }

    /// New content for units of a file.
    fn fresh(&self, spec: &Spec, first: usize, count: usize) -> Vec<u8> {
        let generation = self.shared.generation.fetch_add(1, Ordering::Relaxed) + 1;
        content::units(spec.id, u32::try_from(first).unwrap_or(0), count, generation)
    }

    fn patch(&self, path: &str, from: usize, data: &[u8]) {
        let mut files = lock(&self.shared.files);
        let place = files.get_mut(path).and_then(|(_, content)| content.get_mut(from..from + data.len()));
        if let Some(place) = place {
            place.copy_from_slice(data);
        }
    }

    /// Reads, and every other time writes, one piece of the volume that lies on both sides of the boundary.
    fn straddle(&self, user: &User<'static>, boundary: u64, total: u64, rng: &mut Rng) -> io::Result<()> {
        let fs = self.volume.fs_here();
        let target = [boundary, boundary + STEP, boundary.saturating_sub(STEP)][rng.index(3)].min(total);
        let from = target.saturating_sub(1 + rng.below(REACH));
        let count = usize::try_from((target + 1 + rng.below(REACH)).min(total) - from).unwrap_or(1);
        let failed = |action: &str, status| {
            let text = format!("{action} {count} sectors from LBA {from} (boundary {boundary}): {}", io_error(status));
            io::Error::other(text)
        };
        fs.flush().map_err(io_error)?;
        let handle = user.open(VOLUME, Access::READ_WRITE, Share::ALL).map_err(|status| failed("opening", status))?;
        let offset = from * self.watch.sector_size().u64();
        let expected = self.watch.expected(from, count)?;
        let data = handle.read(offset, expected.len()).map_err(|status| failed("reading", status))?;
        if let Some(at) = first_difference(&expected, &data) {
            let lba = from + at as u64 / self.watch.sector_size().u64();
            return Err(io::Error::other(format!("LBA {lba} differs when read (boundary {boundary})")));
        }
        self.shared.count(|tally| {
            tally.raw_reads += 1;
            tally.bytes_checked += data.len() as u64;
        });
        if rng.below(2) == 0 {
            self.rewrite(&handle, from, &expected).map_err(|status| failed("rewriting", status))?;
        }
        Ok(())
    }

    /// Writes new content where the sectors are of one file, the old one elsewhere. The volume is locked meanwhile, as a
    /// program must.
    fn rewrite(&self, handle: &Handle<'static>, from: u64, old: &[u8]) -> Result<(), i32> {
        let size = self.watch.sector_size();
        handle.lock()?;
        let new = self.new_for(from, old.len() / size.usize());
        let data = new.as_ref().map_or(old, |(_, _, data)| data);
        let written = handle.write(from * size.u64(), data)?;
        handle.unlock()?;
        if written != data.len() {
            return Err(NtStatus::END_OF_FILE.0);
        }
        if let Some((path, at, data)) = &new {
            self.patch(path, *at, data);
        }
        self.volume.fs_here().invalidate()?;
        self.shared.count(|tally| tally.raw_writes += 1);
        Ok(())
    }

    /// New content for sectors that are whole units of one file: its path, the offset in it, the bytes.
    fn new_for(&self, from: u64, count: usize) -> Option<(String, usize, Vec<u8>)> {
        if self.watch.sector_size().usize() != UNIT {
            return None;
        }
        let first = self.watch.stamp_at(from)?;
        let in_order = (from..).zip(first.unit..).take(count).all(|(lba, unit)| {
            self.watch.stamp_at(lba).is_some_and(|stamp| stamp.file == first.file && stamp.unit == unit)
        });
        let files = lock(&self.shared.files);
        let (path, (spec, content)) = files.iter().find(|(_, (spec, _))| spec.id == first.file)?;
        let at = usize::try_from(first.unit).ok()? * UNIT;
        let fits = at + count * UNIT <= content.len();
        let (path, spec) = (path.clone(), spec.clone());
        drop(files);
        (in_order && fits).then(|| (path, at, self.fresh(&spec, at / UNIT, count)))
    }
}

/// Where two buffers begin to differ.
pub(super) fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    let differs = a.iter().zip(b).position(|(a, b)| a != b);
    differs.or_else(|| (a.len() != b.len()).then(|| a.len().min(b.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found_in_content_and_length() {
        assert_eq!(first_difference(b"abc", b"abc"), None);
        assert_eq!(first_difference(b"abc", b"abd"), Some(2));
        assert_eq!(first_difference(b"abc", b"ab"), Some(2));
    }
}
