//! `ioctl_codes.json`, `msgpack_rust.json`, `msgpack_go_sdk.json`, `msgpack_decode_tolerance.json`, `paths.json`.

use proptest::prelude::*;
use serde_json::{Value, json};
use vck_common::{
    NtPath, VckError,
    wire::{
        AttachReq, AttachResp, BenchReq, BenchResp, EmptyResp, IoctlCode, ListEncoder, ListResp, PrepareReq,
        PrepareResp, ProgressEvent, Request, Response, VolumeEntry, VolumeRequest, VolumeStatus, WireState, codes,
        decode, decode_response, encode, encode_request, encoded_len, for_each_volume,
    },
};

use crate::support::{bytes, cases, error_of, hex, number, small, text, vectors};

#[test]
fn control_codes_match() {
    let vectors = vectors!("ioctl_codes.json");
    let cases = cases(&vectors, "codes");
    assert_eq!(cases.len(), IoctlCode::ALL.len());
    for case in cases {
        let code = IoctlCode::from_u32(small(case, "value")).unwrap();
        assert_eq!(code.name(), text(case, "name"));
        assert_eq!(code.code(), small(case, "value"));
        let access = match text(case, "access") {
            "FILE_READ_ACCESS" => codes::FILE_READ_ACCESS,
            "FILE_WRITE_ACCESS" => codes::FILE_WRITE_ACCESS,
            other => panic!("{other}"),
        };
        let built = codes::ctl_code(small(case, "device_type"), small(case, "function"), small(case, "method"), access);
        assert_eq!(built, code.code());
        let open_to_all = matches!(code, IoctlCode::GetStatus | IoctlCode::GetProgress);
        assert_eq!(code.needs_admin(), !open_to_all);
    }
    assert_eq!(IoctlCode::from_u32(codes::LIST_VOLUMES + 4), None);
}

#[test]
fn paths_map_to_nt_paths() {
    for case in cases(&vectors!("paths.json"), "cases") {
        let (input, expected) = (text(case, "input"), text(case, "nt_path"));
        let path = NtPath::from_volume_path(input);
        assert_eq!(path.to_string(), expected, "{input}");
        assert_eq!(path.len(), expected.len());
        assert_eq!(path.utf16().collect::<Vec<_>>(), expected.encode_utf16().collect::<Vec<_>>());
        let mut exact = vec![0; expected.len()];
        assert_eq!(path.write_to(&mut exact), Some(expected));
        assert_eq!(path.write_to(&mut exact[1..]), None);
    }
}

/// The bytes of a field that holds some, which the vectors write as an object.
fn blob(fields: &Value, key: &str) -> Vec<u8> {
    bytes(&fields[key], "bytes_hex")
}

fn opt<'v>(fields: &'v Value, key: &str) -> &'v str {
    fields[key].as_str().unwrap_or("")
}

fn entry(fields: &Value) -> VolumeEntry<'_> {
    VolumeEntry {
        volume_path: text(fields, "volume_path"),
        state: state_of(fields),
        encrypted_sector: number(fields, "encrypted_sector"),
        total_sectors: number(fields, "total_sectors"),
        sector_size: small(fields, "sector_size"),
        is_os_volume: flag(fields, "is_os_volume"),
    }
}

fn prepare_bytes(fields: &Value) -> Vec<u8> {
    let (vmk, block) = (blob(fields, "vmk"), blob(fields, "metadata_block"));
    request_bytes(&PrepareReq {
        volume_path: text(fields, "volume_path"),
        nt_device_path: opt(fields, "nt_device_path"),
        use_header: small(fields, "use_header"),
        use_footer: small(fields, "use_footer"),
        metadata_size: small(fields, "metadata_size"),
        vmk: &vmk,
        metadata_block: &block,
        is_os_volume: flag(fields, "is_os_volume"),
    })
}

