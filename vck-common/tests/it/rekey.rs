//! Another VMK for a volume: what it keeps, when it is refused, and a loss of power at every call.

use std::sync::{
    Mutex,
    atomic::{AtomicU8, Ordering},
};

use vck_common::{
    Activity, DamagedSector, DataSector, Durability, Lba, MemoryIo, RandomSource, SectorCount, SectorIo, SectorSize,
    VckError, VckResult, VolumeState,
    journal::{Damage, Entry, Found},
    jvck::JvckMetadataStore,
    memory_io::Fault,
};

use crate::{
    record::{VMK, ciphertext, journal, new_volume, opened, options, running, store, write, zone},
    support::{NoRandom, error_of, volume},
};

const NEW: &[u8] = b"another volume master key";
const PAUSED_AT: u64 = 40;

/// Salts that no block has had: each fills its bytes with the next number.
struct Salts(AtomicU8);

impl RandomSource for Salts {
    fn fill(&self, out: &mut [u8]) -> VckResult<()> {
        out.fill(self.0.fetch_add(1, Ordering::Relaxed));
        Ok(())
    }
}

const fn salts(first: u8) -> Salts {
    Salts(AtomicU8::new(first))
}

fn paused(boundary: u64) -> Entry<'static> {
    Entry { activity: Activity::Paused, direction: VolumeState::Decrypt, ..running(boundary, zone(0, 0)) }
}

/// A volume whose record differs from its blocks in boundary and direction, and has an older entry with a zone in the other slot.
fn converted(size: SectorSize, headers: u32, footers: u32) -> MemoryIo {
    let io = new_volume(size, &options(headers, footers));
    store(&io).persist(DataSector::new(36), VolumeState::Encrypt, &salts(50)).unwrap();
    let mut writer = opened(&io);
    let area = zone(0, PAUSED_AT);
    writer.cover(area, &ciphertext(area, size)).unwrap();
    write(&mut *writer, &io, &running(0, area), None);
    write(&mut *writer, &io, &paused(PAUSED_AT), None);
    io
}

fn change(io: &dyn SectorIo) -> VckResult<()> {
    JvckMetadataStore::open(io, VMK)?.change_vmk(NEW, &salts(100))
}

/// What `vmk` opens: the boundary that an attach would believe.
fn boundary(io: &MemoryIo, vmk: &[u8]) -> VckResult<u64> {
    let store = JvckMetadataStore::open(io, vmk)?;
    let keys = store.fvek_keys();
    assert_eq!((keys.fvek_key1.expose(), keys.fvek_key2.expose()), (&[1; 32], &[2; 32]));
    let mut journal = vck_common::EncryptedOffsetStore::journal(&store)?.expect("JVCK has a journal");
    Ok(match journal.open(io)? {
        Found::Entry(entry) => entry.boundary.get(),
        Found::Nothing | Found::Overtaken(_) | Found::Unavailable => store.load_offset().sector.get(),
    })
}

#[test]
fn the_new_key_opens_what_the_old_one_opened() {
    for size in [SectorSize::S512, SectorSize::S4096] {
        for (headers, footers) in [(0, 2), (1, 1), (0, 1)] {
            let io = converted(size, headers, footers);
            assert_eq!(boundary(&io, VMK), Ok(PAUSED_AT));
            change(&io).unwrap();
            assert_eq!(boundary(&io, NEW), Ok(PAUSED_AT));
            assert_eq!(error_of(JvckMetadataStore::open(&io, VMK)), VckError::WrongKey);
            let store = JvckMetadataStore::open(&io, NEW).unwrap();
            assert!(store.report().stale.is_empty());
            assert_eq!(vck_common::EncryptedOffsetStore::load(&store).unwrap().1, VolumeState::Decrypt);
            let mut journal = vck_common::EncryptedOffsetStore::journal(&store).unwrap().unwrap();
            assert_eq!(journal.open(&io), Ok(Found::Nothing), "the record is gone");
        }
    }
}

#[test]
fn without_a_record_only_the_blocks_change() {
    let io = new_volume(SectorSize::S512, &options(0, 2));
    change(&io).unwrap();
    assert_eq!(boundary(&io, NEW), Ok(0));
}

#[test]
fn blocks_that_another_implementation_wrote_after_the_record_count() {
    let io = converted(SectorSize::S512, 0, 2);
    store(&io).persist(DataSector::new(77), VolumeState::Encrypt, &salts(200)).unwrap();
    change(&io).unwrap();
    assert_eq!(boundary(&io, NEW), Ok(77));
}

