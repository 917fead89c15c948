//! Conversion with a journal: orders, failures, pauses, power cuts.
use core::time::Duration;
use std::string::String;
use std::vec::Vec;
use std::{assert, assert_eq, vec};

use vck_common::{Activity, DataExtent, DataSector, SectorCount, SectorSize, VckError, VolumeState};

use super::rig::{Rig, policy};
use super::world::{Event, FAULT, Fault};
use crate::engine::{BadSectors, Command, ConversionPolicy, ErrorKind, Foreground, Pace, State, Step};

/// An event of the log without its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Did {
    Hold,
    LetGo,
    Close,
    Read,
    Record,
    Data,
    Blocks,
    Flush,
    Publish,
    Open,
}

use Did::{Blocks, Close, Data, Flush, Open, Publish, Read, Record};

/// What happened since the last time; a run over the replicas counts once.
pub(super) fn did(rig: &Rig) -> Vec<Did> {
    let mut all: Vec<Did> = Vec::new();
    for event in rig.world.take_log() {
        let kind = match event {
            Event::Hold => Did::Hold,
            Event::LetGo => Did::LetGo,
            Event::Close(_) => Close,
            Event::Publish(_) => Publish,
            Event::Open(_) => Open,
            Event::Read(..) => Read,
            Event::Flush => Flush,
            Event::Write(lba, _) if rig.geometry.lba_to_data(lba).is_some() => Data,
            Event::Write(lba, _) if rig.geometry.metadata_lbas().any(|block| block == lba) => Blocks,
            Event::Write(..) => Record,
            other => std::panic!("{other:?}"),
        };
        if !(matches!(kind, Record | Blocks) && all.last() == Some(&kind)) {
            all.push(kind);
        }
    }
    all
}

pub(super) fn rig(command: Command) -> Rig {
    let mut rig = Rig::journaled(SectorSize::S512, 24, 10);
    if command == Command::StartDecrypt {
        rig.command(Command::StartEncrypt).unwrap();
        rig.run();
        assert_eq!(rig.state(), State::Idle);
    }
    rig
}

pub(super) fn target(command: Command) -> u64 {
    if command == Command::StartDecrypt { 0 } else { 24 }
}

pub(super) const BOTH: [Command; 2] = [Command::StartEncrypt, Command::StartDecrypt];

#[test]
fn a_step_costs_two_flushes_and_blocks_follow_their_record() {
    for command in BOTH {
        let mut rig = rig(command);
        rig.world.take_log();
        rig.command(command).unwrap();
        // The first flush of an entry settles what was read at open.
        let start = did(&rig);
        assert_eq!(start.iter().filter(|did| **did == Record).count(), 2, "both places: {start:?}");
        assert!(start.ends_with(&[Record, Flush]) && !start.contains(&Blocks), "{start:?}");

        assert_eq!(rig.step(), Step::Worked);
        let first = [Flush, Read, Close, Blocks, Record, Flush, Data, Read, Flush, Close, Record, Flush, Publish, Open];
        assert_eq!(did(&rig), first, "nobody watched the first zone");
        assert!(rig.sweep.holds_zone(), "the next zone is closed and protected");
        rig.check_durable();
        rig.world.take_log();
        for _ in 0..2 {
            assert_eq!(rig.step(), Step::Worked);
            assert_eq!(did(&rig), [Data, Blocks, Read, Flush, Close, Record, Flush, Publish, Open]);
        }
        assert_eq!(rig.step(), Step::Worked);
        let last = [Data, Blocks, Flush, Record, Flush, Publish, Open, Blocks, Flush];
        assert_eq!(did(&rig), last, "at the end the blocks catch up");
        assert_eq!((rig.state(), rig.step()), (State::Idle, Step::Idle));
        assert_eq!(rig.blocks_say().0.get(), target(command));
        assert_eq!(did(&rig), []);
    }
}

