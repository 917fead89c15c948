//! Which metadata blocks belong to a record: the salts it names, and what follows from others.

use vck_common::{
    DamagedSector, DataSector, Durability, EncryptedOffsetStore, MemoryIo, RandomSource, SealedUpdate, SectorIo,
    SectorSize, VckError, VckResult, VolumeState,
    journal::{Damage, Entry, Found},
    jvck::{JvckCbcCodec, JvckMetadataStore, JvckSecrets, MetadataCodec, block_salt},
    memory_io::Fault,
};

use crate::{
    record::{VMK, ciphertext, journal, new_volume, numbered, opened, options, running, store, write, writes, zone},
    support::{error_of, sector},
};

/// Fills everything with one byte.
struct Fixed(u8);

impl RandomSource for Fixed {
    fn fill(&self, out: &mut [u8]) -> VckResult<()> {
        out.fill(self.0);
        Ok(())
    }
}

/// An update with the salt `[salt; 16]`.
fn sealed(io: &MemoryIo, salt: u8) -> SealedUpdate {
    let mut update = SealedUpdate::new();
    store(io).seal(DataSector::new(u64::from(salt)), VolumeState::Encrypt, &Fixed(salt), &mut update).unwrap();
    update
}

/// Puts the block of an update into one replica.
fn place(io: &MemoryIo, update: &SealedUpdate, replica: usize) {
    let (lba, bytes) = update.writes().nth(replica).unwrap();
    assert!(io.place(lba, bytes));
}

#[test]
fn the_salt_identifies_an_update() {
    let io = new_volume(SectorSize::S4096, &options(0, 2));
    let mut update = sealed(&io, 7);
    for (_, bytes) in update.writes() {
        assert_eq!(*update.identity(), block_salt(bytes).unwrap());
    }
    assert_eq!(*update.identity(), [7; 16]);
    update.clear();
    assert_eq!(*update.identity(), [0; 16]);
    let failed = store(&io).seal(DataSector::new(u64::MAX), VolumeState::Encrypt, &Fixed(1), &mut update);
    assert!(failed.is_err() && update.is_empty() && *update.identity() == [0; 16]);
}

#[test]
fn blocks_that_a_record_announced_belong_to_it() {
    let io = new_volume(SectorSize::S512, &options(0, 2));
    let mut writer = opened(&io);
    let next = sealed(&io, 1);
    let area = zone(0, 3);
    writer.cover(area, &ciphertext(area, SectorSize::S512)).unwrap();
    write(&mut *writer, &io, &running(0, area), Some(&next));
    for replica in [0, 1] {
        assert_eq!(journal(&io).open(&io), Ok(Found::Entry(running(0, area))), "{replica} blocks written");
        place(&io, &next, replica);
    }
    assert_eq!(journal(&io).open(&io), Ok(Found::Entry(running(0, area))));
}

#[test]
fn an_announcement_counts_only_once_it_is_durable() {
    let io = new_volume(SectorSize::S512, &options(0, 2));
    let mut writer = opened(&io);
    let (first, second) = (sealed(&io, 1), sealed(&io, 2));
    write(&mut *writer, &io, &numbered(1), Some(&first));
    // Written, but never said to be durable: its blocks were not written, so the next record does not name them.
    writer.write(&io, &numbered(2), Some(&second)).unwrap();
    write(&mut *writer, &io, &numbered(3), None);
    place(&io, &first, 0);
    assert_eq!(journal(&io).open(&io), Ok(Found::Entry(numbered(3))));
    place(&io, &second, 0);
    assert_eq!(journal(&io).open(&io), Ok(Found::Overtaken(numbered(3))));
}

