//! What the engine sees of a volume beside its device: the clock, what the volume is used for, and the gate.

use core::cell::{Cell, RefCell};
use core::time::Duration;

use vck_common::{DataExtent, DataSector, NtStatus, VckError, VckResult};

use super::bound::CipherSide;
use super::device::FilterDevice;
use super::load::Seen;
use crate::engine::{Foreground, Meter, Traffic, ZoneGate};
use crate::nt::{CriticalRegion, Held, Passive, Waited, nanoseconds};

/// How long the sweep waits for the requests inside a zone before it opens the zone again: at most, if there is an order for
/// it, and if another zone is closed.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
const DRAIN_LIMIT_ORDERED: Duration = Duration::from_millis(100);
const DRAIN_LIMIT_BESIDE: Duration = Duration::from_millis(1);

/// The clock, and the load of one volume since the sweep last asked.
pub(super) struct LoadMeter<'a> {
    side: &'a CipherSide,
    filter: &'a Held<FilterDevice>,
    seen: Cell<Seen>,
}

impl<'a> LoadMeter<'a> {
    pub(super) fn new(side: &'a CipherSide, filter: &'a Held<FilterDevice>) -> Self {
        Self { side, filter, seen: Cell::new(Seen::default()) }
    }
}

impl Meter for LoadMeter<'_> {
    fn now(&self) -> Duration {
        Duration::from_nanos(nanoseconds())
    }

    fn foreground(&self) -> Foreground {
        let mut seen = self.seen.get();
        let Traffic { completed, inside, waiting } = self.traffic();
        let (completed, mean_latency) = self.side.load.since(&mut seen, completed);
        self.seen.set(seen);
        let outstanding = inside.saturating_add(waiting);
        Foreground { completed, outstanding: u32::try_from(outstanding).unwrap_or(u32::MAX), mean_latency }
    }

    fn traffic(&self) -> Traffic {
        let (completed, inside) = (self.side.gate.departures(), self.side.gate.inside());
        Traffic { completed, inside, waiting: waiting(self.filter) }
    }
}

/// Requests that wait for a zone to open.
fn waiting(filter: &FilterDevice) -> u64 {
    u64::try_from(filter.waiters.len()).unwrap_or(u64::MAX)
}

/// The engine's gate: closing waits for the requests inside, opening has those dispatched that wait.
///
/// The thread is in a critical region while any zone is closed: requests of the whole system may wait for it.
pub(super) struct SweepGate<'a> {
    side: &'a CipherSide,
    filter: &'a Held<FilterDevice>,
    passive: Passive,
    /// One for each closed zone, and one while everybody waits.
    regions: RefCell<[Option<CriticalRegion>; 3]>,
    watched: Cell<Option<(DataExtent, u64)>>,
    /// Everything, while everybody waits.
    held: Cell<Option<DataExtent>>,
}

impl<'a> SweepGate<'a> {
    pub(super) fn new(side: &'a CipherSide, filter: &'a Held<FilterDevice>, passive: Passive) -> Self {
        let regions = RefCell::new([None, None, None]);
        Self { side, filter, passive, regions, watched: Cell::new(None), held: Cell::new(None) }
    }

    /// Closes the zone and waits for the requests inside: at most for `limit`, or for `ordered` if there is an order for the
    /// sweep. By the clock: requests that come and find the zone closed may wake the sweep at any rate.
    fn close_within(&self, zone: DataExtent, limit: Duration, ordered: Duration) -> VckResult<()> {
        self.side.gate.close(zone)?;
        self.change_regions(true);
        let begun = nanoseconds();
        while !self.side.gate.is_drained(zone) {
            let waited = Duration::from_nanos(nanoseconds().saturating_sub(begun));
            let order = self.side.sweeper.has_order();
            let most = if order { ordered } else { limit };
            if waited >= most {
                self.open(zone);
                return Err(if order { VckError::Cancelled } else { VckError::Busy });
            }
            let slice = most.saturating_sub(waited).min(DRAIN_LIMIT_ORDERED);
            let _: Waited = self.side.drained.wait_for(self.passive, slice);
        }
        Ok(())
    }

    /// Enters a region, or leaves one.
    fn change_regions(&self, enter: bool) {
        if let Ok(mut regions) = self.regions.try_borrow_mut()
            && let Some(place) = regions.iter_mut().find(|place| place.is_none() == enter)
        {
            *place = enter.then(|| CriticalRegion::enter(self.passive));
        }
    }
}

impl ZoneGate for SweepGate<'_> {
    fn watch(&self, zone: DataExtent) {
        self.watched.set(self.side.gate.writes(zone).map(|writes| (zone, writes)));
    }

    fn watches(&self) -> bool {
        self.watched.get().is_some()
    }

    fn is_untouched(&self, zone: DataExtent) -> bool {
        let now = self.side.gate.writes(zone).map(|writes| (zone, writes));
        now.is_some() && now == self.watched.get()
    }

    fn close_and_drain(&self, zone: DataExtent) -> VckResult<()> {
        // A device may keep a request for minutes, and everybody else who wants the zone would wait with us.
        self.close_within(zone, DRAIN_LIMIT, DRAIN_LIMIT_ORDERED)
    }

    fn close_at_once(&self, zone: DataExtent) -> VckResult<()> {
        self.close_within(zone, DRAIN_LIMIT_BESIDE, DRAIN_LIMIT_BESIDE)
    }

    fn publish(&self, boundary: DataSector) {
        self.side.gate.publish(boundary);
    }

    fn open(&self, zone: DataExtent) {
        self.side.gate.open(zone);
        self.change_regions(false);
        if self.held.get().is_none() {
            self.filter.device().readmit_elsewhere();
        }
    }

    fn hold(&self) -> bool {
        let all = DataExtent::new(DataSector::ZERO, self.side.sweeper.progress().total);
        let held = self.side.gate.close(all).is_ok();
        if held {
            self.change_regions(true);
            self.held.set(Some(all));
        }
        held
    }

    fn let_go(&self) -> u64 {
        let waiting = waiting(self.filter);
        if let Some(all) = self.held.take() {
            self.open(all);
        }
        waiting
    }

    fn fence(&self, zone: DataExtent, status: NtStatus) {
        self.side.gate.fence(zone, status);
    }

    fn unfence(&self) {
        self.side.gate.unfence();
    }

    fn shield(&self, sector: DataSector) {
        if !self.side.gate.shield(sector) {
            // The list of the engine is no longer than the table.
            log::error!("damaged sector {sector} is not shielded: the table is full");
        }
    }

    fn is_shielded(&self, sector: DataSector) -> bool {
        self.side.gate.is_shielded(sector)
    }
}