/// An entry must not be able to survive with digests of a write that does not.
#[test]
fn a_zone_that_was_written_to_is_flushed_before_it_is_read() {
    let mut rig = rig(Command::StartEncrypt);
    rig.command(Command::StartEncrypt).unwrap();
    assert_eq!(rig.step(), Step::Worked);
    rig.world.take_log();
    rig.sweep_settle();
    assert!(!rig.sweep.holds_zone());
    rig.world.take_log();
    rig.user_write(DataSector::new(12), 0xEE);
    rig.command(Command::Resume).unwrap();
    rig.world.take_log();
    assert_eq!(rig.step(), Step::Worked);
    assert!(did(&rig).starts_with(&[Read, Close, Flush, Read, Record, Flush, Data]), "read ahead, in vain");
    rig.check();
}

/// What was read while the gate was open counts if nobody wrote to it since it is watched.
#[test]
fn a_zone_that_is_watched_is_read_before_it_is_closed() {
    for command in BOTH {
        let mut rig = rig(command);
        rig.command(command).unwrap();
        assert_eq!(rig.step(), Step::Worked);
        rig.sweep_settle();
        rig.world.take_log();
        rig.command(Command::Resume).unwrap();
        assert_eq!(rig.step(), Step::Worked);
        assert!(did(&rig).starts_with(&[Read, Close, Record, Flush, Data]));
        rig.check_durable();
    }
}

/// Nothing is read or flushed in vain.
#[test]
fn a_zone_that_cannot_be_watched_is_read_when_it_is_closed() {
    let mut rig = rig(Command::StartEncrypt);
    rig.world.crowd();
    rig.command(Command::StartEncrypt).unwrap();
    rig.world.take_log();
    assert_eq!(rig.step(), Step::Worked);
    assert!(did(&rig).starts_with(&[Close, Flush, Read, Blocks, Record, Flush, Data]));
    rig.check_durable();
}

/// Goes on to the end while somebody writes once to `sector`, after so many calls of the device; what the volume then holds
/// must be what was written. Whether the write came in time.
pub(super) fn with_interloper(rig: &mut Rig, calls: u32, sector: DataSector) -> bool {
    rig.expect_interloper(calls, sector, 0x77);
    let mut written = false;
    while rig.state() != State::Idle {
        let step = rig.step();
        written = written || rig.believe_interloper(sector, 0x77);
        rig.check();
        if matches!(step, Step::Worked | Step::Rest(_)) {
            // What nobody flushed need not be there.
            rig.flush();
            rig.check_durable();
        }
    }
    written
}

/// Both paces: with the next zone closed before this one is open, and one by one.
fn both_paces() -> [ConversionPolicy; 2] {
    let policy = ConversionPolicy { bad_sectors: BadSectors::Skip, ..policy(SectorSize::S512, 10) };
    [policy, ConversionPolicy { pace: Pace::Background, ..policy }]
}

#[test]
fn what_is_written_while_a_zone_is_read_ahead_is_not_lost() {
    let mut written = 0;
    for (command, policy) in BOTH.into_iter().flat_map(|command| both_paces().map(|policy| (command, policy))) {
        for (calls, sector) in (1..24).flat_map(|calls| [3, 12, 22].map(|sector| (calls, sector))) {
            let mut rig = Rig::with(SectorSize::S512, 24, policy, true);
            if command == Command::StartDecrypt {
                rig.command(Command::StartEncrypt).unwrap();
                rig.run();
            }
            rig.command(command).unwrap();
            written += u32::from(with_interloper(&mut rig, calls, DataSector::new(sector)));
        }
    }
    assert!(written > 200, "{written}");
}