fn attach_bytes(fields: &Value) -> Vec<u8> {
    let vmk = blob(fields, "vmk");
    request_bytes(&AttachReq {
        volume_path: text(fields, "volume_path"),
        vmk: &vmk,
        use_header: small(fields, "use_header"),
        use_footer: small(fields, "use_footer"),
        metadata_size: small(fields, "metadata_size"),
        nt_device_path: opt(fields, "nt_device_path"),
        raw_partition_path: opt(fields, "raw_partition_path"),
    })
}

fn request_bytes<'a, T: Request<'a>>(request: &T) -> Vec<u8> {
    let mut out = [0; 2048];
    let len = encode_request(request, &mut out).unwrap();
    out[..len].to_vec()
}

/// Encodes, and checks the promises about lengths on the way.
fn response_bytes<T: Response>(response: &T, max_len: usize) -> Vec<u8> {
    let mut out = [0xEE; 4096];
    let len = encode(response, &mut out).unwrap();
    assert_eq!(encoded_len(response).unwrap(), len);
    assert!(len <= max_len, "{len} bytes, bound {max_len}");
    assert!(max_len <= len + 180, "the bound {max_len} says nothing about {len} bytes");
    let mut short = vec![0xEE; len - 1];
    assert_eq!(encode(response, &mut short), Err(VckError::BufferTooSmall { needed: len }));
    assert!(short.iter().all(|&byte| byte == 0xEE), "a buffer that is too small stays untouched");
    out[..len].to_vec()
}

#[test]
fn messages_encode_to_the_same_bytes() {
    for case in cases(&vectors!("msgpack_rust.json"), "messages") {
        let (expected, name) = (bytes(case, "msgpack"), text(case, "name"));
        let fields = case.get("fields_in_wire_order").unwrap_or(&Value::Null);
        let encoded = match text(case, "type").split(' ').next().unwrap() {
            "VolumeRequest" => request_bytes(&VolumeRequest { volume_path: text(fields, "volume_path") }),
            "JvckVolumePrepareReq" => prepare_bytes(fields),
            "JvckVolumeAttachReq" => attach_bytes(fields),
            "BenchAesReq" => request_bytes(&bench_req(number(fields, "size_bytes"))),
            "JvckVolumePrepareResp" => prepare_resp_bytes(fields, &expected),
            "JvckVolumeAttachResp" => attach_resp_bytes(fields, &expected),
            "VolumeStatus" => status_bytes(fields, &expected),
            "VolumeListResponse" => list_bytes(fields, &expected),
            "ProgressEvent" => progress_bytes(fields, &expected),
            "BenchAesResp" => bench_resp_bytes(fields, &expected),
            "empty" => response_bytes(&EmptyResp {}, EmptyResp::MAX_LEN),
            // No message at all.
            "PAUSE_OS_VOLUME" => Vec::new(),
            other => panic!("no such message {other}"),
        };
        assert_eq!(encoded, expected, "{name}");
    }
}

fn state_of(fields: &Value) -> i32 {
    i32::try_from(fields["state"].as_i64().unwrap()).unwrap()
}

fn flag(fields: &Value, key: &str) -> bool {
    fields[key].as_bool().unwrap()
}

