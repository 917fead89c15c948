//! The conversion record: what is written is read back, from whichever slot and replica is newest.

use vck_common::{
    Activity, ConversionJournal, DamagedSector, DataExtent, DataSector, EncryptedOffsetStore, Geometry, Lba, MemoryIo,
    NtStatus, SealedUpdate, SectorCount, SectorIo, SectorSize, VckError, VolumeState,
    journal::{Damage, Entry, Found, JournalError, MAX_DAMAGED},
    jvck::{
        JvckCbcCodec, JvckHeader, JvckMetadataOptions, JvckMetadataStore, JvckSecrets, MetadataCodec, default_codec,
    },
    memory_io::{FAULT_STATUS, Fault, IoEvent},
};

use crate::support::{CountingRandom, volume};

pub(crate) const VMK: &[u8] = b"a volume master key for the record";

pub(crate) fn options(headers: u32, footers: u32) -> JvckMetadataOptions {
    JvckMetadataOptions { use_header: headers, use_footer: footers, ..JvckMetadataOptions::default() }
}

pub(crate) fn new_volume(size: SectorSize, options: &JvckMetadataOptions) -> MemoryIo {
    let io = volume(size, (4 << 20) / size.u64());
    let secrets = JvckSecrets::copy_from(&[1; 32], &[2; 32]);
    JvckMetadataStore::create(&io, VMK, options, secrets, [9; 16], default_codec(), &CountingRandom::new())
        .unwrap_or_else(|error| panic!("{error}"));
    io
}

pub(crate) fn store(io: &MemoryIo) -> JvckMetadataStore<&MemoryIo> {
    JvckMetadataStore::open(io, VMK).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn journal(io: &MemoryIo) -> Box<dyn ConversionJournal> {
    store(io).journal().expect("memory").expect("JVCK has a journal")
}

/// A journal that was opened.
pub(crate) fn opened(io: &MemoryIo) -> Box<dyn ConversionJournal> {
    let mut journal = journal(io);
    journal.open(io).unwrap_or_else(|error| panic!("{error}"));
    journal
}

pub(crate) fn zone(first: u64, count: u64) -> DataExtent {
    DataExtent::new(DataSector::new(first), SectorCount::new(count))
}

pub(crate) fn ciphertext(zone: DataExtent, size: SectorSize) -> Vec<u8> {
    let len = usize::try_from(zone.count.get()).unwrap() * size.usize();
    (0..len).map(|at| u8::try_from((at / 3 + at % 251) % 256).unwrap()).collect()
}

pub(crate) fn running(boundary: u64, zone: DataExtent) -> Entry<'static> {
    Entry {
        activity: Activity::Running,
        direction: VolumeState::Encrypt,
        boundary: DataSector::new(boundary),
        zone,
        error: None,
        damaged: &[],
    }
}

/// An entry that differs from others by its boundary.
pub(crate) fn numbered(boundary: u64) -> Entry<'static> {
    running(boundary, zone(0, 0))
}

pub(crate) fn write(
    journal: &mut dyn ConversionJournal,
    io: &MemoryIo,
    entry: &Entry<'_>,
    next: Option<&SealedUpdate>,
) {
    journal.write(io, entry, next).unwrap_or_else(|error| panic!("{error}"));
    io.flush().unwrap();
    journal.it_is_durable();
}

/// Where a slot begins, by the words of the format document.
pub(crate) fn slot_lba(geometry: &Geometry, replica: usize, slot: u64) -> u64 {
    let unit = (4096 / geometry.sector_size().u64()).max(1);
    let most = 132_608_u64.div_ceil(unit * geometry.sector_size().u64());
    let slot_sectors = ((geometry.replica_sectors().get() / unit - 1) / 2).min(most) * unit;
    let base = geometry.vendor_base_lba(replica).unwrap().get();
    let is_header = replica < usize::from(geometry.header_count());
    (if is_header { base - 1 + unit } else { base }) + slot * slot_sectors
}

/// What the disk holds.
pub(crate) fn bytes_at(io: &MemoryIo, lba: u64, len: usize) -> Vec<u8> {
    let start = usize::try_from(lba).unwrap() * io.sector_size().usize();
    io.image()[start..start + len].to_vec()
}

/// First sectors and lengths of the writes since the last time.
pub(crate) fn writes(io: &MemoryIo) -> Vec<(u64, u64)> {
    let write = |event| match event {
        IoEvent::Write { lba, count, durability: _ } => Some((lba.get(), count.get())),
        _ => None,
    };
    io.take_events().into_iter().filter_map(write).collect()
}

