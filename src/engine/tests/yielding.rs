//! Conversion beside others on a device whose flushes hold them up.
use core::time::Duration;
use std::{assert, assert_eq, vec::Vec};

use vck_common::{DataSector, SectorSize};

use super::journaled::{Did, did, with_interloper};
use super::rig::{Rig, policy};
use super::world::{Fault, Users};
use crate::engine::{Command, ConversionPolicy, Pace, State, Step};

use Did::{Blocks, Close, Data, Flush, Hold, LetGo, Open, Publish, Read, Record};

const USERS: Users = Users { gap: Duration::from_millis(5), flush: Duration::from_millis(200) };

/// 24 sectors in steps of 1, 2, 2 and so on.
fn rig(pace: Pace, users: Users) -> Rig {
    let policy = ConversionPolicy { pace, ..policy(SectorSize::S512, 2) };
    let rig = Rig::with(SectorSize::S512, 24, policy, true);
    rig.world.set_users(Some(users));
    rig
}

/// Steps until one is made; how long the sweep rested before, without the pause that the step before ended with.
fn next(rig: &mut Rig) -> Duration {
    let (before, mut rested) = (rig.world.published(), Duration::ZERO);
    while rig.world.published() == before && rig.state() != State::Idle {
        match rig.step() {
            Step::Rest(rest) if rig.world.published() == before => {
                rested += rest;
                assert!(rig.world.is_all_open(), "nothing is closed while the sweep rests");
            }
            Step::Worked | Step::Rest(_) => rig.check_durable(),
            step => std::panic!("{step:?}"),
        }
        assert!(!rig.world.is_held(), "others are kept out for a step only");
    }
    rested
}

/// A rig whose next step keeps others out.
fn stalling(pace: Pace, users: Users) -> Rig {
    let mut rig = rig(pace, users);
    rig.command(Command::StartEncrypt).unwrap();
    assert_eq!(next(&mut rig), Duration::ZERO, "nobody has waited yet");
    assert!(did(&rig).iter().all(|did| *did != Hold), "nothing is known about the device yet");
    rig
}

#[test]
fn the_first_flush_lets_others_in_and_they_wait_once_for_the_rest_of_a_step() {
    let mut rig = stalling(Pace::Balanced, USERS);
    next(&mut rig);
    assert_eq!(
        did(&rig),
        [Flush, Hold, Close, Read, Blocks, Record, Flush, Data, Flush, Record, Flush, Publish, Open, LetGo]
    );
}

#[test]
fn a_rest_lasts_until_a_hundred_times_as_many_were_undisturbed_and_has_an_end() {
    for (pace, pause) in [(Pace::Balanced, 64), (Pace::Background, 250)] {
        // Eight requests were there in the first flush or waited afterwards.
        for (gap, expected) in [(1, 1024), (5, 5120), (50, 10_000)] {
            let gap = Duration::from_millis(gap);
            let (least, most) = (Duration::from_millis(expected - pause - 10), Duration::from_millis(expected + 20));
            let mut rig = stalling(pace, Users { gap, ..USERS });
            next(&mut rig);
            let mut rests = Vec::new();
            while rig.state() != State::Idle {
                rests.push(next(&mut rig));
            }
            assert_eq!(rests.len(), 11);
            // It may take more than two steps to find out about the device.
            assert!(rests.iter().skip(1).all(|rest| (least..most).contains(rest)), "{gap:?}: {rests:?}");
        }
    }
}

#[test]
fn nobody_rests_where_flushes_hold_nobody_up() {
    let mut rig = stalling(Pace::Balanced, Users { flush: Duration::ZERO, ..USERS });
    while rig.state() != State::Idle {
        assert!(next(&mut rig) < Duration::from_millis(400));
    }
    assert!(did(&rig).iter().all(|did| *did != Hold));
}

#[test]
fn a_rest_ends_when_nobody_is_there_any_more() {
    let mut rig = stalling(Pace::Balanced, USERS);
    next(&mut rig);
    for _ in 0..20 {
        assert!(matches!(rig.step(), Step::Rest(_)));
    }
    rig.world.set_users(None);
    assert!(next(&mut rig) < Duration::from_millis(50));
    // That step has found out.
    assert_eq!(next(&mut rig), Duration::ZERO);
}

#[test]
fn an_order_finds_nothing_closed_in_a_rest_and_a_pause_ends_it() {
    let mut rig = stalling(Pace::Balanced, USERS);
    next(&mut rig);
    assert!(matches!(rig.step(), Step::Rest(_)));
    rig.command(Command::Pause).unwrap();
    assert_eq!((rig.step(), rig.state()), (Step::Idle, State::Paused));
}

#[test]
fn others_are_let_in_when_a_step_fails() {
    let mut rig = stalling(Pace::Balanced, Users { gap: Duration::from_millis(1), ..USERS });
    next(&mut rig);
    // At each call of a step, for as long as a stage is tried, and longer.
    for (from, length) in (0..12).flat_map(|from| [1, 3].map(|length| (from, length))) {
        rig.world.set_fault(Fault::Calls { from, to: from + length });
        for _ in 0..250 {
            let _ = rig.step();
            assert!(!rig.world.is_held());
            rig.check();
        }
        rig.world.set_fault(Fault::None);
        if rig.state() != State::Encrypting {
            rig.command(Command::StartEncrypt).unwrap();
        }
    }
}

/// A disk may take long to find out that it cannot read a sector, and longer to find out which.
#[test]
fn nobody_waits_while_a_step_that_failed_is_looked_into() {
    let mut rig = stalling(Pace::Balanced, USERS);
    next(&mut rig);
    let bad = rig.geometry.data_to_lba(DataSector::new(4)).unwrap();
    let _before = did(&rig);
    rig.world.set_fault(Fault::ReadOf(bad));
    while rig.state() != State::Faulted {
        let _ = rig.step();
    }
    let all = did(&rig);
    let held: Vec<_> = all.iter().skip_while(|did| **did != Hold).take_while(|did| **did != LetGo).collect();
    assert_eq!(held, [&Hold, &Close, &Read, &Open], "{all:?}");
    assert_eq!(all.iter().filter(|did| **did == Hold).count(), 1, "{all:?}");
}

#[test]
fn what_is_written_before_others_are_kept_out_is_not_lost() {
    let mut written = 0;
    for (calls, sector) in (1..90).step_by(2).flat_map(|calls| [3, 4, 13, 22].map(|sector| (calls, sector))) {
        let mut rig = stalling(Pace::Balanced, USERS);
        written += u32::from(with_interloper(&mut rig, calls, DataSector::new(sector)));
    }
    assert!(written > 100, "{written}");
}

#[test]
fn every_cut_recovers() {
    let mut rig = stalling(Pace::Balanced, USERS);
    rig.world.cut_everywhere();
    while rig.state() != State::Idle {
        next(&mut rig);
    }
    rig.command(Command::StartDecrypt).unwrap();
    while rig.state() != State::Idle {
        next(&mut rig);
    }
    let cuts = rig.world.take_cuts();
    assert!(cuts.len() > 500, "{}", cuts.len());
    for image in cuts {
        rig.reboot(image).unwrap().check();
    }
}
