//! What is compared: the medium with the shadow, the files with what was written into them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::io;

use fatfs::{Dir, ReadWriteSeek};
use vck_common::jvck::JvckMetadataStore;
use vck_common::{DataSector, Geometry, Lba, SectorIo, VolumeCipher, XtsVolumeCipher};

use super::content::MARKER;
use super::streams::each_file;
use super::watch::Watch;
use super::workload::first_difference;
use crate::error::{CtlError, CtlResult};

/// Sectors compared at once.
const CHUNK: u64 = 2048;

/// What every file of a volume holds, in a form that is small enough to keep: length and hash.
pub(super) type Manifest = BTreeMap<String, (u64, u64)>;

/// Reads every file.
pub(super) fn manifest<T: ReadWriteSeek>(root: &Dir<'_, T>) -> io::Result<Manifest> {
    let mut all = Manifest::new();
    each_file(root, "", &mut |path, content| {
        let (mut hasher, mut length, mut buffer) = (DefaultHasher::new(), 0, vec![0; 64 << 10]);
        loop {
            let count = content.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            hasher.write(&buffer[..count]);
            length += count as u64;
        }
        all.insert(path.to_owned(), (length, hasher.finish()));
        Ok(())
    })?;
    Ok(all)
}

/// Adds what the demonstration's files must hold.
pub(super) fn with_files(mut base: Manifest, files: &BTreeMap<String, Vec<u8>>) -> Manifest {
    for (path, content) in files {
        let mut hasher = DefaultHasher::new();
        hasher.write(content);
        base.insert(path.clone(), (content.len() as u64, hasher.finish()));
    }
    base
}

/// An error that names the first file that is not what it must be.
pub(super) fn compare_files(expected: &Manifest, found: &Manifest, where_read: &str) -> CtlResult<()> {
    for (path, known) in expected {
        let problem = match found.get(path) {
            Some(read) if read == known => continue,
            Some((length, _)) if *length != known.0 => format!("has {length} bytes instead of {}", known.0),
            Some(_) => "has another content".to_owned(),
            None => "is missing".to_owned(),
        };
        return Err(CtlError::failure(format!("{path} {problem} ({where_read})")));
    }
    match found.keys().find(|path| !expected.contains_key(*path)) {
        Some(path) => Err(CtlError::failure(format!("{path} should not exist ({where_read})"))),
        None => Ok(()),
    }
}

fn each_chunk(
    medium: &dyn SectorIo,
    watch: &Watch,
    sectors: u64,
    mut each: impl FnMut(u64, &mut [u8], &[u8]) -> CtlResult<()>,
) -> CtlResult<()> {
    let size = medium.sector_size().usize();
    let mut lba = 0;
    while lba < sectors {
        let count = usize::try_from(CHUNK.min(sectors - lba)).unwrap_or(0);
        let mut raw = vec![0; count * size];
        let read = medium.read_sectors(Lba::new(lba), &mut raw);
        read.map_err(|error| CtlError::failure(format!("the medium cannot be read at LBA {lba}: {error}")))?;
        let expected = watch.expected(lba, count);
        let expected = expected.map_err(|error| CtlError::failure(format!("the original cannot be read: {error}")))?;
        each(lba, &mut raw, &expected)?;
        lba += count as u64;
    }
    Ok(())
}

fn same(lba: u64, size: usize, expected: &[u8], found: &[u8], what: &str) -> CtlResult<()> {
    let Some(at) = first_difference(expected, found) else { return Ok(()) };
    let sector = lba + (at / size) as u64;
    Err(CtlError::failure(format!(
        "LBA {sector}, byte {}: {what} is {:#04x}, {:#04x} was expected",
        at % size,
        found.get(at).copied().unwrap_or_default(),
        expected.get(at).copied().unwrap_or_default(),
    )))
}

/// The medium must hold ciphertext in every sector of the data region, no marker of the files, and exactly the ciphertext of
/// what was written: it is decrypted here with the keys of the metadata, without the driver.
pub(super) fn is_ciphertext(medium: &dyn SectorIo, watch: &Watch, key: &[u8]) -> CtlResult<u64> {
    let library = |error| CtlError::library("open", "the raw medium", error);
    let store = JvckMetadataStore::open(medium, key).map_err(library)?;
    let secrets = store.fvek_keys();
    let cipher = XtsVolumeCipher::new(secrets.fvek_key1.expose(), secrets.fvek_key2.expose()).map_err(library)?;
    let size = medium.sector_size();
    let sectors = store.geometry().data_sectors().get();
    each_chunk(medium, watch, sectors, |lba, raw, expected| {
        if let Some(at) = raw.windows(MARKER.len()).position(|bytes| bytes == MARKER) {
            let sector = lba + (at / size.usize()) as u64;
            return Err(CtlError::failure(format!("plaintext of a file is on the raw medium at LBA {sector}")));
        }
        let pairs = raw.chunks_exact(size.usize()).zip(expected.chunks_exact(size.usize()));
        if let Some((sector, _)) = (lba..).zip(pairs).find(|(_, (raw, plain))| raw == plain) {
            return Err(CtlError::failure(format!("LBA {sector} is not encrypted on the raw medium")));
        }
        cipher.decrypt_area(raw, size, DataSector::new(lba));
        same(lba, size.usize(), expected, raw, "the decrypted content")
    })?;
    Ok(sectors)
}

