//! Planted bugs in a filter that was not written for any one rule: each must be stopped by the rule that it breaks.

#[path = "support/bounce.rs"]
mod bounce;

use bounce::{Bug, MASK, entry};
use vck_ntsim::io::{DriverConfig, FilterPosition, Side};
use vck_ntsim::pnp::VolumeConfig;
use vck_ntsim::storage::DiskConfig;
use vck_ntsim::user::{Access, Share, Token};
use vck_ntsim::{Rule, SchedulerKind, World, WorldBuilder};

const SECRET: &[u8; 24] = b"the secret of the test!!";

/// The driver's life; the rule of the first finding.
fn scenario(world: &World, bug: Bug) -> Option<Rule> {
    let driver = DriverConfig { service: bug.name(), entry, filter: FilterPosition::VolumeLower };
    let driver = world.load_driver(driver).ok()?;
    let disk = world.add_disk(DiskConfig::memory(1 << 20));
    let volume = world.plug(VolumeConfig::whole(disk));
    let Ok(volume) = volume else { return world.findings().first().map(|finding| finding.rule) };
    if matches!(bug, Bug::None | Bug::WriteClear) {
        let scrambled = SECRET.map(|byte| byte ^ MASK);
        world.require(Side::WrittenBelow, move |seen| {
            !seen.data.starts_with(SECRET) && (seen.offset != 4096 || seen.data.starts_with(&scrambled))
        });
    }
    if bug == Bug::ReadScrambled {
        world.require(Side::ReadAbove, |seen| seen.offset != 4096 || seen.data.starts_with(SECRET));
    }
    if bug == Bug::KeepPlaintext {
        world.watch_secret(&SECRET.map(|byte| byte ^ MASK));
    }
    if bug == Bug::ForgetOriginal {
        let name = world.device_name(volume);
        let handle = world.user(Token::administrator()).open_async(&name, Access::READ, Share::ALL).ok()?;
        let _pending = handle.submit_read(0, 512).ok()?;
        world.shutdown();
        return world.findings().first().map(|finding| finding.rule);
    }
    let fs = world.fs(volume);
    let _write = fs.write(4096, SECRET);
    let _flush = fs.flush();
    let _forget = fs.invalidate();
    let read = fs.read(4096, SECRET.len());
    if bug == Bug::None {
        assert_eq!(read.as_deref(), Ok(SECRET.as_slice()));
    }
    let _power = world.power_minor(volume, 2, [0; 4]);
    world.shutdown();
    let _asked = world.query_remove(volume);
    let _removed = world.remove(volume);
    let _unloaded = world.unload_driver(driver);
    world.kernel().check_memory();
    world.findings().first().map(|finding| finding.rule)
}

fn builder(seed: u64) -> WorldBuilder {
    World::builder().seed(seed)
}

fn expect_in(builder: &WorldBuilder, bug: Bug, rule: Rule) {
    for seed in 0..4 {
        let world = builder.clone().seed(seed).build();
        assert_eq!(scenario(&world, bug), Some(rule), "{bug:?}, seed {seed}: {:?}", world.findings());
    }
}

fn expect(bug: Bug, rule: Rule) {
    expect_in(&builder(0), bug, rule);
}

#[test]
fn the_correct_filter_is_clean() {
    for seed in 0..8 {
        for page_heap in [false, true] {
            for pending in [false, true] {
                let world = builder(seed).page_heap(page_heap).force_pending(pending).build();
                assert_eq!(scenario(&world, Bug::None), None, "{:?}", world.findings());
                world.assert_clean();
                assert_eq!(world.pool_blocks(), 0);
            }
        }
    }
    let world = World::builder().scheduler(SchedulerKind::Parallel).build();
    assert_eq!(scenario(&world, Bug::None), None, "{:?}", world.findings());
}

