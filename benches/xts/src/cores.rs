//! Two cores against one, with the fastest kernel.
//!
//! Two threads show what two cores give only while both have one. Linux tells how long a thread waited for a processor;
//! bursts in which one waited, or started late by, more than a fiftieth of the burst are left out; the table says how
//! many were kept.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::measure::{quartiles, speed};
use crate::ours::{Ours, best};
use crate::peer::{BUFFER, SectorCipher};

/// Passes of a thread in a burst: a few milliseconds, less than a time slice.
const PASSES: usize = 12;
/// Fewer clean bursts than this say nothing.
const ENOUGH: usize = 15;

/// Two cores against one at one sector size, encryption.
pub(crate) struct Cores {
    pub(crate) sector: usize,
    /// Medians in GB/s, all threads together; `None` when other load left too few clean bursts.
    pub(crate) speeds: Option<(f64, f64)>,
    /// Clean bursts with one thread, with two, and bursts of each kind.
    pub(crate) bursts: (usize, usize, usize),
}

/// Nanoseconds that this thread was runnable and had to wait.
fn waited() -> Option<u64> {
    fs::read_to_string("/proc/thread-self/schedstat").ok()?.split_whitespace().nth(1)?.parse().ok()
}

/// GB/s of `threads` together; `None` when one had to wait for a processor.
fn burst(ciphers: &mut [(Ours, Vec<u8>)], sector: usize) -> Option<f64> {
    let (ready, threads) = (AtomicUsize::new(0), ciphers.len());
    let times: Option<Vec<(Instant, Instant)>> = thread::scope(|scope| {
        let started: Vec<_> = ciphers
            .iter_mut()
            .map(|(cipher, buf)| {
                let ready = &ready;
                scope.spawn(move || {
                    ready.fetch_add(1, Ordering::SeqCst);
                    while ready.load(Ordering::SeqCst) < threads {
                        std::hint::spin_loop();
                    }
                    let (before, start) = (waited()?, Instant::now());
                    for pass in 0..PASSES {
                        cipher.run(true, buf, sector, (pass as u64) << 16);
                    }
                    let end = Instant::now();
                    let lost = Duration::from_nanos(waited()?.saturating_sub(before));
                    (lost * 50 < end - start).then_some((start, end))
                })
            })
            .collect();
        started.into_iter().map(|thread| thread.join().expect("a burst")).collect()
    });
    let times = times?;
    let start = times.iter().map(|(start, _)| *start).min()?;
    let end = times.iter().map(|(_, end)| *end).max()?;
    // A thread that lost its processor between the signal and its own start has waited as well.
    let late = times.iter().map(|(begun, _)| *begun - start).max()?;
    if late * 50 >= end - start {
        return None;
    }
    Some(speed(threads * PASSES * BUFFER, u64::try_from((end - start).as_nanos()).ok()?))
}

/// Measures for about `limit`.
pub(crate) fn measure(key: &[u8; 64], sector: usize, limit: Duration) -> Cores {
    let mut ciphers: Vec<_> = (0..2).map(|_| (Ours::new(best(), key), vec![0x5a; BUFFER])).collect();
    let (mut one, mut two, mut rounds) = (Vec::new(), Vec::new(), 0);
    let start = Instant::now();
    while start.elapsed() < limit {
        rounds += 1;
        one.extend(burst(&mut ciphers[..1], sector));
        two.extend(burst(&mut ciphers, sector));
    }
    let bursts = (one.len(), two.len(), rounds);
    let enough = one.len().min(two.len()) >= ENOUGH;
    Cores { sector, speeds: enough.then(|| (quartiles(one).0, quartiles(two).0)), bursts }
}
