//! Which side of the boundary each sector of an interrupted zone is on, and bringing all of them to one.
//!
//! # Invariants
//! * A side is verified by the journal's digest, never assumed. What matches neither is listed and not touched.
//! * A sector that is listed before is not touched either.
use alloc::vec::Vec;
use core::time::Duration;

use zeroize::Zeroize;

use vck_common::journal::Damage;
use vck_common::{
    ConversionJournal, DataExtent, DataSector, Durability, Lba, SectorCount, VckError, VckResult, VolumeState, bpb,
    zeroed,
};

use super::DamagedSectors;
use super::recovery::{OUTSIDE, Site, TOO_MANY, flush, tried};
use super::retry::{STEP_TRIES, step_pause};

/// Bytes looked at together.
const CHUNK: u64 = 256 << 10;

/// A side of the boundary.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Cipher,
    Plain,
}

impl Side {
    pub(super) const fn after(direction: VolumeState) -> Self {
        match direction {
            VolumeState::Encrypt => Self::Cipher,
            VolumeState::Decrypt => Self::Plain,
        }
    }

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Cipher => Self::Plain,
            Self::Plain => Self::Cipher,
        }
    }
}

/// A chunk of the zone as it is on the disk, and encrypted or decrypted. Wiped on drop: it holds user data.
pub(super) struct Bench {
    found: Vec<u8>,
    other: Vec<u8>,
    /// The sector that could not be read last, in the last pass, and why.
    pub(super) unreadable: Option<(DataSector, VckError)>,
    /// Up to where the last pass has read.
    reached: DataSector,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.found.zeroize();
        self.other.zeroize();
    }
}

impl Bench {
    pub(super) fn new(site: &Site<'_>) -> VckResult<Self> {
        let size = site.geometry.sector_size().usize();
        let bytes = usize::try_from(CHUNK).map_err(|_| VckError::NoMemory)?.max(size);
        Ok(Self { found: zeroed(bytes)?, other: zeroed(bytes)?, unreadable: None, reached: DataSector::ZERO })
    }

    /// Whether `zone` is sector 0 alone, and that is plaintext which was written since the entry.
    ///
    /// While sector 0 alone is under conversion the volume may show its plain boot sector to a system that has not attached it
    /// yet, and mounting a file system may change it: FAT and exFAT keep their dirty flag there. A torn one has ciphertext at
    /// one end or the other; that this looks like the signature at the end of a sector of 512 bytes happens once in 65,536.
    pub(super) fn is_mounted_start(
        &mut self,
        site: &Site<'_>,
        journal: &dyn ConversionJournal,
        zone: DataExtent,
    ) -> VckResult<bool> {
        let alone = zone.first == DataSector::ZERO && zone.count == SectorCount::new(1);
        if !alone || site.geometry.offset_sector() != Lba::ZERO {
            return Ok(false);
        }
        let (lba, range) = place(site, zone, zone)?;
        let found = self.found.get_mut(range.clone()).ok_or(OUTSIDE)?;
        let other = self.other.get_mut(range).ok_or(OUTSIDE)?;
        // What cannot be read is seen to by the passes.
        let known = tried(|| site.io.read_sectors(lba, found)).is_err()
            || side_of(site, journal, DataSector::ZERO, found, other).is_some();
        Ok(!known && is_whole_boot_sector(found))
    }

    /// Brings every sector of `zone` whose side is known to the side `wanted`, and flushes.
    ///
    /// A pass that failed, or met a sector that cannot be read, is made again from the start: a flush that failed proves
    /// nothing about the writes before it, and a device that comes back reads what it did not read. What could be read in no
    /// pass is listed: a sector that stays bad must not bring others down with it that could not be read just now.
    pub(super) fn bring(
        &mut self,
        site: &Site<'_>,
        journal: &mut dyn ConversionJournal,
        damaged: &mut DamagedSectors,
        zone: DataExtent,
        wanted: Side,
        pause: &dyn Fn(Duration),
    ) -> VckResult<()> {
        let (listed, mut readings) = (damaged.copy()?, Readings::new(zone)?);
        let mut pass = 1;
        loop {
            damaged.set_to(&listed);
            let result = self.one_pass(site, journal, damaged, &listed, zone, wanted);
            let clean = result.is_ok() && damaged.unreadable().eq(listed.unreadable());
            let was_better = readings.note(damaged, self.reached) && result.is_ok();
            let last = if was_better { STEP_TRIES.saturating_mul(2) } else { STEP_TRIES };
            if clean || pass >= last {
                if result.is_err() {
                    damaged.set_to(&listed);
                }
                return result;
            }
            pause(step_pause(pass));
            pass = pass.saturating_add(1);
        }
    }

