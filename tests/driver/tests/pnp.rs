//! Removal, stop, shutdown and power cut, at bad moments.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "test patterns wrap, and the volumes are a few MiB"
)]

use std::time::Duration;

use vck_common::NtStatus;
use vck_common::jvck::JvckMetadataOptions;
use vck_driver_tests::{Bench, Client, FOOTERS, Failure, RawIo, Setup, VMK};
use vck_ntsim::SchedulerKind;
use vck_ntsim::pnp::{Phase, VolumeConfig};
use vck_ntsim::storage::{Disk, DiskConfig, Survivors, Timing};
use vck_ntsim::user::{Access, Share};

const DATA: u64 = 6 << 20;

fn pattern(seed: u8, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at as u8).wrapping_mul(29).wrapping_add((at >> 9) as u8).wrapping_add(seed)).collect()
}

/// A disk that takes long enough for a conversion to be met half way.
fn slow_disk() -> Disk {
    let timing = Timing { latency: 100_000, ..Timing::nvme(2_000_000) };
    let disk = Disk::new(DiskConfig::memory(DATA + FOOTERS).timing(timing)).expect("a disk");
    disk.poke(0, &pattern(1, DATA as usize));
    disk
}

fn setup(hostile: bool) -> Setup {
    Setup { data_bytes: DATA, hostile, force_pending: hostile, ..Setup::default() }
}

/// A volume whose conversion is under way.
fn converting(hostile: bool) -> Bench {
    let bench = Bench::boot_with(setup(hostile), slow_disk());
    let client = bench.client();
    client.prepare(&bench.path(), JvckMetadataOptions::default(), &VMK, &bench.block()).expect("prepares");
    client.encrypt(&bench.path()).expect("starts");
    let (state, boundary, _) = client.progress(&bench.path()).expect("progress");
    assert!(state == 1 && boundary < bench.data_sectors(), "it is not over before it is met");
    drop(client);
    bench
}

/// Waits for the end with time passing.
fn finished(bench: &Bench, client: &Client<'_>) -> (i32, u64) {
    for _ in 0..10_000 {
        let (state, boundary, error) = client.progress(&bench.path()).expect("progress");
        assert_eq!(error, "");
        if state != 1 && state != 2 {
            return (state, boundary);
        }
        bench.world.run_for(Duration::from_millis(5));
    }
    panic!("the conversion does not end");
}

fn stands_still(bench: &Bench, client: &Client<'_>, what: &str) -> u64 {
    let before = client.progress(&bench.path()).expect("progress");
    bench.world.run_for(Duration::from_secs(2));
    assert_eq!(client.progress(&bench.path()).expect("progress"), before, "{what}");
    before.1
}

fn data_is_whole(bench: &Bench) {
    let expected = pattern(1, DATA as usize);
    for (at, part) in expected.chunks(1 << 20).enumerate() {
        let reply = bench.send_raw(RawIo::read((at as i64) << 20, 1 << 20));
        assert_eq!(reply.status, NtStatus::SUCCESS);
        assert!(reply.data == part, "the data changed in MiB {at}");
    }
}

#[test]
fn query_remove_halts_the_conversion_and_cancel_lets_it_go_on() {
    for hostile in [false, true] {
        let bench = converting(hostile);
        let client = bench.client();
        bench.world.query_remove(bench.volume).expect("nobody objects");
        let boundary = stands_still(&bench, &client, "after QUERY_REMOVE");
        assert!(boundary < bench.data_sectors());
        data_is_whole(&bench);
        bench.world.cancel_remove(bench.volume).expect("cancelled");
        assert_eq!(finished(&bench, &client), (0, bench.data_sectors()));
        data_is_whole(&bench);
        drop(client);
        bench.tear_down();
    }
}

#[test]
fn a_start_does_not_wake_a_conversion_that_was_halted_for_removal() {
    let bench = converting(false);
    let client = bench.client();
    bench.world.query_remove(bench.volume).expect("nobody objects");
    stands_still(&bench, &client, "after QUERY_REMOVE");
    assert_eq!(client.encrypt(&bench.path()), Err(Failure(NtStatus::INVALID_DEVICE_STATE)), "not while it goes away");
    stands_still(&bench, &client, "after START");
    bench.world.cancel_remove(bench.volume).expect("cancelled");
    assert_eq!(finished(&bench, &client), (0, bench.data_sectors()));
    drop(client);
    bench.tear_down();
}

