//! The table at the end.

use std::fmt::Write;

use serde_json::{Map, Value};

/// Rows of a name and a value.
#[derive(Default)]
pub(super) struct Summary(Vec<(&'static str, &'static str, Value, String)>);

impl Summary {
    /// A row: key for programs, label for people, number, and what follows the number.
    pub(super) fn row(&mut self, key: &'static str, label: &'static str, value: impl Into<Value>, unit: &str) {
        self.0.push((key, label, value.into(), unit.to_owned()));
    }

    /// The table.
    pub(super) fn text(&self) -> String {
        let width = self.0.iter().map(|(_, label, _, _)| label.len()).max().unwrap_or(0);
        let mut text = String::new();
        for (_, label, value, unit) in &self.0 {
            let shown = match value.as_f64() {
                Some(number) if value.is_f64() => format!("{number:.2}"),
                _ => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            };
            let _ = writeln!(text, "  {label:width$}  {shown:>12} {unit}");
        }
        text
    }

    /// One JSON object.
    pub(super) fn json(self) -> Value {
        let fields: Map<String, Value> = self.0.into_iter().map(|(key, _, value, _)| (key.to_owned(), value)).collect();
        Value::Object(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_aligned_and_named() {
        let mut summary = Summary::default();
        summary.row("a", "short", 5, "things");
        summary.row("b", "longer label", 1.5, "s");
        let text = summary.text();
        let columns: Vec<usize> = text.lines().map(|line| line.find(" things").or(line.find(" s")).unwrap()).collect();
        assert!(text.contains("short       ") && text.contains("1.50 s"), "{text}");
        assert_eq!(columns.len(), 2);
        assert_eq!(summary.json(), serde_json::json!({ "a": 5, "b": 1.5 }));
    }
}
