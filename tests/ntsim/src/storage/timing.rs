//! How long a disk takes, in virtual nanoseconds.
//!
//! A request occupies one of `queue_depth` slots for `latency`, then moves its bytes over one shared channel at the
//! bandwidth of its direction. All zero means immediate.
//!
//! A disk with [`Heads`] rotates. A read that does not go on where the heads are pays for their way there. A write goes into
//! the disk's cache, as on any disk that needs flushes, at the bandwidth of the medium: it pays for a way only when the cache
//! holds as many separate runs as it can, and then for the way to the nearest of them. A flush takes its given time, which
//! covers the longest of the ways to what is cached, in ascending order, and the time of the other ways; everything else waits
//! for it.

/// The heads of a rotating disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Nanoseconds to the next track.
    pub track: u64,
    /// Nanoseconds across the whole disk, whatever its size; shorter ways take as their square root.
    pub stroke: u64,
    /// Nanoseconds of a revolution. After a seek half of one passes before the sector arrives.
    pub revolution: u64,
    /// Runs of adjacent sectors that the write cache takes before a write has to wait for the heads.
    pub cached_runs: usize,
}

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
    /// Set for a rotating disk.
    pub heads: Option<Heads>,
}

impl Timing {
    /// Everything at once.
    #[must_use]
    pub const fn immediate() -> Self {
        Self { latency: 0, read_bandwidth: 0, write_bandwidth: 0, flush: 0, queue_depth: 32, jitter: 0, heads: None }
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
            heads: None,
        }
    }

    /// A modelled rotating disk: 150 MB/s, 15 ms flush, 7200 revolutions a minute. Data sheets of desktop disks say 1 ms to
    /// the next track and 8.5 ms for the mean seek, which makes 15 ms across the disk. The cache takes as many runs as
    /// the disk has tags for commands.
    #[must_use]
    pub const fn hdd() -> Self {
        let heads = Heads { track: 1_000_000, stroke: 15_000_000, revolution: 8_333_333, cached_runs: 32 };
        Self {
            latency: 100_000,
            read_bandwidth: 150_000_000,
            write_bandwidth: 150_000_000,
            flush: 15_000_000,
            queue_depth: 1,
            jitter: 0,
            heads: Some(heads),
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::immediate()
    }
}

impl Heads {
    /// Nanoseconds from sector `from` until sector `to` arrives under the heads, on a disk of `total` sectors. `passing`:
    /// nanoseconds in which what lies between them passes by.
    fn way(&self, from: u64, to: u64, total: u64, passing: u64) -> u64 {
        let distance = from.abs_diff(to);
        if distance == 0 {
            return 0;
        }
        // sqrt(distance / total) in 1/65536.
        let share = (u128::from(distance) << 32).checked_div(u128::from(total)).unwrap_or(0).isqrt();
        let further = (u128::from(self.stroke.saturating_sub(self.track)) * share) >> 16;
        let seek = self.track.saturating_add(u64::try_from(further).unwrap_or(u64::MAX));
        let positioned = seek.saturating_add(self.revolution / 2);
        // What lies a little ahead comes by itself.
        if to > from { positioned.min(passing) } else { positioned }
    }
}

/// A disk's size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) sectors: u64,
    /// Bytes of a sector.
    pub(crate) sector: u64,
}

/// What a request is to the timing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    pub(crate) lba: u64,
    pub(crate) sectors: u64,
    pub(crate) bytes: u64,
    pub(crate) write: bool,
    pub(crate) disk: Size,
    /// Nanoseconds on top of what the timing says.
    pub(crate) extra: u64,
}

/// When the parts of a disk are free again, and where its heads are.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    slots: Vec<u64>,
    channel: u64,
    head: u64,
    /// First sector and end of each run that the write cache holds.
    cached: Vec<(u64, u64)>,
}

impl Queue {
    /// Enters a request at `now` and gives the time it completes.
    pub(crate) fn enter(&mut self, timing: &Timing, now: u64, request: Move) -> u64 {
        let way = timing.heads.map_or(0, |heads| self.position(&heads, timing, request));
        self.slots.resize(timing.queue_depth.max(1) as usize, 0);
        let bandwidth = if request.write { timing.write_bandwidth } else { timing.read_bandwidth };
        let transfer = request.bytes.saturating_mul(1_000_000_000).checked_div(bandwidth).unwrap_or(0);
        let Some(slot) = self.slots.iter_mut().min() else { return now };
        let wait = timing.latency.saturating_add(way).saturating_add(request.extra);
        let ready = now.max(*slot).saturating_add(wait);
        let start = if transfer == 0 { ready } else { ready.max(self.channel) };
        let done = start.saturating_add(transfer);
        if transfer != 0 {
            self.channel = done;
        }
        *slot = done;
        done
    }

    /// Nanoseconds that the request waits for the heads; moves them.
    fn position(&mut self, heads: &Heads, timing: &Timing, request: Move) -> u64 {
        let end = request.lba.saturating_add(request.sectors);
        if !request.write {
            return self.go(heads, timing, request.disk, (request.lba, end));
        }
        if let Some(run) = self.cached.iter_mut().find(|run| run.1 == request.lba) {
            run.1 = end;
            return 0;
        }
        let full = self.cached.len() >= heads.cached_runs;
        let head = self.head;
        let nearest = (0..self.cached.len()).filter(|_| full).min_by_key(|at| self.cached[*at].0.abs_diff(head));
        let way = nearest.map_or(0, |at| {
            let run = self.cached.swap_remove(at);
            self.go(heads, timing, request.disk, run)
        });
        self.cached.push((request.lba, end));
        way
    }

