//! PREPARE requests that must be refused before anything is written.

use vck_common::NtStatus;
use vck_common::jvck::{BLOCK_SIZE, JvckCbcCodec, JvckHeader, JvckMetadataOptions, JvckSecrets, MetadataCodec};
use vck_common::{DataSector, SectorCount, SectorSize, VolumeState};
use vck_driver_tests::{Bench, FOOTERS, Failure, KEY1, KEY2, Setup, VMK, VOLUME_ID, WRONG_VMK, sealed_block};
use vck_ntsim::user::{Access, Share};

const DATA: u64 = 1 << 20;

fn bench() -> Bench {
    Bench::boot(Setup { data_bytes: DATA, ..Setup::default() })
}

fn options(use_header: u32, use_footer: u32, metadata_size: u32) -> JvckMetadataOptions {
    JvckMetadataOptions { use_header, use_footer, metadata_size }
}

/// A block as [`sealed_block`] makes it, for another volume or with another boundary.
fn block_of(volume_id: [u8; 16], boundary: u64, salt: u8) -> Vec<u8> {
    let size = SectorSize::new(512).expect("a sector size");
    let sectors = SectorCount::new((DATA + FOOTERS) / 512);
    let geometry = JvckMetadataOptions::default().geometry(size, sectors).expect("fits");
    let header = JvckHeader::for_new_volume(&geometry, volume_id);
    let secrets = JvckSecrets::copy_from(&KEY1, &KEY2);
    let mut block = [0; BLOCK_SIZE];
    JvckCbcCodec
        .seal(&header, &secrets, DataSector::new(boundary), VolumeState::Encrypt, &[salt; 16], &VMK, &mut block)
        .expect("seals");
    block.to_vec()
}

/// CRC-32 as in zlib, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, bit: u32| (crc >> 1) ^ (0xEDB8_8320 & (((crc ^ bit) & 1).wrapping_neg()));
    !bytes.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc, |crc, at| step(crc, u32::from(byte >> at))))
}

/// The block with one byte changed and the checksum made right again.
fn patched(block: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut block = block.to_vec();
    block[at] = value;
    let sum = crc(&block[..508]).to_le_bytes();
    block[508..512].copy_from_slice(&sum);
    block
}

/// Asserts that a PREPARE is refused with `status` and nothing changes; with the key and without.
fn refused(bench: &Bench, what: &str, options: JvckMetadataOptions, block: &[u8], status: NtStatus) {
    let (client, path) = (bench.client(), bench.path());
    let before = bench.footprint();
    for vmk in [&VMK[..], &[]] {
        let answer = client.prepare(&path, options, vmk, block);
        assert_eq!(answer, Err(Failure(status)), "{what}, {} bytes of key", vmk.len());
        bench.assert_untouched(&before, what);
        assert!(!client.status(&path).expect("a status").attached, "{what}");
    }
}

#[test]
fn counts_and_sizes_outside_the_format() {
    let bench = bench();
    let block = bench.block();
    let cases = [
        ("no replica", options(0, 0, 131_072), NtStatus::DATA_NOT_ACCEPTED),
        ("256 footers", options(0, 256, 131_072), NtStatus::DATA_NOT_ACCEPTED),
        ("256 headers", options(256, 0, 131_072), NtStatus::DATA_NOT_ACCEPTED),
        ("4294967295 of both", options(u32::MAX, u32::MAX, 131_072), NtStatus::DATA_NOT_ACCEPTED),
        ("a product that overflows", options(0x8000_0001, 2, 131_072), NtStatus::DATA_NOT_ACCEPTED),
        ("size 0", options(0, 2, 0), NtStatus::DATA_NOT_ACCEPTED),
        ("size 512", options(0, 2, 512), NtStatus::DATA_NOT_ACCEPTED),
        ("one byte too small", options(0, 2, 131_071), NtStatus::DATA_NOT_ACCEPTED),
        ("4 GiB replicas", options(0, 2, u32::MAX), NtStatus::DISK_FULL),
        ("255 of each", options(255, 255, 131_072), NtStatus::DISK_FULL),
        ("nothing left for data", options(0, 10, 131_072), NtStatus::DISK_FULL),
        ("half a volume on each side", options(5, 5, 131_072), NtStatus::DISK_FULL),
        ("one footer too many", options(0, 11, 131_072), NtStatus::DISK_FULL),
    ];
    for (what, options, status) in cases {
        refused(&bench, what, options, &block, status);
        let (client, path) = (bench.client(), bench.path());
        let before = bench.footprint();
        assert_eq!(client.prepare(&path, options, &[], &[]), Err(Failure(status)), "{what}, no block");
        bench.assert_untouched(&before, what);
    }
    bench.tear_down();
}

