//! Failures at every call of a conversion. After each step that returns, whatever a user may reach must be right.
use std::string::String;
use std::{assert, assert_eq};

use vck_common::{DataSector, Lba, SectorSize};

use super::rig::Rig;
use super::world::{FAULT, Fault};
use crate::engine::{Command, ErrorKind, State, Step};

/// A volume of 24 sectors with the boundary where the direction starts.
fn rig(size: SectorSize, command: Command) -> Rig {
    let mut rig = Rig::bare(size, 24, 10);
    if command == Command::StartDecrypt {
        rig.command(Command::StartEncrypt).unwrap();
        rig.run();
    }
    rig
}

fn target(command: Command) -> u64 {
    if command == Command::StartDecrypt { 0 } else { 24 }
}

/// Calls of an undisturbed conversion after its START.
fn calls(size: SectorSize, command: Command) -> u32 {
    let mut rig = rig(size, command);
    rig.command(command).unwrap();
    rig.world.set_fault(Fault::None);
    assert_eq!(rig.run(), 0);
    rig.world.calls()
}

/// One conversion with the given calls failing; users write between the runs.
fn conversion(size: SectorSize, command: Command, from: u32, to: u32) -> State {
    let mut rig = rig(size, command);
    rig.command(command).unwrap();
    rig.world.set_fault(Fault::Calls { from, to });
    rig.run();
    let ended = rig.state();
    assert!(!rig.sweep.holds_zone());
    if ended == State::Faulted {
        let progress = rig.sweep.snapshot();
        assert_eq!((progress.state.wire_code(), progress.error.unwrap().status), (3, FAULT));
        let mut text = String::new();
        progress.error_text(&mut text).unwrap();
        assert!(text.starts_with("faulted: "), "{text}");
        for sector in 0..24 {
            rig.user_write(DataSector::new(sector), 0xC3);
        }
        rig.check();
        // The device recovers and somebody tries again.
        rig.world.set_fault(Fault::None);
        rig.command(command).unwrap();
        rig.check();
        assert_eq!(rig.run(), 0);
    }
    assert_eq!((rig.state(), rig.world.published().get()), (State::Idle, target(command)));
    assert_eq!(rig.sweep.fenced(), None);
    assert_eq!(rig.sweep.snapshot().error, None);
    ended
}

fn at_every_call(failures: u32, may_fault: bool) {
    for size in [SectorSize::S512, SectorSize::S4096] {
        for command in [Command::StartEncrypt, Command::StartDecrypt] {
            let calls = calls(size, command);
            assert_eq!(calls, 18, "three steps of read, write, flush, two blocks, flush");
            for from in 0..calls {
                let ended = conversion(size, command, from, from.saturating_add(failures));
                assert_eq!(ended == State::Faulted, may_fault, "{command:?}, call {from}");
            }
        }
    }
}

#[test]
fn one_failing_call_is_overcome() {
    at_every_call(1, false);
}

#[test]
fn a_burst_that_undoes_a_step_is_overcome() {
    at_every_call(3, false);
}

#[test]
fn a_device_that_fails_for_good_faults_the_sweep() {
    at_every_call(u32::MAX, true);
}

/// Bursts of every length: undone, overcome, fenced and healed, whatever comes.
#[test]
fn bursts_of_every_length_at_every_call() {
    let (mut overcome, mut faulted) = (0, 0);
    for from in 0..18 {
        for length in 2..16 {
            match conversion(SectorSize::S512, Command::StartEncrypt, from, from + length) {
                State::Faulted => faulted += 1,
                _ => overcome += 1,
            }
        }
    }
    assert!(overcome > 0 && faulted > 0);
}

#[test]
fn a_sector_that_cannot_be_read_is_named() {
    for (size, bad) in [(SectorSize::S512, 0), (SectorSize::S512, 13), (SectorSize::S4096, 23)] {
        for command in [Command::StartEncrypt, Command::StartDecrypt] {
            let mut rig = rig(size, command);
            rig.command(command).unwrap();
            let lba = rig.geometry.data_to_lba(DataSector::new(bad)).unwrap();
            rig.world.set_fault(Fault::ReadOf(lba));
            assert_eq!(rig.run(), faulting_pauses());
            let error = rig.sweep.snapshot().error.unwrap();
            assert_eq!(
                (rig.state(), error.kind, error.lba, error.status),
                (State::Faulted, ErrorKind::Read, lba, FAULT)
            );
            assert_eq!(rig.sweep.fenced(), None);
            rig.check_durable();
        }
    }
}

/// Pauses before a step that cannot begin is given up.
fn faulting_pauses() -> u32 {
    crate::engine::retry::STEP_TRIES - 1
}

