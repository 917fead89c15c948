//! A correct filter goes through its whole life without a finding, on both schedulers.

#[path = "support/bugs.rs"]
mod bugs;
#[path = "support/passthrough.rs"]
mod passthrough;

use passthrough::entry;
use vck_ntsim::abi::{STATUS_ACCESS_DENIED, STATUS_DEVICE_DOES_NOT_EXIST};
use vck_ntsim::io::{DriverConfig, FilterPosition};
use vck_ntsim::pnp::VolumeConfig;
use vck_ntsim::storage::{DiskConfig, Survivors};
use vck_ntsim::user::{Access, Share, Token};
use vck_ntsim::{SchedulerKind, World};

fn config() -> DriverConfig {
    DriverConfig { service: "pass", entry, filter: FilterPosition::VolumeLower }
}

fn life(world: &World) {
    let driver = world.load_driver(config()).expect("loads");
    let disk = world.add_disk(DiskConfig::memory(8 << 20));
    let volume = world.plug(VolumeConfig::whole(disk).letter('D')).expect("starts");
    world.assert_clean();
    assert_eq!(world.stack_of(volume), [r"\Driver\volmgr", r"\Driver\pass", r"\Driver\volume"]);
    let admin = world.user(Token::administrator());
    {
        let handle = admin.open(r"\??\D:", Access::READ_WRITE, Share::ALL).expect("opens");
        world.assert_clean();
        assert!(handle.write(0, &[7; 4096]).is_err(), "no direct write under a mount");
        handle.lock().expect("nobody else");
        assert_eq!(handle.write(4096, &[7; 4096]), Ok(4096));
        assert_eq!(handle.read(4096, 512).expect("reads"), [7; 512]);
        let length = handle.ioctl(0x0007_405C, &[], 8).expect("length");
        assert_eq!(length, (8_u64 << 20).to_le_bytes());
        handle.flush().expect("flushes");
        handle.unlock().expect("locked");
    }
    world.assert_clean();
    let fs = world.fs(volume);
    fs.write(100_000, b"hello").expect("caches");
    fs.flush().expect("writes back");
    fs.invalidate().expect("forgets");
    assert_eq!(fs.read(100_000, 5).expect("reads"), b"hello");
    assert_eq!(&world.disk(disk).peek(195, 2)[100_000 - 195 * 512..][..5], b"hello");
    world.stop(volume).expect("stops");
    world.start(volume).expect("starts again");
    world.query_remove(volume).expect("nobody objects");
    let refused = admin.open(r"\??\D:", Access::READ, Share::ALL).err();
    assert_eq!(refused, Some(STATUS_ACCESS_DENIED), "the file system has locked the volume");
    world.cancel_remove(volume).expect("goes on");
    drop(admin.open(r"\??\D:", Access::READ, Share::ALL).expect("opens again"));
    assert_eq!(fs.read(100_000, 5).expect("reads"), b"hello");
    world.shutdown();
    assert!(world.unload_driver(driver).is_err(), "not while it has devices");
    let removed = world.remove(volume);
    world.assert_clean();
    removed.expect("removes");
    world.assert_clean();
    world.unload_driver(driver).expect("unloads");
    world.assert_clean();
    assert_eq!(world.live_irps(), 0);
}

#[test]
fn whole_life_deterministic() {
    for seed in 0..20 {
        life(&World::boot(seed));
    }
}

#[test]
fn whole_life_hostile_and_pending() {
    for seed in 0..10 {
        life(&World::builder().seed(seed).hostile(true).force_pending(true).build());
    }
}

#[test]
fn whole_life_on_a_page_heap() {
    for seed in 0..10 {
        life(&World::builder().seed(seed).page_heap(true).build());
        life(&World::builder().seed(seed).page_heap(true).hostile(true).force_pending(true).build());
    }
    life(&World::builder().page_heap(true).scheduler(SchedulerKind::Parallel).build());
}

#[test]
fn whole_life_parallel() {
    life(&World::builder().scheduler(SchedulerKind::Parallel).build());
}

#[test]
fn nothing_mounts_between_query_remove_and_its_end() {
    let world = World::boot(4);
    world.load_driver(config()).expect("loads");
    let disk = world.add_disk(DiskConfig::memory(1 << 20));
    let volume = world.plug(VolumeConfig::whole(disk).letter('D')).expect("starts");
    world.query_remove(volume).expect("nobody objects");
    let admin = world.user(Token::administrator());
    let refused = admin.open(r"\??\D:", Access::READ, Share::ALL).err();
    assert_eq!(refused, Some(STATUS_DEVICE_DOES_NOT_EXIST));
    world.remove(volume).expect("removes");
    world.assert_clean();
}

#[test]
fn surprise_then_remove() {
    let world = World::boot(3);
    let driver = world.load_driver(config()).expect("loads");
    let disk = world.add_disk(DiskConfig::memory(1 << 20));
    let volume = world.plug(VolumeConfig::whole(disk)).expect("starts");
    world.fs(volume).read(0, 512).expect("mounts");
    world.surprise_remove(volume).expect("told");
    assert!(world.fs(volume).read(65536, 512).is_err(), "the device is gone");
    let removed = world.remove(volume);
    world.assert_clean();
    removed.expect("removed");
    world.unload_driver(driver).expect("unloads");
    world.assert_clean();
}

#[test]
fn crash_keeps_what_was_flushed() {
    let world = World::boot(11);
    world.load_driver(config()).expect("loads");
    let disk = world.add_disk(DiskConfig::memory(1 << 20));
    let volume = world.plug(VolumeConfig::whole(disk)).expect("starts");
    let fs = world.fs(volume);
    fs.write(0, &[1; 4096]).expect("caches");
    fs.flush().expect("durable");
    fs.write(0, &[2; 4096]).expect("caches");
    world.assert_clean();
    let disks = world.crash(Survivors::Nothing);
    let world = World::boot(12);
    let disk = world.insert_disk(disks[0].clone());
    let volume = world.plug(VolumeConfig::whole(disk)).expect("starts");
    assert_eq!(world.fs(volume).read(0, 4096).expect("reads"), [1; 4096]);
    world.assert_clean();
}
