//! What recovery asks of the journal: that what was found is the only truth before anything is done on its word, that one bad
//! replica does not take the volume, and whether a torn sector was written since.

use vck_common::{
    DamagedSector, DataSector, Lba, MemoryIo, SectorIo, SectorSize, VckError,
    journal::{Damage, Entry, Found},
    memory_io::{FAULT_STATUS, Fault},
};

use crate::record::{
    bytes_at, ciphertext, journal, new_volume, numbered, opened, options, running, slot_lba, store, write, writes, zone,
};

const SIZE: SectorSize = SectorSize::S512;
const USED: usize = 1536 + 512;

/// Three replicas: record 1 in all, record 2 with a zone in some.
fn newest_only_in(holders: &[usize]) -> MemoryIo {
    let io = new_volume(SIZE, &options(1, 2));
    let geometry = *store(&io).geometry();
    let mut writer = opened(&io);
    write(&mut *writer, &io, &numbered(1), None);
    let before = io.image();
    let area = zone(4, 30);
    writer.cover(area, &ciphertext(area, SIZE)).unwrap();
    write(&mut *writer, &io, &running(2, area), None);
    for replica in (0..3).filter(|replica| !holders.contains(replica)) {
        let lba = slot_lba(&geometry, replica, 1);
        let at = usize::try_from(lba).unwrap() * 512;
        assert!(io.place(Lba::new(lba), &before[at..at + USED]));
    }
    io
}

#[test]
fn a_found_entry_is_restated_where_it_is_missing() {
    for holders in [vec![0], vec![1], vec![2], vec![0, 2], vec![1, 2], vec![0, 1, 2]] {
        let io = newest_only_in(&holders);
        let geometry = *store(&io).geometry();
        let place = |replica| slot_lba(&geometry, replica, 1);
        let record = bytes_at(&io, place(holders[0]), USED);
        let mut journal = journal(&io);
        let entry = running(2, zone(4, 30));
        assert_eq!(journal.open(&io), Ok(Found::Entry(entry)));
        drop(writes(&io));
        journal.restate(&io).unwrap();
        let missing: Vec<_> = (0..3).filter(|replica| !holders.contains(replica)).map(|at| (place(at), 4)).collect();
        assert_eq!(writes(&io), missing, "{holders:?}");
        // Told to do it again, it believes nothing of what it did or read before: a flush has failed.
        journal.restate(&io).unwrap();
        let holding = holders.iter().map(|&replica| (place(replica), 4));
        let expected: Vec<_> = missing.into_iter().chain(holding).collect();
        assert_eq!(writes(&io), expected, "those that held it come last: {holders:?}");
        for replica in 0..3 {
            assert_eq!(bytes_at(&io, place(replica), USED), record);
        }
        // The holder may now be lost.
        io.inject(Fault::Read(Lba::new(place(holders[0]))));
        assert_eq!(self::journal(&io).open(&io), Ok(Found::Entry(entry)));
        io.heal();
        // The journal goes on in the other slot.
        write(&mut *journal, &io, &numbered(3), None);
        assert_eq!(self::journal(&io).open(&io), Ok(Found::Entry(numbered(3))));
        assert_eq!(bytes_at(&io, place(0), USED), record);
    }
}

#[test]
fn a_torn_copy_of_a_found_entry_is_restated_too() {
    for torn in 0..4 {
        let io = newest_only_in(&[0, 1, 2]);
        let places = [0, 1, 2].map(|replica| slot_lba(store(&io).geometry(), replica, 1));
        assert!(io.place(Lba::new(places[1] + torn), &[0xa5; 512]));
        let record = bytes_at(&io, places[0], USED);
        let mut journal = opened(&io);
        drop(writes(&io));
        journal.restate(&io).unwrap();
        assert_eq!(writes(&io), [(places[1], 4)], "{torn}");
        assert_eq!(bytes_at(&io, places[1], USED), record);
    }
}

