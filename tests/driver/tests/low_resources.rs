//! Memory runs out at every single allocation: requests of the control plane fail cleanly, reads and writes never do.

#![expect(clippy::cast_possible_truncation, reason = "test patterns wrap, and the volumes are a few MiB")]

use std::time::Duration;

use vck_common::NtStatus;
use vck_common::jvck::JvckMetadataOptions;
use vck_driver_tests::{Bench, Client, Failure, RawIo, RawMdl, Setup, VMK};
use vck_ntsim::io::{DriverConfig, FilterPosition};
use vck_ntsim::pnp::VolumeConfig;
use vck_ntsim::storage::{DiskConfig, DiskOp, Fault, FaultEffect};
use vck_ntsim::user::{Access, Handle, Share};
use vck_ntsim::{SchedulerKind, World};
use vck_windrv::io::BounceBuffers;

const DATA: u64 = 1280 << 10;
const NO_MEMORY: Failure = Failure(NtStatus::INSUFFICIENT_RESOURCES);

fn pattern(seed: u64, bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|at| ((at * 7 + (at >> 9) * 13 + seed * 31) % 251) as u8).collect()
}

fn prepare(client: &Client<'_>, bench: &Bench) -> Result<(), Failure> {
    client.prepare(&bench.path(), JvckMetadataOptions::default(), &VMK, &bench.block()).map(|_| ())
}

/// Prepares the volume and encrypts all of it.
fn encrypted(bench: &Bench) -> Client<'_> {
    let (client, path) = (bench.client(), bench.path());
    prepare(&client, bench).expect("prepares");
    client.encrypt(&path).expect("starts");
    assert_eq!(client.wait_until_idle(&path), Ok(0));
    client
}

/// A handle of the volume's only user.
fn locked(bench: &Bench) -> Handle<'_> {
    let handle = bench.admin().open_async(r"\??\D:", Access::READ_WRITE, Share::ALL).expect("opens");
    handle.lock().expect("alone");
    handle
}

/// A prepared volume with data, detached.
fn detached() -> Bench {
    let bench = Bench::boot(Setup { data_bytes: DATA, ..Setup::default() });
    bench.world.disk(bench.disk).poke(0, &pattern(0, DATA as usize));
    let client = bench.client();
    prepare(&client, &bench).expect("prepares");
    client.detach(&bench.path()).expect("detaches");
    drop(client);
    bench
}

/// Calls `body` with every allocation that it makes failing in turn, once each; the number of allocations.
fn failing_each(world: &World, mut body: impl FnMut(u64)) -> u64 {
    for k in 1..5000 {
        let made = world.allocations_made();
        world.fail_allocation(k);
        body(k);
        world.fail_allocation(0);
        world.assert_clean();
        if world.allocations_made() - made < k {
            return k - 1;
        }
    }
    panic!("the number of allocations has no end");
}

fn settle(bench: &Bench, client: &Client<'_>) -> (i32, u64, String) {
    for _ in 0..1000 {
        let progress = match client.progress(&bench.path()) {
            Ok(progress) => progress,
            Err(failure) => {
                assert_eq!(failure, NO_MEMORY, "progress");
                continue;
            }
        };
        if progress.0 != 1 && progress.0 != 2 {
            return progress;
        }
        bench.world.run_for(Duration::from_millis(20));
    }
    panic!("the conversion does not end");
}

