//! The journal over the record: which slot is written, which salts are named, and what opening decides.
//!
//! # Ordering
//! A write goes to the slot that does not hold the newest durable record, in every replica in index order, with a generation
//! above every one before. Until [`ConversionJournal::it_is_durable`] further writes go to the same slot.
//!
//! # Salts
//! `on_disk` is what the blocks may be now. The salt of `upcoming` joins it when the record that names it is durable, since
//! from then on its blocks may be written; when those are durable in every replica it stays alone.
//!
//! What was read at open may still sit in a volatile cache, if the volume was detached without a loss of power. The first
//! write therefore flushes before it overwrites the older slot.

use alloc::{boxed::Box, vec::Vec};

use zeroize::Zeroize;

use super::{
    codec::{self, Binding, Contents, Decoded},
    delivery::{Delivery, Failures, is_lost},
    digest::DigestKey,
    layout::{DIGEST_SIZE, DIGESTS, Slot, Slots},
    salts::{Salt, SaltSet},
    search::{Newest, Outcome, Search, place},
    torn::TornSectors,
};
use crate::{
    DamagedSector, DataExtent, DataSector, Durability, Geometry, SealedUpdate, Secret, SectorCount, SectorIo, VckError,
    VckResult,
    journal::{ConversionJournal, Damage, Entry, Found, MAX_DAMAGED},
    jvck::{JvckHeader, ReplicaSet, keys::derive_record_keys, layout::SALT_SIZE},
    zeroed,
};

/// How far the generation jumps when a slot could not be read: it may hold newer records that were never durable.
const JUMP: u64 = 1 << 16;

/// What the metadata blocks were when the volume was opened.
#[derive(Clone, Copy)]
pub(in crate::jvck) struct Blocks {
    /// Salts of the good blocks.
    pub(in crate::jvck) salts: SaltSet,
    /// There were more salts than fit.
    pub(in crate::jvck) crowded: bool,
    /// A block could not be read; it may hold an older salt.
    pub(in crate::jvck) unread: bool,
    /// A good block has bytes of a vendor: the vendor area is not ours.
    pub(in crate::jvck) vendor: bool,
}

impl Blocks {
    pub(in crate::jvck) const fn new() -> Self {
        Self { salts: SaltSet::new(), crowded: false, unread: false, vendor: false }
    }

    /// Takes note of a good block.
    pub(in crate::jvck) fn note(&mut self, header: &JvckHeader, salt: &Salt) {
        self.crowded |= !self.salts.insert(salt);
        self.vendor |=
            header.vendor_id != 0 || header.vendor_version != 0 || header.vendor_reserved.iter().any(|&byte| byte != 0);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Unopened,
    /// The vendor area is not ours, or opening failed.
    Refused,
    Ready,
}

struct Written {
    slot: Slot,
    upcoming: Option<Salt>,
}

struct Journal {
    mac: Secret<32>,
    digests: DigestKey,
    binding: Binding,
    slots: Option<Slots>,
    phase: Phase,
    generation: u64,
    durable: Option<Slot>,
    written: Option<Written>,
    blocks: Blocks,
    /// The last upcoming salt whose record is durable.
    upcoming: Option<Salt>,
    /// What was read may not be durable yet.
    unsettled: bool,
    /// The zone whose digests are in the buffer.
    covered: DataExtent,
    damaged: [DamagedSector; MAX_DAMAGED],
    torn: TornSectors,
    /// Nothing was covered or written since the journal was opened: the buffer is as it was read.
    fresh: bool,
    /// The record that was read.
    found: Option<Newest>,
    /// It was restated, and a flush came after that or failed.
    restated: bool,
    /// The replicas whose first and whose second slot could not be read.
    unread: [ReplicaSet; 2],
    /// How many writes in a row each replica has failed.
    failures: Vec<Failures>,
    /// The record to be written, or the one that was read. The digests stay in their place, also when an entry without a zone
    /// is written: what follows the last digest of a record is leftover, authenticated and not interpreted.
    slot: Vec<u8>,
}

/// Makes the journal of a volume; the memory it will need is taken here.
pub(in crate::jvck) fn new_journal(
    geometry: &Geometry,
    header: &JvckHeader,
    blocks: &Blocks,
    vmk: &[u8],
) -> VckResult<Box<dyn ConversionJournal>> {
    let keys = derive_record_keys(&header.volume_id, vmk)?;
    let slots = Slots::of(geometry);
    let slot = zeroed(slots.map_or(0, |slots| slots.bytes()))?;
    let nothing = DamagedSector { sector: DataSector::ZERO, damage: Damage::Torn };
    // A vector, because only that can be told to take its memory or fail: `Box::new` ends the system when there is none.
    let mut place = Vec::new();
    place.try_reserve_exact(1).map_err(|_| VckError::NoMemory)?;
    place.push(Journal {
        digests: DigestKey::new(&keys.digest),
        mac: keys.mac,
        binding: Binding::new(geometry, header)?,
        slots,
        phase: Phase::Unopened,
        generation: 0,
        durable: None,
        written: None,
        blocks: *blocks,
        upcoming: None,
        unsettled: true,
        covered: DataExtent::default(),
        damaged: [nothing; MAX_DAMAGED],
        torn: TornSectors::new(),
        fresh: false,
        found: None,
        restated: false,
        unread: [ReplicaSet::default(); 2],
        failures: no_failures(geometry.replica_count())?,
        slot,
    });
    let place: Box<[Journal; 1]> = place.into_boxed_slice().try_into().map_err(|_| VckError::NoMemory)?;
    Ok(place)
}

fn no_failures(replicas: usize) -> VckResult<Vec<Failures>> {
    let mut failures = Vec::new();
    failures.try_reserve_exact(replicas).map_err(|_| VckError::NoMemory)?;
    failures.resize(replicas, Failures::default());
    Ok(failures)
}

impl Journal {
    fn longest_zone(&self) -> SectorCount {
        let digests = self.slots.and_then(|slots| u64::try_from(slots.digests()).ok()).unwrap_or(0);
        SectorCount::new(digests).min(self.binding.geometry.data_sectors())
    }

