//! Models of the range gate.
//!
//! A volume of two buckets; `content` says for each of them what is on the device. The sweep converts buckets upwards.
//! A request that was admitted compares the device with the boundary it was given, writes, and looks again. A write
//! that the sweep does not see when it reads the zone is lost.
use std::sync::Arc;

use loom::sync::Mutex;
use loom::thread;
use vck_common::{DataExtent, DataSector, NtStatus, SectorCount, SectorSize};
use vck_loom_models::{Drain, Modelled, Plain, model};
use vck_windrv::sync::{Access, RangeGate, Refusal};

/// Sectors of 512 bytes in a bucket of 1 MiB.
const BUCKET: u64 = 2048;
// What a bucket holds: its side, whether a request wrote to it, whether it is of neither side.
const PLAINTEXT: u64 = 0;
const CIPHERTEXT: u64 = 1;
const WRITTEN: u64 = 2;
const UNKNOWN: u64 = 4;

struct Volume<const SLOTS: usize> {
    gate: RangeGate<Modelled, SLOTS>,
    content: [Plain; 2],
    drain: Drain,
    queue: Mutex<Vec<DataExtent>>,
}

/// `count` buckets from bucket `first`.
fn buckets(first: u64, count: u64) -> DataExtent {
    DataExtent::new(DataSector::new(first * BUCKET), SectorCount::new(count * BUCKET))
}

impl<const SLOTS: usize> Volume<SLOTS> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            gate: RangeGate::new(SectorSize::S512, DataSector::ZERO).expect("memory"),
            content: [Plain::new(PLAINTEXT), Plain::new(PLAINTEXT)],
            drain: Drain::new(),
            queue: Mutex::new(Vec::new()),
        })
    }

    fn close_and_drain(&self, zone: DataExtent) {
        self.drain.close(&self.gate, zone);
    }

    /// Converts bucket `index`, which is closed.
    fn convert(&self, index: usize) {
        self.content[index].set(self.content[index].get() | CIPHERTEXT);
        self.gate.publish(DataSector::new((index as u64 + 1) * BUCKET));
    }

    /// What an admitted request sees agrees with the boundary it was given. It writes what it saw.
    fn look_and_write(&self, extent: DataExtent, boundary: DataSector) {
        for (index, content) in self.content.iter().enumerate() {
            let start = DataSector::new(index as u64 * BUCKET);
            if extent.contains(start) {
                let side = if start < boundary { CIPHERTEXT } else { PLAINTEXT };
                let found = content.get() & !WRITTEN;
                assert_eq!(found, side, "bucket {index} is not what boundary {boundary} says");
                content.set(WRITTEN | side);
            }
        }
    }

    fn assert_written(&self, extent: DataExtent) {
        for (index, content) in self.content.iter().enumerate() {
            let touched = extent.contains(DataSector::new(index as u64 * BUCKET));
            assert!(!touched || content.get() & WRITTEN != 0, "a write to bucket {index} was lost");
        }
    }

    /// One attempt of a request.
    fn try_once(&self, extent: DataExtent) -> Result<(), Refusal> {
        match self.gate.enter(extent, Access::Write) {
            Ok(boundary) => {
                self.look_and_write(extent, boundary);
                // Nothing may have moved while it was in.
                self.look_and_write(extent, boundary);
                self.drain.signal(self.gate.leave(extent));
                Ok(())
            }
            Err(refused) => {
                self.drain.signal(refused.wake);
                Err(refused.why)
            }
        }
    }

    /// A request that waits in the queue when it is refused.
    fn serve_or_queue(&self, extent: DataExtent) {
        while self.try_once(extent).is_err() {
            let mut queue = self.queue.lock().unwrap();
            if self.gate.still_closed(extent) {
                queue.push(extent);
                return;
            }
        }
    }

    /// What the sweep does with the queue after it opened a zone.
    fn restart_waiting(&self) {
        let waiting = std::mem::take(&mut *self.queue.lock().unwrap());
        for extent in waiting {
            self.serve_or_queue(extent);
        }
    }
}

