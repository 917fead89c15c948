//! Errors of the device below: during requests, and during conversion.

#![expect(
    clippy::cast_possible_truncation,
    clippy::needless_pass_by_value,
    reason = "test patterns wrap, and the volumes are a few MiB"
)]

use std::time::Duration;

use vck_common::jvck::JvckMetadataOptions;
use vck_common::{DataSector, NtStatus, SectorSize, VolumeCipher, XtsVolumeCipher};
use vck_driver_tests::{Bench, Client, FOOTERS, Failure, KEY1, KEY2, RawIo, Setup, VMK};
use vck_ntsim::storage::{Disk, DiskConfig, DiskOp, Fault, FaultEffect, FlushSupport};
use vck_ntsim::user::{Access, Share};

/// Two steps of the sweep, the second a short one.
const DATA: usize = 1280 << 10;
/// The second step of a conversion, behind sector 0; later ones are longer.
const STEP: u64 = 512;
const FAILED: NtStatus = NtStatus::IO_DEVICE_ERROR;

fn plain() -> Vec<u8> {
    (0..DATA).map(|at| (at % 253) as u8 ^ (at >> 9) as u8).collect()
}

fn sealed(plain: &[u8], sectors: usize) -> Vec<u8> {
    let mut bytes = plain[..sectors * 512].to_vec();
    let cipher = XtsVolumeCipher::new(&KEY1, &KEY2).expect("two keys");
    cipher.encrypt_area(&mut bytes, SectorSize::new(512).expect("a size"), DataSector::ZERO);
    bytes
}

fn length() -> u32 {
    u32::try_from(DATA).expect("small")
}

/// A volume full of data, attached with nothing encrypted.
fn bench(setup: Setup) -> Bench {
    let bench = Bench::boot(Setup { data_bytes: DATA as u64, ..setup });
    bench.world.disk(bench.disk).poke(0, &plain());
    let client = bench.client();
    client.prepare(&bench.path(), JvckMetadataOptions::default(), &VMK, &bench.block()).expect("prepares");
    drop(client);
    bench
}

/// Lets time pass until the sweep stands still, more than a minute if need be: it tries for half a minute. State, boundary, error
/// text.
fn settle(bench: &Bench, client: &Client<'_>) -> (i32, u64, String) {
    for _ in 0..4000 {
        let progress = client.progress(&bench.path()).expect("progress");
        if progress.0 != 1 && progress.0 != 2 {
            return progress;
        }
        bench.world.run_for(Duration::from_millis(20));
    }
    panic!("the sweep neither ends nor gives up: {:?}", client.progress(&bench.path()));
}

/// The oracle: every sector of the medium is what the boundary says, and reads show the data.
fn check(bench: &Bench, boundary: u64, what: &str) {
    bench.world.assert_clean();
    let (plain, image) = (plain(), bench.image());
    let below = usize::try_from(boundary).expect("small");
    assert!(image[..below * 512] == sealed(&plain, below), "{what}: not ciphertext below {boundary}");
    assert!(image[below * 512..DATA] == plain[below * 512..], "{what}: not plaintext from {boundary} on");
    let read = bench.send_raw(RawIo::read(0, length()));
    assert_eq!((read.status, read.information), (NtStatus::SUCCESS, DATA as u64), "{what}");
    assert!(read.data == plain, "{what}: reads show something else");
}

/// Converts to the end in both directions: whatever happened before, nothing is stuck and nothing is lost.
fn converts(bench: &Bench, what: &str) {
    let client = bench.client();
    client.encrypt(&bench.path()).expect("starts");
    assert_eq!(settle(bench, &client), (0, DATA as u64 / 512, String::new()), "{what}");
    check(bench, DATA as u64 / 512, what);
    client.decrypt(&bench.path()).expect("starts");
    assert_eq!(settle(bench, &client), (0, 0, String::new()), "{what}");
    check(bench, 0, what);
}

