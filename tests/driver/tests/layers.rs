//! The rules of `docs/architecture.md` that can be checked by reading the sources: who may import whom, where the word
//! `unsafe` may stand, no statics, nothing that panics in shipped code, files and functions of a readable size.
//!
//! Each check takes sources as text, so that each has a test that plants a violation.

use std::fs;
use std::path::Path;

/// Modules of `src` and their layer. An edge must go to a smaller number: neither up nor to a sibling.
const LAYERS: &[(&str, u8)] = &[
    ("sync", 0),
    ("nt", 1),
    ("io", 2),
    ("crypto", 3),
    ("engine", 2),
    ("provider", 3),
    ("volume", 4),
    ("control", 5),
    ("filter", 5),
    ("driver", 6),
    ("entry", 7),
];

/// Modules that may import less than their layer allows.
const NARROWER: &[(&str, &[&str])] = &[("engine", &[]), ("crypto", &["nt"])];

/// Where the word `unsafe` may stand, by the start of the path.
const UNSAFE_PLACES: &[&str] = &[
    "src/nt/",
    "src/entry.rs",
    "vck-common/src/xts/",
    "samples/vckctl/src/transport/windows.rs",
    "tests/ntsim/src/abi/",
    "tests/ntsim/src/host/",
];

/// The file that names the platform's crates, and those crates.
const PLATFORM_FILE: &str = "src/nt/sys.rs";
const PLATFORM: &[&str] = &["wdk_sys", "wdk", "vck_ntsim"];

/// Statics that carry no driver state: file and name.
const STATICS: &[(&str, &str)] = &[
    // A value without fields: allocations go to the kernel's pool.
    ("src/entry.rs", "KERNEL_ALLOCATOR"),
    // A value without fields: lines go to the kernel's debugger.
    ("src/nt/print.rs", "SINK"),
];

/// Code that is compiled into tests only, though not by `#[cfg(test)]`: feature `conformance` of vck-common.
const NOT_SHIPPED: &[&str] = &["vck-common/src/conformance.rs", "vck-common/src/memory_io.rs"];

const MAX_FILE: usize = 500;
const MAX_FUNCTION: usize = 70;

/// One source file: path from the top of the repository, and text without comments, literals and test items.
struct Source {
    path: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), code: blank_items(&blank_comments_and_literals(text), "#[cfg(test)]") }
    }

    fn is_below(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }

    fn is_shipped(&self) -> bool {
        self.is_below(&["src/", "vck-common/src/", "samples/driver/src/"]) && !NOT_SHIPPED.contains(&&*self.path)
    }

    /// Identifiers with the byte offset at which they stand.
    fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        let ident = |letter: char| letter.is_alphanumeric() || letter == '_';
        let mut rest = 0;
        std::iter::from_fn(move || {
            let start = rest + self.code[rest..].find(ident)?;
            let end = self.code[start..].find(|letter| !ident(letter)).map_or(self.code.len(), |length| start + length);
            rest = end;
            Some((start, &self.code[start..end]))
        })
    }

    fn before(&self, offset: usize) -> char {
        self.code[..offset].chars().next_back().unwrap_or(' ')
    }

    fn after(&self, offset: usize) -> &str {
        self.code[offset..].trim_start()
    }

    fn at(&self, offset: usize) -> String {
        format!("{}:{}", self.path, 1 + self.code[..offset].matches('\n').count())
    }
}

/// Replaces comments and the insides of literals by blanks; lines stay where they are.
fn blank_comments_and_literals(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = literal_or_comment(rest, out.chars().next_back().unwrap_or(' '));
        if length == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.extend(rest[..length].chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    out
}

/// Length of the comment or literal at the start of `rest`, or zero.
fn literal_or_comment(rest: &str, before: char) -> usize {
    let to = |mark: &str, from: usize| rest[from..].find(mark).map_or(rest.len(), |at| from + at + mark.len());
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return to("*/", 2);
    }
    let hashes = rest[1..].bytes().take_while(|byte| *byte == b'#').count();
    if rest.starts_with('r')
        && (before == 'b' || !(before.is_alphanumeric() || before == '_'))
        && rest[1 + hashes..].starts_with('"')
    {
        return to(&format!("\"{}", "#".repeat(hashes)), 2 + hashes);
    }
    let quote = rest.as_bytes()[0];
    if quote == b'"' || (quote == b'\'' && is_character(rest)) {
        let mut escaped = false;
        for (at, byte) in rest.bytes().enumerate().skip(1) {
            if byte == quote && !escaped {
                return at + 1;
            }
            escaped = byte == b'\\' && !escaped;
        }
        return rest.len();
    }
    0
}