/// Runs `sweep` on this thread against one thread for each request, all of which try once.
fn against<const SLOTS: usize>(requests: &[DataExtent], sweep: impl Fn(&Volume<SLOTS>)) {
    let volume = Volume::<SLOTS>::new();
    let threads: Vec<_> = requests
        .iter()
        .map(|&extent| {
            let volume = Arc::clone(&volume);
            thread::spawn(move || volume.try_once(extent).is_ok().then_some(extent))
        })
        .collect();
    sweep(&volume);
    for thread in threads {
        if let Some(admitted) = thread.join().unwrap() {
            volume.assert_written(admitted);
        }
    }
    // Whatever happened, the gate is open and empty again.
    assert!(!volume.gate.still_closed(buckets(0, 2)));
    assert!(volume.gate.is_drained(buckets(0, 2)));
}

#[test]
fn a_request_in_the_zone_sees_one_side_only() {
    model(2, || {
        against::<2>(&[buckets(0, 1)], |volume| {
            volume.close_and_drain(buckets(0, 1));
            volume.convert(0);
            volume.gate.open(buckets(0, 1));
        });
    });
}

#[test]
fn two_requests_one_of_them_across_the_boundary() {
    model(3, || {
        against::<2>(&[buckets(0, 2), buckets(0, 1)], |volume| {
            volume.close_and_drain(buckets(0, 1));
            volume.convert(0);
            volume.gate.open(buckets(0, 1));
        });
    });
}

#[test]
fn a_closed_zone_grows_by_its_neighbour() {
    model(2, || {
        against::<2>(&[buckets(0, 2)], |volume| {
            volume.close_and_drain(buckets(0, 1));
            volume.convert(0);
            volume.close_and_drain(buckets(1, 1));
            volume.gate.open(buckets(0, 1));
            volume.convert(1);
            volume.gate.open(buckets(1, 1));
        });
    });
}

#[test]
fn a_request_far_from_the_zone_is_not_disturbed() {
    model(2, || {
        against::<2>(&[buckets(1, 1)], |volume| {
            volume.close_and_drain(buckets(0, 1));
            volume.convert(0);
            volume.gate.open(buckets(0, 1));
            volume.close_and_drain(buckets(1, 1));
            volume.convert(1);
            volume.gate.open(buckets(1, 1));
        });
    });
}

/// Both zones share the only slot: opening the first must not let anybody into the second.
#[test]
fn zones_that_share_a_slot() {
    model(2, || {
        against::<1>(&[buckets(1, 1)], |volume| {
            volume.close_and_drain(buckets(0, 1));
            volume.convert(0);
            volume.close_and_drain(buckets(1, 1));
            volume.gate.open(buckets(0, 1));
            volume.convert(1);
            volume.gate.open(buckets(1, 1));
        });
    });
}

/// A zone whose contents are of neither side is fenced before it is opened: nobody gets to see it.
#[test]
fn a_fenced_zone_is_never_seen() {
    model(3, || {
        against::<2>(&[buckets(0, 1), buckets(1, 1)], |volume| {
            volume.close_and_drain(buckets(0, 1));
            volume.content[0].set(volume.content[0].get() | UNKNOWN);
            volume.gate.fence(buckets(0, 1), NtStatus::DEVICE_DATA_ERROR);
            volume.gate.open(buckets(0, 1));
            volume.close_and_drain(buckets(0, 1));
            volume.content[0].set(volume.content[0].get() & !UNKNOWN);
            volume.gate.unfence();
            volume.gate.open(buckets(0, 1));
        });
    });
}

#[test]
#[should_panic(expected = "is not what boundary")]
fn opening_without_the_fence_is_caught() {
    model(2, || {
        against::<2>(&[buckets(0, 1)], |volume| {
            volume.close_and_drain(buckets(0, 1));
            volume.content[0].set(volume.content[0].get() | UNKNOWN);
            volume.gate.open(buckets(0, 1));
        });
    });
}

/// The sweep converts bucket 0 and restarts the queue; one thread runs `request`. Nobody may be left in the queue.
fn with_queue(request: fn(&Volume<2>)) {
    let volume = Volume::<2>::new();
    let other = Arc::clone(&volume);
    let thread = thread::spawn(move || request(&other));
    volume.close_and_drain(buckets(0, 1));
    volume.convert(0);
    volume.gate.open(buckets(0, 1));
    volume.restart_waiting();
    thread.join().unwrap();
    assert!(volume.queue.lock().unwrap().is_empty(), "a request was left in the queue");
    volume.assert_written(buckets(0, 1));
}