#[test]
fn pool() {
    expect(Bug::ExecutableBuffer, Rule::PoolExecutable);
    expect(Bug::UntaggedBuffer, Rule::PoolUntagged);
    expect(Bug::EmptyBuffer, Rule::PoolZeroSize);
    expect(Bug::TwoPools, Rule::PoolFlags);
    expect(Bug::FreeTwice, Rule::PoolBadFree);
    expect(Bug::OneByteTooMany, Rule::PoolOverrun);
    expect(Bug::LeakBuffer, Rule::ResourceLeak);
    expect(Bug::KeepPlaintext, Rule::SecretInFreedPool);
}

#[test]
#[cfg_attr(feature = "asan", ignore = "AddressSanitizer stops this bug itself")]
fn pool_after_free() {
    expect(Bug::WriteAfterFree, Rule::UseAfterFree);
}

#[test]
fn mdls() {
    expect(Bug::MapTwice, Rule::MdlDoubleMap);
    expect(Bug::MapReadOnly, Rule::MdlNoWrite);
    expect(Bug::MapNonPaged, Rule::MdlState);
    expect(Bug::ReplaceMdl, Rule::MdlState);
    expect(Bug::NoMapping, Rule::UnmappedAccess);
}

#[test]
fn ownership_on_a_page_heap() {
    let pages = builder(0).page_heap(true);
    expect_in(&pages.clone().force_pending(true), Bug::TouchSent, Rule::IrpTouchedAfterPass);
    expect_in(&pages, Bug::TouchCompleted, Rule::UseAfterFree);
    expect_in(&pages, Bug::TouchDeleted, Rule::UseAfterFree);
}

#[test]
fn mapping_used_after_its_end_on_a_page_heap() {
    // Without a copy in between, that is with a mapping for writing, which reads make.
    let world = builder(0).page_heap(true).build();
    assert_eq!(scenario(&world, Bug::AfterUnmap), Some(Rule::UnmappedAccess), "{:?}", world.findings());
}

#[test]
fn irp_written_after_its_end_is_seen_without_a_page_heap_too() {
    expect(Bug::TouchCompleted, Rule::UseAfterFree);
}

#[test]
fn irps() {
    expect(Bug::ForgetOriginal, Rule::IrpNeverCompleted);
}

#[test]
fn shadow_oracle() {
    expect(Bug::WriteClear, Rule::ShadowOracle);
    expect(Bug::ReadScrambled, Rule::ShadowOracle);
}

#[test]
fn irql_and_waits() {
    expect(Bug::SendUnderLock, Rule::IrqlTooHigh);
    expect(Bug::RaisedInRoutine, Rule::IrqlChangedOnReturn);
    expect(Bug::AtDpcLevel, Rule::IrqlTooLow);
    expect_in(&builder(0).force_pending(true), Bug::WaitInRoutine, Rule::WaitAtRaisedIrql);
    expect(Bug::PowerWait, Rule::WaitInPowerDispatch);
    expect(Bug::PowerDelay, Rule::WaitInPowerDispatch);
}

#[test]
fn locks() {
    expect(Bug::LockTwice, Rule::LockRecursion);
    expect(Bug::UnlockFree, Rule::LockNotHeld);
    expect(Bug::BothOrders, Rule::LockOrder);
    expect(Bug::StayCritical, Rule::LockLeaked);
    expect(Bug::UnsafeMutex, Rule::NoCriticalRegion);
    expect(Bug::RawEvent, Rule::Uninitialized);
    expect(Bug::OtherTag, Rule::RemoveLock);
    expect(Bug::DrainTwice, Rule::RemoveLockRetired);
}

#[test]
fn the_rest() {
    let shallow = builder(0).configure(|config| config.dispatch_headroom = Some(6 << 10));
    expect_in(&shallow, Bug::DeepFrame, Rule::StackOverrun);
    expect(Bug::WaitForEver, Rule::Deadlock);
    expect_in(&builder(0).configure(|config| config.livelock_limit = 200_000), Bug::PollForEver, Rule::Livelock);
    expect(Bug::KeepState, Rule::SimdGuard);
    expect(Bug::QueueTwice, Rule::WorkItem);
    expect(Bug::Stop, Rule::BugCheck);
}
