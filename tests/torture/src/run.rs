//! Runs a case: once undisturbed by cuts, then once more from every moment at which the power may fail.

use vck_common::journal::Activity;
use vck_common::{DataExtent, DataSector, SectorCount, VolumeState};

use crate::cut::{draws, survivors};
use crate::disk::Fault;
use crate::family::{Case, Cut, Replay, Trouble};
use crate::image::Image;
use crate::machine::{Expected, Machine, Snapshot};
use crate::model::Model;
use crate::plan::{Act, Plan};
use crate::rng::Rng;
use crate::subject::Subject;
use crate::weak::Weakness;

/// A conversion that takes more steps than this does not end.
const ENOUGH: u32 = 3000;

/// What was tried and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Power cuts after which the volume was booted, those during recovery included.
    pub cuts: u64,
    /// Runs and boots after which something was not as the model has it.
    pub mismatches: u64,
    /// Boots in which the volume could not be opened.
    pub unopenable: u64,
    /// Sectors that were kept from being read, with a cause.
    pub fenced: u64,
}

impl Tally {
    /// Adds another one.
    pub const fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.mismatches += other.mismatches;
        self.unopenable += other.unopenable;
        self.fenced += other.fenced;
    }

    /// Cut points with a wrong outcome.
    #[must_use]
    pub const fn bad(&self) -> u64 {
        self.mismatches + self.unopenable
    }
}

/// Something wrong, and how to see it again.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The case and its cuts.
    pub replay: Replay,
    /// What is wrong.
    pub what: String,
}

/// How thoroughly a case is cut.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Outcomes of a cut, unless there are few anyway.
    pub draws: u32,
    /// Of four boots, how many are cut again.
    pub again: u64,
}

impl Default for Effort {
    fn default() -> Self {
        Self { draws: 4, again: 1 }
    }
}

/// One case under way.
pub struct Run<'a> {
    case: Case,
    plan: Plan,
    weakness: Weakness,
    effort: Effort,
    /// The cuts to try; none: all.
    only: &'a [Cut],
    /// What was found.
    pub tally: Tally,
    /// What was wrong.
    pub failures: Vec<Failure>,
    /// Whether every call of the device is printed.
    pub trace: bool,
    /// Ends the case early when it answers true.
    stop: &'a dyn Fn(&Tally) -> bool,
}

/// A boot after a cut.
struct Boot {
    image: Image,
    model: Model,
    expected: Expected,
    fault: Fault,
    path: Vec<Cut>,
    rng: Rng,
}

enum Wrong {
    Mismatch(String),
    Unopenable(String),
}

impl<'a> Run<'a> {
    /// Prepares a case.
    #[must_use]
    pub fn new(replay: &'a Replay, weakness: Weakness, effort: Effort, stop: &'a dyn Fn(&Tally) -> bool) -> Self {
        Self {
            case: replay.case,
            plan: Plan::of(&replay.case),
            weakness,
            effort,
            only: &replay.cuts,
            tally: Tally::default(),
            failures: Vec::new(),
            trace: false,
            stop,
        }
    }

    /// Runs it.
    pub fn run(&mut self) {
        watch(&self.replay(&[]));
        if !self.plan.history.is_empty() {
            match self.live(&self.plan.history.clone(), Fault::None, None, false) {
                Ok(machine) => {
                    let world = machine.world();
                    self.plan.image = world.disk.medium().durable.clone();
                    self.plan.model = world.model.clone();
                    self.plan.model.cut(std::iter::empty());
                    drop(world);
                }
                Err(what) => return self.fail(&[], Wrong::Mismatch(format!("before the case: {what}"))),
            }
        }
        let script = self.plan.script.clone();
        let mut fault = Fault::None;
        if matches!(self.case.family.trouble, Trouble::Transient | Trouble::Permanent) {
            match self.live(&script, Fault::None, self.plan.users(), false) {
                Ok(machine) => fault = self.plan.fault(&self.case, machine.world().disk.events()),
                Err(what) => return self.fail(&[], Wrong::Mismatch(what)),
            }
        }
        match self.live(&script, fault, self.plan.users(), true) {
            Err(what) => self.fail(&[], Wrong::Mismatch(what)),
            Ok(machine) => {
                let snapshots = machine.world().recorder.take().unwrap_or_default();
                drop(machine);
                self.cut_all(&snapshots, fault);
            }
        }
    }

    fn replay(&self, path: &[Cut]) -> Replay {
        Replay { case: self.case, cuts: path.to_vec() }
    }

    fn fail(&mut self, path: &[Cut], wrong: Wrong) {
        let what = match wrong {
            Wrong::Mismatch(what) => {
                self.tally.mismatches += 1;
                what
            }
            Wrong::Unopenable(what) => {
                self.tally.unopenable += 1;
                format!("unopenable: {what}")
            }
        };
        self.failures.push(Failure { replay: self.replay(path), what });
    }