#[test]
fn an_open_file_keeps_the_volume_and_its_conversion_running() {
    let bench = converting(false);
    let client = bench.client();
    let handle = bench.admin().open(r"\??\D:", Access::READ, Share::ALL).expect("opens");
    assert_eq!(bench.world.query_remove(bench.volume).map_err(NtStatus), Err(NtStatus::ACCESS_DENIED));
    assert_eq!(bench.world.phase(bench.volume), Phase::Started);
    assert_eq!(finished(&bench, &client), (0, bench.data_sectors()));
    drop(handle);
    drop(client);
    bench.tear_down();
}

#[test]
fn removal_in_the_middle_of_a_conversion_and_back_again() {
    for hostile in [false, true] {
        let bench = Bench::boot_with(setup(hostile), slow_disk());
        let client = bench.client();
        let idle = (bench.world.pool_blocks(), bench.world.live_irps());
        client.prepare(&bench.path(), JvckMetadataOptions::default(), &VMK, &bench.block()).expect("prepares");
        client.encrypt(&bench.path()).expect("starts");
        let mut volume = bench.volume;
        for round in 0..3 {
            bench.world.run_for(Duration::from_millis(7));
            bench.world.remove(volume).expect("removed");
            bench.world.assert_clean();
            assert_eq!(bench.world.live_irps(), 0);
            volume = bench.world.plug(VolumeConfig::whole(bench.disk).letter('D')).expect("plugged in again");
            assert_eq!(
                (bench.world.pool_blocks(), bench.world.live_irps()),
                idle,
                "round {round}: as before it was bound"
            );
            client.reattach(r"\??\D:", &VMK).expect("attaches");
            let (state, boundary, _) = client.progress(r"\??\D:").expect("progress");
            assert!(state == 1 || boundary == bench.data_sectors(), "a conversion that was running goes on");
            client.encrypt(r"\??\D:").expect("goes on");
        }
        assert_eq!(bench.world.device_name(volume), r"\Device\HarddiskVolume4");
        while client.progress(r"\??\D:").expect("progress").0 == 1 {
            bench.world.run_for(Duration::from_millis(5));
        }
        assert!(bench.world.fs(volume).read(0, DATA as usize).expect("reads") == pattern(1, DATA as usize));
        drop(client);
        bench.world.remove(volume).expect("removed");
        bench.world.unload_driver(bench.driver).expect("unloads");
        bench.world.assert_clean();
        assert_eq!((bench.world.pool_blocks(), bench.world.live_irps()), (0, 0));
    }
}

#[test]
fn surprise_removal_fails_what_waits_and_leaves_nothing_behind() {
    for seed in 0..6 {
        for hostile in [false, true] {
            let bench = Bench::boot_with(Setup { seed, ..setup(hostile) }, slow_disk());
            let client = bench.client();
            client.prepare(&bench.path(), JvckMetadataOptions::default(), &VMK, &bench.block()).expect("prepares");
            let handle = bench.admin().open_async(r"\??\D:", Access::READ, Share::ALL).expect("opens");
            client.encrypt(&bench.path()).expect("starts");
            bench.world.run_for(Duration::from_micros(500 + 900 * seed));
            let reads: Vec<_> = (0..24).map(|at| handle.submit_read(at * 262_144, 65_536).expect("accepted")).collect();
            bench.world.surprise_remove(bench.volume).expect("cannot be refused");
            for read in reads {
                let reply = read.wait();
                let gone = [NtStatus::DEVICE_REMOVED, NtStatus::NO_SUCH_DEVICE, NtStatus::DEVICE_DOES_NOT_EXIST];
                let status = NtStatus(reply.status);
                assert!(status == NtStatus::SUCCESS || gone.contains(&status), "{status}");
                if status != NtStatus::SUCCESS {
                    assert_eq!(reply.information, 0);
                }
            }
            let late = handle.read(0, 512).map_err(NtStatus);
            assert_eq!(late, Err(NtStatus::DEVICE_REMOVED), "no I/O is started any more");
            drop(handle);
            bench.world.run_for(Duration::from_secs(5));
            drop(client);
            bench.tear_down();
        }
    }
}

