//! `hkdf.json`, `metadata_blocks.json`, `metadata_decode_cases.json`.

use serde_json::Value;
use vck_common::{
    DataSector, VckError, VolumeState,
    jvck::{JvckCbcCodec, JvckHeader, JvckSecrets, MetadataCodec, block_salt, derive_keys},
};

use crate::support::{array, bytes, cases, error_of, number, small, text, vectors};

#[test]
fn derived_keys_match() {
    for case in cases(&vectors!("hkdf.json"), "cases") {
        let keys = derive_keys(&array(case, "volume_id"), &array(case, "salt"), &bytes(case, "vmk")).unwrap();
        assert_eq!(keys.mac_key.expose(), &array::<32>(case, "mac_key"), "{}", case["name"]);
        assert_eq!(keys.enc_key.expose(), &array::<32>(case, "enc_key"), "{}", case["name"]);
        assert_eq!(keys.enc_iv.expose(), &array::<16>(case, "enc_iv"), "{}", case["name"]);
    }
}

fn header(inputs: &Value) -> JvckHeader {
    JvckHeader {
        vendor_id: inputs["vendor_id_hex"]
            .as_str()
            .map_or_else(|| number(inputs, "vendor_id"), |_| number(inputs, "vendor_id_hex")),
        metadata_version: u16::try_from(small(inputs, "metadata_version")).unwrap(),
        vendor_version: u16::try_from(small(inputs, "vendor_version")).unwrap(),
        metadata_size: small(inputs, "metadata_size"),
        sector_size: small(inputs, "sector_size"),
        header_replica_count: u8::try_from(small(inputs, "header_replica_count")).unwrap(),
        footer_replica_count: u8::try_from(small(inputs, "footer_replica_count")).unwrap(),
        volume_id: array(inputs, "volume_id"),
        vendor_reserved: array(inputs, "vendor_reserved"),
    }
}

fn state(value: &Value) -> VolumeState {
    match text(value, "state") {
        "encrypt" => VolumeState::Encrypt,
        "decrypt" => VolumeState::Decrypt,
        other => panic!("unknown state {other}"),
    }
}

#[test]
fn blocks_seal_to_the_same_bytes_and_open_again() {
    for case in cases(&vectors!("metadata_blocks.json"), "cases") {
        let inputs = &case["inputs"];
        let (header, salt, vmk) = (header(inputs), array(inputs, "salt"), bytes(inputs, "vmk"));
        let secrets = JvckSecrets::copy_from(&array(inputs, "fvek_key1"), &array(inputs, "fvek_key2"));
        let offset = DataSector::new(number(inputs, "encrypted_offset"));
        let mut block = [0xEE; 512];
        JvckCbcCodec.seal(&header, &secrets, offset, state(inputs), &salt, &vmk, &mut block).unwrap();
        assert_eq!(block, array::<512>(case, "block"), "{}", case["name"]);

        assert_eq!(JvckHeader::parse(&block).unwrap(), header, "{}", case["name"]);
        assert_eq!(block_salt(&block).unwrap(), salt);
        let unsealed = JvckCbcCodec::unseal_block(&block, &vmk).ok().unwrap();
        assert_eq!((unsealed.encrypted_offset, unsealed.state), (offset, state(inputs)), "{}", case["name"]);
        assert_eq!(unsealed.secrets.fvek_key1.expose(), secrets.fvek_key1.expose());
        assert_eq!(unsealed.secrets.fvek_key2.expose(), secrets.fvek_key2.expose());
    }
}

#[test]
fn the_volume_id_is_shown_in_big_endian_order() {
    let case = &vectors!("metadata_blocks.json")["cases"][0];
    let header = JvckHeader::parse(&bytes(case, "block")).unwrap();
    assert_eq!(header.volume_guid().to_string(), "01020304-0506-0708-090a-0b0c0d0e0f10");
}

/// The class that the recorded behaviour gives an error. A wrong key and a bad payload were one class there.
fn kind(error: VckError) -> &'static str {
    match error {
        VckError::SizeMismatch { .. } => "SizeMismatch",
        VckError::SignatureMismatch => "SignatureMismatch",
        VckError::ChecksumMismatch => "ChecksumMismatch",
        VckError::WrongKey | VckError::BadBlock(_) => "ValidationFailed",
        other => panic!("unexpected {other:?}"),
    }
}

#[test]
fn good_and_bad_blocks_are_told_apart() {
    for case in cases(&vectors!("metadata_decode_cases.json"), "cases") {
        let (block, vmk, name) = (bytes(case, "block"), bytes(case, "vmk"), text(case, "name"));
        let expected = &case["reference_parse_header"];
        match JvckHeader::parse(&block) {
            Ok(header) => {
                assert_eq!(expected["ok"], true, "{name}");
                assert_eq!(u64::from(header.metadata_version), number(expected, "metadata_version"), "{name}");
                assert_eq!(u64::from(header.header_replica_count), number(expected, "header_replica_count"), "{name}");
                assert_eq!(u64::from(header.footer_replica_count), number(expected, "footer_replica_count"), "{name}");
                assert_eq!(header.metadata_size, small(expected, "metadata_size"), "{name}");
            }
            Err(error) => assert_eq!(kind(error), expected["error"]["kind"], "{name}"),
        }
        let expected = &case["reference_decrypt"];
        match JvckCbcCodec::unseal_block(&block, &vmk) {
            Ok(unsealed) => {
                assert_eq!(expected["ok"], true, "{name}");
                assert_eq!(unsealed.encrypted_offset.get(), number(expected, "encrypted_offset"), "{name}");
                assert_eq!(unsealed.state, state(expected), "{name}");
                assert_eq!(unsealed.secrets.fvek_key1.expose(), &array::<32>(expected, "fvek_key1"), "{name}");
                assert_eq!(unsealed.secrets.fvek_key2.expose(), &array::<32>(expected, "fvek_key2"), "{name}");
            }
            Err(error) => assert_eq!(kind(error), expected["error"]["kind"], "{name}"),
        }
    }
}

#[test]
fn a_wrong_key_is_not_reported_as_a_bad_block() {
    let block = bytes(&vectors!("metadata_decode_cases.json")["cases"][0], "block");
    let wrong = error_of(JvckCbcCodec::unseal_block(&block, b"wrong"));
    assert_eq!(wrong, VckError::WrongKey);
    let mut damaged = block;
    damaged[100] ^= 1;
    let damaged = error_of(JvckCbcCodec::unseal_block(&damaged, b"wrong"));
    assert_eq!(damaged, VckError::ChecksumMismatch);
    assert_ne!(wrong.status(), damaged.status());
}
