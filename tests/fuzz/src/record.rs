//! Conversion records on attach: records that were written, then changed, with a right MAC or a wrong one; what opening makes of
//! them, and how the sectors of the zone are told apart.

use arbitrary::Arbitrary;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use vck_common::{
    Activity, ConversionJournal, DamagedSector, DataExtent, DataSector, EncryptedOffsetStore, Geometry, Lba, MemoryIo,
    NtStatus, SealedUpdate, SectorCount, VckError, VolumeCipher, VolumeState, XtsVolumeCipher,
    journal::{Damage, Entry, Found, JournalError},
    jvck::{JvckHeader, JvckMetadataStore},
};

use vck_windrv::engine::{BadSectors, Opening, Site};

use crate::volume::{Fixed, VMK, VOLUME_ID, blank, bytes_at, geometry, sealed, sector_size};

#[derive(Arbitrary, Debug)]
pub struct Input {
    large_sectors: bool,
    headers: bool,
    second_footer: bool,
    writes: Vec<Write>,
    changes: Vec<Change>,
}

#[derive(Arbitrary, Debug)]
struct Write {
    activity: u8,
    decrypting: bool,
    boundary: u8,
    first: u8,
    count: u8,
    error: Option<(u8, u64, u32, u32)>,
    damaged: Vec<(u8, bool)>,
    durable: bool,
    /// The salt of the blocks that it announces, and in how many replicas they are then written.
    upcoming: Option<(u8, u8)>,
}

#[derive(Arbitrary, Debug)]
struct Change {
    replica: u8,
    second_slot: bool,
    patches: Vec<(u16, u8)>,
    raw: Option<Vec<u8>>,
    right_mac: bool,
}

pub fn run(input: &Input) {
    let geometry =
        geometry(sector_size(input.large_sectors), u8::from(input.headers), 1 + u8::from(input.second_footer));
    let io = blank(&geometry);
    let block = sealed(&JvckHeader::for_new_volume(&geometry, VOLUME_ID), 7, VolumeState::Encrypt, 1, VMK);
    assert!(geometry.metadata_lbas().all(|lba| io.place(lba, &block)));
    assert!(io.place(geometry.offset_sector(), &vec![0x3c; 4 * geometry.sector_size().usize()]));
    write(&io, &geometry, &input.writes);
    for change in input.changes.iter().take(6) {
        apply(&io, &geometry, change);
    }
    recover(&io, &geometry, input.changes.is_empty());
    attach(&io, &geometry, input.changes.is_empty());
}

/// What an attach does, twice, on a copy. It changes sectors of the zone alone, and the second time finds nothing to do.
fn recover(io: &MemoryIo, geometry: &Geometry, unchanged: bool) {
    let copy = blank(geometry);
    assert!(copy.place(Lba::new(0), &io.image()));
    let cipher = XtsVolumeCipher::new(&[1; 32], &[2; 32]).expect("a cipher");
    let mut first: Option<Opening> = None;
    for round in 0..2_u8 {
        let store = JvckMetadataStore::open(&copy, VMK).unwrap_or_else(|error| panic!("{error}"));
        let (random, bad_sectors) = (&Fixed(0x80 | round), BadSectors::Skip);
        let site = Site { io: &copy, cipher: &cipher, store: &store, random, geometry, bad_sectors };
        let mut journal = store.journal().expect("memory");
        let zone = Opening::examine(&site, &mut journal).map_or(DataExtent::default(), |opening| opening.unfinished);
        match (vck_windrv::engine::recover(&site, &mut journal), &first) {
            (Ok(opening), None) => {
                assert_eq!(opening.fenced, !opening.unfinished.is_empty());
                first = Some(opening);
            }
            (Ok(opening), Some(first)) => {
                assert!(first.fenced || zone.is_empty());
                assert_eq!((opening.boundary, opening.direction), (first.boundary, first.direction));
                assert_eq!(opening.activity, first.activity);
            }
            (Err(error), first) => {
                assert!(!unchanged && first.is_none(), "{error}");
                return;
            }
        }
        let (before, after) = (io.image(), copy.image());
        let size = geometry.sector_size().usize();
        for sector in 0..geometry.data_sectors().get() {
            let lba = geometry.data_to_lba(DataSector::new(sector)).expect("a data sector");
            let at = usize::try_from(lba.get()).expect("small") * size;
            let same = before[at..at + size] == after[at..at + size];
            assert!(same || round == 1 || zone.contains(DataSector::new(sector)), "sector {sector} was changed");
        }
    }
}

