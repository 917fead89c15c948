//! Every kernel of the sector cipher against the portable one, on an emulated processor that has them all.
//!
//! Written for processors that the machine at hand is not: `run.sh` boots this program in Bochs as a Tiger Lake. The verdict is
//! the line `check: passed` on the emulator's output port.

#![no_std]
#![no_main]

extern crate alloc;

mod machine;

use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Write;

use machine::{Output, scratch, shut_down};
use vck_common::xts::{Features, Kernel, WideRegisters, self_test};
use vck_common::{DataSector, SectorSize, VolumeCipher, XtsVolumeCipher};

/// Random runs of each kernel.
const RUNS: u32 = 200;

macro_rules! say {
    ($($word:tt)*) => {{ let _infallible = writeln!(Output, $($word)*); }};
}

/// Xorshift: the same runs every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next()).map_or(0, |value| value % limit)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }
}

/// One run: encrypted in place at any alignment and into a copy, then decrypted; nothing outside is written.
fn agrees(kernel: Kernel, random: &mut Random) -> bool {
    let registers = WideRegisters::in_user_mode();
    let (mut key1, mut key2) = ([0; 32], [0; 32]);
    key1.iter_mut().chain(&mut key2).for_each(|byte| *byte = random.byte());
    let oracle = XtsVolumeCipher::with_features(&key1, &key2, Features::empty()).expect("a cipher");
    let cipher = XtsVolumeCipher::with_features(&key1, &key2, kernel.features()).expect("a cipher");
    assert!(cipher.wide_kernel(registers.state()) == kernel, "{kernel} is not there");
    let size = SectorSize::new(512 << random.below(8)).expect("a sector size");
    // Now and then the numbers wrap.
    let first = DataSector::new(if random.below(5) == 0 { u64::MAX - 3 } else { random.next() });
    let (len, start) = (random.below(40_000), random.below(64));

    let plain: Vec<u8> = (0..len).map(|_| random.byte()).collect();
    let mut expected = plain.clone();
    oracle.encrypt_area(&mut expected, size, first);
    let mut place = vec![0xEE; len + 128];
    place[start..start + len].copy_from_slice(&plain);
    cipher.encrypt_area_wide(&mut place[start..start + len], size, first, registers);
    let encrypts = place[start..start + len] == expected;
    cipher.decrypt_area_wide(&mut place[start..start + len], size, first, registers);
    let decrypts = place[start..start + len] == plain;
    let mut copy = vec![0; len];
    cipher.encrypt_copy_wide(&plain, &mut copy, size, first, registers);
    let whole = len - len % 16;
    let copies = copy[..whole] == expected[..whole];
    let inside = place[..start].iter().chain(&place[start + len..]).all(|byte| *byte == 0xEE);
    if !(encrypts && decrypts && copies && inside) {
        say!("{kernel}: {encrypts} {decrypts} {copies} {inside}, {size:?}, {len} bytes at {start} from {first}");
    }
    encrypts && decrypts && copies && inside
}

extern "C" fn main() -> ! {
    let registers = WideRegisters::in_user_mode();
    say!("\ndetected: {:?}, enabled: {:?}", Features::detected(), registers.state());
    let passed = scratch(|| self_test(Some(registers)).ok());
    say!("self-test passed: {passed:?}");
    let mut random = Random(0x0123_4567_89AB_CDEF);
    let mut failed = u32::from(passed != Some(Features::all()));
    for kernel in Kernel::ALL {
        let bad = (0..RUNS).filter(|_| !scratch(|| agrees(kernel, &mut random))).count();
        say!("{kernel}: {RUNS} runs, {bad} bad");
        failed += u32::from(bad > 0);
    }
    say!("check: {}", if failed == 0 { "passed" } else { "FAILED" });
    shut_down()
}
