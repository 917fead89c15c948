//! What the driver's answers mean to whoever gave the command, and what to do about them.
//!
//! The table of statuses in `docs/admin-guide.md` has a row for each of these; a test compares the two.

use vck_common::NtStatus;

/// What a status means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meaning {
    status: NtStatus,
    /// What happened.
    pub(crate) what: &'static str,
    /// What to do.
    pub(crate) advice: &'static str,
    /// Whether its Win32 code stands for this condition alone, so that the code is enough to recognise it.
    by_win32: bool,
}

const fn known(status: NtStatus, what: &'static str, advice: &'static str) -> Meaning {
    Meaning { status, what, advice, by_win32: true }
}

/// One of several conditions that share a Win32 code.
const fn shared(status: NtStatus, what: &'static str, advice: &'static str) -> Meaning {
    Meaning { status, what, advice, by_win32: false }
}

const UNUSABLE: &str = "use a tool that matches the driver";
const LOG: &str = "look at the driver's log: the administrator's guide says how";
const AGAIN: &str = "try again";

const MEANINGS: &[Meaning] = &[
    known(
        NtStatus::OBJECT_NAME_NOT_FOUND,
        "the volume is not attached",
        "attach it first (data-volume attach), or check its name",
    ),
    known(
        NtStatus::NOT_FOUND,
        "no metadata was found at the ends of the volume",
        "if it was ever prepared, do NOT prepare it again: check that it is the right volume and has its former size; a \
         volume that was never prepared: data-volume prepare",
    ),
    known(NtStatus::WRONG_PASSWORD, "the key does not open this volume", "give the key it was prepared with"),
    known(NtStatus::SHARING_VIOLATION, "the volume is in use", "close all files on it and try again"),
    known(NtStatus::ACCESS_DENIED, "access denied", "run as administrator"),
    known(
        NtStatus::DISK_FULL,
        "the file system leaves no room for the metadata",
        "shrink the file system, not the partition: the administrator's guide says how",
    ),
    known(NtStatus::OBJECT_NAME_COLLISION, "the volume is already attached", "nothing needs to be done"),
    known(
        NtStatus::OBJECTID_EXISTS,
        "the volume has metadata of its own",
        "attach it; writing new metadata would destroy its keys",
    ),
    known(NtStatus::DISK_CORRUPT_ERROR, "the metadata is damaged", "look at it with `vckctl inspect`"),
    known(
        NtStatus::INVALID_DEVICE_STATE,
        "not possible in the volume's present state",
        "look at it with `vckctl status`",
    ),
    known(NtStatus::BAD_DEVICE_TYPE, "the path does not lead to a disk volume", "check the name"),
    known(NtStatus::DEVICE_BUSY, "another operation is under way", AGAIN),
    known(
        NtStatus::NOT_SUPPORTED,
        "the volume, the device or the request is not supported",
        "a volume without the filter: restart the machine. The volume of the running system and devices that cannot flush \
         are not encrypted. Otherwise look at the driver's log",
    ),
    known(NtStatus::INSUFFICIENT_RESOURCES, "out of memory", AGAIN),
    known(NtStatus::DEVICE_REMOVED, "the device is gone", "plug it in again and attach it"),
    known(NtStatus::DEVICE_NOT_READY, "the volume could not be opened at start", "attach it with its key"),
    known(NtStatus::CANCELLED, "the request was cancelled", AGAIN),
    known(NtStatus::DATA_NOT_ACCEPTED, "counts or sizes are outside of the format's limits", "use the defaults"),
    known(NtStatus::ENCRYPTION_FAILED, "the cipher or the source of random bytes failed", LOG),
    known(NtStatus::INTERNAL_ERROR, "an answer could not be encoded", "report it"),
    known(NtStatus::IO_DEVICE_ERROR, "the device failed", LOG),
    known(NtStatus::MEDIA_WRITE_PROTECTED, "the volume is write-protected", "lift the protection and try again"),
    known(NtStatus::BUFFER_TOO_SMALL, "the answer does not fit; nothing was done", UNUSABLE),
    known(NtStatus::INVALID_DEVICE_REQUEST, "the driver does not know this request", UNUSABLE),
    known(NtStatus::INVALID_PARAMETER, "the request is unusable", UNUSABLE),
    shared(NtStatus::INVALID_PARAMETER_MIX, "the metadata block and the request contradict each other", UNUSABLE),
    shared(
        NtStatus::DEVICE_DATA_ERROR,
        "a sector cannot be read",
        "copy what can be read; a sector that is written as a whole can be read again",
    ),
];

/// What `status` means; `None` for what this tool has no words for.
pub(crate) fn of_status(status: NtStatus) -> Option<&'static Meaning> {
    MEANINGS.iter().find(|meaning| meaning.status == status)
}

/// The status that a Win32 code stands for.
pub(crate) fn status_of_win32(code: u32) -> Option<NtStatus> {
    let known = MEANINGS.iter().find(|meaning| meaning.by_win32 && meaning.status.win32() == Some(code));
    known.map(|meaning| meaning.status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn every_status_of_the_guide_has_words_of_its_own() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/admin-guide.md");
        let guide = fs::read_to_string(path).expect("the guide");
        let (_, rest) = guide.split_once("<!-- table: statuses -->\n").expect("the table");
        let rows: Vec<&str> = rest.lines().take_while(|line| line.starts_with('|')).skip(2).collect();
        assert!(rows.len() > 20);
        for row in rows {
            let name = row.split('`').nth(1).expect("a status");
            let known = MEANINGS.iter().any(|meaning| meaning.status.to_string().starts_with(&format!("{name} ")));
            assert!(known, "{name}");
        }
    }

    #[test]
    fn a_win32_code_leads_back_to_one_status() {
        for meaning in MEANINGS.iter().filter(|meaning| meaning.by_win32) {
            let code = meaning.status.win32().expect("a code");
            assert_eq!(status_of_win32(code), Some(meaning.status), "{}", meaning.status);
        }
        assert_eq!(status_of_win32(31), None);
    }
}
