//! Planted bugs: each rule of the I/O side stops at least two of them.

#[path = "support/passthrough.rs"]
mod passthrough;

use passthrough::{Bug, entry};
use vck_ntsim::io::{DriverConfig, FilterPosition};
use vck_ntsim::pnp::VolumeConfig;
use vck_ntsim::storage::DiskConfig;
use vck_ntsim::user::{Access, Share, Token};
use vck_ntsim::{Rule, World};

/// What the driver with the bug is put through; the rule of the first finding.
fn scenario(world: &World, bug: Bug) -> Option<Rule> {
    let entry = entry(bug);
    let driver = world.load_driver(DriverConfig { service: "bug", entry, filter: FilterPosition::VolumeLower }).ok()?;
    let disk = world.add_disk(DiskConfig::memory(1 << 20));
    let volume = world.plug(VolumeConfig::whole(disk));
    let first = || world.findings().first().map(|finding| finding.rule);
    let Ok(volume) = volume else { return first() };
    let admin = world.user(Token::administrator());
    if matches!(bug, Bug::PendForever | Bug::DeleteInFlight | Bug::DeleteAtSurprise) {
        let name = world.device_name(volume);
        let handle = admin.open_async(&name, Access::READ, Share::ALL).ok()?;
        let pending = handle.submit_read(0, 512).ok()?;
        let _told = world.surprise_remove(volume);
        let _removed = world.remove(volume);
        assert!(!pending.is_done());
        return first();
    }
    let _read = world.fs(volume).read(0, 512);
    let _write = world.fs(volume).write(0, b"x");
    let _flush = world.fs(volume).flush();
    let _odd = world.pnp_minor(volume, 0x19, [0; 4]);
    let _stop = world.stop(volume);
    let _start = world.start(volume);
    let _asked = world.query_remove(volume);
    let _removed = world.remove(volume);
    let _unloaded = world.unload_driver(driver);
    first()
}

fn expect(bug: Bug, rule: Rule) {
    for seed in 0..8 {
        assert_eq!(scenario(&World::boot(seed), bug), Some(rule), "{bug:?}, seed {seed}");
    }
}

fn expect_when_pended(bug: Bug, rule: Rule) {
    for seed in 0..8 {
        let world = World::builder().seed(seed).force_pending(true).build();
        assert_eq!(scenario(&world, bug), Some(rule), "{bug:?}, seed {seed}");
    }
}

#[test]
fn the_correct_driver_passes_the_scenario() {
    for seed in 0..32 {
        let world = World::boot(seed);
        assert_eq!(scenario(&world, Bug::None), None, "{:?}", world.findings());
    }
}

#[test]
fn completed_twice() {
    expect(Bug::CompleteTwice, Rule::IrpCompletedTwice);
    let seen: Vec<_> = (0..32).filter_map(|seed| scenario(&World::boot(seed), Bug::CompleteAfterPass)).collect();
    assert!(seen.contains(&Rule::IrpCompletedTwice), "{seen:?}");
    assert!(seen.contains(&Rule::IrpTouchedAfterPass), "{seen:?}");
}

#[test]
fn never_completed() {
    expect(Bug::NeverComplete, Rule::IrpNeverCompleted);
    expect(Bug::KeepAndForget, Rule::IrpNeverCompleted);
}

#[test]
fn touched_after_pass() {
    expect_when_pended(Bug::SendTwice, Rule::IrpTouchedAfterPass);
    expect(Bug::CompleteInRoutine, Rule::IrpTouchedAfterPass);
}

#[test]
fn pending_mismatch() {
    expect(Bug::PendingUnmarked, Rule::IrpPendingMismatch);
    expect(Bug::MarkedNotPending, Rule::IrpPendingMismatch);
    expect(Bug::StatusMismatch, Rule::IrpPendingMismatch);
    expect_when_pended(Bug::NoPropagation, Rule::IrpPendingMismatch);
}

#[test]
fn stack_locations() {
    expect(Bug::NoStackLocation, Rule::IrpNoStackLocation);
    expect(Bug::NoNextLocation, Rule::IrpNoStackLocation);
}

#[test]
fn cancel_routine_set() {
    expect(Bug::CancelRoutineSet, Rule::IrpCancelRoutineSet);
    expect(Bug::CancelRoutineLate, Rule::IrpCancelRoutineSet);
}

#[test]
fn threaded_irps() {
    expect(Bug::FreeThreaded, Rule::IrpThreaded);
    expect(Bug::ReuseThreaded, Rule::IrpThreaded);
    expect(Bug::OwnIrpRunsThrough, Rule::IrpThreaded);
}

#[test]
fn deleted_in_flight() {
    expect(Bug::DeleteInFlight, Rule::DeviceDeletedInFlight);
    expect(Bug::PendForever, Rule::DeviceDeletedInFlight);
    expect(Bug::DeleteAttached, Rule::DeviceDeletedInFlight);
}

#[test]
fn deleted_or_detached_outside_remove() {
    expect(Bug::DetachAtStart, Rule::DeviceDeleteOutsideRemove);
    expect(Bug::DeleteAtQueryRemove, Rule::DeviceDeleteOutsideRemove);
    expect(Bug::DeleteAtSurprise, Rule::DeviceDeleteOutsideRemove);
}

#[test]
fn unknown_pnp_minor() {
    expect(Bug::FailUnknownPnp, Rule::PnpStatusChanged);
    expect(Bug::SucceedUnknownPnp, Rule::PnpStatusChanged);
}

#[test]
fn leaks() {
    expect(Bug::ForgetRemove, Rule::ResourceLeak);
    expect(Bug::LeakDevice, Rule::ResourceLeak);
    expect(Bug::LeakIrp, Rule::ResourceLeak);
    expect(Bug::LeakHandle, Rule::ResourceLeak);
}

#[test]
fn references_and_handles() {
    expect(Bug::DereferenceTwice, Rule::ObjectReference);
    expect(Bug::CloseTwice, Rule::ObjectReference);
}

#[test]
fn arguments() {
    expect(Bug::LeftInitializing, Rule::BadArgument);
    expect(Bug::CompletePending, Rule::BadArgument);
}

#[test]
fn irql() {
    expect(Bug::CallAtDispatch, Rule::IrqlTooHigh);
    expect(Bug::RaisedOnReturn, Rule::IrqlChangedOnReturn);
}