    fn one_pass(
        &mut self,
        site: &Site<'_>,
        journal: &mut dyn ConversionJournal,
        damaged: &mut DamagedSectors,
        listed: &DamagedSectors,
        zone: DataExtent,
        wanted: Side,
    ) -> VckResult<()> {
        let step = site.geometry.sector_size().sectors_of_buffer(self.found.len())?;
        (self.unreadable, self.reached) = (None, zone.first);
        let mut rest = zone;
        while !rest.is_empty() {
            let end = rest.first.checked_add(step).unwrap_or(rest.first);
            let (chunk, behind) = rest.split_at(end);
            self.bring_chunk(site, journal, damaged, listed, chunk, wanted)?;
            rest = behind;
        }
        flush(site.io)
    }

    fn bring_chunk(
        &mut self,
        site: &Site<'_>,
        journal: &mut dyn ConversionJournal,
        damaged: &mut DamagedSectors,
        listed: &DamagedSectors,
        chunk: DataExtent,
        wanted: Side,
    ) -> VckResult<()> {
        let size = site.geometry.sector_size();
        self.read(site, damaged, listed, chunk)?;
        self.reached = chunk.end().unwrap_or(chunk.first);
        let sectors = chunk.first.get()..chunk.first.get().saturating_add(chunk.count.get());
        let pairs = self.found.chunks_exact_mut(size.usize()).zip(self.other.chunks_exact_mut(size.usize()));
        // The run of sectors to be written that ends before the sector looked at.
        let mut run = DataExtent::new(chunk.first, SectorCount::ZERO);
        let mut runs = Vec::new();
        for ((found, other), sector) in pairs.zip(sectors) {
            let sector = DataSector::new(sector);
            let turn = match side_of(site, journal, sector, found, other) {
                // The step left it alone, or it could not be read just now.
                _ if damaged.contains(sector) => false,
                Some(side) => side != wanted,
                None if damaged.add(sector, Damage::Torn) => {
                    journal.note_torn(sector, found);
                    false
                }
                None => return Err(TOO_MANY),
            };
            if turn && wanted == Side::Plain {
                other.copy_from_slice(found);
                site.cipher.decrypt_sector(other, size, sector);
            }
            if turn && run.end() == Some(sector) {
                run.count = run.count.checked_add(SectorCount::new(1)).unwrap_or(run.count);
            } else if turn {
                push(&mut runs, run)?;
                run = DataExtent::new(sector, SectorCount::new(1));
            }
        }
        push(&mut runs, run)?;
        runs.iter().try_for_each(|run| self.write(site, chunk, *run))
    }

    /// Reads a chunk; sectors that cannot be read are listed.
    fn read(
        &mut self,
        site: &Site<'_>,
        damaged: &mut DamagedSectors,
        listed: &DamagedSectors,
        chunk: DataExtent,
    ) -> VckResult<()> {
        let (lba, range) = place(site, chunk, chunk)?;
        let whole = self.found.get_mut(range).ok_or(OUTSIDE)?;
        if tried(|| site.io.read_sectors(lba, whole)).is_ok() {
            return Ok(());
        }
        let sectors = chunk.first.get()..chunk.first.get().saturating_add(chunk.count.get());
        for sector in sectors {
            let sector = DataSector::new(sector);
            if listed.contains(sector) {
                continue;
            }
            let (lba, range) = place(site, chunk, DataExtent::new(sector, SectorCount::new(1)))?;
            let bytes = self.found.get_mut(range).ok_or(OUTSIDE)?;
            if let Err(error) = tried(|| site.io.read_sectors(lba, bytes)) {
                self.unreadable = Some((sector, error));
                if !damaged.add(sector, Damage::Unreadable) {
                    return Err(TOO_MANY);
                }
            }
        }
        Ok(())
    }

    /// Writes the other side of `run`; puts back what was there if that fails, since the attempt may have torn a sector.
    fn write(&self, site: &Site<'_>, chunk: DataExtent, run: DataExtent) -> VckResult<()> {
        let (lba, range) = place(site, chunk, run)?;
        let write = |buffer: &[u8]| {
            let bytes = buffer.get(range.clone()).ok_or(OUTSIDE)?;
            tried(|| site.io.write_sectors(lba, bytes, Durability::AtNextFlush))
        };
        write(&self.other).inspect_err(|_| {
            let _attempt = write(&self.found);
        })
    }
}

/// What the passes over a zone could read.
struct Readings {
    /// Sectors that no pass could read.
    never: DamagedSectors,
    /// Up to where any pass has read.
    reached: DataSector,
}

impl Readings {
    fn new(zone: DataExtent) -> VckResult<Self> {
        Ok(Self { never: DamagedSectors::new()?, reached: zone.first })
    }

    /// Takes note of a pass that read up to `reached`. Whether it could not read what an earlier one could.
    fn note(&mut self, damaged: &DamagedSectors, reached: DataSector) -> bool {
        let was_read = |sector| sector < self.reached && !self.never.contains(sector);
        let was_better = damaged.unreadable().any(was_read);
        self.never.take_out(self.never.marked(|sector| sector < reached && !damaged.contains(sector)));
        for sector in damaged.unreadable().filter(|&sector| sector >= self.reached) {
            // As many as the list of damaged ones has room for.
            self.never.add(sector, Damage::Unreadable);
        }
        self.reached = self.reached.max(reached);
        was_better
    }
}

