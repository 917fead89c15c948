//! One machine with the sample driver and one volume.

use vck_common::jvck::JvckMetadataOptions;
use vck_ntsim::io::{DriverConfig, DriverId, FilterPosition};
use vck_ntsim::pnp::{DiskId, VolumeConfig, VolumeId};
use vck_ntsim::storage::{Disk, DiskConfig};
use vck_ntsim::user::{Access, Token, User};
use vck_ntsim::{SchedulerKind, World};

use crate::{Client, FOOTERS, KEY1, KEY2, VMK, sealed_block};

/// How a bench is set up.
#[derive(Clone)]
pub struct Setup {
    /// Seed of the world.
    pub seed: u64,
    /// Which scheduler.
    pub scheduler: SchedulerKind,
    /// Hostile dispatch levels and stack.
    pub hostile: bool,
    /// Every lower request pends.
    pub force_pending: bool,
    /// Logical sector size.
    pub sector_size: u32,
    /// Bytes of the data region; the footers come on top.
    pub data_bytes: u64,
    /// One in this many system mappings fails; zero for never.
    pub mapping_failure_rate: u32,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            seed: 1,
            scheduler: SchedulerKind::Deterministic,
            hostile: false,
            force_pending: false,
            sector_size: 512,
            data_bytes: 4 << 20,
            mapping_failure_rate: 0,
        }
    }
}

/// The machine.
pub struct Bench {
    /// The world.
    pub world: World,
    /// The driver.
    pub driver: DriverId,
    /// The volume's disk.
    pub disk: DiskId,
    /// The volume.
    pub volume: VolumeId,
    setup: Setup,
}

impl Bench {
    /// Boots, loads the driver, plugs the volume in.
    ///
    /// # Panics
    /// If any of that fails.
    #[must_use]
    pub fn boot(setup: Setup) -> Self {
        let config = DiskConfig::memory(setup.data_bytes + FOOTERS).sectors(setup.sector_size, 4096);
        let disk = Disk::new(config).expect("a disk in memory");
        Self::boot_with(setup, disk)
    }

    /// The same with a disk that has been used before.
    ///
    /// # Panics
    /// If any of that fails.
    #[must_use]
    pub fn boot_with(setup: Setup, disk: Disk) -> Self {
        let world = World::builder()
            .seed(setup.seed)
            .scheduler(setup.scheduler)
            .hostile(setup.hostile)
            .force_pending(setup.force_pending)
            .configure(|config| config.mapping_failure_rate = setup.mapping_failure_rate)
            .configure(|config| config.extended_features = crate::kernel::extended_features())
            .build();
        for secret in [&VMK, &KEY1, &KEY2] {
            world.watch_secret(secret);
        }
        let driver = world
            .load_driver(DriverConfig {
                service: "VolumeCryptKitSample",
                entry: crate::kernel::entry(),
                filter: FilterPosition::VolumeLower,
            })
            .expect("the driver loads");
        let disk = world.insert_disk(disk);
        let volume = world.plug(VolumeConfig::whole(disk).letter('D')).expect("the volume starts");
        world.assert_clean();
        Self { world, driver, disk, volume, setup }
    }

    /// An administrator.
    #[must_use]
    pub fn admin(&self) -> User<'_> {
        self.world.user(Token::administrator())
    }

    /// An administrator's control handle.
    ///
    /// # Panics
    /// If it cannot be opened.
    #[must_use]
    pub fn client(&self) -> Client<'_> {
        Client::open(&self.admin(), Access::READ_WRITE).expect("administrators may open the control device")
    }

    /// NT name of the volume.
    #[must_use]
    pub fn path(&self) -> String {
        self.world.device_name(self.volume)
    }

    /// Sectors of the data region of a default prepare.
    #[must_use]
    pub fn data_sectors(&self) -> u64 {
        self.setup.data_bytes / u64::from(self.setup.sector_size)
    }

    /// The setup that the bench was booted with.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// A block for a default prepare.
    #[must_use]
    pub fn block(&self) -> Vec<u8> {
        let sectors = (self.setup.data_bytes + FOOTERS) / u64::from(self.setup.sector_size);
        sealed_block(JvckMetadataOptions::default(), self.setup.sector_size, sectors, 0x5A)
    }

    /// The disk's content as the machine sees it.
    #[must_use]
    pub fn image(&self) -> Vec<u8> {
        let disk = self.world.disk(self.disk);
        disk.peek(0, disk.sectors())
    }

    /// Removes the volume, unloads the driver, and checks that nothing is left.
    ///
    /// # Panics
    /// On findings, leaks, or a refusal.
    pub fn tear_down(self) {
        self.world.remove(self.volume).expect("the volume is removed");
        self.world.assert_clean();
        self.world.unload_driver(self.driver).expect("the driver unloads");
        self.world.assert_clean();
        assert_eq!(self.world.live_irps(), 0);
        assert_eq!(self.world.leak_report(), Vec::<String>::new());
        assert_eq!(self.world.pool_blocks(), 0);
    }
}