/// A damaged sector is left out when a zone is read. If it was healed before, but after the list was last looked at, what was read
/// ahead is not the whole zone.
#[test]
fn a_sector_that_heals_before_its_zone_is_read_ahead_is_converted() {
    let sector = DataSector::new(13);
    let mut written = 0;
    for (policy, calls) in both_paces().into_iter().flat_map(|policy| (1..24).map(move |calls| (policy, calls))) {
        let mut rig = Rig::with(SectorSize::S512, 24, policy, true);
        rig.command(Command::StartEncrypt).unwrap();
        rig.world.set_fault(Fault::ReadOf(rig.geometry.data_to_lba(sector).unwrap()));
        while rig.state() != State::Idle {
            let _ = rig.step();
        }
        assert_eq!(rig.sweep.damaged().len(), 1);
        let mut text = String::new();
        rig.sweep.snapshot().error_text(&mut text).unwrap();
        assert!(text.starts_with("damaged sectors: 1, the first is data sector 13;"), "{text}");
        rig.world.set_fault(Fault::None);
        rig.command(Command::StartDecrypt).unwrap();
        let healed = with_interloper(&mut rig, calls, sector);
        written += u32::from(healed);
        assert_eq!((rig.sweep.damaged().is_empty(), rig.world.published()), (healed, DataSector::ZERO));
    }
    assert!(written > 30, "{written}");
}

#[test]
fn every_batch_converts_there_and_back_and_every_cut_recovers() {
    for size in [SectorSize::S512, SectorSize::S4096] {
        for batch in [1, 7, 24] {
            let mut rig = Rig::journaled(size, 24, batch);
            rig.world.cut_everywhere();
            rig.command(Command::StartEncrypt).unwrap();
            assert_eq!(rig.run(), 0);
            assert_eq!(rig.world.published().get(), 24);
            rig.command(Command::StartDecrypt).unwrap();
            assert_eq!(rig.run(), 0);
            assert_eq!(rig.data_region(), rig.plaintext);
            let cuts = rig.world.take_cuts();
            assert!(cuts.len() > 100);
            for image in cuts {
                let after = rig.reboot(image).unwrap();
                assert!(after.sweep.damaged().is_empty());
                after.check();
            }
        }
    }
}

/// Recovery itself is cut, and what that leaves recovers.
#[test]
fn recovery_may_be_cut_anywhere() {
    for command in BOTH {
        let mut rig = rig(command);
        rig.command(command).unwrap();
        rig.world.cut_everywhere();
        assert_eq!(rig.step(), Step::Worked);
        let mut second = 0;
        for image in rig.world.take_cuts() {
            let world = super::world::World::new(SectorSize::S512, image);
            world.cut_everywhere();
            rig.reboot_on(&world).unwrap().check();
            for image in world.take_cuts() {
                second += 1;
                rig.reboot(image).unwrap().check();
            }
        }
        assert!(second > 100, "{second}");
    }
}

pub(super) fn calls(command: Command) -> u32 {
    let mut rig = rig(command);
    rig.command(command).unwrap();
    rig.world.set_fault(Fault::None);
    assert_eq!(rig.run(), 0);
    rig.world.calls()
}

/// One conversion with the given calls failing; every cut on the way recovers; users write when it has stopped.
fn conversion(command: Command, from: u32, to: u32) -> State {
    let mut rig = rig(command);
    rig.command(command).unwrap();
    rig.world.set_fault(Fault::Calls { from, to });
    rig.run();
    rig.check_durable();
    let ended = rig.state();
    assert!(!rig.sweep.holds_zone());
    if ended == State::Faulted {
        let mut text = String::new();
        let progress = rig.sweep.snapshot();
        progress.error_text(&mut text).unwrap();
        assert!(text.starts_with("faulted: ") && progress.error.unwrap().status == FAULT, "{text}");
        for sector in 0..24 {
            rig.user_write(DataSector::new(sector), 0xC3);
        }
        rig.check();
        rig.world.set_fault(Fault::None);
        rig.flush();
        rig.check_durable();
        rig.command(command).unwrap();
        rig.check();
        assert_eq!(rig.run(), 0);
    }
    assert_eq!((rig.state(), rig.world.published().get()), (State::Idle, target(command)));
    assert_eq!((rig.sweep.fenced(), rig.sweep.snapshot().error), (None, None));
    assert_eq!(rig.blocks_say().0.get(), target(command));
    ended
}

