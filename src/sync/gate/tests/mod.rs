//! The gate's rules, one thread at a time; `tests/loom` has the interleavings.
extern crate std;

use std::assert;
use std::assert_eq;

use super::*;
use crate::sync::Native;

type Gate = RangeGate<Native, 8>;

const BUCKET: u64 = 2048;

fn gate() -> Gate {
    Gate::new(SectorSize::S512, DataSector::new(7)).unwrap()
}

fn sectors(first: u64, count: u64) -> DataExtent {
    DataExtent::new(DataSector::new(first), SectorCount::new(count))
}

fn counts(gate: &Gate) -> std::vec::Vec<u64> {
    gate.slots.iter().map(|slot| slot.word.load(Ordering::Relaxed) & REQUESTS).collect()
}

#[test]
fn a_request_counts_each_of_its_slots_once() {
    for (first, count, expected) in [
        (0, 0, [0; 8]),
        (0, 1, [1, 0, 0, 0, 0, 0, 0, 0]),
        (BUCKET - 1, 2, [1, 1, 0, 0, 0, 0, 0, 0]),
        (7 * BUCKET, 2 * BUCKET, [1, 0, 0, 0, 0, 0, 0, 1]),
        (19 * BUCKET, BUCKET, [0, 0, 0, 1, 0, 0, 0, 0]),
        (5, 8 * BUCKET, [1; 8]),
        (3 * BUCKET, 8 * BUCKET, [1; 8]),
        (0, 1000 * BUCKET, [1; 8]),
        (0, u64::MAX, [1; 8]),
        (u64::MAX, u64::MAX, [0, 0, 0, 0, 0, 0, 0, 1]),
    ] {
        let gate = gate();
        assert_eq!(gate.enter(sectors(first, count), Access::Read), Ok(DataSector::new(7)));
        assert_eq!(counts(&gate), expected, "{count} sectors from {first}");
        assert_eq!(gate.leave(sectors(first, count)), Wake::Nobody);
        assert_eq!(counts(&gate), [0; 8]);
    }
}

#[test]
fn what_was_admitted_is_counted_when_it_leaves_and_while_it_is_in() {
    let gate = gate();
    let (short, long) = (sectors(5, 1), sectors(BUCKET - 1, 2));
    for extent in [short, long, long] {
        gate.enter(extent, Access::Read).unwrap();
    }
    assert_eq!((gate.departures(), gate.inside()), (0, 5));
    let _nobody = (gate.leave(long), gate.leave(short));
    assert_eq!((gate.departures(), gate.inside()), (2, 2));
    gate.close(sectors(0, 1)).unwrap();
    assert!(gate.enter(short, Access::Write).is_err());
    assert_eq!((gate.departures(), gate.inside()), (2, 2), "the refused are neither");
}

#[test]
fn a_refused_request_holds_nothing_and_may_wake_the_sweep() {
    let gate = gate();
    gate.close(sectors(2 * BUCKET, 1)).unwrap();
    let refused = Refused { why: Refusal::Closed, wake: Wake::Waiter };
    assert_eq!(gate.enter(sectors(0, 4 * BUCKET), Access::Read), Err(refused));
    assert_eq!(counts(&gate), [0; 8]);
    assert!(gate.still_closed(sectors(0, 4 * BUCKET)));
    assert!(!gate.still_closed(sectors(0, 2 * BUCKET)));
    gate.open(sectors(2 * BUCKET, 1));
    assert!(gate.enter(sectors(0, 4 * BUCKET), Access::Read).is_ok());
}

#[test]
fn the_last_request_out_of_a_closed_zone_wakes_the_sweep() {
    let gate = gate();
    gate.enter(sectors(0, 1), Access::Read).unwrap();
    gate.enter(sectors(1, 1), Access::Read).unwrap();
    gate.close(sectors(0, 1)).unwrap();
    assert!(!gate.is_drained(sectors(0, 1)));
    assert_eq!(gate.leave(sectors(0, 1)), Wake::Nobody);
    assert_eq!(gate.leave(sectors(1, 1)), Wake::Waiter);
    assert!(gate.is_drained(sectors(0, 1)));
}

#[test]
fn closes_are_counted_and_limited() {
    let gate = gate();
    let (zone, neighbour) = (sectors(0, BUCKET), sectors(BUCKET / 2, 2 * BUCKET));
    gate.close(zone).unwrap();
    gate.close(neighbour).unwrap();
    assert_eq!(gate.close(sectors(0, 3 * BUCKET)), Err(VckError::Busy));
    gate.open(zone);
    assert!(gate.still_closed(zone));
    gate.open(neighbour);
    assert!(!gate.still_closed(sectors(0, 8 * BUCKET)));
    // Opening what is open changes nothing.
    gate.open(zone);
    assert!(gate.enter(zone, Access::Read).is_ok());
}