const STATUSES: [NtStatus; 6] = [
    FAILED,
    NtStatus::CRC_ERROR,
    NtStatus::MEDIA_WRITE_PROTECTED,
    NtStatus::DEVICE_NOT_CONNECTED,
    NtStatus::DEVICE_BUSY,
    NtStatus::VERIFY_REQUIRED,
];

#[test]
fn requests_fail_with_the_status_of_the_device() {
    for encrypted in [false, true] {
        for hostile in [false, true] {
            let bench = bench(Setup { hostile, force_pending: hostile, ..Setup::default() });
            let (client, disk) = (bench.client(), bench.world.disk(bench.disk));
            if encrypted {
                client.encrypt(&bench.path()).expect("starts");
                assert_eq!(settle(&bench, &client).0, 0);
            }
            let before = bench.image();
            for status in STATUSES {
                for length in [4096, 65_536, length()] {
                    disk.inject(Fault::fail(DiskOp::Read, 3..4, status.0).times(1));
                    let reply = bench.send_raw(RawIo::read(0, length));
                    assert_eq!((reply.status, reply.information), (status, 0), "read of {length}");
                    disk.inject(Fault::fail(DiskOp::Write, 3..4, status.0).times(1));
                    let reply = bench.send_raw(RawIo::write(0, length, 0x77));
                    assert_eq!((reply.status, reply.information), (status, 0), "write of {length}");
                }
                disk.inject(Fault::anywhere(DiskOp::Flush, FaultEffect::Fail(status.0)).times(1));
                let handle = bench.admin().open(r"\??\D:", Access::READ_WRITE, Share::ALL).expect("opens");
                assert_eq!(handle.flush().map_err(NtStatus), Err(status), "flush");
                handle.flush().expect("the fault is gone");
            }
            assert!(bench.image() == before, "failed requests wrote something");
            let boundary = if encrypted { DATA as u64 / 512 } else { 0 };
            check(&bench, boundary, "after failed requests");
            converts(&bench, "after failed requests");
            drop(client);
            bench.tear_down();
        }
    }
}

#[test]
fn a_permanent_error_hits_its_sector_alone() {
    let bench = bench(Setup::default());
    let (client, disk, plain) = (bench.client(), bench.world.disk(bench.disk), plain());
    client.encrypt(&bench.path()).expect("starts");
    assert_eq!(settle(&bench, &client).0, 0);
    disk.inject(Fault::fail(DiskOp::Read, 100..101, NtStatus::CRC_ERROR.0));
    for sector in 98..103_usize {
        let reply = bench.send_raw(RawIo::read(i64::try_from(sector * 512).expect("small"), 512));
        let expected = if sector == 100 { NtStatus::CRC_ERROR } else { NtStatus::SUCCESS };
        assert_eq!(reply.status, expected, "sector {sector}");
        assert!(sector == 100 || reply.data == plain[sector * 512..][..512]);
    }
    disk.clear_faults();
    converts(&bench, "after a bad sector");
    drop(client);
    bench.tear_down();
}

#[test]
fn a_short_read_shows_whole_plaintext_sectors_and_no_ciphertext() {
    for length in [8192_u32, 262_144] {
        let bench = bench(Setup::default());
        let (client, disk, plain) = (bench.client(), bench.world.disk(bench.disk), plain());
        client.encrypt(&bench.path()).expect("starts");
        assert_eq!(settle(&bench, &client).0, 0);
        let medium = bench.image();
        for bytes in [0, 100, 512, 1536, 1636, 8191] {
            disk.inject(Fault::anywhere(DiskOp::Read, FaultEffect::Short(bytes)).times(1));
            let reply = bench.send_raw(RawIo::read(0, length));
            assert_eq!((reply.status, reply.information), (NtStatus::SUCCESS, u64::from(bytes)));
            let (given, whole) = (bytes as usize, bytes as usize / 512 * 512);
            assert!(reply.data[..whole] == plain[..whole], "{bytes} bytes");
            assert!(reply.data[whole..given].iter().all(|byte| *byte == 0), "a partial sector cannot be decrypted");
            assert!(reply.data[given..].windows(16).all(|some| !medium[..DATA].starts_with(some)));
        }
        converts(&bench, "after short reads");
        drop(client);
        bench.tear_down();
    }
}

