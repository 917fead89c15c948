//! A journal of this crate, plain and short, to be broken in many ways.
//!
//! It keeps the contract of [`ConversionJournal`] and nothing beyond: two slots per replica, each with a generation, a keyed
//! sum over all of it, and digests. Its format is its own; the shipped one is `vck_common::jvck`'s.
//!
//! ```text
//! slot: magic, generation, sum | what, direction, boundary, zone | error | salts | damaged | digests     (64-bit words)
//! ```

use vck_common::journal::{
    Activity, ConversionJournal, Damage, DamagedSector, Entry, Found, JournalError, MAX_DAMAGED,
};
use vck_common::jvck::{JvckHeader, block_salt};
use vck_common::{
    DataExtent, DataSector, Durability, Geometry, Lba, NtStatus, SealedUpdate, SectorCount, SectorIo, VckError,
    VckResult, VendorSector, VolumeState,
};

use crate::rng::mix;
use crate::weak::Weakness;

const MAGIC: u64 = u64::from_le_bytes(*b"TORTURE1");
const LONGEST: usize = 16;
const SALTS: usize = 16;
/// Words of a slot: head, salts, damaged sectors, digests.
const WORDS: usize = 16 + 2 * SALTS + 2 * MAX_DAMAGED + LONGEST;

type Salt = [u8; 16];

/// What a slot says.
#[derive(Clone)]
struct Page([u64; WORDS]);

impl Page {
    const SALTS: usize = 16;
    const DAMAGED: usize = Self::SALTS + 2 * SALTS;
    const DIGESTS: usize = Self::DAMAGED + 2 * MAX_DAMAGED;

    const fn empty() -> Self {
        Self([0; WORDS])
    }

    fn sum(&self) -> u64 {
        let body = self.0.iter().enumerate().filter(|(index, _)| *index != 2);
        body.fold(0xC0FF_EE00, |sum, (index, word)| mix(sum ^ mix(*word ^ index as u64)))
    }

    fn salts(&self) -> impl Iterator<Item = Salt> + '_ {
        let words = &self.0[Self::SALTS..Self::DAMAGED];
        words.chunks_exact(2).map(|pair| {
            let mut salt = [0; 16];
            salt[..8].copy_from_slice(&pair[0].to_le_bytes());
            salt[8..].copy_from_slice(&pair[1].to_le_bytes());
            salt
        })
    }

    fn zone(&self) -> DataExtent {
        DataExtent::new(DataSector::new(self.0[6]), SectorCount::new(self.0[7]))
    }
}

/// The journal. Broken as [`Weakness`] says.
pub struct OwnJournal {
    geometry: Geometry,
    weakness: Weakness,
    /// What is written next, and what was opened.
    page: Page,
    /// The slot of the newest durable entry.
    newest: usize,
    generation: u64,
    on_disk: Vec<Salt>,
    upcoming: Option<Salt>,
    damaged: Vec<DamagedSector>,
    /// What torn sectors held when they were found: sector and mark.
    torn: Vec<(DataSector, u64)>,
    buffer: Vec<u8>,
    /// Writes in a row that each replica failed, by slot.
    failures: Vec<[u32; 2]>,
    /// The entry that was found was restated before.
    restated: bool,
}

/// Failed reads of a slot, or writes in a row to a replica, until it is given up.
const PATIENCE: u32 = 3;

/// In the place of a damaged sector's mark: it could not be read. Zero: nothing is known of what it held.
const UNREADABLE: u64 = 1;

impl OwnJournal {
    /// The journal of a volume.
    #[must_use]
    pub fn new(geometry: Geometry, weakness: Weakness) -> Self {
        let sectors = (WORDS * 8).div_ceil(geometry.sector_size().usize());
        Self {
            geometry,
            weakness,
            page: Page::empty(),
            newest: 1,
            generation: 0,
            on_disk: Vec::with_capacity(SALTS),
            upcoming: None,
            damaged: Vec::with_capacity(MAX_DAMAGED),
            torn: Vec::with_capacity(MAX_DAMAGED),
            buffer: vec![0; sectors * geometry.sector_size().usize()],
            failures: vec![[0; 2]; geometry.replica_count()],
            restated: false,
        }
    }

