//! Fixed keys and the blocks sealed with them. Never use a fixed key outside of a test.

use vck_common::jvck::{BLOCK_SIZE, JvckCbcCodec, JvckHeader, JvckMetadataOptions, JvckSecrets, MetadataCodec};
use vck_common::{DataSector, SectorCount, SectorSize, VolumeState};

/// The tests' volume master key.
pub const VMK: [u8; 32] = *b"volume master key of the tests..";
/// A key that opens nothing.
pub const WRONG_VMK: [u8; 32] = *b"some other key, which must fail.";
/// Data key.
pub const KEY1: [u8; 32] = [0xA1; 32];
/// Tweak key.
pub const KEY2: [u8; 32] = [0x2B; 32];
/// The tests' volume.
pub const VOLUME_ID: [u8; 16] = *b"vck test volume!";

/// A block as a preparing tool seals it: nothing encrypted yet.
///
/// # Panics
/// If the options do not fit the volume: a mistake of the test.
#[must_use]
pub fn sealed_block(options: JvckMetadataOptions, sector_size: u32, volume_sectors: u64, salt: u8) -> Vec<u8> {
    let size = SectorSize::new(sector_size).expect("a sector size");
    let geometry = options.geometry(size, SectorCount::new(volume_sectors)).expect("fits");
    let header = JvckHeader::for_new_volume(&geometry, VOLUME_ID);
    let secrets = JvckSecrets::copy_from(&KEY1, &KEY2);
    let mut block = [0; BLOCK_SIZE];
    JvckCbcCodec
        .seal(&header, &secrets, DataSector::ZERO, VolumeState::Encrypt, &[salt; 16], &VMK, &mut block)
        .expect("seals");
    block.to_vec()
}
