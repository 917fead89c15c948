//! What a case is made of: the volume, the commands, the users and the fault.

use std::sync::Arc;

use vck_common::jvck::{JvckCbcCodec, JvckMetadataOptions, JvckMetadataStore, JvckSecrets};
use vck_common::units::MIN_METADATA_SIZE;
use vck_common::{
    ByteLen, DataSector, Geometry, Lba, SectorCount, SectorSize, VolumeCipher, VolumeState, XtsVolumeCipher,
};

use crate::cipher::KeyStream;
use crate::cut::{Place, place as place_of};
use crate::disk::{Event, Op};
use crate::family::{Case, Kind, Replicas, Trouble};
use crate::fault::{Fault, Faults, Sectors};
use crate::image::{Image, Sector};
use crate::machine::Machine;
use crate::model::{Model, Version};
use crate::rng::{Rng, mix};
use crate::store::VMK;
use crate::subject::Setup;
use crate::users::{Habits, Users};
use crate::weak::Weakness;

/// What is asked of the conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// START in a direction.
    Start(VolumeState),
    /// So many steps.
    Steps(u64),
    /// Steps until there is nothing to do.
    ToEnd,
    /// PAUSE.
    Pause,
    /// Detach and attach, without a loss of power.
    Reattach,
}

/// A case, worked out.
pub struct Plan {
    /// The volume's layout.
    pub geometry: Geometry,
    /// Its cipher.
    pub cipher: Arc<dyn VolumeCipher>,
    /// Bytes of a short step.
    pub batch: ByteLen,
    /// Whether unreadable sectors are left behind.
    pub skips: bool,
    /// Whether the conversion yields to others, whom the device's flushes hold up.
    pub yields: bool,
    /// What the medium holds at first.
    pub image: Image,
    /// What its sectors hold at first.
    pub model: Model,
    /// What is done before the power may fail: a conversion that has been there already, then a boot.
    pub history: Vec<Act>,
    /// What is done.
    pub script: Vec<Act>,
    /// Requests of users per 16 calls.
    pub rate: u64,
    /// What users do.
    pub habits: Habits,
    /// For everything else.
    pub rng: Rng,
}

const KEYS: [[u8; 32]; 2] = [[0x11; 32], [0x22; 32]];

impl Plan {
    /// Works out a case.
    ///
    /// # Panics
    /// If the volume cannot be made, which is a mistake of this crate.
    #[must_use]
    pub fn of(case: &Case) -> Self {
        let family = case.family;
        let name = family.to_string().bytes().fold(7, |seed, byte| mix(seed ^ u64::from(byte)));
        let mut rng = Rng::new(mix(case.number) ^ name);
        // Steps of 512-byte sectors are as long as two physical sectors at least, or they end anywhere.
        let small = family.size == SectorSize::S512;
        let data = if small { rng.between(36, 64) } else { rng.between(6, 14) };
        let data = if family.has(Trouble::Physical) { data.next_multiple_of(8) } else { data };
        let options = JvckMetadataOptions {
            use_header: u32::from(family.replicas == Replicas::Both),
            use_footer: if family.replicas == Replicas::Both { 1 } else { 2 },
            metadata_size: MIN_METADATA_SIZE,
        };
        let total = data + 2 * u64::from(MIN_METADATA_SIZE) / family.size.u64();
        let geometry = options.geometry(family.size, SectorCount::new(total)).expect("a valid layout");
        let xts = |features| XtsVolumeCipher::with_features(&KEYS[0], &KEYS[1], features).expect("keys");
        let cipher: Arc<dyn VolumeCipher> = if rng.chance(1, 8) {
            crate::kernel::fastest(xts)
        } else {
            let stream = KeyStream(rng.next());
            crate::kernel::forced(xts).unwrap_or_else(|| Arc::new(stream))
        };
        let batch = ByteLen::new(family.size.u64() * if small { rng.between(16, 20) } else { rng.between(2, 5) });
        let model = Model::new(rng.next(), family.size, data);
        let encrypted = family.kind == Kind::Decrypt || family.kind != Kind::Encrypt && rng.chance(1, 2);
        let mut plan = Self {
            geometry,
            cipher,
            batch,
            skips: rng.chance(1, 2),
            yields: family.live && rng.part(81).chance(1, 3),
            image: Image::new(family.size, total),
            model,
            history: Vec::new(),
            script: Vec::new(),
            rate: if family.live { rng.between(3, 9) } else { 0 },
            habits: Habits {
                trim: family.has(Trouble::Trim),
                flush: family.has(Trouble::Lossy),
                write_whole: family.has(Trouble::Physical),
            },
            rng,
        };
        plan.make(&options, encrypted, family.has(Trouble::Trim));
        plan.write_script(family.kind, encrypted);
        plan
    }