    fn open(&mut self, io: &dyn SectorIo) -> VckResult<Found<'_>> {
        self.phase = Phase::Refused;
        self.covered = DataExtent::default();
        (self.written, self.durable, self.upcoming, self.unsettled) = (None, None, None, true);
        (self.torn, self.fresh, self.found, self.restated) = (TornSectors::new(), false, None, false);
        let Some(slots) = self.slots else { return Ok(Found::Unavailable) };
        let mut search = Search::new(io, &self.mac, &self.binding, slots, &mut self.slot)?;
        let claimed = search.run()?;
        let Outcome { newest, unread } = search.outcome();
        self.unread = unread;
        let jump = if unread.iter().all(ReplicaSet::is_empty) { 0 } else { JUMP };
        let Some(newest) = newest else {
            if claimed {
                return Err(VckError::BadBlock(
                    "its conversion record is damaged in every replica, or was written under another key",
                ));
            }
            self.generation = jump;
            if self.blocks.vendor {
                return Ok(Found::Unavailable);
            }
            (self.phase, self.fresh) = (Phase::Ready, true);
            return Ok(Found::Nothing);
        };
        let decoded = codec::decode(&self.slot, &self.binding, &mut self.damaged, &mut self.torn)?;
        self.generation = decoded.generation.checked_add(jump).ok_or(WORN)?;
        self.durable = Some(newest.slot);
        self.found = Some(newest);
        self.settle(&decoded)
    }

