//! The model: for every data sector, which versions a read may bring.
//!
//! A version is there from the start of its write. It is *dead* from the moment when a write that began after it had
//! ended has succeeded: no later read may bring it. So any serialisation of overlapping writes to a sector is accepted
//! and nothing else. A write that failed on the device may or may not have happened: it never kills an older version.
//!
//! A read that overlapped no write fixes what the sector holds: afterwards it may hold nothing else.

use std::ops::Range;

use super::stamp;

/// Not yet.
const NEVER: u64 = u64::MAX;

#[derive(Clone, Copy, Debug)]
struct Version {
    number: u64,
    start: u64,
    end: u64,
    /// From then on no read may begin and still see it.
    dead: u64,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was carried out.
    Done,
    /// It failed where it may have happened in part.
    Perhaps,
    /// It was refused before anything was done.
    Refused,
}

/// A write under way.
#[derive(Clone, Debug)]
pub(super) struct Writing {
    pub(super) sectors: Range<u64>,
    pub(super) version: u64,
}

/// A read under way.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) sectors: Range<u64>,
    start: u64,
}

/// All data sectors.
pub(super) struct Model {
    sectors: Vec<Vec<Version>>,
    sector_size: usize,
    clock: u64,
    versions: u64,
    /// Starts of the reads under way.
    reads: Vec<u64>,
}

impl Model {
    /// Sectors that hold version 0, or what `first` says.
    pub(super) fn new(count: u64, sector_size: u32, first: impl Fn(u64) -> u64) -> Self {
        let born = |number| vec![Version { number, start: 0, end: 0, dead: NEVER }];
        Self {
            sectors: (0..count).map(|sector| born(first(sector))).collect(),
            sector_size: sector_size as usize,
            clock: 1,
            versions: 1,
            reads: Vec::new(),
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn of(&mut self, sectors: &Range<u64>) -> &mut [Vec<Version>] {
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        self.sectors.get_mut(index(sectors.start)..index(sectors.end)).unwrap_or_default()
    }

    /// Begins a write and gives its bytes.
    pub(super) fn begin_write(&mut self, sectors: Range<u64>) -> (Writing, Vec<u8>) {
        let start = self.tick();
        self.versions += 1;
        let number = self.versions;
        for versions in self.of(&sectors) {
            versions.push(Version { number, start, end: NEVER, dead: NEVER });
        }
        let count = usize::try_from(sectors.end - sectors.start).unwrap_or(0);
        let mut data = vec![0; count * self.sector_size];
        for (bytes, sector) in data.chunks_mut(self.sector_size).zip(sectors.clone()) {
            stamp::fill(bytes, sector, number);
        }
        (Writing { sectors, version: number }, data)
    }

    /// Ends a write.
    pub(super) fn end_write(&mut self, writing: &Writing, ended: Ended) {
        let now = self.tick();
        let oldest = self.reads.iter().copied().min().unwrap_or(now);
        for versions in self.of(&writing.sectors) {
            let mine = versions.iter_mut().find(|version| version.number == writing.version);
            let Some(mine) = mine.filter(|mine| mine.end == NEVER) else { continue };
            mine.end = now;
            let start = mine.start;
            match ended {
                Ended::Refused => versions.retain(|version| version.number != writing.version),
                Ended::Perhaps => {}
                Ended::Done => {
                    for older in versions.iter_mut().filter(|older| older.end < start) {
                        older.dead = older.dead.min(now);
                    }
                }
            }
            versions.retain(|version| version.dead >= oldest);
        }
    }

    /// Begins a read.
    pub(super) fn begin_read(&mut self, sectors: Range<u64>) -> Reading {
        let start = self.tick();
        self.reads.push(start);
        Reading { sectors, start }
    }

    /// Ends a read that brought nothing.
    pub(super) fn end_failed_read(&mut self, reading: &Reading) {
        self.reads.retain(|start| *start != reading.start);
    }

    /// Ends a read: every sector must be one that the model allows.
    pub(super) fn end_read(&mut self, reading: &Reading, data: &[u8]) -> Result<(), String> {
        self.end_failed_read(reading);
        let now = self.tick();
        let size = self.sector_size;
        let mut room = Vec::new();
        let expected = (reading.sectors.end - reading.sectors.start) * size as u64;
        if data.len() as u64 != expected {
            return Err(format!("a read of {expected} bytes brought {}", data.len()));
        }
        for (bytes, sector) in data.chunks(size).zip(reading.sectors.clone()) {
            let found = stamp::version_of(bytes, sector, &mut room);
            let versions = &mut self.sectors[usize::try_from(sector).unwrap_or(usize::MAX)];
            let allowed = found.is_some_and(|found| {
                versions.iter().any(|version| version.number == found && version.dead > reading.start)
            });
            let Some(found) = found.filter(|_| allowed) else {
                return Err(wrong(sector, found, versions, bytes));
            };
            if versions.iter().all(|version| version.end < reading.start) {
                for other in versions.iter_mut().filter(|other| other.number != found) {
                    other.dead = other.dead.min(now);
                }
            }
        }
        Ok(())
    }
}

fn wrong(sector: u64, found: Option<u64>, versions: &[Version], bytes: &[u8]) -> String {
    let alive: Vec<u64> =
        versions.iter().filter(|version| version.dead == NEVER).map(|version| version.number).collect();
    let head = &bytes[..bytes.len().min(16)];
    format!("sector {sector} holds version {found:?} (bytes {head:02x?}), the model allows {alive:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(version: u64) -> Vec<u8> {
        let mut bytes = vec![0; 512];
        stamp::fill(&mut bytes, 0, version);
        bytes
    }

    #[test]
    fn accepts_every_serialisation_of_overlapping_writes_and_keeps_what_was_read() {
        let mut model = Model::new(1, 512, |_| 0);
        let (first, _) = model.begin_write(0..1);
        let (second, _) = model.begin_write(0..1);
        model.end_write(&first, Ended::Done);
        model.end_write(&second, Ended::Done);
        let read = model.begin_read(0..1);
        assert!(model.end_read(&read, &sector(0)).is_err(), "both writes are over");
        let read = model.begin_read(0..1);
        assert_eq!(model.end_read(&read, &sector(first.version)), Ok(()), "the first may have come last");
        let read = model.begin_read(0..1);
        assert!(model.end_read(&read, &sector(second.version)).is_err(), "a quiet sector does not change");
    }

    #[test]
    fn a_failed_write_kills_nothing_and_a_refused_one_is_never_seen() {
        let mut model = Model::new(1, 512, |_| 0);
        let (failed, _) = model.begin_write(0..1);
        model.end_write(&failed, Ended::Perhaps);
        let (refused, _) = model.begin_write(0..1);
        model.end_write(&refused, Ended::Refused);
        let read = model.begin_read(0..1);
        assert!(model.end_read(&read, &sector(refused.version)).is_err());
        let read = model.begin_read(0..1);
        assert_eq!(model.end_read(&read, &sector(0)), Ok(()));
    }

    #[test]
    fn a_read_may_bring_what_was_there_when_it_began() {
        let mut model = Model::new(1, 512, |_| 0);
        let read = model.begin_read(0..1);
        let (write, _) = model.begin_write(0..1);
        model.end_write(&write, Ended::Done);
        assert_eq!(model.end_read(&read, &sector(0)), Ok(()));
        let read = model.begin_read(0..1);
        assert!(model.end_read(&read, &sector(0)).is_err());
    }
}