    /// Makes the volume, all of it on one side.
    fn make(&mut self, options: &JvckMetadataOptions, encrypted: bool, trimmed: bool) {
        let machine = self.machine(self.image.clone(), self.model.clone(), 0, Weakness::None);
        let secrets = JvckSecrets::copy_from(&KEYS[0], &KEYS[1]);
        let store = JvckMetadataStore::create(&machine, &VMK, options, secrets, [7; 16], JvckCbcCodec, &machine)
            .expect("a new volume");
        let total = self.geometry.data_sectors().get();
        if encrypted {
            store.persist(DataSector::new(total), VolumeState::Encrypt, &machine).expect("a new volume");
        }
        self.image = machine.world().disk.medium().durable.clone();
        let mut bytes = vec![0; self.geometry.sector_size().usize()];
        for sector in 0..total {
            let lba = self.geometry.offset_sector().get() + sector;
            if trimmed && self.rng.chance(1, 6) {
                self.image.put(lba, Sector::Unstable);
                self.model.acknowledged(sector, Version::Anything);
                continue;
            }
            self.model.contents(sector, 0, &mut bytes);
            if encrypted {
                self.cipher.encrypt_area(&mut bytes, self.geometry.sector_size(), DataSector::new(sector));
            }
            self.image.write(lba, &bytes);
        }
        self.model.flushed();
    }

    fn write_script(&mut self, kind: Kind, encrypted: bool) {
        use VolumeState::{Decrypt, Encrypt};
        let (there, back) = if encrypted { (Decrypt, Encrypt) } else { (Encrypt, Decrypt) };
        let steps = |plan: &mut Self| Act::Steps(plan.rng.between(1, 4));
        // Half of the volumes have a record of an earlier conversion already.
        if self.rng.chance(1, 2) {
            self.history = if self.rng.chance(1, 2) {
                vec![Act::Start(there), steps(self), Act::Start(back), Act::ToEnd]
            } else {
                vec![Act::Start(there), steps(self), Act::Pause]
            };
        }
        self.script = match kind {
            Kind::Encrypt | Kind::Decrypt => vec![Act::Start(there), Act::ToEnd],
            Kind::Turn if self.rng.chance(1, 2) => vec![Act::Start(there), steps(self), Act::Start(back), Act::ToEnd],
            Kind::Turn => {
                let (first, second) = (steps(self), steps(self));
                vec![Act::Start(there), first, Act::Start(back), second, Act::Start(there), Act::ToEnd]
            }
            Kind::Pause => {
                let (first, second) = (steps(self), steps(self));
                let again = if self.rng.chance(1, 4) { back } else { there };
                vec![
                    Act::Start(there),
                    first,
                    Act::Pause,
                    Act::Start(again),
                    second,
                    Act::Pause,
                    Act::Start(again),
                    Act::ToEnd,
                ]
            }
        };
        if self.rng.chance(1, 3) {
            let at = self.rng.between(1, self.script.len() as u64);
            self.script.insert(usize::try_from(at).expect("small"), Act::Reattach);
        }
    }

    /// How a volume of the case is opened.
    #[must_use]
    pub const fn setup(&self, weakness: Weakness) -> Setup {
        Setup { batch: self.batch, skips: self.skips, yields: self.yields, weakness }
    }

    /// A machine with this medium.
    #[must_use]
    pub fn machine(&self, image: Image, model: Model, seed: u64, weakness: Weakness) -> Machine {
        let seed = self.rng.part(seed).next();
        let machine = Machine::new(image, self.geometry, model, Arc::clone(&self.cipher), seed, weakness);
        if self.yields {
            machine.world().others_are_held_up();
        }
        machine
    }

    /// The users of the case.
    #[must_use]
    pub fn users(&self) -> Option<Users> {
        (self.rate > 0).then(|| Users::new(self.rng.part(77), self.rate, self.habits))
    }

