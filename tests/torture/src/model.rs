//! What the sectors of the data region may hold, as their users see it.
//!
//! A user's write is in doubt until a flush that came after it has returned: a power cut may leave the old contents or the
//! new ones. A write that failed is in doubt until a later one replaces it. A trimmed sector may hold anything.

use vck_common::SectorSize;

use crate::rng::{Rng, mix};

/// Names the contents of a sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// What the n-th write put there; 0 is what the volume held at first.
    Number(u32),
    /// Whatever it likes.
    Anything,
}

#[derive(Clone, Copy, Debug)]
struct Doubt {
    sector: u64,
    version: Version,
    /// A flush does not settle it.
    lasting: bool,
}

/// The model of a volume.
#[derive(Clone, Debug)]
pub struct Model {
    seed: u64,
    size: SectorSize,
    settled: Vec<Version>,
    doubts: Vec<Doubt>,
    /// Sectors that the power cut tore.
    torn: Vec<u64>,
    /// Those that some cut tore, healed or not.
    ever_torn: Vec<u64>,
    /// Sectors that the device could not read or write.
    unreadable: Vec<u64>,
    last: u32,
}

impl Model {
    /// A volume of `sectors` sectors in their first version.
    #[must_use]
    pub fn new(seed: u64, size: SectorSize, sectors: u64) -> Self {
        let settled = (0..sectors).map(|_| Version::Number(0)).collect();
        Self {
            seed,
            size,
            settled,
            doubts: Vec::new(),
            torn: Vec::new(),
            ever_torn: Vec::new(),
            unreadable: Vec::new(),
            last: 0,
        }
    }

    /// Sectors of the data region.
    #[must_use]
    pub fn sectors(&self) -> u64 {
        self.settled.len() as u64
    }

    /// Fills `out` with the contents of a version.
    pub fn contents(&self, sector: u64, number: u32, out: &mut [u8]) {
        let mut rng = Rng::new(mix(self.seed ^ mix(sector)) ^ u64::from(number));
        out.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&rng.next().to_le_bytes()));
    }

    /// A number for contents that were never there before.
    pub const fn next_version(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    /// A write or a trim of the sector was acknowledged.
    pub fn acknowledged(&mut self, sector: u64, version: Version) {
        self.doubts.push(Doubt { sector, version, lasting: false });
    }

    /// A write to the sector failed.
    pub fn failed(&mut self, sector: u64, version: Version) {
        self.doubts.push(Doubt { sector, version, lasting: true });
    }

    /// A flush has returned.
    pub fn flushed(&mut self) {
        let doubts = std::mem::take(&mut self.doubts);
        for (index, doubt) in doubts.iter().enumerate() {
            let replaced = || doubts[index + 1..].iter().any(|later| later.sector == doubt.sector && !later.lasting);
            if !doubt.lasting {
                self.settled[at(doubt.sector)] = doubt.version;
                self.torn.retain(|&torn| torn != doubt.sector);
            } else if !replaced() {
                self.doubts.push(*doubt);
            }
        }
    }

    /// A flush failed, and may have lost what was acknowledged before: that is in doubt until it is replaced. If it was to heal
    /// a damaged sector, that may be read as what it held before: a known limit.
    pub fn lost(&mut self) {
        self.unsettle();
        let damaged = |sector: &u64| self.torn.contains(sector) || self.unreadable.contains(sector);
        let healed: Vec<u64> = self.doubts.iter().map(|doubt| doubt.sector).filter(damaged).collect();
        for sector in healed {
            self.failed(sector, Version::Anything);
        }
    }

    fn unsettle(&mut self) {
        self.doubts.iter_mut().for_each(|doubt| doubt.lasting = true);
    }

    /// The power was cut: what was in doubt may be any of its versions from now on. `torn` holds parts of two versions.
    pub fn cut(&mut self, torn: impl Iterator<Item = u64>) {
        self.unsettle();
        for sector in torn {
            self.torn.push(sector);
            self.ever_torn.push(sector);
            if self.doubts.iter().any(|doubt| doubt.sector == sector) {
                self.failed(sector, Version::Anything);
            }
        }
    }

    /// The device could not read or write the sectors: they may be kept from being read. That lasts longer than for a torn
    /// one: the record has no digest of what could not be read, so that a cut between a user's flush and the next entry
    /// lists a rewritten sector once more.
    pub fn excuse(&mut self, sectors: &[u64]) {
        self.unreadable.extend_from_slice(sectors);
    }

    /// A boot cannot read for a while: a healed sector that the record still lists may stay listed. A known limit.
    pub fn excuse_healed(&mut self) {
        self.unreadable.extend_from_slice(&self.ever_torn);
    }

    /// What a read must show now, without a cut.
    #[must_use]
    pub fn newest(&self, sector: u64) -> Option<u32> {
        let doubt = self.doubts.iter().rfind(|doubt| doubt.sector == sector);
        match doubt {
            None => number(self.settled[at(sector)]),
            Some(doubt) if doubt.lasting => None,
            Some(doubt) => number(doubt.version),
        }
    }

    /// Every version that the sector may have.
    fn versions(&self, sector: u64) -> impl Iterator<Item = Version> + '_ {
        let doubts = self.doubts.iter().filter(move |doubt| doubt.sector == sector).map(|doubt| doubt.version);
        std::iter::once(self.settled[at(sector)]).chain(doubts)
    }

    /// Whether the sector may hold `plaintext`.
    #[must_use]
    pub fn accepts(&self, sector: u64, plaintext: &[u8]) -> bool {
        self.find(sector, plaintext).is_some()
    }

    fn find(&self, sector: u64, plaintext: &[u8]) -> Option<Version> {
        let mut expected = vec![0; self.size.usize()];
        let found = self.versions(sector).find(|version| match *version {
            Version::Anything => false,
            Version::Number(number) => {
                self.contents(sector, number, &mut expected);
                expected == plaintext
            }
        });
        found.or_else(|| self.versions(sector).find(|version| *version == Version::Anything))
    }

    /// The sector was seen to hold `plaintext`, which it may: it holds nothing else from now on.
    pub fn observed(&mut self, sector: u64, plaintext: &[u8]) {
        if self.doubts.iter().any(|doubt| doubt.sector == sector)
            && let Some(version) = self.find(sector, plaintext)
        {
            self.settled[at(sector)] = version;
            self.doubts.retain(|doubt| doubt.sector != sector);
        }
    }

    /// Whether a sector may be kept from being read: it was torn, or trimmed.
    #[must_use]
    pub fn may_be_fenced(&self, sector: u64) -> bool {
        let known = self.torn.contains(&sector) || self.unreadable.contains(&sector);
        known || self.versions(sector).any(|version| version == Version::Anything)
    }
}

