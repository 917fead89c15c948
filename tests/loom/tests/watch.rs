//! Models of what the range gate knows about writes and about single sectors: the watch over a zone, shielded sectors, and a fence
//! in a slot that has a shield.
use std::sync::Arc;

use loom::thread;
use vck_common::{DataExtent, DataSector, NtStatus, SectorCount, SectorSize};
use vck_loom_models::{Drain, Modelled, Plain, model};
use vck_windrv::sync::{Access, RangeGate, Refusal};

const FINE: u64 = 0;
const WRITTEN: u64 = 1;
/// Of neither side: nobody may get to see it.
const TORN: u64 = 2;

/// Two sectors of one slot, and what is durable of the first.
struct Volume {
    gate: RangeGate<Modelled, 1>,
    sectors: [Plain; 2],
    durable: Plain,
    drain: Drain,
}

fn sector(at: u64) -> DataExtent {
    DataExtent::new(DataSector::new(at), SectorCount::new(1))
}

impl Volume {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            gate: RangeGate::new(SectorSize::S512, DataSector::ZERO).expect("memory"),
            sectors: [Plain::new(FINE), Plain::new(FINE)],
            durable: Plain::new(FINE),
            drain: Drain::new(),
        })
    }

    /// The first sector is torn, and shielded.
    fn shielded() -> Arc<Self> {
        let volume = Self::new();
        volume.sectors[0].set(TORN);
        assert!(volume.gate.shield(DataSector::ZERO));
        volume
    }

    fn close_and_drain(&self, zone: DataExtent) {
        self.drain.close(&self.gate, zone);
    }

    /// A request to sector `at`; `body` is what it does when it is admitted.
    fn request(&self, at: u64, access: Access, body: impl FnOnce(&Plain)) -> Result<(), Refusal> {
        match self.gate.enter(sector(at), access) {
            Ok(_) => {
                body(&self.sectors[usize::try_from(at).unwrap()]);
                self.drain.signal(self.gate.leave(sector(at)));
                Ok(())
            }
            Err(refused) => {
                self.drain.signal(refused.wake);
                Err(refused.why)
            }
        }
    }

    fn read(&self, at: u64) -> Result<(), Refusal> {
        self.request(at, Access::Read, |content| assert_ne!(content.get(), TORN, "sector {at} was read while torn"))
    }

    /// A write that succeeds.
    fn write(&self, at: u64) -> Result<(), Refusal> {
        self.request(at, Access::Write, |content| {
            content.set(WRITTEN);
            let _ = self.gate.heal(sector(at));
        })
    }

    /// Makes durable what has arrived.
    fn flush(&self) {
        self.durable.set(self.sectors[0].get());
    }
}

/// One thread runs `other` while this one runs `sweep`.
fn beside(volume: &Arc<Volume>, other: fn(&Volume) -> Result<(), Refusal>, sweep: impl FnOnce(&Volume)) {
    let theirs = Arc::clone(volume);
    let thread = thread::spawn(move || other(&theirs));
    sweep(volume);
    let _refused_or_not = thread.join().unwrap();
}

/// Watch, flush, close, drain: if the watch says that nobody wrote, what is in the zone is durable.
fn settle(volume: &Volume) {
    let watch = volume.gate.writes(sector(0));
    volume.flush();
    volume.close_and_drain(sector(0));
    if watch.is_some() && watch == volume.gate.writes(sector(0)) {
        assert_eq!(volume.durable.get(), volume.sectors[0].get(), "a write that is not durable was not noticed");
    }
    volume.gate.open(sector(0));
}

#[test]
fn a_write_that_no_flush_covers_is_noticed() {
    model(2, || beside(&Volume::new(), |volume| volume.write(0), settle));
}

#[test]
#[should_panic(expected = "was not noticed")]
fn a_write_that_says_it_reads_is_caught() {
    model(2, || {
        let write = |volume: &Volume| volume.request(0, Access::Read, |content| content.set(WRITTEN));
        beside(&Volume::new(), write, settle);
    });
}

