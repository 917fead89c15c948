//! Correctness before speed: every implementation gives the bytes of the portable kernel.

use std::io;

use vck_common::xts::Kernel;

use crate::contender::{Contender, Who};
use crate::ours::Ours;
use crate::random::Random;

const ROUNDS: u32 = 40;
/// Largest run, in sectors: more than one batch of tweaks of every kernel and a remainder.
const SECTORS: u64 = 150;

/// Compares all with the portable kernel and prints a line for each.
pub(crate) fn run(all: &mut [Contender], key: &[u8; 64], random: &mut Random) -> io::Result<()> {
    let mut portable = Contender::portable(key);
    for contender in all {
        for sector in [512, 4096] {
            for round in 0..ROUNDS {
                // The first ones are at the ends of the range of sector numbers.
                let sectors = 1 + random.below(SECTORS);
                let first = match round {
                    0 => 0,
                    1 => u64::MAX - sectors,
                    _ => random.next(),
                };
                let first = first.min(u64::MAX - sectors);
                let plain = random.bytes(sector * usize::try_from(sectors).map_err(io::Error::other)?);
                compare(contender, &mut portable, key, &plain, (sector, first))?;
            }
        }
        let places = if contender.who.is_peer() { "in place" } else { "in place, out of place" };
        println!(
            "{:<18} equals portable at 512 and 4096, {ROUNDS} random runs each, {places}: ok",
            contender.who.name()
        );
    }
    Ok(())
}

fn compare(
    contender: &mut Contender,
    portable: &mut Contender,
    key: &[u8; 64],
    plain: &[u8],
    (sector, first): (usize, u64),
) -> io::Result<()> {
    let name = contender.who.name();
    let wrong = |what: &str| io::Error::other(format!("{name}: wrong {what}, {sector}-byte sectors from {first}"));
    let expected = portable.cipher(true, plain, sector, first)?;
    if contender.cipher(true, plain, sector, first)? != expected {
        return Err(wrong("ciphertext"));
    }
    if contender.cipher(false, &expected, sector, first)? != plain {
        return Err(wrong("plaintext"));
    }
    if let Who::Kernel(kernel) = contender.who
        && Ours::new(kernel, key).copy(plain, sector, first) != expected
    {
        return Err(wrong("copy"));
    }
    Ok(())
}

impl Contender {
    fn portable(key: &[u8; 64]) -> Self {
        Self::here(Who::Kernel(Kernel::Portable), Box::new(Ours::new(Kernel::Portable, key)))
    }
}
