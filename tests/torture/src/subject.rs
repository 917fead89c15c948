//! One boot of the volume: store, engine and recovery over the machine's seams.

use std::sync::Arc;

use vck_common::journal::Activity;
use vck_common::{ByteLen, DataSector, EncryptedOffsetStore, NtStatus, VckResult, VolumeCipher, VolumeState};
use vck_windrv::engine::{BadSectors, Command, ConversionPolicy, Pace, Parts, Site, State, Step, Sweep, recover};

use crate::fault::Fault;
use crate::machine::Machine;
use crate::reference::Reference;
use crate::store::WatchedStore;
use crate::weak::Weakness;

enum Engine {
    Shipped(Box<Sweep>),
    Reference(Reference),
}

/// A volume that was opened.
pub struct Subject<'m> {
    machine: &'m Machine,
    store: WatchedStore<'m>,
    cipher: Arc<dyn VolumeCipher>,
    engine: Engine,
    /// What the conversion was found doing, until the first command.
    found: Option<Activity>,
    direction: VolumeState,
}

/// What differs from case to case.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Bytes of a short step.
    pub batch: ByteLen,
    /// Whether unreadable sectors are left behind.
    pub skips: bool,
    /// Whether it yields to others.
    pub yields: bool,
    /// What is broken.
    pub weakness: Weakness,
}

impl Setup {
    fn policy(self) -> ConversionPolicy {
        let ends_anywhere = self.weakness == Weakness::StepsEndAnywhere;
        let batch = if ends_anywhere { ByteLen::new(5 * 512) } else { self.batch };
        ConversionPolicy {
            smallest_step: batch,
            largest_step: ByteLen::new(batch.get() * 2),
            bad_sectors: if self.skips { BadSectors::Skip } else { BadSectors::Stop },
            pace: if self.yields { Pace::Balanced } else { Pace::Full },
            ..ConversionPolicy::default()
        }
    }
}

impl<'m> Subject<'m> {
    /// What an attach does: opens the store and the journal, recovers, publishes the boundary, shields what is damaged.
    ///
    /// # Errors
    /// Whatever keeps the volume from being opened.
    pub fn open(machine: &'m Machine, setup: Setup) -> VckResult<Self> {
        machine.world().attaching = true;
        let opened = Self::attach(machine, setup);
        let mut world = machine.world();
        world.attaching = false;
        if opened.is_ok() {
            // A burst of failed reads is a matter of the attach.
            for (place, fault) in world.disk.faults().0.into_iter().enumerate() {
                if matches!(fault, Fault::Away { .. }) {
                    world.disk.set_fault(place, Fault::None);
                }
            }
        }
        drop(world);
        opened
    }

    fn attach(machine: &'m Machine, setup: Setup) -> VckResult<Self> {
        let store = WatchedStore::open(machine, setup.weakness)?;
        let geometry = *store.inner().geometry();
        let cipher = Arc::clone(&machine.world().cipher);
        if setup.weakness == Weakness::ReferenceEngine {
            let (offset, direction) = store.load()?;
            machine.world().published = offset.sector.get();
            let engine = Engine::Reference(Reference::new(geometry, offset.sector, direction, setup.batch));
            return Ok(Self { machine, store, cipher, engine, found: None, direction });
        }
        let mut journal = store.journal()?;
        let bad_sectors = setup.policy().bad_sectors;
        let site =
            Site { io: machine, cipher: &*cipher, store: &store, random: machine, geometry: &geometry, bad_sectors };
        let opening = recover(&site, &mut journal)?;
        {
            let mut world = machine.world();
            world.published = opening.boundary.get();
            world.shields = opening.damaged.as_slice().iter().map(|damaged| damaged.sector.get()).collect();
        }
        let (found, direction) = (Some(opening.activity), opening.direction);
        let sweep = Sweep::new(geometry, opening, journal, setup.policy())?;
        if let Some(zone) = sweep.fenced() {
            let status = sweep.snapshot().error.map_or(NtStatus::IO_DEVICE_ERROR, |error| error.status);
            machine.world().fences.push((zone, status));
        }
        Ok(Self { machine, store, cipher, engine: Engine::Shipped(Box::new(sweep)), found, direction })
    }