#[test]
fn what_the_record_alone_knows_is_not_thrown_away() {
    let torn = [DamagedSector { sector: DataSector::new(3), damage: Damage::Torn }];
    let area = zone(0, 8);
    let entries = [
        running(0, area),
        running(5, zone(0, 0)),
        Entry { activity: Activity::Faulted, ..running(0, area) },
        Entry { damaged: &torn, ..paused(5) },
    ];
    for entry in entries {
        let io = new_volume(SectorSize::S512, &options(0, 2));
        let mut writer = opened(&io);
        writer.cover(area, &ciphertext(area, SectorSize::S512)).unwrap();
        write(&mut *writer, &io, &entry, None);
        let before = io.image();
        assert!(matches!(change(&io), Err(VckError::WrongState(_))), "{entry:?}");
        assert!(io.image() == before, "{entry:?}");
        assert!(matches!(journal(&io).open(&io), Ok(Found::Entry(found)) if found == entry));
    }
}

#[test]
fn a_failure_leaves_a_key_that_opens() {
    let io = converted(SectorSize::S512, 0, 2);
    assert!(matches!(store(&io).change_vmk(&[], &salts(100)), Err(VckError::InvalidData(_))));
    let failed = store(&io).change_vmk(NEW, &NoRandom);
    assert!(matches!(failed, Err(VckError::CryptoFailed(_))));
    assert_eq!(boundary(&io, VMK), Ok(PAUSED_AT));
    let last = store(&io).geometry().metadata_lba(1).unwrap();
    io.inject(Fault::Write(last));
    assert!(change(&io).is_err());
    io.heal();
    assert_eq!(boundary(&io, VMK), Ok(PAUSED_AT));
    change(&io).unwrap();
    assert_eq!(boundary(&io, NEW), Ok(PAUSED_AT));
}

/// One change of the disk.
enum Change {
    Write(Lba, Vec<u8>),
    Flush,
}

/// Takes down what is written.
struct Recorder<'a>(&'a MemoryIo, Mutex<Vec<Change>>);

impl SectorIo for Recorder<'_> {
    fn sector_size(&self) -> SectorSize {
        self.0.sector_size()
    }

    fn total_sectors(&self) -> SectorCount {
        self.0.total_sectors()
    }

    fn read_sectors(&self, lba: Lba, buf: &mut [u8]) -> VckResult<()> {
        self.0.read_sectors(lba, buf)
    }

    fn write_sectors(&self, lba: Lba, buf: &[u8], durability: Durability) -> VckResult<()> {
        assert_eq!(durability, Durability::AtNextFlush);
        self.1.lock().unwrap().push(Change::Write(lba, buf.to_vec()));
        self.0.write_sectors(lba, buf, durability)
    }

    fn flush(&self) -> VckResult<()> {
        self.1.lock().unwrap().push(Change::Flush);
        self.0.flush()
    }
}

#[test]
fn after_a_cut_anywhere_one_of_the_keys_opens_with_the_same_boundary() {
    for (headers, footers) in [(0, 2), (1, 1)] {
        let io = converted(SectorSize::S512, headers, footers);
        let before = io.image();
        let recorder = Recorder(&io, Mutex::default());
        change(&recorder).unwrap();
        let changes = recorder.1.into_inner().unwrap();
        let mut tried = 0;
        for cut in 0..=changes.len() {
            let done = &changes[..cut];
            let flushed = done.iter().rposition(|change| matches!(change, Change::Flush)).map_or(0, |at| at + 1);
            let pending = cut - flushed;
            for survivors in 0_u32..1 << pending {
                let disk = volume(SectorSize::S512, io.total_sectors().get());
                assert!(disk.place(Lba::ZERO, &before));
                for (at, change) in done.iter().enumerate() {
                    let survives = at < flushed || survivors >> (at - flushed) & 1 == 1;
                    if let (Change::Write(lba, bytes), true) = (change, survives) {
                        assert!(disk.place(*lba, bytes));
                    }
                }
                let (old, new) = (boundary(&disk, VMK), boundary(&disk, NEW));
                let what = format!("cut {cut}, survivors {survivors:b}: {old:?}, {new:?}");
                assert!(old.is_ok() || new.is_ok(), "{what}");
                for found in [old, new] {
                    assert!(found == Ok(PAUSED_AT) || found == Err(VckError::WrongKey), "{what}");
                }
                tried += 1;
            }
        }
        assert!(tried > 30, "{tried}");
    }
}
