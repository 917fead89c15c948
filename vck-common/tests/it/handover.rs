//! `handover.json`. Its loader configuration (`vck_json`) is the boot loader's, which is not part of this crate.

use vck_common::{
    VckError, guid_from_windows_bytes,
    handover::{
        HandoverLocator, HandoverPayload, LOCATOR_MAGIC, LOCATOR_VERSION, VARIABLE_GUID, VARIABLE_NAME, decode_locator,
        decode_payload, encode_locator, encode_payload,
    },
};

use crate::support::{array, bytes, cases, error_of, number, text, vectors};

#[test]
fn the_variable_is_where_the_loader_puts_it() {
    let vectors = vectors!("handover.json");
    assert_eq!(VARIABLE_NAME, text(&vectors, "variable_name"));
    assert_eq!(VARIABLE_GUID, array::<16>(&vectors, "variable_guid_memory_bytes"));
    assert_eq!(guid_from_windows_bytes(VARIABLE_GUID).to_string(), text(&vectors, "variable_guid_text"));
    assert_eq!(u64::from(LOCATOR_MAGIC), number(&vectors, "locator_magic"));
    assert_eq!(u64::from(LOCATOR_VERSION), number(&vectors, "locator_version"));
}

#[test]
fn locators_match() {
    let vectors = vectors!("handover.json");
    for case in cases(&vectors, "locators") {
        let locator = HandoverLocator::new(number(case, "address"), number(case, "length"));
        let expected = bytes(case, "msgpack");
        let mut out = vec![0; expected.len()];
        assert_eq!(encode_locator(&locator, &mut out).unwrap(), expected.len());
        assert_eq!(out, expected, "{}", case["name"]);
        assert_eq!(decode_locator(&expected).unwrap(), locator);
        let needed = expected.len();
        assert_eq!(encode_locator(&locator, &mut out[1..]), Err(VckError::BufferTooSmall { needed }));
    }
    for case in cases(&vectors, "locator_decode") {
        let expected = &case["reference"];
        match decode_locator(&bytes(case, "input")) {
            Ok(_) => assert_eq!(expected["ok"], true, "{}", case["name"]),
            Err(VckError::InvalidData(_)) => assert_eq!(expected["error"]["kind"], "InvalidData", "{}", case["name"]),
            Err(VckError::MsgpackDecode(_) | VckError::Malformed(_)) => {
                assert_eq!(expected["error"]["kind"], "MsgpackDecode", "{}", case["name"]);
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn payloads_match() {
    let vectors = vectors!("handover.json");
    for case in cases(&vectors, "payloads") {
        let (vmk, mut message) = (bytes(case, "vmk"), bytes(case, "msgpack"));
        let partition_guid = guid_from_windows_bytes(array(case, "guid_windows_memory_bytes"));
        assert_eq!(partition_guid.as_bytes(), &array::<16>(case, "guid_canonical_bytes"));
        assert_eq!(partition_guid.to_string(), text(case, "partition_guid"));
        let mut out = [0; 256];
        let len = encode_payload(&HandoverPayload { partition_guid, vmk: &vmk }, &mut out).unwrap();
        assert_eq!(out[..len], message, "{}", case["name"]);
        let decoded = decode_payload(&mut message).unwrap().unwrap();
        assert_eq!((decoded.partition_guid, decoded.vmk), (partition_guid, &vmk[..]), "{}", case["name"]);
    }
    for case in cases(&vectors, "payload_decode") {
        // The recorded reader refuses bin, which a loader may just as well send.
        let accepted = case["reference"]["ok"] == true || case["name"] == "vmk_bin";
        let mut input = bytes(case, "input");
        match decode_payload(&mut input) {
            Ok(payload) => assert!(accepted && payload.is_some(), "{}", case["name"]),
            Err(error) => assert!(!accepted, "{}: {error}", case["name"]),
        }
    }
}

#[test]
fn a_payload_of_zeros_was_already_taken() {
    assert!(decode_payload(&mut [0; 73]).unwrap().is_none());
    assert!(decode_payload(&mut []).unwrap().is_none());
    assert!(matches!(error_of(decode_payload(&mut [0, 0, 1])), VckError::Malformed(_)));
}
