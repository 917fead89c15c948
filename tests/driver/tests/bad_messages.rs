//! Messages that no well-behaved program sends: each gets a status of its own and changes nothing.

use vck_common::NtStatus;
use vck_common::jvck::JvckMetadataOptions;
use vck_common::wire::{AttachReq, IoctlCode, Request, VolumeRequest, VolumeStatus, decode_response, encode_request};
use vck_driver_tests::{Bench, Client, Failure, Setup, VMK, default_prepare};

const ROOM: usize = 65_536;

fn bench() -> Bench {
    Bench::boot(Setup { data_bytes: 1 << 20, ..Setup::default() })
}

fn encoded<'a>(request: &impl Request<'a>) -> Vec<u8> {
    let mut message = vec![0; ROOM];
    let length = encode_request(request, &mut message).expect("encodes");
    message.truncate(length);
    message
}

/// A well-formed message for each control that decodes one.
fn messages(path: &str, block: &[u8]) -> Vec<(IoctlCode, Vec<u8>)> {
    let on_volume = encoded(&VolumeRequest { volume_path: path });
    let prepare = encoded(&default_prepare(path, block));
    let attach = encoded(&AttachReq {
        volume_path: path,
        vmk: &VMK,
        use_header: 0,
        use_footer: 0,
        metadata_size: 0,
        nt_device_path: "",
        raw_partition_path: "",
    });
    let mut all = vec![(IoctlCode::JvckPrepare, prepare), (IoctlCode::JvckAttach, attach)];
    let simple = [
        IoctlCode::GetStatus,
        IoctlCode::GetProgress,
        IoctlCode::StartEncrypt,
        IoctlCode::StartDecrypt,
        IoctlCode::Pause,
        IoctlCode::Detach,
    ];
    all.extend(simple.map(|code| (code, on_volume.clone())));
    all
}

fn refused(client: &Client<'_>, code: IoctlCode, message: &[u8], status: NtStatus) {
    let answer = client.raw(code.code(), message, ROOM);
    assert_eq!(
        answer,
        Err(Failure(status)),
        "{code:?}, {} bytes: {:02x?}",
        message.len(),
        &message[..message.len().min(24)]
    );
}

#[test]
fn every_truncation_of_every_message_is_malformed() {
    let bench = bench();
    let client = bench.client();
    let before = bench.footprint();
    for (code, message) in messages(&bench.path(), &bench.block()) {
        for length in 0..message.len() {
            refused(&client, code, &message[..length], NtStatus::INVALID_PARAMETER);
        }
        bench.assert_untouched(&before, &format!("truncated {code:?}"));
    }
    drop(client);
    bench.tear_down();
}

/// `levels` arrays, each in the one before.
fn nested(levels: usize) -> Vec<u8> {
    let mut message = vec![0x91; levels];
    message.push(0xC0);
    message
}

/// Messages that break a limit or a rule of the encoding, whatever the control.
fn broken() -> Vec<(&'static str, Vec<u8>)> {
    let mut many = vec![0xDE, 0x00, 65];
    many.extend((0..65_u8).flat_map(|key| [0xA1, 0x30 + key % 10, key % 100]));
    let mut long_string = b"\x81\xABvolume_path\xDA\x10\x01".to_vec();
    long_string.extend([b'x'; 4097]);
    let mut deep_inside = b"\x82\xABvolume_path\xA1x\xA1z".to_vec();
    deep_inside.extend(nested(8));
    let twice = b"\x82\xABvolume_path\xA1x\xABvolume_path\xA1x".to_vec();
    let mut not_utf8 = b"\x81\xABvolume_path\xA2".to_vec();
    not_utf8.extend([0xFF, 0xFE]);
    vec![
        ("nothing known", vec![0x80]),
        ("nil", vec![0xC0]),
        ("the byte that is no value", vec![0xC1]),
        ("an integer", vec![0x07]),
        ("a string", vec![0xA1, b'x']),
        ("a nil path", b"\x81\xABvolume_path\xC0".to_vec()),
        ("an integer path", b"\x81\xABvolume_path\x01".to_vec()),
        ("another case", b"\x81\xABVolume_path\xA1x".to_vec()),
        ("a repeated key", twice),
        ("text that is not UTF-8", not_utf8),
        ("an extension", b"\x82\xABvolume_path\xA1x\xA1z\xD4\x01\x00".to_vec()),
        ("nine levels", nested(9)),
        ("nine levels inside", deep_inside),
        ("sixty thousand levels", nested(60_000)),
        ("a map of four thousand million", vec![0xDF, 0xFF, 0xFF, 0xFF, 0xFF]),
        ("an array of four thousand million", vec![0xDD, 0xFF, 0xFF, 0xFF, 0xFF]),
        ("bytes beyond the end", vec![0x81, 0xAB, 0xC6, 0xFF, 0xFF, 0xFF, 0xFF]),
        ("65 entries", many),
        ("a long string", long_string),
        ("zeros", vec![0; 4096]),
        ("ones", vec![0xFF; 4096]),
        ("more than 64 KiB", vec![0x80; ROOM + 1]),
    ]
}

