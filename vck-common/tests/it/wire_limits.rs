//! The limits of a message, one accepted and one refused on either side of each.

use vck_common::{
    VckError,
    wire::{AttachReq, PrepareReq, VolumeRequest, decode},
};

use crate::support::{error_of, hex};

const PATH: &str = "ab766f6c756d655f70617468a141";

fn malformed<T>(result: Result<T, VckError>) -> bool {
    matches!(error_of(result), VckError::Malformed(_))
}

/// A volume request with one unknown field more.
fn with_unknown(value: &[u8]) -> Vec<u8> {
    [&[0x82], &hex(PATH)[..], b"\xA1x", value].concat()
}

#[test]
fn depth() {
    let nested = |containers: usize| with_unknown(&[vec![0x91; containers], vec![0xC0]].concat());
    assert!(decode::<VolumeRequest<'_>>(&mut nested(7)).is_ok());
    assert!(malformed(decode::<VolumeRequest<'_>>(&mut nested(8))));
    assert!(malformed(decode::<VolumeRequest<'_>>(&mut nested(60_000))));
}

#[test]
fn entries() {
    let array = |count: u16| [&[0xDC], &count.to_be_bytes()[..], &vec![0; usize::from(count)]].concat();
    assert!(decode::<VolumeRequest<'_>>(&mut with_unknown(&array(64))).is_ok());
    assert!(malformed(decode::<VolumeRequest<'_>>(&mut with_unknown(&array(65)))));
    let map = |entries: u8| {
        let mut message = [&[0xDE, 0, entries], &hex(PATH)[..]].concat();
        for number in 1..entries {
            message.extend([0xA1, 0x20 + number, 0]);
        }
        message
    };
    assert!(decode::<VolumeRequest<'_>>(&mut map(64)).is_ok());
    assert!(malformed(decode::<VolumeRequest<'_>>(&mut map(65))));
    // A count that no buffer of this size can hold.
    assert!(malformed(decode::<VolumeRequest<'_>>(&mut with_unknown(&hex("ddffffffff")))));
    assert!(malformed(decode::<VolumeRequest<'_>>(&mut with_unknown(&hex("dfffffffff")))));
}

#[test]
fn strings_and_lengths() {
    let string = |len: u16| [&[0xDA], &len.to_be_bytes()[..], &vec![b'x'; usize::from(len)]].concat();
    assert!(decode::<VolumeRequest<'_>>(&mut with_unknown(&string(4096))).is_ok());
    assert!(malformed(decode::<VolumeRequest<'_>>(&mut with_unknown(&string(4097)))));
    for truncated in ["c403aabb", "c6ffffffff", "dbffffffff", "a5616263", "cd01", "c5", "c1", "d40102"] {
        assert!(malformed(decode::<VolumeRequest<'_>>(&mut with_unknown(&hex(truncated)))), "{truncated}");
    }
}

#[test]
fn message_length() {
    let mut message = [&[0x81], &hex(PATH)[..]].concat();
    message.resize(65_536, 0);
    assert!(decode::<VolumeRequest<'_>>(&mut message).is_ok());
    message.push(0);
    assert!(malformed(decode::<VolumeRequest<'_>>(&mut message)));
}

#[test]
fn byte_fields_as_arrays() {
    let request = |count: u16, element: &[u8]| {
        let mut message = [&[0x82], &hex(PATH)[..], b"\xA3vmk\xDC", &count.to_be_bytes()].concat();
        (0..count).for_each(|_| message.extend(element));
        message
    };
    let mut message = request(4096, &[0xCC, 0xFF]);
    assert_eq!(decode::<AttachReq<'_>>(&mut message).unwrap().vmk, [0xFF; 4096]);
    assert!(malformed(decode::<AttachReq<'_>>(&mut request(4097, &[1]))));
    for element in ["cd0100", "ff", "d0ff", "c0", "c3", "ca00000000", "a161", "9101", "d3ffffffffffffffff"] {
        assert!(malformed(decode::<AttachReq<'_>>(&mut request(3, &hex(element)))), "{element}");
    }
    let block = [&[0x82], &hex(PATH)[..], b"\xAEmetadata_block\xDC\x02\x00", &[9; 512]].concat();
    assert_eq!(decode::<PrepareReq<'_>>(&mut block.clone()).unwrap().metadata_block, [9; 512]);
    // The same length in a field that holds no bytes.
    assert!(malformed(decode::<PrepareReq<'_>>(&mut with_unknown(&[&[0xDC, 2, 0], &[9; 512][..]].concat()))));
}

#[test]
fn byte_fields_by_position_and_by_number() {
    let positional = [&[0x92, 0xA1, b'A', 0x93, 1, 2], &hex("ccc8")[..]].concat();
    assert_eq!(decode::<AttachReq<'_>>(&mut positional.clone()).unwrap().vmk, [1, 2, 200]);
    let numbered = [&[0x82, 0x00, 0xA1, b'A', 0x01, 0x92, 0x7F], &hex("ccff")[..]].concat();
    assert_eq!(decode::<AttachReq<'_>>(&mut numbered.clone()).unwrap().vmk, [127, 255]);
}

#[test]
fn rewriting_an_array_leaves_no_second_copy_behind() {
    let key: Vec<u8> = (200..232).collect();
    let mut message = [&[0x82], &b"\xA3vmk\xDC\x00\x20"[..]].concat();
    for &byte in &key {
        message.extend([0xCC, byte]);
    }
    message.extend(hex(PATH));
    {
        let request: AttachReq<'_> = decode(&mut message).unwrap();
        assert_eq!((request.vmk, request.volume_path), (&key[..], "A"));
    }
    let end = message.windows(2).rposition(|pair| pair == b"\xA1A").unwrap() + 2;
    assert_eq!(end, message.len() - 33, "32 prefixes and one header byte were saved");
    assert!(message[end..].iter().all(|&byte| byte == 0));
    assert_eq!(message.windows(4).filter(|window| *window == &key[28..]).count(), 1);
}

#[test]
fn every_truncation_is_refused() {
    let whole = hex(crate::support::text(&crate::support::vectors!("msgpack_go_sdk.json")["requests"][5], "msgpack"));
    assert!(decode::<PrepareReq<'_>>(&mut whole.clone()).is_ok());
    for len in 0..whole.len() {
        assert!(malformed(decode::<PrepareReq<'_>>(&mut whole[..len].to_vec())), "{len} bytes");
    }
}
