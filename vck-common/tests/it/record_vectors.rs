//! `record.json`: records that a second implementation made from the format document.

use serde_json::Value;
use vck_common::{
    Activity, ConversionJournal, DamagedSector, DataExtent, DataSector, EncryptedOffsetStore, Geometry, Lba, MemoryIo,
    NtStatus, SealedUpdate, SectorCount, SectorIo, VckError, VolumeState,
    journal::{Damage, Entry, Found, JournalError},
    jvck::{JvckCbcCodec, JvckHeader, JvckMetadataStore, JvckSecrets, MetadataCodec},
};

use crate::{
    record::{bytes_at, numbered, write},
    support::{array, bytes, cases, hex, number, sector_size, small, text, vectors, volume},
};

/// The volume of a case, without a record.
fn volume_of(case: &Value, keys: &Value) -> MemoryIo {
    let (size, total) = (sector_size(case), number(case, "volume_sectors"));
    let io = volume(size, total);
    let replicas = |key| small(case, key);
    let (headers, footers) = (replicas("headers"), replicas("footers"));
    let geometry =
        Geometry::new(size, SectorCount::new(total), headers, footers, small(case, "metadata_size")).unwrap();
    let header = JvckHeader::for_new_volume(&geometry, array(keys, "volume_id"));
    let secrets = JvckSecrets::copy_from(&[1; 32], &[2; 32]);
    let lbas: Vec<_> = geometry.metadata_lbas().map(Lba::get).collect();
    assert_eq!(lbas, numbers(case, "block_lbas"));
    for (lba, salt) in geometry.metadata_lbas().zip(cases(case, "block_salts")) {
        let salt = hex(salt.as_str().unwrap()).try_into().unwrap();
        let (offset, state, mut block) = (DataSector::ZERO, VolumeState::Encrypt, [0; 512]);
        JvckCbcCodec.seal(&header, &secrets, offset, state, &salt, &bytes(keys, "vmk"), &mut block).unwrap();
        assert!(io.place(lba, &block));
    }
    io
}

fn journal(io: &MemoryIo, keys: &Value) -> Box<dyn ConversionJournal> {
    let store = JvckMetadataStore::open(io, &bytes(keys, "vmk")).unwrap_or_else(|error| panic!("{error}"));
    store.journal().unwrap().unwrap()
}

fn numbers(value: &Value, key: &str) -> Vec<u64> {
    value[key].as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).collect()
}

fn damaged_of(entry: &Value) -> Vec<DamagedSector> {
    let one = |pair: &Value| DamagedSector {
        sector: DataSector::new(pair[0].as_u64().unwrap()),
        damage: if pair[1] == "torn" { Damage::Torn } else { Damage::Unreadable },
    };
    entry["damaged"].as_array().unwrap().iter().map(one).collect()
}

fn entry_of<'a>(entry: &Value, damaged: &'a [DamagedSector]) -> Entry<'a> {
    let activity = match text(entry, "activity") {
        "idle" => Activity::Idle,
        "running" => Activity::Running,
        "paused" => Activity::Paused,
        other => {
            assert_eq!(other, "faulted");
            Activity::Faulted
        }
    };
    let error = entry["error"].is_object().then(|| JournalError {
        kind: u8::try_from(number(&entry["error"], "kind")).unwrap(),
        lba: Lba::new(number(&entry["error"], "lba")),
        status: NtStatus::from_u32(small(&entry["error"], "status")),
        count: small(&entry["error"], "count"),
    });
    let zone = numbers(entry, "zone");
    Entry {
        activity,
        direction: if entry["direction"] == "decrypt" { VolumeState::Decrypt } else { VolumeState::Encrypt },
        boundary: DataSector::new(number(entry, "boundary")),
        zone: DataExtent::new(DataSector::new(zone[0]), SectorCount::new(zone[1])),
        error,
        damaged,
    }
}

/// What a torn sector held.
fn held(sector: DataSector, size: usize) -> Vec<u8> {
    vec![u8::try_from(sector.get() % 256).unwrap(); size]
}

/// Byte `i` is `(7 i + i / 512) mod 256`.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((7 * at + at / 512) % 256).unwrap()).collect()
}

