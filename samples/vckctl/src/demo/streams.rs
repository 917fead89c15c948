//! What the FAT file system reads and writes: a mounted volume's cache, or plain sectors.

use std::io::{self, Read, Seek, SeekFrom, Write};

use fatfs::{Dir, FileSystem, FsOptions, ReadWriteSeek};
use vck_common::{Lba, NtStatus, SectorIo};
use vck_ntsim::fs::FsVolume;
use vck_ntsim::pnp::VolumeId;

/// A status as an I/O error.
pub(super) fn io_error(status: i32) -> io::Error {
    io::Error::other(NtStatus(status).to_string())
}

fn seek(at: u64, length: u64, to: SeekFrom) -> io::Result<u64> {
    let target = match to {
        SeekFrom::Start(offset) => Some(offset),
        SeekFrom::End(distance) => length.checked_add_signed(distance),
        SeekFrom::Current(distance) => at.checked_add_signed(distance),
    };
    target.ok_or_else(|| io::Error::other("a position before the start"))
}

fn run(at: u64, length: u64, wanted: usize) -> usize {
    usize::try_from(length.saturating_sub(at)).unwrap_or(usize::MAX).min(wanted)
}

/// The cache of a mounted volume, used from a simulated thread: misses and write-backs are paging I/O to the top of the
/// volume's stack.
pub(super) struct Mounted {
    fs: FsVolume<'static>,
    at: u64,
    length: u64,
}

impl Mounted {
    pub(super) fn new(volume: VolumeId) -> io::Result<Self> {
        let fs = volume.fs_here();
        let length = fs.length().map_err(io_error)?;
        Ok(Self { fs, at: 0, length })
    }
}

impl Read for Mounted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = run(self.at, self.length, buf.len());
        let data = self.fs.read(self.at, count).map_err(io_error)?;
        buf[..count].copy_from_slice(&data);
        self.at += count as u64;
        Ok(count)
    }
}

impl Write for Mounted {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let count = run(self.at, self.length, buf.len());
        self.fs.write(self.at, &buf[..count]).map_err(io_error)?;
        self.at += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.fs.flush().map_err(io_error)
    }
}

impl Seek for Mounted {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = seek(self.at, self.length, to)?;
        Ok(self.at)
    }
}

/// Plain sectors, for reading.
pub(super) struct Plain<'a> {
    io: &'a dyn SectorIo,
    at: u64,
}

impl<'a> Plain<'a> {
    pub(super) const fn new(io: &'a dyn SectorIo) -> Self {
        Self { io, at: 0 }
    }

    fn length(&self) -> u64 {
        self.io.total_sectors().get() * self.io.sector_size().u64()
    }
}

impl Read for Plain<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let size = self.io.sector_size();
        let within = usize::try_from(self.at % size.u64()).unwrap_or(0);
        let count = run(self.at, self.length(), buf.len()).min(256 * size.usize());
        let mut sectors = vec![0; (within + count).next_multiple_of(size.usize())];
        if count > 0 {
            self.io.read_sectors(Lba::new(self.at / size.u64()), &mut sectors).map_err(io::Error::other)?;
        }
        buf[..count].copy_from_slice(&sectors[within..within + count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Write for Plain<'_> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("these sectors are only read"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Plain<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = seek(self.at, self.length(), to)?;
        Ok(self.at)
    }
}

/// Opens the FAT file system on something.
pub(super) fn open_fat<T: ReadWriteSeek>(on: T) -> io::Result<FileSystem<T>> {
    FileSystem::new(on, FsOptions::new())
}

/// Calls `each` with path and content of every file, in the order of the folders.
pub(super) fn each_file<T: ReadWriteSeek>(
    dir: &Dir<'_, T>,
    prefix: &str,
    each: &mut impl FnMut(&str, &mut dyn Read) -> io::Result<()>,
) -> io::Result<()> {
    for entry in dir.iter() {
        let entry = entry?;
        let name = entry.file_name();
        let path = format!("{prefix}{name}");
        if entry.is_file() {
            each(&path, &mut entry.to_file())?;
        } else if name != "." && name != ".." {
            each_file(&entry.to_dir(), &format!("{path}/"), each)?;
        }
    }
    Ok(())
}
