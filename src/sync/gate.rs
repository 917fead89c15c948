//! Admission of requests to ranges of the data region, and the boundary they are classified with.
//!
//! The data region is cut into buckets of 1 MiB. Bucket `b` belongs to slot `b mod SLOTS`; a run of buckets no longer
//! than the table therefore never meets a slot twice, and a longer run is the whole table. A slot is one word:
//!
//! ```text
//!  63                         39   38   37     32 31                          0
//! +-----------------------------+--------+----------+-----------------------------+
//! |  writes so far, wrapping    | fenced |  closes  |  requests that hold a count |
//! +-----------------------------+--------+----------+-----------------------------+
//! ```
//!
//! Two buckets that share a slot only make the gate coarser: a request may wait for a zone that it does not touch.
//!
//! # Invariants
//! * A request is admitted when its addition found `closes == 0` in *every* one of its slots. It holds one count per
//!   slot until it leaves. A request that is refused gives all counts back before it is told so: whoever waits owns
//!   nothing. (A request that kept one slot while it waited for another would deadlock with a closed zone that grows.)
//! * `closes` counts the closed zones that touch the slot. Closing the neighbour of a closed zone and then opening the
//!   finished one leaves a shared slot closed, whatever the order of the two calls.
//! * Only the sweep thread closes, opens, publishes, fences and shields; fencing, shielding and publishing need the zone
//!   closed and drained.
//! * The count of requests cannot overflow: each is an IRP of more than 200 bytes of non-paged memory, and 2^32 of them do
//!   not fit into any. The count of closes is checked. The count of writes is the topmost field, so that it wraps alone.
//!
//! # The boundary is stable while a request is in
//! Let R be admitted on slot s. Its addition on s comes, in the modification order of s, after some opening O (or the
//! creation) and before the next closing C. It read what O released, so it sees every boundary published before O.
//! C's thread publishes only after it saw R's count go, an acquire of R's release; so R, until it leaves, cannot see
//! a boundary published after C. All boundaries published between O and C belong to zones that do not touch s: each
//! moved the boundary within a range of sectors none of which is R's. R may see either of two such values and
//! classifies its own sectors alike with both. That is also why a request entirely outside the closed zone, which is
//! not kept waiting at all, may use either value: the zone is the difference of the two. [`RangeGate::enter`] returns
//! the value, so that there is no way to read it too early.
//!
//! The fence (a zone whose sectors are neither side for certain) is stable by the same argument: its words are read
//! only by a request whose slot carries the bit, and they change only while every slot that carries it is closed.
//!
//! # Shielded sectors
//! Single sectors whose content is of neither side are listed in a fixed table; a slot that has one carries the bit of the
//! fence too. A read of one is refused. A write is let in, and when it succeeded the sectors that it covered leave the
//! table ([`RangeGate::heal`]), before it leaves the gate. Taking out is an exchange of that very sector for nothing, so
//! that a slow healer does not take out a sector that came into the place later.
//!
//! # Was the zone written to?
//! A write adds one to the topmost field of its slots when it is counted in, even if it is then refused. So
//! [`RangeGate::writes`] before a flush and the same after `close` and drain tell that no write came between: both
//! are fields of the word that the close is in.
//!
//! # Queued requests and lost wake-ups
//! A refused request is put on a queue that the opener drains:
//! ```text
//! request: enter -> Refused::Closed; signal the waiter if told so
//!          take the queue lock; if still_closed { append; release; done } else { release; enter again }
//! sweep:   open (bits cleared); take the queue lock; take the whole queue; release; try each of them again
//! ```
//! If the request takes the lock before the sweep, the sweep finds it in the queue. If it takes the lock after, the
//! lock makes the cleared bits visible and `still_closed` is false. There is no third case. A request that finds the
//! slot closed *again* is appended and drained by the next opening.
//!
//! # How much is going on
//! Each slot has a second word, the requests that have left it. It is no part of the protocol: it is an estimate that costs no
//! interlocked operation. Whoever leaves has just had the line of the slot; two who leave at once may count one.
//!
//! # Waiting for a zone to drain
//! `close`, then `while !is_drained { wait on the event }`. A departure that finds the slot closed and takes the last
//! count returns [`Wake::Waiter`]; one that came before the closing is seen by the scan, because both act on one word.
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use vck_common::journal::MAX_DAMAGED;
use vck_common::{DataExtent, DataSector, NtStatus, SectorCount, SectorSize, VckError, VckResult};

