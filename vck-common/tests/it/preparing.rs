//! A block that a client sealed, checked against the request that carries it and against what is on the volume.

use vck_common::{
    Durability, Lba, MemoryIo, SealedUpdate, SectorCount, SectorIo, SectorSize, VckError,
    jvck::{ExistingMetadata, JvckMetadataOptions, JvckMetadataStore, check_prepared_block, examine_targets},
    memory_io::Fault,
};

use crate::support::{bytes, error_of, sector, vectors, volume};

/// Two footers of 128 KiB on 512-byte sectors.
fn block() -> Vec<u8> {
    bytes(&vectors!("metadata_blocks.json")["cases"][0], "block")
}

fn vmk() -> Vec<u8> {
    bytes(&vectors!("metadata_blocks.json")["cases"][0]["inputs"], "vmk")
}

const VOLUME: SectorCount = SectorCount::new(20_000);

fn check(block: &[u8], options: JvckMetadataOptions) -> Result<(), VckError> {
    let mut writes = SealedUpdate::new();
    let outcome = check_prepared_block(block, &options, SectorSize::S512, VOLUME, &mut writes);
    assert_eq!(writes.is_empty(), outcome.is_err(), "only an accepted block is to be written");
    outcome.map(|_| ())
}

fn mend_checksum(block: &mut [u8]) {
    let sum = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&block[..508]);
    block[508..512].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn a_good_block_is_placed_in_every_replica_and_opens() {
    let io = volume(SectorSize::S512, VOLUME.get());
    let mut writes = SealedUpdate::new();
    let (header, geometry) =
        check_prepared_block(&block(), &JvckMetadataOptions::default(), SectorSize::S512, VOLUME, &mut writes).unwrap();
    assert_eq!((header.footer_replica_count, geometry.data_sectors().get()), (2, 19_488));
    assert_eq!(examine_targets(&io, &geometry, &block()), Ok(ExistingMetadata::None));
    writes.apply(&io, Durability::OnReturn).unwrap();
    assert_eq!(sector(&io, Lba::new(19_743)), block());
    assert_eq!(sector(&io, Lba::new(19_999)), block());
    assert_eq!(examine_targets(&io, &geometry, &block()), Ok(ExistingMetadata::Identical));
    let store = JvckMetadataStore::open(&io, &vmk()).ok().unwrap();
    assert_eq!(store.load_offset().sector.get(), 12_345);
    assert!(store.stale_replicas().is_empty());
}

#[test]
fn a_longer_block_counts_with_its_first_512_bytes() {
    let longer = [block(), vec![0xEE; 3584]].concat();
    assert_eq!(check(&longer, JvckMetadataOptions::default()), Ok(()));
}

#[test]
fn bad_requests_and_bad_blocks_are_refused() {
    let good = JvckMetadataOptions::default();
    let with = |use_header, use_footer, metadata_size| JvckMetadataOptions { use_header, use_footer, metadata_size };
    assert!(matches!(check(&block()[..511], good), Err(VckError::SizeMismatch { expected: 512, actual: 511 })));
    assert_eq!(check(&[0; 512], good), Err(VckError::SignatureMismatch));
    let mut damaged = block();
    damaged[70] ^= 1;
    assert_eq!(check(&damaged, good), Err(VckError::ChecksumMismatch));
    for options in
        [with(0, 0, 131_072), with(0, 2, 0), with(0, 2, 131_071), with(0, 258, 131_072), with(256, 2, 131_072)]
    {
        assert!(matches!(check(&block(), options), Err(VckError::ValidationFailed(_))), "{options:?}");
    }
    for options in [with(0, 2, u32::MAX), with(0, 100, 131_072)] {
        assert!(matches!(check(&block(), options), Err(VckError::NoRoom(_))), "{options:?}");
    }
    for options in [with(1, 2, 131_072), with(0, 1, 131_072), with(0, 2, 131_584)] {
        assert!(matches!(check(&block(), options), Err(VckError::ContradictsRequest(_))), "{options:?}");
    }
    let mut other_sector = block();
    other_sector[20..24].copy_from_slice(&4096_u32.to_le_bytes());
    mend_checksum(&mut other_sector);
    assert!(matches!(check(&other_sector, good), Err(VckError::BadBlock(_))));
    let mut other_version = block();
    other_version[12] = 2;
    mend_checksum(&mut other_version);
    assert!(matches!(check(&other_version, good), Err(VckError::Unsupported(_))));
}

#[test]
fn what_would_be_destroyed_is_named() {
    let geometry = JvckMetadataOptions::default().geometry(SectorSize::S512, VOLUME).unwrap();
    let examine = |io: &MemoryIo| examine_targets(io, &geometry, &block());
    let mut same_volume = block();
    same_volume[48] ^= 1;
    mend_checksum(&mut same_volume);
    let mut other_volume = block();
    other_volume[32] ^= 1;
    mend_checksum(&mut other_volume);
    for lba in [19_743, 19_999] {
        let io = volume(SectorSize::S512, VOLUME.get());
        assert!(io.place(Lba::new(lba), &same_volume));
        assert_eq!(examine(&io), Ok(ExistingMetadata::SameVolume), "{lba}");
        assert!(io.place(Lba::new(lba), &other_volume));
        assert_eq!(examine(&io), Ok(ExistingMetadata::OtherVolume), "{lba}");
        let other_place = 19_743 + 19_999 - lba;
        assert!(io.place(Lba::new(other_place), &block()));
        assert_eq!(examine(&io), Ok(ExistingMetadata::OtherVolume), "the worst counts");
    }
    // A block that would not be overwritten but would compete: another layout's header.
    let io = volume(SectorSize::S512, VOLUME.get());
    assert!(io.place(Lba::ZERO, &other_volume));
    assert_eq!(examine(&io), Ok(ExistingMetadata::OtherVolume));
    let io = volume(SectorSize::S512, VOLUME.get());
    io.inject(Fault::Read(Lba::new(19_743)));
    assert!(matches!(examine(&io), Err(VckError::Device { .. })), "what cannot be read may hold anything");
    assert!(matches!(error_of(examine_targets(&io, &geometry, &[0; 512])), VckError::SignatureMismatch));
    assert_eq!(io.total_sectors(), VOLUME);
}