#[test]
fn after_interrupted_recoveries_three_salts_and_more_are_named() {
    let io = new_volume(SectorSize::S512, &options(1, 3));
    let original = sector(&io, store(&io).geometry().metadata_lba(0).unwrap());
    // Each recovery announces new blocks and is cut before it has written them all.
    for (round, written) in [(1, 3), (2, 2), (3, 1)] {
        let mut journal = opened(&io);
        let next = sealed(&io, round);
        let area = zone(0, 3);
        journal.cover(area, &ciphertext(area, SectorSize::S512)).unwrap();
        write(&mut *journal, &io, &running(0, area), Some(&next));
        (0..written).for_each(|replica| place(&io, &next, replica));
        let salts: std::collections::BTreeSet<_> =
            store(&io).geometry().metadata_lbas().map(|lba| block_salt(&sector(&io, lba)).unwrap()).collect();
        assert_eq!(salts.len(), usize::from(round) + 1);
        assert_eq!(self::journal(&io).open(&io), Ok(Found::Entry(running(0, area))), "{round}");
    }
    // A recovery that comes through leaves one.
    let mut journal = opened(&io);
    let next = sealed(&io, 4);
    write(&mut *journal, &io, &numbered(1), Some(&next));
    next.apply(&io, Durability::AtNextFlush).unwrap();
    io.flush().unwrap();
    journal.blocks_are_durable();
    write(&mut *journal, &io, &numbered(2), None);
    assert_eq!(self::journal(&io).open(&io), Ok(Found::Entry(numbered(2))));
    // Blocks from before are strangers now.
    assert!(io.place(store(&io).geometry().metadata_lba(2).unwrap(), &original));
    assert_eq!(self::journal(&io).open(&io), Ok(Found::Overtaken(numbered(2))));
}

#[test]
fn old_salts_stay_until_the_blocks_are_durable() {
    let io = new_volume(SectorSize::S512, &options(0, 2));
    let original = sector(&io, store(&io).geometry().metadata_lba(1).unwrap());
    let mut journal = opened(&io);
    for (round, durable) in [(1, false), (2, false), (3, true)] {
        let next = sealed(&io, round);
        write(&mut *journal, &io, &numbered(1), Some(&next));
        next.apply(&io, Durability::OnReturn).unwrap();
        if durable {
            journal.blocks_are_durable();
        }
    }
    let place_original = || assert!(io.place(store(&io).geometry().metadata_lba(1).unwrap(), &original));
    place_original();
    assert_eq!(self::journal(&io).open(&io), Ok(Found::Entry(numbered(1))), "still named by the newest record");
    write(&mut *journal, &io, &numbered(2), None);
    assert_eq!(self::journal(&io).open(&io), Ok(Found::Overtaken(numbered(2))));
}

#[test]
fn announcements_have_a_limit() {
    let io = new_volume(SectorSize::S512, &options(0, 2));
    let mut journal = opened(&io);
    for round in 1..15 {
        write(&mut *journal, &io, &numbered(1), Some(&sealed(&io, round)));
    }
    drop(writes(&io));
    let refused = journal.write(&io, &numbered(2), Some(&sealed(&io, 15)));
    assert!(matches!(refused, Err(VckError::WrongState(_))));
    assert_eq!(writes(&io), []);
    // The same blocks again are no new ones, and entries without blocks go on.
    write(&mut *journal, &io, &numbered(3), Some(&sealed(&io, 14)));
    write(&mut *journal, &io, &numbered(4), None);
    assert_eq!(self::journal(&io).open(&io), Ok(Found::Entry(numbered(4))));
    journal.blocks_are_durable();
    write(&mut *journal, &io, &numbered(5), Some(&sealed(&io, 15)));
}

#[test]
fn a_block_that_could_not_be_read_keeps_its_name() {
    let io = new_volume(SectorSize::S512, &options(0, 2));
    let unreadable = store(&io).geometry().metadata_lba(0).unwrap();
    let mut journal = opened(&io);
    let (first, second) = (sealed(&io, 1), sealed(&io, 2));
    write(&mut *journal, &io, &numbered(1), Some(&first));
    place(&io, &first, 1);
    io.inject(Fault::Read(unreadable));
    let mut journal = opened(&io);
    write(&mut *journal, &io, &numbered(2), Some(&second));
    place(&io, &second, 1);
    io.heal();
    assert_eq!(self::journal(&io).open(&io), Ok(Found::Entry(numbered(2))));
}

#[test]
fn another_implementation_counts_when_nothing_was_under_way() {
    let damaged = [DamagedSector { sector: DataSector::new(3), damage: Damage::Torn }];
    for replicas in [vec![0], vec![1], vec![0, 1]] {
        let io = new_volume(SectorSize::S512, &options(0, 2));
        let entry = Entry { damaged: &damaged, ..numbered(1) };
        write(&mut *opened(&io), &io, &entry, None);
        let foreign = sealed(&io, 9);
        for replica in replicas {
            place(&io, &foreign, replica);
        }
        assert_eq!(store(&io).load_offset().sector.get(), 9, "the blocks count");
        let mut journal = journal(&io);
        assert_eq!(journal.open(&io), Ok(Found::Overtaken(entry)));
        write(&mut *journal, &io, &numbered(9), None);
        assert_eq!(self::journal(&io).open(&io), Ok(Found::Entry(numbered(9))), "the journal follows");
    }
}