#[test]
fn restating_tries_every_replica_and_again() {
    let io = newest_only_in(&[2]);
    let first = Lba::new(slot_lba(store(&io).geometry(), 0, 1));
    let mut journal = opened(&io);
    io.inject(Fault::Write(first));
    drop(writes(&io));
    assert_eq!(journal.restate(&io), Err(VckError::Device { status: FAULT_STATUS, lba: Some(first) }));
    assert_eq!(writes(&io).len(), 2);
    io.heal();
    journal.restate(&io).unwrap();
    assert_eq!(writes(&io).len(), 2, "the only holder is not written over: no flush has failed");
    journal.restate(&io).unwrap();
    assert_eq!(writes(&io).len(), 3);
    assert_eq!(bytes_at(&io, first.get(), USED), bytes_at(&io, slot_lba(store(&io).geometry(), 2, 1), USED));
}

#[test]
fn an_unreadable_slot_is_written() {
    let io = newest_only_in(&[0, 1, 2]);
    let first = Lba::new(slot_lba(store(&io).geometry(), 0, 1));
    io.inject(Fault::Read(first));
    let mut journal = opened(&io);
    drop(writes(&io));
    journal.restate(&io).unwrap();
    assert_eq!(writes(&io), [(first.get(), 4)]);
}

#[test]
fn only_what_was_found_can_be_restated() {
    let io = newest_only_in(&[0]);
    let refused = |result| assert!(matches!(result, Err(VckError::WrongState(_))), "{result:?}");
    refused(journal(&io).restate(&io));
    let mut covered = opened(&io);
    covered.cover(zone(0, 2), &[0; 1024]).unwrap();
    drop(writes(&io));
    refused(covered.restate(&io));
    assert_eq!(writes(&io), []);
    let mut written = opened(&io);
    write(&mut *written, &io, &numbered(5), None);
    refused(written.restate(&io));
    let empty = new_volume(SIZE, &options(0, 1));
    drop(writes(&empty));
    assert_eq!(opened(&empty).restate(&empty), Ok(()), "nothing was found, nothing is to be done");
    assert_eq!(writes(&empty), []);
}

#[test]
fn a_passing_read_error_does_not_hide_the_newest_record() {
    /// Fails every read of a sector but each third.
    struct Flaky<'a>(&'a MemoryIo, Lba, std::sync::atomic::AtomicU32);
    impl SectorIo for Flaky<'_> {
        fn sector_size(&self) -> SectorSize {
            self.0.sector_size()
        }
        fn total_sectors(&self) -> vck_common::SectorCount {
            self.0.total_sectors()
        }
        fn read_sectors(&self, lba: Lba, buf: &mut [u8]) -> vck_common::VckResult<()> {
            if lba == self.1 && self.2.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 3 != 2 {
                return Err(VckError::Device { status: FAULT_STATUS, lba: Some(lba) });
            }
            self.0.read_sectors(lba, buf)
        }
        fn write_sectors(&self, lba: Lba, buf: &[u8], durability: vck_common::Durability) -> vck_common::VckResult<()> {
            self.0.write_sectors(lba, buf, durability)
        }
        fn flush(&self) -> vck_common::VckResult<()> {
            self.0.flush()
        }
    }
    let io = newest_only_in(&[0]);
    for sector in [0, 3] {
        let lba = Lba::new(slot_lba(store(&io).geometry(), 0, 1) + sector);
        let flaky = Flaky(&io, lba, 0.into());
        assert_eq!(journal(&io).open(&flaky), Ok(Found::Entry(running(2, zone(4, 30)))));
        let reads = flaky.2.load(std::sync::atomic::Ordering::Relaxed);
        assert!(reads == 3, "{reads}");
    }
}

