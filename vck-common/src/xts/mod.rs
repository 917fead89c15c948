//! AES-256-XTS (IEEE 1619) over whole sectors, portable kernel.
//!
//! Key 1 encrypts data, key 2 the tweak. A data unit is one sector; its tweak is the data sector number, 128 bits
//! little-endian, encrypted with key 2 (when decrypting too). The next block's tweak is the previous one times x in
//! GF(2^128) with x^128 + x^7 + x^2 + x + 1.
//!
//! # Invariants
//! * The key schedules are wiped on drop.
//! * Stack use is bounded: a batch of eight tweaks (128 bytes) and the frames of the block cipher.
//! * No length and no sector number leads to a panic. Rules for buffers that are not whole sectors: [`VolumeCipher`].

use aes::{
    Aes256, Block,
    cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit},
};
use zeroize::ZeroizeOnDrop;

mod features;
mod kernel;
mod registers;

pub use features::Features;
pub use kernel::Kernel;
pub use registers::{ExtendedMask, WideRegisters};

use crate::{DataSector, SectorSize, VckResult, VolumeCipher};

const BLOCK: usize = 16;

/// Blocks handed to the block cipher at once; that many run in parallel where the processor can.
const BATCH: usize = 8;

/// The volume cipher of JVCK volumes.
///
/// Equal keys are accepted because existing volumes may have them; [`crate::jvck`] refuses them for new volumes, as the
/// standard's security argument needs them to differ.
pub struct XtsVolumeCipher {
    data: Aes256,
    tweak: Aes256,
}

impl ZeroizeOnDrop for XtsVolumeCipher {}

// The wiping itself is done by the fields; this fails to compile if the `zeroize` feature of `aes` is ever lost.
const _: () = {
    const fn wiped_on_drop<T: ZeroizeOnDrop>() {}
    wiped_on_drop::<Aes256>();
};

#[derive(Clone, Copy)]
enum Direction {
    Encrypt,
    Decrypt,
}

impl XtsVolumeCipher {
    /// Expands both keys. The caller still has to wipe its own copies.
    ///
    /// # Errors
    /// None today; the signature leaves room for kernels that check themselves.
    pub fn new(data_key: &[u8; 32], tweak_key: &[u8; 32]) -> VckResult<Self> {
        Ok(Self { data: Aes256::new(data_key.into()), tweak: Aes256::new(tweak_key.into()) })
    }

    /// Ciphers whole sectors and, as a shorter unit, the whole blocks of a trailing part of one.
    fn area(&self, buf: &mut [u8], size: SectorSize, first: DataSector, direction: Direction) {
        let numbers = (0..).map(|index| first.get().wrapping_add(index));
        for (sector, number) in buf.chunks_mut(size.usize()).zip(numbers) {
            self.unit(sector, number, direction);
        }
    }

    fn unit(&self, sector: &mut [u8], number: u64, direction: Direction) {
        let mut first = Block::from(u128::from(number).to_le_bytes());
        self.tweak.encrypt_block(&mut first);
        let mut next = u128::from_le_bytes(first.into());
        let (blocks, _) = Block::slice_as_chunks_mut(sector);
        for batch in blocks.chunks_mut(BATCH) {
            let mut tweaks = [0_u128; BATCH];
            for tweak in &mut tweaks {
                *tweak = next;
                next = times_x(next);
            }
            whiten(batch, &tweaks);
            match direction {
                Direction::Encrypt => self.data.encrypt_blocks(batch),
                Direction::Decrypt => self.data.decrypt_blocks(batch),
            }
            whiten(batch, &tweaks);
        }
    }
}

fn whiten(blocks: &mut [Block], tweaks: &[u128; BATCH]) {
    for (block, tweak) in blocks.iter_mut().zip(tweaks) {
        *block = (u128::from_le_bytes((*block).into()) ^ tweak).to_le_bytes().into();
    }
}

/// Multiplies by x. Branch-free: the tweak depends on key 2.
const fn times_x(tweak: u128) -> u128 {
    (tweak << 1) ^ (0x87 & (tweak >> 127).wrapping_neg())
}

impl VolumeCipher for XtsVolumeCipher {
    fn encrypt_area(&self, buf: &mut [u8], sector_size: SectorSize, first: DataSector) {
        self.area(buf, sector_size, first, Direction::Encrypt);
    }

    fn decrypt_area(&self, buf: &mut [u8], sector_size: SectorSize, first: DataSector) {
        self.area(buf, sector_size, first, Direction::Decrypt);
    }

    fn encrypt_copy(&self, src: &[u8], dst: &mut [u8], sector_size: SectorSize, first: DataSector) {
        let common = src.len().min(dst.len());
        let whole_blocks = common.saturating_sub(common % BLOCK);
        let (area, rest) = dst.split_at_mut_checked(whole_blocks).unwrap_or_default();
        // The only reads of `src`: from here on the copy is what counts.
        area.copy_from_slice(src.get(..whole_blocks).unwrap_or_default());
        rest.fill(0);
        self.area(area, sector_size, first, Direction::Encrypt);
    }
}