    /// The script on a machine whose power does not fail.
    fn live(
        &self,
        script: &[Act],
        fault: Fault,
        users: Option<crate::users::Users>,
        record: bool,
    ) -> Result<Machine, String> {
        let machine = self.plan.machine(self.plan.image.clone(), self.plan.model.clone(), 1, self.weakness);
        {
            let mut world = machine.world();
            world.disk.set_fault(fault);
            world.recorder = record.then(Vec::new);
        }
        let result = self.perform(&machine, script, fault, users);
        if self.trace {
            machine.world().print_events(&self.case.to_string());
        }
        result.map(|()| machine)
    }

    fn perform(
        &self,
        machine: &Machine,
        script: &[Act],
        fault: Fault,
        users: Option<crate::users::Users>,
    ) -> Result<(), String> {
        // A transient error may well keep a volume from being attached once.
        let open = || Subject::open(machine, self.plan.setup(self.weakness));
        let subject = open().or_else(|error| if fault == Fault::None { Err(error) } else { reopen(machine, open) });
        let mut subject = match subject {
            Ok(subject) => subject,
            Err(_) if fault.is_lasting() => return Ok(()),
            Err(error) => return Err(format!("the volume does not open: {error}")),
        };
        machine.world().users = users;
        for act in script {
            if !self.act(machine, &mut subject, *act, fault)? {
                return Ok(());
            }
        }
        subject.settle();
        stand_still(machine, &subject, !fault.is_lasting())
    }

