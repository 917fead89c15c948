//! The tables of `docs/admin-guide.md` say what the code does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use vck_common::{NtStatus, VckError};
use vck_windrv::engine::State;

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of the table after the mark `<!-- table: name -->`, without its two heading lines.
fn table(name: &str) -> Vec<Vec<String>> {
    let document = text("docs/admin-guide.md");
    let mark = format!("<!-- table: {name} -->\n");
    let (_, rest) = document.split_once(&mark).unwrap_or_else(|| panic!("no table {name}"));
    let rows = rest.lines().take_while(|line| line.starts_with('|')).skip(2);
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
    rows.map(cells).collect()
}

/// One of every error. A new variant stops the build in `name`; it then has to be added here and to the guide.
const ERRORS: &[VckError] = &[
    VckError::InvalidData(""),
    VckError::ValidationFailed(""),
    VckError::Unsupported(""),
    VckError::NotFound(""),
    VckError::PermissionDenied(""),
    VckError::SizeMismatch { expected: 0, actual: 0 },
    VckError::SignatureMismatch,
    VckError::ChecksumMismatch,
    VckError::CryptoFailed(""),
    VckError::MsgpackEncode(""),
    VckError::MsgpackDecode(""),
    VckError::Io(""),
    VckError::AccessDenied,
    VckError::UnknownControl,
    VckError::NotAttached,
    VckError::AlreadyAttached,
    VckError::WrongKey,
    VckError::BadBlock(""),
    VckError::Malformed(""),
    VckError::VolumeInUse,
    VckError::NoRoom(""),
    VckError::NotAVolume,
    VckError::NoMemory,
    VckError::BufferTooSmall { needed: 0 },
    VckError::Conflict(""),
    VckError::ContradictsRequest(""),
    VckError::WrongState(""),
    VckError::Fenced,
    VckError::Busy,
    VckError::Cancelled,
    VckError::Removed,
    VckError::Device { status: NtStatus::IO_TIMEOUT, lba: None },
];

/// The variant's name; nothing for the error that carries the device's own status.
fn name(error: VckError) -> Option<&'static str> {
    use VckError as E;
    Some(match error {
        E::InvalidData(_) => "InvalidData",
        E::ValidationFailed(_) => "ValidationFailed",
        E::Unsupported(_) => "Unsupported",
        E::NotFound(_) => "NotFound",
        E::PermissionDenied(_) => "PermissionDenied",
        E::SizeMismatch { .. } => "SizeMismatch",
        E::SignatureMismatch => "SignatureMismatch",
        E::ChecksumMismatch => "ChecksumMismatch",
        E::CryptoFailed(_) => "CryptoFailed",
        E::MsgpackEncode(_) => "MsgpackEncode",
        E::MsgpackDecode(_) => "MsgpackDecode",
        E::Io(_) => "Io",
        E::AccessDenied => "AccessDenied",
        E::UnknownControl => "UnknownControl",
        E::NotAttached => "NotAttached",
        E::AlreadyAttached => "AlreadyAttached",
        E::WrongKey => "WrongKey",
        E::BadBlock(_) => "BadBlock",
        E::Malformed(_) => "Malformed",
        E::VolumeInUse => "VolumeInUse",
        E::NoRoom(_) => "NoRoom",
        E::NotAVolume => "NotAVolume",
        E::NoMemory => "NoMemory",
        E::BufferTooSmall { .. } => "BufferTooSmall",
        E::Conflict(_) => "Conflict",
        E::ContradictsRequest(_) => "ContradictsRequest",
        E::WrongState(_) => "WrongState",
        E::Fenced => "Fenced",
        E::Busy => "Busy",
        E::Cancelled => "Cancelled",
        E::Removed => "Removed",
        E::Device { .. } => return None,
    })
}

#[test]
fn every_error_has_its_row() {
    let mut rows = BTreeMap::new();
    for row in table("statuses") {
        for variant in row[2].split_whitespace() {
            let first = rows.insert(variant.to_owned(), (row[0].clone(), row[1].clone()));
            assert!(first.is_none(), "{variant} is in two rows");
        }
        assert!(row.len() == 5 && !row[3].is_empty() && !row[4].is_empty(), "{row:?}");
    }
    for error in ERRORS {
        let Some(variant) = name(*error) else { continue };
        let status = error.status();
        let documented = rows.remove(variant).unwrap_or_else(|| panic!("{variant} is not in the guide"));
        let win32 = status.win32().map(|code| code.to_string());
        assert_eq!((status.name(), win32), (Some(&*documented.0), Some(documented.1.clone())), "{variant}");
    }
    assert!(rows.is_empty(), "not in the code: {rows:?}");
}

#[test]
fn states_have_their_numbers() {
    let states = [State::Idle, State::Encrypting, State::Decrypting, State::Paused, State::Faulted];
    let code: Vec<_> = states.map(|state| (state.wire_code().to_string(), format!("{state:?}"))).into();
    let documented: Vec<_> = table("states").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(documented, code);
}

/// The tool's own table is what `vckctl --help` prints.
#[test]
fn exit_codes_are_those_of_the_tool() {
    let source = text("samples/vckctl/src/error.rs");
    let (_, help) = source.split_once("\"Exit codes:\n").expect("the tool's table");
    let (help, _) = help.split_once("\";").expect("its end");
    let tool: Vec<_> = help.lines().filter_map(|line| line.trim().split_once("  ")).collect();
    let rows = table("exit codes");
    let documented: Vec<_> = rows.iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    assert_eq!(documented, tool);
}