#[test]
fn errors_anywhere_in_a_conversion_lose_nothing() {
    for (op, points) in [(DiskOp::Read, 2), (DiskOp::Write, 8), (DiskOp::Flush, 6)] {
        for skip in 0..points {
            for times in [1, 3, 6, 40] {
                let bench = bench(Setup::default());
                let (client, disk) = (bench.client(), bench.world.disk(bench.disk));
                for (encrypt, end) in [(true, DATA as u64 / 512), (false, 0)] {
                    let what = format!("{op:?} fails {times} times after {skip}, encrypting: {encrypt}");
                    disk.inject(Fault::anywhere(op, FaultEffect::Fail(FAILED.0)).after(skip).times(times));
                    let start = || if encrypt { client.encrypt(&bench.path()) } else { client.decrypt(&bench.path()) };
                    let started = start();
                    assert!(matches!(started, Ok(()) | Err(Failure(FAILED))), "{what}: {started:?}");
                    let (state, boundary, error) = settle(&bench, &client);
                    if started.is_ok() && state == 0 {
                        assert_eq!((boundary, error.as_str()), (end, ""), "{what}");
                    } else if started.is_ok() {
                        assert_eq!(state, 3, "{what}");
                        assert!(
                            error.starts_with("faulted: ") && error.contains("STATUS_IO_DEVICE_ERROR"),
                            "{what}: {error}"
                        );
                    }
                    disk.clear_faults();
                    // A zone that may be of either side is fenced, and so is one that a record on the disk may name; but not
                    // for an error that passes.
                    let fenced = bench.send_raw(RawIo::read(0, length())).status != NtStatus::SUCCESS;
                    assert!(!fenced || state == 3 && times > 3, "{what}: fenced");
                    if !fenced {
                        check(&bench, boundary, &what);
                    }
                    start().unwrap_or_else(|error| panic!("{what}: the fault is gone, yet {error:?}"));
                    assert_eq!(settle(&bench, &client), (0, end, String::new()), "{what}");
                    check(&bench, end, &what);
                }
                client.detach(&bench.path()).expect("detaches");
                client.reattach(&bench.path(), &VMK).expect("the metadata is whole");
                drop(client);
                bench.tear_down();
            }
        }
    }
}

#[test]
fn a_bad_sector_stops_the_conversion_and_is_named() {
    let bench = bench(Setup::default());
    let (client, disk) = (bench.client(), bench.world.disk(bench.disk));
    disk.inject(Fault::fail(DiskOp::Read, 2300..2301, NtStatus::CRC_ERROR.0));
    client.encrypt(&bench.path()).expect("starts");
    let (state, boundary, error) = settle(&bench, &client);
    assert_eq!(state, 3);
    assert!((STEP..=2300).contains(&boundary), "the steps before it are done: {boundary}");
    assert!(error.starts_with("faulted: reading failed at sector 2300, STATUS_CRC_ERROR"), "{error}");
    disk.clear_faults();
    check(&bench, boundary, "half converted");
    client.decrypt(&bench.path()).expect("back is a way out");
    assert_eq!(settle(&bench, &client), (0, 0, String::new()));
    check(&bench, 0, "converted back");
    converts(&bench, "the sector is readable again");
    drop(client);
    bench.tear_down();
}