    /// What fails because of the trouble at `place`, given the calls of a run without it: each of those that it is about in its
    /// turn. The second trouble comes anywhere, or soon after the first.
    #[must_use]
    pub fn fault(&self, case: &Case, place: usize, before: Faults, events: &[Event]) -> Fault {
        let trouble = case.family.troubles[place];
        let mut rng = self.rng.part(78 + 100 * place as u64);
        let concerned = self.concerned(case, trouble, events);
        let turn = match concerned.iter().position(|&(number, _)| number > before.0[0].from()) {
            _ if place == 0 => case.number,
            Some(next) if rng.chance(1, 2) => next as u64 + rng.below(4),
            _ => rng.next(),
        };
        let turn = usize::try_from(turn % concerned.len().max(1) as u64).expect("few");
        let Some(&(number, event)) = concerned.get(turn) else { return Fault::None };
        let lba = event.lba + rng.below(event.count);
        let one = Sectors::of(&[lba]);
        match (trouble, event.op) {
            (Trouble::Transient, _) => Fault::Once(number),
            (Trouble::Twice, _) => {
                let behind = turn + usize::try_from(rng.between(1, 6)).expect("small");
                Fault::Twice(number, concerned.get(behind).map_or(number + 1, |&(next, _)| next))
            }
            (Trouble::Permanent, Op::Read) => Fault::Bad { reads: one, writes: Sectors::NONE, from: number },
            (Trouble::Permanent, Op::Flush) => Fault::Flushes { from: number },
            (Trouble::Permanent, Op::Write | Op::Trim) => match place_of(&self.geometry, lba) {
                Place::Data => Fault::Bad { reads: Sectors::NONE, writes: one, from: number },
                Place::Block => Fault::Block { lba, from: number },
                Place::Record => Fault::Replica { lba, hidden: false, from: number },
            },
            (Trouble::Bad, _) => self.bad_sectors(lba, number, &mut rng),
            (Trouble::Replica, _) => Fault::Replica { lba, hidden: rng.chance(1, 3), from: number },
            (Trouble::Block, _) => Fault::Block { lba, from: number },
            (Trouble::Lost, _) => self.lost(number),
            // If the conversion's own flush failed next, it would write again on that account alone.
            (Trouble::Lossy, _) if event.user => Fault::Lossy { from: number, times: 1 },
            (Trouble::Lossy, _) => Fault::Lossy { from: number, times: Self::failed_flushes(case, &mut rng) },
            (Trouble::Clean | Trouble::Torn | Trouble::Physical | Trouble::Trim | Trouble::Away, _) => Fault::None,
        }
    }

    /// The calls that the trouble may begin with.
    fn concerned(&self, case: &Case, trouble: Trouble, events: &[Event]) -> Vec<(u32, Event)> {
        let concerned = (0..).zip(events).filter(|(_, event)| self.concerns(trouble, event));
        let concerned: Vec<_> = concerned.map(|(number, event)| (number, *event)).collect();
        // Every other time a user's flush, and one that comes when the conversion has just written.
        if trouble != Trouble::Lossy || !case.number.is_multiple_of(2) {
            return concerned;
        }
        let wrote = |number: u32| {
            let before = events[..usize::try_from(number).expect("small")].iter().rfind(|event| !event.user);
            before.is_some_and(|event| event.op == Op::Write)
        };
        let telling = concerned.iter().filter(|(number, event)| event.user && wrote(*number));
        let telling: Vec<_> = telling.copied().collect();
        if telling.is_empty() { concerned } else { telling }
    }

    /// Whether the trouble may begin with this call.
    fn concerns(&self, trouble: Trouble, event: &Event) -> bool {
        let at = place_of(&self.geometry, event.lba);
        let written = !event.user && event.op == Op::Write;
        match trouble {
            Trouble::Bad => !event.user && event.op != Op::Flush && at == Place::Data,
            Trouble::Replica => written && at == Place::Record,
            Trouble::Block => written && at == Place::Block,
            // A user's flush, too: it fails for whoever wrote before it.
            Trouble::Lossy => event.op == Op::Flush,
            _ => !event.user,
        }
    }

