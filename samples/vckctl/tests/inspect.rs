//! `inspect` on images made from recorded metadata blocks.
#![cfg(not(windows))]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use support::{Folder, OTHER_KEY, run};

const SECTORS: usize = 32768;
const SECTOR: usize = 512;

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../vck-common/tests/vectors/metadata_blocks.json");
    let all: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    all["cases"].as_array().unwrap().iter().find(|case| case["name"] == "cross_check_golden").unwrap().clone()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap()).collect()
}

/// An image with the block in the last sector of both footers.
fn image(path: &Path, block: &[u8]) -> Vec<u8> {
    let mut image = vec![0; SECTORS * SECTOR];
    for lba in [SECTORS - 257, SECTORS - 1] {
        image[lba * SECTOR..][..block.len()].copy_from_slice(block);
    }
    fs::write(path, &image).unwrap();
    image
}

#[test]
fn metadata_is_shown_without_and_with_its_key() {
    let folder = Folder::new("inspect");
    let path = folder.path("golden.img");
    let case = golden();
    image(&path, &bytes(&case["block"]));
    let path = path.to_str().unwrap();
    let seen = run(&["inspect", path, "--json"]).json();
    assert_eq!(seen["volume_id"], "01020304-0506-0708-090a-0b0c0d0e0f10");
    assert_eq!((&seen["footer_replicas"], &seen["header_replicas"]), (&2.into(), &0.into()));
    assert_eq!((&seen["data_sectors"], &seen["sector_size"]), (&(SECTORS - 512).into(), &SECTOR.into()));
    assert_eq!((&seen["replicas_agree"], &seen["boundary"]), (&true.into(), &Value::Null));
    assert_eq!(seen["replicas"][0]["lba"], SECTORS - 257);

    let key = STANDARD.encode(bytes(&case["inputs"]["vmk"]));
    let seen = run(&["--image", path, "inspect", "--vmk", &key, "--json"]).json();
    assert_eq!((&seen["boundary"], &seen["direction"]), (&12345.into(), &"encrypt".into()));
    assert_eq!((&seen["adopted_replica"], &seen["good_replicas"]), (&0.into(), &2.into()));
    let text = run(&["inspect", path]).out;
    assert!(text.contains("2 of 2 replicas are intact, and all are the same"), "{text}");

    let done = run(&["inspect", path, "--vmk", OTHER_KEY]);
    assert_eq!(done.code, 4, "{}", done.err);
}

#[test]
fn damage_is_told_by_replica() {
    let folder = Folder::new("damage");
    let path = folder.path("damaged.img");
    let case = golden();
    let mut image = image(&path, &bytes(&case["block"]));
    image[(SECTORS - 1) * SECTOR + 100] ^= 1;
    fs::write(&path, &image).unwrap();
    let key = STANDARD.encode(bytes(&case["inputs"]["vmk"]));
    let seen = run(&["inspect", path.to_str().unwrap(), "--vmk", &key, "--json"]).json();
    assert_eq!((&seen["replicas"][0]["intact"], &seen["replicas"][1]["intact"]), (&true.into(), &false.into()));
    assert_eq!((&seen["replicas_agree"], &seen["boundary"]), (&false.into(), &12345.into()));
    assert_eq!(seen["stale_replicas"], serde_json::json!([1]));
}

#[test]
fn an_image_without_metadata_has_none() {
    let folder = Folder::new("none");
    let path = folder.path("blank.img");
    fs::write(&path, vec![0; 1 << 20]).unwrap();
    let done = run(&["inspect", path.to_str().unwrap()]);
    assert_eq!(done.code, 3, "{}", done.err);
    assert_eq!(run(&["inspect"]).code, 2);
    assert_eq!(run(&["inspect", "/no/such/file"]).code, 1);
}