#[test]
fn a_fence_stops_what_touches_it_and_nothing_else() {
    let gate = gate();
    let status = NtStatus::DEVICE_DATA_ERROR;
    gate.close(sectors(100, 10)).unwrap();
    gate.fence(sectors(100, 10), status);
    gate.open(sectors(100, 10));
    let refused = Refused { why: Refusal::Fenced(status), wake: Wake::Nobody };
    assert_eq!(gate.enter(sectors(0, 101), Access::Read), Err(refused));
    assert_eq!(gate.enter(sectors(109, BUCKET), Access::Read), Err(refused));
    assert_eq!(counts(&gate), [0; 8]);
    // The same slot, other sectors; the same slot by the table's size.
    assert!(gate.enter(sectors(0, 100), Access::Read).is_ok());
    assert!(gate.enter(sectors(8 * BUCKET + 100, 10), Access::Read).is_ok());
    gate.unfence();
    gate.unfence();
    assert!(gate.enter(sectors(0, 101), Access::Read).is_ok());
}

#[test]
fn a_shielded_sector_is_not_read_until_it_was_written() {
    let gate = gate();
    let sector = DataSector::new(100);
    assert!(gate.shield(sector) && gate.shield(sector));
    let refused = Refused { why: Refusal::Fenced(NtStatus::DEVICE_DATA_ERROR), wake: Wake::Nobody };
    assert_eq!(gate.enter(sectors(0, 101), Access::Read), Err(refused));
    assert!(gate.enter(sectors(0, 100), Access::Read).is_ok());
    assert!(gate.enter(sectors(100, 1), Access::Write).is_ok(), "a write is what heals it");
    assert!(gate.is_shielded(sector), "not before it succeeded");
    assert!(!gate.heal(sectors(101, 5)));
    assert!(gate.heal(sectors(90, 11)));
    assert!(!gate.heal(sectors(90, 11)) && !gate.is_shielded(sector));
    assert!(gate.enter(sectors(100, 1), Access::Read).is_ok());
}

#[test]
fn a_fence_that_goes_leaves_the_shields_in_its_slots() {
    let gate = gate();
    assert!(gate.shield(DataSector::new(BUCKET + 5)));
    gate.close(sectors(BUCKET, 10)).unwrap();
    gate.fence(sectors(BUCKET, 10), NtStatus::IO_DEVICE_ERROR);
    gate.unfence();
    gate.open(sectors(BUCKET, 10));
    assert!(gate.enter(sectors(BUCKET + 5, 1), Access::Read).is_err());
    assert!(gate.enter(sectors(BUCKET + 4, 1), Access::Read).is_ok());
}

#[test]
fn the_table_of_shields_is_limited() {
    let gate = gate();
    for sector in 0..8 {
        assert!(gate.shield(DataSector::new(sector)));
    }
    assert!(!gate.shield(DataSector::new(8)));
    assert!(gate.heal(sectors(3, 1)));
    assert!(gate.shield(DataSector::new(8)));
}

#[test]
fn a_write_since_the_watch_is_noticed() {
    let gate = gate();
    let zone = sectors(0, 2 * BUCKET);
    let before = gate.writes(zone);
    assert!(before.is_some());
    gate.enter(zone, Access::Read).unwrap();
    assert_eq!(gate.writes(zone), None, "somebody is inside");
    assert_eq!(gate.leave(zone), Wake::Nobody);
    gate.enter(sectors(3 * BUCKET, 1), Access::Write).unwrap();
    assert_eq!(gate.writes(zone), before, "reads and other places do not count");
    gate.enter(sectors(BUCKET, 1), Access::Write).unwrap();
    assert_eq!(gate.leave(sectors(BUCKET, 1)), Wake::Nobody);
    gate.close(zone).unwrap();
    assert!(gate.writes(zone).is_some() && gate.writes(zone) != before);
}

#[test]
fn buckets_are_bytes_whatever_the_sector_size() {
    let gate = RangeGate::<Native, 8>::new(SectorSize::S4096, DataSector::ZERO).unwrap();
    gate.close(sectors(255, 1)).unwrap();
    assert!(gate.enter(sectors(0, 1), Access::Read).is_err());
    assert!(gate.enter(sectors(256, 1), Access::Read).is_ok());
}
