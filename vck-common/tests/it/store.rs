//! `store.json`: the write sequence, vendor data, a write that fails half-way.

use vck_common::{
    DataSector, Durability, EncryptedOffsetStore, Lba, MemoryIo, SealedUpdate, SectorCount, SectorSize, VckError,
    VendorSector, VolumeState,
    jvck::{
        JvckCbcCodec, JvckHeader, JvckMetadataOptions, JvckMetadataStore, JvckSecrets, MetadataCodec, block_salt,
        default_codec,
    },
    memory_io::{FAULT_STATUS, Fault, IoEvent},
};

use crate::support::{
    CountingRandom, NoRandom, array, bytes, cases, error_of, number, sector, sector_size, text, vectors, volume,
};

const VMK: [u8; 32] = [7; 32];

fn options() -> JvckMetadataOptions {
    JvckMetadataOptions::default()
}

fn secrets() -> JvckSecrets {
    JvckSecrets::copy_from(&[1; 32], &[2; 32])
}

fn create(io: &MemoryIo) -> JvckMetadataStore<&MemoryIo> {
    JvckMetadataStore::create(io, &VMK, &options(), secrets(), [9; 16], default_codec(), &CountingRandom::new())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// The events of one update: every replica once, in index order, then a flush.
fn one_update() -> [IoEvent; 3] {
    let write =
        |lba| IoEvent::Write { lba: Lba::new(lba), count: SectorCount::new(1), durability: Durability::AtNextFlush };
    [write(767), write(1023), IoEvent::Flush]
}

#[test]
fn the_recorded_sequence_of_writes_gives_the_recorded_blocks() {
    let vectors = &vectors!("store.json")["write_sequence"];
    let (random, vmk) = (CountingRandom::new(), bytes(vectors, "vmk"));
    let io = volume(sector_size(&vectors["volume"]), number(&vectors["volume"], "volume_sectors"));
    let secrets = JvckSecrets::copy_from(&array(vectors, "fvek_key1"), &array(vectors, "fvek_key2"));
    let steps = cases(vectors, "steps");
    let assert_replicas = |step: usize| {
        for lba in [767, 1023] {
            assert_eq!(sector(&io, Lba::new(lba)), bytes(&steps[step], "block_both_replicas"), "step {step} at {lba}");
        }
    };
    let id = array(vectors, "volume_id");
    let store = JvckMetadataStore::create(&io, &vmk, &options(), secrets, id, JvckCbcCodec, &random).ok().unwrap();
    assert_eq!(block_salt(&sector(&io, Lba::new(767))).unwrap(), array::<16>(&steps[0], "salt"));
    assert_replicas(0);
    // Looking for metadata that a new volume would destroy reads; only the writes are compared.
    let events: Vec<_> = io.take_events().into_iter().filter(|event| !matches!(event, IoEvent::Read { .. })).collect();
    assert_eq!(events, one_update());
    for (step, offset, state) in
        [(1, 100, VolumeState::Encrypt), (2, 100, VolumeState::Decrypt), (3, 50, VolumeState::Decrypt)]
    {
        store.persist(DataSector::new(offset), state, &random).unwrap();
        assert_replicas(step);
        assert_eq!(io.take_events(), one_update());
    }
    assert_eq!(text(&steps[4], "step"), "flush() -- no I/O");
    assert_replicas(4);

    let reopen = &vectors["reopen"];
    let again = JvckMetadataStore::open(&io, &vmk).ok().unwrap();
    let (offset, state) = again.load().unwrap();
    assert_eq!((offset.sector.get(), offset.total_sectors.get()), (number(reopen, "offset"), number(reopen, "total")));
    assert_eq!((state, text(reopen, "state")), (VolumeState::Decrypt, "decrypt"));
    assert_eq!(again.fvek_keys().fvek_key1.expose(), &array::<32>(reopen, "fvek_key1"));
    assert_eq!(again.fvek_keys().fvek_key2.expose(), &array::<32>(reopen, "fvek_key2"));
    assert_eq!(again.volume_id(), &array::<16>(reopen, "volume_id"));
    assert_eq!(again.geometry().offset_sector().get(), number(reopen, "offset_sector"));
    assert!(again.stale_replicas().is_empty());
    assert!(io.take_events().iter().all(|event| matches!(event, IoEvent::Read { .. })), "opening writes nothing");
}

#[test]
fn sealing_does_no_io_and_publishes_nothing() {
    let io = volume(SectorSize::S4096, 200);
    let store = create(&io);
    io.take_events();
    let mut update = SealedUpdate::new();
    store.seal(DataSector::new(40), VolumeState::Decrypt, &CountingRandom::new(), &mut update).unwrap();
    assert_eq!(io.take_events(), []);
    assert_eq!(store.load().unwrap().0.sector, DataSector::ZERO);
    let writes: Vec<_> = update.writes().collect();
    assert_eq!(writes.iter().map(|(lba, _)| lba.get()).collect::<Vec<_>>(), [167, 199]);
    for (_, bytes) in writes {
        assert_eq!(bytes.len(), 4096);
        assert_eq!(JvckHeader::parse(bytes).unwrap().sector_size, 4096);
        assert!(bytes[512..].iter().all(|&byte| byte == 0));
    }
    update.apply(&io, Durability::OnReturn).unwrap();
    assert_eq!(store.load().unwrap().0.sector, DataSector::ZERO);
    store.sealed_is_durable(DataSector::new(40), VolumeState::Decrypt);
    let (offset, state) = store.load().unwrap();
    assert_eq!((offset.sector, state), (DataSector::new(40), VolumeState::Decrypt));
    assert!(offset.is_encrypted(DataSector::new(39)) && !offset.is_encrypted(DataSector::new(40)));
    assert!(!offset.is_fully_encrypted());
}

#[test]
fn every_seal_draws_a_new_salt() {
    let io = volume(SectorSize::S512, 1024);
    let store = create(&io);
    let (random, mut update, mut salts) = (CountingRandom::new(), SealedUpdate::new(), Vec::new());
    for _ in 0..8 {
        store.seal(DataSector::new(1), VolumeState::Encrypt, &random, &mut update).unwrap();
        let blocks: Vec<_> = update.writes().map(|(_, bytes)| bytes.to_vec()).collect();
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0], blocks[1], "the replicas of one update are identical");
        salts.push(block_salt(&blocks[0]).unwrap());
    }
    salts.sort_unstable();
    salts.dedup();
    assert_eq!(salts.len(), 8);
}

