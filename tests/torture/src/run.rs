//! Runs a case: once undisturbed by cuts, then once more from every moment at which the power may fail.

use crate::boot::{Boot, TornBlock, Wrong};
use crate::cut::{Place, Survivors, Tearing, draws, place, survivors};
use crate::family::{Case, Cut, Replay, Trouble};
use crate::fault::Faults;
use crate::machine::Snapshot;
use crate::plan::Plan;
use crate::rng::Rng;
use crate::tally::{Effort, Failure, Tally, watch};
use crate::weak::Weakness;

/// All of them, neighbours far apart: a case that is ended early has been cut from its beginning to its end.
fn scattered<T>(all: &[T]) -> impl Iterator<Item = &T> {
    let count = all.len();
    // No common divisor, and the golden section: what was visited so far always lies evenly.
    let divides = |step: usize| (2..=step).any(|divisor| step.is_multiple_of(divisor) && count.is_multiple_of(divisor));
    let stride = (1..=(count * 5 / 8).max(1)).rev().find(|&step| !divides(step)).unwrap_or(1);
    (0..count).filter_map(move |index| all.get(index * stride % count))
}

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
            match self.live(&self.plan.history.clone(), Faults::NONE, None, false) {
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
        let mut faults = Faults::NONE;
        for place in 0..2 {
            if !self.case.family.troubles[place].is_a_fault() {
                continue;
            }
            match self.live(&script, faults, self.plan.users(), false) {
                Ok(machine) => {
                    let fault = self.plan.fault(&self.case, place, faults, machine.world().disk.events());
                    faults = faults.with(place, fault);
                }
                Err(what) => return self.fail(&[], Wrong::Mismatch(what)),
            }
        }
        match self.live(&script, faults, self.plan.users(), true) {
            Err(what) => self.fail(&[], Wrong::Mismatch(what)),
            Ok(machine) => {
                let snapshots = machine.world().recorder.take().unwrap_or_default();
                drop(machine);
                self.cut_all(&snapshots, faults);
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

    fn cut_all(&mut self, snapshots: &[Snapshot], faults: Faults) {
        let rng = self.plan.rng.part(3);
        for snapshot in scattered(snapshots) {
            if (self.stop)(&self.tally) {
                return;
            }
            self.cut(snapshot, &[], &[], faults, &rng.part(u64::from(snapshot.event)));
        }
    }

    /// Every outcome of a cut at this moment.
    ///
    /// `torn_before`: metadata blocks that an earlier cut tore.
    pub(crate) fn cut(
        &mut self,
        snapshot: &Snapshot,
        path: &[Cut],
        torn_before: &[TornBlock],
        faults: Faults,
        rng: &Rng,
    ) {
        let wanted = self.only.get(path.len()).copied();
        if wanted.is_some_and(|cut| cut.event != snapshot.event) {
            return;
        }
        let family = &self.case.family;
        let tearing = match (family.has(Trouble::Torn), family.has(Trouble::Physical)) {
            (true, _) => Tearing::Sectors,
            (_, true) => Tearing::Physical,
            _ => Tearing::None,
        };
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
            let outcome =
                survivors(&snapshot.medium, &self.plan.geometry, draw, self.effort.draws, tearing, rng.part(1));
            let mut model = snapshot.model.clone();
            let torn_blocks = self.torn_blocks(&outcome, torn_before);
            let torn: Vec<u64> = outcome.torn.iter().filter_map(|&lba| self.plan.data_sector(lba)).collect();
            let bad: Vec<u64> = faults.bad_sectors().filter_map(|lba| self.plan.data_sector(lba)).collect();
            model.cut(torn.into_iter());
            model.excuse(&bad);
            let unflushed = snapshot.medium.pending.iter().map(|pending| pending.lba);
            let unflushed = unflushed.rev().find(|&lba| self.plan.data_sector(lba).is_some());
            let expected = snapshot.expected;
            self.boot(Boot { image: outcome.image, model, expected, faults, torn_blocks, unflushed, path, rng });
        }
    }

    /// The metadata blocks that are torn now: those of this cut, and those of before that nothing has replaced.
    fn torn_blocks(&self, outcome: &Survivors, before: &[TornBlock]) -> Vec<TornBlock> {
        let content = |lba| {
            let mut bytes = vec![0; outcome.image.size().usize()];
            outcome.image.read(lba, &mut bytes, 0);
            bytes
        };
        let still = before.iter().filter(|(lba, bytes)| content(*lba) == *bytes).cloned();
        let new = outcome.torn.iter().filter(|&&lba| place(&self.plan.geometry, lba) == Place::Block);
        still.chain(new.map(|&lba| (lba, content(lba)))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scattered_are_all_of_them() {
        for count in 0..200 {
            let all: Vec<usize> = (0..count).collect();
            let mut seen: Vec<usize> = scattered(&all).copied().collect();
            assert!(count < 8 || seen[0].abs_diff(seen[1]) >= count / 3, "{count}: {seen:?}");
            seen.sort_unstable();
            assert_eq!(seen, all);
        }
    }
}