    /// One command; `false` if the volume could not be attached again.
    fn act<'m>(&self, machine: &'m Machine, subject: &mut Subject<'m>, act: Act, fault: Fault) -> Result<bool, String> {
        let expect = |expected: Expected| machine.world().expected = expected.filter(|_| !fault.is_lasting());
        match act {
            Act::Start(direction) => {
                expect(None);
                start(subject, direction, fault)?;
                expect(Some((subject.activity(), direction)));
            }
            Act::Steps(count) => {
                let goal = machine.world().published;
                for _ in 0..ENOUGH {
                    let moved = machine.world().published.abs_diff(goal);
                    if moved >= count * (self.plan.batch.get() / self.plan.geometry.sector_size().u64())
                        || !subject.step()
                    {
                        break;
                    }
                }
            }
            Act::ToEnd => to_end(subject, fault, self.plan.geometry.data_sectors())?,
            Act::Pause => {
                let was_running = subject.activity() == Activity::Running;
                expect(None);
                match subject.pause().or_else(|_| subject.pause()) {
                    Ok(()) if was_running => expect(Some((Activity::Paused, subject.direction()))),
                    Ok(()) => {}
                    Err(_) if fault.is_lasting() => {}
                    Err(error) => return Err(format!("PAUSE fails: {error}")),
                }
                stand_still(machine, subject, !fault.is_lasting())?;
            }
            Act::Reattach => return self.reattach(machine, subject, fault),
        }
        Ok(true)
    }

    /// Detaches the volume in good order and attaches it again. The cache of the device lives on.
    fn reattach<'m>(&self, machine: &'m Machine, subject: &mut Subject<'m>, fault: Fault) -> Result<bool, String> {
        let setup = self.plan.setup(self.weakness);
        subject.settle();
        stand_still(machine, subject, !fault.is_lasting())?;
        let users = machine.world().users_leave();
        machine.world().forget_attach();
        let opened = Subject::open(machine, setup).or_else(|_| reopen(machine, || Subject::open(machine, setup)));
        match opened {
            Ok(again) => *subject = again,
            // The volume stays detached; nothing more happens to it.
            Err(_) if fault.is_lasting() => return Ok(false),
            Err(error) => return Err(format!("the volume does not open again: {error}")),
        }
        machine.world().users = users;
        self.check_promise(subject, machine.world().expected)?;
        if subject.activity() == Activity::Running {
            resume(subject, fault)?;
        }
        Ok(true)
    }

    fn cut_all(&mut self, snapshots: &[Snapshot], fault: Fault) {
        let rng = self.plan.rng.part(3);
        for snapshot in snapshots {
            if (self.stop)(&self.tally) {
                return;
            }
            self.cut(snapshot, &[], fault, &rng.part(u64::from(snapshot.event)));
        }
    }

    /// Every outcome of a cut at this moment.
    fn cut(&mut self, snapshot: &Snapshot, path: &[Cut], fault: Fault, rng: &Rng) {
        let wanted = self.only.get(path.len()).copied();
        if wanted.is_some_and(|cut| cut.event != snapshot.event) {
            return;
        }
        let tearing = self.case.family.trouble == Trouble::Torn;
        let mut all = draws(&snapshot.medium, self.effort.draws, tearing);
        if !path.is_empty() && wanted.is_none() {
            all = all.min(2);
        }
        for draw in 0..all {
            if wanted.is_some_and(|cut| cut.draw != draw) {
                continue;
            }
            let rng = rng.part(u64::from(draw) + 1);
            // Second cuts are few: they take any outcome. The first ones take them in order.
            let cut = Cut { event: snapshot.event, draw };
            let path: Vec<Cut> = path.iter().copied().chain([cut]).collect();
            let outcome = survivors(&snapshot.medium, &self.plan.geometry, draw, self.effort.draws, rng.part(1));
            let mut model = snapshot.model.clone();
            let first = self.plan.geometry.offset_sector().get();
            let data = |lba: u64| lba.checked_sub(first).filter(|&sector| sector < model.sectors());
            let torn: Vec<u64> = outcome.torn.iter().filter_map(|&lba| data(lba)).collect();
            let bad = fault.bad_sector().and_then(data);
            model.cut(torn.into_iter());
            if let Some(sector) = bad {
                model.excuse(sector);
            }
            let expected = snapshot.expected;
            self.boot(Boot { image: outcome.image, model, expected, fault, path, rng });
        }
    }

    fn boot(&mut self, mut boot: Boot) {
        watch(&self.replay(&boot.path));
        self.tally.cuts += 1;
        let machine = self.plan.machine(boot.image.clone(), boot.model.clone(), boot.rng.next(), self.weakness);
        // Drawn in any case: what is drawn later must not depend on whether this is a replay.
        let chosen = boot.rng.chance(self.effort.again, 4);
        let again = boot.path.len() == 1 && (self.only.len() == 2 || chosen);
        {
            let mut world = machine.world();
            world.recorder = again.then(Vec::new);
            world.expected = boot.expected;
            world.disk.set_fault(self.fault_at_boot(&boot));
        }
        let recovered = self.recover(&machine, &mut boot.rng);
        if self.trace {
            machine.world().print_events(&self.replay(&boot.path).to_string());
        }
        match recovered {
            Ok(fenced) => self.tally.fenced += fenced,
            Err(wrong) => return self.fail(&boot.path, wrong),
        }
        let fault = machine.world().disk.fault();
        let snapshots = machine.world().recorder.take().unwrap_or_default();
        drop(machine);
        if snapshots.is_empty() {
            return;
        }
        let wanted = self.only.get(1).map(|cut| cut.event);
        // Recovery comes first, and that is where most of the second cuts belong.
        let luck = boot.rng.below(snapshots.len() as u64).min(boot.rng.below(snapshots.len() as u64));
        let chosen = match wanted {
            Some(event) => snapshots.iter().find(|snapshot| snapshot.event == event),
            None => snapshots.get(usize::try_from(luck).expect("few")),
        };
        if let Some(snapshot) = chosen {
            let fault = if fault.is_lasting() { fault } else { Fault::None };
            self.cut(snapshot, &boot.path, fault, &boot.rng.part(u64::from(snapshot.event)));
        }
    }

    /// A bad sector may still be bad, or have been replaced. A device that never flushes again is replaced. One call
    /// of a recovery may fail, too.
    fn fault_at_boot(&self, boot: &Boot) -> Fault {
        let mut rng = boot.rng.part(9);
        match (self.case.family.trouble, boot.fault) {
            (Trouble::Transient, _) if rng.chance(1, 2) => Fault::Once(u32::try_from(rng.below(40)).expect("small")),
            (_, Fault::Reads { .. } | Fault::Writes { .. }) if rng.chance(1, 2) => boot.fault.from_the_start(),
            _ => Fault::None,
        }
    }

    /// Opens the volume, compares, goes on, compares again. The number of fenced sectors.
    fn recover(&self, machine: &Machine, rng: &mut Rng) -> Result<u64, Wrong> {
        let fault = machine.world().disk.fault();
        let expected = machine.world().expected;
        let open = || Subject::open(machine, self.plan.setup(self.weakness));
        let opened = open().or_else(|error| if fault == Fault::None { Err(error) } else { reopen(machine, open) });
        let mut subject = opened.map_err(|error| Wrong::Unopenable(error.to_string()))?;
        let fenced = machine.world().compare(true).map_err(Wrong::Mismatch)?;
        let at = subject.boundary();
        self.check_promise(&subject, expected).map_err(Wrong::Mismatch)?;
        if rng.chance(1, 2) {
            self.heal(machine, rng);
        }
        if self.case.family.live && rng.chance(1, 2) {
            machine.world().users = self.plan.users();
        }
        let mut go_on = || -> Result<(), String> {
            if subject.activity() == Activity::Running {
                resume(&mut subject, fault)?;
                to_end(&mut subject, fault, self.plan.geometry.data_sectors())?;
            } else if rng.chance(1, 2) {
                let direction = if rng.chance(1, 2) { VolumeState::Encrypt } else { VolumeState::Decrypt };
                machine.world().expected = None;
                start(&mut subject, direction, fault)?;
                to_end(&mut subject, fault, self.plan.geometry.data_sectors())?;
            }
            subject.settle();
            stand_still(machine, &subject, !fault.is_lasting())
        };
        go_on().map_err(|what| Wrong::Mismatch(format!("going on from boundary {at}: {what}")))?;
        Ok(fenced)
    }

    /// What was promised before the cut: a direction that was accepted, a pause that was acknowledged.
    fn check_promise(&self, subject: &Subject<'_>, expected: Expected) -> Result<(), String> {
        let Some((activity, direction)) = expected.filter(|_| subject.keeps_promises()) else { return Ok(()) };
        let end = match direction {
            VolumeState::Encrypt => self.plan.geometry.data_sectors().get(),
            VolumeState::Decrypt => 0,
        };
        let at_end = subject.boundary().get() == end && subject.activity() == Activity::Idle;
        if subject.direction() != direction || subject.activity() != activity && !at_end {
            let (is, goes) = (subject.activity(), subject.direction());
            return Err(format!("{activity:?} {direction:?} was acknowledged, and the boot finds {is:?} {goes:?}"));
        }
        Ok(())
    }

    /// Users write to what is damaged; that heals it.
    fn heal(&self, machine: &Machine, rng: &mut Rng) {
        let mut world = machine.world();
        let total = self.plan.geometry.data_sectors().get();
        for sector in world.shields.clone() {
            let count = rng.between(1, 2).min(total - sector);
            let boundary = world.published;
            world.user_writes(DataExtent::new(DataSector::new(sector), SectorCount::new(count)), boundary);
        }
    }
}

