//! How long a disk takes, in virtual nanoseconds.
//!
//! A request occupies one of `queue_depth` slots for `latency`, then moves its bytes over one shared channel at the
//! bandwidth of its direction. All zero means immediate.

/// Timing of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Nanoseconds before the first byte moves.
    pub latency: u64,
    /// Bytes per second; 0 is unlimited.
    pub read_bandwidth: u64,
    /// Bytes per second; 0 is unlimited.
    pub write_bandwidth: u64,
    /// Nanoseconds a flush takes.
    pub flush: u64,
    /// Requests served at once; at least 1.
    pub queue_depth: u32,
    /// Largest random addition to a request's latency, so that completions leave their order.
    pub jitter: u64,
}

impl Timing {
    /// Everything at once.
    #[must_use]
    pub const fn immediate() -> Self {
        Self { latency: 0, read_bandwidth: 0, write_bandwidth: 0, flush: 0, queue_depth: 32, jitter: 0 }
    }

    /// A modelled `NVMe` device: 80 us, 3 GB/s read, 2 GB/s write, the given flush time.
    #[must_use]
    pub const fn nvme(flush: u64) -> Self {
        Self {
            latency: 80_000,
            read_bandwidth: 3_000_000_000,
            write_bandwidth: 2_000_000_000,
            flush,
            queue_depth: 32,
            jitter: 0,
        }
    }

    /// A modelled rotating disk: 150 MB/s, 15 ms flush; seek time is in the latency.
    #[must_use]
    pub const fn hdd() -> Self {
        Self {
            latency: 4_000_000,
            read_bandwidth: 150_000_000,
            write_bandwidth: 150_000_000,
            flush: 15_000_000,
            queue_depth: 1,
            jitter: 0,
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::immediate()
    }
}

/// When the parts of a disk are free again.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    slots: Vec<u64>,
    channel: u64,
}

impl Queue {
    /// Enters a request at `now` and gives the time it completes.
    pub(crate) fn enter(&mut self, timing: &Timing, now: u64, bytes: u64, write: bool, extra: u64) -> u64 {
        self.slots.resize(timing.queue_depth.max(1) as usize, 0);
        let bandwidth = if write { timing.write_bandwidth } else { timing.read_bandwidth };
        let transfer = bytes.saturating_mul(1_000_000_000).checked_div(bandwidth).unwrap_or(0);
        let Some(slot) = self.slots.iter_mut().min() else { return now };
        let ready = now.max(*slot).saturating_add(timing.latency).saturating_add(extra);
        let start = if transfer == 0 { ready } else { ready.max(self.channel) };
        let done = start.saturating_add(transfer);
        if transfer != 0 {
            self.channel = done;
        }
        *slot = done;
        done
    }

    /// Enters a flush at `now`: it starts when every slot is idle.
    pub(crate) fn flush(&mut self, timing: &Timing, now: u64, extra: u64) -> u64 {
        let busy = self.slots.iter().copied().max().unwrap_or(0);
        now.max(busy).saturating_add(timing.flush).saturating_add(extra)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_overlaps_latency_and_bandwidth_serialises() {
        let timing = Timing { latency: 100, read_bandwidth: 1_000_000_000, queue_depth: 2, ..Timing::immediate() };
        let mut queue = Queue::default();
        assert_eq!(queue.enter(&timing, 0, 10, false, 0), 110);
        assert_eq!(queue.enter(&timing, 0, 10, false, 0), 120, "second slot, then the channel");
        assert_eq!(queue.enter(&timing, 0, 10, false, 0), 220, "waits for a slot");
        assert_eq!(queue.flush(&Timing { flush: 5, ..timing }, 0, 0), 225);
    }
}
