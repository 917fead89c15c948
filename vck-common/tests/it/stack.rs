//! Stack use is bounded. The deepest accepted and the first refused message run on 24 KiB, and so do making, opening and
//! updating a volume and ciphering a run of sectors.

use corosensei::{Coroutine, CoroutineResult, stack::DefaultStack};
use vck_common::{
    DataSector, MemoryIo, SectorCount, SectorSize, VolumeCipher, VolumeState, XtsVolumeCipher,
    journal::Found,
    jvck::{JvckCbcCodec, JvckMetadataOptions, JvckMetadataStore, JvckSecrets},
    wire::{PrepareReq, decode},
};

use crate::support::CountingRandom;

const STACK: usize = 24 << 10;

/// Runs on a stack of [`STACK`] bytes with a guard page below it.
fn on_small_stack<T: 'static>(work: impl FnOnce() -> T + 'static) -> T {
    let stack = DefaultStack::new(STACK).expect("a stack");
    let mut coroutine: Coroutine<(), (), T, _> = Coroutine::with_stack(stack, move |_, ()| work());
    match coroutine.resume(()) {
        CoroutineResult::Return(value) => value,
        CoroutineResult::Yield(()) => panic!("the work does not yield"),
    }
}

/// A request whose unknown fields are nested `depth` deep in all, as wide as a message may be.
fn nested(depth: usize) -> Vec<u8> {
    let mut message = b"\xDE\x00\x40\xABvolume_path\xA1A".to_vec();
    for number in 1..64_u8 {
        message.extend([0xA1, 0x20 + number]);
        message.extend([0x81, 0xA1, b'k'].repeat(depth - 1));
        message.push(0xC0);
    }
    message
}

#[test]
fn the_deepest_accepted_message_fits() {
    let path = on_small_stack(|| {
        let mut message = nested(8);
        decode::<PrepareReq<'_>>(&mut message).map(|request| request.volume_path.len())
    });
    assert_eq!(path, Ok(1));
}

#[test]
fn the_first_refused_message_fits() {
    assert!(on_small_stack(|| decode::<PrepareReq<'_>>(&mut nested(9)).is_err()));
    assert!(on_small_stack(|| decode::<PrepareReq<'_>>(&mut vec![0x91; 65_536]).is_err()));
    assert!(on_small_stack(|| decode::<PrepareReq<'_>>(&mut vec![0x81; 65_536]).is_err()));
}

#[test]
fn the_metadata_code_and_the_cipher_fit() {
    let boundary = on_small_stack(|| -> vck_common::VckResult<u64> {
        let io = MemoryIo::new(SectorSize::S4096, SectorCount::new(200))?;
        let (random, secrets) = (CountingRandom::new(), JvckSecrets::copy_from(&[1; 32], &[2; 32]));
        let options = JvckMetadataOptions::default();
        JvckMetadataStore::create(&io, b"key", &options, secrets, [1; 16], JvckCbcCodec, &random)?.persist(
            DataSector::new(5),
            VolumeState::Decrypt,
            &random,
        )?;
        let store = JvckMetadataStore::open(&io, b"key")?;
        let keys = store.fvek_keys();
        let cipher = XtsVolumeCipher::new(keys.fvek_key1.expose(), keys.fvek_key2.expose())?;
        let (plain, mut run) = (vec![3; 1 << 16], vec![0; 1 << 16]);
        cipher.encrypt_copy(&plain, &mut run, SectorSize::S4096, DataSector::ZERO);
        cipher.decrypt_area(&mut run, SectorSize::S4096, DataSector::ZERO);
        assert!(run == plain);
        Ok(store.load_offset().sector.get())
    });
    assert_eq!(boundary, Ok(5));
}

#[test]
fn the_conversion_record_fits() {
    let entry = on_small_stack(|| -> vck_common::VckResult<u64> {
        let io = crate::record::new_volume(SectorSize::S4096, &JvckMetadataOptions::default());
        let mut journal = crate::record::opened(&io);
        let area = crate::record::zone(0, 100);
        journal.cover(area, &crate::record::ciphertext(area, SectorSize::S4096))?;
        crate::record::write(&mut *journal, &io, &crate::record::running(7, area), None);
        let mut journal = crate::record::journal(&io);
        match journal.open(&io)? {
            Found::Entry(entry) => Ok(entry.boundary.get()),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(entry, Ok(7));
}