#[test]
fn a_driver_that_cannot_start_leaves_nothing() {
    let mut most = 0;
    for k in 1.. {
        let world = World::boot(k);
        let disk = world.add_disk(DiskConfig::memory(2 << 20));
        let made = world.allocations_made();
        world.fail_allocation(k);
        let config = DriverConfig {
            service: "VolumeCryptKitSample",
            entry: vck_sample_driver::DriverEntry,
            filter: FilterPosition::VolumeLower,
        };
        let loaded = world.load_driver(config);
        let plugged = loaded.map(|driver| (driver, world.plug(VolumeConfig::whole(disk).letter('D'))));
        world.fail_allocation(0);
        world.assert_clean();
        let over = world.allocations_made() - made < k;
        match plugged {
            Err(status) => assert_eq!(NtStatus(status), NO_MEMORY.0, "allocation {k}"),
            Ok((driver, volume)) => {
                match volume {
                    Err(status) => assert_eq!(NtStatus(status), NO_MEMORY.0, "allocation {k}"),
                    Ok(volume) => world.remove(volume).expect("removed"),
                }
                world.unload_driver(driver).expect("unloads");
            }
        }
        world.assert_clean();
        assert_eq!((world.pool_blocks(), world.live_irps()), (0, 0), "allocation {k}: {:?}", world.leak_report());
        if over {
            break;
        }
        most = k;
    }
    assert!(most > 10, "{most} allocations are too few to be true");
}

#[test]
fn prepare_and_reattach_fail_cleanly_at_every_allocation() {
    let bench = detached();
    let client = bench.client();
    let before = bench.footprint();
    for with_block in [true, false] {
        let mut refused = 0;
        let made = failing_each(&bench.world, |k| {
            let attach = || {
                if with_block { prepare(&client, &bench) } else { client.reattach(&bench.path(), &VMK).map(|_| ()) }
            };
            match attach() {
                Ok(()) => {
                    // Only the attach is to be without memory.
                    bench.world.fail_allocation(0);
                    client.detach(&bench.path()).unwrap_or_else(|error| panic!("allocation {k}: {error:?}"));
                }
                Err(failure) => {
                    assert_eq!(failure, NO_MEMORY, "allocation {k}, with a block: {with_block}");
                    refused += 1;
                }
            }
        });
        assert!(refused > 10 && made > refused, "{refused} of {made} failed");
        bench.assert_untouched(&before, "PREPARE without memory");
        assert_eq!(client.list(), Ok(Vec::new()));
    }
    prepare(&client, &bench).expect("there is memory again");
    drop(client);
    bench.tear_down();
}

#[test]
fn two_phases_of_attach_fail_cleanly_at_every_allocation() {
    let bench = detached();
    let (client, path) = (bench.client(), bench.path());
    let before = bench.footprint();
    failing_each(&bench.world, |k| match client.prepare(&path, JvckMetadataOptions::default(), &[], &bench.block()) {
        Ok(_) => {
            bench.world.fail_allocation(0);
            client.detach(&path).unwrap_or_else(|error| panic!("allocation {k}: {error:?}"));
        }
        Err(failure) => assert_eq!(failure, NO_MEMORY, "PREPARE, allocation {k}"),
    });
    bench.assert_untouched(&before, "PREPARE without key and memory");
    client.prepare(&path, JvckMetadataOptions::default(), &[], &bench.block()).expect("there is memory again");
    let mut refused = 0;
    failing_each(&bench.world, |k| {
        let before = bench.footprint();
        let answer = client.attach(&path, &VMK);
        // Only the attach is to be without memory. Some of what it allocates it can do without.
        bench.world.fail_allocation(0);
        match answer {
            Ok(()) => {
                client.detach(&path).expect("detaches");
                client.prepare(&path, JvckMetadataOptions::default(), &[], &bench.block()).expect("prepares again");
            }
            Err(failure) => {
                assert_eq!(failure, NO_MEMORY, "ATTACH, allocation {k}");
                bench.assert_untouched(&before, "ATTACH without memory");
                refused += 1;
            }
        }
    });
    client.attach(&path, &VMK).expect("there is memory again");
    assert!(refused > 10);
    client.encrypt(&path).expect("starts");
    assert_eq!(settle(&bench, &client), (0, bench.data_sectors(), String::new()));
    drop(client);
    bench.tear_down();
}