#[test]
fn a_seal_that_fails_leaves_nothing_to_write() {
    let io = volume(SectorSize::S512, 1024);
    let store = create(&io);
    let mut update = SealedUpdate::new();
    store.seal(DataSector::new(1), VolumeState::Encrypt, &CountingRandom::new(), &mut update).unwrap();
    let outside = store.seal(DataSector::new(513), VolumeState::Encrypt, &CountingRandom::new(), &mut update);
    assert!(matches!(outside, Err(VckError::ValidationFailed(_))));
    assert!(update.is_empty());
    store.seal(DataSector::new(512), VolumeState::Encrypt, &CountingRandom::new(), &mut update).unwrap();
    let no_salt = store.seal(DataSector::new(1), VolumeState::Encrypt, &NoRandom, &mut update);
    assert!(matches!(no_salt, Err(VckError::CryptoFailed(_))));
    assert!(update.is_empty());
}

#[test]
fn a_write_error_stops_the_update_and_keeps_the_old_values_in_memory() {
    let vectors = vectors!("store.json");
    let boundary = number(&vectors["partial_write_failure"], "load_after");
    let io = volume(SectorSize::S512, 1024);
    let store = create(&io);
    io.inject(Fault::Write(Lba::new(1023)));
    let failed = store.persist(DataSector::new(boundary), VolumeState::Encrypt, &CountingRandom::new());
    // Recorded as a plain I/O error; the device's status and the sector are kept now.
    assert_eq!(failed, Err(VckError::Device { status: FAULT_STATUS, lba: Some(Lba::new(1023)) }));
    assert_eq!(store.load().unwrap().0.sector, DataSector::ZERO);
    assert_eq!(vectors["partial_write_failure"]["replica0_updated"], true);
    // The replica that was written is the newer one, and the other is known to be behind.
    let again = JvckMetadataStore::open(&io, &VMK).ok().unwrap();
    assert_eq!(again.load_offset().sector.get(), boundary);
    assert!(again.stale_replicas().iter().eq([1]));

    io.heal();
    io.inject(Fault::Flush);
    let unflushed = store.persist(DataSector::new(60), VolumeState::Encrypt, &CountingRandom::new());
    assert!(matches!(unflushed, Err(VckError::Device { lba: None, .. })));
    assert_eq!(store.load().unwrap().0.sector, DataSector::ZERO);
}

