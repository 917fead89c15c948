//! Names of functions, from the map file that the linker writes beside the image.

use std::collections::BTreeMap;

/// RVA to demangled name.
#[derive(Debug, Default)]
pub struct Symbols {
    names: BTreeMap<u32, String>,
}

impl Symbols {
    /// Reads the symbol lines of a map file: `0001:00002580  name  0000000180003580  object`.
    ///
    /// # Errors
    /// A message when the file has no such line: a map that says nothing must not pass for one that was used.
    pub fn parse(map: &str, base: u64) -> Result<Self, String> {
        let mut names = BTreeMap::new();
        for line in map.lines() {
            let mut words = line.split_whitespace();
            let (Some(place), Some(name), Some(address)) = (words.next(), words.next(), words.next()) else { continue };
            if place.len() != 13 || place.as_bytes().get(4) != Some(&b':') || address.len() != 16 {
                continue;
            }
            let rva = u64::from_str_radix(address, 16).ok().and_then(|value| value.checked_sub(base));
            if let Some(rva) = rva.and_then(|rva| u32::try_from(rva).ok()) {
                names.entry(rva).or_insert_with(|| format!("{:#}", rustc_demangle::demangle(name)));
            }
        }
        if names.is_empty() { Err("the map file has no symbols".to_owned()) } else { Ok(Self { names }) }
    }

    /// Name of the function at or before `rva`.
    #[must_use]
    pub fn containing(&self, rva: u32) -> Option<&str> {
        self.names.range(..=rva).next_back().map(|(_, name)| name.as_str())
    }

    /// The name of exactly this address, or the address.
    #[must_use]
    pub fn name(&self, rva: u32) -> String {
        self.names.get(&rva).cloned().unwrap_or_else(|| format!("rva {rva:#x}"))
    }

    /// Every address that has a name.
    pub fn addresses(&self) -> impl Iterator<Item = u32> + '_ {
        self.names.keys().copied()
    }

    /// Whether there are names at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}
