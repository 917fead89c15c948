//! What a program sees: security, control codes, cancellation, locks and mounts, faults below.

#[path = "support/control.rs"]
mod control;

use vck_ntsim::abi::*;
use vck_ntsim::io::{DriverConfig, FilterPosition};
use vck_ntsim::pnp::{FileSystemKind, VolumeConfig};
use vck_ntsim::storage::{DiskConfig, DiskOp, Fault, FaultEffect, FlushSupport, Timing};
use vck_ntsim::user::{Access, Share, Token};
use vck_ntsim::{Rule, SchedulerKind, World};

fn probe(world: &World) -> vck_ntsim::io::DriverId {
    let config = DriverConfig { service: "probe", entry: control::entry, filter: FilterPosition::None };
    world.load_driver(config).expect("loads")
}

const PROBE: &str = r"\??\NtsimProbe";

#[test]
fn sddl_is_enforced_on_open() {
    let world = World::boot(1);
    let driver = probe(&world);
    let user = world.user(Token::user());
    assert_eq!(user.open(PROBE, Access::READ, Share::ALL).err(), Some(STATUS_ACCESS_DENIED));
    assert_eq!(user.open(PROBE, Access::NONE, Share::ALL).err(), Some(STATUS_ACCESS_DENIED));
    let below = format!(r"{PROBE}\below");
    assert_eq!(user.open(&below, Access::NONE, Share::ALL).err(), Some(STATUS_ACCESS_DENIED), "secure open");
    for token in [Token::administrator(), Token::system()] {
        let program = world.user(token);
        let handle = program.open(PROBE, Access::READ_WRITE, Share::ALL).expect("granted");
        assert_eq!(handle.ioctl(control::ADD_ONE, &[1, 2, 3], 3).expect("answers"), [2, 3, 4]);
        assert_eq!(handle.ioctl(control::IS_ADMIN, &[], 1).expect("answers"), [1]);
        assert!(world.unload_driver(driver).is_err(), "a handle is open");
    }
    let missing = world.user(Token::administrator()).open(r"\??\Nothing", Access::READ, Share::ALL);
    assert_eq!(missing.err(), Some(STATUS_OBJECT_NAME_NOT_FOUND));
    world.shutdown();
    world.unload_driver(driver).expect("idle");
    world.assert_clean();
}

#[test]
fn access_bits_are_checked_before_the_request_exists() {
    let world = World::boot(2);
    probe(&world);
    let program = world.user(Token::administrator());
    let reader = program.open(PROBE, Access::READ, Share::ALL).expect("granted");
    assert_eq!(reader.ioctl(control::NEEDS_WRITE, &[], 0), Err(STATUS_ACCESS_DENIED));
    let writer = program.open(PROBE, Access::READ_WRITE, Share::ALL).expect("granted");
    assert_eq!(writer.ioctl(control::NEEDS_WRITE, &[], 0), Ok(Vec::new()));
    assert_eq!(writer.ioctl(0x0022_2FFC, &[], 0), Err(STATUS_INVALID_DEVICE_REQUEST));
    world.assert_clean();
}

#[test]
fn a_waiting_request_is_cancelled() {
    for seed in 0..16 {
        let world = World::boot(seed);
        probe(&world);
        let program = world.user(Token::administrator());
        let handle = program.open_async(PROBE, Access::READ, Share::ALL).expect("granted");
        let pending = handle.submit_ioctl(control::WAIT, &[], 0).expect("accepted");
        assert!(!pending.is_done());
        assert!(pending.cancel());
        assert_eq!(pending.wait().status, STATUS_CANCELLED);
        handle.close().expect("open");
        assert_eq!(world.live_irps(), 0);
        world.assert_clean();
    }
}

fn volume(world: &World, config: DiskConfig) -> (vck_ntsim::pnp::VolumeId, vck_ntsim::storage::Disk) {
    let disk = world.add_disk(config);
    let volume = world.plug(VolumeConfig::whole(disk).letter('E')).expect("starts");
    (volume, world.disk(disk))
}

const DRIVE: &str = r"\??\E:";