#[test]
fn a_zone_that_takes_neither_side_is_fenced_alone_and_healed_by_a_start() {
    for command in [Command::StartEncrypt, Command::StartDecrypt] {
        let mut rig = rig(SectorSize::S512, command);
        rig.command(command).unwrap();
        let lba = rig.geometry.data_to_lba(DataSector::new(12)).unwrap();
        rig.world.set_fault(Fault::WriteOf(lba));
        rig.run();
        let fenced = rig.sweep.fenced().unwrap();
        assert!(fenced.contains(DataSector::new(12)));
        assert_eq!(rig.state(), State::Faulted);
        assert_eq!(rig.sweep.snapshot().error.unwrap().status, FAULT);
        // The rest of the volume lives on.
        for sector in 0..24 {
            rig.user_write(DataSector::new(sector), 0x3C);
        }
        rig.check();
        // As long as the device does not take it, a START fails and changes nothing.
        assert_eq!(rig.command(command).unwrap_err().status(), FAULT);
        assert_eq!((rig.state(), rig.sweep.fenced()), (State::Faulted, Some(fenced)));
        rig.world.set_fault(Fault::None);
        rig.command(command).unwrap();
        assert_eq!(rig.sweep.fenced(), None);
        rig.check();
        assert_eq!(rig.run(), 0);
        assert_eq!(rig.world.published().get(), target(command));
    }
}

/// The first replica takes new blocks, the second one none: the first is put back.
#[test]
fn a_replica_that_cannot_be_written_leaves_the_old_boundary_everywhere() {
    let mut rig = rig(SectorSize::S512, Command::StartEncrypt);
    rig.command(Command::StartEncrypt).unwrap();
    let footer = rig.geometry.metadata_lbas().last().unwrap();
    rig.world.set_fault(Fault::WriteOf(footer));
    rig.run();
    assert_eq!((rig.state(), rig.sweep.fenced()), (State::Faulted, None));
    assert_eq!(rig.sweep.snapshot().error.unwrap().kind, ErrorKind::Persist);
    assert_eq!(rig.world.published(), DataSector::ZERO);
    rig.check_durable();
}

/// A replica that does not take its old block back is no reason to leave the new one in the others.
#[test]
fn putting_back_does_not_stop_at_the_first_replica() {
    let mut rig = rig(SectorSize::S512, Command::StartEncrypt);
    rig.command(Command::StartEncrypt).unwrap();
    let before = rig.blocks();
    // Flush, both blocks, then the flush fails and so does the first block of the way back.
    rig.world.set_fault(Fault::Calls { from: 3, to: 5 });
    assert_eq!(rig.command(Command::StartDecrypt).unwrap_err().status(), FAULT);
    assert_ne!(rig.blocks()[0], before[0]);
    assert_eq!(rig.blocks()[1], before[1]);
    assert_eq!(rig.sweep.snapshot().error.map(|error| error.kind), Some(ErrorKind::Persist));
}

/// A commit that got half way, and then a zone that takes nothing: the blocks are put back beside the fence.
#[test]
fn a_fence_leaves_the_published_boundary_in_the_metadata() {
    let mut rig = rig(SectorSize::S512, Command::StartEncrypt);
    rig.command(Command::StartEncrypt).unwrap();
    let before = rig.blocks();
    // Read, write, flush, first block; then nothing works until the old contents were tried three times.
    rig.world.set_fault(Fault::Calls { from: 4, to: 10 });
    rig.run();
    assert!(rig.sweep.fenced().is_some());
    assert_eq!(rig.blocks(), before);
}

#[test]
fn a_flush_that_fails_faults_the_step() {
    let mut rig = rig(SectorSize::S512, Command::StartEncrypt);
    rig.command(Command::StartEncrypt).unwrap();
    rig.world.set_fault(Fault::Flushes(FAULT));
    rig.run();
    assert_eq!((rig.state(), rig.sweep.snapshot().error.unwrap().kind), (State::Faulted, ErrorKind::Flush));
    assert_eq!((rig.sweep.fenced(), rig.world.published()), (None, DataSector::ZERO));
    rig.check();
}

/// A device that names the sector is believed.
#[test]
fn errors_without_a_sector_name_the_zone() {
    let mut rig = rig(SectorSize::S512, Command::StartEncrypt);
    rig.command(Command::StartEncrypt).unwrap();
    rig.world.set_fault(Fault::WriteOf(Lba::new(rig.geometry.offset_sector().get() + 2)));
    rig.run();
    assert_eq!(rig.sweep.snapshot().error.unwrap().lba, rig.geometry.offset_sector());
}

/// A disk may keep a user's request for minutes. Nothing has failed at the conversion then.
#[test]
fn a_zone_that_others_keep_is_waited_for_however_long_it_takes() {
    for mut rig in [Rig::bare(SectorSize::S512, 24, 10), Rig::journaled(SectorSize::S512, 24, 10)] {
        rig.command(Command::StartEncrypt).unwrap();
        rig.world.set_busy(60);
        let mut waited = core::time::Duration::ZERO;
        for _ in 0..60 {
            let Step::RetryAfter(pause) = rig.step() else { std::panic!("it is tried again") };
            assert_eq!((rig.state(), rig.sweep.holds_zone()), (State::Encrypting, false));
            assert_eq!(rig.sweep.snapshot().error.map(|error| error.kind), Some(ErrorKind::Drain));
            waited += pause;
        }
        assert!((300..420).contains(&waited.as_secs()), "{waited:?}");
        assert_eq!(rig.run(), 0);
        assert_eq!((rig.state(), rig.sweep.snapshot().error), (State::Idle, None));
    }
}