#[test]
fn a_detach_of_a_vanished_volume_ends() {
    let bench = converting(false);
    let client = bench.client();
    bench.world.surprise_remove(bench.volume).expect("cannot be refused");
    let answer = client.detach(&bench.path());
    bench.world.assert_clean();
    assert!(client.encrypt(&bench.path()).is_err(), "after {answer:?}");
    assert!(client.reattach(&bench.path(), &VMK).is_err());
    drop(client);
    bench.tear_down();
}

#[test]
fn stop_and_start_keep_the_binding() {
    for hostile in [false, true] {
        let bench = converting(hostile);
        let client = bench.client();
        bench.world.stop(bench.volume).expect("stops");
        let boundary = stands_still(&bench, &client, "while stopped");
        bench.world.start(bench.volume).expect("starts");
        let (state, now, error) = client.progress(&bench.path()).expect("progress");
        assert!(state == 1 && now >= boundary && error.is_empty(), "{state} {now} {error}");
        assert_eq!(finished(&bench, &client), (0, bench.data_sectors()));
        data_is_whole(&bench);
        drop(client);
        bench.tear_down();
    }
}

#[test]
fn a_detached_volume_takes_every_request_of_pnp() {
    let bench = Bench::boot(Setup { data_bytes: DATA, ..Setup::default() });
    let client = bench.client();
    let idle = (bench.world.pool_blocks(), bench.world.live_irps());
    client.prepare(&bench.path(), JvckMetadataOptions::default(), &VMK, &bench.block()).expect("prepares");
    client.detach(&bench.path()).expect("detaches");
    assert_eq!((bench.world.pool_blocks(), bench.world.live_irps()), idle);
    bench.world.query_remove(bench.volume).expect("agrees");
    bench.world.cancel_remove(bench.volume).expect("agrees");
    bench.world.stop(bench.volume).expect("stops");
    bench.world.start(bench.volume).expect("starts");
    for minor in [0x07, 0x09, 0x0D, 0x14, 0x18, 0x40] {
        let (status, _) = bench.world.pnp_minor(bench.volume, minor, [0; 4]);
        assert_eq!(NtStatus(status), NtStatus::NOT_SUPPORTED, "minor {minor:#x} is not ours to answer");
    }
    assert_eq!((bench.world.pool_blocks(), bench.world.live_irps()), idle);
    bench.world.surprise_remove(bench.volume).expect("cannot be refused");
    drop(client);
    bench.tear_down();
}

#[test]
fn shutdown_stops_the_conversion_and_late_writes_are_still_encrypted() {
    let bench = converting(false);
    let client = bench.client();
    while client.progress(&bench.path()).expect("progress").1 <= 16 {
        bench.world.run_for(Duration::from_millis(1));
    }
    let late = pattern(200, 8192);
    bench.world.fs(bench.volume).write(0, &late).expect("into the cache");
    bench.world.shutdown();
    let boundary = stands_still(&bench, &client, "after SHUTDOWN");
    assert!(boundary > 16 && boundary < bench.data_sectors(), "{boundary}");
    assert!(bench.image()[..8192] != late[..], "the file system's last writes went below as plaintext");
    assert_eq!(client.encrypt(&bench.path()), Err(Failure(NtStatus::INVALID_DEVICE_STATE)), "not at shutdown");
    assert_eq!(stands_still(&bench, &client, "START after SHUTDOWN"), boundary);
    let later = pattern(201, 4096);
    bench.world.fs(bench.volume).write(4096, &later).expect("everything still works");
    bench.world.fs(bench.volume).flush().expect("flushes");
    assert!(bench.image()[4096..8192] != later[..]);
    drop(client);
    let disk = bench.world.crash(Survivors::Nothing).remove(0);
    let bench = Bench::boot_with(setup(false), disk);
    let client = bench.client();
    client.reattach(&bench.path(), &VMK).expect("attaches");
    assert_eq!(client.progress(&bench.path()).expect("progress").1, boundary);
    let fs = bench.world.fs(bench.volume);
    assert!(fs.read(0, 4096).expect("reads") == late[..4096]);
    assert!(fs.read(4096, 4096).expect("reads") == later);
    let rest = DATA as usize - 8192;
    assert!(fs.read(8192, rest).expect("reads") == pattern(1, DATA as usize)[8192..]);
    client.encrypt(&bench.path()).expect("goes on");
    assert_eq!(finished(&bench, &client), (0, bench.data_sectors()));
    drop(client);
    bench.tear_down();
}