#[test]
fn lock_dismount_and_remount() {
    let world = World::boot(4);
    let (volume, _disk) = volume(&world, DiskConfig::memory(1 << 20));
    let program = world.user(Token::administrator());
    let one = program.open(DRIVE, Access::READ_WRITE, Share::ALL).expect("opens");
    let two = program.open(DRIVE, Access::READ, Share::ALL).expect("opens");
    assert_eq!(one.lock(), Err(STATUS_ACCESS_DENIED), "another file is open");
    two.close().expect("open");
    world.fs(volume).set_paging_file(true).expect("mounted");
    assert_eq!(one.dismount(), Err(STATUS_ACCESS_DENIED), "paging file");
    world.fs(volume).set_paging_file(false).expect("mounted");
    one.lock().expect("alone");
    assert_eq!(program.open(DRIVE, Access::READ, Share::ALL).err(), Some(STATUS_ACCESS_DENIED), "locked");
    let attributes = program.open(DRIVE, Access::ATTRIBUTES, Share::ALL).expect("does not mount");
    drop(attributes);
    one.dismount().expect("locked by us");
    assert_eq!(world.fs(volume).read(0, 512), Err(STATUS_VOLUME_DISMOUNTED));
    one.write(0, &[5; 512]).expect("the dismounting handle still reaches the device");
    one.close().expect("open");
    assert_eq!(world.fs(volume).read(0, 4).expect("mounts anew"), [5; 4]);
    let nobody = world.user(Token::user()).open(DRIVE, Access::READ, Share::ALL);
    assert_eq!(nobody.err(), Some(STATUS_ACCESS_DENIED));
    world.assert_clean();
}

#[test]
fn extended_access_passes_the_mounted_size() {
    let world = World::boot(5);
    let (volume, _disk) = volume(&world, DiskConfig::memory(1 << 20));
    let program = world.user(Token::administrator());
    let handle = program.open(DRIVE, Access::READ_WRITE, Share::ALL).expect("mounts at 1 MiB");
    world.resize(volume, 1 << 19);
    assert_eq!(world.fs(volume).length(), Ok(1 << 20), "the mount does not notice");
    assert_eq!(handle.read(1 << 20, 512), Err(STATUS_END_OF_FILE));
    handle.fsctl(0x0009_0083).expect("allowed");
    assert_eq!(handle.read(1 << 20, 512), Err(STATUS_INVALID_PARAMETER), "now the device refuses");
    world.assert_clean();
}

#[test]
fn unrecognised_content_is_raw() {
    let world = World::boot(6);
    let disk = world.add_disk(DiskConfig::memory(1 << 20));
    let mut config = VolumeConfig::whole(disk).letter('E');
    config.file_system = FileSystemKind::Signature;
    let volume = world.plug(config).expect("starts");
    assert_eq!(world.fs(volume).read(0, 512), Err(STATUS_UNRECOGNIZED_VOLUME));
    let program = world.user(Token::administrator());
    let handle = program.open(DRIVE, Access::READ_WRITE, Share::ALL).expect("raw");
    let mut sector = vec![0; 512];
    sector[..8].copy_from_slice(vck_ntsim::fs::SIGNATURE);
    handle.lock().expect("alone");
    handle.write(0, &sector).expect("raw volumes are written directly");
    handle.dismount().expect("locked");
    handle.close().expect("open");
    assert_eq!(world.fs(volume).read(0, 8).expect("recognised now"), vck_ntsim::fs::SIGNATURE);
    world.assert_clean();
}