#[test]
fn a_torn_sector_that_holds_something_else_was_written() {
    let io = new_volume(SIZE, &options(0, 2));
    let mut writer = opened(&io);
    let [torn, unreadable, unknown] = [3, 4, 5].map(DataSector::new);
    let listed = |sector, damage| DamagedSector { sector, damage };
    let damaged = [listed(torn, Damage::Torn), listed(unreadable, Damage::Unreadable), listed(unknown, Damage::Torn)];
    let mut held = [0x77; 512];
    writer.note_torn(torn, &held);
    writer.note_torn(DataSector::new(9), &held);
    for boundary in 0..3 {
        // It stays known while it stays listed.
        write(&mut *writer, &io, &Entry { damaged: &damaged, ..numbered(boundary) }, None);
    }
    let mut reader = opened(&io);
    held[100] ^= 1;
    let mut changed = held;
    held[100] ^= 1;
    assert!(!reader.was_written_since(torn, &held));
    assert!(reader.was_written_since(torn, &changed));
    for sector in [unreadable, unknown, DataSector::new(9), DataSector::ZERO] {
        assert!(!reader.was_written_since(sector, &changed), "{sector}: nothing is known");
    }
    // The writer goes on knowing, also in a journal that was opened.
    write(&mut *reader, &io, &Entry { damaged: &damaged[..1], ..numbered(7) }, None);
    reader = opened(&io);
    assert!(!reader.was_written_since(torn, &held) && reader.was_written_since(torn, &changed));
    // Torn again, it holds something else.
    reader.note_torn(torn, &changed);
    write(&mut *reader, &io, &Entry { damaged: &damaged[..1], ..numbered(8) }, None);
    reader = opened(&io);
    assert!(reader.was_written_since(torn, &held) && !reader.was_written_since(torn, &changed));
    // Left out and listed again, nothing is known.
    write(&mut *reader, &io, &numbered(9), None);
    write(&mut *reader, &io, &Entry { damaged: &damaged[..1], ..numbered(10) }, None);
    changed[0] ^= 1;
    assert!(!opened(&io).was_written_since(torn, &changed));
}

#[test]
fn every_listed_torn_sector_has_room() {
    let io = new_volume(SIZE, &options(0, 2));
    let mut journal = opened(&io);
    for round in 0..3_u64 {
        let damaged: Vec<_> = (0..64)
            .map(|at| DamagedSector { sector: DataSector::new(round + 20 * at), damage: Damage::Torn })
            .collect();
        write(&mut *journal, &io, &numbered(round), None);
        for damaged in &damaged {
            journal.note_torn(damaged.sector, &[0x11; 512]);
        }
        write(&mut *journal, &io, &Entry { damaged: &damaged, ..numbered(round) }, None);
        let reader = opened(&io);
        assert!(damaged.iter().all(|damaged| reader.was_written_since(damaged.sector, &[0x12; 512])));
    }
}

#[test]
fn one_bad_replica_does_not_take_the_volume() {
    let io = new_volume(SIZE, &options(1, 2));
    let geometry = *store(&io).geometry();
    let mut writer = opened(&io);
    let bad = [0, 1].map(|slot| Lba::new(slot_lba(&geometry, 1, slot)));
    let failure = |lba| Err(VckError::Device { status: FAULT_STATUS, lba: Some(lba) });
    for lba in bad {
        io.inject(Fault::Write(lba));
    }
    for _ in 0..2 {
        assert_eq!(writer.write(&io, &numbered(1), None), failure(bad[0]));
        assert_eq!(writer.lost_replicas(), 0);
    }
    for boundary in 1..4 {
        write(&mut *writer, &io, &numbered(boundary), None);
        assert_eq!(writer.lost_replicas(), 1);
        assert_eq!(journal(&io).open(&io), Ok(Found::Entry(numbered(boundary))));
    }
    // A replica counts again when the slot that failed takes a write; the other slot proves nothing.
    io.heal();
    write(&mut *writer, &io, &numbered(4), None);
    assert_eq!(writer.lost_replicas(), 1);
    write(&mut *writer, &io, &numbered(5), None);
    assert_eq!(writer.lost_replicas(), 0);
    write(&mut *writer, &io, &numbered(6), None);
    io.inject(Fault::Write(bad[0]));
    assert_eq!(writer.write(&io, &numbered(7), None), failure(bad[0]));
}

#[test]
fn replicas_that_all_fail_are_not_given_up() {
    let io = new_volume(SIZE, &options(0, 2));
    let geometry = *store(&io).geometry();
    let mut writer = opened(&io);
    for replica in 0..2 {
        io.inject(Fault::Write(Lba::new(slot_lba(&geometry, replica, 0))));
    }
    for _ in 0..5 {
        assert!(writer.write(&io, &numbered(1), None).is_err());
    }
}