#[test]
fn a_power_cut_between_conversions_loses_nothing_that_was_flushed() {
    for (round, survivors) in
        [Survivors::Nothing, Survivors::All, Survivors::Random, Survivors::Random, Survivors::Torn]
            .into_iter()
            .enumerate()
    {
        let config = DiskConfig::memory(DATA + FOOTERS).sectors(512, 4096);
        let mut disk = Disk::new(config).expect("a disk");
        disk.poke(0, &pattern(1, DATA as usize));
        let mut expected = pattern(1, DATA as usize);
        let mut blocks = None;
        for (boot, encrypt) in [true, true, false, true].into_iter().enumerate() {
            let seed = (round * 10 + boot) as u64;
            let bench = Bench::boot_with(Setup { seed, ..setup(boot == 2) }, disk);
            let now = bench.world.pool_blocks();
            assert_eq!(*blocks.get_or_insert(now), now, "boot {boot}: the same driver takes the same memory");
            let client = bench.client();
            if boot == 0 {
                let fine = JvckMetadataOptions::default();
                client.prepare(&bench.path(), fine, &VMK, &bench.block()).expect("prepares");
            } else {
                client.reattach(&bench.path(), &VMK).expect("attaches");
            }
            assert!(bench.world.fs(bench.volume).read(0, expected.len()).expect("reads") == expected, "boot {boot}");
            if encrypt { client.encrypt(&bench.path()) } else { client.decrypt(&bench.path()) }.expect("starts");
            assert_eq!(client.wait_until_idle(&bench.path()), Ok(0));
            let at = 100_000 * (boot + 1);
            let written = pattern(100 + boot as u8, 50_000);
            bench.world.fs(bench.volume).write(at as u64, &written).expect("writes");
            bench.world.fs(bench.volume).flush().expect("flushes");
            expected[at..at + written.len()].copy_from_slice(&written);
            bench.world.assert_clean();
            drop(client);
            disk = bench.world.crash(survivors).remove(0);
        }
    }
}

#[test]
fn two_machines_in_one_process_do_not_meet() {
    for scheduler in [SchedulerKind::Deterministic, SchedulerKind::Parallel] {
        let machine = |seed: u64| {
            let bench = Bench::boot(Setup { seed, scheduler, data_bytes: DATA, ..Setup::default() });
            bench.world.fs(bench.volume).write(0, &pattern(seed as u8, 500_000)).expect("writes");
            bench.world.fs(bench.volume).flush().expect("flushes");
            bench
        };
        let (one, two) = (machine(1), machine(2));
        let (first, second) = (one.client(), two.client());
        first.prepare(&one.path(), JvckMetadataOptions::default(), &VMK, &one.block()).expect("prepares");
        assert!(!second.status(&two.path()).expect("a status").attached, "the other machine's volume is its own");
        first.encrypt(&one.path()).expect("starts");
        second.prepare(&two.path(), JvckMetadataOptions::default(), &VMK, &two.block()).expect("prepares");
        assert_eq!(first.wait_until_idle(&one.path()), Ok(0));
        assert_eq!(second.status(&two.path()).expect("a status").boundary, 0);
        second.encrypt(&two.path()).expect("starts");
        first.decrypt(&one.path()).expect("starts");
        assert_eq!(second.wait_until_idle(&two.path()), Ok(0));
        assert_eq!(first.wait_until_idle(&one.path()), Ok(0));
        for (bench, seed) in [(&one, 1), (&two, 2)] {
            let fs = bench.world.fs(bench.volume);
            fs.invalidate().expect("forgets");
            assert!(fs.read(0, 500_000).expect("reads") == pattern(seed, 500_000));
        }
        assert!(one.image()[..500_000] == pattern(1, 500_000), "decrypted");
        assert!(two.image()[..500_000] != pattern(2, 500_000), "encrypted");
        drop(first);
        let disk = two.world.disk(two.disk).clone();
        drop(second);
        // One machine loses power, the other does not notice.
        drop(two.world.crash(Survivors::All));
        one.tear_down();
        let again = Bench::boot_with(Setup { scheduler, data_bytes: DATA, ..Setup::default() }, disk);
        let client = again.client();
        client.reattach(&again.path(), &VMK).expect("attaches");
        assert!(again.world.fs(again.volume).read(0, 500_000).expect("reads") == pattern(2, 500_000));
        drop(client);
        again.tear_down();
    }
}
