//! The oracle: whatever happens, no plaintext goes below the boundary and no ciphertext comes up.
//!
//! Every sector of the data region carries a stamp from before the conversion to the end. What passes below the filter under
//! the boundary that was last reported must not carry one; what is handed up above it must.

#![expect(clippy::cast_possible_truncation, reason = "test patterns wrap, and the volumes are a few MiB")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use vck_common::NtStatus;
use vck_common::jvck::JvckMetadataOptions;
use vck_driver_tests::{Bench, FOOTERS, Setup, VMK};
use vck_ntsim::io::Side;
use vck_ntsim::storage::{Disk, DiskConfig, Timing};
use vck_ntsim::user::{Access, Share};
use vck_ntsim::{Rule, SchedulerKind};

const DATA: u64 = 5 << 19;
const SECTORS: u64 = DATA / 512;
/// Rounds of traffic that follow each other at once.
const CROWDED: u64 = 30;
const MARK: &[u8; 8] = b"PLAINTXT";

/// A sector that says what it is and where it belongs.
fn stamped(sector: u64, version: u8) -> Vec<u8> {
    let mut bytes = vec![version; 512];
    bytes[..8].copy_from_slice(MARK);
    bytes[8..16].copy_from_slice(&sector.to_le_bytes());
    bytes
}

fn is_stamped(bytes: &[u8], sector: u64) -> bool {
    bytes[..8] == MARK[..] && bytes[8..16] == sector.to_le_bytes()
}

fn run(first: u64, sectors: u64, version: u8) -> Vec<u8> {
    (first..first + sectors).flat_map(|sector| stamped(sector, version)).collect()
}