#[test]
fn stale_replicas_are_healed_by_the_next_update() {
    let io = volume(SectorSize::S512, 1024);
    create(&io).persist(DataSector::new(5), VolumeState::Encrypt, &CountingRandom::new()).unwrap();
    assert!(io.place(Lba::new(767), &[0; 512]));
    let store = JvckMetadataStore::open(&io, &VMK).ok().unwrap();
    assert!(store.stale_replicas().iter().eq([0]));
    let (offset, state) = store.load().unwrap();
    store.persist(offset.sector, state, &CountingRandom::new()).unwrap();
    let healed = JvckMetadataStore::open(&io, &VMK).ok().unwrap();
    assert!(healed.stale_replicas().is_empty());
    assert_eq!((healed.report().good, healed.load_offset().sector), (2, DataSector::new(5)));
}

#[test]
fn vendor_bytes_travel_with_the_next_update() {
    let recorded = bytes(&vectors!("store.json")["vendor_reserved_all_AB"], "block_after_set");
    assert_eq!(JvckHeader::parse(&recorded).unwrap().vendor_reserved, [0xAB; 192]);
    let io = volume(SectorSize::S512, 1024);
    let mut store = create(&io);
    store.set_vendor_reserved(&[0xAB; 192]);
    store.persist(DataSector::new(3), VolumeState::Encrypt, &CountingRandom::new()).unwrap();
    let written = sector(&io, Lba::new(1023));
    assert_eq!(written[304..496], recorded[304..496]);
    let again = JvckMetadataStore::open(&io, &VMK).ok().unwrap();
    assert_eq!(again.vendor_reserved(), &[0xAB; 192]);
    again.persist(DataSector::new(4), VolumeState::Encrypt, &CountingRandom::new()).unwrap();
    assert_eq!(sector(&io, Lba::new(1023))[304..496], [0xAB; 192], "a later update keeps them");
}

