//! What goes wrong with the device.

use crate::disk::{Event, Op};

/// Sectors that lie within 64 of each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sectors {
    first: u64,
    mask: u64,
}

impl Sectors {
    /// None.
    pub const NONE: Self = Self { first: 0, mask: 0 };

    /// These sectors, each at most 63 behind the lowest.
    ///
    /// # Panics
    /// If they are further apart.
    #[must_use]
    pub fn of(lbas: &[u64]) -> Self {
        let first = lbas.iter().copied().min().unwrap_or(0);
        let mask = lbas.iter().fold(0, |mask, lba| {
            assert!(lba - first < 64, "they lie within 64 sectors");
            mask | 1 << (lba - first)
        });
        Self { first, mask }
    }

    /// Whether the sector is one of them.
    #[must_use]
    pub const fn contains(self, lba: u64) -> bool {
        lba >= self.first && lba - self.first < 64 && self.mask >> (lba - self.first) & 1 == 1
    }

    /// All of them, ascending.
    pub fn iter(self) -> impl Iterator<Item = u64> {
        (self.first..self.first.saturating_add(64)).filter(move |&lba| self.contains(lba))
    }

    fn touched_by(self, event: Event) -> Option<u64> {
        self.iter().find(|lba| (event.lba..event.lba + event.count).contains(lba))
    }
}

/// Which calls fail. Numbers are those of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// None.
    #[default]
    None,
    /// This one.
    Once(u32),
    /// These two.
    Twice(u32, u32),
    /// The first `times` flushes from `from` on. Each loses any of the writes that it was to make durable, for good.
    Lossy {
        /// The first event concerned.
        from: u32,
        /// How many flushes fail.
        times: u32,
    },
    /// The first `reads` reads from `from` on.
    Away {
        /// The first event concerned.
        from: u32,
        /// How many reads fail.
        reads: u32,
    },
    /// Reads of some sectors and writes of others, from this event on.
    Bad {
        /// What cannot be read.
        reads: Sectors,
        /// What cannot be written.
        writes: Sectors,
        /// The first event concerned.
        from: u32,
    },
    /// Writes to one sector of the record in one replica, from this event on, and perhaps reads of it.
    Replica {
        /// The sector.
        lba: u64,
        /// Whether it cannot be read either.
        hidden: bool,
        /// The first event concerned.
        from: u32,
    },
    /// Writes to the sector of one replica's metadata block, from this event on.
    Block {
        /// The sector.
        lba: u64,
        /// The first event concerned.
        from: u32,
    },
    /// Everything in one replica, from this event on.
    Lost {
        /// Its first sector.
        first: u64,
        /// Its sectors.
        count: u64,
        /// The first event concerned.
        from: u32,
    },
    /// Flushes, from this event on.
    Flushes {
        /// The first event concerned.
        from: u32,
    },
}

impl Fault {
    /// The data sectors, and others of the kind, that the device cannot read or write.
    pub fn bad_sectors(self) -> impl Iterator<Item = u64> {
        let (reads, writes) = match self {
            Self::Bad { reads, writes, .. } => (reads, writes),
            Self::Replica { lba, .. } | Self::Block { lba, .. } => (Sectors::NONE, Sectors::of(&[lba])),
            _ => (Sectors::NONE, Sectors::NONE),
        };
        reads.iter().chain(writes.iter().filter(move |&lba| !reads.contains(lba)))
    }

    /// Whether the sector takes no write.
    #[must_use]
    pub const fn refuses_writes_to(self, sector: u64) -> bool {
        match self {
            Self::Bad { writes, .. } => writes.contains(sector),
            Self::Replica { lba, .. } | Self::Block { lba, .. } => lba == sector,
            Self::Lost { first, count, .. } => sector >= first && sector - first < count,
            _ => false,
        }
    }

    /// Whether the sector cannot be read.
    #[must_use]
    pub const fn hides(self, sector: u64) -> bool {
        match self {
            Self::Bad { reads, .. } => reads.contains(sector),
            Self::Lost { .. } | Self::Replica { hidden: true, .. } => self.refuses_writes_to(sector),
            _ => false,
        }
    }

    /// Whether it does not go away.
    #[must_use]
    pub const fn is_lasting(self) -> bool {
        matches!(
            self,
            Self::Bad { .. } | Self::Replica { .. } | Self::Block { .. } | Self::Lost { .. } | Self::Flushes { .. }
        )
    }