#[test]
fn a_replica_that_cannot_be_restated_is_given_up() {
    let io = newest_only_in(&[0, 2]);
    let bad = Lba::new(slot_lba(store(&io).geometry(), 1, 1));
    io.inject(Fault::Write(bad));
    let mut journal = opened(&io);
    for _ in 0..2 {
        assert!(journal.restate(&io).is_err());
    }
    assert_eq!((journal.restate(&io), journal.lost_replicas()), (Ok(()), 1));
}

#[test]
fn a_slot_that_was_unreadable_once_never_rises() {
    // Record 2 was cut: it is in one replica alone, and cannot be read at the next start.
    for (replica, records) in [(0, 1), (2, 1), (0, 0), (2, 0)] {
        let io = new_volume(SIZE, &options(1, 2));
        let geometry = *store(&io).geometry();
        let mut writer = opened(&io);
        for record in 0..records {
            write(&mut *writer, &io, &numbered(record), None);
        }
        let before = io.image();
        writer.write(&io, &numbered(9), None).unwrap();
        for other in (0..3).filter(|&other| other != replica) {
            let lba = slot_lba(&geometry, other, records);
            let at = usize::try_from(lba).unwrap() * 512;
            assert!(io.place(Lba::new(lba), &before[at..at + USED]));
        }
        let risen = Lba::new(slot_lba(&geometry, replica, records));
        assert_eq!(journal(&io).open(&io), Ok(Found::Entry(numbered(9))), "it would rise");
        io.inject(Fault::Read(risen));
        let mut reader = journal(&io);
        let found = if records == 0 { Found::Nothing } else { Found::Entry(numbered(0)) };
        assert_eq!(reader.open(&io), Ok(found));
        drop(writes(&io));
        reader.restate(&io).unwrap();
        assert_eq!(writes(&io), [(risen.get(), 1)]);
        reader.restate(&io).unwrap();
        assert!(writes(&io).contains(&(risen.get(), 1)), "told to do it again, it wipes again");
        io.heal();
        assert_eq!(journal(&io).open(&io), Ok(found));
        // The journal goes on.
        write(&mut *reader, &io, &numbered(5), None);
        assert_eq!(journal(&io).open(&io), Ok(Found::Entry(numbered(5))));
    }
}

#[test]
fn a_place_that_can_neither_be_read_nor_wiped_is_given_up() {
    let io = new_volume(SIZE, &options(0, 2));
    let bad = Lba::new(slot_lba(store(&io).geometry(), 1, 1));
    io.inject(Fault::Read(bad));
    io.inject(Fault::Write(bad));
    let mut journal = opened(&io);
    for _ in 0..2 {
        assert!(journal.restate(&io).is_err());
    }
    assert_eq!((journal.restate(&io), journal.lost_replicas()), (Ok(()), 1));
}

#[test]
fn a_bad_slot_beside_a_good_one_is_given_up() {
    // The newest record is in slot 1 of both replicas; slot 0 of one can be neither read nor written.
    let io = new_volume(SIZE, &options(0, 2));
    let geometry = *store(&io).geometry();
    let mut writer = opened(&io);
    write(&mut *writer, &io, &numbered(1), None);
    write(&mut *writer, &io, &numbered(2), None);
    let bad = Lba::new(slot_lba(&geometry, 0, 0));
    io.inject(Fault::Read(bad));
    io.inject(Fault::Write(bad));
    let mut reader = journal(&io);
    assert_eq!(reader.open(&io), Ok(Found::Entry(numbered(2))));
    // Told again, it writes slot 1, which is sound: that must not make slot 0 count again.
    for _ in 0..2 {
        assert!(reader.restate(&io).is_err());
    }
    assert_eq!((reader.restate(&io), reader.lost_replicas()), (Ok(()), 1));
    for boundary in 3..9 {
        write(&mut *reader, &io, &numbered(boundary), None);
        assert_eq!(journal(&io).open(&io), Ok(Found::Entry(numbered(boundary))), "no write is tried twice");
    }
    assert_eq!(reader.lost_replicas(), 1);
}