#[test]
fn the_smallest_data_region_is_accepted() {
    let bench = bench();
    let (client, path) = (bench.client(), bench.path());
    let most = options(0, 9, 131_072);
    let block = sealed_block(most, 512, (DATA + FOOTERS) / 512, 1);
    let prepared = client.prepare(&path, most, &VMK, &block).expect("one region is left");
    assert_eq!(prepared.data, 256);
    client.detach(&path).expect("detaches");
    drop(client);
    bench.tear_down();
}

#[test]
fn blocks_that_are_none() {
    let bench = bench();
    let good = bench.block();
    let fine = JvckMetadataOptions::default();
    let other_sectors = sealed_block(fine, 4096, (DATA + FOOTERS) / 4096, 1);
    let mut flipped = good.clone();
    flipped[100] ^= 1;
    let bad = NtStatus::DISK_CORRUPT_ERROR;
    refused(&bench, "one byte", fine, &good[..1], bad);
    refused(&bench, "a byte too short", fine, &good[..511], bad);
    refused(&bench, "zeros", fine, &[0; 512], bad);
    refused(&bench, "another signature", fine, &patched(&good, 0, b'X'), bad);
    refused(&bench, "a checksum that does not fit", fine, &flipped, bad);
    refused(&bench, "another sector size", fine, &other_sectors, bad);
    refused(&bench, "another version", fine, &patched(&good, 12, 2), NtStatus::NOT_SUPPORTED);
    bench.tear_down();
}

#[test]
fn blocks_that_contradict_the_request() {
    let bench = bench();
    let good = bench.block();
    let fine = JvckMetadataOptions::default();
    let mix = NtStatus::INVALID_PARAMETER_MIX;
    refused(&bench, "other footers", options(0, 1, 131_072), &good, mix);
    refused(&bench, "headers not stated", options(1, 2, 131_072), &good, mix);
    refused(&bench, "another size", options(0, 2, 131_584), &good, mix);
    refused(&bench, "block states other footers", fine, &patched(&good, 25, 3), mix);
    refused(&bench, "block states headers", fine, &patched(&good, 24, 1), mix);
    let (client, path) = (bench.client(), bench.path());
    let before = bench.footprint();
    let advanced = block_of(VOLUME_ID, 8, 1);
    assert_eq!(client.prepare(&path, fine, &VMK, &advanced), Err(Failure(mix)), "a boundary above zero");
    bench.assert_untouched(&before, "a block with a boundary");
    drop(client);
    bench.tear_down();
}

#[test]
fn a_wrong_key_changes_nothing() {
    let bench = bench();
    let (client, path, fine) = (bench.client(), bench.path(), JvckMetadataOptions::default());
    let before = bench.footprint();
    let wrong = Err(Failure(NtStatus::WRONG_PASSWORD));
    assert_eq!(client.prepare(&path, fine, &WRONG_VMK, &bench.block()), wrong);
    assert_eq!(client.prepare(&path, fine, b"short", &bench.block()), wrong);
    assert_eq!(client.prepare(&path, fine, &[7; 4096], &bench.block()), wrong);
    bench.assert_untouched(&before, "a wrong key with a block");
    assert_eq!(client.reattach(&path, &VMK).err(), Some(Failure(NtStatus::NOT_FOUND)), "there is no metadata");
    bench.assert_untouched(&before, "re-attach of a volume without metadata");

    client.prepare(&path, fine, &VMK, &bench.block()).expect("prepares");
    client.encrypt(&path).expect("starts");
    assert_eq!(client.wait_until_idle(&path), Ok(0));
    client.detach(&path).expect("detaches");
    let before = bench.footprint();
    assert_eq!(client.reattach(&path, &WRONG_VMK), wrong);
    bench.assert_untouched(&before, "re-attach with a wrong key");
    client.reattach(&path, &VMK).expect("the right key still opens it");
    drop(client);
    bench.tear_down();
}