#[test]
fn detach_works_or_leaves_the_volume_attached() {
    let bench = detached();
    let (client, path) = (bench.client(), bench.path());
    let before = bench.footprint();
    failing_each(&bench.world, |_| {
        // Only the allocations of DETACH are to fail, so the attach comes after it, with memory.
        let attached = client.status(&path).map(|status| status.attached);
        let answer = client.detach(&path);
        bench.world.fail_allocation(0);
        match (attached, answer) {
            (Ok(true), Ok(())) => assert!(!client.status(&path).expect("a status").attached),
            (Ok(true), Err(failure)) => {
                assert_eq!(failure, NO_MEMORY);
                assert!(client.status(&path).expect("a status").attached);
                return;
            }
            (Ok(false), answer) => assert!(answer.is_err()),
            (Err(failure), _) => assert_eq!(failure, NO_MEMORY),
        }
        if !client.status(&path).expect("a status").attached {
            prepare(&client, &bench).expect("attaches");
        }
    });
    if client.status(&path).expect("a status").attached {
        client.detach(&path).expect("there is memory again");
    }
    bench.assert_untouched(&before, "DETACH without memory");
    drop(client);
    bench.tear_down();
}

#[test]
fn a_conversion_survives_every_allocation_that_fails() {
    let bench = detached();
    let (client, path) = (bench.client(), bench.path());
    let plain = pattern(0, DATA as usize);
    prepare(&client, &bench).expect("attaches");
    let blocks = bench.world.pool_blocks();
    failing_each(&bench.world, |k| {
        for (encrypt, end) in [(true, bench.data_sectors()), (false, 0)] {
            let start = || if encrypt { client.encrypt(&path) } else { client.decrypt(&path) };
            if let Err(failure) = start() {
                assert_eq!(failure, NO_MEMORY, "allocation {k}");
                start().expect("only one allocation fails");
            }
            assert_eq!(settle(&bench, &client), (0, end, String::new()), "allocation {k}");
        }
        assert!(bench.image()[..DATA as usize] == plain, "allocation {k}: the data changed");
    });
    assert!(bench.world.pool_blocks() <= blocks + 4, "something leaks: {:?}", bench.world.leak_report());
    drop(client);
    bench.tear_down();
}

#[test]
fn reads_and_writes_never_fail_for_lack_of_memory() {
    for encrypted in [false, true] {
        for hostile in [false, true] {
            let bench = Bench::boot(Setup { data_bytes: DATA, hostile, force_pending: hostile, ..Setup::default() });
            let (client, path) = (bench.client(), bench.path());
            prepare(&client, &bench).expect("prepares");
            if encrypted {
                client.encrypt(&path).expect("starts");
                assert_eq!(settle(&bench, &client).0, 0);
            }
            let handle = bench.admin().open(r"\??\D:", Access::READ_WRITE, Share::ALL).expect("opens");
            handle.lock().expect("alone");
            let mut starved = 0;
            for length in [512, 4096, 65_536, 66_048, 1 << 20] {
                starved += failing_each(&bench.world, |k| {
                    let data = pattern(k, length);
                    let offset = 512 * (k % 64);
                    assert_eq!(
                        handle.write(offset, &data).map_err(NtStatus),
                        Ok(length),
                        "write of {length}, allocation {k}"
                    );
                    let read = handle.read(offset, length).map_err(NtStatus);
                    assert!(read == Ok(data), "read of {length}, allocation {k}");
                });
            }
            assert_eq!(starved > 0, encrypted, "the plain side allocates nothing, the other side does");
            drop(handle);
            client.decrypt(&path).expect("starts");
            assert_eq!(settle(&bench, &client).0, 0, "nothing is left in the gate");
            drop(client);
            bench.tear_down();
        }
    }
}