fn prepare_resp_bytes(fields: &Value, expected: &[u8]) -> Vec<u8> {
    let response = PrepareResp {
        offset_sector: number(fields, "offset_sector"),
        data_sectors: number(fields, "data_sectors"),
        sector_size: small(fields, "sector_size"),
        raw_partition_path: opt(fields, "raw_partition_path"),
        raw_disk_path: opt(fields, "raw_disk_path"),
        partition_start_lba: number(fields, "partition_start_lba"),
        fully_attached: flag(fields, "fully_attached"),
    };
    assert_eq!(decode_response::<PrepareResp<'_>>(expected).unwrap(), response);
    response_bytes(&response, PrepareResp::max_len(response.raw_partition_path.len(), response.raw_disk_path.len()))
}

fn attach_resp_bytes(fields: &Value, expected: &[u8]) -> Vec<u8> {
    let response = AttachResp {
        offset_sector: number(fields, "offset_sector"),
        total_sectors: number(fields, "total_sectors"),
        sector_size: small(fields, "sector_size"),
    };
    assert_eq!(decode_response::<AttachResp>(expected).unwrap(), response);
    response_bytes(&response, AttachResp::MAX_LEN)
}

fn status_bytes(fields: &Value, expected: &[u8]) -> Vec<u8> {
    let response = VolumeStatus {
        volume_path: text(fields, "volume_path"),
        state: state_of(fields),
        encrypted_sector: number(fields, "encrypted_sector"),
        total_sectors: number(fields, "total_sectors"),
        sector_size: small(fields, "sector_size"),
        is_attached: flag(fields, "is_attached"),
        filter_below_fsd: flag(fields, "filter_below_fsd"),
    };
    assert_eq!(decode_response::<VolumeStatus<'_>>(expected).unwrap(), response);
    response_bytes(&response, VolumeStatus::max_len(response.volume_path.len()))
}

fn progress_bytes(fields: &Value, expected: &[u8]) -> Vec<u8> {
    let response = ProgressEvent {
        encrypted_sector: number(fields, "encrypted_sector"),
        total_sectors: number(fields, "total_sectors"),
        state: state_of(fields),
        error: opt(fields, "error"),
    };
    assert_eq!(decode_response::<ProgressEvent<'_>>(expected).unwrap(), response);
    response_bytes(&response, ProgressEvent::max_len(response.error.len()))
}

/// As clients send it that do not know of comparisons.
fn bench_req(size_bytes: u64) -> BenchReq {
    BenchReq { size_bytes, compare: false }
}

#[test]
fn a_comparison_is_asked_for_and_answered_in_fields_of_its_own() {
    let request = BenchReq { size_bytes: 7, compare: true };
    let mut encoded = request_bytes(&request);
    assert_eq!(encoded, b"\x82\xaasize_bytes\x07\xa7compare\xc3");
    assert_eq!(decode::<BenchReq>(&mut encoded), Ok(request));
    // A driver that does not know the field skips it: to one, it is what `unknown` is to this one.
    let unknown = &mut b"\x82\xaasize_bytes\x07\xa7unknown\xc3".to_vec();
    assert_eq!(decode::<BenchReq>(unknown), Ok(bench_req(7)));

    let answer = BenchResp {
        size_bytes: 1 << 30,
        encrypt_mib_s: 7100,
        decrypt_mib_s: 7000,
        kernel: "vaes-256",
        portable_encrypt_mib_s: 2300,
        portable_decrypt_mib_s: 2200,
    };
    let encoded = response_bytes(&answer, BenchResp::compared_max_len(answer.kernel.len()));
    assert_eq!(decode_response::<BenchResp<'_>>(&encoded), Ok(answer));
    // The first three fields stand where they always stood; only the number of entries differs.
    let plain = BenchResp { kernel: "", portable_encrypt_mib_s: 0, portable_decrypt_mib_s: 0, ..answer };
    let plain = response_bytes(&plain, BenchResp::MAX_LEN);
    assert_eq!((encoded[0], plain[0]), (0x86, 0x83));
    assert_eq!(encoded[1..plain.len()], plain[1..]);
}

fn bench_resp_bytes(fields: &Value, expected: &[u8]) -> Vec<u8> {
    let response = BenchResp {
        size_bytes: number(fields, "size_bytes"),
        encrypt_mib_s: number(fields, "encrypt_mib_s"),
        decrypt_mib_s: number(fields, "decrypt_mib_s"),
        ..BenchResp::default()
    };
    assert_eq!(decode_response::<BenchResp<'_>>(expected).unwrap(), response);
    response_bytes(&response, BenchResp::MAX_LEN)
}

fn list_bytes(fields: &Value, expected: &[u8]) -> Vec<u8> {
    let entries: Vec<_> = fields["volumes"].as_array().unwrap().iter().map(entry).collect();
    let mut decoded = Vec::new();
    for_each_volume(expected, |entry| decoded.push(entry)).unwrap();
    assert_eq!(decoded, entries);

    let mut streamed = vec![0; expected.len()];
    let mut list = ListEncoder::new(&mut streamed, u16::try_from(entries.len()).unwrap()).unwrap();
    for entry in &entries {
        list.push(entry).unwrap();
    }
    assert_eq!(list.finish().unwrap(), expected.len());
    assert_eq!(streamed, expected);

    let path_bytes = entries.iter().map(|entry| entry.volume_path.len()).sum();
    let (mut out, bound) = (vec![0; expected.len()], ListResp::max_len(entries.len(), path_bytes));
    assert!(expected.len() <= bound);
    let len = encode(&ListResp { volumes: &entries }, &mut out).unwrap();
    out[..len].to_vec()
}

#[test]
fn a_streamed_list_keeps_its_word_and_names_the_room_it_needs() {
    let volume = VolumeEntry {
        volume_path: "a",
        state: WireState::Decrypting.as_i32(),
        encrypted_sector: 1,
        total_sectors: 2,
        sector_size: 512,
        is_os_volume: false,
    };
    let mut out = [0; 200];
    assert!(matches!(ListEncoder::new(&mut out, 1).unwrap().finish(), Err(VckError::MsgpackEncode(_))));
    let mut list = ListEncoder::new(&mut out, 1).unwrap();
    list.push(&volume).unwrap();
    assert!(matches!(list.push(&volume), Err(VckError::MsgpackEncode(_))));
    let needed = 10 + encoded_len(&volume).unwrap();
    let mut list = ListEncoder::new(&mut out[..needed - 1], 1).unwrap();
    assert_eq!(list.push(&volume), Err(VckError::BufferTooSmall { needed }));
    assert_eq!(ListEncoder::new(&mut out[..9], 1).err(), Some(VckError::BufferTooSmall { needed: 10 }));
    assert_eq!(response_bytes(&EmptyResp {}, EmptyResp::MAX_LEN), [0x80]);
}

#[test]
fn integers_and_headers_take_the_shortest_form() {
    let vectors = vectors!("msgpack_rust.json");
    for case in cases(&vectors, "integers") {
        let value: i128 = text(case, "value").parse().unwrap();
        let expected = bytes(case, "msgpack");
        // The field of each kind whose encoding ends the message.
        let encoded = match text(case, "type") {
            "u64" => request_bytes(&bench_req(u64::try_from(value).unwrap())),
            "u32" => {
                let sector_size = u32::try_from(value).unwrap();
                response_bytes(&AttachResp { offset_sector: 0, total_sectors: 0, sector_size }, AttachResp::MAX_LEN)
            }
            "i32" => {
                let state = i32::try_from(value).unwrap();
                let event = ProgressEvent { encrypted_sector: 0, total_sectors: 0, state, error: "" };
                response_bytes(&event, ProgressEvent::max_len(0))
            }
            other => panic!("{other}"),
        };
        assert!(encoded.ends_with(&expected), "{case}");
        let key_end = encoded.len() - expected.len() - 1;
        assert!(encoded[key_end].is_ascii_lowercase(), "{case}: nothing but the key stands before the integer");
    }
    for case in cases(&vectors, "strings_and_bytes") {
        let (len, header) = (usize::try_from(number(case, "length")).unwrap(), bytes(case, "header"));
        let (encoded, expected) = match text(case, "type") {
            "str" => {
                (request_bytes(&VolumeRequest { volume_path: &"x".repeat(len) }), [header, vec![b'x'; len]].concat())
            }
            "bytes via serde_bytes" => {
                let request = AttachReq {
                    volume_path: "",
                    vmk: &vec![7; len],
                    use_header: 0,
                    use_footer: 0,
                    metadata_size: 0,
                    nt_device_path: "",
                    raw_partition_path: "",
                };
                // Three counts follow the bytes.
                let encoded = request_bytes(&request);
                let tail = b"\xAAuse_header\x00\xAAuse_footer\x00\xADmetadata_size\x00";
                assert!(encoded.ends_with(tail));
                (encoded[..encoded.len() - tail.len()].to_vec(), [header, vec![7; len]].concat())
            }
            "plain Vec<u8> (array of ints)" => continue,
            other => panic!("{other}"),
        };
        assert!(encoded.ends_with(&expected), "{case}");
    }
}

#[test]
fn go_sdk_requests_decode() {
    let vectors = vectors!("msgpack_go_sdk.json");
    for case in cases(&vectors, "requests") {
        let (mut message, name) = (bytes(case, "msgpack"), text(case, "name"));
        match text(case, "type") {
            "volumeRequest" | "EncryptRequest" | "DecryptRequest" | "VolumeDetachRequest" => {
                let request: VolumeRequest<'_> = decode(&mut message).unwrap();
                assert_eq!(request.volume_path, r"\Device\HarddiskVolume4", "{name}");
            }
            "struct{}" => assert_eq!(message, [0x80], "{name}: its input is ignored"),
            "JvckVolumePrepareRequest" if name == "prepare_nil_vmk" => {
                assert!(matches!(error_of(decode::<PrepareReq<'_>>(&mut message)), VckError::MsgpackDecode(_)));
            }
            "JvckVolumePrepareRequest" => {
                let request: PrepareReq<'_> = decode(&mut message).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(request.volume_path, r"\Device\HarddiskVolume4", "{name}");
                assert_eq!((request.use_header, request.use_footer, request.metadata_size), (0, 2, 131_072), "{name}");
                assert_eq!(request.vmk.len(), if name.contains("empty") { 0 } else { 32 }, "{name}");
                let with_block = matches!(name, "prepare_first_time" | "prepare_os_volume");
                assert_eq!(request.metadata_block.len(), if with_block { 512 } else { 0 }, "{name}");
                assert_eq!(request.is_os_volume, name == "prepare_os_volume", "{name}");
            }
            "JvckVolumeAttachRequest" => {
                let request: AttachReq<'_> = decode(&mut message).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(request.nt_device_path, r"\Device\HarddiskVolume4", "{name}");
                assert_eq!(request.vmk, hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"));
                assert_eq!(request.raw_partition_path.is_empty(), name == "attach_minimal", "{name}");
            }
            "BenchAesRequest" => {
                let request: BenchReq = decode(&mut message).unwrap();
                assert_eq!(request.size_bytes, if name == "bench_1gib" { 1 << 30 } else { 0 }, "{name}");
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn the_go_sdk_reads_every_response_the_driver_makes() {
    let (go, rust) = (vectors!("msgpack_go_sdk.json"), vectors!("msgpack_rust.json"));
    let made: Vec<_> = cases(&rust, "messages").iter().map(|case| text(case, "name")).collect();
    let mut checked = 0;
    for case in cases(&go, "go_decodes_of_driver_responses") {
        match text(case, "name") {
            // Why a call without an answer still sends an empty map: the SDK takes zero bytes for an error.
            "zero_length_response" => assert_eq!(case["decoded_by_go_sdk"], false),
            // Leniency of the SDK towards forms that the driver never sends.
            "status_with_unknown_field" | "status_array_form_7" | "status_nil" | "status_state_negative" => {}
            name => {
                assert!(made.contains(&name), "{name}: its bytes are checked with the messages");
                assert_eq!(case["decoded_by_go_sdk"], true, "{name}");
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 16);
}

/// A request as the fields that the vectors record.
fn fields_of(kind: &str, message: &mut [u8]) -> Result<Value, VckError> {
    let blob = |bytes: &[u8]| {
        let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({ "bytes_hex": digits.concat() })
    };
    Ok(match kind {
        "VolumeRequest" => json!({ "volume_path": decode::<VolumeRequest<'_>>(message)?.volume_path }),
        "JvckVolumePrepareReq" => {
            let request: PrepareReq<'_> = decode(message)?;
            assert_eq!(request.nt_device_path, "");
            json!({
                "volume_path": request.volume_path,
                "use_header": request.use_header,
                "use_footer": request.use_footer,
                "metadata_size": request.metadata_size,
                "vmk": blob(request.vmk),
                "metadata_block": blob(request.metadata_block),
                "is_os_volume": request.is_os_volume,
            })
        }
        "JvckVolumeAttachReq" => {
            let request: AttachReq<'_> = decode(message)?;
            json!({
                "volume_path": request.volume_path,
                "vmk": blob(request.vmk),
                "use_header": request.use_header,
                "use_footer": request.use_footer,
                "metadata_size": request.metadata_size,
            })
        }
        "BenchAesReq" => json!({ "size_bytes": decode::<BenchReq>(message)?.size_bytes }),
        other => panic!("{other}"),
    })
}

#[test]
fn requests_are_accepted_and_refused_as_recorded() {
    let vectors = vectors!("msgpack_decode_tolerance.json");
    let cases = cases(&vectors, "cases");
    assert_eq!(cases.len(), 45);
    for case in cases {
        let (mut message, name) = (bytes(case, "input"), text(case, "name"));
        match fields_of(text(case, "type"), &mut message) {
            Ok(fields) => {
                assert_eq!(case["reference"]["accepted"], true, "{name}");
                assert_eq!(fields, case["reference"]["fields"], "{name}");
            }
            Err(error) => {
                assert_eq!(case["reference"]["accepted"], false, "{name}: {error}");
                assert!(matches!(error, VckError::Malformed(_) | VckError::MsgpackDecode(_)), "{name}: {error:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_round_trip_in_every_byte_form(
        path in "[ -~]{0,40}",
        vmk in proptest::collection::vec(any::<u8>(), 0..80),
        counts: (u32, u32, u32),
        wide: bool,
        as_array: bool,
    ) {
        let request = AttachReq {
            volume_path: &path,
            vmk: &vmk,
            use_header: counts.0,
            use_footer: counts.1,
            metadata_size: counts.2,
            nt_device_path: "",
            raw_partition_path: &path,
        };
        let mut message = request_bytes(&request);
        if as_array {
            let bin = [&[0xC4, u8::try_from(vmk.len()).unwrap()], &vmk[..]].concat();
            let at = 1 + 12 + 1 + usize::from(path.len() > 31) + path.len() + 4;
            prop_assert_eq!(&message[at..at + bin.len()], &bin[..]);
            let mut array = if vmk.len() < 16 && !wide {
                vec![0x90 | u8::try_from(vmk.len()).unwrap()]
            } else {
                vec![0xDC, 0, u8::try_from(vmk.len()).unwrap()]
            };
            for &byte in &vmk {
                match (byte, wide) {
                    (_, true) => array.extend([0xD1, 0, byte]),
                    (0..=0x7F, false) => array.push(byte),
                    (_, false) => array.extend([0xCC, byte]),
                }
            }
            message.splice(at..at + bin.len(), array);
        }
        let len = message.len();
        {
            let decoded: AttachReq<'_> = decode(&mut message).unwrap();
            prop_assert_eq!(decoded.volume_path, &path);
            prop_assert_eq!(decoded.vmk, &vmk[..]);
            prop_assert_eq!((decoded.use_header, decoded.use_footer, decoded.metadata_size), counts);
            prop_assert_eq!(decoded.raw_partition_path, &path);
        }
        prop_assert_eq!(message.len(), len);
    }

    #[test]
    fn no_bytes_whatever_do_more_than_fail(mut message in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode::<PrepareReq<'_>>(&mut message.clone()).map(|_| ());
        let _ = vck_common::handover::decode_locator(&message);
        let _ = vck_common::handover::decode_payload(&mut message.clone()).map(|_| ());
        let _ = for_each_volume(&message, |_| ());
        // Steered into the field that is rewritten in place.
        message.splice(0..0, hex("81a3766d6b"));
        let before = message.len();
        let _ = decode::<AttachReq<'_>>(&mut message).map(|_| ());
        prop_assert_eq!(message.len(), before);
    }
}
