//! The process is killed in the middle of a conversion, and another one takes it up. What was written stays written then; what a
//! loss of power leaves is tried by `tests/torture`.
#![cfg(not(windows))]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::fs;
use std::process::{Command, Stdio};

use support::{Folder, KEY, fat_image, run};

const BYTES: u64 = 128 << 20;

/// What `inspect` says about the record.
fn record(image: &str, key: &str) -> serde_json::Value {
    let seen = run(&["inspect", image, "--vmk-file", key, "--json"]);
    // While a conversion runs it may be read half written.
    serde_json::from_str::<serde_json::Value>(&seen.out).map_or(serde_json::Value::Null, |seen| seen["record"].clone())
}

/// Starts an encryption and kills it when its boundary has moved.
fn kill_while_encrypting(image: &str, key: &str) {
    let mut tool = Command::new(env!("CARGO_BIN_EXE_vckctl"))
        .args(["--image", image, "data-volume", "encrypt", "--vmk-file", key])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let moved = |record: &serde_json::Value| record["boundary"].as_u64().is_some_and(|boundary| boundary > 0);
    while tool.try_wait().unwrap().is_none() && !moved(&record(image, key)) {}
    tool.kill().unwrap();
    tool.wait().unwrap();
}

#[test]
fn a_conversion_goes_on_after_the_tool_was_killed() {
    let folder = Folder::new("killed");
    let key = folder.key("key.txt", KEY);
    let path = folder.path("volume.img");
    fat_image(&path, BYTES);
    let before = fs::read(&path).unwrap();
    let image = path.to_str().unwrap();
    let on_image = |words: &[&str]| run(&[&["--image", image], words, &["--vmk-file", &key, "--json"]].concat());

    assert_eq!(on_image(&["data-volume", "prepare", "--grow"]).code, 0);
    assert_eq!(record(image, &key)["found"], "nothing");
    // The process may be through before it is caught: then it is sent back and tried again.
    let left = (0..20).find_map(|_| {
        kill_while_encrypting(image, &key);
        let left = record(image, &key);
        let early = left["boundary"].as_u64().is_some_and(|boundary| boundary < BYTES / 512 * 3 / 4);
        let caught = early && left["activity"] == "running";
        if !caught {
            assert_eq!(on_image(&["data-volume", "decrypt"]).code, 0);
        }
        caught.then_some(left)
    });
    let left = left.expect("no conversion was caught in the middle");
    assert_eq!((&left["found"], &left["damaged"]), (&"entry".into(), &serde_json::json!([])), "{left}");

    // Looking at it with the key attaches it, which is all that is needed to go on.
    let resumed = on_image(&["status"]).json();
    assert_eq!(resumed["state_name"], "encrypting", "{resumed}");
    assert_eq!(on_image(&["data-volume", "pause"]).code, 0);
    assert_eq!(record(image, &key)["activity"], "paused");
    assert_eq!(on_image(&["data-volume", "encrypt"]).code, 0);
    assert_eq!(on_image(&["data-volume", "decrypt"]).code, 0);
    let end = record(image, &key);
    assert_eq!((&end["activity"], &end["boundary"], &end["zone"]["sectors"]), (&"idle".into(), &0.into(), &0.into()));
    let after = fs::read(&path).unwrap();
    assert!(after[..before.len()] == before, "the data region has changed");
}
