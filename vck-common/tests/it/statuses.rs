//! The status of every error.

use vck_common::{Lba, NtStatus, VckError};

const ALL: [VckError; 32] = [
    VckError::InvalidData("x"),
    VckError::ValidationFailed("x"),
    VckError::Unsupported("x"),
    VckError::NotFound("x"),
    VckError::PermissionDenied("x"),
    VckError::SizeMismatch { expected: 512, actual: 1 },
    VckError::SignatureMismatch,
    VckError::ChecksumMismatch,
    VckError::CryptoFailed("x"),
    VckError::MsgpackEncode("x"),
    VckError::MsgpackDecode("x"),
    VckError::Io("x"),
    VckError::AccessDenied,
    VckError::UnknownControl,
    VckError::NotAttached,
    VckError::AlreadyAttached,
    VckError::WrongKey,
    VckError::BadBlock("x"),
    VckError::Malformed("x"),
    VckError::VolumeInUse,
    VckError::NoRoom("x"),
    VckError::NotAVolume,
    VckError::NoMemory,
    VckError::BufferTooSmall { needed: 9 },
    VckError::Conflict("x"),
    VckError::ContradictsRequest("x"),
    VckError::WrongState("x"),
    VckError::Fenced,
    VckError::Device { status: NtStatus::CRC_ERROR, lba: Some(Lba::new(7)) },
    VckError::Busy,
    VckError::Cancelled,
    VckError::Removed,
];

#[test]
fn every_error_has_a_named_error_status_and_a_text() {
    for error in ALL {
        let status = error.status();
        assert!(!status.is_success(), "{error:?}");
        assert!(status.name().is_some_and(|name| name.starts_with("STATUS_")), "{error:?}");
        assert!(status.win32().is_some_and(|code| code != 0), "{error:?}");
        assert!(error.to_string().len() > 10, "{error:?}");
    }
}

#[test]
fn the_documented_conditions_have_their_statuses() {
    for (error, status) in [
        (VckError::AccessDenied, 0xC000_0022),
        (VckError::UnknownControl, 0xC000_0010),
        (VckError::Malformed("x"), 0xC000_000D),
        (VckError::MsgpackDecode("x"), 0xC000_000D),
        (VckError::NotAttached, 0xC000_0034),
        (VckError::AlreadyAttached, 0xC000_0035),
        (VckError::Unsupported("x"), 0xC000_00BB),
        (VckError::BufferTooSmall { needed: 1 }, 0xC000_0023),
    ] {
        assert_eq!(error.status().as_u32(), status, "{error:?}");
    }
    let lower = NtStatus::from_u32(0xC000_0185);
    assert_eq!(VckError::Device { status: lower, lba: None }.status(), lower, "a lower status is kept");
}

#[test]
fn conditions_that_need_different_actions_share_no_status() {
    let apart = [
        VckError::WrongKey,
        VckError::BadBlock("x"),
        VckError::Malformed("x"),
        VckError::VolumeInUse,
        VckError::NoRoom("x"),
        VckError::AlreadyAttached,
        VckError::NotAVolume,
    ];
    for (index, one) in apart.iter().enumerate() {
        for other in &apart[index + 1..] {
            assert_ne!(one.status(), other.status(), "{one:?} and {other:?}");
        }
    }
}

#[test]
fn statuses_are_shown_by_name_and_number() {
    assert_eq!(NtStatus::ACCESS_DENIED.to_string(), "STATUS_ACCESS_DENIED (0xC0000022)");
    assert_eq!(format!("{:?}", NtStatus::SUCCESS), "STATUS_SUCCESS (0x00000000)");
    assert_eq!(NtStatus::from_u32(0xDEAD_BEEF).to_string(), "NTSTATUS (0xDEADBEEF)");
    assert!(NtStatus::PENDING.is_success() && !NtStatus::BUFFER_OVERFLOW.is_success());
    assert!(NtStatus::ACCESS_DENIED.is_error() && !NtStatus::BUFFER_OVERFLOW.is_error());
    let device = VckError::Device { status: NtStatus::CRC_ERROR, lba: Some(Lba::new(7)) };
    assert_eq!(device.to_string(), "the device failed at sector 7: STATUS_CRC_ERROR (0xC000003F)");
}
