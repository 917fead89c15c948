//! How much completion routines decrypt themselves: so much at a time that a processor is not kept at DISPATCH_LEVEL for long.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use vck_common::VckResult;

use crate::nt::{ApcOrBelow, KVec, nanoseconds, processor_count, processor_number};

/// Largest READ that is decrypted in its completion routine, bytes.
const PER_REQUEST: usize = 16 * 1024;
/// Bytes that one processor decrypts in completion routines in one burst.
const PER_BURST: usize = 64 * 1024;
/// A burst ends with a pause of so many nanoseconds, whatever the cipher's speed.
const PAUSE: u64 = 20_000;

/// One processor's burst. The words are independent: what is lost when a thread moves to another processor between two of them is
/// precision.
#[derive(Default)]
#[repr(align(64))]
struct Burst {
    last: AtomicU64,
    bytes: AtomicUsize,
}

/// Leave to decrypt in a completion routine, once.
#[must_use]
pub struct Turn {
    /// The processor whose burst it is part of; none at or below APC_LEVEL, where nothing is kept from running.
    burst: Option<usize>,
}

/// The bursts of all processors.
pub(super) struct Bursts(KVec<Burst>);

impl Bursts {
    pub(super) fn try_new() -> VckResult<Self> {
        let mut bursts = KVec::new();
        for _ in 0..processor_count() {
            bursts.try_push(Burst::default())?;
        }
        Ok(Self(bursts))
    }

    /// Whether `bytes` may be decrypted here and now; counts them if so.
    pub(super) fn admit(&self, bytes: usize) -> Option<Turn> {
        if bytes > PER_REQUEST {
            return None;
        }
        if ApcOrBelow::check().is_some() {
            return Some(Turn { burst: None });
        }
        let own = processor_number().checked_rem(self.0.len()).unwrap_or(0);
        let burst = self.0.get(own)?;
        let now = nanoseconds();
        let paused = now.saturating_sub(burst.last.load(Ordering::Relaxed)) >= PAUSE;
        let before = if paused { 0 } else { burst.bytes.load(Ordering::Relaxed) };
        let sum = before.saturating_add(bytes);
        if sum > PER_BURST {
            // The burst goes on, in other threads' hands.
            burst.last.store(now, Ordering::Relaxed);
            return None;
        }
        burst.bytes.store(sum, Ordering::Relaxed);
        Some(Turn { burst: Some(own) })
    }

    /// What `turn` was given for is decrypted.
    #[expect(clippy::needless_pass_by_value, reason = "a turn is good for one decryption")]
    pub(super) fn done(&self, turn: Turn) {
        if let Some(burst) = turn.burst.and_then(|own| self.0.get(own)) {
            burst.last.store(nanoseconds(), Ordering::Relaxed);
        }
    }
}
