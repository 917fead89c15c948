//! Rows of findings, and the one table they are printed as.

use std::fmt;

/// One fact that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Which check, in one word.
    pub check: &'static str,
    /// Whether the image may ship with it.
    pub good: bool,
    /// What was found; for a bad row also why it matters.
    pub text: String,
}

/// What the checks found, in the order they ran.
#[derive(Clone, Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a row that is good or bad as `good` says.
    pub fn row(&mut self, check: &'static str, good: bool, text: impl Into<String>) {
        self.rows.push(Row { check, good, text: text.into() });
    }

    /// Adds a good row.
    pub fn good(&mut self, check: &'static str, text: impl Into<String>) {
        self.row(check, true, text);
    }

    /// Adds a bad row.
    pub fn bad(&mut self, check: &'static str, text: impl Into<String>) {
        self.row(check, false, text);
    }

    /// Every row.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The bad rows of one check.
    pub fn bad_rows<'a>(&'a self, check: &'a str) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(move |row| row.check == check && !row.good)
    }

    /// Whether nothing is wrong. A report without rows checked nothing and is not clean.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.good)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.check.len()).max().unwrap_or(0);
        let mut last = "";
        for row in &self.rows {
            let check = if row.check == last { "" } else { row.check };
            last = row.check;
            writeln!(f, "{check:width$}  {}  {}", if row.good { "ok " } else { "BAD" }, row.text)?;
        }
        let bad = self.rows.iter().filter(|row| !row.good).count();
        writeln!(f, "{} rows, {bad} bad", self.rows.len())
    }
}
