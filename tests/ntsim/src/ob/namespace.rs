//! The object namespace: names to devices, through directories and symbolic links.
//!
//! Names compare without regard to ASCII case. `\??`, `\DosDevices` and `\GLOBAL??` are one directory (the model has no
//! per-logon directories).

use std::collections::BTreeMap;

/// How many symbolic links one look-up may follow.
const MAX_LINKS: u32 = 32;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A directory.
    Directory,
    /// A symbolic link to another name.
    Link(String),
    /// An object by address; devices parse what follows their name.
    Object(usize),
}

/// Why a name was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameError {
    /// The text is no absolute path.
    Syntax,
    /// The last part does not exist.
    NotFound,
    /// A part before the last does not exist.
    PathNotFound,
    /// The name is taken.
    Collision,
}

/// Where a path led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Address of the object.
    pub(crate) object: usize,
    /// What follows the object's name, beginning with `\` unless empty.
    pub(crate) rest: String,
}

/// The tree of names.
#[derive(Debug)]
pub(crate) struct Namespace {
    entries: BTreeMap<String, (String, Entry)>,
}

impl Default for Namespace {
    fn default() -> Self {
        let mut entries = BTreeMap::new();
        for dir in
            [r"\Device", r"\Driver", r"\FileSystem", r"\??", r"\Callback", r"\BaseNamedObjects", r"\KernelObjects"]
        {
            entries.insert(dir.to_ascii_uppercase(), (dir.to_owned(), Entry::Directory));
        }
        Self { entries }
    }
}

fn key(path: &str) -> String {
    let upper = path.trim_end_matches('\\').to_ascii_uppercase();
    for alias in [r"\DOSDEVICES", r"\GLOBAL??", r"\??\GLOBALROOT"] {
        let rest = upper.strip_prefix(alias).filter(|rest| rest.is_empty() || rest.starts_with('\\'));
        if let Some(rest) = rest {
            return if alias.ends_with("ROOT") { rest.to_owned() } else { format!(r"\??{rest}") };
        }
    }
    upper
}

impl Namespace {
    /// Adds a name.
    pub(crate) fn insert(&mut self, path: &str, entry: Entry) -> Result<(), NameError> {
        if !path.starts_with('\\') || path.len() < 2 {
            return Err(NameError::Syntax);
        }
        let key = key(path);
        let parent = key.rfind('\\').map_or("", |at| &key[..at]);
        if !parent.is_empty() && !matches!(self.entries.get(parent), Some((_, Entry::Directory))) {
            return Err(NameError::PathNotFound);
        }
        if self.entries.contains_key(&key) {
            return Err(NameError::Collision);
        }
        self.entries.insert(key, (path.trim_end_matches('\\').to_owned(), entry));
        Ok(())
    }

    /// Removes a name; false when there is none.
    pub(crate) fn remove(&mut self, path: &str) -> bool {
        self.entries.remove(&key(path)).is_some()
    }

    /// The link a name is, not followed.
    pub(crate) fn link_target(&self, path: &str) -> Option<&str> {
        match self.entries.get(&key(path)) {
            Some((_, Entry::Link(target))) => Some(target),
            _ => None,
        }
    }

    /// Name under which an object was inserted.
    pub(crate) fn name_of(&self, object: usize) -> Option<&str> {
        self.entries.values().find(|(_, entry)| *entry == Entry::Object(object)).map(|(name, _)| name.as_str())
    }

    /// Every link whose target is `path`.
    pub(crate) fn links_to(&self, path: &str) -> Vec<String> {
        let wanted = key(path);
        let hit = |entry: &Entry| matches!(entry, Entry::Link(target) if key(target) == wanted);
        self.entries.values().filter(|(_, entry)| hit(entry)).map(|(name, _)| name.clone()).collect()
    }

    /// Removes every name of an object.
    pub(crate) fn remove_object(&mut self, object: usize) {
        self.entries.retain(|_, (_, entry)| *entry != Entry::Object(object));
    }

    /// Follows a path to an object.
    pub(crate) fn resolve(&self, path: &str) -> Result<Found, NameError> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            if !path.starts_with('\\') {
                return Err(NameError::Syntax);
            }
            let (entry, rest) = self.longest(&path)?;
            match entry {
                Entry::Object(object) => return Ok(Found { object: *object, rest }),
                Entry::Link(target) => path = format!("{}{rest}", target.trim_end_matches('\\')),
                Entry::Directory if rest.trim_matches('\\').contains('\\') => return Err(NameError::PathNotFound),
                Entry::Directory => return Err(NameError::NotFound),
            }
        }
        Err(NameError::NotFound)
    }

    /// The entry of the longest prefix that has one, and what follows it in the original spelling.
    fn longest(&self, path: &str) -> Result<(&Entry, String), NameError> {
        let whole = key(path);
        // Aliases change the length of the prefix only; what follows keeps its length from the end.
        let trailing = path.len() - path.trim_end_matches('\\').len();
        let mut end = whole.len();
        loop {
            if let Some((_, entry)) = self.entries.get(&whole[..end]) {
                let tail = whole.len() - end + trailing;
                return Ok((entry, path.get(path.len() - tail..).unwrap_or_default().to_owned()));
            }
            match whole[..end].rfind('\\') {
                Some(0) | None => break,
                Some(at) => end = at,
            }
        }
        Err(if whole[1.min(whole.len())..].contains('\\') { NameError::PathNotFound } else { NameError::NotFound })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_devices_and_tails() {
        let mut names = Namespace::default();
        names.insert(r"\Device\HarddiskVolume3", Entry::Object(7)).expect("new");
        names.insert(r"\DosDevices\D:", Entry::Link(r"\Device\HarddiskVolume3".into())).expect("new");
        let found = |object, rest: &str| Ok(Found { object, rest: rest.to_owned() });
        assert_eq!(names.resolve(r"\??\d:"), found(7, ""));
        assert_eq!(names.resolve(r"\??\D:\"), found(7, r"\"));
        assert_eq!(names.resolve(r"\GLOBAL??\D:\Dir\a"), found(7, r"\Dir\a"));
        assert_eq!(names.resolve(r"\??\GLOBALROOT\Device\harddiskvolume3\x"), found(7, r"\x"));
        assert_eq!(names.resolve(r"\??\E:"), Err(NameError::NotFound));
        assert_eq!(names.resolve(r"\Nowhere\E:"), Err(NameError::PathNotFound));
        assert_eq!(names.insert(r"\Device\HARDDISKVOLUME3", Entry::Directory), Err(NameError::Collision));
        assert_eq!(names.insert(r"\Nowhere\x", Entry::Directory), Err(NameError::PathNotFound));
        assert_eq!(names.name_of(7), Some(r"\Device\HarddiskVolume3"));
        assert_eq!(names.links_to(r"\device\harddiskvolume3"), [r"\DosDevices\D:"]);
        assert!(names.remove(r"\??\D:"));
        assert_eq!(names.resolve(r"\??\D:"), Err(NameError::NotFound));
    }

    #[test]
    fn link_loops_end() {
        let mut names = Namespace::default();
        names.insert(r"\??\A:", Entry::Link(r"\??\A:".into())).expect("new");
        assert_eq!(names.resolve(r"\??\A:"), Err(NameError::NotFound));
    }
}