#[test]
#[should_panic(expected = "was not noticed")]
fn a_watch_that_begins_after_the_flush_is_caught() {
    model(2, || {
        beside(
            &Volume::new(),
            |volume| volume.write(0),
            |volume| {
                volume.flush();
                let watch = volume.gate.writes(sector(0));
                volume.close_and_drain(sector(0));
                if watch.is_some() && watch == volume.gate.writes(sector(0)) {
                    assert_eq!(
                        volume.durable.get(),
                        volume.sectors[0].get(),
                        "a write that is not durable was not noticed"
                    );
                }
                volume.gate.open(sector(0));
            },
        );
    });
}

#[test]
fn a_shielded_sector_is_read_only_after_it_was_written() {
    model(2, || {
        let volume = Volume::shielded();
        beside(&volume, |volume| volume.read(0), |volume| volume.write(0).expect("nothing is closed"));
        assert!(!volume.gate.is_shielded(DataSector::ZERO));
        assert_eq!(volume.read(0), Ok(()));
    });
}

#[test]
#[should_panic(expected = "was read while torn")]
fn healing_before_the_write_is_caught() {
    model(2, || {
        beside(
            &Volume::shielded(),
            |volume| volume.read(0),
            |volume| {
                let done = volume.request(0, Access::Write, |content| {
                    let _ = volume.gate.heal(sector(0));
                    content.set(WRITTEN);
                });
                done.expect("nothing is closed");
            },
        );
    });
}

/// A sector that the sweep finds torn is shielded before anybody sees it, also while another one is healed.
#[test]
fn shielding_and_healing_do_not_meet() {
    model(3, || {
        let volume = Volume::shielded();
        let [healer, reader] = [(); 2].map(|()| Arc::clone(&volume));
        let threads = [thread::spawn(move || healer.write(0)), thread::spawn(move || reader.read(1))];
        volume.close_and_drain(sector(1));
        volume.sectors[1].set(TORN);
        // The table has room for one sector alone: it is full unless the other one was healed.
        let shielded = volume.gate.shield(DataSector::new(1));
        if !shielded {
            volume.sectors[1].set(FINE);
        }
        volume.gate.open(sector(1));
        for thread in threads {
            let _refused_or_not = thread.join().unwrap();
        }
        assert_eq!(volume.gate.is_shielded(DataSector::new(1)), shielded, "a heal took out another sector");
    });
}

#[test]
#[should_panic(expected = "was read while torn")]
fn opening_without_the_shield_is_caught() {
    model(2, || {
        beside(
            &Volume::new(),
            |volume| volume.read(1),
            |volume| {
                volume.close_and_drain(sector(1));
                volume.sectors[1].set(TORN);
                volume.gate.open(sector(1));
            },
        );
    });
}

/// Requests to a slot that is marked for a shield look at the fence while it comes and goes: it does not concern them.
#[test]
fn a_fence_concerns_its_own_sectors_alone() {
    model(2, || {
        let volume = Volume::shielded();
        volume.gate.close(sector(1)).unwrap();
        volume.gate.fence(sector(1), NtStatus::IO_DEVICE_ERROR);
        volume.gate.open(sector(1));
        let other = |volume: &Volume| {
            let refused = volume.read(0).unwrap_err();
            let shielded = Refusal::Fenced(NtStatus::DEVICE_DATA_ERROR);
            assert!(matches!(refused, Refusal::Closed) || refused == shielded, "{refused:?}");
            Err(refused)
        };
        beside(&volume, other, |volume| {
            volume.close_and_drain(sector(1));
            volume.gate.unfence();
            volume.gate.open(sector(1));
        });
        assert_eq!(volume.read(1), Ok(()));
        assert!(volume.read(0).is_err(), "the shield stays");
    });
}
