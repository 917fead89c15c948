//! Sectors of a plain file or block device.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use vck_common::jvck::JvckMetadataReader;
use vck_common::sector_io::check_extent;
use vck_common::{Durability, Lba, SectorCount, SectorIo, SectorSize, VckError, VckResult};

use crate::error::{CtlError, CtlResult};

/// Sector sizes that are tried when none is given, the likely ones first.
const SIZES: [u32; 4] = [512, 4096, 1024, 2048];

/// A file, sector by sector.
pub(crate) struct FileIo {
    file: Mutex<File>,
    size: SectorSize,
    total: SectorCount,
}

/// Bytes of a file or block device.
pub(crate) fn length_of(path: &Path) -> CtlResult<u64> {
    let mut file = File::open(path).map_err(|error| CtlError::file("open", path, &error))?;
    file.seek(SeekFrom::End(0)).map_err(|error| CtlError::file("measure", path, &error))
}

impl FileIo {
    /// Opens for reading only.
    pub(crate) fn open(path: &Path, size: SectorSize) -> CtlResult<Self> {
        let bytes = length_of(path)?;
        if bytes == 0 || !size.is_aligned(bytes) {
            let text = format!("{} has {bytes} bytes, which is no whole number of {size}-byte sectors", path.display());
            return Err(CtlError::usage(text).advise("give the volume's sector size with --sector-size"));
        }
        let file = File::open(path).map_err(|error| CtlError::file("open", path, &error))?;
        Ok(Self { file: Mutex::new(file), size, total: SectorCount::new(bytes / size.u64()) })
    }

    fn at(&self, lba: Lba, len: usize) -> VckResult<std::sync::MutexGuard<'_, File>> {
        check_extent(self.size, self.total, lba, len)?;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let offset =
            lba.get().checked_mul(self.size.u64()).ok_or(VckError::InvalidData("the extent leaves the file"))?;
        file.seek(SeekFrom::Start(offset)).map_err(|_| VckError::Io("the file cannot be positioned"))?;
        Ok(file)
    }
}

impl SectorIo for FileIo {
    fn sector_size(&self) -> SectorSize {
        self.size
    }

    fn total_sectors(&self) -> SectorCount {
        self.total
    }

    fn read_sectors(&self, lba: Lba, buf: &mut [u8]) -> VckResult<()> {
        let mut file = self.at(lba, buf.len())?;
        file.read_exact(buf).map_err(|_| VckError::Io("the file cannot be read"))
    }

    fn write_sectors(&self, lba: Lba, buf: &[u8], _durability: Durability) -> VckResult<()> {
        // The file is open for reading; the host's refusal is the answer.
        let mut file = self.at(lba, buf.len())?;
        file.write_all(buf).map_err(|_| VckError::Io("the file is open for reading only"))
    }

    fn flush(&self) -> VckResult<()> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.sync_all().map_err(|_| VckError::Io("the file cannot be flushed"))
    }
}

/// The sector size of an image: the one given, else the one its metadata states, else 512.
pub(crate) fn sector_size_of(path: &Path, given: Option<u32>) -> CtlResult<SectorSize> {
    let valid = |bytes| SectorSize::new(bytes).map_err(|error| CtlError::usage(error.to_string()));
    if let Some(bytes) = given {
        return valid(bytes);
    }
    let length = length_of(path)?;
    for bytes in SIZES {
        let size = valid(bytes)?;
        if length > 0 && size.is_aligned(length) && JvckMetadataReader::open(FileIo::open(path, size)?).is_ok() {
            return Ok(size);
        }
    }
    valid(512)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sectors_and_refuses_what_is_outside() {
        let path = std::env::temp_dir().join(format!("vckctl-file-io-{}", std::process::id()));
        std::fs::write(&path, [[1_u8; 512], [2; 512]].concat()).unwrap();
        let io = FileIo::open(&path, SectorSize::S512).unwrap();
        let mut sector = [0; 512];
        io.read_sectors(Lba::new(1), &mut sector).unwrap();
        assert_eq!(sector, [2; 512]);
        assert!(io.read_sectors(Lba::new(2), &mut sector).is_err());
        assert!(io.write_sectors(Lba::new(0), &[9; 512], Durability::AtNextFlush).is_err(), "read only");
        assert!(FileIo::open(&path, SectorSize::S4096).is_err(), "not a whole number of sectors");
        assert_eq!(sector_size_of(&path, None).unwrap(), SectorSize::S512);
        assert!(sector_size_of(&path, Some(1000)).is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(length_of(&path).is_err());
    }
}
