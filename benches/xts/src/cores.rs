//! Two processors against one, with the fastest kernel, and whether the two are two cores.
//!
//! Threads run side by side for bursts of a fixed time and count what they do; each has a buffer of its own. Two threads show what
//! two processors give only while both have one: Linux tells how long a thread waited, and bursts in which one waited, or began late,
//! for more than a fiftieth of the burst are left out; the table says how many were kept. Time is the wall's: a thread's processor
//! time also passes while it shares a core.
//!
//! The processors of a virtual machine may be two threads of one core, and the machine cannot see it. [`Sharing`] tells. Most of
//! the time a chain of dependent multiplications waits for the last one: its speed is the clock's, and two of them fit into one core.
//! Where the cipher leaves the chain on the other processor as fast as it was, but not another cipher, it is not the clock that both
//! share, but what ciphers need.

use std::fs;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::measure::{quartiles, speed};
use crate::ours::{Ours, best};
use crate::peer::{BUFFER, SectorCipher};

/// How long a burst is: several fit in a time slice.
const BURST: Duration = Duration::from_millis(1);
/// Bytes between two looks at the clock.
const PIECE: usize = 64 << 10;
/// Multiplications between two looks at the clock.
const LINKS: usize = 8 << 10;
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

/// What is left of a thread's speed beside another thread; each a median.
pub(crate) struct Sharing {
    /// Of the cipher, beside the cipher.
    pub(crate) cipher_beside_cipher: f64,
    /// Of the cipher, beside the chain.
    pub(crate) cipher_beside_chain: f64,
    /// Of the chain, beside the cipher.
    pub(crate) chain_beside_cipher: f64,
    /// Of the chain, beside the chain.
    pub(crate) chain_beside_chain: f64,
}

/// What a thread does.
enum Work {
    Cipher { cipher: Box<Ours>, buf: Vec<u8>, sector: usize, at: usize },
    Chain(u64),
}

impl Work {
    fn cipher(key: &[u8; 64], sector: usize) -> Self {
        Self::Cipher { cipher: Box::new(Ours::new(best(), key)), buf: vec![0x5a; BUFFER], sector, at: 0 }
    }

    /// A piece of it; bytes, or multiplications.
    fn piece(&mut self) -> usize {
        match self {
            Self::Cipher { cipher, buf, sector, at } => {
                cipher.run(true, &mut buf[*at..*at + PIECE], *sector, (*at / *sector) as u64);
                *at = (*at + PIECE) % BUFFER;
                PIECE
            }
            Self::Chain(link) => {
                for _ in 0..LINKS {
                    *link = black_box(link.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                }
                LINKS
            }
        }
    }
}

/// Nanoseconds that this thread was runnable and had to wait.
fn waited() -> Option<u64> {
    fs::read_to_string("/proc/thread-self/schedstat").ok()?.split_whitespace().nth(1)?.parse().ok()
}

/// When a burst of one thread began, and what it did in a nanosecond; `None` when it had to wait for a processor.
type Span = Option<(Instant, f64)>;

/// The bursts of one thread. All threads begin each together.
fn series(work: &mut Work, (ready, threads): (&AtomicUsize, usize)) -> Vec<Span> {
    let mut spans = Vec::new();
    for number in 1..=BURSTS {
        ready.fetch_add(1, Ordering::SeqCst);
        while ready.load(Ordering::SeqCst) < threads * number {
            std::hint::spin_loop();
        }
        let (before, start, mut done) = (waited(), Instant::now(), 0);
        while start.elapsed() < BURST {
            done += work.piece();
        }
        let took = start.elapsed();
        let lost = waited().zip(before).map(|(after, before)| Duration::from_nanos(after.saturating_sub(before)));
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        spans.push(lost.filter(|lost| *lost * 50 < took).map(|_| (start, speed(done, nanos))));
    }
    spans
}

/// The speed of each thread in a burst; `None` when one had to wait for a processor.
fn together(spans: &[Span]) -> Option<Vec<f64>> {
    let spans: Vec<_> = spans.iter().copied().collect::<Option<_>>()?;
    let start = spans.iter().map(|(start, _)| *start).min()?;
    // A thread that lost its processor between the signal and its own start has waited as well.
    let late = spans.iter().map(|(begun, _)| *begun - start).max()?;
    (late * 50 < BURST).then(|| spans.iter().map(|(_, speed)| *speed).collect())
}

/// The undisturbed bursts of a series with as many threads as `works`, each with the speeds of its threads.
fn bursts(works: &mut [&mut Work]) -> Vec<Vec<f64>> {
    let (ready, threads) = (AtomicUsize::new(0), works.len());
    let spans: Vec<Vec<Span>> = thread::scope(|scope| {
        let ready = &ready;
        let running: Vec<_> =
            works.iter_mut().map(|work| scope.spawn(move || series(work, (ready, threads)))).collect();
        running.into_iter().map(|thread| thread.join().expect("a series of bursts")).collect()
    });
    (0..BURSTS).filter_map(|number| together(&spans.iter().map(|one| one[number]).collect::<Vec<_>>())).collect()
}

fn median(bursts: Vec<f64>) -> Option<f64> {
    (bursts.len() >= ENOUGH).then(|| quartiles(bursts).0)
}

/// Measures for about `limit`.
pub(crate) fn measure(key: &[u8; 64], sector: usize, limit: Duration) -> Cores {
    let (mut first, mut second) = (Work::cipher(key, sector), Work::cipher(key, sector));
    let (mut one, mut two, mut rounds) = (Vec::new(), Vec::new(), 0);
    let start = Instant::now();
    while start.elapsed() < limit {
        rounds += BURSTS;
        one.extend(bursts(&mut [&mut first]).into_iter().flatten());
        two.extend(bursts(&mut [&mut first, &mut second]).into_iter().map(|both| both.iter().sum::<f64>()));
    }
    let bursts = (one.len(), two.len(), rounds);
    Cores { sector, speeds: median(one).zip(median(two)), bursts }
}

/// Measures for about `limit`; `None` when other load left too few clean bursts.
pub(crate) fn sharing(key: &[u8; 64], limit: Duration) -> Option<Sharing> {
    let (mut cipher, mut other) = (Work::cipher(key, 4096), Work::cipher(key, 4096));
    let (mut chain, mut second) = (Work::Chain(1), Work::Chain(3));
    let mut found: [Vec<f64>; 6] = Default::default();
    let start = Instant::now();
    while start.elapsed() < limit {
        let firsts = |bursts: Vec<Vec<f64>>| bursts.into_iter().map(|burst| burst[0]);
        found[0].extend(firsts(bursts(&mut [&mut cipher])));
        found[1].extend(firsts(bursts(&mut [&mut chain])));
        found[2].extend(firsts(bursts(&mut [&mut cipher, &mut other])));
        found[3].extend(firsts(bursts(&mut [&mut cipher, &mut chain])));
        found[4].extend(firsts(bursts(&mut [&mut chain, &mut cipher])));
        found[5].extend(firsts(bursts(&mut [&mut chain, &mut second])));
    }
    let [cipher, chain, beside @ ..] = found.map(median);
    let [both_cipher, beside_chain, beside_cipher, both_chain] = beside;
    Some(Sharing {
        cipher_beside_cipher: both_cipher? / cipher?,
        cipher_beside_chain: beside_chain? / cipher?,
        chain_beside_cipher: beside_cipher? / chain?,
        chain_beside_chain: both_chain? / chain?,
    })
}
