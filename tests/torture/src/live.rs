//! The script of a case on a machine whose power does not fail, and what must hold wherever a conversion stands still.

use vck_common::journal::Activity;
use vck_common::{SectorCount, VckResult, VolumeState};

use crate::family::Trouble;
use crate::fault::Faults;
use crate::machine::{Expected, Machine};
use crate::plan::{Act, Plan};
use crate::run::Run;
use crate::subject::Subject;
use crate::users::Users;

/// A conversion that takes more steps than this does not end.
const ENOUGH: u32 = 3000;

impl Run<'_> {
    /// The script on a machine whose power does not fail.
    pub(crate) fn live(
        &self,
        script: &[Act],
        faults: Faults,
        users: Option<Users>,
        record: bool,
    ) -> Result<Machine, String> {
        let machine = self.plan.machine(self.plan.image.clone(), self.plan.model.clone(), 1, self.weakness);
        {
            let mut world = machine.world();
            world.disk.set_faults(faults);
            world.recorder = record.then(Vec::new);
        }
        let result = self.perform(&machine, script, faults, users);
        if self.trace {
            machine.world().print_events(&self.case.to_string());
        }
        result.map(|()| machine)
    }

    fn perform(&self, machine: &Machine, script: &[Act], faults: Faults, users: Option<Users>) -> Result<(), String> {
        let mut subject = match self.open(machine, faults) {
            Ok(subject) => subject,
            Err(_) if faults.keeps_from_opening() => return Ok(()),
            Err(error) => return Err(format!("the volume does not open: {error}")),
        };
        machine.world().users = users;
        for act in script {
            if !self.act(machine, &mut subject, *act, faults)? {
                return Ok(());
            }
        }
        subject.settle();
        stand_still(machine, &subject, faults)
    }

    /// Attaches, as often as the fault makes that necessary.
    pub(crate) fn open<'m>(&self, machine: &'m Machine, faults: Faults) -> VckResult<Subject<'m>> {
        let setup = self.plan.setup(self.weakness);
        tried(faults, || {
            machine.world().forget_attach();
            Subject::open(machine, setup)
        })
    }

    /// One command; `false` if the volume could not be attached again.
    fn act<'m>(
        &self,
        machine: &'m Machine,
        subject: &mut Subject<'m>,
        act: Act,
        faults: Faults,
    ) -> Result<bool, String> {
        let expect = |expected: Expected| machine.world().expected = expected.filter(|_| !faults.may_stop());
        match act {
            Act::Start(direction) => {
                expect(None);
                start(subject, direction, faults)?;
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
            Act::ToEnd => to_end(subject, faults, self.plan.geometry.data_sectors())?,
            Act::Pause => {
                let was_running = subject.activity() == Activity::Running;
                expect(None);
                match tried(faults, || subject.pause()) {
                    Ok(()) if was_running => expect(Some((Activity::Paused, subject.direction()))),
                    Ok(()) => {}
                    Err(_) if faults.may_stop() => {}
                    Err(error) => return Err(format!("PAUSE fails: {error}")),
                }
                stand_still(machine, subject, faults)?;
            }
            Act::Reattach => return self.reattach(machine, subject, faults),
        }
        Ok(true)
    }

    /// Detaches the volume in good order and attaches it again. The cache of the device lives on.
    fn reattach<'m>(&self, machine: &'m Machine, subject: &mut Subject<'m>, faults: Faults) -> Result<bool, String> {
        subject.settle();
        stand_still(machine, subject, faults)?;
        let users = machine.world().users_leave();
        machine.world().forget_attach();
        let mut faults = faults;
        if let Some(place) = self.case.family.place_of(Trouble::Away) {
            let mut world = machine.world();
            let now = u32::try_from(world.disk.events().len()).expect("few events");
            let away = Plan::away(now, &mut self.plan.rng.part(79));
            faults = faults.with(place, away);
            world.disk.set_fault(place, away);
        }
        match self.open(machine, faults) {
            Ok(again) => *subject = again,
            // The volume stays detached; nothing more happens to it.
            Err(_) if faults.keeps_from_opening() => return Ok(false),
            Err(error) => return Err(format!("the volume does not open again: {error}")),
        }
        machine.world().users = users;
        self.check_promise(subject, machine.world().expected)?;
        if subject.activity() == Activity::Running {
            resume(subject, faults)?;
        }
        Ok(true)
    }
}

/// Does something as often as the fault may keep it from succeeding.
fn tried<T>(faults: Faults, mut attempt: impl FnMut() -> VckResult<T>) -> VckResult<T> {
    for _ in 1..faults.tries() {
        if let Ok(done) = attempt() {
            return Ok(done);
        }
    }
    attempt()
}

/// START. It fails if it cannot be made durable; it may be given again.
pub(crate) fn start(subject: &mut Subject<'_>, direction: VolumeState, faults: Faults) -> Result<(), String> {
    match tried(faults, || subject.start(direction)) {
        Err(error) if !faults.may_stop() => Err(format!("START fails: {error}")),
        _ => Ok(()),
    }
}

/// RESUME.
pub(crate) fn resume(subject: &mut Subject<'_>, faults: Faults) -> Result<(), String> {
    match tried(faults, || subject.resume()) {
        Err(error) if !faults.may_stop() => Err(format!("RESUME fails: {error}")),
        _ => Ok(()),
    }
}

/// Steps until there is nothing to do. One that does not come to its end says why.
pub(crate) fn to_end(subject: &mut Subject<'_>, faults: Faults, total: SectorCount) -> Result<(), String> {
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
    if at_end || faults.may_stop() && (says_why || !started) || !subject.keeps_promises() {
        return Ok(());
    }
    Err(format!("the conversion ends at {at}, {activity:?}, {error:?}"))
}

/// Failed attempts that a stop overcomes.
const PATIENCE: u32 = 2;

/// Nothing runs: every sector is compared, and after a clean stop what older readers see. A stop whose flushes failed time and
/// again is not a clean one, but it says so.
pub(crate) fn stand_still(machine: &Machine, subject: &Subject<'_>, faults: Faults) -> Result<(), String> {
    let too_often = faults.is_lossy() || faults.tries() > PATIENCE + 1;
    let is_clean = !(faults.may_stop() || too_often && subject.error().is_some());
    let mut world = machine.world();
    if world.is_closed() {
        return Err("nothing runs, and a zone is closed".into());
    }
    if world.hold.is_on {
        return Err("nothing runs, and everybody is kept out".into());
    }
    let (published, boundary) = (world.published, subject.boundary().get());
    if published != boundary {
        return Err(format!("boundary {published} was published, {boundary} is reported"));
    }
    world.compare(false)?;
    if is_clean { world.compare_blocks(subject.direction()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Replay;
    use crate::tally::{Effort, Tally};
    use crate::weak::Weakness;

    #[test]
    fn some_conversions_keep_everybody_out() {
        let stop = |_: &Tally| false;
        let holds = |number| {
            let replay: Replay = format!("encrypt-512-hf-live-clean:{number}").parse().unwrap();
            let run = Run::new(&replay, Weakness::None, Effort::default(), &stop);
            let script = run.plan.script.clone();
            let machine = run.live(&script, Faults::NONE, run.plan.users(), false).unwrap();
            let holds = machine.world().hold.times;
            assert!(run.plan.yields || holds == 0);
            holds
        };
        assert!((0..12).map(holds).sum::<u64>() > 0);
    }
}
