//! `xts-mode` over a current `aes`, as a peer that answers on its standard input and output. The benchmark starts it.

#[path = "../../src/peer.rs"]
mod peer;

use aes::Aes256;
use aes::cipher::KeyInit;
use xts_mode::{Xts128, get_tweak_default};

struct RustCrypto(Xts128<Aes256>);

impl peer::SectorCipher for RustCrypto {
    fn run(&mut self, encrypt: bool, buf: &mut [u8], sector: usize, first: u64) {
        let first = u128::from(first);
        if encrypt {
            self.0.encrypt_area(buf, sector, first, get_tweak_default);
        } else {
            self.0.decrypt_area(buf, sector, first, get_tweak_default);
        }
    }
}

fn main() -> std::io::Result<()> {
    peer::serve(|key| {
        let half = |at: usize| Aes256::new_from_slice(&key[at..at + 32]).expect("32 bytes");
        RustCrypto(Xts128::new(half(0), half(32)))
    })
}
