//! The guard in the framework's build script: which lock files stop a build.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

struct Guard {
    program: PathBuf,
    directory: PathBuf,
}

impl Guard {
    /// Compiles the build script as cargo would, into a directory of this test.
    fn new(test: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("aes-guard").join(test);
        fs::create_dir_all(&directory).unwrap();
        let program = directory.join("guard");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../build.rs");
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let status = Command::new(rustc)
            .args(["--edition", "2024", "-Awarnings", "-o"])
            .args([&program, &source])
            .env("CARGO_PKG_NAME", "vck-windrv")
            .status()
            .unwrap();
        assert!(status.success(), "the build script does not compile on its own");
        Self { program, directory }
    }

    fn run(&self, lock: Option<&str>) -> Output {
        let workspace = self.directory.join("workspace");
        let out = workspace.join("target/build");
        fs::create_dir_all(&out).unwrap();
        let file = workspace.join("Cargo.lock");
        match lock {
            Some(text) => fs::write(&file, text).unwrap(),
            None => drop(fs::remove_file(&file)),
        }
        // No lock file above the manifest: this is a dependency unpacked somewhere else.
        Command::new(&self.program).env("OUT_DIR", &out).env("CARGO_MANIFEST_DIR", "/").output().unwrap()
    }

    fn passes(&self, lock: Option<&str>) {
        let output = self.run(lock);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn stops(&self, lock: &str) -> String {
        let output = self.run(Some(lock));
        assert!(!output.status.success(), "built with\n{lock}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn package(name: &str, version: &str, dependencies: &[&str]) -> String {
    let quoted: Vec<String> = dependencies.iter().map(|name| format!(" \"{name}\",\n")).collect();
    let list = quoted.concat();
    format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\ndependencies = [\n{list}]\n\n")
}

fn lock(aes: &str) -> String {
    format!("version = 4\n\n{}", package("aes", aes, &[]))
        + &package("vck-common", "0.1.0", &["aes"])
        + &package("vck-windrv", "0.1.0", &["vck-common"])
}

#[test]
fn a_bad_aes_below_the_framework_stops_the_build() {
    let guard = Guard::new("below");
    guard.passes(Some(&lock("0.9.2")));
    for bad in ["0.9.3", "0.9.4", "0.10.0-rc.1", "1.0.0"] {
        let message = guard.stops(&lock(bad));
        assert!(message.contains(bad) && message.contains("ymm"), "{message}");
    }
}

#[test]
fn an_aes_of_somebody_else_does_not() {
    let guard = Guard::new("beside");
    let text = package("aes", "0.9.2", &[])
        + &package("aes", "0.10.0", &[])
        + &package("tool", "1.0.0", &["aes 0.10.0", "vck-windrv"])
        + &package("vck-common", "0.1.0", &["aes 0.9.2"])
        + &package("vck-windrv", "0.1.0", &["vck-common"]);
    guard.passes(Some(&text));
    guard.stops(&text.replace("[\n \"aes 0.9.2\"", "[\n \"aes 0.10.0\""));
}

#[test]
fn a_lock_file_that_does_not_know_the_framework_is_not_read() {
    let guard = Guard::new("stranger");
    guard.passes(Some(&package("aes", "0.9.4", &[])));
    guard.passes(None);
}
