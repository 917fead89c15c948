//! Messages: requests, responses, the handover. The first byte chooses.

use vck_common::{
    NtPath, VckError, VckResult, bpb, handover,
    wire::{
        AttachReq, AttachResp, BenchReq, BenchResp, EmptyResp, PrepareReq, PrepareResp, ProgressEvent, Request,
        VolumeRequest, VolumeStatus, decode, decode_response, encode_request, for_each_volume, scan,
    },
};

pub fn run(input: &[u8]) {
    let Some((&kind, message)) = input.split_first() else { return };
    let mut copy = message.to_vec();
    match kind % 12 {
        0 => request::<VolumeRequest<'_>>(&mut copy),
        1 => request::<PrepareReq<'_>>(&mut copy),
        2 => request::<AttachReq<'_>>(&mut copy),
        3 => request::<BenchReq>(&mut copy),
        4 => response(decode_response::<PrepareResp<'_>>(message)),
        5 => response(decode_response::<AttachResp>(message)),
        6 => response(decode_response::<VolumeStatus<'_>>(message)),
        7 => response(decode_response::<ProgressEvent<'_>>(message)),
        8 => {
            response(decode_response::<BenchResp>(message));
            response(decode_response::<EmptyResp>(message));
        }
        9 => list(message),
        10 => handed_over(message, &mut copy),
        _ => others(message),
    }
}

/// A response either decodes or is refused.
fn response<T>(decoded: VckResult<T>) {
    if let Err(error) = decoded {
        assert!(matches!(error, VckError::Malformed(_) | VckError::MsgpackDecode(_)), "{error}");
    }
}

/// What decodes encodes, and the encoding keeps the limits.
fn request<'a, T: Request<'a>>(message: &'a mut [u8]) {
    let Ok(request) = decode::<T>(message) else { return };
    let mut encoded = vec![0; 1 << 18];
    let len = encode_request(&request, &mut encoded).expect("there is room");
    assert!(scan::check(&encoded[..len], scan::MAX_ENTRIES) == Ok(len), "our own message breaks a limit");
}

fn list(message: &[u8]) {
    let mut entries = 0_usize;
    let outcome = for_each_volume(message, |_| entries += 1);
    assert!(outcome.is_err() || entries <= message.len());
}

fn handed_over(message: &[u8], copy: &mut [u8]) {
    if let Ok(locator) = handover::decode_locator(message) {
        assert!(locator.validate().is_ok());
    }
    if let Ok(Some(payload)) = handover::decode_payload(copy) {
        assert!(payload.vmk.len() <= message.len());
    }
}

fn others(message: &[u8]) {
    if let Ok(len) = scan::check(message, scan::MAX_ENTRIES) {
        assert!(len <= message.len() && len <= scan::MAX_MESSAGE);
    }
    let _ = bpb::recognise(message);
    if let Ok(text) = core::str::from_utf8(message) {
        let path = NtPath::from_volume_path(text);
        let mut out = vec![0; path.len()];
        assert!(path.write_to(&mut out) == Some(&*path.to_string()));
    }
}