    /// Whether a conversion may stop because of it, and a command fail. A record that one replica does not take is no
    /// reason: the others do.
    #[must_use]
    pub const fn may_stop(self) -> bool {
        self.is_lasting() && !matches!(self, Self::Replica { .. })
    }

    /// Whether a volume may be refused as long as it lasts: nothing can be made durable.
    #[must_use]
    pub const fn keeps_from_opening(self) -> bool {
        matches!(self, Self::Flushes { .. })
    }

    /// How often something may fail because of it until it succeeds.
    const fn failures(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Once(_) | Self::Flushes { .. } | Self::Bad { .. } => 1,
            Self::Twice(..) | Self::Replica { .. } | Self::Block { .. } | Self::Lost { .. } => 2,
            Self::Lossy { times, .. } => times,
            Self::Away { reads, .. } => reads,
        }
    }

    /// The same fault as a machine meets it that boots with it.
    #[must_use]
    pub const fn from_the_start(self) -> Self {
        match self {
            Self::Bad { reads, writes, .. } => Self::Bad { reads, writes, from: 0 },
            Self::Replica { lba, hidden, .. } => Self::Replica { lba, hidden, from: 0 },
            Self::Block { lba, .. } => Self::Block { lba, from: 0 },
            Self::Lost { first, count, .. } => Self::Lost { first, count, from: 0 },
            Self::Flushes { .. } => Self::Flushes { from: 0 },
            _ => Self::None,
        }
    }

    /// The first event that it may concern.
    #[must_use]
    pub const fn from(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Once(from)
            | Self::Twice(from, _)
            | Self::Lossy { from, .. }
            | Self::Away { from, .. }
            | Self::Bad { from, .. }
            | Self::Replica { from, .. }
            | Self::Block { from, .. }
            | Self::Lost { from, .. }
            | Self::Flushes { from } => from,
        }
    }

    /// Whether a call fails. `failed`: calls that have failed before because of it.
    fn hits(self, number: u32, event: Event, failed: u32) -> bool {
        match self {
            Self::None => false,
            Self::Once(at) => number == at,
            Self::Twice(first, second) => number == first || number == second,
            Self::Lossy { from, times } => event.op == Op::Flush && number >= from && failed < times,
            Self::Away { from, reads } => event.op == Op::Read && number >= from && failed < reads,
            Self::Bad { .. } | Self::Replica { .. } | Self::Block { .. } | Self::Lost { .. } => {
                number >= self.from() && self.named(event).is_some()
            }
            Self::Flushes { from } => number >= from && event.op == Op::Flush,
        }
    }

    /// The sector that the device names when the call fails.
    fn named(self, event: Event) -> Option<u64> {
        match (self, event.op) {
            (Self::Bad { reads, .. }, Op::Read) => reads.touched_by(event),
            (Self::Bad { writes, .. }, Op::Write) => writes.touched_by(event),
            (Self::Replica { lba, .. } | Self::Block { lba, .. }, Op::Write)
            | (Self::Replica { lba, hidden: true, .. }, Op::Read) => Sectors::of(&[lba]).touched_by(event),
            (Self::Lost { first, count, .. }, Op::Read | Op::Write) => {
                let (lba, end) = (event.lba.max(first), (event.lba + event.count).min(first + count));
                (lba < end).then_some(lba)
            }
            _ => None,
        }
    }
}

/// What fails in a case: one thing for each of its two troubles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults(pub [Fault; 2]);

impl Faults {
    /// Nothing.
    pub const NONE: Self = Self([Fault::None; 2]);

    /// The same, with another fault for the trouble at `place`.
    #[must_use]
    pub const fn with(mut self, place: usize, fault: Fault) -> Self {
        self.0[place] = fault;
        self
    }

    /// Those that do not go away.
    #[must_use]
    pub fn lasting(self) -> Self {
        Self(self.0.map(|fault| if fault.is_lasting() { fault } else { Fault::None }))
    }

    fn any(self, is: impl Fn(Fault) -> bool) -> bool {
        self.0.into_iter().any(is)
    }

    /// See [`Fault::bad_sectors`].
    pub fn bad_sectors(self) -> impl Iterator<Item = u64> {
        self.0.into_iter().flat_map(Fault::bad_sectors)
    }

    /// See [`Fault::refuses_writes_to`].
    #[must_use]
    pub fn refuses_writes_to(self, sector: u64) -> bool {
        self.any(|fault| fault.refuses_writes_to(sector))
    }

