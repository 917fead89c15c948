//! A device that is away for a while and comes back.
use core::time::Duration;
use std::assert;

use super::journaled::{BOTH, calls, rig, target};
use super::world::Fault;
use crate::engine::{Command, State, Step};

/// The device fails everything from a call on, for so long; whether the conversion came to its end by itself.
fn outlasts(command: Command, from: u32, outage: Duration) -> bool {
    let mut rig = rig(command);
    rig.command(command).unwrap();
    rig.world.set_fault(Fault::Calls { from, to: u32::MAX });
    let mut failing = Duration::ZERO;
    loop {
        match rig.step() {
            Step::RetryAfter(pause) => failing += pause,
            Step::Worked | Step::Rest(_) => {}
            Step::Idle => break,
        }
        if failing >= outage {
            rig.world.set_fault(Fault::None);
        }
    }
    rig.check();
    rig.world.set_fault(Fault::None);
    (rig.state(), rig.world.published().get()) == (State::Idle, target(command))
}

#[test]
fn a_device_that_is_away_for_a_while_stops_no_conversion() {
    for command in BOTH {
        // A zone may be closed, with users waiting for it: the reset of a bus.
        for from in 0..calls(command) {
            assert!(outlasts(command, from, Duration::from_millis(1900)), "{command:?}, call {from}");
        }
        // It is not: until another path to the device is found.
        assert!(outlasts(command, 0, Duration::from_secs(30)), "{command:?}");
        assert!(!outlasts(command, 0, Duration::from_mins(1)), "{command:?}");
    }
}
