//! A power cut: which of the unflushed sectors survive.
//!
//! Every sector keeps its durable contents or any of those that were written since, independently of all others. Few
//! combinations are all tried; of many, the telling ones and several random ones.
//!
//! Tearing: a sector holds the front of one version and the back of another. Any number of data and record sectors may be
//! torn by one cut, but at most one of the sectors that hold a metadata block: a device writes one sector at a time, and
//! blocks have no older copy to fall back to but each other.
//!
//! A device with physical sectors of 4096 bytes and logical ones of 512 may lose the whole of a physical sector, also what
//! nobody was writing. Those of data sectors 1 to 7 are left out: sector 0 is converted alone, and costs them (a known limit).

use vck_common::Geometry;

use crate::disk::{Medium, Pending};
use crate::image::{Image, Sector};
use crate::rng::Rng;

/// What a sector of the volume is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// User data.
    Data,
    /// A metadata block.
    Block,
    /// The vendor area of a replica: the conversion record.
    Record,
}

/// What the sector at `lba` is for.
#[must_use]
pub fn place(geometry: &Geometry, lba: u64) -> Place {
    let lba = vck_common::Lba::new(lba);
    if geometry.lba_to_data(lba).is_some() {
        Place::Data
    } else if geometry.replica_at(lba).is_some() {
        Place::Block
    } else {
        Place::Record
    }
}

/// What a cut left.
pub struct Survivors {
    /// The medium.
    pub image: Image,
    /// LBAs of torn sectors.
    pub torn: Vec<u64>,
}

/// Combinations up to this number are all tried.
const FEW: u64 = 6;

/// What a cut does to sectors that are being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tearing {
    /// They are whole.
    None,
    /// Some are torn.
    Sectors,
    /// Some are torn with all of the physical sector that they are in.
    Physical,
}

/// Bytes of a physical sector.
const PHYSICAL: u64 = 4096;

/// How many different draws a cut at this moment offers, at most `wanted` unless the combinations are few.
#[must_use]
pub fn draws(medium: &Medium, wanted: u32, tearing: Tearing) -> u32 {
    let plain = match combinations(&sectors(medium)) {
        Some(all) => u32::try_from(all).expect("few"),
        None => wanted.max(2),
    };
    let torn = if tearing != Tearing::None && !medium.pending.is_empty() { wanted } else { 0 };
    plain + torn
}

/// The outcome number `draw`. `rng` decides what is left to chance; the same one gives the same outcome.
#[must_use]
pub fn survivors(
    medium: &Medium,
    geometry: &Geometry,
    draw: u32,
    wanted: u32,
    tearing: Tearing,
    mut rng: Rng,
) -> Survivors {
    let sectors = sectors(medium);
    let mut survivors = Survivors { image: medium.durable.clone(), torn: Vec::new() };
    let all = combinations(&sectors);
    let plain = all.map_or(wanted.max(2), |all| u32::try_from(all).expect("few"));
    if let Some(all) = all.filter(|&all| u64::from(draw) < all) {
        let mut code = (all - 1) - u64::from(draw);
        for (lba, versions) in &sectors {
            let options = versions.len() as u64 + 1;
            let choice = usize::try_from(code % options).expect("few");
            code /= options;
            keep(&mut survivors.image, *lba, versions, choice);
        }
        return survivors;
    }
    let pick = Pick::draw(draw, plain, &mut rng);
    let ends =
        (medium.pending.first().map_or(0, |first| first.write), medium.pending.last().map_or(0, |last| last.write));
    for (lba, versions) in &sectors {
        let choice = pick.choose(versions, place(geometry, *lba), ends, &mut rng);
        keep(&mut survivors.image, *lba, versions, choice);
    }
    if draw >= plain {
        tear(medium, geometry, &sectors, &mut survivors, &mut rng);
        if tearing == Tearing::Physical {
            tear_around(geometry, &mut survivors, &mut rng);
        }
    }
    survivors
}