#[test]
fn bursts_of_every_length_at_every_call() {
    for command in BOTH {
        let (mut overcome, mut faulted) = (0, 0);
        for from in 0..calls(command) {
            for length in [1, 2, 3, 4, 5, 7, 9, 12, 15, 20, 1000] {
                match conversion(command, from, from.saturating_add(length)) {
                    State::Faulted => faulted += 1,
                    _ => overcome += 1,
                }
            }
            assert_eq!(conversion(command, from, from + 1), State::Idle, "one failure, call {from}");
        }
        assert!(overcome > 0 && faulted > 0);
    }
}

/// Failures and power cuts together: what is on the disk is true at every moment of every way out.
#[test]
fn cuts_on_the_way_out_of_every_failure_recover() {
    for command in BOTH {
        // Three tries of one stage fail, two stages, all of a step: by turns.
        for ((from, length), third) in
            (0..calls(command)).zip([3, 7, 12].into_iter().cycle()).zip([0, 1, 2, 1].into_iter().cycle())
        {
            let mut rig = rig(command);
            rig.command(command).unwrap();
            rig.world.cut_everywhere();
            rig.world.set_fault(Fault::Calls { from, to: from + length });
            rig.run();
            // A third of the cuts; neighbouring failures have most in common.
            for image in rig.world.take_cuts().into_iter().skip(third).step_by(3) {
                rig.reboot(image).unwrap().check();
            }
        }
    }
}

#[test]
fn a_pause_survives_a_reboot_and_a_suspension_does_not() {
    let mut rig = rig(Command::StartEncrypt);
    rig.command(Command::StartEncrypt).unwrap();
    assert_eq!(rig.step(), Step::Worked);
    rig.command(Command::Suspend).unwrap();
    assert_eq!(rig.state(), State::Paused);
    assert_eq!(rig.blocks_say().0, rig.world.published(), "the blocks are right after a clean stop");
    let again = rig.reboot(rig.world.durable_image()).unwrap();
    assert_eq!((again.activity, again.state()), (Activity::Running, State::Idle));

    rig.command(Command::Pause).unwrap();
    let mut again = rig.reboot(rig.world.durable_image()).unwrap();
    assert_eq!((again.activity, again.state()), (Activity::Paused, State::Paused));
    assert_eq!(again.step(), Step::Idle);
    again.command(Command::StartDecrypt).unwrap();
    assert_eq!(again.state(), State::Decrypting);
    let mut again = again.reboot(again.world.durable_image()).unwrap();
    assert_eq!(again.activity, Activity::Running);
    again.command(Command::Resume).unwrap();
    assert_eq!((again.run(), again.world.published().get()), (0, 0));
    assert_eq!(again.reboot(again.world.durable_image()).unwrap().activity, Activity::Idle);
}

#[test]
fn a_pause_that_cannot_be_persisted_fails_and_the_conversion_runs_on() {
    let mut rig = rig(Command::StartEncrypt);
    rig.command(Command::StartEncrypt).unwrap();
    assert_eq!(rig.step(), Step::Worked);
    rig.sweep_settle();
    rig.world.set_fault(Fault::Calls { from: 0, to: 1000 });
    assert_eq!(rig.command(Command::Pause).unwrap_err().status(), FAULT);
    assert_eq!(rig.state(), State::Encrypting);
    rig.world.set_fault(Fault::None);
    rig.run();
    assert_eq!(rig.state(), State::Idle);
}

#[test]
fn a_fault_is_read_back_with_its_error() {
    let mut rig = rig(Command::StartEncrypt);
    rig.command(Command::StartEncrypt).unwrap();
    let lba = rig.geometry.data_to_lba(DataSector::new(13)).unwrap();
    rig.world.set_fault(Fault::ReadOf(lba));
    rig.run();
    assert_eq!(rig.state(), State::Faulted);
    let again = rig.reboot(rig.world.durable_image()).unwrap();
    let error = again.sweep.snapshot().error.unwrap();
    assert_eq!((again.state(), error.kind, error.lba, error.status), (State::Faulted, ErrorKind::Read, lba, FAULT));
    assert_eq!(Some(error), rig.sweep.snapshot().error);
}