    /// See [`Fault::hides`].
    #[must_use]
    pub fn hides(self, sector: u64) -> bool {
        self.any(|fault| fault.hides(sector))
    }

    /// See [`Fault::may_stop`].
    #[must_use]
    pub fn may_stop(self) -> bool {
        self.any(Fault::may_stop)
    }

    /// See [`Fault::keeps_from_opening`].
    #[must_use]
    pub fn keeps_from_opening(self) -> bool {
        self.any(Fault::keeps_from_opening)
    }

    /// How often something may have to be tried until it succeeds.
    #[must_use]
    pub fn tries(self) -> u32 {
        1 + self.0.into_iter().map(Fault::failures).sum::<u32>()
    }

    /// Whether flushes lose what they fail to make durable.
    #[must_use]
    pub fn is_lossy(self) -> bool {
        self.any(|fault| matches!(fault, Fault::Lossy { .. }))
    }

    /// Whether a call fails. `failed`: calls that have failed before because of each.
    pub(crate) fn hit(self, number: u32, event: Event, failed: &mut [u32; 2]) -> bool {
        let mut hit = false;
        for (fault, failed) in self.0.into_iter().zip(failed) {
            if fault.hits(number, event, *failed) {
                *failed += 1;
                hit = true;
            }
        }
        hit
    }

    /// The sector that the device names when the call fails.
    pub(crate) fn named(self, number: u32, event: Event) -> Option<u64> {
        self.0.into_iter().filter(|fault| number >= fault.from()).find_map(|fault| fault.named(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_are_a_set() {
        let set = Sectors::of(&[70, 7, 9]);
        assert!(set.iter().eq([7, 9, 70]));
        assert!(!set.contains(6) && !set.contains(8) && !set.contains(71));
        assert_eq!(Sectors::NONE.iter().count(), 0);
        let fault = Fault::Bad { reads: set, writes: Sectors::of(&[9, 10]), from: 0 };
        assert!(fault.bad_sectors().eq([7, 9, 70, 10]));
    }

    #[test]
    fn a_burst_ends_and_a_bad_sector_does_not() {
        let read = |lba| Event { op: Op::Read, lba, count: 4, user: false };
        let away = Fault::Away { from: 5, reads: 2 };
        assert!(!away.hits(4, read(0), 0) && away.hits(5, read(0), 1) && !away.hits(9, read(0), 2));
        let bad = Fault::Bad { reads: Sectors::of(&[6, 7]), writes: Sectors::NONE, from: 3 };
        assert!(!bad.hits(2, read(4), 0) && bad.hits(3, read(4), 9) && !bad.hits(3, read(8), 0));
        assert_eq!(bad.named(read(4)), Some(6));
        assert!(!bad.hits(3, Event { op: Op::Write, ..read(4) }, 0));
    }

    #[test]
    fn a_lost_replica_is_neither_read_nor_written() {
        let lost = Fault::Lost { first: 10, count: 5, from: 3 };
        let event = |op, lba, count| Event { op, lba, count, user: false };
        assert!(lost.hits(3, event(Op::Read, 8, 3), 0) && lost.hits(9, event(Op::Write, 14, 1), 7));
        assert!(!lost.hits(2, event(Op::Read, 8, 3), 0) && !lost.hits(3, event(Op::Write, 15, 4), 0));
        assert_eq!(lost.named(event(Op::Read, 8, 9)), Some(10));
        assert!(lost.hides(14) && !lost.hides(15) && lost.bad_sectors().next().is_none());
    }

    #[test]
    fn two_faults_fail_on_their_own() {
        let read = |lba| Event { op: Op::Read, lba, count: 1, user: false };
        let bad = Fault::Bad { reads: Sectors::of(&[6]), writes: Sectors::NONE, from: 4 };
        let faults = Faults([Fault::Away { from: 0, reads: 2 }, bad]);
        let mut failed = [0; 2];
        assert!(faults.hit(0, read(1), &mut failed) && faults.hit(4, read(6), &mut failed));
        assert_eq!((faults.hit(5, read(1), &mut failed), failed), (false, [2, 1]));
        assert!(faults.hit(6, read(6), &mut failed));
        assert_eq!(
            (faults.named(3, read(6)), faults.named(4, read(6)), faults.named(4, read(1))),
            (None, Some(6), None)
        );
        assert_eq!((faults.tries(), faults.lasting()), (4, Faults([Fault::None, bad])));
    }
}