#[test]
fn metadata_that_is_there_is_never_overwritten() {
    let bench = bench();
    let (client, path, fine) = (bench.client(), bench.path(), JvckMetadataOptions::default());
    let last = bench.world.disk(bench.disk).sectors() - 1;
    let conflict = NtStatus::OBJECTID_EXISTS;
    let other = block_of(*b"some other disk!", 0, 9);
    // The last sector, the first footer, sector 0, and a footer of another layout.
    for lba in [last, last - 256, 0, last - 3 * 256] {
        let disk = bench.world.disk(bench.disk);
        let old = disk.peek(lba, 1);
        let placed = if lba == last - 3 * 256 { patched(&other, 25, 4) } else { other.clone() };
        disk.poke(lba, &placed);
        refused(&bench, &format!("another volume's block at {lba}"), fine, &bench.block(), conflict);
        disk.poke(lba, &old);
    }
    // Another volume's metadata below our own is no better.
    let disk = bench.world.disk(bench.disk);
    disk.poke(last, &bench.block());
    disk.poke(last - 256, &other);
    refused(&bench, "one of two footers is another volume's", fine, &bench.block(), conflict);
    disk.poke(last, &[0; 512]);
    disk.poke(last - 256, &[0; 512]);

    client.prepare(&path, fine, &VMK, &bench.block()).expect("prepares");
    client.detach(&path).expect("detaches");
    let before = bench.footprint();
    client.prepare(&path, fine, &VMK, &bench.block()).expect("the same block again changes nothing");
    client.detach(&path).expect("detaches");
    bench.assert_untouched(&before, "the same block again");
    refused(&bench, "the same volume, sealed anew", fine, &block_of(VOLUME_ID, 0, 0x77), conflict);
    client.reattach(&path, &VMK).expect("attaches");
    client.encrypt(&path).expect("starts");
    assert_eq!(client.wait_until_idle(&path), Ok(0));
    client.detach(&path).expect("detaches");
    refused(&bench, "the first block over a converted volume", fine, &bench.block(), conflict);
    client.reattach(&path, &VMK).expect("its keys are still there");
    drop(client);
    bench.tear_down();
}

#[test]
fn headers_need_a_blank_volume_that_nobody_uses() {
    let bench = bench();
    let with_header = options(1, 1, 131_072);
    let block = sealed_block(with_header, 512, (DATA + FOOTERS) / 512, 1);
    let disk = bench.world.disk(bench.disk);
    let mut sector = vec![0; 512];
    sector[511] = 1;
    disk.poke(0, &sector);
    refused(&bench, "one byte is not zero", with_header, &block, NtStatus::DISK_FULL);
    disk.poke(0, &[0; 512]);
    let handle = bench.admin().open(r"\??\D:", Access::READ, Share::ALL).expect("opens");
    refused(&bench, "a file is open", with_header, &block, NtStatus::SHARING_VIOLATION);
    drop(handle);
    let holder = bench.admin().open(r"\??\D:", Access::READ_WRITE, Share::ALL).expect("opens");
    holder.lock().expect("alone");
    refused(&bench, "somebody holds the lock", with_header, &block, NtStatus::SHARING_VIOLATION);
    drop(holder);
    let client = bench.client();
    client.prepare(&bench.path(), with_header, &VMK, &block).expect("blank and unused");
    drop(client);
    bench.tear_down();
}