    /// The replica of the case that is lost, from an event on. It is always the same one: two are more than is promised.
    fn lost(&self, from: u32) -> Fault {
        let blocks: Vec<u64> = self.geometry.metadata_lbas().map(Lba::get).collect();
        let block = blocks[usize::try_from(self.rng.part(80).below(blocks.len() as u64)).expect("few")];
        let sectors = u64::from(MIN_METADATA_SIZE) / self.geometry.sector_size().u64();
        // A region begins or ends with its block.
        let first = if block < sectors { block } else { block + 1 - sectors };
        Fault::Lost { first, count: sectors, from }
    }

    /// Two to four data sectors around one, each unreadable, unwritable or both.
    fn bad_sectors(&self, around: u64, from: u32, rng: &mut Rng) -> Fault {
        let (first, count) = (self.geometry.offset_sector().get(), self.geometry.data_sectors().get());
        let style = rng.below(4);
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for _ in 0..rng.between(2, 4) {
            let lba = (around + rng.below(6)).saturating_sub(2).clamp(first, first + count - 1);
            let kind = if style < 2 { style } else { rng.below(3) };
            if kind != 1 {
                reads.push(lba);
            }
            if kind != 0 {
                writes.push(lba);
            }
        }
        Fault::Bad { reads: Sectors::of(&reads), writes: Sectors::of(&writes), from }
    }

    /// What fails at a boot after a cut, given what failed before it. A bad sector may still be bad, or have been replaced. A
    /// device that never flushes again is replaced. Calls of a recovery may fail, too.
    #[must_use]
    pub fn faults_at_boot(&self, case: &Case, before: Faults, unflushed: Option<u64>, rng: &Rng) -> Faults {
        let fault = |place: usize| {
            // The first is drawn as it is where it is alone.
            let rng = if place == 0 { rng.clone() } else { rng.part(1) };
            self.fault_at_boot(case, place, before.0[place], unflushed, rng)
        };
        Faults([fault(0), fault(1)])
    }

    fn fault_at_boot(&self, case: &Case, place: usize, before: Fault, unflushed: Option<u64>, mut rng: Rng) -> Fault {
        let number = |rng: &mut Rng, low, high| u32::try_from(rng.between(low, high)).expect("small");
        let lasting = before.is_lasting() && !before.keeps_from_opening();
        match case.family.troubles[place] {
            Trouble::Transient if rng.chance(1, 2) => Fault::Once(number(&mut rng, 0, 39)),
            Trouble::Twice if rng.chance(1, 2) => {
                let first = number(&mut rng, 0, 39);
                Fault::Twice(first, first + number(&mut rng, 1, 6))
            }
            Trouble::Lossy if rng.chance(1, 2) => {
                Fault::Lossy { from: number(&mut rng, 0, 39), times: Self::failed_flushes(case, &mut rng) }
            }
            Trouble::Away if rng.chance(3, 4) => Self::away(0, &mut rng),
            // A device that lost its power may come back with other sectors broken, where it was writing.
            Trouble::Bad if unflushed.is_some() && rng.chance(1, 3) => {
                self.bad_sectors(unflushed.unwrap_or_default(), 0, &mut rng)
            }
            // Or without a replica, at once or soon.
            Trouble::Lost if before == Fault::None && rng.chance(1, 2) => self.lost(0),
            Trouble::Lost if before == Fault::None && rng.chance(1, 2) => self.lost(number(&mut rng, 1, 60)),
            _ if lasting && rng.chance(1, 2) => before.from_the_start(),
            _ => Fault::None,
        }
    }

    /// How many flushes fail in a row. Beside something else it is one: the driver has patience for three or four failures in a
    /// row, and what comes of more than that is no promise.
    fn failed_flushes(case: &Case, rng: &mut Rng) -> u32 {
        let times = u32::try_from(rng.between(1, 3)).expect("small");
        if case.family.is_pair() { 1 } else { times }
    }

    /// The data sector at `lba`, if there is one.
    #[must_use]
    pub fn data_sector(&self, lba: u64) -> Option<u64> {
        self.geometry.lba_to_data(Lba::new(lba)).map(DataSector::get)
    }

    /// A burst of failed reads that begins soon after event `from`. It ends before the patience of an attach does.
    #[must_use]
    pub fn away(from: u32, rng: &mut Rng) -> Fault {
        let mut number = |low, high| u32::try_from(rng.between(low, high)).expect("small");
        Fault::Away { from: from + number(0, 60), reads: number(1, 20) }
    }
}
