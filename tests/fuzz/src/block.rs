//! Metadata blocks on open: any block, at any place, with a right checksum or a wrong one.

use arbitrary::Arbitrary;
use crc::{CRC_32_ISO_HDLC, Crc};
use vck_common::{
    DataSector, EncryptedOffsetStore, Geometry, Lba, MemoryIo, SealedUpdate, SectorIo, VolumeState,
    jvck::{
        BLOCK_SIZE, JvckCbcCodec, JvckHeader, JvckMetadataOptions, JvckMetadataReader, JvckMetadataStore,
        check_prepared_block, examine_targets, find_block,
    },
};

use crate::volume::{Fixed, REGION, VMK, VOLUME_ID, blank, geometry, sealed, sector_size};

#[derive(Arbitrary, Debug)]
pub struct Input {
    large_sectors: bool,
    headers: u8,
    footers: u8,
    blocks: Vec<Block>,
}

#[derive(Arbitrary, Debug)]
struct Block {
    place: Place,
    offset: u64,
    decrypting: bool,
    salt: u8,
    right_key: bool,
    patches: Vec<(u16, u8)>,
    right_checksum: bool,
}

#[derive(Arbitrary, Debug)]
enum Place {
    Replica(u8),
    Sector(u16),
}

pub fn run(input: &Input) {
    let (headers, footers) = (input.headers % 3, input.footers % 3);
    if headers + footers == 0 {
        return;
    }
    let geometry = geometry(sector_size(input.large_sectors), headers, footers);
    let io = blank(&geometry);
    for block in input.blocks.iter().take(8) {
        place(&io, &geometry, block);
    }
    let before = io.image();
    open(&io);
    assert!(io.image() == before, "opening wrote");
    let last = io.total_sectors().get() - 1;
    let mut sector = vec![0; geometry.sector_size().usize()];
    io.read_sectors(Lba::new(last), &mut sector).expect("inside the volume");
    prepare(&io, headers, footers, &sector);
    assert!(io.image() == before, "looking wrote");
}

fn place(io: &MemoryIo, geometry: &Geometry, block: &Block) {
    let state = if block.decrypting { VolumeState::Decrypt } else { VolumeState::Encrypt };
    let header = JvckHeader::for_new_volume(geometry, VOLUME_ID);
    let vmk = if block.right_key { VMK } else { b"another key" };
    // Most boundaries shall lie inside.
    let offset = if block.offset.is_multiple_of(4) { block.offset } else { block.offset % 66 };
    let mut bytes = sealed(&header, offset, state, block.salt, vmk);
    for &(at, value) in block.patches.iter().take(64) {
        bytes[usize::from(at) % BLOCK_SIZE] ^= value;
    }
    if block.right_checksum {
        let sum = Crc::<u32>::new(&CRC_32_ISO_HDLC).checksum(&bytes[..508]);
        bytes[508..].copy_from_slice(&sum.to_le_bytes());
    }
    let lba = match block.place {
        Place::Replica(index) => geometry.metadata_lba(usize::from(index) % geometry.replica_count()),
        Place::Sector(lba) => Some(Lba::new(u64::from(lba) % geometry.volume_sectors().get())),
    };
    assert!(io.place(lba.expect("a replica"), &bytes));
}

fn open(io: &MemoryIo) {
    let Ok(mut reader) = JvckMetadataReader::open(io) else { return };
    let geometry = *reader.geometry();
    assert!(geometry.volume_sectors() == io.total_sectors());
    assert!(geometry.metadata_lbas().all(|lba| lba.get() < io.total_sectors().get()));
    let good = (0..reader.replica_count()).filter(|&index| reader.replica_ctx(index).is_ok()).count();
    let Ok(store) = reader.into_store(VMK, JvckCbcCodec) else { return };
    assert!(store.report().good <= good && store.report().good > 0);
    let (offset, state) = store.load().expect("it is open");
    assert!(offset.sector.get() <= geometry.data_sectors().get());
    let mut journal = store.journal().expect("memory").expect("JVCK has a journal");
    // No record can be authentic here.
    assert!(!matches!(journal.open(io), Ok(vck_common::journal::Found::Entry(_))));
    let mut update = SealedUpdate::new();
    store.seal(offset.sector, state, &Fixed(9), &mut update).expect("a block");
    assert!(update.writes().map(|(lba, _)| lba).eq(geometry.metadata_lbas()));
    assert!(update.writes().all(|(_, bytes)| bytes.len() == io.sector_size().usize()));
    // What was sealed from what was read opens and says the same.
    let copy = MemoryIo::new(io.sector_size(), io.total_sectors()).expect("memory");
    for (lba, bytes) in update.writes() {
        assert!(copy.place(lba, bytes));
    }
    let again = JvckMetadataStore::open(&copy, VMK).unwrap_or_else(|error| panic!("{error}"));
    assert!(again.load() == Ok((offset, state)) && again.stale_replicas().is_empty());
}

fn prepare(io: &MemoryIo, headers: u8, footers: u8, block: &[u8]) {
    let _ = find_block(io);
    let options = JvckMetadataOptions { use_header: headers.into(), use_footer: footers.into(), metadata_size: REGION };
    let mut writes = SealedUpdate::new();
    assert!(check_prepared_block(block, &options, io.sector_size(), io.total_sectors(), &mut writes).is_err());
    let options = JvckMetadataOptions { metadata_size: 131_072, ..options };
    let total = vck_common::SectorCount::new(1 << 20);
    if let Ok((_, geometry)) = check_prepared_block(block, &options, io.sector_size(), total, &mut writes) {
        assert!(writes.writes().map(|(lba, _)| lba).eq(geometry.metadata_lbas()));
    }
    if let Ok(header) = JvckHeader::parse(block)
        && let Ok(geometry) = header.geometry(io.sector_size(), io.total_sectors())
    {
        let _ = examine_targets(io, &geometry, block);
        assert!(geometry.data_to_lba(DataSector::ZERO).is_some());
    }
}
