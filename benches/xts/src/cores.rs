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

/// Passes of a thread in a burst: less than a millisecond, so that several fit in a time slice.
const PASSES: usize = 4;
/// Bursts one after another on the same threads: once both have a core, the next ones are likely clean.
const BURSTS: usize = 8;
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

/// Start and end of a burst of one thread; `None` when it had to wait for a processor.
type Span = Option<(Instant, Instant)>;

/// The bursts of one thread. All threads begin each together.
fn series(cipher: &mut Ours, buf: &mut [u8], sector: usize, (ready, threads): (&AtomicUsize, usize)) -> Vec<Span> {
    let mut spans = Vec::new();
    for number in 1..=BURSTS {
        ready.fetch_add(1, Ordering::SeqCst);
        while ready.load(Ordering::SeqCst) < threads * number {
            std::hint::spin_loop();
        }
        let (before, start) = (waited(), Instant::now());
        for pass in 0..PASSES {
            cipher.run(true, buf, sector, (pass as u64) << 16);
        }
        let end = Instant::now();
        let lost = waited().zip(before).map(|(after, before)| Duration::from_nanos(after.saturating_sub(before)));
        spans.push(lost.filter(|lost| *lost * 50 < end - start).map(|_| (start, end)));
    }
    spans
}

/// GB/s of all threads together; `None` when one had to wait for a processor.
fn together(spans: &[Span]) -> Option<f64> {
    let spans: Vec<_> = spans.iter().copied().collect::<Option<_>>()?;
    let start = spans.iter().map(|(start, _)| *start).min()?;
    let end = spans.iter().map(|(_, end)| *end).max()?;
    // A thread that lost its processor between the signal and its own start has waited as well.
    let late = spans.iter().map(|(begun, _)| *begun - start).max()?;
    let nanos = u64::try_from((end - start).as_nanos()).ok()?;
    (late * 50 < end - start).then(|| speed(spans.len() * PASSES * BUFFER, nanos))
}

/// The undisturbed bursts of a series with as many threads as `ciphers`.
fn bursts(ciphers: &mut [(Ours, Vec<u8>)], sector: usize) -> Vec<f64> {
    let (ready, threads) = (AtomicUsize::new(0), ciphers.len());
    let spans: Vec<Vec<Span>> = thread::scope(|scope| {
        let ready = &ready;
        let running: Vec<_> = ciphers
            .iter_mut()
            .map(|(cipher, buf)| scope.spawn(move || series(cipher, buf, sector, (ready, threads))))
            .collect();
        running.into_iter().map(|thread| thread.join().expect("a series of bursts")).collect()
    });
    (0..BURSTS).filter_map(|number| together(&spans.iter().map(|one| one[number]).collect::<Vec<_>>())).collect()
}

/// Measures for about `limit`.
pub(crate) fn measure(key: &[u8; 64], sector: usize, limit: Duration) -> Cores {
    let mut ciphers: Vec<_> = (0..2).map(|_| (Ours::new(best(), key), vec![0x5a; BUFFER])).collect();
    let (mut one, mut two, mut rounds) = (Vec::new(), Vec::new(), 0);
    let start = Instant::now();
    while start.elapsed() < limit {
        rounds += BURSTS;
        one.extend(bursts(&mut ciphers[..1], sector));
        two.extend(bursts(&mut ciphers, sector));
    }
    let bursts = (one.len(), two.len(), rounds);
    let enough = one.len().min(two.len()) >= ENOUGH;
    Cores { sector, speeds: enough.then(|| (quartiles(one).0, quartiles(two).0)), bursts }
}
