//! A boot after a cut: opens, compares, goes on, compares again, and is cut once more itself.

use vck_common::journal::Activity;
use vck_common::{DataExtent, DataSector, Lba, SectorCount, VckError, VolumeState};

use crate::disk::Op;
use crate::family::Cut;
use crate::fault::{Fault, Faults};
use crate::image::Image;
use crate::live::{resume, stand_still, start, to_end};
use crate::machine::{Expected, Machine};
use crate::model::Model;
use crate::rng::Rng;
use crate::run::Run;
use crate::subject::Subject;
use crate::tally::watch;

/// A metadata block that a cut tore, and what it holds.
pub(crate) type TornBlock = (u64, Vec<u8>);

/// A boot after a cut.
pub(crate) struct Boot {
    pub(crate) image: Image,
    pub(crate) model: Model,
    /// What was promised before the cut.
    pub(crate) expected: Expected,
    /// What failed before it.
    pub(crate) faults: Faults,
    /// Metadata blocks that a cut tore, and nothing wrote since.
    pub(crate) torn_blocks: Vec<TornBlock>,
    /// A data sector on the medium that was not flushed.
    pub(crate) unflushed: Option<u64>,
    /// The cuts that led here.
    pub(crate) path: Vec<Cut>,
    pub(crate) rng: Rng,
}

/// What is wrong.
pub(crate) enum Wrong {
    Mismatch(String),
    Unopenable(String),
}

/// How a boot went.
enum Went {
    /// The volume is in use; so many sectors are kept from being read.
    Well(u64),
    /// No metadata block is left: the one that a cut tore was the last that the device can read.
    Refused,
}

impl Run<'_> {
    pub(crate) fn boot(&mut self, mut boot: Boot) {
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
            let faults = self.plan.faults_at_boot(&self.case, boot.faults, boot.unflushed, &boot.rng.part(9));
            let bad: Vec<u64> = faults.bad_sectors().filter_map(|lba| self.plan.data_sector(lba)).collect();
            world.model.excuse(&bad);
            if faults.0.iter().any(|fault| matches!(fault, Fault::Away { .. })) {
                world.model.excuse_healed();
            }
            world.disk.set_faults(faults);
        }
        let recovered = self.recover(&machine, &boot.torn_blocks, &mut boot.rng);
        if self.trace {
            machine.world().print_events(&self.replay(&boot.path).to_string());
        }
        match recovered {
            Ok(Went::Well(fenced)) => self.tally.fenced += fenced,
            Ok(Went::Refused) => self.tally.refused += 1,
            Err(wrong) => return self.fail(&boot.path, wrong),
        }
        let faults = machine.world().disk.faults();
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
            self.cut(
                snapshot,
                &boot.path,
                &boot.torn_blocks,
                faults.lasting(),
                &boot.rng.part(u64::from(snapshot.event)),
            );
        }
    }

    /// Opens the volume, compares, goes on, compares again.
    fn recover(&self, machine: &Machine, torn_blocks: &[TornBlock], rng: &mut Rng) -> Result<Went, Wrong> {
        let faults = machine.world().disk.faults();
        let expected = machine.world().expected;
        let mut subject = match self.open(machine, faults) {
            Ok(subject) => subject,
            Err(error) => return self.may_refuse(machine, torn_blocks, &error),
        };
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
                resume(&mut subject, faults)?;
                to_end(&mut subject, faults, self.plan.geometry.data_sectors())?;
            } else if rng.chance(1, 2) {
                let direction = if rng.chance(1, 2) { VolumeState::Encrypt } else { VolumeState::Decrypt };
                machine.world().expected = None;
                start(&mut subject, direction, faults)?;
                to_end(&mut subject, faults, self.plan.geometry.data_sectors())?;
            }
            subject.settle();
            stand_still(machine, &subject, faults)
        };
        go_on().map_err(|what| Wrong::Mismatch(format!("going on from boundary {at}: {what}")))?;
        Ok(Went::Well(fenced))
    }

    /// A volume may be refused if a cut tore a metadata block and the device has lost the others: that is two faults, and no
    /// content is left of what both cost. Nothing may have been written then.
    fn may_refuse(&self, machine: &Machine, torn_blocks: &[TornBlock], error: &VckError) -> Result<Went, Wrong> {
        let world = machine.world();
        let faults = world.disk.faults();
        let mut blocks = self.plan.geometry.metadata_lbas().map(Lba::get);
        if !blocks.all(|lba| torn_blocks.iter().any(|(torn, _)| *torn == lba) || faults.hides(lba)) {
            return Err(Wrong::Unopenable(error.to_string()));
        }
        match world.disk.events().iter().find(|event| event.op == Op::Write) {
            Some(event) => Err(Wrong::Mismatch(format!("refused, and {event:?} was written: {error}"))),
            None => Ok(Went::Refused),
        }
    }

    /// What was promised before the cut: a direction that was accepted, a pause that was acknowledged.
    pub(crate) fn check_promise(&self, subject: &Subject<'_>, expected: Expected) -> Result<(), String> {
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
            let extent = DataExtent::new(DataSector::new(sector), SectorCount::new(count));
            world.user_writes(self.plan.habits.written(extent, total), boundary);
        }
    }
}
