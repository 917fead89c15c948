//! What is measured, and how a peer in a process of its own is asked for it. Compiled into both programs.
//!
//! A peer reads 64 bytes of key and then requests of five little-endian words: what, direction, sector size, first
//! sector, count. It answers [`CIPHER`] (followed by `count` bytes) with as many bytes, and [`TIME`] with the median
//! time of `count` passes.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::time::Instant;

/// Transform the bytes that follow.
pub(crate) const CIPHER: u64 = 0;
/// Time passes over a buffer of [`BUFFER`] bytes.
pub(crate) const TIME: u64 = 1;
/// Bytes per pass.
pub(crate) const BUFFER: usize = 1 << 20;

/// Whole sectors in place, each with its number as the tweak.
pub(crate) trait SectorCipher {
    fn run(&mut self, encrypt: bool, buf: &mut [u8], sector: usize, first: u64);
}

/// The median time of a pass in nanoseconds. Each pass is timed by itself: one that lost the processor is an outlier
/// among many and does not move the median.
pub(crate) fn time(cipher: &mut dyn SectorCipher, encrypt: bool, sector: usize, buf: &mut [u8], passes: u64) -> u64 {
    let mut times: Vec<u64> = (0..passes.max(1))
        .map(|pass| {
            let start = Instant::now();
            cipher.run(encrypt, black_box(&mut *buf), sector, pass << 16);
            u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}

/// Answers requests until the input ends.
pub(crate) fn serve<C: SectorCipher>(open: impl FnOnce(&[u8; 64]) -> C) -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut key = [0; 64];
    input.read_exact(&mut key)?;
    let mut cipher = open(&key);
    let mut own = vec![0x5a; BUFFER];
    loop {
        let mut words = [0; 5];
        for word in &mut words {
            let mut bytes = [0; 8];
            match input.read_exact(&mut bytes) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                other => other?,
            }
            *word = u64::from_le_bytes(bytes);
        }
        let [what, encrypt, sector, first, count] = words;
        let sector = usize::try_from(sector).map_err(io::Error::other)?;
        match what {
            CIPHER => {
                let mut data = vec![0; usize::try_from(count).map_err(io::Error::other)?];
                input.read_exact(&mut data)?;
                cipher.run(encrypt == 1, &mut data, sector, first);
                output.write_all(&data)?;
            }
            TIME => {
                let median = time(&mut cipher, encrypt == 1, sector, &mut own, count);
                output.write_all(&median.to_le_bytes())?;
            }
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        }
        output.flush()?;
    }
}
