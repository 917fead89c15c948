//! The provider is told: asked once for each attach, released once for each volume it took, in the right order.

use std::sync::atomic::{AtomicUsize, Ordering};

use vck_common::jvck::{JvckMetadataOptions, JvckMetadataStore};
use vck_common::{NtStatus, VckError, VckResult, XtsVolumeCipher};
use vck_driver_tests::{Client, FOOTERS, Failure, KEY1, KEY2, VMK, WRONG_VMK, allowed, sealed_block};
use vck_ntsim::World;
use vck_ntsim::io::{DriverConfig, DriverId, FilterPosition};
use vck_ntsim::pnp::{DiskId, VolumeConfig, VolumeId};
use vck_ntsim::storage::DiskConfig;
use vck_ntsim::user::{Access, Share, Token};
use vck_windrv::control::ControlNames;
use vck_windrv::driver::Product;
use vck_windrv::engine::ConversionPolicy;
use vck_windrv::nt::try_box;
use vck_windrv::provider::{AdministratorsOnly, AttachContext, DetachContext, IoConfig, VolumeProvider};

/// Who was called how often. Of the test, not of the driver; one test uses it.
static ATTACHED: AtomicUsize = AtomicUsize::new(0);
static REFUSED: AtomicUsize = AtomicUsize::new(0);
static DETACHED: AtomicUsize = AtomicUsize::new(0);
/// Bytes of the names given to `on_detach`.
static NAMES: AtomicUsize = AtomicUsize::new(0);

/// Opens JVCK volumes and counts.
struct Counting {
    _private: u8,
}

fn open(context: &AttachContext<'_>) -> VckResult<IoConfig> {
    let store = JvckMetadataStore::open(context.io.clone(), context.vmk)?;
    let keys = store.fvek_keys();
    let cipher =
        XtsVolumeCipher::with_features(keys.fvek_key1.expose(), keys.fvek_key2.expose(), allowed(context.features))?;
    Ok(IoConfig::Encrypted {
        cipher: try_box(cipher)?,
        offset_sector: store.geometry().offset_sector(),
        encrypted_offset: store.load_offset(),
        offset_store: try_box(store)?,
        policy: ConversionPolicy::default(),
    })
}

impl VolumeProvider for Counting {
    fn on_attach(&self, context: &AttachContext<'_>) -> VckResult<IoConfig> {
        if context.vmk == b"pass through" {
            return Ok(IoConfig::Passthrough);
        }
        let config = open(context);
        let counter = if config.is_ok() { &ATTACHED } else { &REFUSED };
        counter.fetch_add(1, Ordering::SeqCst);
        config
    }

    fn on_detach(&self, context: &DetachContext<'_>) -> VckResult<()> {
        DETACHED.fetch_add(1, Ordering::SeqCst);
        NAMES.fetch_add(context.volume_path.len(), Ordering::SeqCst);
        // What a provider says here is logged, no more.
        Err(VckError::WrongState("the provider is not happy, and nobody cares"))
    }
}

fn product() -> VckResult<Product> {
    Ok(Product {
        provider: try_box(Counting { _private: 0 })?,
        authorization: Box::new(AdministratorsOnly),
        control: ControlNames::default(),
    })
}

vck_windrv::driver_entry!(product);

const DATA: u64 = 1 << 20;
const NAME: &str = r"\??\D:";

fn boot() -> (World, DriverId, DiskId, VolumeId) {
    let world = World::boot(5);
    for secret in [&VMK, &KEY1, &KEY2] {
        world.watch_secret(secret);
    }
    let config = DriverConfig { service: "counting", entry: DriverEntry, filter: FilterPosition::VolumeLower };
    let driver = world.load_driver(config).expect("loads");
    let disk = world.add_disk(DiskConfig::memory(DATA + FOOTERS));
    let volume = world.plug(VolumeConfig::whole(disk).letter('D')).expect("starts");
    (world, driver, disk, volume)
}

fn counts() -> (usize, usize, usize) {
    (ATTACHED.load(Ordering::SeqCst), REFUSED.load(Ordering::SeqCst), DETACHED.load(Ordering::SeqCst))
}

#[test]
fn every_volume_that_was_taken_is_given_back_once() {
    let (world, driver, disk, volume) = boot();
    let client = Client::open(&world.user(Token::administrator()), Access::READ_WRITE).expect("opens");
    let fine = JvckMetadataOptions::default();
    let block = sealed_block(fine, 512, (DATA + FOOTERS) / 512, 1);

    let wrong = client.prepare(NAME, fine, &WRONG_VMK, &block).err();
    assert_eq!(wrong, Some(Failure(NtStatus::WRONG_PASSWORD)));
    assert_eq!(counts(), (0, 1, 0), "what was refused is not released");
    let declined = client.prepare(NAME, fine, b"pass through", &block).err();
    assert_eq!(declined, Some(Failure(NtStatus::NOT_SUPPORTED)));
    assert!(!client.status(NAME).expect("a status").attached, "a volume that the provider declines is not bound");

    client.prepare(NAME, fine, &VMK, &block).expect("prepares");
    assert_eq!(counts(), (1, 1, 0));
    client.detach(NAME).expect("detaches, whatever the provider says");
    assert_eq!(counts(), (1, 1, 1));
    assert_eq!(NAMES.load(Ordering::SeqCst), NAME.len(), "it is told the name of the PREPARE");

    client.reattach(NAME, &VMK).expect("attaches");
    client.encrypt(NAME).expect("starts");
    assert_eq!(client.wait_until_idle(NAME), Ok(0));
    client.detach(NAME).expect("detaches");
    let file = world.user(Token::administrator()).open(NAME, Access::READ, Share::ALL).expect("opens");
    assert_eq!(client.reattach(NAME, &VMK).err(), Some(Failure(NtStatus::SHARING_VIOLATION)));
    drop(file);
    let (attached, _, detached) = counts();
    assert_eq!(attached, detached, "an attach that failed later is given back as well");
    client.reattach(NAME, &VMK).expect("attaches");
    assert_eq!(client.detach(r"\??\Q:").err(), Some(Failure(NtStatus::OBJECT_NAME_NOT_FOUND)));
    let (taken, _, given) = counts();
    assert_eq!(taken, given + 1, "what failed released nothing");
    world.remove(volume).expect("removed");
    assert_eq!(counts(), (taken, 1, taken), "removal releases it too");

    let volume = world.plug(VolumeConfig::whole(disk).letter('D')).expect("starts");
    client.reattach(NAME, &VMK).expect("attaches");
    world.surprise_remove(volume).expect("cannot be refused");
    world.remove(volume).expect("removed");
    assert_eq!(counts(), (taken + 1, 1, taken + 1), "and a surprise removal, once");
    drop(client);
    world.unload_driver(driver).expect("unloads");
    world.assert_clean();
    assert_eq!(world.pool_blocks(), 0);
}
