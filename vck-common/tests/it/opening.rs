//! The recovery situations of `store.json`, and damage that they do not cover.

use serde_json::Value;
use vck_common::{
    DataSector, EncryptedOffsetStore, Lba, MemoryIo, SectorIo, SectorSize, VckError, VolumeState,
    jvck::{JvckCbcCodec, JvckMetadataOptions, JvckMetadataReader, JvckMetadataStore, JvckSecrets, find_block},
    memory_io::{FAULT_STATUS, Fault},
};

use crate::support::{CountingRandom, bytes, cases, error_of, number, sector, sector_size, text, vectors, volume};

fn recorded_volume(case: &Value) -> MemoryIo {
    let io = volume(sector_size(case), number(case, "volume_sectors"));
    for present in case["sectors_present"].as_array().unwrap() {
        assert!(io.place(Lba::new(number(present, "lba")), &bytes(present, "first_512")));
    }
    io
}

enum Expected {
    AsRecorded,
    /// The boundary of the mended behaviour.
    Boundary(u64),
    Fails(fn(VckError) -> bool),
}

fn expected(name: &str) -> Expected {
    match name {
        // The recorded choice was the largest boundary, 500; sectors 300..500 are plaintext already.
        "decrypting_first_replica_newer_300_vs_500" => Expected::Boundary(300),
        // Was not found at all: only the last sector and sector 0 were looked at.
        "last_footer_corrupt_no_header" => Expected::Boundary(500),
        // Was opened although the header states another sector size.
        "header_says_4096_device_is_512" => Expected::Fails(|error| matches!(error, VckError::BadBlock(_))),
        // Was opened with a boundary past the end.
        "offset_larger_than_data_region" => Expected::Fails(|error| matches!(error, VckError::BadBlock(_))),
        "both_counts_zero_in_last_sector" | "footer_larger_than_volume" => {
            Expected::Fails(|error| matches!(error, VckError::BadBlock(_)))
        }
        "all_replicas_other_vmk" => Expected::Fails(|error| error == VckError::WrongKey),
        "no_metadata" => Expected::Fails(|error| matches!(error, VckError::NotFound(_))),
        _ => Expected::AsRecorded,
    }
}

#[test]
fn recovery_situations() {
    let vectors = vectors!("store.json");
    let cases = cases(&vectors, "recovery");
    assert_eq!(cases.len(), 18);
    for case in cases {
        let name = text(case, "name");
        if name == "read_error_on_last_sector_with_header_present" {
            // Recorded without its sectors; see `an_unreadable_last_sector_is_a_bad_replica`.
            continue;
        }
        let io = recorded_volume(case);
        let before = io.image();
        let opened = JvckMetadataStore::open(&io, &bytes(case, "vmk"));
        assert_eq!(io.image(), before, "{name}: opening writes nothing");
        let recorded = &case["reference_open"];
        let boundary = match expected(name) {
            Expected::Fails(class) => {
                let error = error_of(opened);
                assert!(class(error), "{name}: {error:?}");
                continue;
            }
            Expected::Boundary(boundary) => boundary,
            Expected::AsRecorded => number(recorded, "encrypted_offset"),
        };
        let store = opened.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(store.load_offset().sector.get(), boundary, "{name}");
        if recorded["ok"] == true {
            assert_eq!(store.geometry().data_sectors().get(), number(recorded, "data_sectors"), "{name}");
            assert_eq!(store.geometry().offset_sector().get(), number(recorded, "offset_sector"), "{name}");
            let state = if recorded["state"] == "decrypt" { VolumeState::Decrypt } else { VolumeState::Encrypt };
            assert_eq!(store.load().unwrap().1, state, "{name}");
            let first = u64::from(store.fvek_keys().fvek_key1.expose()[0]);
            assert_eq!(first, number(recorded, "fvek_key1_first_byte"), "{name}");
            let header = store.header();
            assert_eq!(u64::from(header.header_replica_count), number(recorded, "header_replicas"), "{name}");
            assert_eq!(u64::from(header.footer_replica_count), number(recorded, "footer_replicas"), "{name}");
        }
        // What is reported stale is exactly what does not hold the adopted block.
        let blocks: Vec<_> = store.geometry().metadata_lbas().map(|lba| sector(&io, lba)[..512].to_vec()).collect();
        let adopted = &blocks[store.report().adopted];
        for (index, block) in blocks.iter().enumerate() {
            assert_eq!(store.stale_replicas().contains(index), block != adopted, "{name}, replica {index}");
        }
    }
}

const VMK: &[u8] = b"key";

fn created(io: &MemoryIo, options: JvckMetadataOptions) {
    let secrets = JvckSecrets::copy_from(&[1; 32], &[2; 32]);
    let random = CountingRandom::new();
    JvckMetadataStore::create(io, VMK, &options, secrets, [9; 16], JvckCbcCodec, &random)
        .unwrap_or_else(|error| panic!("{error}"))
        .persist(DataSector::new(77), VolumeState::Encrypt, &random)
        .unwrap();
}

