//! `docs/ntsim-fidelity.md` lists every rule of the simulator's verifier, and no other.

use std::fs;
use std::path::Path;

use vck_ntsim::Rule;

#[test]
fn every_rule_is_listed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ntsim-fidelity.md");
    let document = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (_, table) = document.split_once("<!-- table: rules -->\n").expect("the table");
    let rows = table.lines().take_while(|line| line.starts_with('|')).skip(2);
    let listed: Vec<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    let rules: Vec<String> = Rule::ALL.iter().map(|rule| format!("{rule:?}")).collect();
    assert_eq!(listed, rules);
}