fn journal(io: &MemoryIo) -> Box<dyn ConversionJournal> {
    let store = JvckMetadataStore::open(io, VMK).unwrap_or_else(|error| panic!("{error}"));
    store.journal().expect("memory").expect("JVCK has a journal")
}

fn write(io: &MemoryIo, geometry: &Geometry, writes: &[Write]) {
    let store = JvckMetadataStore::open(io, VMK).unwrap_or_else(|error| panic!("{error}"));
    let mut journal = journal(io);
    assert_eq!(journal.open(io), Ok(Found::Nothing));
    for write in writes.iter().take(6) {
        let data = geometry.data_sectors().get();
        let first = u64::from(write.first) % data;
        let zone =
            DataExtent::new(DataSector::new(first), SectorCount::new(u64::from(write.count) % (data - first + 1)));
        let damaged: Vec<_> = write
            .damaged
            .iter()
            .take(64)
            .map(|&(sector, torn)| DamagedSector {
                sector: DataSector::new(u64::from(sector) % data),
                damage: if torn { Damage::Torn } else { Damage::Unreadable },
            })
            .collect();
        let entry = Entry {
            activity: [Activity::Idle, Activity::Running, Activity::Paused, Activity::Faulted]
                [usize::from(write.activity % 4)],
            direction: if write.decrypting { VolumeState::Decrypt } else { VolumeState::Encrypt },
            boundary: DataSector::new(u64::from(write.boundary) % (data + 1)),
            zone,
            error: write.error.map(|(kind, lba, status, count)| JournalError {
                kind,
                lba: Lba::new(lba),
                status: NtStatus::from_u32(status),
                count,
            }),
            damaged: &damaged,
        };
        let len = usize::try_from(zone.count.get()).expect("small") * geometry.sector_size().usize();
        journal.cover(zone, &vec![write.first ^ 0x5a; len]).expect("it fits");
        let mut next = SealedUpdate::new();
        let upcoming = write.upcoming.map(|(salt, _)| {
            store.seal(DataSector::ZERO, VolumeState::Encrypt, &Fixed(salt | 2), &mut next).expect("a block");
            &next
        });
        for damaged in damaged.iter().filter(|damaged| damaged.damage == Damage::Torn) {
            journal.note_torn(damaged.sector, &vec![write.first; geometry.sector_size().usize()]);
        }
        journal.write(io, &entry, upcoming).expect("it fits");
        if write.durable {
            journal.it_is_durable();
            let replicas = write.upcoming.map_or(0, |(_, replicas)| usize::from(replicas));
            for (lba, bytes) in next.writes().take(replicas) {
                assert!(io.place(lba, bytes));
            }
            if write.upcoming.is_some() && replicas >= geometry.replica_count() {
                journal.blocks_are_durable();
            }
        }
        // Whatever was written last or before is what an attach finds.
        assert!(matches!(self::journal(io).open(io), Ok(Found::Entry(found)) if found == entry));
    }
}

/// Where a slot lies and how many bytes it has, by the words of the format document.
fn slot(geometry: &Geometry, replica: u8, second: bool) -> (Lba, usize) {
    let (size, replica) = (geometry.sector_size().u64(), usize::from(replica) % geometry.replica_count());
    let unit = (4096 / size).max(1);
    let sectors = (geometry.replica_sectors().get() / unit - 1) / 2 * unit;
    let base = geometry.vendor_base_lba(replica).expect("a replica").get();
    let first = if replica < usize::from(geometry.header_count()) { base - 1 + unit } else { base };
    let bytes = usize::try_from(sectors * size).expect("small");
    (Lba::new(first + u64::from(second) * sectors), bytes)
}

fn apply(io: &MemoryIo, geometry: &Geometry, change: &Change) {
    let (lba, len) = slot(geometry, change.replica, change.second_slot);
    let mut bytes = bytes_at(io, lba, len);
    if let Some(raw) = &change.raw {
        let raw = &raw[..raw.len().min(len)];
        bytes[..raw.len()].copy_from_slice(raw);
    }
    for &(at, value) in change.patches.iter().take(64) {
        bytes[usize::from(at) % len] ^= value;
    }
    if change.right_mac {
        let digests = u64::from_le_bytes(bytes[56..64].try_into().expect("eight bytes"));
        let used = usize::try_from(digests).ok().and_then(|digests| digests.checked_mul(8)?.checked_add(1536));
        let used = used.and_then(|used| used.checked_next_multiple_of(geometry.sector_size().usize()));
        let used = used.filter(|&used| used <= len).unwrap_or(len);
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(Some(&VOLUME_ID), VMK).expand(b"ConversionRecord:MAC", &mut key).expect("32 bytes");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
        mac.update(&bytes[..480]);
        mac.update(&bytes[512..used]);
        bytes[480..512].copy_from_slice(&mac.finalize().into_bytes());
    }
    assert!(io.place(lba, &bytes));
}

