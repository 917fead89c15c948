//! Records that are damaged, torn, somebody else's, or made to harm.

use vck_common::{
    DataSector, Geometry, Lba, MemoryIo, SectorCount, SectorSize, VckError, VolumeState,
    journal::Found,
    jvck::{JvckCbcCodec, JvckHeader, JvckMetadataStore, JvckSecrets, MetadataCodec, default_codec},
    memory_io::{FAULT_STATUS, Fault},
};

use crate::{
    record::{
        VMK, bytes_at, ciphertext, journal, new_volume, numbered, opened, options, running, slot_lba, store, write,
        writes, zone,
    },
    support::{CountingRandom, error_of, volume},
};

const SIZE: SectorSize = SectorSize::S512;

/// A volume with one replica: record 1 in the first slot, record 2 with a zone in the second.
fn two_records() -> (MemoryIo, [u64; 2], usize) {
    let io = new_volume(SIZE, &options(0, 1));
    let geometry = *store(&io).geometry();
    let mut writer = opened(&io);
    write(&mut *writer, &io, &numbered(1), None);
    let area = zone(4, 70);
    writer.cover(area, &ciphertext(area, SIZE)).unwrap();
    write(&mut *writer, &io, &running(2, area), None);
    (io, [slot_lba(&geometry, 0, 0), slot_lba(&geometry, 0, 1)], 1536 + 1024)
}

#[test]
fn every_single_bit_flip_is_rejected() {
    let (io, [_, newest], used) = two_records();
    let good = bytes_at(&io, newest, used);
    let mut reader = journal(&io);
    assert_eq!(reader.open(&io), Ok(Found::Entry(running(2, zone(4, 70)))));
    for bit in 0..used * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(io.place(Lba::new(newest), &bad));
        assert_eq!(reader.open(&io), Ok(Found::Entry(numbered(1))), "bit {bit}");
    }
}

#[test]
fn every_torn_write_shows_the_record_before() {
    let (io, [oldest, newest], used) = two_records();
    let mut writer = opened(&io);
    let (before, now) = (bytes_at(&io, oldest, used), bytes_at(&io, newest, used));
    let area = zone(9, 70);
    writer.cover(area, &ciphertext(area, SIZE)).unwrap();
    writer.write(&io, &running(3, area), None).unwrap();
    let after = bytes_at(&io, oldest, used);
    let mut reader = journal(&io);
    let (sectors, mut whole) = (used / 512, 0);
    for survived in 0..1_usize << sectors {
        let mut torn = before.clone();
        for sector in (0..sectors).filter(|sector| survived >> sector & 1 == 1) {
            let range = sector * 512..sector * 512 + 512;
            torn[range.clone()].copy_from_slice(&after[range]);
        }
        assert!(io.place(Lba::new(oldest), &torn));
        // The table of damaged sectors is empty in both.
        let expected = if torn == after { running(3, area) } else { running(2, zone(4, 70)) };
        assert_eq!(reader.open(&io), Ok(Found::Entry(expected)), "{survived:b}");
        whole += u32::from(torn == after);
    }
    assert_eq!(whole, 4, "two sectors are the same in both");
    // Torn inside a sector.
    for cut in (0..used).step_by(16) {
        let torn = [&after[..cut], &before[cut..]].concat();
        assert!(io.place(Lba::new(oldest), &torn));
        let expected = if torn == after { running(3, area) } else { running(2, zone(4, 70)) };
        assert_eq!(reader.open(&io), Ok(Found::Entry(expected)), "{cut}");
    }
    assert_eq!(bytes_at(&io, newest, used), now);
}

#[test]
fn a_torn_first_record_is_none() {
    let io = new_volume(SIZE, &options(0, 2));
    let geometry = *store(&io).geometry();
    opened(&io).write(&io, &numbered(1), None).unwrap();
    for replica in 0..2 {
        assert!(io.place(Lba::new(slot_lba(&geometry, replica, 0) + 1), &[0xa5; 512]));
    }
    assert_eq!(journal(&io).open(&io), Ok(Found::Nothing));
    write(&mut *opened(&io), &io, &numbered(2), None);
    assert_eq!(journal(&io).open(&io), Ok(Found::Entry(numbered(2))));
}