    /// Compares the salts of the blocks with those that the record names.
    fn settle(&mut self, decoded: &Decoded) -> VckResult<Found<'_>> {
        let Decoded { activity, direction, boundary, zone, error, .. } = *decoded;
        let named = |salt: &Salt| decoded.salts.contains(salt) || decoded.upcoming.as_ref() == Some(salt);
        let overtaken = self.blocks.crowded || !self.blocks.salts.as_slice().iter().all(named);
        if overtaken && !zone.is_empty() {
            return Err(VckError::Conflict(
                "another implementation changed the metadata blocks while the conversion record has sectors under way: \
                 put the blocks of before back, or restore those sectors from a backup",
            ));
        }
        if self.blocks.unread {
            // A block that could not be read may be any of those that the record names.
            for salt in decoded.salts.as_slice().iter().chain(&decoded.upcoming) {
                self.blocks.crowded |= !self.blocks.salts.insert(salt);
            }
        }
        self.covered = zone;
        (self.phase, self.fresh) = (Phase::Ready, true);
        let damaged = self.damaged.get(..decoded.damaged).unwrap_or_default();
        let entry = Entry { activity, direction, boundary, zone, error, damaged };
        Ok(if overtaken { Found::Overtaken(entry) } else { Found::Entry(entry) })
    }

    fn restate(&mut self, io: &dyn SectorIo) -> VckResult<()> {
        let (true, Some(slots)) = (self.fresh, self.slots) else {
            return Err(VckError::WrongState("nothing is as it was found"));
        };
        // Again: the flush after the last time failed, and may have lost what was written, and what was read from a cache.
        let again = self.restated;
        let (geometry, mut delivery) = (&self.binding.geometry, Delivery::new(&mut self.failures));
        // Some replica holds what was found, or was read and holds nothing.
        delivery.taken = true;
        let put = |index: usize, slot: Slot, bytes: &[u8]| {
            let lba = place(geometry, &slots, index, slot, bytes.len())?;
            io.write_sectors(lba, bytes, Durability::AtNextFlush)
        };
        if let Some(found) = &self.found {
            let record = self.slot.get(..found.used).ok_or(OUTSIDE)?;
            let replicas = || 0..geometry.replica_count();
            for index in replicas().filter(|&index| !found.holders.contains(index)) {
                delivery.note(index, found.slot, put(index, found.slot, record));
            }
            if again {
                // A loss of power may tear what is being written: first the others hold it, then it is written over where it was.
                flush(io)?;
                for index in replicas().filter(|&index| found.holders.contains(index)) {
                    delivery.note(index, found.slot, put(index, found.slot, record));
                    flush(io)?;
                }
            }
        }
        // What could not be read may be newer and have no standing: it must not be found another time.
        let blank = zeroed(geometry.sector_size().usize())?;
        let found_in = self.found.as_ref().map(|found| found.slot);
        for (slot, unread) in Slot::BOTH.into_iter().zip(&self.unread).filter(|(slot, _)| found_in != Some(*slot)) {
            for index in unread.iter() {
                delivery.note(index, slot, put(index, slot, &blank));
            }
        }
        let outcome = delivery.outcome();
        // After a write that failed the caller does not flush.
        self.restated = again || outcome.is_ok();
        outcome
    }

    fn lost_replicas(&self) -> usize {
        self.failures.iter().filter(|&&failures| is_lost(failures)).count()
    }

    fn note_torn(&mut self, sector: DataSector, bytes: &[u8]) {
        self.torn.note(sector, self.digests.digest(sector, bytes));
    }

    fn was_written_since(&self, sector: DataSector, bytes: &[u8]) -> bool {
        self.torn.held(sector).is_some_and(|held| held != self.digests.digest(sector, bytes))
    }

    fn cover(&mut self, zone: DataExtent, ciphertext: &[u8]) -> VckResult<()> {
        let size = self.binding.geometry.sector_size();
        let whole = size.bytes_of(zone.count).and_then(|bytes| usize::try_from(bytes.get()).ok());
        if zone.count > self.longest_zone() || zone.end().is_none() || whole != Some(ciphertext.len()) {
            return Err(VckError::InvalidData("the zone is too long for the record, or its bytes are not all there"));
        }
        // What was read and the old digests are gone from here on, whatever happens.
        (self.covered, self.fresh) = (DataExtent::default(), false);
        let (places, _) = self.slot.get_mut(DIGESTS..).unwrap_or_default().as_chunks_mut::<DIGEST_SIZE>();
        let sectors = ciphertext.chunks_exact(size.usize()).zip(zone.first.get()..);
        for (place, (bytes, sector)) in places.iter_mut().zip(sectors) {
            *place = self.digests.digest(DataSector::new(sector), bytes).to_le_bytes();
        }
        self.covered = zone;
        Ok(())
    }

    fn matches(&self, sector: DataSector, bytes: &[u8]) -> bool {
        let place = || {
            let index = usize::try_from(sector.checked_distance_from(self.covered.first)?.get()).ok()?;
            let (digests, _) = self.slot.get(DIGESTS..)?.as_chunks::<DIGEST_SIZE>();
            digests.get(index)
        };
        self.covered.contains(sector)
            && bytes.len() == self.binding.geometry.sector_size().usize()
            && place() == Some(&self.digests.digest(sector, bytes).to_le_bytes())
    }

    fn write(&mut self, io: &dyn SectorIo, entry: &Entry<'_>, upcoming: Option<&SealedUpdate>) -> VckResult<()> {
        let (Phase::Ready, Some(slots)) = (self.phase, self.slots) else {
            return Err(VckError::WrongState("the journal was not opened, or its place is not ours"));
        };
        self.check(entry)?;
        let upcoming = self.identity(upcoming)?;
        if self.unsettled {
            flush(io)?;
            self.unsettled = false;
        }
        (self.written, self.fresh) = (None, false);
        self.torn.keep(entry.damaged);
        self.generation = self.generation.checked_add(1).ok_or(WORN)?;
        let contents =
            Contents { generation: self.generation, entry, salts: &self.blocks.salts, upcoming, torn: &self.torn };
        codec::encode(&contents, &self.binding, &mut self.slot)?;
        let size = self.binding.geometry.sector_size();
        let digests = usize::try_from(entry.zone.count.get()).map_err(|_| OUTSIDE)?;
        let used = codec::used_bytes(digests, size).and_then(|used| self.slot.get_mut(..used)).ok_or(OUTSIDE)?;
        codec::seal(&self.mac, used)?;
        let slot = self.durable.map_or(Slot::First, Slot::other);
        let mut delivery = Delivery::new(&mut self.failures);
        for index in 0..self.binding.geometry.replica_count() {
            let written = place(&self.binding.geometry, &slots, index, slot, used.len())
                .and_then(|lba| io.write_sectors(lba, used, Durability::AtNextFlush));
            delivery.note(index, slot, written);
        }
        delivery.outcome()?;
        self.written = Some(Written { slot, upcoming });
        Ok(())
    }

    fn check(&self, entry: &Entry<'_>) -> VckResult<()> {
        let data = self.binding.geometry.data_sectors().get();
        if entry.boundary.get() > data || entry.zone.end().is_none_or(|end| end.get() > data) {
            return Err(OUTSIDE);
        }
        if !entry.zone.is_empty() && entry.zone != self.covered {
            return Err(VckError::InvalidData("the zone of the entry is not the one that was covered"));
        }
        if entry.damaged.len() > MAX_DAMAGED || entry.damaged.iter().any(|damaged| damaged.sector.get() >= data) {
            return Err(VckError::InvalidData("too many damaged sectors, or one outside the data region"));
        }
        Ok(())
    }

    fn identity(&self, upcoming: Option<&SealedUpdate>) -> VckResult<Option<Salt>> {
        let Some(update) = upcoming else { return Ok(None) };
        if update.identity() == &[0; SALT_SIZE] {
            return Err(VckError::InvalidData("the upcoming blocks have no identity"));
        }
        if self.blocks.salts.is_full() && !self.blocks.salts.contains(update.identity()) {
            return Err(VckError::WrongState("too many different metadata blocks may be on the volume"));
        }
        Ok(Some(*update.identity()))
    }

    fn it_is_durable(&mut self) {
        let Some(Written { slot, upcoming }) = self.written.take() else { return };
        self.durable = Some(slot);
        if let Some(salt) = upcoming {
            self.blocks.crowded |= !self.blocks.salts.insert(&salt);
            self.upcoming = Some(salt);
        }
    }

    fn blocks_are_durable(&mut self) {
        if let Some(salt) = &self.upcoming {
            self.blocks = Blocks { salts: SaltSet::only(salt), ..Blocks::new() };
        }
    }
}