#[test]
fn broken_messages_are_refused_by_every_control() {
    let bench = bench();
    let client = bench.client();
    let before = bench.footprint();
    for (code, _) in messages(&bench.path(), &bench.block()) {
        for (what, message) in broken() {
            refused(&client, code, &message, NtStatus::INVALID_PARAMETER);
            bench.world.assert_clean();
            assert_eq!(bench.world.live_irps(), 0, "{what}");
        }
        bench.assert_untouched(&before, &format!("broken {code:?}"));
    }
    refused(&client, IoctlCode::JvckPrepare, &vec![0x80; 1 << 20], NtStatus::INVALID_PARAMETER);
    refused(&client, IoctlCode::BenchAes, &nested(9), NtStatus::INVALID_PARAMETER);
    refused(&client, IoctlCode::BenchAes, b"\x81\xAAsize_bytes\xA1x", NtStatus::INVALID_PARAMETER);
    // A benchmark may occupy a processor for 16 GiB of work at most.
    refused(
        &client,
        IoctlCode::BenchAes,
        b"\x81\xAAsize_bytes\xCF\x00\x00\x00\x04\x00\x00\x00\x01",
        NtStatus::INVALID_PARAMETER,
    );
    refused(
        &client,
        IoctlCode::BenchAes,
        b"\x81\xAAsize_bytes\xCF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        NtStatus::INVALID_PARAMETER,
    );
    bench.assert_untouched(&before, "broken benchmark");
    drop(client);
    bench.tear_down();
}

#[test]
fn controls_without_a_message_ignore_what_is_sent_up_to_64_kib() {
    let bench = bench();
    let client = bench.client();
    let before = bench.footprint();
    for code in [IoctlCode::ListVolumes, IoctlCode::PauseOsVolume, IoctlCode::DetachAllVolumes] {
        for (what, message) in broken() {
            let answer = client.raw(code.code(), &message, ROOM);
            if message.len() > ROOM {
                assert_eq!(answer, Err(Failure(NtStatus::INVALID_PARAMETER)), "{code:?}, {what}");
            } else {
                let expected =
                    if code == IoctlCode::ListVolumes { b"\x81\xA7volumes\x90".to_vec() } else { Vec::new() };
                assert_eq!(answer, Ok(expected), "{code:?}, {what}");
            }
        }
    }
    bench.assert_untouched(&before, "ignored input");
    drop(client);
    bench.tear_down();
}

#[test]
fn unknown_codes_are_invalid_device_requests() {
    let bench = bench();
    let client = bench.client();
    let before = bench.footprint();
    let mut unknown =
        vec![0x0022_6030, 0x0022_A02C, 0x0022_0000, 0x0022_FFFC, 0x0007_405C, 0x002D_9404, 0, 0xFFFF_FFFC];
    // The known functions with another access, and with another method.
    unknown.extend(IoctlCode::ALL.iter().map(|code| code.code() ^ 0xC000));
    for code in unknown {
        assert_eq!(IoctlCode::from_u32(code), None);
        let answer = client.raw(code, &[0x80], ROOM);
        assert_eq!(answer, Err(Failure(NtStatus::INVALID_DEVICE_REQUEST)), "{code:#010x}");
    }
    for method in 1..=3 {
        for code in IoctlCode::ALL {
            let answer = client.raw(code.code() | method, &[0x80], ROOM);
            assert_eq!(answer, Err(Failure(NtStatus::INVALID_DEVICE_REQUEST)), "{code:?} with method {method}");
        }
    }
    bench.assert_untouched(&before, "unknown codes");
    drop(client);
    bench.tear_down();
}

#[test]
fn a_small_output_buffer_is_refused_before_anything_is_done() {
    let bench = bench();
    let (client, path) = (bench.client(), bench.path());
    let before = bench.footprint();
    for (code, message) in messages(&path, &bench.block()) {
        if code == IoctlCode::GetProgress {
            continue;
        }
        assert_eq!(client.raw(code.code(), &message, 0), Err(Failure(NtStatus::BUFFER_TOO_SMALL)), "{code:?}");
    }
    let prepare = &messages(&path, &bench.block())[0].1;
    for room in [0, 1, 16, 100] {
        let answer = client.raw(IoctlCode::JvckPrepare.code(), prepare, room);
        assert_eq!(answer, Err(Failure(NtStatus::BUFFER_TOO_SMALL)), "{room} bytes of room");
    }
    bench.assert_untouched(&before, "no room for an answer");
    assert!(!client.status(&path).expect("a status").attached);

    client.prepare(&path, JvckMetadataOptions::default(), &VMK, &bench.block()).expect("prepares");
    let attached = bench.footprint();
    for (code, message) in messages(&path, &bench.block()) {
        let answer = client.raw(code.code(), &message, 0);
        assert_eq!(answer, Err(Failure(NtStatus::BUFFER_TOO_SMALL)), "{code:?} on an attached volume");
    }
    assert_eq!(client.raw(IoctlCode::ListVolumes.code(), &[], 20), Err(Failure(NtStatus::BUFFER_TOO_SMALL)));
    bench.assert_untouched(&attached, "no room for an answer about an attached volume");
    assert_eq!(client.progress(&path), Ok((0, 0, String::new())), "nothing was started");
    drop(client);
    bench.tear_down();
}

#[test]
fn noise_never_does_anything() {
    let bench = bench();
    let client = bench.client();
    let before = bench.footprint();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut draw = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..300 {
        let length = usize::try_from(draw() % 200).expect("small");
        let mut message: Vec<u8> = (0..length).map(|_| draw().to_le_bytes()[0]).collect();
        if let (0, Some(first)) = (round % 2, message.first_mut()) {
            *first = 0x80 | (*first & 0x1F);
        }
        for (code, _) in messages("x", &[]) {
            // By chance it is a path in array form, which then leads nowhere.
            match client.raw(code.code(), &message, ROOM) {
                Err(Failure(status)) => assert!(status.is_error(), "{code:?}: {message:02x?}"),
                Ok(answer) => {
                    assert_eq!(code, IoctlCode::GetStatus, "{message:02x?}");
                    let status: VolumeStatus<'_> = decode_response(&answer).expect("a status");
                    assert!(!status.is_attached, "{message:02x?}");
                }
            }
        }
    }
    bench.assert_untouched(&before, "noise");
    drop(client);
    bench.tear_down();
}