#[test]
fn an_entry_comes_back() {
    for size in [SectorSize::S512, SectorSize::S4096] {
        for (headers, footers) in [(0, 2), (1, 1), (2, 0), (0, 1)] {
            let io = new_volume(size, &options(headers, footers));
            let mut first = journal(&io);
            assert_eq!(first.open(&io), Ok(Found::Nothing));
            let area = zone(5, 60);
            let bytes = ciphertext(area, size);
            first.cover(area, &bytes).unwrap();
            let damaged: Vec<_> = (0..MAX_DAMAGED as u64)
                .map(|at| DamagedSector {
                    sector: DataSector::new(at * 3),
                    damage: if at % 2 == 0 { Damage::Torn } else { Damage::Unreadable },
                })
                .collect();
            let error = JournalError { kind: 7, lba: Lba::new(1234), status: NtStatus::DEVICE_DATA_ERROR, count: 9 };
            let entry = Entry {
                activity: Activity::Faulted,
                direction: VolumeState::Decrypt,
                error: Some(error),
                damaged: &damaged,
                ..running(77, area)
            };
            write(&mut *first, &io, &entry, None);

            let mut second = journal(&io);
            assert_eq!(second.open(&io), Ok(Found::Entry(entry)));
            for (sector, bytes) in (5..).zip(bytes.chunks_exact(size.usize())) {
                assert!(second.matches(DataSector::new(sector), bytes));
                assert!(!second.matches(DataSector::new(sector + 1), bytes), "the place counts");
                for bit in [0, 8 * size.usize() - 1] {
                    let mut changed = bytes.to_vec();
                    changed[bit / 8] ^= 1 << (bit % 8);
                    assert!(!second.matches(DataSector::new(sector), &changed));
                }
            }
            let bytes = &bytes[..size.usize()];
            assert!(!second.matches(DataSector::new(4), bytes) && !second.matches(DataSector::new(65), bytes));
            assert!(!second.matches(DataSector::new(5), &bytes[..size.usize() - 1]));
        }
    }
}

#[test]
fn every_activity_and_direction_comes_back() {
    let io = new_volume(SectorSize::S512, &options(0, 2));
    let mut writer = opened(&io);
    for activity in [Activity::Running, Activity::Paused, Activity::Faulted, Activity::Idle] {
        for direction in [VolumeState::Decrypt, VolumeState::Encrypt] {
            let entry = Entry { activity, direction, ..numbered(5) };
            write(&mut *writer, &io, &entry, None);
            assert_eq!(journal(&io).open(&io), Ok(Found::Entry(entry)));
        }
    }
}

#[test]
fn slots_alternate_once_a_record_is_durable_and_not_before() {
    for (headers, footers) in [(0, 2), (2, 1)] {
        for size in [SectorSize::S512, SectorSize::S4096] {
            let io = new_volume(size, &options(headers, footers));
            let geometry = *store(&io).geometry();
            let mut journal = opened(&io);
            let used = (1536 / size.u64()).max(1);
            let in_every_replica = |slot| {
                (0..geometry.replica_count()).map(|at| (slot_lba(&geometry, at, slot), used)).collect::<Vec<_>>()
            };
            drop(writes(&io));
            for slot in [0, 1, 0] {
                // Until it is durable, it is the same slot again.
                for attempt in 0..3 {
                    journal.write(&io, &numbered(attempt), None).unwrap();
                    assert_eq!(writes(&io), in_every_replica(slot));
                }
                io.flush().unwrap();
                journal.it_is_durable();
                assert_eq!(self::journal(&io).open(&io), Ok(Found::Entry(numbered(2))));
                drop(writes(&io));
            }
            // After a failed write nothing became durable, whatever the caller says.
            let last = slot_lba(&geometry, geometry.replica_count() - 1, 1);
            io.inject(Fault::Write(Lba::new(last)));
            let failed = journal.write(&io, &numbered(7), None);
            assert_eq!(failed, Err(VckError::Device { status: FAULT_STATUS, lba: Some(Lba::new(last)) }));
            journal.it_is_durable();
            io.heal();
            drop(writes(&io));
            journal.write(&io, &numbered(8), None).unwrap();
            assert_eq!(writes(&io), in_every_replica(1));
            assert_eq!(self::journal(&io).open(&io), Ok(Found::Entry(numbered(8))), "and it is the newer one");
            // A reader of the disk goes on with the other slot.
            let mut other = opened(&io);
            drop(writes(&io));
            other.write(&io, &numbered(9), None).unwrap();
            assert_eq!(writes(&io), in_every_replica(0));
        }
    }
}

