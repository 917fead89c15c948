//! Disks: caches, flushes, power cuts, late writes.

use super::*;

fn arrival(lba: u64, sectors: u64) -> Arrival {
    Arrival { lba, sectors, write_through: false, irp_flags: 0, sl_flags: 0, now: 0, extra: 0 }
}

fn disk() -> Disk {
    Disk::new(DiskConfig::memory(1 << 20)).expect("memory")
}

#[test]
fn unflushed_writes_may_be_lost_flushed_ones_not() {
    let disk = disk();
    disk.write(&arrival(0, 2), &[1; 1024], false);
    assert_eq!(disk.flush(&arrival(0, 0)).status, 0);
    disk.write(&arrival(0, 2), &[2; 1024], false);
    assert_eq!(disk.peek(0, 1), [2; 512]);
    disk.power_cut(Survivors::Nothing, |_| 0);
    assert_eq!(disk.peek(0, 2), [1; 1024]);
    disk.write(&arrival(0, 2), &[3; 1024], false);
    let mut draws = [1_u64, 0].into_iter();
    disk.power_cut(Survivors::Random, |_| draws.next().unwrap_or(0));
    assert_eq!(disk.peek(0, 1), [3; 512], "each sector is settled alone");
    assert_eq!(disk.peek(1, 1), [1; 512]);
}

#[test]
fn write_through_is_durable_at_once() {
    let disk = disk();
    disk.write(&arrival(4, 1), &[1; 512], false);
    disk.write(&Arrival { write_through: true, ..arrival(4, 1) }, &[2; 512], false);
    assert_eq!(disk.peek_durable(4, 1), [2; 512]);
    disk.power_cut(Survivors::All, |_| 0);
    assert_eq!(disk.peek(4, 1), [2; 512], "the older cached version must not come back");
}

#[test]
fn late_write_changes_nothing_until_it_is_applied() {
    let disk = disk();
    let (outcome, late) = disk.write(&arrival(3, 1), &[8; 512], true);
    assert_eq!((outcome.status, outcome.bytes), (0, 512));
    assert_eq!(disk.flush(&arrival(0, 0)).status, 0);
    assert_eq!(disk.peek(3, 1), [0; 512]);
    assert!(late.expect("it was to be late").apply());
    assert_eq!((disk.peek(3, 1), disk.peek_durable(3, 1)), (vec![8; 512], vec![0; 512]));
}

#[test]
fn lost_flush_claims_success() {
    let disk = disk();
    disk.inject(Fault::anywhere(DiskOp::Flush, FaultEffect::LostFlush).times(1));
    disk.write(&arrival(0, 1), &[9; 512], false);
    assert_eq!(disk.flush(&arrival(0, 0)).status, 0);
    assert_eq!(disk.peek_durable(0, 1), [0; 512]);
    disk.flush(&arrival(0, 0));
    assert_eq!(disk.peek_durable(0, 1), [9; 512]);
    assert_eq!(disk.flushes(), 2);
}

#[test]
fn torn_sector_mixes_versions() {
    let disk = disk();
    disk.poke(0, &[1; 512]);
    disk.write(&arrival(0, 1), &[2; 512], false);
    // pick the new version, tear, the other is the durable one, cut at 100
    let mut draws = [1_u64, 0, 0, 100].into_iter();
    disk.power_cut(Survivors::Torn, |_| draws.next().unwrap_or(0));
    let now = disk.peek(0, 1);
    assert!(now[..100].iter().all(|b| *b == 2) && now[100..].iter().all(|b| *b == 1));
}

#[test]
fn image_is_sparse_and_large() {
    let path = std::env::temp_dir().join(format!("ntsim-disk-{}", std::process::id()));
    let disk = Disk::new(DiskConfig::image(&path, 1 << 40).volatile_cache(false)).expect("sparse file");
    let last = disk.sectors() - 1;
    disk.write(&arrival(last, 1), &[7; 512], false);
    assert_eq!(disk.peek(last, 1), [7; 512]);
    std::fs::remove_file(path).expect("own file");
}
