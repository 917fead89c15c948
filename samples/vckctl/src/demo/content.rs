//! The files of the demonstration.
//!
//! Every 512 bytes of every file begin with a stamp: a marker, the file, the position in it, and a generation. So each
//! sector on the medium tells whose it is, and plaintext that leaks is recognised wherever it turns up.

use super::rng::Rng;

/// What every stamped unit begins with.
pub(super) const MARKER: &[u8; 8] = b"VCKDEMO!";
/// Bytes from stamp to stamp.
pub(super) const UNIT: usize = 512;
/// Bytes of a stamp.
pub(super) const STAMP: usize = 24;

const WORDS: [&str; 12] =
    ["sector", "boundary", "the", "volume", "keeps", "every", "byte", "while", "it", "is", "converted", "live"];

/// Whose unit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Number of the file.
    pub(super) file: u32,
    /// Number of the unit in the file.
    pub(super) unit: u32,
}

impl Stamp {
    /// Reads the stamp at the start of `bytes`.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MARKER)?;
        let (file, rest) = rest.split_first_chunk()?;
        let unit = rest.first_chunk()?;
        Some(Self { file: u32::from_le_bytes(*file), unit: u32::from_le_bytes(*unit) })
    }
}

/// A file to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spec {
    /// Number in its stamps.
    pub(super) id: u32,
    /// Path from the root.
    pub(super) path: String,
    /// Bytes.
    pub(super) len: usize,
}

/// Whole units of a file's content, from unit `first` on.
pub(super) fn units(id: u32, first: u32, count: usize, generation: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(count * UNIT);
    for unit in (first..).take(count) {
        let start = out.len();
        out.extend_from_slice(MARKER);
        out.extend_from_slice(&id.to_le_bytes());
        out.extend_from_slice(&unit.to_le_bytes());
        out.extend_from_slice(&generation.to_le_bytes());
        let mut rng = Rng::new(u64::from(id) << 40 ^ u64::from(unit) << 8 ^ generation.rotate_left(17));
        if id.is_multiple_of(2) {
            while out.len() < start + UNIT {
                out.extend_from_slice(WORDS[rng.index(WORDS.len())].as_bytes());
                out.push(b' ');
            }
        } else {
            let mut noise = [0; UNIT - STAMP];
            rng.fill(&mut noise);
            out.extend_from_slice(&noise);
        }
        out.truncate(start + UNIT);
    }
    out
}

/// The content of a new file.
pub(super) fn file(spec: &Spec) -> Vec<u8> {
    let mut content = units(spec.id, 0, spec.len.div_ceil(UNIT), 0);
    content.truncate(spec.len);
    content
}

/// The files that fill about `budget` bytes: many small ones, some of medium size, and one that takes the rest.
pub(super) fn plan(folder: &str, budget: u64) -> Vec<Spec> {
    const MEDIUM: [(&str, u64); 5] = [
        ("TEXT/POEM.TXT", 11_003),
        ("TEXT/LONG-FILE-NAME-OF-A-LOG.TXT", 200_000),
        ("DATA/TABLE.CSV", 700_001),
        ("DATA/ARCHIVE.BIN", 1 << 20),
        ("DATA/PHOTO.BIN", 3 << 20),
    ];
    let mut specs = Vec::new();
    let mut left = budget;
    let mut add = |path: String, bytes: u64| {
        if bytes <= left {
            left -= bytes;
            let id = u32::try_from(specs.len()).unwrap_or(0);
            specs.push(Spec { id, path: format!("{folder}{path}"), len: usize::try_from(bytes).unwrap_or(0) });
        }
    };
    add("README.TXT".to_owned(), 1_555);
    for number in 0..16_u64 {
        add(format!("TEXT/NOTE{number:02}.TXT"), 100 + number * 613);
    }
    for (path, bytes) in MEDIUM {
        if bytes * 4 <= budget {
            add(path.to_owned(), bytes);
        }
    }
    let rest = budget.saturating_sub(specs.iter().map(|spec| spec.len as u64).sum());
    if rest >= 64 << 10 {
        let id = u32::try_from(specs.len()).unwrap_or(0);
        specs.push(Spec { id, path: format!("{folder}DATA/LARGE.BIN"), len: usize::try_from(rest).unwrap_or(0) });
    }
    specs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_stamped_and_generations_differ() {
        for id in [2, 3] {
            let spec = Spec { id, path: String::new(), len: 5 * UNIT + 100 };
            let content = file(&spec);
            assert_eq!(content.len(), spec.len);
            for (unit, bytes) in (0..).zip(content.chunks(UNIT)) {
                assert_eq!(Stamp::read(bytes), Some(Stamp { file: id, unit }));
            }
            assert_eq!(units(id, 2, 1, 0), content[2 * UNIT..3 * UNIT]);
            assert_ne!(units(id, 2, 1, 0), units(id, 2, 1, 1));
        }
        assert_eq!(Stamp::read(&[0; UNIT]), None);
    }

    #[test]
    fn a_plan_keeps_to_its_budget() {
        for budget in [0, 2_000, 100_000, 3 << 20, 40 << 20] {
            let specs = plan("X/", budget);
            let sum: u64 = specs.iter().map(|spec| spec.len as u64).sum();
            assert!(sum <= budget, "{sum} of {budget}");
            assert!((0..).zip(&specs).all(|(id, spec)| spec.id == id && spec.path.starts_with("X/")));
        }
        assert!(plan("", 40 << 20).iter().any(|spec| spec.len > 20 << 20));
    }
}
