//! Each ordering rule of a step, as the exact log of one.
use std::vec::Vec;
use std::{assert, assert_eq, vec};

use vck_common::{DataExtent, DataSector, Lba, SectorCount, SectorSize};

use super::rig::Rig;
use super::world::{Event, Fault};
use crate::engine::{Command, State, Step};

/// The log of an undisturbed step over `zone`, which lies at `lba`.
fn expected(rig: &Rig, zone: DataExtent, boundary: u64) -> Vec<Event> {
    let lba = rig.geometry.data_to_lba(zone.first).unwrap();
    let count = zone.count.get();
    let mut events = vec![Event::Close(zone), Event::Read(lba, count), Event::Write(lba, count), Event::Flush];
    events.extend(rig.geometry.metadata_lbas().map(|lba| Event::Write(lba, 1)));
    events.extend([Event::Flush, Event::Publish(DataSector::new(boundary)), Event::Open(zone)]);
    events
}

fn zone(first: u64, count: u64) -> DataExtent {
    DataExtent::new(DataSector::new(first), SectorCount::new(count))
}

#[test]
fn close_read_write_flush_blocks_flush_publish_open() {
    for size in [SectorSize::S512, SectorSize::S4096] {
        let mut rig = Rig::bare(size, 24, 10);
        rig.command(Command::StartEncrypt).unwrap();
        for (first, count, boundary) in [(0, 10, 10), (10, 10, 20), (20, 4, 24)] {
            rig.world.take_log();
            assert_eq!(rig.step(), Step::Worked);
            assert_eq!(rig.world.take_log(), expected(&rig, zone(first, count), boundary));
        }
        assert_eq!(rig.state(), State::Idle);

        rig.command(Command::StartDecrypt).unwrap();
        for (first, count) in [(14, 10), (4, 10), (0, 4)] {
            rig.world.take_log();
            assert_eq!(rig.step(), Step::Worked);
            assert_eq!(rig.world.take_log(), expected(&rig, zone(first, count), first));
        }
        assert_eq!(rig.step(), Step::Idle);
    }
}

#[test]
fn a_direction_is_durable_before_the_command_returns() {
    let mut rig = Rig::bare(SectorSize::S512, 24, 10);
    rig.command(Command::StartEncrypt).unwrap();
    let blocks: Vec<_> = rig.geometry.metadata_lbas().map(|lba| Event::Write(lba, 1)).collect();
    let log = rig.world.take_log();
    assert_eq!(log.first(), Some(&Event::Flush), "a device that cannot flush is found out first");
    assert_eq!(log[1..=blocks.len()], blocks);
    assert_eq!(log[blocks.len() + 1..], [Event::Flush]);
}

#[test]
fn a_failed_write_is_undone_before_the_gate_opens() {
    let mut rig = Rig::bare(SectorSize::S512, 24, 10);
    rig.command(Command::StartEncrypt).unwrap();
    let lba = rig.geometry.offset_sector();
    rig.world.take_log();
    // The read succeeds; three attempts to write fail, the fourth write is the old contents.
    rig.world.set_fault(Fault::Calls { from: 1, to: 4 });
    for _ in 0..3 {
        assert!(matches!(rig.step(), Step::RetryAfter(_)));
        rig.check();
    }
    let mut events = vec![Event::Close(zone(0, 10)), Event::Read(lba, 10)];
    events.extend([Event::Write(lba, 10); 4]);
    events.extend([Event::Flush, Event::Open(zone(0, 10))]);
    assert_eq!(rig.world.take_log(), events);
    assert!(!rig.sweep.holds_zone());
    rig.run();
    assert_eq!(rig.state(), State::Idle);
}

#[test]
fn a_fence_stands_before_the_gate_opens() {
    let mut rig = Rig::bare(SectorSize::S512, 24, 10);
    rig.command(Command::StartEncrypt).unwrap();
    rig.world.take_log();
    rig.world.set_fault(Fault::WriteOf(Lba::new(rig.geometry.offset_sector().get() + 3)));
    rig.run();
    let log = rig.world.take_log();
    let position = |wanted: fn(&Event) -> bool| log.iter().position(wanted).unwrap();
    let fence = position(|event| matches!(event, Event::Fence(..)));
    assert!(fence < position(|event| matches!(event, Event::Open(_))));
    assert!(!log.iter().any(|event| matches!(event, Event::Publish(_))));
}