/// Checks every sector that passes. `below`: sectors that are certainly ciphertext now; `seen`: sectors checked.
fn watch(bench: &Bench, below: &Arc<AtomicU64>, seen: &Arc<AtomicU64>) {
    let (below, seen) = (Arc::clone(below), Arc::clone(seen));
    bench.world.observe(move |kernel, observation| {
        for (at, bytes) in (observation.offset / 512..).zip(observation.data.chunks_exact(512)) {
            if at >= SECTORS {
                continue;
            }
            seen.fetch_add(1, Ordering::Relaxed);
            let bad = match observation.side {
                Side::WrittenBelow | Side::ReadBelow => at < below.load(Ordering::Relaxed) && is_stamped(bytes, at),
                Side::WrittenAbove | Side::ReadAbove => !is_stamped(bytes, at),
            };
            if bad {
                kernel.report(Rule::ShadowOracle, format!("sector {at}, {:?}", observation.side));
            }
        }
    });
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn stamped_disk(timing: Timing) -> Disk {
    let disk = Disk::new(DiskConfig::memory(DATA + FOOTERS).timing(timing)).expect("a disk");
    disk.poke(0, &run(0, SECTORS, 1));
    disk
}

fn setups() -> Vec<(Setup, Timing)> {
    let jitter = Timing { jitter: 400_000, ..Timing::nvme(1_000_000) };
    let plain = Setup { data_bytes: DATA, ..Setup::default() };
    let hostile = Setup { hostile: true, force_pending: true, ..plain.clone() };
    let parallel = Setup { scheduler: SchedulerKind::Parallel, ..plain.clone() };
    let mut all: Vec<_> = (0..4).map(|seed| (Setup { seed, ..plain.clone() }, jitter)).collect();
    all.extend((4..8).map(|seed| (Setup { seed, ..hostile.clone() }, jitter)));
    all.push((Setup { seed: 8, mapping_failure_rate: 4, ..hostile }, jitter));
    all.push((parallel.clone(), Timing::immediate()));
    all.push((Setup { hostile: true, force_pending: true, ..parallel }, jitter));
    all
}

/// Reads and writes, several at a time, while the volume is converted; `below` follows what is known of the boundary.
fn traffic(bench: &Bench, encrypt: bool, below: &AtomicU64) -> u64 {
    let client = bench.client();
    let handle = bench.admin().open_async(r"\??\D:", Access::READ_WRITE, Share::ALL).expect("opens");
    handle.lock().expect("alone");
    let mut random = Random(bench.setup().seed + 77);
    if !encrypt {
        // From now on the boundary falls: nothing is certain but what lies below the end that is reported last.
        below.store(0, Ordering::Relaxed);
    }
    if encrypt { client.encrypt(&bench.path()) } else { client.decrypt(&bench.path()) }.expect("starts");
    let mut rounds = 0;
    loop {
        let (state, boundary, error) = client.progress(&bench.path()).expect("progress");
        assert_eq!(error, "");
        if encrypt {
            below.store(boundary, Ordering::Relaxed);
        }
        let requests: Vec<_> = (0..8)
            .map(|lane| {
                // Each lane has its own stripe, so that overlapping writes need no order.
                let stripe = SECTORS / 8;
                let length = 1 + random.below(300);
                let first = lane * stripe + random.below(stripe - length);
                let write = random.below(2) == 0;
                let data = run(first, length, u8::try_from(rounds % 200).expect("a byte"));
                if write {
                    handle.submit_write(first * 512, &data)
                } else {
                    handle.submit_read(first * 512, data.len())
                }
                .map(|pending| (pending, first, data, write))
                .expect("accepted")
            })
            .collect();
        for (pending, first, data, write) in requests {
            let reply = pending.wait();
            assert_eq!((NtStatus(reply.status), reply.information), (NtStatus::SUCCESS, data.len() as u64));
            if !write {
                let stamps = (first..).zip(reply.output.chunks_exact(512)).all(|(at, bytes)| is_stamped(bytes, at));
                assert!(stamps, "ciphertext was handed up at sector {first}");
            }
        }
        bench.world.assert_clean();
        rounds += 1;
        if state == 0 {
            break;
        }
        // The conversion yields to this traffic: it gets more air when it has met enough of it.
        let pause = if rounds < CROWDED { Duration::from_micros(300) } else { Duration::from_millis(10) };
        bench.world.run_for(pause);
    }
    drop(handle);
    rounds
}

#[test]
fn neither_side_ever_shows_the_other_s_data() {
    for (setup, timing) in setups() {
        let bench = Bench::boot_with(setup, stamped_disk(timing));
        let (below, seen) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let client = bench.client();
        client.prepare(&bench.path(), JvckMetadataOptions::default(), &VMK, &bench.block()).expect("prepares");
        watch(&bench, &below, &seen);
        let up = traffic(&bench, true, &below);
        assert_eq!(below.load(Ordering::Relaxed), SECTORS);
        let image = bench.image();
        assert!(
            (0..SECTORS).zip(image.chunks_exact(512)).all(|(at, bytes)| !is_stamped(bytes, at)),
            "all is ciphertext"
        );
        client.detach(&bench.path()).expect("detaches");
        client.reattach(&bench.path(), &VMK).expect("attaches");
        let fs = bench.world.fs(bench.volume);
        assert!(
            (0..SECTORS)
                .zip(fs.read(0, DATA as usize).expect("reads").chunks_exact(512))
                .all(|(at, bytes)| is_stamped(bytes, at))
        );
        let down = traffic(&bench, false, &below);
        let image = bench.image();
        assert!((0..SECTORS).zip(image.chunks_exact(512)).all(|(at, bytes)| is_stamped(bytes, at)), "all is plaintext");
        assert!(seen.load(Ordering::Relaxed) > 4 * SECTORS, "the oracle saw the traffic");
        if bench.setup().scheduler == SchedulerKind::Deterministic {
            assert!(up > 3 && down > 3, "{up} and {down} rounds: the conversion was over too soon to be met");
        }
        bench.world.assert_clean();
        drop(client);
        bench.tear_down();
    }
}

#[test]
fn the_oracle_sees_plaintext_where_it_must_not_be() {
    let bench = Bench::boot_with(Setup { data_bytes: DATA, ..Setup::default() }, stamped_disk(Timing::immediate()));
    let (below, seen) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let client = bench.client();
    client.prepare(&bench.path(), JvckMetadataOptions::default(), &VMK, &bench.block()).expect("prepares");
    watch(&bench, &below, &seen);
    bench.world.fs(bench.volume).read(0, 4096).expect("reads plaintext, as it should");
    bench.world.assert_clean();
    // Claims that all is encrypted, which is not true.
    below.store(SECTORS, Ordering::Relaxed);
    assert!(bench.world.fs(bench.volume).read(8192, 4096).is_err(), "the world stops");
    assert!(bench.world.findings().iter().any(|finding| finding.rule == Rule::ShadowOracle));
}
