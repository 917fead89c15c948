//! Results: one table on the screen, the same as JSON in a file.

use std::fmt::Write as _;

/// How a row compares with what it is to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Reached.
    Met,
    /// Not reached.
    NotMet,
    /// A number to compare others with.
    Baseline,
}

impl Verdict {
    /// Met or not.
    pub(crate) fn of(met: bool) -> Self {
        if met { Self::Met } else { Self::NotMet }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::NotMet => "NOT MET",
            Self::Baseline => "-",
        }
    }
}

/// One measurement.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// The median, with its unit.
    pub(crate) median: String,
    /// Against what, and how many times.
    pub(crate) ratio: String,
    /// What is to be reached.
    pub(crate) target: String,
    /// Whether it is.
    pub(crate) verdict: Verdict,
}

impl Row {
    /// A row whose parts are texts.
    pub(crate) fn new(what: &str, median: String, ratio: String, target: &str, verdict: Verdict) -> Self {
        Self { what: what.to_owned(), median, ratio, target: target.to_owned(), verdict }
    }

    fn cells(&self) -> [&str; 5] {
        [&self.what, &self.median, &self.ratio, &self.target, self.verdict.text()]
    }
}

const HEADS: [&str; 5] = ["what (model)", "median", "ratio", "target", ""];

/// The table as text.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut widths = HEADS.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row.cells()) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; 5]| {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        line.trim_end().to_owned()
    };
    let mut text = line(HEADS) + "\n";
    text += &(widths.map(|width| "-".repeat(width)).join("  ") + "\n");
    for row in rows {
        text += &(line(row.cells()) + "\n");
    }
    text
}

/// The table as JSON: an array of objects of texts.
pub(crate) fn json(rows: &[Row]) -> String {
    let object = |row: &Row| {
        let keys = ["what", "median", "ratio", "target", "verdict"];
        let fields = keys.iter().zip(row.cells()).map(|(key, cell)| format!("\"{key}\": \"{}\"", escaped(cell)));
        format!("  {{{}}}", fields.collect::<Vec<_>>().join(", "))
    };
    format!("[\n{}\n]\n", rows.iter().map(object).collect::<Vec<_>>().join(",\n"))
}

fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|letter| if matches!(letter, '"' | '\\') { vec!['\\', letter] } else { vec![letter] })
        .collect()
}

/// The middle value; that of two in the middle which is larger.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_lines_up_and_the_json_is_escaped() {
        let rows = [
            Row::new("a \"quoted\" row", "1".to_owned(), String::new(), ">= 1", Verdict::Met),
            Row::new("b", "22".to_owned(), "2.00 x".to_owned(), "", Verdict::Baseline),
        ];
        let text = text(&rows);
        let columns: Vec<_> = text.lines().map(|line| line.find("met").or(line.find("2.00"))).collect();
        assert_eq!(columns.len(), 4);
        assert!(json(&rows).contains(r#""what": "a \"quoted\" row""#));
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }
}