    fn place(&self, replica: usize, slot: usize) -> VckResult<Lba> {
        let sectors = (self.buffer.len() / self.geometry.sector_size().usize()) as u64;
        let first = VendorSector::new(slot as u64 * sectors);
        self.geometry.vendor_lba(replica, first, SectorCount::new(sectors))
    }

    fn load(&mut self, io: &dyn SectorIo, replica: usize, slot: usize) -> VckResult<Option<Page>> {
        let lba = self.place(replica, slot)?;
        let mut read = Ok(());
        for _ in 0..PATIENCE {
            read = io.read_sectors(lba, &mut self.buffer);
            if read.is_ok() {
                break;
            }
        }
        read?;
        let mut page = Page::empty();
        for (word, bytes) in page.0.iter_mut().zip(self.buffer.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
        }
        let authentic = self.weakness == Weakness::JournalWithoutMac || page.0[2] == page.sum();
        Ok((page.0[0] == MAGIC && authentic).then_some(page))
    }

    fn digest(&self, sector: DataSector, bytes: &[u8]) -> u64 {
        let words = bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()));
        let digest =
            words.fold(mix(sector.get()), |digest, word| mix(digest ^ word).wrapping_mul(0x2545_F491_4F6C_DD1D));
        if self.weakness == Weakness::JournalShortDigest { digest & 15 } else { digest }
    }

    /// Tells what a torn sector held from everything else; never [`UNREADABLE`] nor zero.
    fn mark(&self, sector: DataSector, bytes: &[u8]) -> u64 {
        self.digest(sector, bytes) & !UNREADABLE | 2
    }

    /// A replica that fails again and again is given up.
    fn delivered(&mut self, replica: usize, slot: usize, written: VckResult<()>) -> VckResult<()> {
        match written {
            Ok(()) => {
                self.failures[replica][slot] = 0;
                Ok(())
            }
            Err(error) => {
                self.failures[replica][slot] += 1;
                if self.failures[replica].iter().any(|&failures| failures >= PATIENCE) { Ok(()) } else { Err(error) }
            }
        }
    }

    /// Salts of the good blocks.
    fn block_salts(&self, io: &dyn SectorIo) -> Vec<Salt> {
        let mut sector = vec![0; self.geometry.sector_size().usize()];
        let salt = |lba| {
            io.read_sectors(lba, &mut sector).ok()?;
            JvckHeader::parse(&sector).ok()?;
            block_salt(&sector).ok()
        };
        self.geometry.metadata_lbas().filter_map(salt).collect()
    }

    fn adopt(&mut self, page: Page, slot: usize) {
        self.newest = slot;
        self.generation = page.0[1];
        let named = page.salts().filter(|salt| *salt != [0; 16]);
        self.on_disk.clear();
        self.on_disk.extend(named.take(SALTS - 1));
        self.damaged.clear();
        self.torn.clear();
        let count = usize::try_from(page.0[13]).unwrap_or_default().min(MAX_DAMAGED);
        for pair in page.0[Page::DAMAGED..Page::DIGESTS].chunks_exact(2).take(count) {
            let sector = DataSector::new(pair[0]);
            let damage = if pair[1] == UNREADABLE { Damage::Unreadable } else { Damage::Torn };
            self.damaged.push(DamagedSector { sector, damage });
            if pair[1] > UNREADABLE {
                self.torn.push((sector, pair[1]));
            }
        }
        self.page = page;
    }

    fn entry(&self) -> Entry<'_> {
        let words = &self.page.0;
        let activity = match words[3] {
            1 => Activity::Running,
            2 => Activity::Paused,
            3 => Activity::Faulted,
            _ => Activity::Idle,
        };
        let error = (words[8] != 0).then(|| JournalError {
            kind: words[9].to_le_bytes()[0],
            lba: Lba::new(words[10]),
            status: NtStatus::from_u32(u32::try_from(words[11]).unwrap_or_default()),
            count: u32::try_from(words[12]).unwrap_or_default(),
        });
        Entry {
            activity,
            direction: if words[4] == 0 { VolumeState::Encrypt } else { VolumeState::Decrypt },
            boundary: DataSector::new(words[5]),
            zone: self.page.zone(),
            error,
            damaged: &self.damaged,
        }
    }

    fn fill(&mut self, entry: &Entry<'_>) {
        let error = entry.error;
        let activity = match entry.activity {
            Activity::Idle => 0,
            Activity::Running => 1,
            Activity::Paused => 2,
            Activity::Faulted => 3,
        };
        let torn = &self.torn;
        let mark = |damaged: &DamagedSector| match damaged.damage {
            Damage::Unreadable => UNREADABLE,
            Damage::Torn => torn.iter().find(|(sector, _)| *sector == damaged.sector).map_or(0, |(_, mark)| *mark),
        };
        let page = &mut self.page.0;
        page[..Page::SALTS].copy_from_slice(&[
            MAGIC,
            self.generation,
            0,
            activity,
            u64::from(entry.direction.as_u16()),
            entry.boundary.get(),
            entry.zone.first.get(),
            entry.zone.count.get(),
            u64::from(error.is_some()),
            error.map_or(0, |error| u64::from(error.kind)),
            error.map_or(0, |error| error.lba.get()),
            error.map_or(0, |error| u64::from(error.status.as_u32())),
            error.map_or(0, |error| u64::from(error.count)),
            entry.damaged.len() as u64,
            0,
            0,
        ]);
        page[Page::SALTS..Page::DIGESTS].fill(0);
        let salts = self.on_disk.iter().chain(&self.upcoming).take(SALTS);
        for (pair, salt) in page[Page::SALTS..Page::DAMAGED].chunks_exact_mut(2).zip(salts) {
            for (word, bytes) in pair.iter_mut().zip(salt.chunks_exact(8)) {
                *word = u64::from_le_bytes(bytes.try_into().unwrap_or_default());
            }
        }
        for (pair, damaged) in page[Page::DAMAGED..Page::DIGESTS].chunks_exact_mut(2).zip(entry.damaged) {
            pair[0] = damaged.sector.get();
            pair[1] = mark(damaged);
        }
        if self.weakness == Weakness::JournalForgetsDamage {
            page[13] = 0;
        }
        self.page.0[2] = self.page.sum();
    }
}