#[test]
fn another_implementation_conflicts_with_a_zone_under_way() {
    for replicas in [vec![0], vec![1], vec![0, 1]] {
        let io = new_volume(SectorSize::S512, &options(0, 2));
        let mut writer = opened(&io);
        let area = zone(0, 3);
        writer.cover(area, &ciphertext(area, SectorSize::S512)).unwrap();
        write(&mut *writer, &io, &running(0, area), None);
        let foreign = sealed(&io, 9);
        for replica in replicas {
            place(&io, &foreign, replica);
        }
        let mut journal = journal(&io);
        let error = error_of(journal.open(&io));
        assert!(matches!(error, VckError::Conflict(_)));
        let text = error.to_string();
        assert!(text.contains("another implementation") && text.contains("put the blocks of before back"), "{text}");
        drop(writes(&io));
        assert!(matches!(journal.write(&io, &numbered(0), None), Err(VckError::WrongState(_))));
        assert_eq!(writes(&io), []);
    }
}

#[test]
fn blocks_that_do_not_open_are_nobodys() {
    let io = new_volume(SectorSize::S512, &options(0, 2));
    write(&mut *opened(&io), &io, &numbered(1), None);
    let opened = store(&io);
    let mut block = [0; 512];
    // Under another key, or with other data keys, and with a salt that the record does not name.
    let other_keys = JvckSecrets::copy_from(&[5; 32], &[6; 32]);
    for (keys, vmk) in [(opened.fvek_keys(), &b"x"[..]), (&other_keys, VMK)] {
        let (offset, state) = (DataSector::ZERO, VolumeState::Encrypt);
        JvckCbcCodec.seal(opened.header(), keys, offset, state, &[8; 16], vmk, &mut block).unwrap();
        assert!(io.place(opened.geometry().metadata_lba(1).unwrap(), &block));
        assert_eq!(journal(&io).open(&io), Ok(Found::Entry(numbered(1))));
    }
}

#[test]
fn the_journal_is_to_be_had_before_the_first_update() {
    let io = new_volume(SectorSize::S512, &options(0, 2));
    let store = store(&io);
    assert!(store.journal().is_ok());
    store.persist(DataSector::new(5), VolumeState::Encrypt, &Fixed(5)).unwrap();
    assert!(matches!(error_of(store.journal()), VckError::WrongState(_)));
    // Reopened, it names what was written.
    let mut journal = opened(&io);
    write(&mut *journal, &io, &numbered(5), None);
    assert_eq!(self::journal(&io).open(&io), Ok(Found::Entry(numbered(5))));
}

#[test]
fn a_created_volume_has_a_journal_at_once() {
    let io = crate::support::volume(SectorSize::S512, 8192);
    let secrets = JvckSecrets::copy_from(&[1; 32], &[2; 32]);
    let store = JvckMetadataStore::create(&io, VMK, &options(0, 2), secrets, [9; 16], JvckCbcCodec, &Fixed(1))
        .unwrap_or_else(|error| panic!("{error}"));
    let mut writer = store.journal().unwrap().unwrap();
    assert_eq!(writer.open(&io), Ok(Found::Nothing));
    write(&mut *writer, &io, &numbered(1), None);
    assert_eq!(journal(&io).open(&io), Ok(Found::Entry(numbered(1))));
}

#[test]
fn stale_replicas_ask_to_be_rewritten_until_they_are() {
    let io = new_volume(SectorSize::S512, &options(0, 3));
    assert!(!store(&io).needs_rewrite());
    place(&io, &sealed(&io, 1), 0);
    let store = store(&io);
    assert!(store.needs_rewrite());
    let (offset, state) = store.load().unwrap();
    let mut update = SealedUpdate::new();
    store.seal(offset.sector, state, &Fixed(2), &mut update).unwrap();
    assert!(store.needs_rewrite(), "sealing writes nothing");
    update.apply(&io, Durability::OnReturn).unwrap();
    store.sealed_is_durable(offset.sector, state);
    assert!(!store.needs_rewrite());
    assert!(!self::store(&io).needs_rewrite());
}
