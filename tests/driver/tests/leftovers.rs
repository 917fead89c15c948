//! What a provider leaves behind: keys on the stacks that it ran on, and the access to the volume that it was lent.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use vck_common::jvck::{JvckMetadataOptions, JvckMetadataStore};
use vck_common::{
    ConversionJournal, DataSector, EncryptedOffset, EncryptedOffsetStore, Lba, RandomSource, SealedUpdate, SectorIo,
    VckError, VckResult, VolumeState, XtsVolumeCipher,
};
use vck_driver_tests::{Client, FOOTERS, Failure, KEY1, KEY2, VMK, WRONG_VMK, allowed, sealed_block};
use vck_ntsim::World;
use vck_ntsim::io::{DriverConfig, FilterPosition};
use vck_ntsim::pnp::VolumeConfig;
use vck_ntsim::storage::{Disk, DiskConfig};
use vck_ntsim::user::{Access, Token};
use vck_windrv::control::ControlNames;
use vck_windrv::driver::Product;
use vck_windrv::engine::ConversionPolicy;
use vck_windrv::io::VolumeIo;
use vck_windrv::nt::try_box;
use vck_windrv::provider::{AdministratorsOnly, AttachContext, DetachContext, IoConfig, VolumeProvider};

/// The access of the last attach, of which a provider should not keep a clone and can. Of the test; one test uses it.
static KEPT: Mutex<Option<VolumeIo>> = Mutex::new(None);
/// Clones of earlier attaches that were found revoked.
static REVOKED: AtomicUsize = AtomicUsize::new(0);
/// Releases during which the access still worked.
static WORKED: AtomicUsize = AtomicUsize::new(0);

/// Keeps what it should not, and leaves the stack full of a key.
struct Careless;

/// Fills the stack below the caller with the key.
#[inline(never)]
fn paint(depth: usize) {
    let mut area = [[0_u8; 32]; 16];
    area.fill(KEY1);
    std::hint::black_box(&mut area);
    if depth > 0 {
        paint(depth - 1);
    }
    std::hint::black_box(&mut area);
}

/// Leaves the stack of whoever seals full of a key: that is the thread of the conversion, too.
struct Painting<S>(S);

impl<S: EncryptedOffsetStore> EncryptedOffsetStore for Painting<S> {
    fn load(&self) -> VckResult<(EncryptedOffset, VolumeState)> {
        self.0.load()
    }

    fn seal(
        &self,
        offset: DataSector,
        state: VolumeState,
        random: &dyn RandomSource,
        out: &mut SealedUpdate,
    ) -> VckResult<()> {
        let sealed = self.0.seal(offset, state, random, out);
        paint(16);
        sealed
    }

    fn sealed_is_durable(&self, offset: DataSector, state: VolumeState) {
        self.0.sealed_is_durable(offset, state);
    }

    fn needs_rewrite(&self) -> bool {
        self.0.needs_rewrite()
    }

    fn journal(&self) -> VckResult<Option<Box<dyn ConversionJournal>>> {
        self.0.journal()
    }
}

fn open(context: &AttachContext<'_>) -> VckResult<IoConfig> {
    let store = JvckMetadataStore::open(context.io.clone(), context.vmk)?;
    let keys = store.fvek_keys();
    let (data_key, tweak_key) = (keys.fvek_key1.expose(), keys.fvek_key2.expose());
    let cipher = try_box(XtsVolumeCipher::with_features(data_key, tweak_key, allowed(context.features))?)?;
    let (offset_sector, encrypted_offset) = (store.geometry().offset_sector(), store.load_offset());
    let (offset_store, policy) = (try_box(Painting(store))?, ConversionPolicy::default());
    Ok(IoConfig::Encrypted { cipher, offset_sector, encrypted_offset, offset_store, policy })
}

impl VolumeProvider for Careless {
    fn on_attach(&self, context: &AttachContext<'_>) -> VckResult<IoConfig> {
        let before = KEPT.lock().expect("one thread").replace(context.io.clone());
        if let Some(before) = before {
            assert_eq!(before.read_sectors(Lba::ZERO, &mut [0; 512]), Err(VckError::Removed));
            assert_eq!(before.flush(), Err(VckError::Removed));
            REVOKED.fetch_add(1, Ordering::SeqCst);
        }
        let config = open(context);
        paint(16);
        config
    }

    fn on_detach(&self, _: &DetachContext<'_>) -> VckResult<()> {
        let kept = KEPT.lock().expect("one thread").clone().expect("attached before");
        kept.read_sectors(Lba::ZERO, &mut [0; 512])?;
        WORKED.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

fn product() -> VckResult<Product> {
    Ok(Product {
        provider: try_box(Careless)?,
        authorization: Box::new(AdministratorsOnly),
        control: ControlNames::default(),
    })
}

vck_windrv::driver_entry!(product);

const DATA: u64 = 1 << 20;
const NAME: &str = r"\??\D:";

#[test]
fn a_careless_provider_leaves_no_key_in_pool_or_on_stacks_and_no_way_to_the_device() {
    let world = World::boot(9);
    for secret in [&VMK, &KEY1, &KEY2] {
        world.watch_secret(secret);
    }
    let config = DriverConfig { service: "careless", entry: DriverEntry, filter: FilterPosition::VolumeLower };
    let driver = world.load_driver(config).expect("loads");
    let disk = world.insert_disk(Disk::new(DiskConfig::memory(DATA + FOOTERS)).expect("a disk"));
    let volume = world.plug(VolumeConfig::whole(disk).letter('D')).expect("starts");
    let client = Client::open(&world.user(Token::administrator()), Access::READ_WRITE).expect("opens");
    let block = sealed_block(JvckMetadataOptions::default(), 512, (DATA + FOOTERS) / 512, 0x5A);

    let refused = client.prepare(NAME, JvckMetadataOptions::default(), &WRONG_VMK, &block);
    assert!(matches!(refused, Err(Failure(_))), "{refused:?}");
    assert!(client.prepare(NAME, JvckMetadataOptions::default(), &VMK, &block).expect("prepares").complete);
    client.encrypt(NAME).expect("starts");
    assert_eq!(client.wait_until_idle(NAME), Ok(0));
    assert_eq!(REVOKED.load(Ordering::SeqCst), 1, "of the refused attach");
    client.detach(NAME).expect("detaches");
    assert_eq!(WORKED.load(Ordering::SeqCst), 1);
    assert!(client.reattach(NAME, &VMK).expect("attaches again").complete);
    assert_eq!(REVOKED.load(Ordering::SeqCst), 2, "of the attach that was detached");
    world.assert_clean();

    drop(client);
    world.remove(volume).expect("removed");
    world.assert_clean();
    let kept = KEPT.lock().expect("one thread").take().expect("kept");
    let call = world.call("program", vck_ntsim::ThreadKind::System, move || {
        kept.read_sectors(Lba::ZERO, &mut [0; 512]) == Err(VckError::Removed)
    });
    assert_eq!(call, Some(true), "of the volume that was removed");
    world.unload_driver(driver).expect("unloads");
    world.assert_clean();
    assert_eq!(world.leak_report(), Vec::<String>::new());
}