#[test]
fn reads_and_writes_never_fail_for_lack_of_addresses() {
    // Every mapping fails, so all of it goes through the reserve; then every third, on both schedulers.
    for (rate, scheduler, hostile) in [
        (1, SchedulerKind::Deterministic, false),
        (1, SchedulerKind::Deterministic, true),
        (3, SchedulerKind::Deterministic, true),
        (2, SchedulerKind::Parallel, true),
    ] {
        let setup = Setup {
            data_bytes: DATA,
            mapping_failure_rate: rate,
            scheduler,
            hostile,
            force_pending: hostile,
            ..Setup::default()
        };
        let bench = Bench::boot(setup);
        let client = encrypted(&bench);
        let handle = locked(&bench);
        for round in 0..3 {
            let parts: Vec<_> = (0..10_u64)
                .map(|at| (at * 131_072, pattern(at + round, 512 * (1 + 25 * usize::try_from(at).expect("small")))))
                .collect();
            let writes: Vec<_> =
                parts.iter().map(|(at, data)| handle.submit_write(*at, data).expect("accepted")).collect();
            for (write, (at, data)) in writes.into_iter().zip(&parts) {
                let reply = write.wait();
                assert_eq!(
                    (NtStatus(reply.status), reply.information),
                    (NtStatus::SUCCESS, data.len() as u64),
                    "at {at}"
                );
            }
            let reads: Vec<_> =
                parts.iter().map(|(at, data)| handle.submit_read(*at, data.len()).expect("accepted")).collect();
            for (read, (at, data)) in reads.into_iter().zip(&parts) {
                let reply = read.wait();
                assert_eq!(NtStatus(reply.status), NtStatus::SUCCESS, "at {at}");
                assert!(reply.output == *data, "at {at}");
                let sector = bench.world.disk(bench.disk).peek(at / 512, 1);
                assert!(sector[..] != data[..512], "plaintext at {at}");
            }
        }
        drop(handle);
        bench.world.assert_clean();
        drop(client);
        bench.tear_down();
    }
}

/// More writes than there may be buffers for: the rest is served from the reserve, and all of them succeed.
#[test]
fn a_flood_of_writes_does_not_take_all_memory() {
    const EACH: u64 = 4 << 20;
    let count = BounceBuffers::LIMIT as u64 / EACH + 5;
    let bench = Bench::boot(Setup { data_bytes: EACH, force_pending: true, ..Setup::default() });
    let client = encrypted(&bench);
    let handle = locked(&bench);
    // Each write is as long as the volume, and the device takes its time.
    let slow = Fault::anywhere(DiskOp::Write, FaultEffect::Delay(1_000_000_000)).times(u32::MAX);
    bench.world.disk(bench.disk).inject(slow);
    let (before, mut most) = (bench.world.pool_bytes(), 0);
    let data = pattern(9, EACH as usize);
    let mut writes = Vec::new();
    for _ in 0..count {
        writes.push(handle.submit_write(0, &data).expect("accepted"));
        most = most.max(bench.world.pool_bytes() - before);
    }
    let limit = BounceBuffers::LIMIT;
    assert!(most <= limit + (1 << 20) && most >= limit, "{most} bytes of pool");
    for write in writes {
        let reply = write.wait();
        assert_eq!((NtStatus(reply.status), reply.information), (NtStatus::SUCCESS, EACH));
    }
    bench.world.disk(bench.disk).clear_faults();
    assert!(handle.read(0, EACH as usize) == Ok(data));
    assert!(bench.world.pool_bytes() - before <= 1 << 20, "buffers of this size are not kept");
    drop(handle);
    bench.world.assert_clean();
    drop(client);
    bench.tear_down();
}

#[test]
fn the_reserve_serves_odd_buffers_too() {
    let bench = Bench::boot(Setup { data_bytes: DATA, mapping_failure_rate: 1, ..Setup::default() });
    let client = encrypted(&bench);
    for length in [512, 65_536, 65_536 + 512, 3 * 65_536, 1 << 20] {
        for mdl in [RawMdl::Whole, RawMdl::Long] {
            let write = bench.send_raw(RawIo::write(512, length, 0x5C).described(mdl).from_user());
            assert_eq!((write.status, write.information), (NtStatus::SUCCESS, u64::from(length)));
            let read = bench.send_raw(RawIo::read(512, length).described(mdl));
            assert_eq!((read.status, read.information), (NtStatus::SUCCESS, u64::from(length)));
            assert!(read.data.iter().all(|byte| *byte == 0x5C));
        }
    }
    drop(client);
    bench.tear_down();
}
