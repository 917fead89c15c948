//! INF syntax: sections, entries, quoted strings, comments, string tokens.

use std::collections::BTreeMap;

/// One line of a section: `key = value, value` or `value, value`.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Line number in the file, from 1.
    pub line: usize,
    /// What stands before `=`.
    pub key: Option<String>,
    /// The comma-separated fields, quotes removed, string tokens not yet replaced.
    pub values: Vec<String>,
}

impl Entry {
    /// Whether the key is `name`, in any case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.key.as_deref().is_some_and(|key| key.eq_ignore_ascii_case(name))
    }
}

/// A parsed INF.
#[derive(Debug, Default)]
pub struct Inf {
    /// Sections by lower-case name, with the name as written.
    sections: BTreeMap<String, (String, Vec<Entry>)>,
}

/// Turns the file into text. An INF is ASCII, or UTF-16 with a byte order mark; anything else reads differently on
/// machines with different code pages.
pub(super) fn decode(bytes: &[u8]) -> Result<String, String> {
    if let Some(rest) = bytes.strip_prefix(&[0xFF, 0xFE]) {
        let words: Vec<u16> = rest.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        return String::from_utf16(&words).map_err(|error| format!("not UTF-16: {error}"));
    }
    match bytes.iter().position(|byte| !byte.is_ascii()) {
        None => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Some(at) => Err(format!("byte {at} is not ASCII and the file has no UTF-16 byte order mark")),
    }
}

impl Inf {
    /// Reads the whole text.
    ///
    /// # Errors
    /// Every line that is not INF syntax.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let mut inf = Self::default();
        let mut problems = Vec::new();
        let mut current: Option<String> = None;
        for (index, raw) in text.lines().enumerate() {
            let line = index + 1;
            let body = match strip_comment(raw) {
                Ok(body) => body.trim(),
                Err(message) => {
                    problems.push(format!("line {line}: {message}"));
                    continue;
                }
            };
            if body.is_empty() {
                continue;
            }
            if let Some(name) = body.strip_prefix('[') {
                match name.strip_suffix(']').map(str::trim) {
                    Some(name) if !name.is_empty() => {
                        let lower = name.to_lowercase();
                        if inf.sections.contains_key(&lower) {
                            problems.push(format!("line {line}: section [{name}] appears twice"));
                        }
                        inf.sections.entry(lower.clone()).or_insert_with(|| (name.to_owned(), Vec::new()));
                        current = Some(lower);
                    }
                    _ => problems.push(format!("line {line}: section header without a closing bracket or a name")),
                }
            } else if body.ends_with('\\') {
                problems.push(format!("line {line}: continued line; write it on one"));
            } else if let Some((_, entries)) = current.as_ref().and_then(|name| inf.sections.get_mut(name)) {
                entries.push(entry(line, body));
            } else {
                problems.push(format!("line {line}: text before the first section"));
            }
        }
        if inf.sections.is_empty() {
            problems.push("no sections".to_owned());
        }
        if problems.is_empty() { Ok(inf) } else { Err(problems) }
    }

    /// The entries of a section, if it exists.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&[Entry]> {
        self.sections.get(&name.to_lowercase()).map(|(_, entries)| entries.as_slice())
    }

    /// Names of all sections, as written.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sections.values().map(|(name, _)| name.as_str())
    }

    /// All entries with the name of their section.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.sections.values().flat_map(|(name, entries)| entries.iter().map(move |entry| (name.as_str(), entry)))
    }

    /// First entry of a section with this key.
    #[must_use]
    pub fn entry(&self, section: &str, key: &str) -> Option<&Entry> {
        self.section(section)?.iter().find(|entry| entry.is(key))
    }

    /// First value of a key with string tokens replaced.
    #[must_use]
    pub fn value(&self, section: &str, key: &str) -> Option<String> {
        Some(self.expand(self.entry(section, key)?.values.first()?))
    }

    /// Replaces `%token%` by its string. Directory identifiers (`%13%`) and unknown tokens stay as they are.
    #[must_use]
    pub fn expand(&self, text: &str) -> String {
        let mut out = String::new();
        for (index, part) in text.split('%').enumerate() {
            let token = (index % 2 == 1).then_some(part);
            match token.map(|token| self.entry("Strings", token).and_then(|entry| entry.values.first())) {
                None => out.push_str(part),
                Some(Some(value)) => out.push_str(value),
                Some(None) => out.extend(["%", part, "%"]),
            }
        }
        out
    }
}

/// The tokens of a field: what stands between percent signs, less directory identifiers.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split('%').skip(1).step_by(2).filter(|token| !token.is_empty() && token.parse::<i32>().is_err())
}

fn strip_comment(line: &str) -> Result<&str, &'static str> {
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ';' if !quoted => return Ok(&line[..at]),
            _ => {}
        }
    }
    if quoted { Err("a quote is not closed") } else { Ok(line) }
}

fn entry(line: usize, body: &str) -> Entry {
    let parts = split(body, '=', 2);
    let (key, rest) = match parts.as_slice() {
        [key, rest] => (Some(unquote(key)), *rest),
        _ => (None, body),
    };
    Entry { line, key, values: split(rest, ',', usize::MAX).into_iter().map(unquote).collect() }
}

fn split(text: &str, separator: char, limit: usize) -> Vec<&str> {
    let mut quoted = false;
    text.splitn(limit, |c: char| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
    .collect()
}

fn unquote(text: &str) -> String {
    let text = text.trim();
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).replace("\"\"", "\"")
}
