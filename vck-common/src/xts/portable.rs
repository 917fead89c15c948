//! The kernel on the `aes` crate: no vector code of ours, and the oracle of the others.
//!
//! Stack use is bounded: a batch of eight tweaks (128 bytes) and the frames of the block cipher.

use aes::{
    Aes256, Block,
    cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit},
};
use zeroize::ZeroizeOnDrop;

/// Blocks handed to the block cipher at once; that many run in parallel where the processor can.
const BATCH: usize = 8;

/// Both key schedules.
pub(super) struct Keys {
    data: Aes256,
    tweak: Aes256,
}

impl ZeroizeOnDrop for Keys {}

// The wiping itself is done by the fields; this fails to compile if the `zeroize` feature of `aes` is ever lost.
const _: () = {
    const fn wiped_on_drop<T: ZeroizeOnDrop>() {}
    wiped_on_drop::<Aes256>();
};

impl Keys {
    /// Expands both keys.
    pub(super) fn new(data_key: &[u8; 32], tweak_key: &[u8; 32]) -> Self {
        Self { data: Aes256::new(data_key.into()), tweak: Aes256::new(tweak_key.into()) }
    }

    /// Ciphers sectors of `size` bytes in place, numbered from `first`; a shorter one at the end is a shorter unit.
    pub(super) fn area<const ENCRYPT: bool>(&self, buffer: &mut [u8], size: usize, first: u64) {
        let numbers = (0..).map(|index| first.wrapping_add(index));
        for (sector, number) in buffer.chunks_mut(size.max(1)).zip(numbers) {
            self.unit::<ENCRYPT>(sector, number);
        }
    }

    fn unit<const ENCRYPT: bool>(&self, sector: &mut [u8], number: u64) {
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
            if ENCRYPT {
                self.data.encrypt_blocks(batch);
            } else {
                self.data.decrypt_blocks(batch);
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
pub(super) const fn times_x(tweak: u128) -> u128 {
    (tweak << 1) ^ (0x87 & (tweak >> 127).wrapping_neg())
}