#[test]
fn without_a_journal_a_conversion_needs_the_providers_word() {
    let careful = ConversionPolicy { accept_no_journal: false, ..policy(SectorSize::S512, 10) };
    let mut rig = Rig::with(SectorSize::S512, 24, careful, false);
    for command in [Command::StartEncrypt, Command::StartDecrypt, Command::Resume] {
        assert!(matches!(rig.command(command), Err(VckError::Unsupported(_))));
    }
    assert_eq!((rig.state(), did(&rig)), (State::Idle, vec![]));
    assert!(Rig::with(SectorSize::S512, 24, careful, true).command(Command::StartEncrypt).is_ok());
}

#[test]
fn sectors_that_cannot_be_read_are_skipped_where_the_policy_says_so() {
    for command in BOTH {
        let skip = ConversionPolicy { bad_sectors: BadSectors::Skip, ..policy(SectorSize::S512, 10) };
        let mut rig = Rig::with(SectorSize::S512, 24, skip, true);
        if command == Command::StartDecrypt {
            rig.command(Command::StartEncrypt).unwrap();
            rig.run();
        }
        let sector = DataSector::new(13);
        let lba = rig.geometry.data_to_lba(sector).unwrap();
        rig.command(command).unwrap();
        rig.world.set_fault(Fault::ReadOf(lba));
        while rig.state() != State::Idle {
            let _ = rig.step();
            rig.check();
        }
        assert_eq!(rig.world.published().get(), target(command));
        assert_eq!(rig.sweep.damaged().iter().map(|damaged| damaged.sector).collect::<Vec<_>>(), [sector]);
        assert_eq!(rig.world.shields(), [sector]);
        // It is remembered.
        rig.world.set_fault(Fault::None);
        let again = rig.reboot(rig.world.durable_image()).unwrap();
        assert_eq!(again.sweep.damaged(), rig.sweep.damaged());
        again.check();
        // A write heals it, and the record is told although nothing converts.
        rig.user_write(sector, 0x77);
        assert_eq!(rig.step(), Step::Idle);
        assert_eq!(rig.sweep.damaged(), []);
        rig.check_durable();
    }
}

#[test]
fn a_sweep_that_yields_holds_nothing_while_it_rests() {
    let balanced = ConversionPolicy { pace: Pace::Balanced, ..policy(SectorSize::S512, 10) };
    let mut rig = Rig::with(SectorSize::S512, 24, balanced, true);
    rig.world.set_foreground(Foreground { completed: 5, outstanding: 1, mean_latency: Duration::from_micros(80) });
    rig.command(Command::StartEncrypt).unwrap();
    assert!(matches!(rig.step(), Step::Rest(_)));
    assert!(!rig.sweep.holds_zone());
    rig.check_durable();
    rig.world.set_foreground(Foreground::default());
    let mut rested = Duration::ZERO;
    let last = loop {
        match rig.step() {
            Step::Rest(rest) => rested += rest,
            step => break step,
        }
    };
    assert_eq!(last, Step::Worked);
    assert!(rested < Duration::from_millis(50), "the rest ends when nobody is there: {rested:?}");
    assert!(rig.sweep.holds_zone(), "nobody is there: steps are merged");
    rig.check_durable();
}

/// A fence covers what an entry may name whose digests a write would make untrue: here both zones.
#[test]
fn a_commit_that_fails_for_good_fences_both_zones_and_a_start_heals_them() {
    let mut rig = rig(Command::StartEncrypt);
    rig.command(Command::StartEncrypt).unwrap();
    rig.world.set_fault(Fault::None);
    // Flush, read, both records, flush, data, both blocks, flush, read: then nothing works.
    rig.world.set_fault(Fault::Calls { from: 10, to: 100 });
    rig.run();
    let both = DataExtent::new(DataSector::ZERO, SectorCount::new(11));
    assert_eq!((rig.state(), rig.sweep.fenced()), (State::Faulted, Some(both)));
    rig.check();
    rig.check_durable();
    rig.world.set_fault(Fault::None);
    rig.command(Command::StartDecrypt).unwrap();
    assert_eq!((rig.state(), rig.sweep.fenced()), (State::Idle, None));
    assert_eq!(rig.data_region(), rig.plaintext);
    assert_eq!(rig.blocks_say().1, VolumeState::Encrypt, "blocks follow");
    assert_eq!(rig.step(), Step::Idle);
    assert_eq!(rig.blocks_say().1, VolumeState::Decrypt);
}