#[test]
fn every_replica_is_written_though_one_fails() {
    let io = new_volume(SectorSize::S512, &options(0, 3));
    let geometry = *store(&io).geometry();
    let mut journal = opened(&io);
    io.inject(Fault::Write(Lba::new(slot_lba(&geometry, 0, 0))));
    drop(writes(&io));
    assert!(journal.write(&io, &numbered(1), None).is_err());
    assert_eq!(writes(&io).len(), 3);
    assert_eq!(self::journal(&io).open(&io), Ok(Found::Entry(numbered(1))));
}

#[test]
fn only_the_used_sectors_are_written() {
    for (size, digests, sectors) in
        [(512, 0, 3), (512, 1, 4), (512, 64, 4), (512, 65, 5), (4096, 0, 1), (4096, 320, 1), (4096, 321, 2)]
    {
        let size = SectorSize::new(size).unwrap();
        let io = new_volume(size, &options(0, 1));
        let mut journal = opened(&io);
        let area = zone(1, digests);
        journal.cover(area, &ciphertext(area, size)).unwrap();
        drop(writes(&io));
        journal.write(&io, &running(1, area), None).unwrap();
        assert_eq!(writes(&io).iter().map(|&(_, count)| count).collect::<Vec<_>>(), [sectors], "{size}, {digests}");
        assert_eq!(self::journal(&io).open(&io), Ok(Found::Entry(running(1, area))));
    }
}

#[test]
fn the_newest_record_of_any_replica_counts() {
    let io = new_volume(SectorSize::S512, &options(1, 2));
    let geometry = *store(&io).geometry();
    let mut writer = opened(&io);
    write(&mut *writer, &io, &numbered(1), None);
    // Any one replica is enough for the next; the others keep an older slot, or lose both.
    for survivor in 0..3 {
        let before = io.image();
        write(&mut *writer, &io, &numbered(2), None);
        let after = io.image();
        for replica in (0..3).filter(|&replica| replica != survivor) {
            for slot in 0..2 {
                let lba = slot_lba(&geometry, replica, slot);
                let at = usize::try_from(lba).unwrap() * 512;
                assert!(io.place(Lba::new(lba), &before[at..at + 1536]));
            }
        }
        assert_eq!(journal(&io).open(&io), Ok(Found::Entry(numbered(2))), "replica {survivor}");
        for replica in (0..3).filter(|&replica| replica != survivor) {
            assert!(io.place(Lba::new(slot_lba(&geometry, replica, 0)), &[0; 1536]));
            assert!(io.place(Lba::new(slot_lba(&geometry, replica, 1)), &[0xff; 1536]));
        }
        assert_eq!(journal(&io).open(&io), Ok(Found::Entry(numbered(2))), "replica {survivor}");
        assert!(io.place(Lba::new(0), &after));
        write(&mut *writer, &io, &numbered(1), None);
    }
}

#[test]
fn an_entry_without_a_zone_keeps_the_digests() {
    for size in [SectorSize::S512, SectorSize::S4096] {
        let io = new_volume(size, &options(0, 1));
        let mut journal = opened(&io);
        let area = zone(3, 17);
        let bytes = ciphertext(area, size);
        journal.cover(area, &bytes).unwrap();
        write(&mut *journal, &io, &numbered(1), None);
        write(&mut *journal, &io, &running(1, area), None);
        let mut second = self::journal(&io);
        assert_eq!(second.open(&io), Ok(Found::Entry(running(1, area))));
        assert!(second.matches(DataSector::new(3), &bytes[..size.usize()]));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let size = SectorSize::S512;
    let io = new_volume(size, &options(0, 2));
    let data = store(&io).geometry().data_sectors().get();
    let mut journal = self::journal(&io);
    assert!(matches!(journal.write(&io, &numbered(0), None), Err(VckError::WrongState(_))), "not opened");
    journal.open(&io).unwrap();
    let longest = journal.longest_zone().get();
    let area = zone(0, 8);
    journal.cover(area, &ciphertext(area, size)).unwrap();
    for wrong in [zone(0, 9), zone(0, 7), zone(u64::MAX, 8), zone(0, u64::MAX), zone(0, longest + 1)] {
        assert!(matches!(journal.cover(wrong, &ciphertext(area, size)), Err(VckError::InvalidData(_))));
    }
    let invalid = |journal: &mut dyn ConversionJournal, entry: &Entry<'_>| {
        assert!(matches!(journal.write(&io, entry, None), Err(VckError::InvalidData(_))), "{entry:?}");
    };
    journal.cover(area, &ciphertext(area, size)).unwrap();
    drop(writes(&io));
    for other in [zone(0, 7), zone(1, 8), zone(data - 4, 8), zone(u64::MAX, 8)] {
        invalid(&mut *journal, &running(0, other));
    }
    invalid(&mut *journal, &numbered(data + 1));
    let torn = |sector| DamagedSector { sector: DataSector::new(sector), damage: Damage::Torn };
    invalid(&mut *journal, &Entry { damaged: &[torn(data)], ..numbered(0) });
    invalid(&mut *journal, &Entry { damaged: &[torn(0); MAX_DAMAGED + 1], ..numbered(0) });
    let nameless = SealedUpdate::new();
    assert!(matches!(journal.write(&io, &numbered(0), Some(&nameless)), Err(VckError::InvalidData(_))));
    assert_eq!(writes(&io), []);
    journal.write(&io, &Entry { damaged: &[torn(data - 1); MAX_DAMAGED], ..running(data, area) }, None).unwrap();
}

