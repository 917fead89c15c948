//! The volume that the demonstration works on: made new in memory, or a copy of the user's own.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use vck_common::jvck::find_block;
use vck_common::{Lba, SectorIo, SectorSize, bpb};
use vck_ntsim::storage::{Disk, DiskConfig, Timing};

use crate::cli::DemoArgs;
use crate::error::{CtlError, CtlResult, Exit};
use crate::file_io::{FileIo, length_of, sector_size_of};
use crate::transport::Destination;

/// Room for two footers of the usual size, in bytes.
pub(super) const FOOTERS: u64 = 2 * 131_072;
/// A slow disk with a short queue: the conversion's large transfers leave time for many small requests of programs.
const DISK: Timing = Timing {
    latency: 300_000,
    read_bandwidth: 60_000_000,
    write_bandwidth: 60_000_000,
    flush: 5_000_000,
    queue_depth: 8,
    jitter: 100_000,
    ..Timing::immediate()
};
/// Bytes copied at once; pieces of zeros are left out, so that holes stay holes.
const PIECE: usize = 64 << 10;

/// A disk, and what is on it.
pub(super) struct Origin {
    pub(super) disk: Disk,
    pub(super) size: SectorSize,
    /// Bytes of the volume, footers included.
    pub(super) bytes: u64,
    /// The user's volume, if there is one.
    pub(super) original: Option<PathBuf>,
    /// What it is, for people.
    pub(super) name: String,
    copy: Option<Copy>,
}

/// A file that goes away with the demonstration.
struct Copy(PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            eprintln!("vckctl: the copy {} cannot be removed: {error}", self.0.display());
        }
    }
}

impl Origin {
    /// What the command line asks for.
    pub(super) fn of(destination: &Destination, args: &DemoArgs) -> CtlResult<Self> {
        if destination.volume.is_some() {
            return Err(CtlError::usage("the demonstration never works on a volume in use")
                .advise("leave --volume away, or give --image FILE --copy"));
        }
        match (&destination.image, args.copy) {
            (Some(image), true) => Self::copied(image, destination.sector_size, args.work_dir.as_deref()),
            (Some(_), false) => Err(CtlError::usage("the demonstration writes to its volume")
                .advise("give --copy: it then works on a copy, and only reads your file")),
            (None, true) => Err(CtlError::usage("--copy needs --image FILE")),
            (None, false) => Self::made(u64::from(args.size) << 20, destination.sector_size),
        }
    }

    fn made(volume: u64, sector_size: Option<u32>) -> CtlResult<Self> {
        let size = SectorSize::new(sector_size.unwrap_or(512)).map_err(|error| CtlError::usage(error.to_string()))?;
        let bytes = volume + FOOTERS;
        let config = DiskConfig::memory(bytes).sectors(size.bytes(), size.bytes()).timing(DISK);
        Ok(Self { disk: disk(config)?, size, bytes, original: None, name: "a new FAT volume".to_owned(), copy: None })
    }

    fn copied(image: &Path, sector_size: Option<u32>, folder: Option<&Path>) -> CtlResult<Self> {
        let size = sector_size_of(image, sector_size)?;
        let original = FileIo::open(image, size)?;
        let library = |error| CtlError::library("look at", &image.display().to_string(), error);
        if find_block(&original).map_err(library)?.is_some() {
            let text = format!("{} is prepared already: the demonstration starts with a plain volume", image.display());
            return Err(CtlError::new(Exit::Conflict, text));
        }
        let folder = folder.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let target = folder.join(format!("vckctl-demo-{}.img", std::process::id()));
        // Never over a file that exists; and only what was made here is removed again.
        let file = File::options().write(true).create_new(true).open(&target);
        let file = file.map_err(|error| CtlError::file("create", &target, &error))?;
        let copy = Copy(target.clone());
        let bytes = sparse_copy(image, file, &target)?;
        // No volatile cache: every write goes straight into the file.
        let config = DiskConfig::image(&target, bytes).sectors(size.bytes(), size.bytes()).volatile_cache(false);
        Ok(Self {
            disk: disk(config.timing(DISK))?,
            size,
            bytes,
            original: Some(image.to_owned()),
            name: format!("a copy of {}", image.display()),
            copy: Some(copy),
        })
    }

    /// The file that is worked on, if it is one.
    pub(super) fn copy_path(&self) -> Option<&Path> {
        self.copy.as_ref().map(|copy| copy.0.as_path())
    }

    /// Whether the volume has a FAT file system, or will get one.
    pub(super) fn is_fat(&self) -> CtlResult<bool> {
        let Some(original) = &self.original else { return Ok(true) };
        let mut boot = vec![0; self.size.usize()];
        let read = FileIo::open(original, self.size)?.read_sectors(Lba::ZERO, &mut boot);
        read.map_err(|error| CtlError::library("read", &original.display().to_string(), error))?;
        Ok(bpb::recognise(&boot).is_some_and(|found| found.kind == bpb::FileSystemKind::Fat))
    }
}

fn disk(config: DiskConfig) -> CtlResult<Disk> {
    Disk::new(config).map_err(|error| CtlError::failure(format!("the disk cannot be made: {error}")))
}

/// Copies what is not zero, and makes the copy larger by the footers' room; its length.
fn sparse_copy(from: &Path, mut target: File, to: &Path) -> CtlResult<u64> {
    let bytes = length_of(from)? + FOOTERS;
    let mut source = File::open(from).map_err(|error| CtlError::file("open", from, &error))?;
    target.set_len(bytes).map_err(|error| CtlError::file("grow", to, &error))?;
    let (mut at, mut piece) = (0, vec![0; PIECE]);
    loop {
        let count = source.read(&mut piece).map_err(|error| CtlError::file("read", from, &error))?;
        if count == 0 {
            return Ok(bytes);
        }
        if piece[..count].iter().any(|byte| *byte != 0) {
            let written = target.seek(SeekFrom::Start(at)).and_then(|_| target.write_all(&piece[..count]));
            written.map_err(|error| CtlError::file("write", to, &error))?;
        }
        at += count as u64;
    }
}
