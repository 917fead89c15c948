//! Results: one table on the screen, the same as JSON in a file.

use std::fmt::Write as _;

/// How a row compares with what it is to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Reached.
    Met,
    /// Not reached.
    NotMet,
    /// Others used the machine too much to tell; the numbers are those of all rounds.
    NotMeasured,
    /// A number to compare others with.
    Baseline,
}

impl Verdict {
    /// Met or not.
    pub(crate) fn of(met: bool) -> Self {
        if met { Self::Met } else { Self::NotMet }
    }

    /// Whether a target that may be missed makes the program fail.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::NotMet | Self::NotMeasured)
    }

    fn text(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::NotMet => "NOT MET",
            Self::NotMeasured => "NOT MEASURED",
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

/// The middle value and the quartiles of a measurement; of two in the middle the larger.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) quartiles: (f64, f64),
}

impl Spread {
    /// Not numbers if there is no value.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |quarter: usize| values.get(values.len() * quarter / 4).copied().unwrap_or(f64::NAN);
        Self { median: at(2), quartiles: (at(1), at(3)) }
    }

    /// Nanoseconds as microseconds, with the quartiles.
    pub(crate) fn micros(self) -> String {
        let (low, high) = self.quartiles;
        format!("{:.2} us ({:.2}-{:.2})", self.median / 1e3, low / 1e3, high / 1e3)
    }
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
        let spread = Spread::of(vec![3000.0, 1000.0, 2000.0, 5000.0]);
        assert_eq!(spread.micros(), "3.00 us (2.00-5.00)");
        assert!(Spread::of(Vec::new()).median.is_nan());
    }
}
