//! What each command does in each state, and what it refuses.
use std::string::{String, ToString};
use std::{assert, assert_eq, vec};

use vck_common::{ByteLen, DataSector, NtStatus, SectorSize, VolumeState};

use super::rig::{Rig, policy};
use super::world::{Event, FAULT, Fault};
use crate::engine::{Command, ConversionPolicy, State, Step};

fn rig() -> Rig {
    Rig::bare(SectorSize::S512, 24, 10)
}

fn error_text(rig: &Rig) -> String {
    let mut text = String::new();
    rig.sweep.snapshot().error_text(&mut text).unwrap();
    text
}

#[test]
fn every_batch_size_converts_there_and_back() {
    for size in [SectorSize::S512, SectorSize::S4096] {
        for batch in [1, 7, 12, 24, 1000] {
            let mut rig = Rig::bare(size, 24, batch);
            rig.command(Command::StartEncrypt).unwrap();
            assert_eq!(rig.run(), 0);
            assert_eq!(rig.durable(), (DataSector::new(24), VolumeState::Encrypt));
            assert_ne!(rig.data_region(), rig.plaintext);
            rig.command(Command::StartDecrypt).unwrap();
            assert_eq!(rig.run(), 0);
            assert_eq!(rig.durable(), (DataSector::ZERO, VolumeState::Decrypt));
            assert_eq!(rig.data_region(), rig.plaintext);
        }
    }
}

/// A batch of less than a sector is one sector.
#[test]
fn the_smallest_batch() {
    let size = SectorSize::S512;
    let small = ConversionPolicy { smallest_step: ByteLen::new(1), largest_step: ByteLen::new(1), ..policy(size, 1) };
    let mut rig = Rig::with(size, 24, small, false);
    rig.command(Command::StartEncrypt).unwrap();
    assert_eq!(rig.step(), Step::Worked);
    assert_eq!(rig.world.published(), DataSector::new(1));
}

#[test]
fn a_direction_may_change_midway_while_users_write() {
    let mut rig = rig();
    let mut value = 0;
    for (command, boundary) in [
        (Command::StartEncrypt, 10),
        (Command::StartEncrypt, 20),
        (Command::StartDecrypt, 10),
        (Command::StartEncrypt, 20),
        (Command::StartEncrypt, 24),
        (Command::StartDecrypt, 14),
        (Command::StartDecrypt, 4),
        (Command::StartDecrypt, 0),
    ] {
        rig.command(command).unwrap();
        assert_eq!(rig.step(), Step::Worked);
        assert_eq!(rig.world.published().get(), boundary);
        for sector in [0, 4, 9, 10, 14, 20, 23] {
            value += 1;
            rig.user_write(DataSector::new(sector), value);
        }
        rig.check();
    }
    assert_eq!(rig.state(), State::Idle);
    assert_eq!(rig.data_region(), rig.plaintext);
}

#[test]
fn pause_stops_what_runs_and_nothing_else() {
    let mut rig = rig();
    rig.command(Command::Pause).unwrap();
    assert_eq!(rig.state(), State::Idle);
    rig.command(Command::StartEncrypt).unwrap();
    assert_eq!(rig.step(), Step::Worked);
    rig.world.take_log();
    rig.command(Command::Pause).unwrap();
    assert_eq!(rig.state(), State::Paused);
    assert_eq!(rig.step(), Step::Idle);
    assert_eq!(rig.world.take_log(), vec![], "a pause persists nothing");
    assert!(error_text(&rig).starts_with("paused:"));
    assert_eq!(rig.sweep.snapshot().state.wire_code(), 3);
    rig.command(Command::Resume).unwrap();
    assert_eq!(rig.state(), State::Encrypting);
    assert_eq!(error_text(&rig), "");
}