#[test]
fn a_zone_that_can_be_written_to_neither_side_is_fenced_until_it_can() {
    let bench = bench(Setup::default());
    let (client, disk, plain) = (bench.client(), bench.world.disk(bench.disk), plain());
    // Some of the zone is written before the device stops taking writes to it.
    let partial = FaultEffect::PartialFail { status: FAILED.0, sectors: 200 };
    disk.inject(Fault { op: DiskOp::Write, lbas: 1..STEP, skip: 0, times: Some(3), effect: partial });
    disk.inject(Fault::fail(DiskOp::Write, 1..STEP, FAILED.0));
    client.encrypt(&bench.path()).expect("starts");
    let (state, boundary, error) = settle(&bench, &client);
    assert_eq!((state, boundary), (3, 1));
    assert!(error.starts_with("faulted: writing the old contents back failed at sector"), "{error}");
    for request in [RawIo::read(0, 4096), RawIo::write(512 * 100, 4096, 1), RawIo::read(512 * 300, 1 << 19)] {
        let reply = bench.send_raw(request);
        assert_eq!((reply.status, reply.information), (FAILED, 0), "{request:?} in the fenced zone");
    }
    let outside = bench.send_raw(RawIo::read(i64::try_from((STEP + 1) * 512).expect("small"), 4096));
    assert!(
        outside.status == NtStatus::SUCCESS
            && outside.data == plain[usize::try_from(STEP + 1).expect("small") * 512..][..4096]
    );
    assert_eq!(client.encrypt(&bench.path()), Err(Failure(FAILED)), "the device still refuses");
    disk.clear_faults();
    client.encrypt(&bench.path()).expect("now it can be restored");
    assert_eq!(settle(&bench, &client), (0, DATA as u64 / 512, String::new()));
    check(&bench, DATA as u64 / 512, "after a fence");
    converts(&bench, "after a fence");
    drop(client);
    bench.tear_down();
}

#[test]
fn a_device_without_flush_is_served_but_not_converted() {
    let config = DiskConfig { flush: FlushSupport::Unsupported, ..DiskConfig::memory(DATA as u64 + FOOTERS) };
    let disk = Disk::new(config).expect("a disk");
    disk.poke(0, &plain());
    let bench = Bench::boot_with(Setup { data_bytes: DATA as u64, ..Setup::default() }, disk);
    let (client, path) = (bench.client(), bench.path());
    client.prepare(&path, JvckMetadataOptions::default(), &VMK, &bench.block()).expect("prepares");
    let before = bench.footprint();
    assert_eq!(client.encrypt(&path), Err(Failure(NtStatus::NOT_SUPPORTED)));
    assert_eq!(client.decrypt(&path), Err(Failure(NtStatus::NOT_SUPPORTED)));
    assert_eq!(client.progress(&path), Ok((0, 0, String::new())));
    bench.assert_untouched(&before, "START on a device without flush");
    check(&bench, 0, "a device without flush");
    client.detach(&path).expect("detaches");
    client.reattach(&path, &VMK).expect("attaches");
    drop(client);
    bench.tear_down();
}

#[test]
fn a_prepare_that_the_device_fails_can_be_repeated() {
    for skip in 0..2 {
        let bench = Bench::boot(Setup { data_bytes: DATA as u64, ..Setup::default() });
        let (client, path) = (bench.client(), bench.path());
        let (blocks, disk) = (bench.world.pool_blocks(), bench.world.disk(bench.disk));
        disk.inject(Fault::anywhere(DiskOp::Write, FaultEffect::Fail(FAILED.0)).after(skip).times(1));
        let prepare = || client.prepare(&path, JvckMetadataOptions::default(), &VMK, &bench.block());
        assert_eq!(prepare(), Err(Failure(FAILED)));
        disk.inject(Fault::anywhere(DiskOp::Read, FaultEffect::Fail(NtStatus::CRC_ERROR.0)).times(1000));
        assert_eq!(prepare(), Err(Failure(NtStatus::CRC_ERROR)), "what cannot be read may hold anything");
        disk.clear_faults();
        assert_eq!(bench.world.pool_blocks(), blocks);
        assert!(!client.status(&path).expect("a status").attached);
        prepare().expect("the same block again");
        drop(client);
        bench.tear_down();
    }
}
