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
    pub(super) fn admit(&self, bytes: usize) -> bool {
        if bytes > PER_REQUEST {
            return false;
        }
        if ApcOrBelow::check().is_some() {
            return true;
        }
        let own = processor_number().checked_rem(self.0.len()).unwrap_or(0);
        let Some(burst) = self.0.get(own) else { return false };
        let now = nanoseconds();
        let paused = now.saturating_sub(burst.last.load(Ordering::Relaxed)) >= PAUSE;
        let before = if paused { 0 } else { burst.bytes.load(Ordering::Relaxed) };
        let sum = before.saturating_add(bytes);
        if sum > PER_BURST {
            // The burst goes on, in other threads' hands.
            burst.last.store(now, Ordering::Relaxed);
            return false;
        }
        burst.bytes.store(sum, Ordering::Relaxed);
        true
    }

    /// What was admitted last on this processor is decrypted.
    pub(super) fn done(&self) {
        if ApcOrBelow::check().is_some() {
            return;
        }
        let own = processor_number().checked_rem(self.0.len()).unwrap_or(0);
        if let Some(burst) = self.0.get(own) {
            burst.last.store(nanoseconds(), Ordering::Relaxed);
        }
    }
}