/// A boot sector of 512-byte sectors.
fn boot_sector(kind: &str, sectors: u64) -> Vec<u8> {
    let mut boot = vec![0; 512];
    let small = u32::try_from(sectors).expect("small");
    boot[..3].copy_from_slice(&[0xEB, 0x3C, 0x90]);
    boot[510..].copy_from_slice(&[0x55, 0xAA]);
    match kind {
        "fat" => {
            boot[11..13].copy_from_slice(&512_u16.to_le_bytes());
            boot[13] = 4;
            boot[14] = 1;
            boot[16] = 2;
            boot[21] = 0xF8;
            boot[32..36].copy_from_slice(&small.to_le_bytes());
        }
        "ntfs" => {
            boot[3..11].copy_from_slice(b"NTFS    ");
            boot[11..13].copy_from_slice(&512_u16.to_le_bytes());
            // The backup boot sector comes on top.
            boot[40..48].copy_from_slice(&(sectors - 1).to_le_bytes());
        }
        "exfat" => {
            boot[3..11].copy_from_slice(b"EXFAT   ");
            boot[72..80].copy_from_slice(&sectors.to_le_bytes());
            boot[108] = 9;
        }
        _ => boot[3..11].copy_from_slice(b"-FVE-FS-"),
    }
    boot
}

#[test]
fn footers_must_lie_behind_the_file_system() {
    let bench = bench();
    let (client, path, fine) = (bench.client(), bench.path(), JvckMetadataOptions::default());
    let disk = bench.world.disk(bench.disk);
    let data = DATA / 512;
    for kind in ["fat", "ntfs", "exfat"] {
        for sectors in [data + 1, data + 512, data * 100] {
            disk.poke(0, &boot_sector(kind, sectors));
            let what = format!("{kind} of {sectors} sectors");
            refused(&bench, &what, fine, &bench.block(), NtStatus::DISK_FULL);
            let before = bench.footprint();
            assert_eq!(client.prepare(&path, fine, &[], &[]), Err(Failure(NtStatus::DISK_FULL)), "{what}, no block");
            bench.assert_untouched(&before, &what);
        }
    }
    disk.poke(0, &boot_sector("bitlocker", 0));
    refused(&bench, "BitLocker", fine, &bench.block(), NtStatus::DISK_FULL);
    for kind in ["fat", "ntfs", "exfat"] {
        disk.poke(0, &boot_sector(kind, data));
        client.prepare(&path, fine, &VMK, &bench.block()).expect("it ends where the footers begin");
        client.detach(&path).expect("detaches");
    }
    // The check holds for a volume that has its metadata already.
    disk.poke(0, &boot_sector("ntfs", data + 1));
    let before = bench.footprint();
    assert_eq!(client.reattach(&path, &VMK), Err(Failure(NtStatus::DISK_FULL)), "the file system was extended");
    bench.assert_untouched(&before, "re-attach under a file system that reaches into the footers");
    drop(client);
    bench.tear_down();
}

#[test]
fn conditions_that_need_different_actions_have_different_statuses() {
    let all = [
        ("wrong key", NtStatus::WRONG_PASSWORD),
        ("bad block", NtStatus::DISK_CORRUPT_ERROR),
        ("malformed message", NtStatus::INVALID_PARAMETER),
        ("volume in use", NtStatus::SHARING_VIOLATION),
        ("no room", NtStatus::DISK_FULL),
        ("already attached", NtStatus::OBJECT_NAME_COLLISION),
        ("not a volume", NtStatus::BAD_DEVICE_TYPE),
        ("contradiction", NtStatus::INVALID_PARAMETER_MIX),
        ("layout outside the format", NtStatus::DATA_NOT_ACCEPTED),
        ("keys would be lost", NtStatus::OBJECTID_EXISTS),
        ("no metadata", NtStatus::NOT_FOUND),
        ("not attached", NtStatus::OBJECT_NAME_NOT_FOUND),
        ("not now", NtStatus::INVALID_DEVICE_STATE),
        ("no filter, no flush, another version", NtStatus::NOT_SUPPORTED),
        ("unknown code", NtStatus::INVALID_DEVICE_REQUEST),
        ("not allowed", NtStatus::ACCESS_DENIED),
        ("no room for the answer", NtStatus::BUFFER_TOO_SMALL),
    ];
    for (at, (what, status)) in all.iter().enumerate() {
        let twin = all[..at].iter().find(|(_, other)| other == status);
        assert_eq!(twin, None, "{what}");
    }
}
