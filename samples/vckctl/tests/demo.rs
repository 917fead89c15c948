//! The demonstration, run as a user runs it.
#![cfg(not(windows))]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::fs;

use support::{Folder, fat_image, run};

/// Runs the demonstration and gives its numbers, those that depend on real time left out.
fn demo(words: &[&str]) -> serde_json::Value {
    let done = run(&[&["demo", "--json"], words].concat());
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    let mut numbers = done.json();
    assert_eq!(numbers["result"], "demo passed");
    numbers.as_object_mut().unwrap().remove("wall_seconds");
    numbers
}

#[test]
fn a_small_demonstration_passes_and_replays() {
    let first = demo(&["--size", "12", "--seed", "5"]);
    for counter in ["split_reads", "split_writes", "reads_inside", "writes_inside", "volume_writes"] {
        assert!(first[counter].as_u64().unwrap() > 0, "{counter} is 0: {first}");
    }
    assert_eq!(first["bytes_converted"], 2 * (12 << 20));
    assert_eq!(demo(&["--size", "12", "--seed", "5"]), first, "one seed, one run");
    assert_ne!(demo(&["--size", "12", "--seed", "6"])["decisions"], first["decisions"]);
}

#[test]
fn its_last_line_is_its_verdict() {
    let done = run(&["demo", "--size", "8"]);
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    assert_eq!(done.out.lines().last(), Some("demo passed"));
    assert!(done.out.contains("STATUS_WRONG_PASSWORD") && done.out.contains("IRPs above the driver"), "{}", done.out);
}

#[test]
fn a_copy_is_used_and_the_original_is_only_read() {
    let folder = Folder::new("copy");
    let image = folder.path("own.img");
    fat_image(&image, 10 << 20);
    let before = fs::read(&image).unwrap();
    let numbers = demo(&["--image", image.to_str().unwrap(), "--copy", "--work-dir", folder.as_str()]);
    assert_eq!(fs::read(&image).unwrap(), before);
    assert_eq!(folder.entries(), 1, "the copy is gone");
    assert_eq!(numbers["bytes_converted"], 2 * (10 << 20), "the footers are behind the user's volume");
    assert!(numbers["files"].as_u64().unwrap() > 1, "the user's file and the demonstration's");
}

#[test]
fn a_volume_without_fat_is_worked_on_by_sectors() {
    let folder = Folder::new("noise");
    let image = folder.path("noise.img");
    let noise: Vec<u8> = (0..2_u32 << 20).flat_map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    fs::write(&image, &noise).unwrap();
    let numbers = demo(&["--image", image.to_str().unwrap(), "--copy", "--work-dir", folder.as_str()]);
    assert_eq!(fs::read(&image).unwrap(), noise);
    assert!(numbers["split_writes"].as_u64().unwrap() > 0 && numbers["files"] == 0, "{numbers}");
}

#[test]
fn a_prepared_volume_is_refused() {
    let folder = Folder::new("prepared");
    let image = folder.path("volume.img");
    fs::write(&image, vec![0; 2 << 20]).unwrap();
    let image = image.to_str().unwrap();
    assert_eq!(run(&["--image", image, "data-volume", "prepare", "--vmk", support::KEY]).code, 0);
    let done = run(&["demo", "--image", image, "--copy", "--work-dir", folder.as_str()]);
    assert_eq!(done.code, 8, "{}", done.err);
    assert_eq!(folder.entries(), 1);
}

/// Takes long without optimisation: `cargo test --release -p vckctl -- --ignored`.
#[test]
#[ignore = "a gigabyte: for release builds"]
fn a_gigabyte_of_the_users_own() {
    let folder = Folder::new("gigabyte");
    let image = folder.path("own.img");
    fat_image(&image, 1 << 30);
    let numbers = demo(&["--image", image.to_str().unwrap(), "--copy", "--work-dir", folder.as_str()]);
    assert_eq!(numbers["bytes_converted"], 2_u64 << 30);
}
