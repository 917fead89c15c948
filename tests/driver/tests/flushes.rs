//! A flush that fails may drop what anybody had written: who had written hears of it, whoever had sent that flush.

use std::sync::Mutex;

use vck_common::jvck::JvckMetadataOptions;
use vck_common::{Durability, Lba, NtStatus, SectorIo, VckError, VckResult};
use vck_driver_tests::{Client, FOOTERS, VMK, sealed_block};
use vck_ntsim::io::{DriverConfig, FilterPosition};
use vck_ntsim::pnp::{DiskId, VolumeConfig};
use vck_ntsim::storage::{Disk, DiskConfig, DiskOp, Fault, FaultEffect};
use vck_ntsim::user::{Access, Share, Token};
use vck_ntsim::{ThreadKind, World, as_host};
use vck_sample_driver::JvckProvider;
use vck_windrv::control::ControlNames;
use vck_windrv::driver::Product;
use vck_windrv::io::VolumeIo;
use vck_windrv::nt::try_box;
use vck_windrv::provider::{AdministratorsOnly, AttachContext, IoConfig, VolumeProvider};

/// The provider's way to the volume, which it keeps.
static KEPT: Mutex<Option<VolumeIo>> = Mutex::new(None);

struct Keeper;

impl VolumeProvider for Keeper {
    fn on_attach(&self, context: &AttachContext<'_>) -> VckResult<IoConfig> {
        let io = context.io.clone();
        as_host(|| *KEPT.lock().expect("one thread") = Some(io));
        JvckProvider.on_attach(context)
    }
}

fn product() -> VckResult<Product> {
    Ok(Product {
        provider: try_box(Keeper)?,
        authorization: try_box(AdministratorsOnly)?,
        control: ControlNames::default(),
    })
}

vck_windrv::driver_entry!(product);

const DATA: u64 = 1 << 20;
const NAME: &str = r"\??\D:";
const FULL: NtStatus = NtStatus::IO_DEVICE_ERROR;
const BUS_RESET: NtStatus = NtStatus(0x8000_001D_u32.cast_signed());

/// Runs `body` as a thread of the driver would.
fn driver(world: &World, body: impl FnOnce(&VolumeIo) -> VckResult<()> + Send + 'static) -> VckResult<()> {
    let io = KEPT.lock().expect("one thread").clone().expect("attached");
    world.call("driver", ThreadKind::System, move || body(&io)).expect("it ran")
}

/// A sector that belongs to nobody: the file system ends before it, and the footers begin after it.
fn write(io: &VolumeIo) -> VckResult<()> {
    io.write_sectors(Lba::new(DATA / 512 - 1), &[7; 512], Durability::AtNextFlush)
}

fn users_flush(world: &World) -> Result<(), NtStatus> {
    let handle = world.user(Token::administrator()).open(NAME, Access::READ_WRITE, Share::ALL).expect("opens");
    handle.flush().map_err(NtStatus)
}

fn fail_next_flush(world: &World, disk: DiskId, status: NtStatus) {
    world.disk(disk).inject(Fault::anywhere(DiskOp::Flush, FaultEffect::Fail(status.0)).times(1));
}

#[test]
fn a_program_s_failed_flush_is_the_driver_s_too() {
    let world = World::boot(11);
    let config = DriverConfig { service: "keeper", entry: DriverEntry, filter: FilterPosition::VolumeLower };
    let loaded = world.load_driver(config).expect("loads");
    let disk = world.insert_disk(Disk::new(DiskConfig::memory(DATA + FOOTERS)).expect("a disk"));
    let volume = world.plug(VolumeConfig::whole(disk).letter('D')).expect("starts");
    let client = Client::open(&world.user(Token::administrator()), Access::READ_WRITE).expect("opens");
    let block = sealed_block(JvckMetadataOptions::default(), 512, (DATA + FOOTERS) / 512, 0x5A);
    assert!(client.prepare(NAME, JvckMetadataOptions::default(), &VMK, &block).expect("prepares").complete);

    // Nothing was written: no business of the driver's.
    fail_next_flush(&world, disk, FULL);
    assert_eq!(users_flush(&world), Err(FULL));
    driver(&world, SectorIo::flush).expect("nothing to lose");

    // Between a write and its flush: the device may have dropped it, and says nothing any more.
    driver(&world, write).expect("written");
    fail_next_flush(&world, disk, FULL);
    assert_eq!(users_flush(&world), Err(FULL));
    let lost = driver(&world, SectorIo::flush);
    assert_eq!(lost, Err(VckError::Device { status: FULL, lba: None }));
    driver(&world, |io| write(io).and_then(|()| io.flush())).expect("written again");

    // A reset of the bus is reported as a warning and loses as much.
    driver(&world, write).expect("written");
    fail_next_flush(&world, disk, BUS_RESET);
    assert_eq!(users_flush(&world), Err(BUS_RESET));
    assert_eq!(driver(&world, SectorIo::flush), lost);
    driver(&world, |io| write(io).and_then(|()| io.flush())).expect("written again");

    // A flush that succeeded in between takes nothing away, and one that no device got loses nothing.
    driver(&world, write).expect("written");
    users_flush(&world).expect("flushed");
    fail_next_flush(&world, disk, NtStatus::NOT_SUPPORTED);
    assert_eq!(users_flush(&world), Err(NtStatus::NOT_SUPPORTED));
    driver(&world, SectorIo::flush).expect("nothing was lost");

    world.assert_clean();
    drop(client);
    *KEPT.lock().expect("one thread") = None;
    world.remove(volume).expect("removed");
    world.unload_driver(loaded).expect("unloads");
    world.assert_clean();
}
