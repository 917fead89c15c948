//! The conversion record: what is written is read back, from whichever slot and replica is newest.

use vck_common::{
    Activity, ConversionJournal, DamagedSector, DataExtent, DataSector, EncryptedOffsetStore, Lba, MemoryIo, NtStatus,
    SealedUpdate, SectorCount, SectorIo, SectorSize, VolumeState,
    journal::{Damage, Entry, Found, JournalError, MAX_DAMAGED},
    jvck::{JvckMetadataOptions, JvckMetadataStore, JvckSecrets, default_codec},
};

use crate::support::{CountingRandom, volume};

pub(crate) const VMK: &[u8] = b"a volume master key for the record";

pub(crate) fn options(headers: u32, footers: u32) -> JvckMetadataOptions {
    JvckMetadataOptions { use_header: headers, use_footer: footers, ..JvckMetadataOptions::default() }
}

pub(crate) fn new_volume(size: SectorSize, options: &JvckMetadataOptions) -> MemoryIo {
    let io = volume(size, (16 << 20) / size.u64());
    let secrets = JvckSecrets::copy_from(&[1; 32], &[2; 32]);
    JvckMetadataStore::create(&io, VMK, options, secrets, [9; 16], default_codec(), &CountingRandom::new())
        .unwrap_or_else(|error| panic!("{error}"));
    io
}

pub(crate) fn journal(io: &MemoryIo) -> Box<dyn ConversionJournal> {
    let store = JvckMetadataStore::open(io, VMK).unwrap_or_else(|error| panic!("{error}"));
    store.journal().expect("memory").expect("JVCK has a journal")
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
                let mut changed = bytes.to_vec();
                changed[size.usize() - 1] ^= 1;
                assert!(!second.matches(DataSector::new(sector), &changed));
            }
        }
    }
}