/// The neighbours of torn sectors in their physical sectors: they hold anything, or what they held.
fn tear_around(geometry: &Geometry, survivors: &mut Survivors, rng: &mut Rng) {
    let unit = PHYSICAL / geometry.sector_size().u64();
    let start = geometry.offset_sector().get() / unit;
    for lba in survivors.torn.clone() {
        let all = rng.chance(1, 2);
        if place(geometry, lba) != Place::Data || lba / unit == start {
            continue;
        }
        for lba in lba / unit * unit..(lba / unit + 1) * unit {
            if survivors.torn.contains(&lba) || place(geometry, lba) != Place::Data || !(all || rng.chance(1, 2)) {
                continue;
            }
            let mut bytes = vec![0; geometry.sector_size().usize()];
            bytes.chunks_mut(8).for_each(|word| word.copy_from_slice(&rng.next().to_le_bytes()));
            survivors.image.put(lba, Sector::of(&bytes));
            survivors.torn.push(lba);
        }
    }
}

fn tear(medium: &Medium, geometry: &Geometry, sectors: &[Unflushed<'_>], survivors: &mut Survivors, rng: &mut Rng) {
    let size = medium.durable.size();
    let certain = rng.below(sectors.len() as u64);
    let mut blocks = 0;
    for (index, (lba, versions)) in (0..).zip(sectors) {
        if index != certain && !rng.chance(1, 6) {
            continue;
        }
        if place(geometry, *lba) == Place::Block {
            blocks += 1;
            if blocks > 1 {
                continue;
            }
        }
        let version = |choice: u64| match usize::try_from(choice).expect("few") {
            0 => medium.durable.sector(*lba),
            choice => &versions[choice - 1].value,
        };
        let newer = rng.between(1, versions.len() as u64);
        let older = rng.below(newer);
        let split = size.usize() / 4 * usize::try_from(rng.between(1, 3)).expect("small");
        let (front, back) = if rng.chance(1, 2) { (newer, older) } else { (older, newer) };
        let torn = version(front).torn(version(back), split, size, rng.next());
        survivors.image.put(*lba, torn);
        survivors.torn.push(*lba);
    }
}

/// A sector, and what was written to it since the last flush.
type Unflushed<'a> = (u64, Vec<&'a Pending>);

fn sectors(medium: &Medium) -> Vec<Unflushed<'_>> {
    let mut pending: Vec<&Pending> = medium.pending.iter().collect();
    // Stable: the versions of a sector stay in order.
    pending.sort_by_key(|pending| pending.lba);
    pending.chunk_by(|a, b| a.lba == b.lba).map(|versions| (versions[0].lba, versions.to_vec())).collect()
}

