//! Planted bugs in a filter that was not written for any one rule: each must be stopped by the rule that it breaks.

pub(crate) use crate::bounce_filter::Bug;
use crate::bounce_filter::{MASK, entry};
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

/// The world that a bug shows in.
#[derive(Clone, Copy)]
enum Setting {
    /// One with the defaults.
    Plain,
    /// Page heap.
    Pages,
    /// Lower drivers pend every request.
    Pended,
    /// Page heap, and lower drivers pend every request.
    PagesPended,
    /// Little stack is left when dispatch is entered.
    Shallow,
    /// The host has AVX.
    Vector,
    /// A short limit of decisions.
    Short,
}

impl Setting {
    fn builder(self) -> WorldBuilder {
        World::builder().configure(|config| {
            config.page_heap = matches!(self, Self::Pages | Self::PagesPended);
            config.force_pending = matches!(self, Self::Pended | Self::PagesPended);
            match self {
                Self::Shallow => config.dispatch_headroom = Some(6 << 10),
                Self::Short => config.livelock_limit = 200_000,
                _ => {}
            }
        })
    }
}

/// One bug, where it shows, and the rule that stops it.
pub(crate) struct Plant {
    setting: Setting,
    pub(crate) bug: Bug,
    pub(crate) rule: Rule,
}

const fn plant(setting: Setting, bug: Bug, rule: Rule) -> Plant {
    Plant { setting, bug, rule }
}

/// The bugs of the bounce filter.
pub(crate) const PLANTED: &[Plant] = &[
    plant(Setting::Plain, Bug::ExecutableBuffer, Rule::PoolExecutable),
    plant(Setting::Plain, Bug::UntaggedBuffer, Rule::PoolUntagged),
    plant(Setting::Plain, Bug::EmptyBuffer, Rule::PoolZeroSize),
    plant(Setting::Plain, Bug::TwoPools, Rule::PoolFlags),
    plant(Setting::Plain, Bug::FreeTwice, Rule::PoolBadFree),
    plant(Setting::Plain, Bug::OneByteTooMany, Rule::PoolOverrun),
    plant(Setting::Plain, Bug::LeakBuffer, Rule::ResourceLeak),
    plant(Setting::Plain, Bug::KeepPlaintext, Rule::SecretLeft),
    plant(Setting::Plain, Bug::WriteAfterFree, Rule::UseAfterFree),
    plant(Setting::Plain, Bug::MapTwice, Rule::MdlDoubleMap),
    plant(Setting::Plain, Bug::MapReadOnly, Rule::MdlNoWrite),
    plant(Setting::Plain, Bug::MapNonPaged, Rule::MdlState),
    plant(Setting::Plain, Bug::ReplaceMdl, Rule::MdlState),
    plant(Setting::Plain, Bug::KeepUserBuffer, Rule::MdlState),
    plant(Setting::Plain, Bug::NoMapping, Rule::UnmappedAccess),
    plant(Setting::PagesPended, Bug::TouchSent, Rule::IrpTouchedAfterPass),
    plant(Setting::Pages, Bug::TouchCompleted, Rule::UseAfterFree),
    plant(Setting::Pages, Bug::TouchDeleted, Rule::UseAfterFree),
    plant(Setting::Plain, Bug::CompleteAgain, Rule::IrpCompletedTwice),
    plant(Setting::Plain, Bug::ForgetOriginal, Rule::IrpNeverCompleted),
    plant(Setting::Plain, Bug::WriteClear, Rule::ShadowOracle),
    plant(Setting::Plain, Bug::ReadScrambled, Rule::ShadowOracle),
    plant(Setting::Plain, Bug::SendUnderLock, Rule::IrqlTooHigh),
    plant(Setting::Plain, Bug::RaisedInRoutine, Rule::IrqlChangedOnReturn),
    plant(Setting::Plain, Bug::AtDpcLevel, Rule::IrqlTooLow),
    plant(Setting::Pended, Bug::WaitInRoutine, Rule::WaitAtRaisedIrql),
    plant(Setting::Plain, Bug::PowerWait, Rule::WaitInPowerDispatch),
    plant(Setting::Plain, Bug::PowerDelay, Rule::WaitInPowerDispatch),
    plant(Setting::Plain, Bug::LockTwice, Rule::LockRecursion),
    plant(Setting::Plain, Bug::UnlockFree, Rule::LockNotHeld),
    plant(Setting::Plain, Bug::BothOrders, Rule::LockOrder),
    plant(Setting::Plain, Bug::StayCritical, Rule::LockLeaked),
    plant(Setting::Plain, Bug::AllocateInRegion, Rule::PageableInRegion),
    plant(Setting::Plain, Bug::UnsafeMutex, Rule::NoCriticalRegion),
    plant(Setting::Plain, Bug::RawEvent, Rule::Uninitialized),
    plant(Setting::Plain, Bug::OtherTag, Rule::RemoveLock),
    plant(Setting::Plain, Bug::DrainTwice, Rule::RemoveLockRetired),
    plant(Setting::Shallow, Bug::DeepFrame, Rule::StackOverrun),
    plant(Setting::Plain, Bug::WaitForEver, Rule::Deadlock),
    plant(Setting::Short, Bug::PollForEver, Rule::Livelock),
    plant(Setting::Plain, Bug::KeepState, Rule::SimdGuard),
    plant(Setting::Plain, Bug::SendGuarded, Rule::SimdGuard),
    plant(Setting::Vector, Bug::VectorScramble, Rule::SimdGuard),
    plant(Setting::Plain, Bug::QueueTwice, Rule::WorkItem),
    plant(Setting::Plain, Bug::Stop, Rule::BugCheck),
    plant(Setting::Pages, Bug::AfterUnmap, Rule::UnmappedAccess),
];

/// `AddressSanitizer` stops these itself: it sees the same wild access, and ends the process. And extended state is not
/// watched under it.
const SANITIZED: &[Bug] =
    if cfg!(feature = "asan") { &[Bug::WriteAfterFree, Bug::NoMapping, Bug::VectorScramble] } else { &[] };

fn stopped(world: &World, bug: Bug, rule: Rule) {
    assert_eq!(
        scenario(world, bug),
        Some(rule),
        "{bug:?}, seed {}: {:?}",
        world.kernel().config().seed,
        world.findings()
    );
}

#[test]
fn each_bug_is_stopped_by_its_rule() {
    for &Plant { setting, bug, rule } in PLANTED {
        if SANITIZED.contains(&bug) || (matches!(setting, Setting::Vector) && !is_x86_feature_detected!("avx")) {
            continue;
        }
        for seed in 0..4 {
            stopped(&setting.builder().seed(seed).build(), bug, rule);
        }
    }
}

#[test]
fn irp_written_after_its_end_is_seen_without_a_page_heap_too() {
    for seed in 0..4 {
        stopped(&World::boot(seed), Bug::TouchCompleted, Rule::UseAfterFree);
    }
}

#[test]
fn the_correct_filter_is_clean() {
    for seed in 0..8 {
        for setting in [Setting::Plain, Setting::Pages, Setting::Pended, Setting::PagesPended] {
            let world = setting.builder().seed(seed).build();
            assert_eq!(scenario(&world, Bug::None), None, "{:?}", world.findings());
            world.assert_clean();
            assert_eq!(world.pool_blocks(), 0);
        }
    }
    let world = World::builder().scheduler(SchedulerKind::Parallel).build();
    assert_eq!(scenario(&world, Bug::None), None, "{:?}", world.findings());
}