/// Tells a character literal from a lifetime.
fn is_character(rest: &str) -> bool {
    let mut letters = rest.chars().skip(1);
    letters.next() == Some('\\') || letters.next() == Some('\'')
}

/// Blanks every item that follows `mark`, up to its closing brace or semicolon.
fn blank_items(code: &str, mark: &str) -> String {
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(start) = out[from..].find(mark).map(|at| from + at) {
        let item = start + mark.trim_end_matches('{').len();
        let end = item + end_of_item(&out[item..]);
        let blank: String = out[start..end].chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }).collect();
        from = start + blank.len();
        out.replace_range(start..end, &blank);
    }
    out
}

fn end_of_item(code: &str) -> usize {
    let mut depth = 0_i32;
    for (at, letter) in code.char_indices() {
        match letter {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (letter == '}' || letter == ';') {
            return at + 1;
        }
    }
    code.len()
}

/// Modules of the crate that the source names, with the place: `crate::a`, `crate::{a, b}` and `super::super::a`.
fn edges(source: &Source) -> Vec<(usize, &str)> {
    let depth = module_depth(&source.path);
    let mut found = Vec::new();
    let mut supers = 0;
    for (at, word) in source.words() {
        let rest = source.after(at + word.len());
        supers = match word {
            "super" => supers + 1,
            _ => 0,
        };
        let Some(path) = rest.strip_prefix("::") else { continue };
        if word != "crate" && (supers == 0 || supers < depth || path.trim_start().starts_with("super")) {
            continue;
        }
        // Inside an inline module the same chain of `super` leads less far, to a name that is no layer.
        let known = |name: &&str| word == "crate" || layer(name).is_some();
        found.extend(first_names(path.trim_start()).into_iter().filter(known).map(|name| (at, name)));
    }
    found
}

/// How many `super` lead from a file of `src` to the crate's root.
fn module_depth(path: &str) -> usize {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    if inside == "lib" { 0 } else { inside.split('/').count() }
}

/// The first name of a path, or of each path of a group.
fn first_names(path: &str) -> Vec<&str> {
    let name =
        |text: &'_ str| text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
    let Some(group) = path.strip_prefix('{') else { return vec![&path[..name(path)]] };
    let mut names = Vec::new();
    let (mut depth, mut wanted) = (1, true);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => wanted = true,
            _ if wanted && !letter.is_whitespace() => {
                names.push(&group[at..at + name(&group[at..])]);
                wanted = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}

fn layer(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

fn check_layers(sources: &[Source]) -> Vec<String> {
    let mut bad = Vec::new();
    for source in sources.iter().filter(|source| source.path.starts_with("src/") && source.path != "src/lib.rs") {
        let inside = source.path.trim_start_matches("src/");
        let from = inside.split(['/', '.']).next().unwrap_or_default();
        let Some(own) = layer(from) else {
            bad.push(format!("{}: the module is in no layer", source.path));
            continue;
        };
        let narrower = NARROWER.iter().find(|(name, _)| *name == from).map(|(_, allowed)| *allowed);
        for (at, to) in edges(source) {
            let allowed =
                narrower.is_none_or(|names| names.contains(&to)) && layer(to).is_some_and(|other| other < own);
            if to != from && !allowed {
                bad.push(format!("{}: {from} imports {to}", source.at(at)));
            }
        }
    }
    bad
}

fn check_platform(sources: &[Source]) -> Vec<String> {
    let framework = sources.iter().filter(|source| source.path.starts_with("src/") && source.path != PLATFORM_FILE);
    let named = framework.flat_map(|source| {
        source
            .words()
            .filter(|(_, word)| PLATFORM.contains(word))
            .map(|(at, word)| format!("{}: {word}", source.at(at)))
    });
    named.collect()
}

fn check_unsafe(sources: &[Source]) -> Vec<String> {
    let mut bad = Vec::new();
    for source in sources.iter().filter(|source| !source.is_below(UNSAFE_PLACES)) {
        // The type of a pointer to an unsafe function is no unsafe code.
        let names_type = |at: usize| {
            let rest = source.after(at + "unsafe".len());
            rest.strip_prefix("extern").is_some_and(|rest| rest.trim_start().starts_with("fn("))
        };
        let words = source.words().filter(|(at, word)| *word == "unsafe" && !names_type(*at));
        bad.extend(words.map(|(at, _)| source.at(at)));
        let root = ["lib.rs", "main.rs"].iter().any(|name| source.path.ends_with(&format!("src/{name}")));
        let declared =
            ["#![forbid(unsafe_code)]", "#![deny(unsafe_code)]"].iter().any(|lint| source.code.contains(lint));
        if root && !declared && !source.path.starts_with("tests/") {
            bad.push(format!("{}: the crate neither forbids nor denies unsafe code", source.path));
        }
    }
    bad
}

fn check_statics(sources: &[Source]) -> Vec<String> {
    let mut bad = Vec::new();
    for source in sources.iter().filter(|source| source.is_shipped()) {
        for (at, word) in source.words() {
            let name =
                source.after(at + word.len()).split(|letter: char| !letter.is_alphanumeric() && letter != '_').next();
            let listed = name.is_some_and(|name| STATICS.contains(&(&*source.path, name)));
            let item = word == "static" && source.before(at) != '\'';
            if (item && !listed) || word == "thread_local" {
                bad.push(format!("{}: static {}", source.at(at), name.unwrap_or_default()));
            }
        }
    }
    bad
}

fn check_panics(sources: &[Source]) -> Vec<String> {
    const MACROS: &[&str] = &["panic", "todo", "unimplemented", "unreachable", "assert", "assert_eq", "assert_ne"];
    let mut bad = Vec::new();
    for source in sources.iter().filter(|source| source.is_shipped()) {
        // Assertions in a constant fail the build, not the machine.
        let code = blank_items(&blank_items(&source.code, "const _: () ="), "const {");
        let run = Source { path: source.path.clone(), code };
        for (at, word) in run.words() {
            let rest = &run.code[at + word.len()..];
            let called = ["unwrap", "expect"].contains(&word) && run.before(at) == '.' && rest.starts_with('(');
            if called || (MACROS.contains(&word) && rest.starts_with('!')) {
                bad.push(format!("{}: {word}", run.at(at)));
            }
        }
    }
    bad
}

fn check_sizes(sources: &[Source]) -> Vec<String> {
    let mut bad = Vec::new();
    for source in sources.iter().filter(|source| source.is_shipped() || source.path.starts_with("samples/vckctl/")) {
        // Blanked test items keep their lines; they stand at the end of a file.
        let lines = source.code.trim_end().lines().count();
        if lines > MAX_FILE {
            bad.push(format!("{}: {lines} lines", source.path));
        }
        for (at, _) in source.words().filter(|(_, word)| *word == "fn") {
            let item = &source.code[at..];
            let lines = item[..end_of_item(item)].lines().count();
            if lines > MAX_FUNCTION {
                bad.push(format!("{}: a function of {lines} lines", source.at(at)));
            }
        }
    }
    bad
}

fn collect(top: &Path, folder: &Path, sources: &mut Vec<Source>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry").path();
        let name = path.strip_prefix(top).expect("inside").to_str().expect("a name").to_owned();
        if path.is_dir() {
            // Folders of unit tests are compiled under #[cfg(test)] alone.
            if !name.ends_with("/tests") {
                collect(top, &path, sources);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") && !name.ends_with("build.rs") {
            sources.push(Source::new(&name, &fs::read_to_string(&path).expect("a source file")));
        }
    }
}

fn sources() -> Vec<Source> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository");
    let mut sources = Vec::new();
    for folder in ["src", "vck-common/src", "samples/driver/src", "samples/vckctl/src", "tests/ntsim/src"] {
        collect(&top, &top.join(folder), &mut sources);
    }
    assert!(sources.len() > 100, "the sources were not found");
    sources
}

#[track_caller]
fn clean(check: fn(&[Source]) -> Vec<String>) {
    let bad = check(&sources());
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// What `check` says about one planted file.
fn planted(check: fn(&[Source]) -> Vec<String>, path: &str, text: &str) -> Vec<String> {
    check(&[Source::new(path, text)])
}

#[test]
fn imports_go_downward() {
    clean(check_layers);
}

#[test]
fn upward_and_sibling_imports_are_found() {
    for (path, text) in [
        ("src/io/mod.rs", "use crate::volume::Core;"),
        ("src/control/mod.rs", "use crate::{nt::Irp, filter::work};"),
        ("src/filter/rw.rs", "fn f() { crate::control::g() }"),
        ("src/filter/rw.rs", "use super::super::control::g;"),
        ("src/crypto/pool.rs", "use crate::sync::Wake;"),
        ("src/engine/mod.rs", "use crate::nt::Event;"),
        ("src/provider.rs", "use super::volume::Core;"),
        ("src/nt/irp.rs", "macro_rules! m { () => { $crate::driver::X } }"),
        ("src/new.rs", ""),
    ] {
        assert_eq!(planted(check_layers, path, text).len(), 1, "{path}: {text}");
    }
    let fine = "//! [`crate::control`]\nuse crate::{io::A, nt::{B, C}};\nuse super::bound::D; use super::super::nt::E;";
    assert_eq!(planted(check_layers, "src/volume/attach.rs", fine), [""; 0]);
}

#[test]
fn one_file_names_the_platform() {
    clean(check_platform);
    assert_eq!(planted(check_platform, "src/nt/irp.rs", "use wdk_sys::IRP;").len(), 1);
    assert_eq!(planted(check_platform, PLATFORM_FILE, "pub use wdk_sys::*;"), [""; 0]);
}

#[test]
fn unsafe_code_is_where_it_may_be() {
    clean(check_unsafe);
}

#[test]
fn unsafe_code_elsewhere_is_found() {
    for (path, text) in [
        ("src/filter/rw.rs", "fn f() { unsafe { g() } }"),
        ("vck-common/src/cipher.rs", "unsafe fn f() {}"),
        ("tests/ntsim/src/io/irp.rs", "unsafe impl Send for X {}"),
        ("tests/ntsim/src/io/irp.rs", "unsafe extern \"C\" fn f() {}"),
        ("samples/driver/src/lib.rs", "#![no_std]"),
    ] {
        assert_eq!(planted(check_unsafe, path, text).len(), 1, "{path}: {text}");
    }
    let fine = "#![deny(unsafe_code)] // unsafe\nconst A: &str = \"unsafe\"; const B: &str = r#\"\" unsafe\"#; const C: char = '\"';";
    assert_eq!(planted(check_unsafe, "src/lib.rs", fine), [""; 0]);
    assert_eq!(planted(check_unsafe, "src/nt/irp.rs", "unsafe fn f() {}"), [""; 0]);
    assert_eq!(planted(check_unsafe, "src/io/mod.rs", "type F = unsafe extern \"C\" fn(u8);"), [""; 0]);
}

#[test]
fn statics_carry_no_state() {
    clean(check_statics);
}

#[test]
fn other_statics_are_found() {
    for text in ["static COUNT: AtomicU64 = AtomicU64::new(0);", "pub static mut X: u8 = 0;", "thread_local! {}"] {
        assert_eq!(planted(check_statics, "src/volume/mod.rs", text).len(), 1, "{text}");
    }
    assert_eq!(planted(check_statics, "src/entry.rs", "static SINK: u8 = 0;").len(), 1);
    assert_eq!(planted(check_statics, "src/volume/mod.rs", "fn f(x: &'static str) {}"), [""; 0]);
    assert_eq!(planted(check_statics, "src/nt/print.rs", "static SINK: K = K;"), [""; 0]);
}

#[test]
fn shipped_code_does_not_panic() {
    clean(check_panics);
}

#[test]
fn panics_are_found() {
    for text in [
        "fn f() { g().unwrap(); }",
        "fn f() { g().expect(\"x\"); }",
        "fn f() { panic!(); }",
        "fn f() { todo!() }",
        "fn f() { assert_eq!(1, 2); }",
        "#[cfg(test)] mod tests { fn t() { assert!(x) } } fn f() { unreachable!() }",
    ] {
        assert_eq!(planted(check_panics, "src/volume/mod.rs", text).len(), 1, "{text}");
    }
    let fine = "#[expect(lint)] const _: () = { assert!(true); };\nfn f() { const { assert!(true) }; g().unwrap_or(0); }\n\
                #[cfg(test)]\nmod tests;";
    assert_eq!(planted(check_panics, "src/volume/mod.rs", fine), [""; 0]);
}

#[test]
fn files_and_functions_are_of_a_readable_size() {
    clean(check_sizes);
}

#[test]
fn long_files_and_functions_are_found() {
    let long = "const A: u8 = 0;\n".repeat(MAX_FILE + 1);
    assert_eq!(planted(check_sizes, "src/io/mod.rs", &long).len(), 1);
    let function = format!("fn f() {{\n{}}}\n", "g();\n".repeat(MAX_FUNCTION));
    assert_eq!(planted(check_sizes, "src/io/mod.rs", &function).len(), 1);
    let tests = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
    assert_eq!(planted(check_sizes, "src/io/mod.rs", &tests), [""; 0]);
}