fn combinations(sectors: &[Unflushed<'_>]) -> Option<u64> {
    sectors.iter().try_fold(1_u64, |product, (_, versions)| {
        Some(product * (versions.len() as u64 + 1)).filter(|&product| product <= FEW)
    })
}

fn keep(image: &mut Image, lba: u64, versions: &[&Pending], choice: usize) {
    if let Some(pending) = choice.checked_sub(1).and_then(|index| versions.get(index)) {
        image.put(lba, Sector::clone(&pending.value));
    }
}

/// How the survivors of many are drawn.
#[derive(Clone, Copy, Debug)]
enum Pick {
    All,
    None,
    /// The newest version of every sector of this kind and no other.
    Only(Place),
    /// The first write and no other.
    Oldest,
    /// The last write and no other.
    Newest,
    /// All but the last write.
    NotTheNewest,
    /// Whole writes, `of` 8, each by chance from this seed.
    Writes(u64),
    /// Single sectors, each with this chance of 8.
    Sectors(u64),
    /// Everything of one kind, and single sectors of the others by chance.
    AllOf(Place),
}

impl Pick {
    fn draw(draw: u32, plain: u32, rng: &mut Rng) -> Self {
        const PLACES: [Place; 3] = [Place::Data, Place::Block, Place::Record];
        let place = PLACES[usize::try_from(rng.below(3)).expect("small")];
        // The first two are always tried.
        match if draw < plain.min(2) { u64::from(draw) } else { rng.between(2, 12) } {
            0 => Self::All,
            1 => Self::None,
            2 | 3 => Self::Only(place),
            4 => Self::Oldest,
            5 => Self::Newest,
            6 => Self::NotTheNewest,
            7 | 8 => Self::Writes(rng.next()),
            9 | 10 => Self::AllOf(place),
            11 => Self::Sectors(4),
            _ => Self::Sectors(if rng.chance(1, 2) { 1 } else { 7 }),
        }
    }

    /// Which version survives; 0 is the durable one. `first` and `last` are the numbers of the ends of the cache.
    fn choose(self, versions: &[&Pending], at: Place, (first, last): (u32, u32), rng: &mut Rng) -> usize {
        let newest = versions.len();
        let when = |survives: bool| if survives { newest } else { 0 };
        let chance = |times: u64, rng: &mut Rng| {
            if rng.chance(times, 8) { usize::try_from(rng.between(1, newest as u64)).expect("few") } else { 0 }
        };
        let latest = |wanted: &dyn Fn(&Pending) -> bool| {
            versions.iter().rposition(|pending| wanted(pending)).map_or(0, |index| index + 1)
        };
        match self {
            Self::All => newest,
            Self::None => 0,
            Self::Only(place) => when(place == at),
            Self::Oldest => latest(&|pending| pending.write == first),
            Self::Newest => latest(&|pending| pending.write == last),
            Self::NotTheNewest => latest(&|pending| pending.write != last),
            Self::Writes(seed) => latest(&|pending| Rng::new(seed).part(u64::from(pending.write)).chance(1, 2)),
            Self::Sectors(times) => chance(times, rng),
            Self::AllOf(place) if place == at => newest,
            Self::AllOf(_) => chance(4, rng),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use vck_common::{Durability, SectorCount, SectorSize};

    use super::*;
    use crate::disk::Disk;

    const DATA: u64 = 20;

    fn geometry() -> Geometry {
        Geometry::new(SectorSize::S512, SectorCount::new(DATA + 512), 1, 1, 131_072).unwrap()
    }

    fn disk() -> Disk {
        Disk::new(Image::new(SectorSize::S512, geometry().volume_sectors().get()), 1)
    }

    fn write(disk: &mut Disk, lba: u64, count: usize, value: u8) {
        disk.write(lba, &vec![value; count * 512], Durability::AtNextFlush, false).unwrap();
    }

    fn show(image: &Image, lbas: std::ops::Range<u64>) -> Vec<u8> {
        let mut bytes = [0; 512];
        let first = |lba| {
            image.read(lba, &mut bytes, 0);
            bytes[0]
        };
        lbas.map(first).collect()
    }

    #[test]
    fn few_combinations_are_all_tried() {
        let mut disk = disk();
        write(&mut disk, 256, 1, 1);
        disk.flush(false).unwrap();
        write(&mut disk, 256, 1, 2);
        write(&mut disk, 256, 1, 3);
        write(&mut disk, 300, 1, 4);
        let all = draws(disk.medium(), 4, Tearing::None);
        assert_eq!(all, 6);
        let outcome = |draw| {
            let image = survivors(disk.medium(), &geometry(), draw, 4, Tearing::None, Rng::new(1)).image;
            (show(&image, 256..257)[0], show(&image, 300..301)[0])
        };
        let seen: BTreeSet<_> = (0..all).map(outcome).collect();
        assert_eq!(seen, BTreeSet::from([(1, 0), (2, 0), (3, 0), (1, 4), (2, 4), (3, 4)]));
    }

    #[test]
    fn of_many_all_and_none_are_tried_and_the_others_are_parts() {
        let mut disk = disk();
        write(&mut disk, 256, 8, 1);
        write(&mut disk, 1, 8, 2);
        write(&mut disk, 0, 1, 3);
        let outcome = |draw, seed| survivors(disk.medium(), &geometry(), draw, 40, Tearing::None, Rng::new(seed)).image;
        let sectors = |image: &Image| [show(image, 0..9), show(image, 256..264)].concat();
        let whole = [[3].as_slice(), &[2; 8], &[1; 8]].concat();
        assert_eq!(sectors(&outcome(0, 1)), whole);
        assert_eq!(sectors(&outcome(1, 1)), [0; 17]);
        let drawn: BTreeSet<_> = (2..40).map(|draw| sectors(&outcome(draw, u64::from(draw)))).collect();
        assert!(drawn.len() > 10);
        assert!(drawn.iter().all(|image| image.iter().zip(&whole).all(|(is, new)| is == new || *is == 0)));
        let record_alone = [[0].as_slice(), &[2; 8], &[0; 8]].concat();
        assert!(
            drawn.contains(&record_alone) && drawn.iter().any(|image| image[9..] == [1; 8] && image[..9] == [0; 9])
        );
        assert_eq!(sectors(&outcome(9, 5)), sectors(&outcome(9, 5)), "the same draw is the same outcome");
    }

    #[test]
    fn torn_sectors_are_told_and_at_most_one_is_a_block() {
        let mut disk = disk();
        let blocks: Vec<u64> = geometry().metadata_lbas().map(vck_common::Lba::get).collect();
        write(&mut disk, 256, 4, 1);
        for &lba in &blocks {
            write(&mut disk, lba, 1, 1);
        }
        let all = draws(disk.medium(), 4, Tearing::Sectors);
        assert_eq!(all, 8);
        let mut torn_blocks = 0;
        for seed in 0..200 {
            let outcome = survivors(disk.medium(), &geometry(), 7, 4, Tearing::Sectors, Rng::new(seed));
            assert!(!outcome.torn.is_empty());
            let mut bytes = [0; 512];
            for &lba in &outcome.torn {
                outcome.image.read(lba, &mut bytes, 0);
                assert!(bytes.contains(&0) && bytes.contains(&1), "both versions are in it");
            }
            let here = outcome.torn.iter().filter(|lba| blocks.contains(lba)).count();
            assert!(here <= 1);
            torn_blocks += here;
        }
        assert!(torn_blocks > 0);
        assert!(survivors(disk.medium(), &geometry(), 3, 4, Tearing::Sectors, Rng::new(1)).torn.is_empty());
    }

    #[test]
    fn a_physical_sector_is_torn_with_what_nobody_wrote_but_not_the_first() {
        let geometry = Geometry::new(SectorSize::S512, SectorCount::new(24 + 512), 1, 1, 131_072).unwrap();
        let mut lost = BTreeSet::new();
        for seed in 0..100 {
            let mut disk = Disk::new(Image::new(SectorSize::S512, geometry.volume_sectors().get()), 1);
            write(&mut disk, 256, 24, 9);
            disk.flush(false).unwrap();
            write(&mut disk, 256 + 1, 3, 1);
            write(&mut disk, 256 + 10, 3, 1);
            write(&mut disk, 0, 1, 1);
            let outcome = survivors(disk.medium(), &geometry, 7, 4, Tearing::Physical, Rng::new(seed));
            let after = show(&outcome.image, 256..256 + 24);
            assert!((0..24).all(|at| matches!(after[at], 1 | 9) || outcome.torn.contains(&(256 + at as u64))));
            lost.extend(outcome.torn.iter().filter(|&&lba| place(&geometry, lba) == Place::Data).map(|lba| lba - 256));
        }
        assert_eq!(lost, [1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15].into());
    }
}
