//! The driver as a pass-through filter and through its main job.

#![expect(clippy::cast_possible_truncation, reason = "test patterns wrap, and the volumes are a few MiB")]

use vck_common::jvck::JvckMetadataOptions;
use vck_driver_tests::{Bench, Setup, VMK};
use vck_ntsim::SchedulerKind;

fn setups() -> Vec<Setup> {
    let plain = Setup::default();
    vec![
        plain.clone(),
        Setup { hostile: true, force_pending: true, ..plain.clone() },
        Setup { sector_size: 4096, ..plain.clone() },
        Setup { scheduler: SchedulerKind::Parallel, ..plain },
    ]
}

fn pattern(seed: u8, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at as u8).wrapping_mul(31).wrapping_add((at >> 8) as u8).wrapping_add(seed)).collect()
}

#[test]
fn loads_filters_and_unloads() {
    for setup in setups() {
        let bench = Bench::boot(setup);
        assert_eq!(
            bench.world.stack_of(bench.volume),
            [r"\Driver\volmgr", r"\Driver\VolumeCryptKitSample", r"\Driver\volume"]
        );
        let status = bench.client().status(&bench.path()).expect("a status");
        assert!(!status.attached);
        assert_eq!(status.path, bench.path());
        bench.world.assert_clean();
        bench.tear_down();
    }
}

#[test]
fn prepares_encrypts_detaches_reattaches_and_decrypts() {
    for setup in setups() {
        let bench = Bench::boot(setup);
        let path = bench.path();
        let data = bench.data_sectors();
        let plain = pattern(3, 1 << 20);
        bench.world.fs(bench.volume).write(0, &plain).expect("writes");
        bench.world.fs(bench.volume).flush().expect("flushes");
        let client = bench.client();
        let prepared = client.prepare(&path, JvckMetadataOptions::default(), &VMK, &bench.block()).expect("prepares");
        bench.world.assert_clean();
        assert_eq!((prepared.offset, prepared.data, prepared.complete), (0, data, true));
        client.encrypt(&path).expect("starts");
        assert_eq!(client.wait_until_idle(&path), Ok(0));
        bench.world.assert_clean();
        assert_eq!(client.status(&path).expect("a status").boundary, data);
        assert_ne!(&bench.image()[..plain.len()], &plain[..]);
        let fs = bench.world.fs(bench.volume);
        fs.invalidate().expect("forgets");
        assert!(fs.read(0, plain.len()).expect("reads") == plain, "the file system sees its data");
        let changed = pattern(77, 300_000);
        fs.write(4096, &changed).expect("writes");
        fs.flush().expect("flushes");
        bench.world.assert_clean();
        client.detach(&path).expect("detaches");
        bench.world.assert_clean();
        let again = client.reattach(&path, &VMK).expect("attaches again");
        assert!(again.complete);
        let fs = bench.world.fs(bench.volume);
        assert!(fs.read(4096, changed.len()).expect("reads") == changed, "data survive a re-attach");
        client.decrypt(&path).expect("starts");
        assert_eq!(client.wait_until_idle(&path), Ok(0));
        client.detach(&path).expect("detaches");
        let mut expected = plain.clone();
        expected[4096..4096 + changed.len()].copy_from_slice(&changed);
        assert!(bench.image()[..expected.len()] == expected[..], "the raw volume is plaintext again");
        drop(client);
        bench.world.assert_clean();
        bench.tear_down();
    }
}