const TAKEN_NOWHERE: VckError = VckError::Device { status: NtStatus::IO_DEVICE_ERROR, lba: None };
const TOO_MANY: VckError = VckError::WrongState("too many different blocks may be on the disk");
const TOO_LONG: VckError = VckError::InvalidData("the zone is longer than its digests have room for");

impl ConversionJournal for OwnJournal {
    fn longest_zone(&self) -> SectorCount {
        SectorCount::new(LONGEST as u64)
    }

    fn open(&mut self, io: &dyn SectorIo) -> VckResult<Found<'_>> {
        let mut best: Option<(Page, usize)> = None;
        for slot in 0..2 {
            let (mut readable, mut failure) = (false, None);
            for replica in 0..self.geometry.replica_count() {
                let held = self.load(io, replica, slot);
                readable |= held.is_ok();
                let Some(page) = held.unwrap_or_else(|error| {
                    failure = Some(error);
                    None
                }) else {
                    continue;
                };
                let older = self.weakness == Weakness::JournalOldestWins;
                if best.as_ref().is_none_or(|(best, _)| (page.0[1] > best.0[1]) != older) {
                    best = Some((page, slot));
                }
            }
            // It may hold the newest entry.
            if let Some(error) = failure.filter(|_| !readable && self.weakness != Weakness::JournalBelievesOlder) {
                return Err(error);
            }
        }
        self.restated = false;
        let blocks = self.block_salts(io);
        let Some((page, slot)) = best else {
            self.on_disk = blocks;
            return Ok(Found::Nothing);
        };
        self.adopt(page, slot);
        if blocks.iter().all(|salt| self.on_disk.contains(salt)) {
            return Ok(Found::Entry(self.entry()));
        }
        if !self.page.zone().is_empty() {
            return Err(VckError::Conflict("blocks of another implementation while a zone was under way"));
        }
        self.on_disk = blocks;
        Ok(Found::Overtaken(self.entry()))
    }

    fn restate(&mut self, io: &dyn SectorIo) -> VckResult<()> {
        if self.weakness == Weakness::JournalDoesNotRestate {
            return Ok(());
        }
        let mut outcome = Ok(());
        let found = self.page.clone();
        // A second time: a flush failed, and what was read from a replica may be gone.
        let again = std::mem::replace(&mut self.restated, true);
        for replica in (0..self.geometry.replica_count()).filter(|_| found.0[0] == MAGIC) {
            let held = |held: Option<Page>| held.is_some_and(|held| held.0 == found.0);
            if !again && self.load(io, replica, self.newest).is_ok_and(held) {
                continue;
            }
            for (word, bytes) in found.0.iter().zip(self.buffer.chunks_exact_mut(8)) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
            let place = self.place(replica, self.newest)?;
            let written = io.write_sectors(place, &self.buffer, Durability::AtNextFlush);
            outcome = outcome.and(self.delivered(replica, self.newest, written));
        }
        outcome
    }

    fn note_torn(&mut self, sector: DataSector, bytes: &[u8]) {
        self.torn.retain(|(known, _)| *known != sector);
        if self.torn.len() < MAX_DAMAGED {
            self.torn.push((sector, self.mark(sector, bytes)));
        }
    }

    fn was_written_since(&self, sector: DataSector, bytes: &[u8]) -> bool {
        self.torn.iter().any(|(known, mark)| *known == sector && *mark != self.mark(sector, bytes))
    }

    fn cover(&mut self, zone: DataExtent, ciphertext: &[u8]) -> VckResult<()> {
        let size = self.geometry.sector_size().usize();
        if zone.count.get() > LONGEST as u64 {
            return Err(TOO_LONG);
        }
        for (index, sector) in ciphertext.chunks_exact(size).enumerate() {
            let number = DataSector::new(zone.first.get() + index as u64);
            self.page.0[Page::DIGESTS + index] = self.digest(number, sector);
        }
        self.page.0[6] = zone.first.get();
        self.page.0[7] = zone.count.get();
        Ok(())
    }

    fn matches(&self, sector: DataSector, bytes: &[u8]) -> bool {
        match self.weakness {
            Weakness::JournalConstantDigest => return true,
            Weakness::JournalNoDigest => return false,
            _ => {}
        }
        let zone = self.page.zone();
        let Some(distance) = sector.checked_distance_from(zone.first).filter(|_| zone.contains(sector)) else {
            return false;
        };
        let index = Page::DIGESTS + usize::try_from(distance.get()).unwrap_or_default();
        self.page.0.get(index) == Some(&self.digest(sector, bytes))
    }

    fn write(&mut self, io: &dyn SectorIo, entry: &Entry<'_>, upcoming: Option<&SealedUpdate>) -> VckResult<()> {
        if let Some(update) = upcoming.filter(|_| self.weakness != Weakness::JournalStaleSalts) {
            let salt = *update.identity();
            // Blocks that never become durable, in a replica that takes none, must not push others off the list.
            if self.on_disk.len() >= SALTS - 1 && !self.on_disk.contains(&salt) {
                return Err(TOO_MANY);
            }
            self.upcoming = Some(salt);
        }
        self.generation += 1;
        if self.weakness == Weakness::JournalAllocates {
            drop(std::hint::black_box(vec![1_u8; 64]));
        }
        self.fill(entry);
        let slot = if self.weakness == Weakness::JournalOverNewest { 0 } else { 1 - self.newest };
        for (word, bytes) in self.page.0.iter().zip(self.buffer.chunks_exact_mut(8)) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let one = self.weakness == Weakness::JournalInOneReplica;
        let (mut outcome, mut taken) = (Ok(()), false);
        for replica in 0..if one { 1 } else { self.geometry.replica_count() } {
            let written = io.write_sectors(self.place(replica, slot)?, &self.buffer, Durability::AtNextFlush);
            taken |= written.is_ok();
            outcome = outcome.and(self.delivered(replica, slot, written));
        }
        if taken { outcome } else { outcome.and(Err(TAKEN_NOWHERE)) }
    }

    fn it_is_durable(&mut self) {
        self.newest = 1 - self.newest;
        if let Some(salt) = self.upcoming
            && !self.on_disk.contains(&salt)
            && self.on_disk.len() < SALTS - 1
        {
            self.on_disk.push(salt);
        }
    }

    fn blocks_are_durable(&mut self) {
        if let Some(salt) = self.upcoming.take() {
            self.on_disk.clear();
            self.on_disk.push(salt);
        }
    }
}
