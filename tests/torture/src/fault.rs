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
    /// Writes to one sector of the record in one replica, from this event on.
    Replica {
        /// The sector.
        lba: u64,
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
    /// The sectors that the device cannot read or write.
    pub fn bad_sectors(self) -> impl Iterator<Item = u64> {
        let (reads, writes) = match self {
            Self::Bad { reads, writes, .. } => (reads, writes),
            Self::Replica { lba, .. } => (Sectors::NONE, Sectors::of(&[lba])),
            _ => (Sectors::NONE, Sectors::NONE),
        };
        reads.iter().chain(writes.iter().filter(move |&lba| !reads.contains(lba)))
    }

    /// Whether the sector takes no write.
    #[must_use]
    pub const fn refuses_writes_to(self, sector: u64) -> bool {
        match self {
            Self::Bad { writes, .. } => writes.contains(sector),
            Self::Replica { lba, .. } => lba == sector,
            _ => false,
        }
    }

    /// Whether it does not go away.
    #[must_use]
    pub const fn is_lasting(self) -> bool {
        matches!(self, Self::Bad { .. } | Self::Replica { .. } | Self::Flushes { .. })
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

    /// How often something may have to be tried until it succeeds.
    #[must_use]
    pub const fn tries(self) -> u32 {
        match self {
            Self::None => 1,
            Self::Once(_) | Self::Flushes { .. } | Self::Bad { .. } => 2,
            Self::Twice(..) | Self::Replica { .. } => 3,
            Self::Lossy { times, .. } => times + 1,
            Self::Away { reads, .. } => reads + 1,
        }
    }

    /// Whether flushes lose what they fail to make durable.
    #[must_use]
    pub const fn is_lossy(self) -> bool {
        matches!(self, Self::Lossy { .. })
    }

    /// The same fault as a machine meets it that boots with it.
    #[must_use]
    pub const fn from_the_start(self) -> Self {
        match self {
            Self::Bad { reads, writes, .. } => Self::Bad { reads, writes, from: 0 },
            Self::Replica { lba, .. } => Self::Replica { lba, from: 0 },
            Self::Flushes { .. } => Self::Flushes { from: 0 },
            _ => Self::None,
        }
    }

    /// Whether a call fails. `failed`: calls that have failed before.
    pub(crate) fn hits(self, number: u32, event: Event, failed: u32) -> bool {
        match self {
            Self::None => false,
            Self::Once(at) => number == at,
            Self::Twice(first, second) => number == first || number == second,
            Self::Lossy { from, times } => event.op == Op::Flush && number >= from && failed < times,
            Self::Away { from, reads } => event.op == Op::Read && number >= from && failed < reads,
            Self::Bad { from, .. } | Self::Replica { from, .. } => number >= from && self.named(event).is_some(),
            Self::Flushes { from } => number >= from && event.op == Op::Flush,
        }
    }

    /// The sector that the device names when the call fails.
    pub(crate) fn named(self, event: Event) -> Option<u64> {
        match (self, event.op) {
            (Self::Bad { reads, .. }, Op::Read) => reads.touched_by(event),
            (Self::Bad { writes, .. }, Op::Write) => writes.touched_by(event),
            (Self::Replica { lba, .. }, Op::Write) => Sectors::of(&[lba]).touched_by(event),
            _ => None,
        }
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
}