fn at(sector: u64) -> usize {
    usize::try_from(sector).expect("a small volume")
}

const fn number(version: Version) -> Option<u32> {
    match version {
        Version::Number(number) => Some(number),
        Version::Anything => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        Model::new(9, SectorSize::S512, 8)
    }

    fn contents(model: &Model, sector: u64, number: u32) -> Vec<u8> {
        let mut out = vec![0; 512];
        model.contents(sector, number, &mut out);
        out
    }

    fn accepts(model: &Model, sector: u64, number: u32) -> bool {
        model.accepts(sector, &contents(model, sector, number))
    }

    #[test]
    fn a_write_is_in_doubt_until_a_flush() {
        let mut model = model();
        model.acknowledged(3, Version::Number(1));
        assert!(accepts(&model, 3, 0) && accepts(&model, 3, 1) && !accepts(&model, 3, 2));
        assert!(!accepts(&model, 4, 1), "another sector");
        assert_eq!(model.newest(3), Some(1));
        model.flushed();
        assert!(!accepts(&model, 3, 0) && accepts(&model, 3, 1));
    }

    #[test]
    fn one_wrong_bit_is_seen() {
        let model = model();
        let mut bytes = contents(&model, 2, 0);
        assert!(model.accepts(2, &bytes));
        bytes[511] ^= 0x80;
        assert!(!model.accepts(2, &bytes));
    }

    #[test]
    fn a_failed_write_is_in_doubt_until_it_is_replaced() {
        let mut model = model();
        model.failed(3, Version::Number(1));
        model.flushed();
        assert!(accepts(&model, 3, 0) && accepts(&model, 3, 1));
        assert_eq!(model.newest(3), None);
        model.acknowledged(3, Version::Number(2));
        model.flushed();
        assert!(!accepts(&model, 3, 0) && !accepts(&model, 3, 1) && accepts(&model, 3, 2));
    }

    #[test]
    fn what_was_seen_after_a_cut_stays() {
        let mut model = model();
        model.acknowledged(3, Version::Number(1));
        model.cut(std::iter::empty());
        model.flushed();
        assert!(accepts(&model, 3, 0) && accepts(&model, 3, 1));
        let old = contents(&model, 3, 0);
        model.observed(3, &old);
        assert!(accepts(&model, 3, 0) && !accepts(&model, 3, 1));
    }

    #[test]
    fn only_torn_and_trimmed_sectors_may_be_fenced() {
        let mut model = model();
        model.acknowledged(5, Version::Anything);
        model.flushed();
        model.cut([2].into_iter());
        assert_eq!((0..8).filter(|&sector| model.may_be_fenced(sector)).collect::<Vec<_>>(), [2, 5]);
        assert!(!accepts(&model, 2, 7), "torn while it was converted, not by its user: exact or fenced");
        assert!(accepts(&model, 5, 7));
    }
}
