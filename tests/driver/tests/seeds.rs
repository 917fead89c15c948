//! The random scenario in its short form, that a seed replays identically, that a wrong driver is found out, and what
//! seeds have found.

use vck_common::NtStatus;
use vck_common::jvck::JvckMetadataOptions;
use vck_driver_tests::campaign::{Coverage, run_seed, run_seed_with};
use vck_driver_tests::{Bench, Failure, Setup, VMK};

/// Seeds of the short form: a few for each kind of world.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=24;
const OPERATIONS: u64 = 150;

#[test]
fn seeds_have_no_mismatch_and_no_finding() {
    let mut total = Coverage::default();
    for seed in SEEDS {
        let report = run_seed(seed, OPERATIONS).unwrap_or_else(|text| {
            panic!("seed {seed}: {text}\nreplay: cargo run --release -p vck-driver-tests --bin campaign -- --ops {OPERATIONS} --replay {seed}")
        });
        total.add(&report.coverage);
    }
    println!("{total}");
    for (reached, what) in [
        (total.split_reads + total.split_writes, "a split request"),
        (total.gate_waits, "a wait for a zone"),
        (total.reattaches, "a re-attach"),
        (total.encrypted + total.decrypted, "a completed conversion"),
    ] {
        assert!(reached > 0, "{what} was never reached");
    }
}

#[test]
fn a_seed_replays_identically_and_another_one_differs() {
    let mut traces = Vec::new();
    for seed in [2, 5, 8, 13] {
        let first = run_seed(seed, 100).expect("runs");
        let second = run_seed(seed, 100).expect("runs");
        assert_eq!(first, second, "seed {seed}");
        traces.push(first.trace);
    }
    traces.dedup();
    assert_eq!(traces.len(), 4, "traces depend on the seed");
}

/// Drivers that are wrong in one place each.
mod wrong {
    use vck_common::jvck::{JvckMetadataStore, JvckSecrets};
    use vck_common::xts::Features;
    use vck_common::{DataSector, SectorSize, VckResult, VolumeCipher, XtsVolumeCipher};
    use vck_driver_tests::allowed;
    use vck_windrv::control::ControlNames;
    use vck_windrv::driver::Product;
    use vck_windrv::engine::ConversionPolicy;
    use vck_windrv::nt::try_box;
    use vck_windrv::provider::{AdministratorsOnly, AttachContext, IoConfig, VolumeProvider};

    /// What is wrong with a cipher.
    #[derive(Clone, Copy)]
    pub(crate) enum Mistake {
        /// Every tweak is that of the next sector: wrong on the disk, invisible from above.
        Tweak,
        /// Large reads come up as they are on the disk.
        LargeReads,
    }

    pub(crate) struct Cipher {
        inner: XtsVolumeCipher,
        mistake: Mistake,
    }

    impl Cipher {
        fn number(&self, first: DataSector) -> DataSector {
            match self.mistake {
                Mistake::Tweak => DataSector::new(first.get() + 1),
                Mistake::LargeReads => first,
            }
        }
    }

    impl VolumeCipher for Cipher {
        fn encrypt_area(&self, buf: &mut [u8], size: SectorSize, first: DataSector) {
            self.inner.encrypt_area(buf, size, self.number(first));
        }

        fn decrypt_area(&self, buf: &mut [u8], size: SectorSize, first: DataSector) {
            let skipped = matches!(self.mistake, Mistake::LargeReads) && buf.len() > 16 << 10 && buf.len() < 1 << 20;
            if !skipped {
                self.inner.decrypt_area(buf, size, self.number(first));
            }
        }

        fn encrypt_copy(&self, src: &[u8], dst: &mut [u8], size: SectorSize, first: DataSector) {
            self.inner.encrypt_copy(src, dst, size, self.number(first));
        }
    }

    /// On a frame of its own: the cipher is large, and the volume is opened without it.
    #[inline(never)]
    fn cipher(keys: &JvckSecrets, features: Features, mistake: Mistake) -> VckResult<Box<dyn VolumeCipher>> {
        let (data_key, tweak_key) = (keys.fvek_key1.expose(), keys.fvek_key2.expose());
        let inner = XtsVolumeCipher::with_features(data_key, tweak_key, allowed(features))?;
        Ok(try_box(Cipher { inner, mistake })?)
    }

    pub(crate) struct Provider(Mistake);

    impl VolumeProvider for Provider {
        fn on_attach(&self, context: &AttachContext<'_>) -> VckResult<IoConfig> {
            let store = JvckMetadataStore::open(context.io.clone(), context.vmk)?;
            Ok(IoConfig::Encrypted {
                cipher: cipher(store.fvek_keys(), context.features, self.0)?,
                offset_sector: store.geometry().offset_sector(),
                encrypted_offset: store.load_offset(),
                offset_store: try_box(store)?,
                policy: ConversionPolicy::default(),
            })
        }
    }

    pub(crate) fn product(mistake: Mistake) -> VckResult<Product> {
        Ok(Product {
            provider: try_box(Provider(mistake))?,
            authorization: Box::new(AdministratorsOnly),
            control: ControlNames::default(),
        })
    }

    pub(crate) mod tweak {
        vck_windrv::driver_entry!(|| super::product(super::Mistake::Tweak));
    }

    pub(crate) mod large_reads {
        vck_windrv::driver_entry!(|| super::product(super::Mistake::LargeReads));
    }
}

#[test]
fn a_wrong_tweak_is_found_on_the_disk() {
    let text = (1..=4).find_map(|seed| run_seed_with(seed, 150, wrong::tweak::DriverEntry).err());
    let text = text.expect("four seeds do not convert a volume with a wrong tweak unnoticed");
    assert!(text.contains("neither plaintext nor ciphertext of itself"), "{text}");
}

#[test]
fn ciphertext_handed_up_is_found_by_the_model() {
    let text = (1..=8).find_map(|seed| run_seed_with(seed, 150, wrong::large_reads::DriverEntry).err());
    let text = text.expect("eight seeds do not read ciphertext unnoticed");
    assert!(text.contains("holds version None") || text.contains("neither plaintext nor ciphertext"), "{text}");
}

/// Found by seed 138: a control ran on what its sender had left of the kernel stack when there was no memory for a
/// larger one, and overran it.
#[test]
fn a_control_without_memory_for_its_stack_is_refused() {
    let bench = Bench::boot(Setup { hostile: true, ..Setup::default() });
    let (path, client) = (bench.path(), bench.client());
    let prepare = || client.prepare(&path, JvckMetadataOptions::default(), &VMK, &bench.block());
    let before = bench.image();
    bench.world.fail_allocation(1);
    assert_eq!(prepare(), Err(Failure(NtStatus::INSUFFICIENT_RESOURCES)));
    bench.world.assert_clean();
    assert!(bench.image() == before, "nothing was written");
    prepare().expect("prepares with memory");
    client.detach(&path).expect("detaches");
    drop(client);
    bench.tear_down();
}