#[test]
fn both_implementations_write_the_same_records() {
    let vectors = vectors!("record.json");
    for case in cases(&vectors, "records") {
        let name = text(case, "name");
        let io = volume_of(case, &vectors["keys"]);
        let damaged = damaged_of(&case["entry"]);
        let entry = entry_of(&case["entry"], &damaged);
        let mut journal = journal(&io, &vectors["keys"]);
        assert_eq!(journal.open(&io), Ok(Found::Nothing));
        for _ in 1..number(case, "generation") {
            write(&mut *journal, &io, &numbered(0), None);
        }
        let ciphertext = pattern(usize::try_from(entry.zone.count.get()).unwrap() * io.sector_size().usize());
        journal.cover(entry.zone, &ciphertext).unwrap();
        for torn in damaged.iter().filter(|damaged| damaged.damage == Damage::Torn) {
            journal.note_torn(torn.sector, &held(torn.sector, io.sector_size().usize()));
        }
        let mut upcoming = SealedUpdate::new();
        let upcoming = case["upcoming"].is_string().then(|| {
            upcoming.set_identity(array(case, "upcoming"));
            &upcoming
        });
        write(&mut *journal, &io, &entry, upcoming);
        let expected = bytes(case, "bytes");
        for lba in numbers(case, "lbas") {
            assert!(bytes_at(&io, lba, expected.len()) == expected, "{name}");
        }
    }
}

#[test]
fn records_of_the_other_implementation_are_read() {
    let vectors = vectors!("record.json");
    for case in cases(&vectors, "records") {
        let damaged = damaged_of(&case["entry"]);
        let entry = entry_of(&case["entry"], &damaged);
        for lba in numbers(case, "lbas") {
            let io = volume_of(case, &vectors["keys"]);
            assert!(io.place(Lba::new(lba), &bytes(case, "bytes")));
            let mut journal = journal(&io, &vectors["keys"]);
            assert_eq!(journal.open(&io), Ok(Found::Entry(entry)), "{}", text(case, "name"));
            let size = io.sector_size().usize();
            let ciphertext = pattern(usize::try_from(entry.zone.count.get()).unwrap() * size);
            for (sector, bytes) in (entry.zone.first.get()..).zip(ciphertext.chunks_exact(size)) {
                assert!(journal.matches(DataSector::new(sector), bytes));
            }
            for damaged in &damaged {
                let (sector, mut bytes) = (damaged.sector, held(damaged.sector, size));
                assert!(!journal.was_written_since(sector, &bytes));
                bytes[size - 1] ^= 1;
                assert_eq!(journal.was_written_since(sector, &bytes), damaged.damage == Damage::Torn);
            }
        }
    }
}

#[test]
fn authentic_records_are_checked_all_the_same() {
    let vectors = vectors!("record.json");
    let base = &cases(&vectors, "records")[0];
    let damaged = damaged_of(&base["entry"]);
    let entry = entry_of(&base["entry"], &damaged);
    let mut answers = std::collections::BTreeSet::new();
    for case in cases(&vectors, "altered") {
        let (name, answer) = (text(case, "name"), text(case, "answer"));
        answers.insert(answer);
        let io = volume_of(base, &vectors["keys"]);
        let mut record = bytes(base, "bytes");
        for patch in case["patch"].as_array().unwrap() {
            let (at, value) = (usize::try_from(patch[0].as_u64().unwrap()).unwrap(), hex(patch[1].as_str().unwrap()));
            record[at..at + value.len()].copy_from_slice(&value);
        }
        record[480..512].copy_from_slice(&bytes(case, "mac"));
        assert!(io.place(Lba::new(numbers(base, "lbas")[1]), &record));
        let mut journal = journal(&io, &vectors["keys"]);
        let found = journal.open(&io);
        match answer {
            "nothing" => assert_eq!(found, Ok(Found::Nothing), "{name}"),
            "bad block" => assert!(matches!(found, Err(VckError::BadBlock(_))), "{name}: {found:?}"),
            "conflict" => assert!(matches!(found, Err(VckError::Conflict(_))), "{name}: {found:?}"),
            "entry, worn" => {
                assert_eq!(found, Ok(Found::Entry(entry)), "{name}");
                assert!(matches!(journal.write(&io, &numbered(0), None), Err(VckError::BadBlock(_))), "{name}");
            }
            other => {
                assert_eq!(other, "entry");
                let Ok(Found::Entry(found)) = found else { panic!("{name}: {found:?}") };
                assert_eq!((found.activity, found.zone), (entry.activity, entry.zone), "{name}");
            }
        }
    }
    assert_eq!(answers.len(), 5);
}