/// A device that has no flush keeps nothing back, or its user has accepted what that means.
fn flush(io: &dyn SectorIo) -> VckResult<()> {
    match io.flush() {
        Err(error) if error.is_no_flush() => Ok(()),
        result => result,
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.slot.zeroize();
    }
}

const OUTSIDE: VckError = VckError::InvalidData("the entry lies outside the data region");
const WORN: VckError = VckError::BadBlock("its conversion record has the last possible generation");

impl ConversionJournal for [Journal; 1] {
    fn longest_zone(&self) -> SectorCount {
        let [journal] = self;
        journal.longest_zone()
    }

    fn open(&mut self, io: &dyn SectorIo) -> VckResult<Found<'_>> {
        let [journal] = self;
        journal.open(io)
    }

    fn restate(&mut self, io: &dyn SectorIo) -> VckResult<()> {
        let [journal] = self;
        journal.restate(io)
    }

    fn lost_replicas(&self) -> usize {
        let [journal] = self;
        journal.lost_replicas()
    }

    fn note_torn(&mut self, sector: DataSector, bytes: &[u8]) {
        let [journal] = self;
        journal.note_torn(sector, bytes);
    }

    fn was_written_since(&self, sector: DataSector, bytes: &[u8]) -> bool {
        let [journal] = self;
        journal.was_written_since(sector, bytes)
    }

    fn cover(&mut self, zone: DataExtent, ciphertext: &[u8]) -> VckResult<()> {
        let [journal] = self;
        journal.cover(zone, ciphertext)
    }

    fn matches(&self, sector: DataSector, bytes: &[u8]) -> bool {
        let [journal] = self;
        journal.matches(sector, bytes)
    }

    fn write(&mut self, io: &dyn SectorIo, entry: &Entry<'_>, upcoming: Option<&SealedUpdate>) -> VckResult<()> {
        let [journal] = self;
        journal.write(io, entry, upcoming)
    }

    fn it_is_durable(&mut self) {
        let [journal] = self;
        journal.it_is_durable();
    }

    fn blocks_are_durable(&mut self) {
        let [journal] = self;
        journal.blocks_are_durable();
    }
}