fn attach(io: &MemoryIo, geometry: &Geometry, unchanged: bool) {
    let before = io.image();
    let mut journal = journal(io);
    let longest = journal.longest_zone();
    let found = journal.open(io);
    assert!(io.image() == before, "opening wrote");
    let (entry, overtaken) = match found {
        Ok(Found::Entry(entry)) => (entry, false),
        Ok(Found::Overtaken(entry)) => (entry, true),
        Ok(Found::Nothing) => return,
        Ok(Found::Unavailable) => panic!("the vendor fields are zero"),
        Err(error) => {
            assert!(!unchanged && matches!(error, VckError::BadBlock(_) | VckError::Conflict(_)), "{error}");
            let refused = journal.write(io, &idle(), None);
            assert!(
                matches!(refused, Err(VckError::WrongState(_))) && io.image() == before,
                "a refused area was written"
            );
            return;
        }
    };
    let data = geometry.data_sectors().get();
    assert!(entry.boundary.get() <= data && entry.zone.end().is_some_and(|end| end.get() <= data));
    assert!(entry.zone.count <= longest && (!overtaken || entry.zone.is_empty()));
    assert!(entry.damaged.len() <= 64 && entry.damaged.iter().all(|damaged| damaged.sector.get() < data));
    let damaged = entry.damaged.to_vec();
    let entry = Entry { damaged: &damaged, ..entry };
    classify(&*journal, io, geometry, &entry);
    journal.restate(io).expect("it was found");
    // Two authentic records with one generation, which a change can make, have no order.
    if unchanged {
        survive(io, geometry, &entry);
    }
    // The journal goes on with what it found.
    match journal.write(io, &entry, None) {
        Ok(()) => {
            journal.it_is_durable();
            assert_eq!(self::journal(io).open(io), Ok(Found::Entry(entry)));
        }
        Err(error) => assert!(!unchanged && matches!(error, VckError::BadBlock(_)), "{error}"),
    }
}

/// Any one replica is enough.
fn survive(io: &MemoryIo, geometry: &Geometry, entry: &Entry<'_>) {
    for survivor in 0..geometry.replica_count() {
        let copy = blank(geometry);
        assert!(copy.place(Lba::new(0), &io.image()));
        for other in (0..geometry.replica_count()).filter(|&other| other != survivor) {
            for second in [false, true] {
                let (lba, len) = slot(geometry, u8::try_from(other).expect("few"), second);
                assert!(copy.place(lba, &vec![0; len]));
            }
        }
        let mut reader = self::journal(&copy);
        let found = reader.open(&copy);
        assert!(matches!(found, Ok(Found::Entry(found) | Found::Overtaken(found)) if found == *entry), "{found:?}");
    }
}

fn idle() -> Entry<'static> {
    Entry {
        activity: Activity::Idle,
        direction: VolumeState::Encrypt,
        boundary: DataSector::ZERO,
        zone: DataExtent::default(),
        error: None,
        damaged: &[],
    }
}

/// Tells ciphertext, plaintext and neither apart, as recovery does.
fn classify(journal: &dyn ConversionJournal, io: &MemoryIo, geometry: &Geometry, entry: &Entry<'_>) {
    let zone = entry.zone;
    let cipher = XtsVolumeCipher::new(&[1; 32], &[2; 32]).expect("a cipher");
    let size = geometry.sector_size();
    for sector in zone.first.get()..zone.end().expect("checked").get() {
        let sector = DataSector::new(sector);
        let mut bytes = bytes_at(io, geometry.data_to_lba(sector).expect("checked"), size.usize());
        let ciphertext = journal.matches(sector, &bytes);
        cipher.encrypt_area(&mut bytes, size, sector);
        let plaintext = journal.matches(sector, &bytes);
        assert!(!(ciphertext && plaintext), "one digest for two sectors");
    }
    for damaged in entry.damaged {
        let bytes = bytes_at(io, geometry.data_to_lba(damaged.sector).expect("checked"), size.usize());
        let _ = journal.was_written_since(damaged.sector, &bytes);
    }
    assert!(!journal.matches(zone.end().expect("checked"), &vec![0; size.usize()]));
}
