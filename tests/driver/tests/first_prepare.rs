//! A PREPARE with a block that is on the volume already: a record may be there, too. Power failed while it was written, so that
//! its newest entry is in one replica alone; that replica is lost later. What the PREPARE has acted on must still be there.

use vck_common::NtStatus;
use vck_common::jvck::JvckMetadataOptions;
use vck_driver_tests::{Bench, FOOTERS, Setup, VMK};
use vck_ntsim::storage::{Disk, DiskConfig, DiskOp, Fault, Survivors};

const DATA: u64 = 1 << 20;
/// Bytes of a replica: its vendor area, then its block.
const REPLICA: usize = 131_072;
const SECTOR: usize = 512;

fn setup() -> Setup {
    Setup { data_bytes: DATA, ..Setup::default() }
}

fn data() -> Vec<u8> {
    (0..DATA).map(|at| u8::try_from(at % 251).expect("small") ^ u8::try_from(at >> 13).expect("small")).collect()
}

/// The records in a replica: where they begin, and their generations.
fn records(image: &[u8], replica: usize) -> Vec<(usize, u64)> {
    let start = usize::try_from(DATA).expect("small") + replica * REPLICA;
    let sectors = (start..start + REPLICA).step_by(SECTOR).filter(|&at| image[at..].starts_with(b"VCKRECRD"));
    sectors.map(|at| (at, u64::from_le_bytes(image[at + 32..at + 40].try_into().expect("eight bytes")))).collect()
}

/// The newest record of replica 0, and its sectors.
fn newest(image: &[u8]) -> (usize, Vec<u8>) {
    let (at, _) = records(image, 0).into_iter().max_by_key(|(_, generation)| *generation).expect("a record");
    (at, image[at..at + 3 * SECTOR].to_vec())
}

/// The content of a volume that was encrypted and decrypted, and whose newest entry is in the first replica alone; the entry
/// before it has a zone under way. And the block that it holds.
fn torn_between_replicas() -> (Vec<u8>, Vec<u8>) {
    let disk = Disk::new(DiskConfig::memory(DATA + FOOTERS)).expect("a disk");
    disk.poke(0, &data());
    let bench = Bench::boot_with(setup(), disk);
    let client = bench.client();
    client.prepare(&bench.path(), JvckMetadataOptions::default(), &VMK, &bench.block()).expect("prepares");
    client.encrypt(&bench.path()).expect("starts");
    assert_eq!(client.wait_until_idle(&bench.path()), Ok(0));
    client.decrypt(&bench.path()).expect("starts");
    assert_eq!(client.wait_until_idle(&bench.path()), Ok(0));
    client.detach(&bench.path()).expect("detaches");
    let mut image = bench.image();
    let (at, _) = newest(&image);
    assert_eq!(records(&image, 1).len(), 2);
    let other = at + REPLICA;
    assert_eq!(image[other..other + 3 * SECTOR], image[at..at + 3 * SECTOR]);
    image[other..other + SECTOR].fill(0);
    let block = image[image.len() - SECTOR..].to_vec();
    drop(client);
    bench.tear_down();
    (image, block)
}

fn disk_with(image: &[u8]) -> Disk {
    let disk = Disk::new(DiskConfig::memory(DATA + FOOTERS)).expect("a disk");
    disk.poke(0, image);
    disk
}

/// A machine whose first replica can be read no more.
fn first_replica_lost(disk: Disk) -> Bench {
    let first = DATA / SECTOR as u64;
    let sectors = REPLICA as u64 / SECTOR as u64;
    disk.inject(Fault::fail(DiskOp::Read, first..first + sectors, NtStatus::DEVICE_DATA_ERROR.0));
    Bench::boot_with(setup(), disk)
}

#[test]
fn what_a_prepare_finds_in_one_replica_alone_is_in_both_before_it_binds() {
    let (image, block) = torn_between_replicas();
    let (at, entry) = newest(&image);
    // Without the PREPARE the entry is gone with its replica, and what is left does not go with the blocks.
    let bench = first_replica_lost(disk_with(&image));
    let client = bench.client();
    assert!(client.reattach(&bench.path(), &VMK).is_err());
    drop(client);
    drop(bench);
    // The PREPARE ends at any of its allocations, and then the power fails.
    let (mut restated, mut whole) = (0, false);
    for failing in 1.. {
        let bench = Bench::boot_with(setup(), disk_with(&image));
        let client = bench.client();
        bench.world.fail_allocation(failing);
        let done = client.prepare(&bench.path(), JvckMetadataOptions::default(), &VMK, &block);
        bench.world.fail_allocation(0);
        drop(client);
        let disk = bench.world.crash(Survivors::Nothing).remove(0);
        let found = disk.peek(((at + REPLICA) / SECTOR) as u64, 3);
        let is_there = found == entry;
        assert!(is_there || done.is_err(), "allocation {failing}: bound, and the entry is in one replica alone");
        restated += u32::from(is_there && done.is_err());
        whole = done.is_ok();
        if is_there {
            let bench = first_replica_lost(disk);
            let client = bench.client();
            client.reattach(&bench.path(), &VMK).expect("the entry is in the other replica");
            assert_eq!(client.progress(&bench.path()).expect("progress").1, 0);
            let read = bench.world.fs(bench.volume).read(0, data().len()).expect("reads");
            assert!(read == data(), "allocation {failing}");
        }
        if whole && restated > 0 {
            break;
        }
    }
    assert!(restated > 0 && whole, "the power failed between the restatement and the bind");
}
