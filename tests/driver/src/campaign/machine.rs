//! A world with the driver and the volume in it.

use vck_ntsim::World;
use vck_ntsim::io::{DriverConfig, DriverId, FilterPosition};
use vck_ntsim::pnp::{DiskId, VolumeConfig, VolumeId};
use vck_ntsim::storage::Disk;
use vck_ntsim::user::Token;

use super::plan::Plan;
use super::{Driver, stamp};
use crate::{KEY1, KEY2, VMK};

/// A world with the driver and the volume in it.
pub(super) struct Machine {
    pub(super) world: World,
    pub(super) driver: DriverId,
    pub(super) disk: DiskId,
    pub(super) volume: VolumeId,
    pub(super) workers_end: u64,
}

impl Machine {
    pub(super) fn boot(plan: &Plan, seed: u64, driver: Driver, disk: Disk) -> Result<Self, String> {
        let world = World::builder()
            .seed(seed)
            .hostile(plan.hostile)
            .force_pending(plan.force_pending)
            .configure(|config| config.preemption = plan.preemption)
            .configure(|config| config.extended_features = crate::kernel::extended_features())
            .build();
        if driver.keeps_secrets {
            for secret in [&VMK, &KEY1, &KEY2] {
                world.watch_secret(secret);
            }
        }
        let entry = driver.entry;
        let config = DriverConfig { service: "VolumeCryptKitSample", entry, filter: FilterPosition::VolumeLower };
        let driver = world.load_driver(config).map_err(|status| format!("the driver does not load: {status:#x}"))?;
        let workers_end = last_thread(&world);
        let disk = world.insert_disk(disk);
        let volume = plug(&world, plan, disk)?;
        Ok(Self { world, driver, disk, volume, workers_end })
    }

    pub(super) fn findings(&self) -> Result<(), String> {
        self.world.kernel().check_memory();
        let findings = self.world.findings();
        if findings.is_empty() {
            return Ok(());
        }
        Err(findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }
}

/// The number of the newest thread.
pub(super) fn last_thread(world: &World) -> u64 {
    world.spawn_user(Token::system(), |_| ()).0
}

pub(super) fn plug(world: &World, plan: &Plan, disk: DiskId) -> Result<VolumeId, String> {
    let config = VolumeConfig { file_system: plan.file_system(), ..VolumeConfig::whole(disk).letter('D') };
    world.plug(config).map_err(|status| format!("the volume does not start: {status:#x}"))
}

/// What the disk holds before the first boot.
pub(super) fn write_first(plan: &Plan, disk: &Disk) {
    if plan.blank {
        return;
    }
    let size = plan.sector_size as usize;
    let run = (1 << 20) / u64::from(plan.sector_size);
    let mut at = 0;
    while at < plan.data_sectors {
        let count = run.min(plan.data_sectors - at);
        let mut bytes = vec![0; usize::try_from(count).unwrap_or(0) * size];
        for (sector, number) in bytes.chunks_mut(size).zip(at..) {
            stamp::fill(sector, number, 1);
        }
        disk.poke(plan.offset_sectors() + at, &bytes);
        at += count;
    }
}
