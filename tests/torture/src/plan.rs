//! What a case is made of: the volume, the commands, the users and the fault.

use std::sync::Arc;

use vck_common::jvck::{JvckCbcCodec, JvckMetadataOptions, JvckMetadataStore, JvckSecrets};
use vck_common::units::MIN_METADATA_SIZE;
use vck_common::{ByteLen, DataSector, Geometry, SectorCount, SectorSize, VolumeCipher, VolumeState, XtsVolumeCipher};

use crate::cipher::KeyStream;
use crate::disk::{Event, Fault, Op};
use crate::family::{Case, Kind, Replicas, Trouble};
use crate::image::{Image, Sector};
use crate::machine::Machine;
use crate::model::{Model, Version};
use crate::rng::{Rng, mix};
use crate::store::VMK;
use crate::subject::Setup;
use crate::users::Users;
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
    /// Whether users trim.
    pub trims: bool,
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
        let data = if family.size == SectorSize::S512 { rng.between(8, 28) } else { rng.between(6, 14) };
        let options = JvckMetadataOptions {
            use_header: u32::from(family.replicas == Replicas::Both),
            use_footer: if family.replicas == Replicas::Both { 1 } else { 2 },
            metadata_size: MIN_METADATA_SIZE,
        };
        let total = data + 2 * u64::from(MIN_METADATA_SIZE) / family.size.u64();
        let geometry = options.geometry(family.size, SectorCount::new(total)).expect("a valid layout");
        let cipher: Arc<dyn VolumeCipher> = if rng.chance(1, 8) {
            Arc::new(XtsVolumeCipher::new(&KEYS[0], &KEYS[1]).expect("keys"))
        } else {
            Arc::new(KeyStream(rng.next()))
        };
        let batch = ByteLen::new(family.size.u64() * rng.between(2, 5));
        let model = Model::new(rng.next(), family.size, data);
        let encrypted = family.kind == Kind::Decrypt || family.kind != Kind::Encrypt && rng.chance(1, 2);
        let mut plan = Self {
            geometry,
            cipher,
            batch,
            skips: rng.chance(1, 2),
            image: Image::new(family.size, total),
            model,
            history: Vec::new(),
            script: Vec::new(),
            rate: if family.live { rng.between(3, 9) } else { 0 },
            trims: family.trouble == Trouble::Trim,
            rng,
        };
        plan.make(&options, encrypted, family.trouble == Trouble::Trim);
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
        Setup { batch: self.batch, skips: self.skips, weakness }
    }

    /// A machine with this medium.
    #[must_use]
    pub fn machine(&self, image: Image, model: Model, seed: u64, weakness: Weakness) -> Machine {
        let seed = self.rng.part(seed).next();
        Machine::new(image, self.geometry, model, Arc::clone(&self.cipher), seed, weakness)
    }

    /// The users of the case.
    #[must_use]
    pub fn users(&self) -> Option<Users> {
        (self.rate > 0).then(|| Users::new(self.rng.part(77), self.rate, self.trims))
    }

    /// What fails, given the calls of an undisturbed run: one of the conversion's own, each in its turn.
    #[must_use]
    pub fn fault(&self, case: &Case, events: &[Event]) -> Fault {
        let own: Vec<_> = (0..).zip(events).filter(|(_, event)| !event.user).collect();
        let mut rng = self.rng.part(78);
        let turn = usize::try_from(case.number % own.len().max(1) as u64).expect("few");
        let Some((number, event)) = own.get(turn) else { return Fault::None };
        let lba = event.lba + rng.below(event.count);
        match (case.family.trouble, event.op) {
            (Trouble::Transient, _) => Fault::Once(*number),
            (Trouble::Permanent, Op::Read) => Fault::Reads { lba, from: *number },
            (Trouble::Permanent, Op::Write | Op::Trim) => Fault::Writes { lba, from: *number },
            (Trouble::Permanent, Op::Flush) => Fault::Flushes { from: *number },
            (Trouble::Clean | Trouble::Torn | Trouble::Trim, _) => Fault::None,
        }
    }
}
