//! Build script of the framework: guards one dependency, and on Windows machines configures the build for the WDK.
//!
//! # The guard
//! From 0.9.3 on the `aes` crate runs AVX code in every call, and a library cannot switch that off. A kernel-mode
//! driver that touches AVX registers without saving the extended state destroys the upper halves of a user thread's
//! ymm registers. The requirement in `Cargo.toml` keeps the resolver below 0.9.3; this script looks at what the lock
//! file of the build really has, so that a loosened requirement fails at build time and not on a user's machine.
//!
//! Only `aes` as this crate and what it depends on use it counts: a user-mode tool in the same workspace is free. When
//! there is no lock file that knows this crate (it is a dependency built elsewhere) the guard has nothing to read and
//! stays silent; then the requirement alone holds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, error::Error, fs};

/// First release of `aes` that must not be in a kernel image.
const FIRST_BAD_AES: [u64; 3] = [0, 9, 3];
/// This crate, as the lock file names it.
const THIS: &str = env!("CARGO_PKG_NAME");

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    if let Some((path, lock)) = lock_file() {
        println!("cargo::rerun-if-changed={}", path.display());
        if let Some(version) = bad_aes(&lock) {
            return Err(format!(
                "{} has aes {version}: from 0.9.3 on, aes runs AVX instructions in every call, which in the kernel \
                 destroys the upper halves of user threads' ymm registers; run `cargo update -p aes --precise 0.9.2`",
                path.display()
            )
            .into());
        }
    }
    #[cfg(windows)]
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("windows") {
        wdk_build::configure_wdk_library_build()?;
    }
    Ok(())
}

/// The lock file this build resolved with: the nearest one above the build directory or above the manifest that lists
/// this crate. A lock file that does not list it belongs to something else.
fn lock_file() -> Option<(PathBuf, String)> {
    ["OUT_DIR", "CARGO_MANIFEST_DIR"].into_iter().filter_map(env::var_os).find_map(|start| {
        Path::new(&start).ancestors().find_map(|directory| {
            let path = directory.join("Cargo.lock");
            let text = fs::read_to_string(&path).ok()?;
            let ours = packages(&text).any(|package| package.name == THIS);
            ours.then_some((path, text))
        })
    })
}

/// One `[[package]]` of a lock file.
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    /// `name` or, when the lock file has several versions of it, `name version`.
    dependencies: Vec<&'a str>,
}

fn packages(lock: &str) -> impl Iterator<Item = Package<'_>> {
    lock.split("[[package]]").skip(1).filter_map(|text| {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.split('"').nth(1));
        let list = text.split_once("dependencies = [").map_or("", |(_, rest)| rest.split(']').next().unwrap_or(""));
        Some(Package {
            name: value("name = ")?,
            version: value("version = ")?,
            dependencies: list.split('"').skip(1).step_by(2).collect(),
        })
    })
}

/// The version of `aes` that this crate reaches, when it is one that must not be in the kernel.
fn bad_aes(lock: &str) -> Option<&str> {
    let all: Vec<_> = packages(lock).collect();
    let mut wanted = vec![THIS];
    let mut seen = BTreeSet::new();
    while let Some(dependency) = wanted.pop() {
        if !seen.insert(dependency) {
            continue;
        }
        let mut words = dependency.split(' ');
        let (name, version) = (words.next(), words.next());
        for package in all.iter().filter(|p| Some(p.name) == name && version.is_none_or(|v| v == p.version)) {
            if package.name == "aes" && parts(package.version) >= FIRST_BAD_AES {
                return Some(package.version);
            }
            wanted.extend(&package.dependencies);
        }
    }
    None
}

/// Major, minor, patch. What follows a `-` or `+` does not matter here.
fn parts(version: &str) -> [u64; 3] {
    let mut numbers = version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}
