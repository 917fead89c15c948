//! Small volumes.

use vck_common::{
    DataSector, Geometry, Lba, MemoryIo, RandomSource, SectorCount, SectorIo, SectorSize, VckResult, VolumeState,
    jvck::{BLOCK_SIZE, JvckCbcCodec, JvckHeader, JvckSecrets, MetadataCodec},
};

pub const VMK: &[u8] = b"the key of every fuzzed volume";
pub const VOLUME_ID: [u8; 16] = *b"a fuzzed volume.";
/// Bytes of a replica region: the smallest whose record has room for a zone worth the name.
pub const REGION: u32 = 12288;

/// A random source that is none: the same bytes each time.
pub struct Fixed(pub u8);

impl RandomSource for Fixed {
    fn fill(&self, out: &mut [u8]) -> VckResult<()> {
        out.fill(self.0);
        Ok(())
    }
}

pub fn sector_size(large: bool) -> SectorSize {
    if large { SectorSize::S4096 } else { SectorSize::S512 }
}

/// The keys of the data region.
pub fn secrets() -> JvckSecrets {
    JvckSecrets::copy_from(&[1; 32], &[2; 32])
}

/// A geometry with 64 data sectors.
pub fn geometry(size: SectorSize, headers: u8, footers: u8) -> Geometry {
    let replicas = u64::from(headers) + u64::from(footers);
    let total = replicas * (u64::from(REGION) / size.u64()) + 64;
    Geometry::open(size, SectorCount::new(total), headers, footers, REGION).expect("a geometry")
}

pub fn blank(geometry: &Geometry) -> MemoryIo {
    MemoryIo::new(geometry.sector_size(), geometry.volume_sectors()).expect("memory")
}

pub fn sealed(header: &JvckHeader, offset: u64, state: VolumeState, salt: u8, vmk: &[u8]) -> [u8; BLOCK_SIZE] {
    let mut block = [0; BLOCK_SIZE];
    JvckCbcCodec
        .seal(header, &secrets(), DataSector::new(offset), state, &[salt; 16], vmk, &mut block)
        .expect("a block");
    block
}

/// The bytes at `lba`.
pub fn bytes_at(io: &MemoryIo, lba: Lba, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    io.read_sectors(lba, &mut bytes).expect("inside the volume");
    bytes
}
