//! Two processors against one, with the fastest kernel, and whether the two are two cores.
//!
//! Two threads, each with a buffer of its own, take turns in bursts of one length: the first alone while the second sleeps, the second
//! alone, both. A ratio compares bursts of one round, a few hundredths of a second apart, because a virtual machine's processors change their
//! speed with what other machines do to the cores below. Time is the wall's: a thread's processor time also passes while it shares a
//! core. Linux tells how long a thread waited for a processor; rounds in which one waited, or began late, for more than a fiftieth of
//! a burst are left out; the table says how many were kept.
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

/// How long a burst is: it fits into a time slice, and what a processor needs to get going after a sleep does not count much.
const BURST: Duration = Duration::from_millis(4);
/// Multiplications between two looks at the clock.
const LINKS: usize = 8 << 10;
/// Rounds one after another on the same threads: once both have a core, the next ones are likely clean.
const ROUNDS: usize = 8;
/// Fewer clean rounds than this say nothing.
const ENOUGH: usize = 15;

/// Two cores against one at one sector size, encryption.
pub(crate) struct Cores {
    pub(crate) sector: usize,
    /// Medians; `None` when other load left too few clean rounds.
    pub(crate) speeds: Option<Speeds>,
    /// Clean rounds, and all.
    pub(crate) rounds: (usize, usize),
}

/// Medians of one and of two processors.
#[derive(Clone, Copy)]
pub(crate) struct Speeds {
    /// GB/s of one, the mean of both processors.
    pub(crate) one: f64,
    /// GB/s of both together.
    pub(crate) two: f64,
    /// The second to the first within a round.
    pub(crate) ratio: f64,
}

/// What is left of a thread's speed beside another thread; each a median of ratios within a round.
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

/// What a thread does. Aligned, so that what two threads write lies in different cache lines, with the one that is fetched beside.
#[repr(align(128))]
enum Work {
    Cipher { cipher: Box<Ours>, buf: Vec<u8>, sector: usize },
    Chain(u64),
}

impl Work {
    fn cipher(key: &[u8; 64], sector: usize) -> Self {
        Self::Cipher { cipher: Box::new(Ours::new(best(), key)), buf: vec![0x5a; BUFFER], sector }
    }

    /// A piece of it; bytes, or multiplications.
    fn piece(&mut self) -> usize {
        match self {
            Self::Cipher { cipher, buf, sector } => {
                cipher.run(true, buf, *sector, 0);
                BUFFER
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

fn burst(work: &mut Work) -> Span {
    let (before, start, mut done) = (waited(), Instant::now(), 0);
    while start.elapsed() < BURST {
        done += work.piece();
    }
    let took = start.elapsed();
    let lost = waited().zip(before).map(|(after, before)| Duration::from_nanos(after.saturating_sub(before)));
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    lost.filter(|lost| *lost * 50 < took).map(|_| (start, speed(done, nanos)))
}

/// The rounds of one of the two threads: its bursts alone and beside the other one.
fn series(work: &mut Work, second: bool, ready: &AtomicUsize) -> Vec<(Span, Span)> {
    let mut turn = 0;
    let mut together = || {
        turn += 2;
        ready.fetch_add(1, Ordering::SeqCst);
        while ready.load(Ordering::SeqCst) < turn {
            std::hint::spin_loop();
        }
    };
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut alone = None;
        for other in [false, true] {
            together();
            if second == other {
                alone = burst(work);
            } else {
                // Asleep for as long: spinning would take a share of the core, if there is but one.
                thread::sleep(BURST);
            }
        }
        together();
        rounds.push((alone, burst(work)));
    }
    rounds
}

/// Speeds of two threads in one round, alone and beside each other.
#[derive(Clone, Copy)]
struct Round {
    alone: [f64; 2],
    beside: [f64; 2],
}

fn clean([first, second]: [(Span, Span); 2]) -> Option<Round> {
    let (alone, beside) = ([first.0?, second.0?], [first.1?, second.1?]);
    let [(one, _), (other, _)] = beside;
    // A thread that lost its processor between the signal and its own start has waited as well.
    let late = one.max(other) - one.min(other);
    let speeds = |spans: [(Instant, f64); 2]| spans.map(|(_, speed)| speed);
    (late * 50 < BURST).then(|| Round { alone: speeds(alone), beside: speeds(beside) })
}

/// The undisturbed rounds of a series.
fn rounds(first: &mut Work, second: &mut Work) -> Vec<Round> {
    let ready = AtomicUsize::new(0);
    let (one, two) = thread::scope(|scope| {
        let one = scope.spawn(|| series(first, false, &ready));
        let two = scope.spawn(|| series(second, true, &ready));
        (one.join().expect("a series of bursts"), two.join().expect("a series of bursts"))
    });
    one.into_iter().zip(two).filter_map(|(one, two)| clean([one, two])).collect()
}

/// The median over the rounds, if there are enough.
fn median(rounds: &[Round], of: impl Fn(&Round) -> f64) -> Option<f64> {
    (rounds.len() >= ENOUGH).then(|| quartiles(rounds.iter().map(of).collect()).0)
}

/// Measures for about `limit`.
pub(crate) fn measure(key: &[u8; 64], sector: usize, limit: Duration) -> Cores {
    let (mut first, mut second) = (Work::cipher(key, sector), Work::cipher(key, sector));
    let (mut found, mut all) = (Vec::new(), 0);
    let start = Instant::now();
    while start.elapsed() < limit {
        all += ROUNDS;
        found.extend(rounds(&mut first, &mut second));
    }
    let one = |round: &Round| f64::midpoint(round.alone[0], round.alone[1]);
    let two = |round: &Round| round.beside[0] + round.beside[1];
    let speeds = || {
        let ratio = median(&found, |round| two(round) / one(round))?;
        Some(Speeds { one: median(&found, one)?, two: median(&found, two)?, ratio })
    };
    Cores { sector, speeds: speeds(), rounds: (found.len(), all) }
}

/// Measures for about `limit`; `None` when other load left too few clean rounds.
pub(crate) fn sharing(key: &[u8; 64], limit: Duration) -> Option<Sharing> {
    let (mut cipher, mut other) = (Work::cipher(key, 4096), Work::cipher(key, 4096));
    let (mut chain, mut second) = (Work::Chain(1), Work::Chain(3));
    let mut found: [Vec<Round>; 3] = Default::default();
    let start = Instant::now();
    while start.elapsed() < limit {
        found[0].extend(rounds(&mut cipher, &mut other));
        found[1].extend(rounds(&mut cipher, &mut chain));
        found[2].extend(rounds(&mut chain, &mut second));
    }
    let left = |rounds: &[Round], index: usize| median(rounds, |round| round.beside[index] / round.alone[index]);
    Some(Sharing {
        cipher_beside_cipher: left(&found[0], 0)?,
        cipher_beside_chain: left(&found[1], 0)?,
        chain_beside_cipher: left(&found[1], 1)?,
        chain_beside_chain: left(&found[2], 0)?,
    })
}