#[test]
fn the_capacity_follows_the_vendor_area() {
    // Bytes of a region, bytes of a sector, sectors of the longest zone; 0 if two slots do not fit.
    for (region, size, longest) in [
        (131_072, 512, 7488),
        (131_072, 4096, 7488),
        (131_072, 16384, 5952),
        (131_072, 65536, 0),
        (262_144, 512, 15680),
        (1 << 20, 512, 16384),
        (1 << 20, 4096, 16384),
        (12288, 512, 320),
        (8192, 512, 0),
        (8192, 4096, 0),
        (12288, 4096, 320),
    ] {
        let size = SectorSize::new(size).unwrap();
        let total = SectorCount::new(u64::from(region) * 2 / size.u64() + longest + 16);
        let geometry = Geometry::open(size, total, 1, 1, region).unwrap();
        let io = volume(size, total.get());
        // `create` refuses regions this small, but they can be opened.
        let header = JvckHeader::for_new_volume(&geometry, [9; 16]);
        let (secrets, mut block) = (JvckSecrets::copy_from(&[1; 32], &[2; 32]), [0; 512]);
        JvckCbcCodec
            .seal(&header, &secrets, DataSector::ZERO, VolumeState::Encrypt, &[3; 16], VMK, &mut block)
            .unwrap();
        for lba in geometry.metadata_lbas() {
            assert!(io.place(lba, &block));
        }
        let mut journal = self::journal(&io);
        assert_eq!(journal.longest_zone().get(), longest, "{region}, {size}");
        if longest == 0 {
            assert_eq!(journal.open(&io), Ok(Found::Unavailable));
            assert!(matches!(journal.write(&io, &numbered(0), None), Err(VckError::WrongState(_))));
            continue;
        }
        assert_eq!(journal.open(&io), Ok(Found::Nothing));
        let area = zone(2, longest);
        let bytes = ciphertext(area, size);
        for boundary in 1..4 {
            journal.cover(area, &bytes).unwrap();
            write(&mut *journal, &io, &running(boundary, area), None);
        }
        let mut second = self::journal(&io);
        assert_eq!(second.open(&io), Ok(Found::Entry(running(3, area))), "{region}, {size}");
        assert!(second.matches(DataSector::new(longest + 1), &bytes[bytes.len() - size.usize()..]));
        // The blocks are still there.
        assert!(store(&io).stale_replicas().is_empty());
    }
}

#[test]
fn a_zone_is_never_longer_than_the_data_region() {
    let io = volume(SectorSize::S512, 1024);
    let secrets = JvckSecrets::copy_from(&[1; 32], &[2; 32]);
    JvckMetadataStore::create(&io, VMK, &options(0, 2), secrets, [9; 16], default_codec(), &CountingRandom::new())
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(journal(&io).longest_zone().get(), 512);
}

#[test]
fn the_first_write_flushes_what_was_read() {
    let io = new_volume(SectorSize::S512, &options(0, 1));
    let mut journal = opened(&io);
    io.take_events();
    io.inject(Fault::Flush);
    assert_eq!(journal.write(&io, &numbered(1), None), Err(VckError::Device { status: FAULT_STATUS, lba: None }));
    assert_eq!(io.take_events(), [IoEvent::Flush], "nothing may be overwritten yet");
    io.heal();
    let is_flush = |event: &IoEvent| *event == IoEvent::Flush;
    for flushes in [1, 0, 0] {
        journal.write(&io, &numbered(1), None).unwrap();
        let events = io.take_events();
        assert_eq!(events.iter().filter(|event| is_flush(event)).count(), flushes);
        assert!(flushes == 0 || is_flush(&events[0]));
    }
}
