//! Machines with one volume, and what sits on its stack.

use std::time::Duration;

use vck_common::jvck::JvckMetadataOptions;
use vck_driver_tests::{Client, FOOTERS, VMK, sealed_block};
use vck_ntsim::io::{DriverConfig, FilterPosition};
use vck_ntsim::pnp::{DiskId, VolumeConfig, VolumeId};
use vck_ntsim::storage::{Disk, DiskConfig, Timing};
use vck_ntsim::user::{Access, Token};
use vck_ntsim::{SchedulerKind, World};

use crate::{paced, raw};

/// What sits on the volume's stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stack {
    /// Nothing.
    Bare,
    /// A filter that passes everything through.
    PassThrough,
    /// A filter that serves one request at a time.
    Serial,
    /// A filter that makes the kernel calls of the bound filter's cipher side, and nothing else.
    Shell,
    /// The sample driver, bound, with nothing encrypted.
    Plain,
    /// The sample driver, bound, with everything encrypted.
    Encrypted,
    /// As `Plain`, with conversions that run as fast as they can.
    Full,
    /// As `Plain`, with conversions that yield to others.
    Balanced,
}

impl Stack {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare device",
            Self::PassThrough => "pass-through filter",
            Self::Serial => "one-at-a-time filter",
            Self::Shell => "same kernel calls, no work",
            Self::Plain => "bound, plain side",
            Self::Encrypted => "bound, cipher side",
            Self::Full => "bound, full pace",
            Self::Balanced => "bound, balanced pace",
        }
    }

    fn driver(self) -> Option<DriverConfig> {
        let config = |service, entry| DriverConfig { service, entry, filter: FilterPosition::VolumeLower };
        match self {
            Self::Bare => None,
            Self::PassThrough => Some(config("pass", raw::pass_through)),
            Self::Serial => Some(config("serial", raw::serial)),
            Self::Shell => Some(config("shell", raw::shell)),
            Self::Plain | Self::Encrypted => Some(config("VolumeCryptKitSample", vck_sample_driver::DriverEntry)),
            Self::Full => Some(config("VolumeCryptKitSample", paced::full::DriverEntry)),
            Self::Balanced => Some(config("VolumeCryptKitSample", paced::balanced::DriverEntry)),
        }
    }
}

/// A machine that is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// What sits on the stack.
    pub(crate) stack: Stack,
    /// Virtual time, or threads and real time.
    pub(crate) scheduler: SchedulerKind,
    /// The device.
    pub(crate) timing: Timing,
    /// Bytes of the data region.
    pub(crate) data_bytes: u64,
    /// Processors of a virtual machine.
    pub(crate) processors: u32,
}

/// The machine.
pub(crate) struct Machine {
    /// The world.
    pub(crate) world: World,
    /// The volume's disk.
    pub(crate) disk: DiskId,
    /// The volume.
    pub(crate) volume: VolumeId,
}

impl Machine {
    /// Boots, loads the driver, plugs the volume in, binds and encrypts it as the stack says.
    ///
    /// # Panics
    /// If any of that fails: a measurement of something else would be worse.
    pub(crate) fn boot(setup: Setup) -> Self {
        let world = World::builder()
            .seed(1)
            .scheduler(setup.scheduler)
            .processors(setup.processors)
            .configure(|config| {
                config.preemption = 0;
                // Costs time at every call into the simulator.
                config.watch_extended_state = false;
                // Virtual time is that of devices and timers alone.
                config.tick = 0;
            })
            .build();
        if let Some(driver) = setup.stack.driver() {
            world.load_driver(driver).expect("the driver loads");
        }
        // A modelled cache keeps versions of every sector: its cost in real time would be that of memory for them.
        let cached = setup.scheduler == SchedulerKind::Deterministic;
        let config = DiskConfig::memory(setup.data_bytes + FOOTERS).sectors(512, 4096).volatile_cache(cached);
        let config = config.timing(setup.timing);
        let disk = world.insert_disk(Disk::new(config).expect("a disk in memory"));
        let volume = world.plug(VolumeConfig::whole(disk).letter('D')).expect("the volume starts");
        let machine = Self { world, disk, volume };
        if !matches!(setup.stack, Stack::Bare | Stack::PassThrough | Stack::Serial | Stack::Shell) {
            machine.bind(setup.data_bytes);
        }
        if setup.stack == Stack::Encrypted {
            let client = machine.client();
            client.encrypt(&machine.path()).expect("the conversion starts");
            machine.wait_for_conversion();
            let boundary = client.status(&machine.path()).expect("a status").boundary;
            assert_eq!(boundary, setup.data_bytes / 512, "all of the volume is encrypted");
        }
        machine.world.assert_clean();
        machine
    }

    fn bind(&self, data_bytes: u64) {
        let options = JvckMetadataOptions::default();
        let block = sealed_block(options, 512, (data_bytes + FOOTERS) / 512, 0x5A);
        let prepared = self.client().prepare(&self.path(), options, &VMK, &block).expect("the volume is prepared");
        assert!(prepared.complete);
    }

    /// Lets time pass until the conversion is at its end.
    ///
    /// # Panics
    /// If it ends in another state than idle.
    pub(crate) fn wait_for_conversion(&self) {
        loop {
            self.world.run_for(Duration::from_millis(20));
            match self.client().progress(&self.path()).expect("a progress").0 {
                0 => return,
                1 | 2 => {}
                state => panic!("the conversion stopped in state {state}"),
            }
        }
    }

    /// An administrator's control handle.
    pub(crate) fn client(&self) -> Client<'_> {
        let admin = self.world.user(Token::administrator());
        Client::open(&admin, Access::READ_WRITE).expect("administrators may open the control device")
    }

    /// NT name of the volume.
    pub(crate) fn path(&self) -> String {
        self.world.device_name(self.volume)
    }
}
