//! Runs a case: once undisturbed by cuts, then once more from every moment at which the power may fail.

use crate::boot::{Boot, Wrong};
use crate::cut::{draws, survivors};
use crate::family::{Case, Cut, Replay, Trouble};
use crate::fault::Fault;
use crate::machine::Snapshot;
use crate::plan::Plan;
use crate::rng::Rng;
use crate::tally::{Effort, Failure, Tally, watch};
use crate::weak::Weakness;

/// One case under way.
pub struct Run<'a> {
    pub(crate) case: Case,
    pub(crate) plan: Plan,
    pub(crate) weakness: Weakness,
    pub(crate) effort: Effort,
    /// The cuts to try; none: all.
    pub(crate) only: &'a [Cut],
    /// What was found.
    pub tally: Tally,
    /// What was wrong.
    pub failures: Vec<Failure>,
    /// Whether every call of the device is printed.
    pub trace: bool,
    /// Ends the case early when it answers true.
    stop: &'a dyn Fn(&Tally) -> bool,
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
        if self.case.family.trouble.is_a_fault() {
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

    pub(crate) fn replay(&self, path: &[Cut]) -> Replay {
        Replay { case: self.case, cuts: path.to_vec() }
    }

    pub(crate) fn fail(&mut self, path: &[Cut], wrong: Wrong) {
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
    pub(crate) fn cut(&mut self, snapshot: &Snapshot, path: &[Cut], fault: Fault, rng: &Rng) {
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
            let torn: Vec<u64> = outcome.torn.iter().filter_map(|&lba| self.plan.data_sector(lba)).collect();
            let bad: Vec<u64> = fault.bad_sectors().filter_map(|lba| self.plan.data_sector(lba)).collect();
            model.cut(torn.into_iter());
            model.excuse(&bad);
            let unflushed = snapshot.medium.pending.iter().map(|pending| pending.lba);
            let unflushed = unflushed.rev().find(|&lba| self.plan.data_sector(lba).is_some());
            let expected = snapshot.expected;
            self.boot(Boot { image: outcome.image, model, expected, fault, unflushed, path, rng });
        }
    }
}