#[test]
fn a_start_whose_direction_cannot_be_persisted_changes_nothing() {
    for failing in 0..4 {
        let mut rig = rig();
        rig.command(Command::StartEncrypt).unwrap();
        assert_eq!(rig.step(), Step::Worked);
        let before = rig.sweep.snapshot();
        // Flush, header block, footer block, flush.
        rig.world.set_fault(Fault::Calls { from: failing, to: failing + 1 });
        assert_eq!(rig.command(Command::StartDecrypt).unwrap_err().status(), FAULT);
        assert_eq!(rig.sweep.snapshot(), before);
        assert_eq!(rig.durable(), (DataSector::new(10), VolumeState::Encrypt), "call {failing}");
        rig.run();
        assert_eq!(rig.durable(), (DataSector::new(24), VolumeState::Encrypt));
    }
}

#[test]
fn a_device_without_flush_is_refused_unless_accepted() {
    for status in [NtStatus::NOT_SUPPORTED, NtStatus::INVALID_DEVICE_REQUEST, NtStatus::NOT_IMPLEMENTED] {
        let mut rig = rig();
        rig.world.set_fault(Fault::Flushes(status));
        assert_eq!(rig.command(Command::StartEncrypt).unwrap_err().status(), status);
        assert_eq!(rig.state(), State::Idle);
        assert_eq!(rig.world.take_log(), vec![Event::Flush], "nothing was written");

        let careless = ConversionPolicy { accept_no_flush: true, ..policy(SectorSize::S512, 10) };
        let mut rig = Rig::with(SectorSize::S512, 24, careless, false);
        rig.world.set_fault(Fault::Flushes(status));
        rig.command(Command::StartEncrypt).unwrap();
        while rig.step() == Step::Worked {
            rig.check();
        }
        assert_eq!((rig.state(), rig.world.published().get()), (State::Idle, 24));

        // Accepting a device without flush does not excuse one whose flush fails.
        rig.world.set_fault(Fault::Flushes(FAULT));
        assert_eq!(rig.command(Command::StartDecrypt).unwrap_err().status(), FAULT);
    }
}

/// Nobody asked for a conversion: that the blocks of an idle volume lag is no reason to stop at.
#[test]
fn an_idle_volume_on_a_device_without_flush_is_brought_up_to_date_and_not_faulted() {
    let mut rig = Rig::journaled(SectorSize::S512, 24, 10);
    rig.command(Command::StartEncrypt).unwrap();
    rig.command(Command::StartDecrypt).unwrap();
    let mut again = rig.reboot(rig.world.durable_image()).unwrap();
    again.world.set_fault(Fault::Flushes(NtStatus::NOT_SUPPORTED));
    assert_eq!((again.step(), again.state()), (Step::Idle, State::Idle));
    assert_eq!(again.blocks_say().1, VolumeState::Decrypt);
    assert_eq!(again.command(Command::StartEncrypt).unwrap_err().status(), NtStatus::NOT_SUPPORTED, "as before");
}

#[test]
fn a_pause_finishes_a_step_that_waits_for_its_next_attempt() {
    let mut rig = rig();
    rig.command(Command::StartEncrypt).unwrap();
    rig.world.set_fault(Fault::Calls { from: 1, to: 2 });
    assert!(matches!(rig.step(), Step::RetryAfter(_)));
    assert!(rig.sweep.holds_zone());
    rig.command(Command::Pause).unwrap();
    assert!(!rig.sweep.holds_zone());
    assert_eq!((rig.state(), rig.world.published().get()), (State::Paused, 10));
    rig.check();
    rig.check_durable();
}

#[test]
fn an_error_shows_while_it_is_retried_and_goes_with_the_next_success() {
    let mut rig = rig();
    rig.command(Command::StartEncrypt).unwrap();
    rig.world.set_fault(Fault::Calls { from: 0, to: 1 });
    assert!(matches!(rig.step(), Step::RetryAfter(_)));
    let text = error_text(&rig);
    assert!(text.starts_with("retrying: reading failed at sector 256"), "{text}");
    assert!(text.contains(&FAULT.to_string()), "{text}");
    assert_eq!(rig.state(), State::Encrypting);
    assert_eq!(rig.step(), Step::Worked);
    assert_eq!(error_text(&rig), "");
}
