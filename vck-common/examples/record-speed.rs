//! How fast the digests of the conversion record are: `cargo run --release -p vck-common --example record-speed`.

use std::time::Instant;

use vck_common::{
    Activity, DataExtent, DataSector, EncryptedOffsetStore, MemoryIo, RandomSource, SectorCount, SectorSize, VckResult,
    VolumeState,
    journal::Entry,
    jvck::{JvckMetadataOptions, JvckMetadataStore, JvckSecrets, default_codec},
};

const ROUNDS: u32 = 200;

struct Constant;

impl RandomSource for Constant {
    fn fill(&self, out: &mut [u8]) -> VckResult<()> {
        out.fill(0x5a);
        Ok(())
    }
}

fn measure(size: SectorSize) -> VckResult<()> {
    let io = MemoryIo::new(size, SectorCount::new((64 << 20) / size.u64()))?;
    let (options, secrets) = (JvckMetadataOptions::default(), JvckSecrets::copy_from(&[1; 32], &[2; 32]));
    let store = JvckMetadataStore::create(&io, b"key", &options, secrets, [3; 16], default_codec(), &Constant)?;
    let Some(mut journal) = store.journal()? else { return Ok(()) };
    journal.open(&io)?;
    let zone = DataExtent::new(DataSector::ZERO, SectorCount::new((2 << 20) / size.u64()));
    let bytes: Vec<u8> = (0_u8..=255).cycle().take(2 << 20).collect();
    journal.cover(zone, &bytes)?;
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        journal.cover(zone, &bytes)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    let digests = f64::from(2 << 20) / best / 1e9;
    let (activity, direction) = (Activity::Running, VolumeState::Encrypt);
    let entry = Entry { activity, direction, boundary: DataSector::ZERO, zone, error: None, damaged: &[] };
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        journal.write(&io, &entry, None)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!(
        "{size:>4}-byte sectors: digests {digests:.1} GB/s; record of {} sectors encoded, sealed and copied in {:.0} us",
        zone.count,
        best * 1e6
    );
    Ok(())
}

fn main() -> VckResult<()> {
    measure(SectorSize::S512)?;
    measure(SectorSize::S4096)
}