    /// Starts in a direction.
    ///
    /// # Errors
    /// Those of the command.
    pub fn start(&mut self, direction: VolumeState) -> VckResult<()> {
        let parts = parts(self.machine, &self.store, &*self.cipher);
        match &mut self.engine {
            Engine::Reference(reference) => reference.start(&parts, direction),
            Engine::Shipped(sweep) => {
                let command = match direction {
                    VolumeState::Encrypt => Command::StartEncrypt,
                    VolumeState::Decrypt => Command::StartDecrypt,
                };
                let result = sweep.command(&parts, command);
                if result.is_ok() {
                    (self.found, self.direction) = (None, direction);
                }
                result
            }
        }
    }

    /// Goes on in the recorded direction.
    ///
    /// # Errors
    /// Those of the command.
    pub fn resume(&mut self) -> VckResult<()> {
        let parts = parts(self.machine, &self.store, &*self.cipher);
        match &mut self.engine {
            Engine::Reference(_) => Ok(()),
            Engine::Shipped(sweep) => {
                self.found = None;
                sweep.command(&parts, Command::Resume)
            }
        }
    }

    /// Pauses.
    ///
    /// # Errors
    /// Those of the command.
    pub fn pause(&mut self) -> VckResult<()> {
        let parts = parts(self.machine, &self.store, &*self.cipher);
        match &mut self.engine {
            Engine::Reference(reference) => {
                reference.running = false;
                Ok(())
            }
            Engine::Shipped(sweep) => sweep.command(&parts, Command::Pause),
        }
    }

    /// One step; `false` if there is nothing to do.
    pub fn step(&mut self) -> bool {
        let parts = parts(self.machine, &self.store, &*self.cipher);
        match &mut self.engine {
            // One that fails stands still.
            Engine::Reference(reference) => reference.step(&parts).unwrap_or(false),
            Engine::Shipped(sweep) => {
                let step = sweep.step(&parts);
                if let Step::Rest(time) = step {
                    self.machine.world().rest(time);
                }
                step != Step::Idle
            }
        }
    }

    /// Ends a step that is under way, as a shutdown does.
    pub fn settle(&mut self) {
        let parts = parts(self.machine, &self.store, &*self.cipher);
        if let Engine::Shipped(sweep) = &mut self.engine {
            sweep.settle(&parts);
        }
    }

    /// The durable boundary.
    #[must_use]
    pub fn boundary(&self) -> DataSector {
        match &self.engine {
            Engine::Shipped(sweep) => sweep.snapshot().boundary,
            Engine::Reference(reference) => reference.boundary,
        }
    }

    /// What the conversion is doing.
    #[must_use]
    pub fn activity(&self) -> Activity {
        match &self.engine {
            Engine::Reference(reference) if reference.running => Activity::Running,
            Engine::Reference(_) => Activity::Idle,
            Engine::Shipped(_) if self.found.is_some() => self.found.unwrap_or_default(),
            Engine::Shipped(sweep) => match sweep.snapshot().state {
                State::Idle => Activity::Idle,
                State::Encrypting | State::Decrypting => Activity::Running,
                State::Paused => Activity::Paused,
                State::Faulted => Activity::Faulted,
            },
        }
    }

    /// Whether anything failed that the conversion did not overcome.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        match &self.engine {
            Engine::Shipped(sweep) => sweep.snapshot().error.map(|error| error.to_string()),
            Engine::Reference(_) => None,
        }
    }

    /// Whether what a command has promised survives a loss of power. The baseline forgets that it was running.
    #[must_use]
    pub const fn keeps_promises(&self) -> bool {
        matches!(self.engine, Engine::Shipped(_))
    }

    /// The persisted direction.
    #[must_use]
    pub fn direction(&self) -> VolumeState {
        match &self.engine {
            Engine::Shipped(_) => self.direction,
            Engine::Reference(reference) => reference.direction,
        }
    }
}

fn parts<'a>(machine: &'a Machine, store: &'a WatchedStore<'_>, cipher: &'a dyn VolumeCipher) -> Parts<'a> {
    Parts { io: machine, cipher, store, random: machine, gate: machine, meter: machine }
}