    /// Moves the heads over a run.
    fn go(&mut self, heads: &Heads, timing: &Timing, disk: Size, run: (u64, u64)) -> u64 {
        let between = run.0.saturating_sub(self.head).saturating_mul(disk.sector);
        let passing = between.saturating_mul(1_000_000_000).checked_div(timing.read_bandwidth).unwrap_or(0);
        let way = heads.way(self.head, run.0, disk.sectors, passing);
        self.head = run.1;
        way
    }

    /// Enters a flush at `now`: it starts when every slot is idle. On a rotating disk nothing else runs meanwhile.
    pub(crate) fn flush(&mut self, timing: &Timing, now: u64, disk: Size, extra: u64) -> u64 {
        let busy = self.slots.iter().copied().max().unwrap_or(0);
        let mut cached = std::mem::take(&mut self.cached);
        cached.sort_unstable();
        let (mut sum, mut longest) = (0_u64, 0);
        if let Some(heads) = timing.heads {
            for run in cached {
                let way = self.go(&heads, timing, disk, run);
                (sum, longest) = (sum.saturating_add(way), way.max(longest));
            }
        }
        let time = timing.flush.saturating_add(sum - longest);
        let done = now.max(busy).saturating_add(time).saturating_add(extra);
        if timing.heads.is_some() {
            self.slots.resize(timing.queue_depth.max(1) as usize, 0);
            self.slots.fill(done);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: Size = Size { sectors: 1 << 20, sector: 512 };

    fn read(lba: u64, bytes: u64) -> Move {
        Move { lba, sectors: bytes / 512, bytes, write: false, disk: DISK, extra: 0 }
    }

    #[test]
    fn depth_overlaps_latency_and_bandwidth_serialises() {
        let timing = Timing { latency: 100, read_bandwidth: 1_000_000_000, queue_depth: 2, ..Timing::immediate() };
        let mut queue = Queue::default();
        assert_eq!(queue.enter(&timing, 0, read(0, 10)), 110);
        assert_eq!(queue.enter(&timing, 0, read(0, 10)), 120, "second slot, then the channel");
        assert_eq!(queue.enter(&timing, 0, read(0, 10)), 220, "waits for a slot");
        assert_eq!(queue.flush(&Timing { flush: 5, ..timing }, 0, DISK, 0), 225);
    }

    /// Nanoseconds of one request after another.
    fn times(timing: &Timing, requests: &[Move]) -> Vec<u64> {
        let (mut queue, mut now) = (Queue::default(), 0);
        let mut time = |request: &Move| {
            let done = queue.enter(timing, now, *request);
            let taken = done - now;
            now = done;
            taken
        };
        requests.iter().map(&mut time).collect()
    }

    #[test]
    fn heads_pay_for_their_way_and_not_for_going_on() {
        let timing = Timing::hdd();
        let transfer = timing.latency + 1_000_000;
        let piece = |lba| Move { sectors: 293, ..read(lba, 150_000) };
        let [first, on, back, far, near] =
            times(&timing, &[piece(0), piece(293), piece(0), piece((1 << 20) - 293), piece(0)])[..]
        else {
            panic!("as many times as requests");
        };
        assert_eq!((first, on), (transfer, transfer));
        assert!(back > transfer + 1_000_000 + 4_166_666, "a short way back: a seek and half a revolution, {back}");
        assert!(far > transfer + 18_000_000 && far < transfer + 19_200_000, "across the disk: {far}");
        assert!(near > transfer + 18_000_000 && near < transfer + 19_200_000, "and back: {near}");
        let ahead = times(&timing, &[piece(0), piece(293 + 293)])[1];
        assert!((transfer + 990_000..transfer + 1_010_000).contains(&ahead), "it comes by itself: {ahead}");
    }

    #[test]
    fn the_mean_way_is_that_of_the_data_sheet() {
        let heads = Timing::hdd().heads.expect("it rotates");
        let (places, mut sum) = (64_u64, 0_u64);
        for (from, to) in (0..places).flat_map(|from| (0..places).map(move |to| (from, to))) {
            sum += heads.way(from << 14, to << 14, places << 14, u64::MAX).saturating_sub(heads.revolution / 2);
        }
        let mean = sum / (places * places);
        assert!((8_300_000..8_600_000).contains(&mean), "{mean}");
    }

    #[test]
    fn the_cache_takes_writes_until_it_is_full_and_a_flush_empties_it() {
        let timing = Timing::hdd();
        let mut queue = Queue::default();
        let write = |at: u64| Move { write: true, ..read(at * 5000, 4096) };
        let mut now = 0;
        let mut time = |queue: &mut Queue, request| {
            let done = queue.enter(&timing, now, request);
            let taken = done - now;
            now = done;
            taken
        };
        for at in 1..=32 {
            assert!(time(&mut queue, write(at)) < 1_000_000, "run {at} is taken at once");
        }
        assert!(time(&mut queue, write(40)) > 5_000_000, "the nearest has to go");
        let begun = now.max(queue.slots[0]);
        let done = queue.flush(&timing, begun, DISK, 0);
        assert!(done - begun > 32 * 5_000_000, "a flush pays for what the writes did not: {}", done - begun);
        assert_eq!(queue.enter(&timing, begun, write(50)) - done, timing.latency + 4096 * 1000 / 150, "waits for it");
        assert_eq!(queue.flush(&timing, 2 * done, DISK, 0), 2 * done + timing.flush, "its time covers one way");
    }
}
