//! Planted bugs in the pass-through filter.

pub(crate) use crate::pass_filter::Bug;
use crate::pass_filter::entry;
use vck_ntsim::io::{DriverConfig, FilterPosition};
use vck_ntsim::pnp::VolumeConfig;
use vck_ntsim::storage::DiskConfig;
use vck_ntsim::user::{Access, Share, Token};
use vck_ntsim::{Rule, World};

/// What the driver with the bug is put through; the rule of the first finding.
fn scenario(world: &World, bug: Bug) -> Option<Rule> {
    let driver = DriverConfig { service: bug.name(), entry, filter: FilterPosition::VolumeLower };
    let driver = world.load_driver(driver).ok()?;
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
    if matches!(bug, Bug::CancelKeepsLock | Bug::CancelWild) {
        let name = world.device_name(volume);
        let handle = admin.open_async(&name, Access::READ, Share::ALL).ok()?;
        let pending = handle.submit_read(0, 512).ok()?;
        let _called = pending.cancel();
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

/// One bug, and the rule that stops it.
pub(crate) struct Plant {
    /// The world's lower drivers pend every request: the bug shows only then.
    pended: bool,
    pub(crate) bug: Bug,
    pub(crate) rule: Rule,
}

const fn plant(pended: bool, bug: Bug, rule: Rule) -> Plant {
    Plant { pended, bug, rule }
}

/// The bugs of the pass-through filter.
pub(crate) const PLANTED: &[Plant] = &[
    plant(false, Bug::CompleteTwice, Rule::IrpCompletedTwice),
    plant(false, Bug::NeverComplete, Rule::IrpNeverCompleted),
    plant(false, Bug::KeepAndForget, Rule::IrpNeverCompleted),
    plant(true, Bug::SendTwice, Rule::IrpTouchedAfterPass),
    plant(false, Bug::CompleteInRoutine, Rule::IrpTouchedAfterPass),
    plant(false, Bug::PendingUnmarked, Rule::IrpPendingMismatch),
    plant(false, Bug::MarkedNotPending, Rule::IrpPendingMismatch),
    plant(false, Bug::StatusMismatch, Rule::IrpPendingMismatch),
    plant(true, Bug::NoPropagation, Rule::IrpPendingMismatch),
    plant(false, Bug::NoStackLocation, Rule::IrpNoStackLocation),
    plant(false, Bug::NoNextLocation, Rule::IrpNoStackLocation),
    plant(false, Bug::CancelRoutineSet, Rule::IrpCancelRoutineSet),
    plant(false, Bug::CancelRoutineLate, Rule::IrpCancelRoutineSet),
    plant(false, Bug::CancelKeepsLock, Rule::LockLeaked),
    plant(false, Bug::CancelWild, Rule::UnmappedAccess),
    plant(false, Bug::FreeThreaded, Rule::IrpThreaded),
    plant(false, Bug::ReuseThreaded, Rule::IrpThreaded),
    plant(false, Bug::OwnIrpRunsThrough, Rule::IrpThreaded),
    plant(false, Bug::DeleteInFlight, Rule::DeviceDeletedInFlight),
    plant(false, Bug::PendForever, Rule::DeviceDeletedInFlight),
    plant(false, Bug::DeleteAttached, Rule::DeviceDeletedInFlight),
    plant(false, Bug::DetachAtStart, Rule::DeviceDeleteOutsideRemove),
    plant(false, Bug::DeleteAtQueryRemove, Rule::DeviceDeleteOutsideRemove),
    plant(false, Bug::DeleteAtSurprise, Rule::DeviceDeleteOutsideRemove),
    plant(false, Bug::FailUnknownPnp, Rule::PnpStatusChanged),
    plant(false, Bug::SucceedUnknownPnp, Rule::PnpStatusChanged),
    plant(false, Bug::ForgetRemove, Rule::ResourceLeak),
    plant(false, Bug::LeakDevice, Rule::ResourceLeak),
    plant(false, Bug::LeakIrp, Rule::ResourceLeak),
    plant(false, Bug::LeakHandle, Rule::ResourceLeak),
    plant(false, Bug::DereferenceTwice, Rule::ObjectReference),
    plant(false, Bug::CloseTwice, Rule::ObjectReference),
    plant(false, Bug::LeftInitializing, Rule::BadArgument),
    plant(false, Bug::CompletePending, Rule::BadArgument),
    plant(false, Bug::CallAtDispatch, Rule::IrqlTooHigh),
    plant(false, Bug::RaisedOnReturn, Rule::IrqlChangedOnReturn),
];

#[test]
fn each_bug_is_stopped_by_its_rule() {
    for &Plant { pended, bug, rule } in PLANTED {
        for seed in 0..8 {
            let world = World::builder().seed(seed).force_pending(pended).build();
            assert_eq!(scenario(&world, bug), Some(rule), "{bug:?}, seed {seed}");
        }
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
fn a_completion_that_races_with_the_lower_drivers() {
    let seen: Vec<_> = (0..32).filter_map(|seed| scenario(&World::boot(seed), Bug::CompleteAfterPass)).collect();
    assert!(seen.contains(&Rule::IrpCompletedTwice), "{seen:?}");
    assert!(seen.contains(&Rule::IrpTouchedAfterPass), "{seen:?}");
}