use super::{AtomicWord, Atomics, Wake};

const CLOSE_ONE: u64 = 1 << 32;
const REQUESTS: u64 = CLOSE_ONE - 1;
const FENCED: u64 = 1 << 38;
const CLOSES: u64 = FENCED - CLOSE_ONE;
const WRITE_ONE: u64 = 1 << 39;
/// An entry of the table of shielded sectors that holds none.
const NO_SECTOR: u64 = u64::MAX;
/// Two zones are closed at a time, the one being finished and its neighbour; the field has room for 63.
const MAX_CLOSES: u64 = 2;
/// log2 of the bucket size in bytes.
const BUCKET_SHIFT: u32 = 20;

/// What a request does to its sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads them.
    Read,
    /// Replaces them, or makes their content undefined.
    Write,
}

/// Why a request was not admitted. It holds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The reason.
    pub why: Refusal,
    /// Whether giving the counts back may have been what the sweep waits for.
    pub wake: Wake,
}

/// The reason of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A zone that touches the request's slots is closed: queue the request (see the module text).
    Closed,
    /// The request touches the fenced zone, or reads a shielded sector: fail it with this status.
    Fenced(NtStatus),
}

/// Two words, alone on their cache line: requests to different buckets share nothing.
#[repr(align(64))]
struct Slot<A: Atomics> {
    word: A::Word,
    /// Requests that have left, about. Not a word of the models: nothing depends on it.
    left: AtomicU64,
}

impl<A: Atomics> Slot<A> {
    /// Adds one request; the word as it was.
    fn count_in(&self, access: Access) -> u64 {
        let one = match access {
            Access::Read => 1,
            Access::Write => WRITE_ONE | 1,
        };
        self.word.fetch_add(one, Ordering::AcqRel)
    }

    /// Takes one request back.
    fn count_out(&self) -> Wake {
        let before = self.word.fetch_sub(1, Ordering::AcqRel);
        if before & CLOSES != 0 && before & REQUESTS == 1 { Wake::Waiter } else { Wake::Nobody }
    }