#[test]
fn identity_and_size_controls() {
    let world = World::boot(7);
    let disk = world.add_disk(DiskConfig::memory(4 << 20).sectors(512, 4096));
    let guid = *b"0123456789abcdef";
    let volume = world.plug(VolumeConfig::whole(disk).letter('E').guid(guid).at(1 << 20, 2 << 20)).expect("starts");
    let program = world.user(Token::administrator());
    let handle = program.open(DRIVE, Access::READ, Share::ALL).expect("opens");
    assert_eq!(handle.ioctl(0x0007_405C, &[], 8).expect("length"), (2_u64 << 20).to_le_bytes());
    let partition = handle.ioctl(0x0007_0048, &[], 144).expect("partition");
    assert_eq!(partition.len(), 144);
    assert_eq!((partition[0], &partition[48..64]), (1, &guid[..]));
    assert_eq!(partition[16..24], (2_u64 << 20).to_le_bytes());
    let geometry = handle.ioctl(0x0007_0000, &[], 24).expect("geometry");
    assert_eq!(geometry[20..24], 512_u32.to_le_bytes());
    let alignment = handle.ioctl(0x002D_1400, &[6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 28).expect("alignment");
    assert_eq!(alignment[20..24], 4096_u32.to_le_bytes());
    let extents = handle.ioctl(0x0056_0000, &[], 32).expect("extents");
    assert_eq!(extents[16..24], (1_u64 << 20).to_le_bytes());
    assert_eq!(handle.ioctl(0x0007_405C, &[], 4), Err(STATUS_BUFFER_TOO_SMALL));
    assert_eq!(world.device_name(volume), r"\Device\HarddiskVolume1");
    let by_guid = program.open(r"\??\Volume{33323130-3534-3736-3839-616263646566}", Access::ATTRIBUTES, Share::ALL);
    drop(by_guid.expect("named by GUID"));
    drop(handle);
    world.assert_clean();
}

#[test]
fn faults_reach_the_program() {
    let world = World::boot(8);
    let mut config = DiskConfig::memory(1 << 20);
    config.flush = FlushSupport::Unsupported;
    let (volume, disk) = volume(&world, config);
    let program = world.user(Token::administrator());
    let handle = program.open(DRIVE, Access::READ_WRITE, Share::ALL).expect("opens");
    disk.inject(Fault::fail(DiskOp::Read, 8..9, STATUS_DEVICE_DATA_ERROR).times(1));
    assert_eq!(handle.read(4096, 512), Err(STATUS_DEVICE_DATA_ERROR));
    assert_eq!(handle.read(4096, 512).expect("transient"), [0; 512]);
    disk.inject(Fault::anywhere(DiskOp::Read, FaultEffect::Short(100)).times(1));
    assert_eq!(handle.read(0, 512).expect("short").len(), 100);
    handle.flush().expect("the file system hides a device without flush");
    disk.inject(Fault::anywhere(DiskOp::Read, FaultEffect::Vanish));
    assert!(handle.read(0, 512).is_err());
    assert!(disk.vanished());
    assert_eq!(world.fs(volume).read(65536, 16), Err(STATUS_NO_SUCH_DEVICE));
    drop(handle);
    world.assert_clean();
}

#[test]
fn queue_depth_and_virtual_time() {
    let world = World::boot(9);
    let timing = Timing { latency: 80_000, queue_depth: 32, ..Timing::immediate() };
    let (_volume, disk) = volume(&world, DiskConfig::memory(1 << 20).timing(timing));
    let program = world.user(Token::administrator());
    let handle = program.open_async(DRIVE, Access::READ, Share::ALL).expect("opens");
    let before = world.now().0;
    let all: Vec<_> = (0..32).map(|at| handle.submit_read(at * 4096, 4096).expect("accepted")).collect();
    for pending in all {
        assert_eq!(pending.wait().status, STATUS_SUCCESS);
    }
    let spent = (world.now().0 - before) * 100;
    assert!((80_000..160_000).contains(&spent), "32 reads at depth 32 took {spent} ns");
    assert_eq!(disk.log().iter().filter(|record| record.op == DiskOp::Read).count(), 32);
    world.assert_clean();
}

#[test]
fn the_oracle_sees_both_sides() {
    let world = World::boot(10);
    let (volume, _disk) = volume(&world, DiskConfig::memory(1 << 20));
    world.require(vck_ntsim::io::Side::WrittenBelow, |seen| !seen.data.contains(&0xEE));
    world.fs(volume).write(0, &[1; 16]).expect("caches");
    world.fs(volume).flush().expect("allowed");
    world.assert_clean();
    world.fs(volume).write(0, &[0xEE; 16]).expect("caches");
    assert!(world.fs(volume).flush().is_err());
    assert_eq!(world.findings()[0].rule, Rule::ShadowOracle);
}

#[test]
fn programs_run_side_by_side() {
    for kind in [SchedulerKind::Deterministic, SchedulerKind::Parallel] {
        let world = World::builder().seed(11).scheduler(kind).build();
        let (_volume, _disk) = volume(&world, DiskConfig::memory(1 << 20));
        let ids: Vec<_> = (0..4_u8)
            .map(|at| {
                world.spawn_user(Token::administrator(), move |program| {
                    let handle = program.open(DRIVE, Access::READ, Share::ALL).expect("opens");
                    for _ in 0..20 {
                        assert_eq!(handle.read(u64::from(at) * 4096, 4096).expect("reads").len(), 4096);
                    }
                })
            })
            .collect();
        for id in ids {
            assert!(world.join(id));
        }
        assert_eq!(world.live_irps(), 0);
        world.assert_clean();
    }
}

#[test]
fn same_seed_same_run() {
    let run = |seed| {
        let world = World::boot(seed);
        let (volume, disk) = volume(&world, DiskConfig::memory(1 << 20));
        for at in 0..20 {
            world.fs(volume).write(at * 4096, &[7; 100]).expect("caches");
        }
        world.fs(volume).flush().expect("writes back");
        (world.decisions(), world.now(), disk.log())
    };
    assert_eq!(run(5), run(5));
}
