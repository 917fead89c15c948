//! Scenario families, and the names of cases and cuts.
//!
//! A case is `FAMILY:NUMBER`, for instance `encrypt-512-hf-live-torn:17`; the number is the seed of all that is left to
//! chance in it. A cut is a case and `@EVENT.DRAW`; a second such part is a cut during or after the recovery from the first.

use std::fmt;
use std::str::FromStr;

use vck_common::SectorSize;

/// What is asked of the conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// From plaintext to the end.
    Encrypt,
    /// From ciphertext to the end.
    Decrypt,
    /// Some steps one way, then the other.
    Turn,
    /// Some steps, PAUSE, some more.
    Pause,
}

/// Where the replicas are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicas {
    /// One at each end.
    Both,
    /// Two at the end.
    Footers,
}

/// What goes wrong besides the power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    Clean,
    /// One call of the device fails.
    Transient,
    /// Two calls of the device that follow each other closely fail.
    Twice,
    /// From some call on, a sector cannot be read, or cannot be written, or no flush succeeds.
    Permanent,
    /// From some call on, several sectors of a zone cannot be read or cannot be written.
    Bad,
    /// From some call on, one replica does not take the record.
    Replica,
    /// From some call on, one replica does not take its metadata block.
    Block,
    /// From some call on, or at a boot, one replica can be neither read nor written.
    Lost,
    /// Flushes fail and lose what they were to make durable.
    Lossy,
    /// Every boot finds a device that answers reads with errors for a while.
    Away,
    /// The cut tears sectors.
    Torn,
    /// The device writes 4096 bytes at a time, and a cut may cost all sectors of those.
    Physical,
    /// Trimmed sectors show something else at every read.
    Trim,
}

impl Trouble {
    /// Whether calls of the device fail while the script runs.
    #[must_use]
    pub const fn is_a_fault(self) -> bool {
        !matches!(self, Self::Clean | Self::Torn | Self::Physical | Self::Trim | Self::Away)
    }
}

/// What goes wrong in a family: nothing, one thing, or two. What is alone comes first.
pub type Troubles = [Trouble; 2];

/// One family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// What is asked for.
    pub kind: Kind,
    /// The device's sector size.
    pub size: SectorSize,
    /// Where the replicas are.
    pub replicas: Replicas,
    /// Whether users use the volume meanwhile.
    pub live: bool,
    /// What goes wrong.
    pub troubles: Troubles,
}

const KINDS: [(Kind, &str); 4] =
    [(Kind::Encrypt, "encrypt"), (Kind::Decrypt, "decrypt"), (Kind::Turn, "turn"), (Kind::Pause, "pause")];
const SIZES: [(SectorSize, &str); 2] = [(SectorSize::S512, "512"), (SectorSize::S4096, "4096")];
const REPLICAS: [(Replicas, &str); 2] = [(Replicas::Both, "hf"), (Replicas::Footers, "ff")];
const LOADS: [(bool, &str); 2] = [(false, "idle"), (true, "live")];
const TROUBLES: [(Trouble, &str); 13] = [
    (Trouble::Clean, "clean"),
    (Trouble::Transient, "transient"),
    (Trouble::Twice, "twice"),
    (Trouble::Permanent, "permanent"),
    (Trouble::Bad, "bad"),
    (Trouble::Replica, "replica"),
    (Trouble::Block, "block"),
    (Trouble::Lost, "lost"),
    (Trouble::Lossy, "lossy"),
    (Trouble::Away, "away"),
    (Trouble::Torn, "torn"),
    (Trouble::Physical, "physical"),
    (Trouble::Trim, "trim"),
];

/// Two troubles in one case, each of which the volume overcomes alone.
///
/// Left out, and why:
/// * `replica` and what may keep the other replica from being read: the one grows old, and if the other cannot be read the
///   old record is believed. That is a known limit, and nothing is promised that could be checked. Hence no `replica` and no
///   `lost` with `away`, nor with `permanent`, which may take any sector, and no `replica` with `lost` (of one replica: `lost`).
/// * `block` with `lost` or `permanent`: of one replica it is `lost`; of two, no good block may be left. Each alone costs none.
/// * `twice` with anything: what a second failure close to the first finds, `twice` alone finds; with others, `transient`.
/// * `permanent` with `bad`, `lossy` and `away`: it is one sector more that is bad, or a device that never flushes, for which
///   it makes no difference that flushes fail.
/// * `trim` with failures of the device but the lossy ones: an unstable sector is one that no digest matches, and `torn` has
///   these already, with every failure.
const PAIRS: [Troubles; 24] = [
    [Trouble::Transient, Trouble::Torn],
    [Trouble::Permanent, Trouble::Torn],
    [Trouble::Bad, Trouble::Torn],
    [Trouble::Replica, Trouble::Torn],
    [Trouble::Block, Trouble::Torn],
    [Trouble::Lost, Trouble::Torn],
    [Trouble::Lossy, Trouble::Torn],
    [Trouble::Away, Trouble::Torn],
    [Trouble::Trim, Trouble::Torn],
    [Trouble::Transient, Trouble::Permanent],
    [Trouble::Bad, Trouble::Transient],
    [Trouble::Replica, Trouble::Transient],
    [Trouble::Block, Trouble::Transient],
    [Trouble::Lost, Trouble::Transient],
    [Trouble::Lossy, Trouble::Transient],
    [Trouble::Replica, Trouble::Bad],
    [Trouble::Block, Trouble::Bad],
    [Trouble::Lost, Trouble::Bad],
    [Trouble::Bad, Trouble::Away],
    [Trouble::Block, Trouble::Away],
    [Trouble::Replica, Trouble::Block],
    [Trouble::Replica, Trouble::Lossy],
    [Trouble::Lost, Trouble::Lossy],
    [Trouble::Lossy, Trouble::Trim],
];