fn options(use_header: u32, use_footer: u32) -> JvckMetadataOptions {
    JvckMetadataOptions { use_header, use_footer, ..JvckMetadataOptions::default() }
}

#[test]
fn an_unreadable_last_sector_is_a_bad_replica() {
    let io = volume(SectorSize::S512, 1280);
    created(&io, options(1, 2));
    io.inject(Fault::Read(Lba::new(1279)));
    let store = JvckMetadataStore::open(&io, VMK).ok().unwrap();
    assert_eq!(store.load_offset().sector.get(), 77);
    assert!(store.stale_replicas().iter().eq([2]));
}

#[test]
fn any_single_readable_replica_opens_the_volume() {
    for (headers, footers) in [(0, 2), (0, 3), (1, 1), (2, 0), (2, 2), (3, 0)] {
        for (size, metadata_size) in
            [(SectorSize::S512, 131_072), (SectorSize::S512, 131_072 + 3 * 512), (SectorSize::S4096, 131_072 + 4096)]
        {
            let replica = u64::from(metadata_size / size.bytes());
            let io = volume(size, u64::from(headers + footers) * replica + 100);
            let options = JvckMetadataOptions { metadata_size, ..options(headers, footers) };
            created(&io, options);
            let geometry = options.geometry(size, io.total_sectors()).unwrap();
            let lbas: Vec<_> = geometry.metadata_lbas().collect();
            for survivor in &lbas {
                lbas.iter().filter(|lba| *lba != survivor).for_each(|lba| io.inject(Fault::Read(*lba)));
                let store = JvckMetadataStore::open(&io, VMK)
                    .unwrap_or_else(|error| panic!("{headers}+{footers}, only {survivor}: {error}"));
                assert_eq!(store.load_offset().sector.get(), 77);
                assert_eq!(store.stale_replicas().len(), lbas.len() - 1);
                assert_eq!(find_block(&io).unwrap().unwrap().0, *survivor);
                io.heal();
            }
        }
    }
}

#[test]
fn a_first_footer_behind_a_large_region_is_found() {
    let io = volume(SectorSize::S512, (2 << 14) + 4096);
    created(&io, JvckMetadataOptions { metadata_size: 8 << 20, ..options(0, 2) });
    let last = io.total_sectors().get() - 1;
    assert!(io.place(Lba::new(last), &[0xFF; 512]));
    let store = JvckMetadataStore::open(&io, VMK).ok().unwrap();
    assert_eq!(store.report().adopted, 0);
}

#[test]
fn a_block_in_user_data_is_not_adopted() {
    let other = volume(SectorSize::S512, 1024);
    created(&other, options(0, 2));
    let stray = sector(&other, Lba::new(1023));
    let io = volume(SectorSize::S512, 4096);
    assert!(io.place(Lba::new(700), &stray));
    assert!(matches!(error_of(JvckMetadataReader::open(&io)), VckError::NotFound(_)));
    assert_eq!(find_block(&io).unwrap(), None);
    // In the last sector it is refused, because its geometry puts no replica of this volume there... unless it does.
    assert!(io.place(Lba::new(4095), &stray));
    assert!(JvckMetadataReader::open(&io).is_ok(), "a last footer is where any two-footer block belongs");
    let grown = volume(SectorSize::S512, 1025);
    assert!(grown.place(Lba::new(0), &stray));
    assert!(matches!(error_of(JvckMetadataReader::open(&grown)), VckError::BadBlock(_)));
    assert!(find_block(&grown).unwrap().is_some(), "but it is there, and must not be overwritten");
}

#[test]
fn a_read_error_is_not_reported_as_absence() {
    let io = volume(SectorSize::S512, 1024);
    io.inject(Fault::Read(Lba::new(1023)));
    let device = VckError::Device { status: FAULT_STATUS, lba: Some(Lba::new(1023)) };
    assert_eq!(error_of(JvckMetadataReader::open(&io)), device);
    assert_eq!(find_block(&io), Err(device));
}

/// Changes one header byte of the block at `lba` and mends the checksum, as anyone can.
fn tamper(io: &MemoryIo, lba: u64, at: usize, value: u8) {
    let mut block = sector(io, Lba::new(lba));
    block[at] = value;
    let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&block[..508]);
    block[508..512].copy_from_slice(&sum.to_le_bytes());
    assert!(io.place(Lba::new(lba), &block));
}

#[test]
fn another_format_version_is_refused() {
    let io = volume(SectorSize::S512, 1024);
    created(&io, options(0, 2));
    tamper(&io, 767, 12, 2);
    tamper(&io, 1023, 12, 2);
    assert!(matches!(error_of(JvckMetadataStore::open(&io, VMK)), VckError::Unsupported(_)));
}

