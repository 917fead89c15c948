//! The documents name only files that exist, and the lanes that `.ci/run` has.

use std::fs;
use std::path::{Path, PathBuf};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in [top(), top().join("docs"), top().join("tests/cross"), top().join("inf")] {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        found.extend(entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    assert!(found.len() >= 10, "the documents were not found");
    found
}

/// Targets of links, relative to the document.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|target| !target.starts_with("http"))
}

/// Words in backticks that look like files of the repository: a folder of the top level first.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    const FOLDERS: &[&str] = &["src/", "vck-common/", "samples/", "tests/", "docs/", "inf/", ".ci/", ".github/"];
    let words = text.split('`').skip(1).step_by(2).flat_map(str::split_whitespace);
    words.filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)) && !word.contains(['*', '{', '<', '$']))
}

fn missing(text: &str, folder: &Path, top: &Path) -> Vec<String> {
    let links = links(text).filter(|target| !folder.join(target).exists());
    let paths = paths(text).filter(|path| !top.join(path.trim_end_matches([',', ';'])).exists());
    links.chain(paths).map(str::to_owned).collect()
}

#[test]
fn every_file_named_exists() {
    for document in documents() {
        let missing = missing(&read(&document), document.parent().expect("a folder"), &top());
        assert_eq!(missing, [""; 0], "{}", document.display());
    }
}

#[test]
fn a_missing_file_is_found() {
    let text = "[a](README.md) [b](nowhere.md) `src/lib.rs` `src/nowhere.rs` `cargo` `docs/*.md` [c](https://x.y)";
    assert_eq!(missing(text, &top(), &top()), ["nowhere.md", "src/nowhere.rs"]);
}

#[test]
fn lanes_are_those_of_ci() {
    let script = read(&top().join(".ci/run"));
    let (_, lanes) = script.split_once("\nlanes=(").expect("the lanes");
    let lanes: Vec<&str> = lanes.split(')').next().expect("their end").split_whitespace().collect();
    let document = read(&top().join("docs/testing.md"));
    let (_, table) = document.split_once("<!-- table: lanes -->\n").expect("the table");
    let rows = table.lines().take_while(|line| line.starts_with('|')).skip(2);
    let documented: Vec<&str> = rows.filter_map(|row| row.split('`').nth(1)).collect();
    assert_eq!(documented, lanes);
}