#[test]
fn two_slots_of_ours_of_which_none_is_authentic_are_refused() {
    let (io, slots, _) = two_records();
    for slot in slots {
        assert!(io.place(Lba::new(slot + 1), &[0xa5; 512]));
    }
    let mut reader = journal(&io);
    assert!(matches!(error_of(reader.open(&io)), VckError::BadBlock(_)));
    assert!(matches!(reader.write(&io, &numbered(1), None), Err(VckError::WrongState(_))));
}

#[test]
fn a_record_under_another_key_is_refused() {
    let (io, ..) = two_records();
    let before = store(&io);
    let mut block = [0; 512];
    JvckCbcCodec
        .seal(before.header(), before.fvek_keys(), DataSector::ZERO, VolumeState::Encrypt, &[8; 16], b"x", &mut block)
        .unwrap();
    assert!(io.place(before.geometry().metadata_lba(0).unwrap(), &block));
    let after = JvckMetadataStore::open(&io, b"x").unwrap_or_else(|error| panic!("{error}"));
    let mut journal = vck_common::EncryptedOffsetStore::journal(&after).unwrap().unwrap();
    assert!(error_of(journal.open(&io)).to_string().contains("another key"));
}

#[test]
fn a_slot_that_no_replica_can_show_may_be_the_newest() {
    let io = new_volume(SIZE, &options(0, 2));
    let geometry = *store(&io).geometry();
    let mut writer = opened(&io);
    write(&mut *writer, &io, &numbered(1), None);
    let slot = |replica, slot| Lba::new(slot_lba(&geometry, replica, slot));
    io.inject(Fault::Read(slot(0, 1)));
    assert_eq!(journal(&io).open(&io), Ok(Found::Entry(numbered(1))), "the other replica shows it");
    io.inject(Fault::Read(slot(1, 1)));
    let device_error = |lba| VckError::Device { status: FAULT_STATUS, lba: Some(lba) };
    assert_eq!(error_of(journal(&io).open(&io)), device_error(slot(1, 1)));
    io.heal();
    io.inject(Fault::Read(slot(0, 0)));
    io.inject(Fault::Read(slot(0, 1)));
    assert_eq!(journal(&io).open(&io), Ok(Found::Entry(numbered(1))), "one replica alone");
}

#[test]
fn what_was_unreadable_is_outrun_when_it_comes_back() {
    let io = new_volume(SIZE, &options(0, 2));
    let geometry = *store(&io).geometry();
    let mut writer = opened(&io);
    write(&mut *writer, &io, &numbered(1), None);
    // Newer records that were never durable reached the first replica alone; it cannot be read for a while.
    let [first, second] = [0, 1].map(|replica| Lba::new(slot_lba(&geometry, replica, 1)));
    io.inject(Fault::Write(second));
    for attempt in 0..2 {
        assert!(writer.write(&io, &numbered(2 + attempt), None).is_err());
    }
    io.heal();
    io.inject(Fault::Read(first));
    let mut other = journal(&io);
    assert_eq!(other.open(&io), Ok(Found::Entry(numbered(1))));
    io.inject(Fault::Write(first));
    assert!(other.write(&io, &numbered(20), None).is_err());
    io.heal();
    assert_eq!(journal(&io).open(&io), Ok(Found::Entry(numbered(20))));
}

#[test]
fn a_record_of_another_volume_is_not_ours() {
    let io = new_volume(SIZE, &options(0, 1));
    write(&mut *opened(&io), &io, &numbered(1), None);
    let geometry = *store(&io).geometry();
    let record = bytes_at(&io, slot_lba(&geometry, 0, 0), 1536);
    let other = volume(SIZE, geometry.volume_sectors().get());
    let secrets = JvckSecrets::copy_from(&[1; 32], &[2; 32]);
    JvckMetadataStore::create(&other, VMK, &options(0, 1), secrets, [8; 16], default_codec(), &CountingRandom::new())
        .unwrap_or_else(|error| panic!("{error}"));
    for slot in 0..2 {
        assert!(other.place(Lba::new(slot_lba(&geometry, 0, slot)), &record));
    }
    assert_eq!(journal(&other).open(&other), Ok(Found::Nothing));
}

/// Writes blocks with this header into some replicas.
fn place_header(io: &MemoryIo, header: &JvckHeader, replicas: &[usize]) {
    let store = store(io);
    let mut block = [0; 512];
    let salt = CountingRandom::new();
    let mut bytes = [0; 16];
    vck_common::RandomSource::fill(&salt, &mut bytes).unwrap();
    JvckCbcCodec
        .seal(header, store.fvek_keys(), DataSector::ZERO, VolumeState::Encrypt, &bytes, VMK, &mut block)
        .unwrap();
    for &replica in replicas {
        assert!(io.place(store.geometry().metadata_lba(replica).unwrap(), &block));
    }
}