    /// Counts a request that is about to leave.
    fn note_departure(&self) {
        self.left.store(self.left.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    fn closes(&self) -> u64 {
        (self.word.load(Ordering::Acquire) & CLOSES) / CLOSE_ONE
    }

    fn is_marked(&self) -> bool {
        self.word.load(Ordering::Acquire) & FENCED != 0
    }

    /// Sets the bit that makes requests look at fence and shields. The sweep thread alone changes it.
    fn mark(&self) {
        if !self.is_marked() {
            self.word.fetch_add(FENCED, Ordering::AcqRel);
        }
    }

    fn unmark(&self) {
        if self.is_marked() {
            self.word.fetch_sub(FENCED, Ordering::AcqRel);
        }
    }
}

/// The gate of one volume. See the module text for the protocol.
///
/// `SLOTS` is the size of the table; the driver uses the default, the models a small one.
pub struct RangeGate<A: Atomics, const SLOTS: usize = 256> {
    slots: Vec<Slot<A>>,
    boundary: A::Word,
    fence_first: A::Word,
    fence_count: A::Word,
    fence_status: A::Word,
    /// Shielded sectors; [`NO_SECTOR`] where there is none.
    shields: Vec<A::Word>,
    /// log2 of the sectors in a bucket.
    bucket_shift: u32,
}

impl<A: Atomics, const SLOTS: usize> RangeGate<A, SLOTS> {
    /// A gate that is open everywhere, with `boundary` published. Max IRQL: `DISPATCH_LEVEL`.
    ///
    /// # Errors
    /// [`VckError::NoMemory`]; the table is one allocation of `64 * SLOTS` bytes, the shields are another one.
    pub fn new(sector_size: SectorSize, boundary: DataSector) -> VckResult<Self> {
        const { assert!(SLOTS > 0) };
        let mut slots = Vec::new();
        slots.try_reserve_exact(SLOTS).map_err(|_| VckError::NoMemory)?;
        slots.extend((0..SLOTS).map(|_| Slot { word: A::Word::new(0), left: AtomicU64::new(0) }));
        // A model has few slots and needs few shields.
        let count = MAX_DAMAGED.min(SLOTS);
        let mut shields = Vec::new();
        shields.try_reserve_exact(count).map_err(|_| VckError::NoMemory)?;
        shields.extend((0..count).map(|_| A::Word::new(NO_SECTOR)));
        Ok(Self {
            slots,
            boundary: A::Word::new(boundary.get()),
            fence_first: A::Word::new(0),
            fence_count: A::Word::new(0),
            fence_status: A::Word::new(0),
            shields,
            bucket_shift: BUCKET_SHIFT.saturating_sub(sector_size.shift()),
        })
    }

    /// Admits a request to all of `extent` or to nothing; the boundary it has to be classified with.
    ///
    /// The boundary is stable for `extent` until [`RangeGate::leave`] is called with the same extent, which the caller
    /// owes exactly once, from any thread. An empty extent is always admitted.
    ///
    /// # Errors
    /// [`Refused`]; the caller then holds nothing and must act on [`Refused::wake`] before it queues the request.
    pub fn enter(&self, extent: DataExtent, access: Access) -> Result<DataSector, Refused> {
        let mut fenced = false;
        for (position, slot) in self.slots_of(extent).enumerate() {
            let before = slot.count_in(access);
            if before & CLOSES != 0 {
                let wake = give_back(self.slots_of(extent).take(position.saturating_add(1)));
                return Err(Refused { why: Refusal::Closed, wake });
            }
            fenced |= before & FENCED != 0;
        }
        if fenced && let Some(status) = self.refusal_of(extent, access) {
            return Err(Refused { why: Refusal::Fenced(status), wake: give_back(self.slots_of(extent)) });
        }
        Ok(self.boundary())
    }

    /// Ends the stay of a request that was admitted to `extent`.
    pub fn leave(&self, extent: DataExtent) -> Wake {
        if let Some(slot) = self.slots_of(extent).next() {
            slot.note_departure();
        }
        give_back(self.slots_of(extent))
    }

    /// Requests that have left so far, about; see the module text.
    #[must_use]
    pub fn departures(&self) -> u64 {
        self.slots.iter().fold(0, |sum: u64, slot| sum.wrapping_add(slot.left.load(Ordering::Relaxed)))
    }

    /// Requests that are in now; one that lies in several slots counts in each.
    #[must_use]
    pub fn inside(&self) -> u64 {
        let requests = |slot: &Slot<A>| slot.word.load(Ordering::Relaxed) & REQUESTS;
        self.slots.iter().fold(0, |sum: u64, slot| sum.saturating_add(requests(slot)))
    }

    /// True while `extent` would be refused as closed. To be asked under the lock of the queue of waiting requests.
    #[must_use]
    pub fn still_closed(&self, extent: DataExtent) -> bool {
        self.slots_of(extent).any(|slot| slot.closes() > 0)
    }

    /// The published boundary, for display. A request is classified with the value that [`RangeGate::enter`] returned.
    #[must_use]
    pub fn boundary(&self) -> DataSector {
        DataSector::new(self.boundary.load(Ordering::Acquire))
    }

    /// Refuses new requests to `zone` from now on. Sweep thread only; see [`RangeGate::is_drained`].
    ///
    /// # Errors
    /// [`VckError::Busy`] when more zones would be closed at a time than the protocol provides for; nothing changed.
    pub fn close(&self, zone: DataExtent) -> VckResult<()> {
        // Only this thread changes the closes, so that what is read here still holds below.
        if self.slots_of(zone).any(|slot| slot.closes() >= MAX_CLOSES) {
            return Err(VckError::Busy);
        }
        for slot in self.slots_of(zone) {
            slot.word.fetch_add(CLOSE_ONE, Ordering::AcqRel);
        }
        Ok(())
    }

    /// True when no admitted request touches the closed `zone`. Until then a departure signals the waiter.
    ///
    /// A slot is done once it was seen empty: whoever counts itself in later finds the slot closed and goes away.
    #[must_use]
    pub fn is_drained(&self, zone: DataExtent) -> bool {
        self.slots_of(zone).all(|slot| slot.word.load(Ordering::Acquire) & REQUESTS == 0)
    }

    /// Publishes the boundary. Sweep thread only, while the sectors between the old and the new one are closed.
    pub fn publish(&self, boundary: DataSector) {
        self.boundary.store(boundary.get(), Ordering::Release);
    }

    /// Admits requests to `zone` again, apart from what another closed zone covers. Sweep thread only.
    ///
    /// The caller then takes the queue of waiting requests and tries each of them.
    pub fn open(&self, zone: DataExtent) {
        for slot in self.slots_of(zone).filter(|slot| slot.closes() > 0) {
            slot.word.fetch_sub(CLOSE_ONE, Ordering::AcqRel);
        }
    }

    /// The writes that were ever counted in to the slots of `zone`; `None` while a request is inside. See the module text.
    #[must_use]
    pub fn writes(&self, zone: DataExtent) -> Option<u64> {
        self.slots_of(zone).try_fold(0_u64, |sum, slot| {
            let word = slot.word.load(Ordering::Acquire);
            (word & REQUESTS == 0).then(|| sum.wrapping_add(word / WRITE_ONE))
        })
    }

    /// Makes every later request that touches `zone` fail with `status`. Sweep thread only, while `zone` is closed and
    /// drained. There is one fence at a time; a second one replaces the first, which must be closed too then.
    pub fn fence(&self, zone: DataExtent, status: NtStatus) {
        self.unfence();
        // The count last: until it is there nobody believes the others. A request may look at them meanwhile, because a slot
        // may be marked for a shielded sector that has nothing to do with this zone.
        self.fence_status.store(u64::from(status.as_u32()), Ordering::Release);
        self.fence_first.store(zone.first.get(), Ordering::Release);
        self.fence_count.store(zone.count.get(), Ordering::Release);
        self.slots_of(zone).for_each(Slot::mark);
    }

    /// Takes the fence away, if there is one. Sweep thread only, while the fenced zone is closed and drained.
    pub fn unfence(&self) {
        let zone = self.fenced_zone();
        self.fence_count.store(0, Ordering::Release);
        self.slots_of(zone).for_each(Slot::unmark);
        // Their slots are closed like the rest of the zone's, or they kept their bit.
        self.shielded().flat_map(|sector| self.slots_of(one(sector))).for_each(Slot::mark);
    }

    /// Makes reads of `sector` fail until [`RangeGate::heal`]. Sweep thread only, while the sector is closed and drained, or
    /// before the gate is used. `false` if the table is full.
    pub fn shield(&self, sector: DataSector) -> bool {
        if self.is_shielded(sector) {
            return true;
        }
        let Some(place) = self.shields.iter().find(|place| place.load(Ordering::Acquire) == NO_SECTOR) else {
            return false;
        };
        place.store(sector.get(), Ordering::Release);
        self.slots_of(one(sector)).for_each(Slot::mark);
        true
    }

    /// Whether reads of `sector` are refused.
    #[must_use]
    pub fn is_shielded(&self, sector: DataSector) -> bool {
        self.shielded().any(|shielded| shielded == sector)
    }

    /// The sectors of `extent` were written. To be called before the write leaves. Whether one of them was shielded.
    #[must_use]
    pub fn heal(&self, extent: DataExtent) -> bool {
        if !self.slots_of(extent).any(Slot::is_marked) {
            return false;
        }
        let mut healed = false;
        for place in &self.shields {
            let sector = place.load(Ordering::Acquire);
            let mut found = sector;
            while found == sector && extent.contains(DataSector::new(sector)) && sector != NO_SECTOR {
                match place.compare_exchange_weak(sector, NO_SECTOR, Ordering::AcqRel, Ordering::Acquire) {
                    Ok(_) => {
                        healed = true;
                        break;
                    }
                    Err(now) => found = now,
                }
            }
        }
        healed
    }

    fn shielded(&self) -> impl Iterator<Item = DataSector> {
        let sectors = self.shields.iter().map(|place| place.load(Ordering::Acquire));
        sectors.filter(|sector| *sector != NO_SECTOR).map(DataSector::new)
    }

    /// Why a request on a marked slot is refused, if it is.
    fn refusal_of(&self, extent: DataExtent, access: Access) -> Option<NtStatus> {
        let shielded = || access == Access::Read && self.shielded().any(|sector| extent.contains(sector));
        self.fence_over(extent).or_else(|| shielded().then_some(NtStatus::DEVICE_DATA_ERROR))
    }

    /// The status of the fence, if it covers a sector of `extent`. Only for a request that is counted on a marked slot.
    fn fence_over(&self, extent: DataExtent) -> Option<NtStatus> {
        if !self.fenced_zone().overlaps(extent) {
            return None;
        }
        let status = self.fence_status.load(Ordering::Acquire);
        // The word was stored from 32 bits.
        Some(NtStatus::from_u32(u32::try_from(status).unwrap_or(u32::MAX)))
    }

    /// The fenced zone, empty if there is none: what was stored before its count is seen once the count is.
    fn fenced_zone(&self) -> DataExtent {
        let count = SectorCount::new(self.fence_count.load(Ordering::Acquire));
        DataExtent::new(DataSector::new(self.fence_first.load(Ordering::Acquire)), count)
    }

    /// The distinct slots of `extent`: a run of the table that may wrap around its end.
    fn slots_of(&self, extent: DataExtent) -> impl Iterator<Item = &Slot<A>> {
        let (start, len) = self.run_of(extent);
        let end = start.saturating_add(len);
        let tail = self.slots.get(start..end.min(SLOTS)).unwrap_or_default();
        let head = self.slots.get(..end.saturating_sub(SLOTS)).unwrap_or_default();
        tail.iter().chain(head)
    }

    /// First slot and number of slots of `extent`.
    fn run_of(&self, extent: DataExtent) -> (usize, usize) {
        let table = SLOTS as u64;
        let Some(more) = extent.count.get().checked_sub(1) else { return (0, 0) };
        let first = extent.first.get() >> self.bucket_shift;
        let last = extent.first.get().saturating_add(more) >> self.bucket_shift;
        let len = last.saturating_sub(first).saturating_add(1).min(table);
        // Both are at most SLOTS, which is a usize.
        (usize::try_from(first % table).unwrap_or_default(), usize::try_from(len).unwrap_or(SLOTS))
    }
}

fn one(sector: DataSector) -> DataExtent {
    DataExtent::new(sector, SectorCount::new(1))
}

fn give_back<'a, A: Atomics + 'a>(slots: impl Iterator<Item = &'a Slot<A>>) -> Wake {
    slots.fold(Wake::Nobody, |wake, slot| wake.or(slot.count_out()))
}

#[cfg(test)]
mod tests;