/// A boot sector from its first byte to its last: a larger sector ends with nothing, or with the signature once more.
fn is_whole_boot_sector(sector: &[u8]) -> bool {
    let signed = sector.get(510..512) == Some(&[0x55, 0xAA]);
    let rest = sector.len().saturating_sub(2).max(512);
    let padded = sector.len() == 512 || sector.get(rest.saturating_sub(14)..rest).is_some_and(bpb::is_blank);
    signed && padded && bpb::recognise(sector).is_some()
}

/// The side that `found` is on; `other` is then its encryption, unless it is ciphertext itself.
fn side_of(
    site: &Site<'_>,
    journal: &dyn ConversionJournal,
    sector: DataSector,
    found: &[u8],
    other: &mut [u8],
) -> Option<Side> {
    if journal.matches(sector, found) {
        return Some(Side::Cipher);
    }
    site.cipher.encrypt_copy(found, other, site.geometry.sector_size(), sector);
    journal.matches(sector, other).then_some(Side::Plain)
}

fn push(runs: &mut Vec<DataExtent>, run: DataExtent) -> VckResult<()> {
    if !run.is_empty() {
        runs.try_reserve(1).map_err(|_| VckError::NoMemory)?;
        runs.push(run);
    }
    Ok(())
}

/// Where `run`, a part of `chunk`, lies on the device and in the buffers.
fn place(site: &Site<'_>, chunk: DataExtent, run: DataExtent) -> VckResult<(Lba, core::ops::Range<usize>)> {
    let size = site.geometry.sector_size();
    let bytes = |count| size.bytes_of(count).and_then(|bytes| usize::try_from(bytes.get()).ok());
    let start = run.first.checked_distance_from(chunk.first).and_then(bytes).ok_or(OUTSIDE)?;
    let end = bytes(run.count).and_then(|len| start.checked_add(len)).ok_or(OUTSIDE)?;
    Ok((site.geometry.data_to_lba(run.first).ok_or(OUTSIDE)?, start..end))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;
    use std::{assert, vec};

    use super::*;

    /// The boot sector of a FAT, an exFAT or an NTFS volume, as far as anybody looks.
    fn boot_sectors(size: usize) -> Vec<Vec<u8>> {
        let boot = |name: &[u8; 8], fields: &[(usize, u8)]| {
            let mut boot = vec![0; size];
            boot[..3].copy_from_slice(&[0xEB, 0x3C, 0x90]);
            boot[3..11].copy_from_slice(name);
            for &(at, value) in fields {
                boot[at] = value;
            }
            boot[510..512].copy_from_slice(&[0x55, 0xAA]);
            boot
        };
        vec![
            boot(b"MSDOS5.0", &[(12, 2), (13, 1), (14, 1), (16, 2), (19, 30), (21, 0xF8)]),
            boot(b"EXFAT   ", &[(72, 30), (108, 9)]),
            boot(b"NTFS    ", &[(12, 2), (40, 30)]),
        ]
    }

    #[test]
    fn a_boot_sector_torn_anywhere_is_none() {
        for size in [512, 4096] {
            for whole in boot_sectors(size) {
                assert!(is_whole_boot_sector(&whole));
                // Stands for ciphertext.
                let other: Vec<u8> =
                    (1..=size as u64).map(|at| at.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()[7]).collect();
                for split in (16..size).step_by(16) {
                    let plain_first = [&whole[..split], &other[split..]].concat();
                    let plain_last = [&other[..split], &whole[split..]].concat();
                    assert!(
                        !is_whole_boot_sector(&plain_first) && !is_whole_boot_sector(&plain_last),
                        "{size} {split}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_any_pass_could_read_is_not_given_up() {
        let at = DataSector::new;
        let list = |sectors: &[u64]| {
            let mut list = DamagedSectors::new().unwrap();
            assert!(sectors.iter().all(|&sector| list.add(at(sector), Damage::Unreadable)));
            list
        };
        let mut readings = Readings::new(DataExtent::new(at(10), SectorCount::new(20))).unwrap();
        assert!(!readings.note(&list(&[12]), at(14)), "the first pass, which ended early");
        assert!(!readings.note(&list(&[12, 20]), at(30)), "20 was not reached before");
        assert!(!readings.note(&list(&[20]), at(30)));
        assert!(!readings.note(&list(&[20]), at(30)), "the same again");
        assert!(readings.note(&list(&[12, 20]), at(30)), "12 could be read");
        assert!(readings.note(&list(&[11]), at(30)) && !readings.note(&list(&[]), at(30)));
    }
}