/// Everything that goes wrong in some family.
fn all_troubles() -> impl Iterator<Item = Troubles> {
    TROUBLES.into_iter().map(|(trouble, _)| [trouble, Trouble::Clean]).chain(PAIRS)
}

impl Family {
    /// All families.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for (kind, _) in KINDS {
            for (size, _) in SIZES {
                for (replicas, _) in REPLICAS {
                    for (live, _) in LOADS {
                        let families = all_troubles().map(|troubles| Self { kind, size, replicas, live, troubles });
                        all.extend(families.filter(Self::is_one));
                    }
                }
            }
        }
        all
    }

    /// Larger sectors are no smaller than physical ones.
    fn is_one(&self) -> bool {
        self.size == SectorSize::S512 || !self.has(Trouble::Physical)
    }

    /// Whether this goes wrong, alone or beside something else.
    #[must_use]
    pub fn has(&self, trouble: Trouble) -> bool {
        self.troubles.contains(&trouble)
    }

    /// Whether two things go wrong.
    #[must_use]
    pub fn is_pair(&self) -> bool {
        self.troubles[1] != Trouble::Clean
    }

    /// The place of a trouble among what goes wrong.
    #[must_use]
    pub fn place_of(&self, trouble: Trouble) -> Option<usize> {
        self.troubles.iter().position(|&other| other == trouble)
    }
}

/// What the names of families and the documents call it.
#[must_use]
pub fn trouble_name(troubles: Troubles) -> String {
    let [first, second] = troubles.map(|trouble| text(&TROUBLES, &trouble));
    if troubles[1] == Trouble::Clean { first.into() } else { format!("{first}+{second}") }
}

fn text<T: PartialEq>(table: &[(T, &'static str)], value: &T) -> &'static str {
    table.iter().find(|(known, _)| known == value).map_or("?", |(_, text)| text)
}

fn value<T: Copy>(table: &[(T, &'static str)], text: Option<&str>) -> Option<T> {
    table.iter().find(|(_, known)| Some(*known) == text).map(|(value, _)| *value)
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, size) = (text(&KINDS, &self.kind), text(&SIZES, &self.size));
        let (replicas, load) = (text(&REPLICAS, &self.replicas), text(&LOADS, &self.live));
        write!(f, "{kind}-{size}-{replicas}-{load}-{}", trouble_name(self.troubles))
    }
}

impl FromStr for Family {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let mut parts = name.split('-');
        let family = (|| {
            let kind = value(&KINDS, parts.next())?;
            let size = value(&SIZES, parts.next())?;
            let replicas = value(&REPLICAS, parts.next())?;
            let live = value(&LOADS, parts.next())?;
            let named = parts.next()?;
            let troubles = all_troubles().find(|troubles| trouble_name(*troubles) == named)?;
            let family = Self { kind, size, replicas, live, troubles };
            (parts.next().is_none() && family.is_one()).then_some(family)
        })();
        family.ok_or_else(|| format!("there is no family {name:?}; see --list"))
    }
}

/// One case of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its family.
    pub family: Family,
    /// The seed.
    pub number: u64,
}

/// A power cut: after which event, and which outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The event.
    pub event: u32,
    /// The outcome.
    pub draw: u32,
}

/// A case, and the cuts in it that are to be repeated; none: all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// The case.
    pub case: Case,
    /// Its cuts, one after the other.
    pub cuts: Vec<Cut>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.family, self.number)
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.case)?;
        self.cuts.iter().try_for_each(|cut| write!(f, "@{}.{}", cut.event, cut.draw))
    }
}

impl FromStr for Replay {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let bad = || format!("{name:?} is not FAMILY:NUMBER[@EVENT.DRAW[@EVENT.DRAW]]");
        let mut parts = name.split('@');
        let (family, number) = parts.next().and_then(|case| case.split_once(':')).ok_or_else(bad)?;
        let case = Case { family: family.parse()?, number: number.parse().map_err(|_| bad())? };
        let cut = |part: &str| {
            let (event, draw) = part.split_once('.')?;
            Some(Cut { event: event.parse().ok()?, draw: draw.parse().ok()? })
        };
        let cuts = parts.map(|part| cut(part).ok_or_else(bad)).collect::<Result<Vec<_>, _>>()?;
        if cuts.len() > 2 {
            return Err(bad());
        }
        Ok(Self { case, cuts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_is_a_family() {
        let all = Family::all();
        assert_eq!(all.len(), 4 * 2 * 2 * 2 * (12 + 24) + 4 * 2 * 2);
        assert!(all.iter().all(|family| family.to_string().parse() == Ok(*family)));
    }

    #[test]
    fn names_lead_back() {
        for name in
            ["turn-4096-ff-live-torn:3", "pause-512-hf-idle-clean:0@12.3", "encrypt-512-hf-live-lossy+torn:9@1.2@3.4"]
        {
            assert_eq!(name.parse::<Replay>().unwrap().to_string(), name);
        }
        for name in [
            "",
            "encrypt",
            "turn-4096-ff-live-physical:3",
            "encrypt-512-hf-live-torn",
            "encrypt-512-hf-live-torn:x",
            "turn-4096-ff-live-torn:3@1",
        ] {
            assert!(name.parse::<Replay>().is_err());
        }
    }
}