#[test]
fn no_wake_up_is_lost() {
    model(2, || with_queue(|volume| volume.serve_or_queue(buckets(0, 1))));
}

#[test]
fn no_wake_up_is_lost_for_a_request_over_two_buckets() {
    model(2, || with_queue(|volume| volume.serve_or_queue(buckets(0, 2))));
}

#[test]
#[should_panic(expected = "a request was left in the queue")]
fn queueing_without_looking_again_is_caught() {
    model(2, || {
        with_queue(|volume| {
            if volume.try_once(buckets(0, 1)).is_err() {
                volume.queue.lock().unwrap().push(buckets(0, 1));
            }
        });
    });
}

#[test]
#[should_panic(expected = "a request was left in the queue")]
fn looking_again_before_the_lock_is_caught() {
    model(2, || {
        with_queue(|volume| {
            while volume.try_once(buckets(0, 1)).is_err() {
                if volume.gate.still_closed(buckets(0, 1)) {
                    volume.queue.lock().unwrap().push(buckets(0, 1));
                    return;
                }
            }
        });
    });
}

#[test]
#[should_panic(expected = "is not what boundary")]
fn a_boundary_read_before_admission_is_caught() {
    model(2, || {
        let volume = Volume::<2>::new();
        let other = Arc::clone(&volume);
        let thread = thread::spawn(move || {
            let too_early = other.gate.boundary();
            if other.gate.enter(buckets(0, 1), Access::Write).is_ok() {
                other.look_and_write(buckets(0, 1), too_early);
                other.drain.signal(other.gate.leave(buckets(0, 1)));
            }
        });
        volume.close_and_drain(buckets(0, 1));
        volume.convert(0);
        volume.gate.open(buckets(0, 1));
        thread.join().unwrap();
    });
}

#[test]
#[should_panic(expected = "is not what boundary")]
fn publishing_after_opening_is_caught() {
    model(2, || {
        against::<2>(&[buckets(0, 1)], |volume| {
            volume.close_and_drain(buckets(0, 1));
            volume.content[0].set(volume.content[0].get() | CIPHERTEXT);
            volume.gate.open(buckets(0, 1));
            volume.gate.publish(DataSector::new(BUCKET));
        });
    });
}

#[test]
#[should_panic(expected = "was lost")]
fn converting_without_draining_is_caught() {
    model(2, || {
        against::<2>(&[buckets(0, 1)], |volume| {
            volume.gate.close(buckets(0, 1)).unwrap();
            volume.convert(0);
            volume.gate.open(buckets(0, 1));
        });
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_departure_that_signals_nobody_is_caught() {
    model(2, || {
        let volume = Volume::<2>::new();
        let other = Arc::clone(&volume);
        let thread = thread::spawn(move || {
            if other.gate.enter(buckets(0, 1), Access::Write).is_ok() {
                let _not_signalled = other.gate.leave(buckets(0, 1));
            }
        });
        volume.close_and_drain(buckets(0, 1));
        thread.join().unwrap();
    });
}

/// A request that keeps one bucket while it waits for the other stops a zone that grows towards it for ever.
#[test]
#[should_panic(expected = "deadlock")]
fn waiting_while_holding_a_bucket_is_caught() {
    model(2, || {
        let volume = Volume::<2>::new();
        let other = Arc::clone(&volume);
        let thread = thread::spawn(move || {
            if other.gate.enter(buckets(0, 1), Access::Write).is_err() {
                return;
            }
            match other.gate.enter(buckets(1, 1), Access::Write) {
                Ok(_) => other.drain.signal(other.gate.leave(buckets(0, 2))),
                Err(refused) => {
                    other.drain.signal(refused.wake);
                    other.queue.lock().unwrap().push(buckets(0, 2));
                }
            }
        });
        volume.close_and_drain(buckets(1, 1));
        volume.close_and_drain(buckets(0, 1));
        volume.gate.open(buckets(1, 1));
        volume.gate.open(buckets(0, 1));
        volume.restart_waiting();
        thread.join().unwrap();
    });
}