#[test]
fn vendor_data_requests_are_checked() {
    let io = volume(SectorSize::S512, 1024);
    let store = create(&io);
    for case in cases(&vectors!("store.json"), "vendor_data_validation_512_footer2") {
        let name = text(case, "case");
        let (index, rel, len) = match name {
            "len_zero" => (0, 0, 0),
            "len_100" => (0, 0, 100),
            "rel_255" => (0, 255, 512),
            "replica_2" => (2, 0, 512),
            "rel_254_two_sectors" => (0, 254, 1024),
            "rel_u64max" => (0, u64::MAX, 512),
            "rel_254_ok" => (0, 254, 512),
            other => panic!("{other}"),
        };
        let (rel, mut buf) = (VendorSector::new(rel), vec![0x5A; len]);
        for outcome in [
            store.read_vendor_data(index, rel, &mut buf),
            store.write_vendor_data(index, rel, &vec![0x5A; len], Durability::OnReturn),
        ] {
            match (&outcome, case["result"]["kind"].as_str()) {
                (Ok(()), None)
                | (Err(VckError::InvalidData(_)), Some("InvalidData"))
                | (Err(VckError::NotFound(_)), Some("NotFound"))
                | (Err(VckError::ValidationFailed(_)), Some("ValidationFailed")) => {}
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[test]
fn vendor_data_of_all_replicas_never_touches_a_block() {
    let io = volume(SectorSize::S512, 1024);
    let store = create(&io);
    let blocks = [sector(&io, Lba::new(767)), sector(&io, Lba::new(1023))];
    let all = vec![0x33; 255 * 512];
    store.write_vendor_data_all(VendorSector::ZERO, &all, Durability::AtNextFlush).unwrap();
    assert_eq!([sector(&io, Lba::new(767)), sector(&io, Lba::new(1023))], blocks);
    for index in 0..2 {
        let mut read = vec![0; 255 * 512];
        store.read_vendor_data(index, VendorSector::ZERO, &mut read).unwrap();
        assert_eq!(read, all);
    }
    assert!(io.image()[..512 * 512].iter().all(|&byte| byte == 0), "nor the data region");
}

#[test]
fn creating_refuses_what_could_not_be_opened_or_would_destroy() {
    let attempt = |io: &MemoryIo, options: JvckMetadataOptions, secrets: JvckSecrets| {
        let before = io.image();
        let random = CountingRandom::new();
        let error = error_of(JvckMetadataStore::create(io, &VMK, &options, secrets, [1; 16], JvckCbcCodec, &random));
        assert_eq!(io.image(), before, "a refused creation changes nothing");
        error
    };
    let fresh = || volume(SectorSize::S512, 1024);
    let many = JvckMetadataOptions { use_footer: 256, ..options() };
    assert!(matches!(attempt(&fresh(), many, secrets()), VckError::ValidationFailed(_)));
    let none = JvckMetadataOptions { use_footer: 0, ..options() };
    assert!(matches!(attempt(&fresh(), none, secrets()), VckError::ValidationFailed(_)));
    let large = JvckMetadataOptions { use_footer: 4, ..options() };
    assert!(matches!(attempt(&fresh(), large, secrets()), VckError::NoRoom(_)));
    let equal = JvckSecrets::copy_from(&[3; 32], &[3; 32]);
    assert!(matches!(attempt(&fresh(), options(), equal), VckError::ValidationFailed(_)));

    // A volume whose only block is in sector 0 counts as initialised, too.
    let io = volume(SectorSize::S512, 1024);
    let header_only = JvckMetadataOptions { use_header: 1, use_footer: 0, ..options() };
    let random = CountingRandom::new();
    JvckMetadataStore::create(&io, &VMK, &header_only, secrets(), [1; 16], JvckCbcCodec, &random).ok().unwrap();
    assert!(matches!(attempt(&io, options(), secrets()), VckError::Conflict(_)));
    // And one that cannot be read is not taken for empty.
    let io = fresh();
    io.inject(Fault::Read(Lba::new(1023)));
    assert!(matches!(attempt(&io, options(), secrets()), VckError::Device { .. }));
}

#[test]
fn a_vendor_codec_takes_the_place_of_the_built_in_one() {
    /// Keeps the container and flips the payload.
    struct Flipping;

    impl MetadataCodec for Flipping {
        fn unseal(
            &self,
            replica: &vck_common::jvck::ReplicaCtx<'_>,
            vmk: &[u8],
        ) -> vck_common::VckResult<vck_common::jvck::Unsealed> {
            let mut vendor = [0; 512];
            replica.read_vendor_data(VendorSector::ZERO, &mut vendor)?;
            assert_eq!(replica.header().vendor_id, 0);
            assert_eq!(replica.vendor_data_sector_count().get(), 255);
            let flipped: Vec<u8> = vmk.iter().map(|byte| !byte).collect();
            JvckCbcCodec.unseal(replica, &flipped)
        }

        fn seal(
            &self,
            header: &JvckHeader,
            secrets: &JvckSecrets,
            offset: DataSector,
            state: VolumeState,
            salt: &[u8; 16],
            vmk: &[u8],
            out: &mut [u8; 512],
        ) -> vck_common::VckResult<()> {
            let flipped: Vec<u8> = vmk.iter().map(|byte| !byte).collect();
            JvckCbcCodec.seal(header, secrets, offset, state, salt, &flipped, out)
        }
    }

    let io = volume(SectorSize::S512, 1024);
    let boxed: Box<dyn MetadataCodec> = Box::new(Flipping);
    JvckMetadataStore::create(&io, &VMK, &options(), secrets(), [1; 16], boxed, &CountingRandom::new()).ok().unwrap();
    assert_eq!(error_of(JvckMetadataStore::open(&io, &VMK)), VckError::WrongKey);
    let reader = vck_common::jvck::JvckMetadataReader::open(&io).ok().unwrap();
    assert_eq!(reader.replica_count(), 2);
    let store = reader.into_store(&VMK, Flipping).ok().unwrap();
    assert_eq!(store.fvek_keys().fvek_key2.expose(), &[2; 32]);
}