/// While sector 0 is plaintext somebody may mount what is there and write to it, before the volume is attached again. A
/// zone that an entry names must not be what is written to then.
#[test]
fn sector_0_is_a_step_of_its_own() {
    for command in BOTH {
        let mut rig = rig(command);
        rig.command(command).unwrap();
        rig.world.take_log();
        let mut alone = 0;
        while rig.state() != State::Idle {
            let _ = rig.step();
            for event in rig.world.take_log() {
                if let Event::Close(zone) = event {
                    assert!(zone.first > DataSector::ZERO || zone.count == SectorCount::new(1), "{zone:?}");
                    alone += u32::from(zone.first == DataSector::ZERO);
                }
            }
        }
        assert_eq!(alone, 1);
    }
}

/// A device may drop what it was to make durable when a flush fails.
#[test]
fn a_flush_that_fails_on_the_way_back_brings_the_old_side_back_once_more() {
    let mut rig = rig(Command::StartEncrypt);
    rig.command(Command::StartEncrypt).unwrap();
    assert_eq!(rig.step(), Step::Worked);
    // Three attempts to write the zone fail and the old side is written; then the flush fails.
    rig.world.take_log();
    rig.world.set_fault(Fault::Calls { from: 0, to: 3 });
    for _ in 0..2 {
        assert!(matches!(rig.step(), Step::RetryAfter(_)));
    }
    // This attempt to write fails too; then the old side is written, and the next call is the flush.
    rig.world.set_fault(Fault::Two { first: 0, second: 2 });
    assert!(matches!(rig.step(), Step::RetryAfter(_)));
    assert_eq!(did(&rig).into_iter().filter(|did| *did == Data).count(), 4);
    assert!(matches!(rig.step(), Step::RetryAfter(_)));
    assert_eq!(did(&rig), [Data, Flush, Record, Flush, Open], "the old side again, before its flush");
    rig.check();
    rig.run();
    assert_eq!(rig.state(), State::Idle);
}

/// The sector could not be read, and a user wrote it before it was listed: it is whole.
#[test]
fn a_sector_that_can_be_read_after_all_is_not_skipped() {
    let skip = ConversionPolicy { bad_sectors: BadSectors::Skip, ..policy(SectorSize::S512, 10) };
    let mut rig = Rig::with(SectorSize::S512, 24, skip, true);
    let lba = rig.geometry.data_to_lba(DataSector::new(13)).unwrap();
    rig.command(Command::StartEncrypt).unwrap();
    rig.world.set_fault(Fault::ReadsOf { lba, times: 9 });
    while rig.state() != State::Idle {
        let _ = rig.step();
        rig.check();
    }
    assert_eq!(rig.sweep.damaged(), []);
}

#[test]
fn a_sector_that_was_healed_is_off_the_list_after_a_clean_stop_in_every_state() {
    let skip = ConversionPolicy { bad_sectors: BadSectors::Skip, ..policy(SectorSize::S512, 10) };
    let mut rig = Rig::with(SectorSize::S512, 24, skip, true);
    let sector = DataSector::new(13);
    let lba = rig.geometry.data_to_lba(sector).unwrap();
    rig.command(Command::StartEncrypt).unwrap();
    rig.world.set_fault(Fault::ReadOf(lba));
    while rig.world.published() < DataSector::new(20) {
        let _ = rig.step();
    }
    rig.command(Command::Suspend).unwrap();
    rig.world.set_fault(Fault::None);
    rig.user_write(sector, 0x51);
    rig.sweep_settle();
    let again = rig.reboot(rig.world.durable_image()).unwrap();
    assert!(again.sweep.damaged().is_empty());
    again.check();
}