/// A second attach, on a machine that was not rebooted.
fn reopen<'m, E>(machine: &'m Machine, open: impl Fn() -> Result<Subject<'m>, E>) -> Result<Subject<'m>, E> {
    let mut world = machine.world();
    world.forget_attach();
    drop(world);
    open()
}

/// START. It fails if it cannot be made durable; it may be given again.
fn start(subject: &mut Subject<'_>, direction: VolumeState, fault: Fault) -> Result<(), String> {
    match subject.start(direction).or_else(|_| subject.start(direction)) {
        Err(error) if !fault.is_lasting() => Err(format!("START fails: {error}")),
        _ => Ok(()),
    }
}

/// RESUME.
fn resume(subject: &mut Subject<'_>, fault: Fault) -> Result<(), String> {
    match subject.resume().or_else(|_| subject.resume()) {
        Err(error) if !fault.is_lasting() => Err(format!("RESUME fails: {error}")),
        _ => Ok(()),
    }
}

/// Steps until there is nothing to do. One that does not come to its end says why.
fn to_end(subject: &mut Subject<'_>, fault: Fault, total: SectorCount) -> Result<(), String> {
    let started = subject.activity() == Activity::Running;
    let mut steps = 0;
    while subject.step() {
        steps += 1;
        if steps > ENOUGH {
            return Err("the conversion does not end".into());
        }
    }
    let end = if subject.direction() == VolumeState::Encrypt { total.get() } else { 0 };
    let (at, activity, error) = (subject.boundary(), subject.activity(), subject.error());
    let at_end = at.get() == end && activity == Activity::Idle;
    let says_why = activity == Activity::Faulted && error.is_some();
    if at_end || fault.is_lasting() && (says_why || !started) || !subject.keeps_promises() {
        return Ok(());
    }
    Err(format!("the conversion ends at {at}, {activity:?}, {error:?}"))
}

/// Nothing runs: every sector is compared, and what older readers see.
fn stand_still(machine: &Machine, subject: &Subject<'_>, is_clean: bool) -> Result<(), String> {
    let mut world = machine.world();
    if world.is_closed() {
        return Err("nothing runs, and a zone is closed".into());
    }
    let (published, boundary) = (world.published, subject.boundary().get());
    if published != boundary {
        return Err(format!("boundary {published} was published, {boundary} is reported"));
    }
    world.compare(false)?;
    if is_clean { world.compare_blocks(subject.direction()) } else { Ok(()) }
}

thread_local! {
    static UNDER_WAY: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

/// Remembers what this thread does, for [`under_way`].
fn watch(replay: &Replay) {
    use std::fmt::Write;
    UNDER_WAY.with_borrow_mut(|name| {
        name.clear();
        let _cannot_fail = write!(name, "{replay}");
    });
}

/// The case and cuts that this thread works on, for a panic's message.
#[must_use]
pub fn under_way() -> String {
    UNDER_WAY.with_borrow(String::clone)
}
