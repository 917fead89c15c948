//! The built tool, run as a user runs it.
#![cfg(not(windows))]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::fs;

use support::{Folder, KEY, OTHER_KEY, fat_image, run, run_with};

const FOOTERS: u64 = 262_144;

#[test]
fn a_volume_lives_through_several_processes() {
    let folder = Folder::new("life");
    let image = folder.path("volume.img");
    let content = fat_image(&image, 6 << 20);
    let plain = fs::read(&image).unwrap();
    let image = image.to_str().unwrap();
    let key = folder.key("key", KEY);
    let on_image = |words: &[&str]| run(&[&["--image", image], words].concat());

    let done = on_image(&["data-volume", "prepare", "--vmk-file", &key]);
    assert_eq!(done.code, 7, "{}", done.err);
    assert!(done.err.contains("shrink the file system first") && done.err.contains("--grow"), "{}", done.err);
    assert_eq!(fs::read(image).unwrap(), plain, "a refusal changes nothing");

    let done = on_image(&["data-volume", "prepare", "--grow", "--vmk-file", &key]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(fs::metadata(image).unwrap().len(), plain.len() as u64 + FOOTERS);
    assert_eq!(fs::read(image).unwrap()[..plain.len()], plain, "nothing is encrypted yet");

    let done = on_image(&["data-volume", "prepare", "--vmk-file", &key]);
    assert!(done.code == 0 && done.out.contains("already"), "{}{}", done.out, done.err);

    let done = on_image(&["data-volume", "encrypt", "--vmk-file", &key]);
    assert!(done.code == 0 && done.out.contains("fully encrypted"), "{}{}", done.out, done.err);
    assert!(done.err.contains("encrypt: 100.0%"), "lines where there is no terminal: {}", done.err);
    let raw = fs::read(image).unwrap();
    assert!(!raw.windows(24).any(|bytes| bytes == &content[..24]), "no plaintext is left");

    let status = on_image(&["status", "--json", "--vmk-file", &key]).json();
    assert_eq!((&status["attached"], &status["state_name"]), (&true.into(), &"idle".into()));
    assert_eq!((&status["state"], status["percent"].as_f64()), (&0.into(), Some(100.0)));
    let status = on_image(&["status"]);
    assert!(status.code == 0 && status.out.contains("Attached : no"), "{}", status.out);

    let seen = |words: &[&str]| on_image(words).json()["length"].as_u64().unwrap();
    assert_eq!(seen(&["volume-info", "--json"]), plain.len() as u64 + FOOTERS);
    assert_eq!(seen(&["volume-info", "--json", "--vmk-file", &key]), plain.len() as u64, "the metadata is hidden");

    let wrong = folder.key("wrong", OTHER_KEY);
    let done = on_image(&["data-volume", "decrypt", "--vmk-file", &wrong]);
    assert_eq!(done.code, 4, "{}", done.err);
    assert!(done.err.contains("STATUS_WRONG_PASSWORD (0xC000006A), Win32 86"), "{}", done.err);
    assert_eq!(fs::read(image).unwrap(), raw, "a wrong key changes nothing");

    for command in ["attach", "detach", "pause"] {
        let done = on_image(&["data-volume", command, "--vmk-file", &key]);
        assert_eq!(done.code, 0, "{command}: {}", done.err);
    }
    assert_eq!(fs::read(image).unwrap()[..plain.len()], raw[..plain.len()]);

    let done = on_image(&["data-volume", "decrypt", "--vmk-file", &key]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(fs::read(image).unwrap()[..plain.len()], plain, "every byte is back");
}

#[test]
fn conversion_that_is_not_waited_for_can_be_finished_later() {
    let folder = Folder::new("later");
    let image = folder.path("volume.img");
    fs::write(&image, vec![0; 8 << 20]).unwrap();
    let key = folder.key("key", KEY);
    let data_volume = |words: &[&str]| {
        let image = image.to_str().unwrap();
        let done = run(&[&["--image", image, "--json", "data-volume"], words, &["--vmk-file", &key]].concat());
        assert_eq!(done.code, 0, "{}", done.err);
        done.json()
    };
    data_volume(&["prepare"]);
    let started = data_volume(&["encrypt", "--no-wait"]);
    assert_eq!((&started["state_name"], &started["result"]), (&"encrypting".into(), &"conversion started".into()));
    let finished = data_volume(&["encrypt"]);
    assert_eq!(finished["encrypted_sectors"], finished["total_sectors"]);
    assert_eq!(data_volume(&["decrypt"])["encrypted_sectors"], 0);
    assert!(fs::read(&image).unwrap()[..(8 << 20) - 262_144].iter().all(|byte| *byte == 0));
}

#[test]
fn keys_come_from_file_input_environment_or_command_line() {
    let folder = Folder::new("keys");
    let image = folder.path("volume.img");
    fs::write(&image, vec![0; 2 << 20]).unwrap();
    let image = image.to_str().unwrap();
    let attach = ["--image", image, "data-volume", "attach"];
    let prepared = run(&["--image", image, "data-volume", "prepare", "--vmk", KEY]);
    assert_eq!(prepared.code, 0, "{}", prepared.err);
    let given =
        |words: &[&str], input: &str| run_with(&[&attach, words].concat(), input, &[("VCKCTL_TEST_KEY", KEY)]).code;
    assert_eq!(given(&["--vmk-stdin"], &format!("{KEY}\n")), 0);
    assert_eq!(given(&["--vmk-stdin"], OTHER_KEY), 4);
    assert_eq!(given(&["--vmk-env", "VCKCTL_TEST_KEY"], ""), 0);
    assert_eq!(given(&["--vmk-env", "VCKCTL_TEST_NO_KEY"], ""), 2);
    assert_eq!(given(&["--vmk-stdin"], "not base64"), 2);
    assert_eq!(given(&["--vmk-file", "/no/such/file"], ""), 1);
    assert_eq!(given(&[], ""), 2, "no key at all");
}

#[test]
fn misuse_has_its_own_exit_code_and_says_what_to_do() {
    let folder = Folder::new("misuse");
    let image = folder.path("volume.img");
    fs::write(&image, vec![7; 2 << 20]).unwrap();
    let odd = folder.path("odd.img");
    fs::write(&odd, vec![0; 1000]).unwrap();
    let (path, odd) = (image.to_str().unwrap(), odd.to_str().unwrap());
    let cases: [(&[&str], i32, &str); 13] = [
        (&[], 2, "Usage"),
        (&["os-volume", "encrypt"], 2, "unrecognized"),
        (&["data-volume", "encrypt", "--vmk", KEY], 2, "--image FILE"),
        (&["--volume", "D:", "status"], 2, "--image FILE"),
        (&["--volume", "nonsense", "status"], 2, "no volume"),
        (&["--image", path, "data-volume", "attach", "--vmk", KEY], 3, "do NOT prepare it again"),
        (&["--image", path, "data-volume", "prepare", "--vmk", KEY], 8, "--unknown-content"),
        (
            &["--image", path, "data-volume", "prepare", "--vmk", KEY, "--unknown-content", "--use-header", "1"],
            7,
            "blank",
        ),
        (&["--image", path, "data-volume", "prepare", "--vmk", KEY, "--use-footer", "0"], 2, "--use-footer"),
        (
            &["--image", path, "data-volume", "prepare", "--vmk", KEY, "--unknown-content", "--metadata-size", "512"],
            1,
            "prepare",
        ),
        (&["--image", "/no/such/image", "status"], 1, "/no/such/image"),
        (&["--image", odd, "status"], 2, "--sector-size"),
        (&["demo", "--image", path], 2, "--copy"),
    ];
    for (words, code, part) in cases {
        let done = run(words);
        assert_eq!(done.code, code, "{words:?}: {}{}", done.out, done.err);
        assert!(done.err.contains(part), "{words:?}: {}", done.err);
    }
    assert!(fs::read(&image).unwrap().iter().all(|byte| *byte == 7), "nothing was changed");
    let held = fs::File::open(&image).unwrap();
    held.lock().unwrap();
    let done = run(&["--image", path, "status", "--json"]);
    assert_eq!((done.code, &done.json()["exit_code"]), (5, &5.into()), "{}", done.err);
}

#[test]
fn the_benchmark_measures_something() {
    let result = run(&["bench-aes", "--size", "1048576", "--json"]).json();
    assert_eq!(result["size_bytes"], 1 << 20);
    assert!(result["encrypt_mib_s"].as_u64().unwrap() > 0 && result["decrypt_mib_s"].as_u64().unwrap() > 0);
    assert!(["portable", "aes-ni", "vaes-256", "vaes-512"].map(Into::into).contains(&result["kernel"]), "{result}");
    assert!(result["portable_encrypt_mib_s"].as_u64().unwrap() > 0, "{result}");
    assert!(result["encrypt_to_portable"].is_f64() && result["decrypt_to_portable"].is_f64(), "{result}");
    let text = run(&["bench-aes", "--size", "1048576"]).out;
    assert!(text.contains(" times the portable kernel") && text.contains("Kernel "), "{text}");
    assert_eq!(run(&["status"]).out.trim(), "Driver connected, 0 volumes");
}