/// Headers with bytes of a vendor, and the replicas that may have them while the others have none.
fn vendors(header: &JvckHeader) -> Vec<(JvckHeader, Vec<usize>)> {
    let mut last = [0; 192];
    last[191] = 1;
    vec![
        (JvckHeader { vendor_id: 1 << 63, ..header.clone() }, vec![0, 1]),
        (JvckHeader { vendor_version: 1, ..header.clone() }, vec![0, 1]),
        (JvckHeader { vendor_reserved: last, ..header.clone() }, vec![0, 1]),
        (JvckHeader { vendor_reserved: last, ..header.clone() }, vec![0]),
        (JvckHeader { vendor_reserved: last, ..header.clone() }, vec![1]),
    ]
}

#[test]
fn the_vendor_area_of_a_vendor_is_never_written() {
    let base = store(&new_volume(SIZE, &options(0, 2))).header().clone();
    for (header, replicas) in vendors(&base) {
        let io = new_volume(SIZE, &options(0, 2));
        place_header(&io, &header, &replicas);
        let mut journal = journal(&io);
        assert_eq!(journal.open(&io), Ok(Found::Unavailable), "{replicas:?}");
        drop(writes(&io));
        assert!(matches!(journal.write(&io, &numbered(0), None), Err(VckError::WrongState(_))));
        assert_eq!(writes(&io), []);
    }
}

#[test]
fn an_altered_plaintext_header_is_noticed() {
    let base = store(&new_volume(SIZE, &options(0, 2))).header().clone();
    for (header, replicas) in vendors(&base) {
        let io = new_volume(SIZE, &options(0, 2));
        write(&mut *opened(&io), &io, &numbered(1), None);
        assert_eq!(journal(&io).open(&io), Ok(Found::Entry(numbered(1))));
        place_header(&io, &header, &replicas);
        let adopted = store(&io).header().clone();
        let outcome = journal(&io).open(&io).map(|_| ());
        if adopted == base {
            // The first replica is adopted, the altered one is reported as stale.
            assert_eq!((outcome, replicas), (Ok(()), vec![1]));
        } else {
            assert!(error_of(outcome).to_string().contains("altered"), "{replicas:?}");
        }
    }
}

#[test]
fn a_resized_volume_is_refused() {
    let io = new_volume(SIZE, &options(1, 0));
    write(&mut *opened(&io), &io, &numbered(1), None);
    let larger = volume(SIZE, store(&io).geometry().volume_sectors().get() + 8);
    assert!(larger.place(Lba::new(0), &io.image()));
    let error = error_of(journal(&larger).open(&larger));
    assert!(matches!(error, VckError::Conflict(_)) && error.to_string().contains("resized"), "{error}");
}

#[test]
fn opening_writes_nothing_and_reads_within_bounds() {
    let io = new_volume(SIZE, &options(1, 2));
    let geometry = *store(&io).geometry();
    for filling in [vec![0xff; 512], b"VCKRECRD".repeat(64), b"VCKRECRD".iter().copied().chain([0xff; 504]).collect()] {
        for replica in 0..geometry.replica_count() {
            for sector in 0..geometry.vendor_sectors().get() {
                let base = geometry.vendor_base_lba(replica).unwrap();
                assert!(io.place(base.checked_add(SectorCount::new(sector)).unwrap(), &filling));
            }
        }
        let before = io.image();
        assert_eq!(journal(&io).open(&io), Ok(Found::Nothing));
        assert_eq!(io.image(), before);
    }
}

#[test]
fn slots_lie_inside_the_vendor_area_and_keep_their_distance() {
    for (size, headers, footers, region) in [(512, 2, 2, 131_072), (4096, 1, 2, 131_072), (512, 1, 1, 262_144)] {
        let size = SectorSize::new(size).unwrap();
        let geometry = Geometry::new(size, SectorCount::new(1 << 20), headers, footers, region).unwrap();
        for replica in 0..geometry.replica_count() {
            let base = geometry.vendor_base_lba(replica).unwrap().get();
            for slot in 0..2 {
                let start = slot_lba(&geometry, replica, slot);
                assert!(start >= base && (start * size.u64()).is_multiple_of(4096));
            }
        }
    }
}