/// The medium must hold exactly what was written.
pub(super) fn is_plaintext(medium: &dyn SectorIo, watch: &Watch, geometry: &Geometry) -> CtlResult<u64> {
    let sectors = geometry.data_sectors().get();
    each_chunk(medium, watch, sectors, |lba, raw, expected| {
        same(lba, medium.sector_size().usize(), expected, raw, "the medium's content")
    })?;
    Ok(sectors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::rng::SeededRandom;
    use vck_common::jvck::{JvckCbcCodec, JvckMetadataOptions, JvckSecrets};
    use vck_common::{Durability, MemoryIo, SectorCount, SectorSize, VolumeState};

    const VMK: [u8; 32] = [7; 32];
    const SIZE: SectorSize = SectorSize::S512;
    /// Sectors of the data region.
    const DATA: u64 = 256;

    /// A volume that held zeros and is fully encrypted.
    fn encrypted() -> (MemoryIo, XtsVolumeCipher) {
        let medium = MemoryIo::new(SIZE, SectorCount::new(DATA + 512)).unwrap();
        let secrets = JvckSecrets::copy_from(&[1; 32], &[2; 32]);
        let (options, random) = (JvckMetadataOptions::default(), SeededRandom::new(1));
        let store =
            JvckMetadataStore::create(&medium, &VMK, &options, secrets, [3; 16], JvckCbcCodec, &random).unwrap();
        assert_eq!(store.geometry().data_sectors().get(), DATA);
        store.persist(DataSector::new(DATA), VolumeState::Encrypt, &random).unwrap();
        drop(store);
        let cipher = XtsVolumeCipher::new(&[1; 32], &[2; 32]).unwrap();
        for lba in 0..DATA {
            plant(&medium, &cipher, lba, [0; 512]);
        }
        (medium, cipher)
    }

    /// Puts the ciphertext of `plain` on the medium.
    fn plant(medium: &MemoryIo, cipher: &XtsVolumeCipher, lba: u64, mut plain: [u8; 512]) {
        cipher.encrypt_area(&mut plain, SIZE, DataSector::new(lba));
        medium.write_sectors(Lba::new(lba), &plain, Durability::AtNextFlush).unwrap();
    }

    fn verdict(medium: &MemoryIo) -> CtlResult<u64> {
        is_ciphertext(medium, &Watch::new(SIZE, None), &VMK)
    }

    #[test]
    fn a_sector_that_was_left_in_plaintext_is_found() {
        let (medium, _) = encrypted();
        assert_eq!(verdict(&medium).unwrap(), DATA);
        medium.write_sectors(Lba::new(DATA - 1), &[0; 512], Durability::AtNextFlush).unwrap();
        let text = verdict(&medium).unwrap_err().to_string();
        assert!(text.contains("LBA 255 is not encrypted"), "{text}");
    }

    #[test]
    fn a_marker_on_the_medium_is_found() {
        let (medium, _) = encrypted();
        let mut sector = [0x55; 512];
        sector[500..508].copy_from_slice(MARKER);
        medium.write_sectors(Lba::new(9), &sector, Durability::AtNextFlush).unwrap();
        let text = verdict(&medium).unwrap_err().to_string();
        assert!(text.contains("plaintext of a file is on the raw medium at LBA 9"), "{text}");
    }

    #[test]
    fn ciphertext_of_something_else_is_found() {
        let (medium, cipher) = encrypted();
        let mut other = [0; 512];
        other[100] = 1;
        plant(&medium, &cipher, 17, other);
        let text = verdict(&medium).unwrap_err().to_string();
        assert!(text.contains("LBA 17, byte 100") && text.contains("0x01"), "{text}");
    }

    #[test]
    fn one_wrong_byte_of_a_plain_medium_is_found() {
        let medium = MemoryIo::new(SIZE, SectorCount::new(DATA + 512)).unwrap();
        let geometry = JvckMetadataOptions::default().geometry(SIZE, SectorCount::new(DATA + 512)).unwrap();
        let watch = Watch::new(SIZE, None);
        assert_eq!(is_plaintext(&medium, &watch, &geometry).unwrap(), DATA);
        let mut sector = [0; 512];
        sector[511] = 1;
        medium.write_sectors(Lba::new(DATA - 1), &sector, Durability::AtNextFlush).unwrap();
        let text = is_plaintext(&medium, &watch, &geometry).unwrap_err().to_string();
        assert!(text.contains("LBA 255, byte 511"), "{text}");
    }

    #[test]
    fn files_that_differ_are_named() {
        let expected = with_files(Manifest::new(), &BTreeMap::from([("A".to_owned(), vec![1, 2, 3])]));
        assert!(compare_files(&expected, &expected, "here").is_ok());
        let text = |found: &Manifest| compare_files(&expected, found, "here").unwrap_err().to_string();
        assert!(text(&Manifest::new()).contains("A is missing"));
        let shorter = with_files(Manifest::new(), &BTreeMap::from([("A".to_owned(), vec![1, 2])]));
        assert!(text(&shorter).contains("2 bytes instead of 3"));
        let other = with_files(Manifest::new(), &BTreeMap::from([("A".to_owned(), vec![1, 2, 4])]));
        assert!(text(&other).contains("another content"));
        let more = with_files(expected.clone(), &BTreeMap::from([("B".to_owned(), vec![])]));
        assert!(text(&more).contains("B should not exist"));
    }

    #[test]
    fn a_difference_names_its_sector_and_byte() {
        let (mut found, expected) = (vec![0; 1024], vec![0; 1024]);
        assert!(same(10, SectorSize::S512.usize(), &expected, &found, "it").is_ok());
        found[512 + 7] = 9;
        let text = same(10, 512, &expected, &found, "it").unwrap_err().to_string();
        assert!(text.contains("LBA 11, byte 7") && text.contains("0x09"), "{text}");
    }
}