#[test]
fn a_replica_whose_header_disagrees_is_left_out() {
    let io = volume(SectorSize::S512, 1024);
    created(&io, options(0, 2));
    tamper(&io, 767, 4, 9);
    let store = JvckMetadataStore::open(&io, VMK).ok().unwrap();
    assert_eq!((store.report().adopted, store.report().good), (1, 1));
    assert!(store.stale_replicas().iter().eq([0]));
    let mut reader = JvckMetadataReader::open(&io).ok().unwrap();
    assert!(matches!(error_of(reader.replica_ctx(0)), VckError::BadBlock(_)));
    assert!(matches!(error_of(reader.replica_ctx(2)), VckError::NotFound(_)));
    let adopted = reader.replica_ctx(1).ok().unwrap();
    assert_eq!((adopted.replica_index(), adopted.volume_id()), (1, &[9; 16]));
    assert_eq!(adopted.salt().unwrap(), &adopted.block()[48..64]);
    assert_eq!(adopted.encrypted_metadata().unwrap(), &adopted.block()[64..192]);
}

#[test]
fn replicas_with_other_data_keys_do_not_count() {
    let io = volume(SectorSize::S512, 1024);
    created(&io, options(0, 2));
    let kept = sector(&io, Lba::new(767));
    let again = volume(SectorSize::S512, 1024);
    let random = CountingRandom::new();
    let secrets = JvckSecrets::copy_from(&[5; 32], &[6; 32]);
    JvckMetadataStore::create(&again, VMK, &options(0, 2), secrets, [9; 16], JvckCbcCodec, &random)
        .unwrap_or_else(|error| panic!("{error}"))
        .persist(DataSector::new(500), VolumeState::Encrypt, &random)
        .unwrap();
    assert!(again.place(Lba::new(767), &kept));
    let store = JvckMetadataStore::open(&again, VMK).ok().unwrap();
    assert_eq!((store.load_offset().sector.get(), store.report().good), (77, 1));
    assert_eq!(store.fvek_keys().fvek_key1.expose(), &[1; 32]);
}

#[test]
fn replicas_that_differ_in_direction_and_boundary_are_reported() {
    let io = volume(SectorSize::S512, 1024);
    created(&io, options(0, 2));
    let old = sector(&io, Lba::new(1023));
    let store = JvckMetadataStore::open(&io, VMK).ok().unwrap();
    store.persist(DataSector::new(60), VolumeState::Decrypt, &CountingRandom::new()).unwrap();
    assert!(io.place(Lba::new(1023), &old));
    let store = JvckMetadataStore::open(&io, VMK).ok().unwrap();
    assert!(store.report().conflicting);
    let (offset, state) = store.load().unwrap();
    assert_eq!((offset.sector.get(), state), (60, VolumeState::Decrypt), "the first good replica is the newer one");
}

#[test]
fn an_interrupted_update_gives_the_old_pair_or_the_new_one() {
    use VolumeState::{Decrypt, Encrypt};
    let steps = [
        ((Encrypt, 100), (Encrypt, 200)),
        ((Decrypt, 200), (Decrypt, 100)),
        ((Encrypt, 100), (Decrypt, 100)),
        ((Decrypt, 100), (Encrypt, 100)),
        ((Encrypt, 100), (Decrypt, 60)),
        ((Decrypt, 60), (Encrypt, 90)),
    ];
    for (old, new) in steps {
        for cut in 0..=3_usize {
            for lost in [None, Some(0), Some(1), Some(2)] {
                let io = volume(SectorSize::S512, 4 * 256);
                created(&io, options(1, 2));
                let store = JvckMetadataStore::open(&io, VMK).ok().unwrap();
                let random = CountingRandom::new();
                store.persist(DataSector::new(old.1), old.0, &random).unwrap();
                let lbas: Vec<_> = store.geometry().metadata_lbas().collect();
                if let Some(lba) = lbas.get(cut) {
                    io.inject(Fault::Write(*lba));
                }
                let stored = store.persist(DataSector::new(new.1), new.0, &random);
                assert_eq!(stored.is_ok(), cut == 3);
                if let Some(lost) = lost {
                    io.inject(Fault::Read(lbas[lost]));
                }
                let again = JvckMetadataStore::open(&io, VMK).ok().unwrap();
                let (offset, state) = again.load().unwrap();
                let found = (state, offset.sector.get());
                let what = format!("{old:?} to {new:?}, cut at {cut}, replica {lost:?} lost");
                assert!(found == old || found == new, "{what}: {found:?}");
                // What was written first is what counts, as long as it can be read.
                if lost != Some(0) {
                    assert_eq!(found, if cut == 0 { old } else { new }, "{what}");
                }
            }
        }
    }
}
