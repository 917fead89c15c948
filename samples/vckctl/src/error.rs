//! What went wrong, on what, and what to do about it; and the exit code that says the same to scripts.

use std::fmt;

use vck_common::{NtStatus, VckError};

use crate::meaning;

/// Exit codes. The numbers are part of the command line's contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Anything without a code of its own.
    Failure = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// The volume is not attached, or has no metadata.
    NotAttached = 3,
    /// The key does not open the volume.
    WrongKey = 4,
    /// Files are open on the volume, or another program works on the image.
    InUse = 5,
    /// Administrator rights are missing.
    Denied = 6,
    /// The file system leaves no room for the metadata.
    NoRoom = 7,
    /// The volume is attached already, or has metadata that would be destroyed.
    Conflict = 8,
}

/// The table of `--help`.
pub(crate) const EXIT_CODES: &str = "Exit codes:
  0  done
  1  failure (also: a broken rule that the simulator's verifier found)
  2  wrong usage
  3  the volume is not attached, or has no metadata
  4  wrong key
  5  in use: files are open on the volume, or another program works on the image
  6  access denied: run as administrator
  7  no room for the metadata: shrink the file system, not the partition
  8  already attached, or other metadata is in the way";

/// How the driver refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The status, where the transport shows it.
    pub(crate) status: Option<NtStatus>,
    /// The Win32 code.
    pub(crate) win32: Option<u32>,
}

impl Fault {
    /// From a status.
    #[cfg(any(not(windows), test))]
    pub(crate) const fn from_status(status: NtStatus) -> Self {
        Self { status: Some(status), win32: status.win32() }
    }

    /// From a Win32 code alone.
    #[cfg(any(windows, test))]
    pub(crate) const fn from_win32(code: u32) -> Self {
        Self { status: None, win32: Some(code) }
    }

    /// From a library error.
    pub(crate) const fn of(error: VckError) -> Self {
        let status = error.status();
        Self { status: Some(status), win32: status.win32() }
    }

    /// The condition, as far as it can be told.
    pub(crate) fn condition(self) -> Option<NtStatus> {
        self.status.or_else(|| self.win32.and_then(meaning::status_of_win32))
    }

    fn exit(self) -> Exit {
        match self.condition() {
            Some(NtStatus::OBJECT_NAME_NOT_FOUND | NtStatus::NOT_FOUND) => Exit::NotAttached,
            Some(NtStatus::WRONG_PASSWORD) => Exit::WrongKey,
            Some(NtStatus::SHARING_VIOLATION) => Exit::InUse,
            Some(NtStatus::ACCESS_DENIED) => Exit::Denied,
            Some(NtStatus::DISK_FULL) => Exit::NoRoom,
            Some(NtStatus::OBJECT_NAME_COLLISION | NtStatus::OBJECTID_EXISTS) => Exit::Conflict,
            _ => Exit::Failure,
        }
    }

    fn meaning(self) -> (&'static str, &'static str) {
        let known = self.condition().and_then(meaning::of_status);
        known.map_or(("the driver refused", "look at the driver's log"), |known| (known.what, known.advice))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, self.win32) {
            (Some(status), Some(code)) => write!(f, "{status}, Win32 {code}"),
            (Some(status), None) => write!(f, "{status}"),
            (None, Some(code)) => write!(f, "Win32 {code}"),
            (None, None) => f.write_str("no code"),
        }
    }
}

/// A command's failure.
#[derive(Debug)]
pub(crate) struct CtlError {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What happened, and on what.
    what: String,
    /// What to do.
    advice: Option<String>,
    /// The driver's answer, if it was the driver.
    fault: Option<Fault>,
}

/// Result of a command.
pub(crate) type CtlResult<T> = Result<T, CtlError>;

impl CtlError {
    /// A failure with an exit code.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), advice: None, fault: None }
    }

    /// A failure without a code of its own.
    pub(crate) fn failure(what: impl Into<String>) -> Self {
        Self::new(Exit::Failure, what)
    }

    /// A command line that makes no sense.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// The same with a word on what to do.
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// The driver refused `action` on `target`.
    pub(crate) fn refused(action: &str, target: &str, fault: Fault) -> Self {
        let (what, advice) = fault.meaning();
        Self {
            exit: fault.exit(),
            what: format!("cannot {action} {target}: {what}"),
            advice: Some(advice.to_owned()),
            fault: Some(fault),
        }
    }

    /// A library error met while doing `action` on `target` without the driver.
    pub(crate) fn library(action: &str, target: &str, error: VckError) -> Self {
        let fault = Fault::of(error);
        Self {
            exit: fault.exit(),
            what: format!("cannot {action} {target}: {error}"),
            advice: None,
            fault: Some(fault),
        }
    }

    /// The operating system refused something about a file.
    pub(crate) fn file(action: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::failure(format!("cannot {action} {}: {error}", path.display()))
    }
}

impl fmt::Display for CtlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(fault) = self.fault {
            write!(f, " [{fault}]")?;
        }
        if let Some(advice) = &self.advice {
            write!(f, "\n  what to do: {advice}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_have_exit_codes_of_their_own() {
        let exit = |status| CtlError::refused("attach", "D:", Fault::from_status(status)).exit;
        assert_eq!(exit(NtStatus::OBJECT_NAME_NOT_FOUND), Exit::NotAttached);
        assert_eq!(exit(NtStatus::WRONG_PASSWORD), Exit::WrongKey);
        assert_eq!(exit(NtStatus::SHARING_VIOLATION), Exit::InUse);
        assert_eq!(exit(NtStatus::ACCESS_DENIED), Exit::Denied);
        assert_eq!(exit(NtStatus::DISK_FULL), Exit::NoRoom);
        assert_eq!(exit(NtStatus::OBJECT_NAME_COLLISION), Exit::Conflict);
        assert_eq!(exit(NtStatus::IO_DEVICE_ERROR), Exit::Failure);
    }

    #[test]
    fn a_win32_code_alone_tells_the_same_condition() {
        assert_eq!(Fault::from_win32(86).condition(), Some(NtStatus::WRONG_PASSWORD));
        assert_eq!(Fault::from_win32(31).condition(), None);
    }

    #[test]
    fn an_error_names_action_target_status_and_advice() {
        let fault = Fault::from_status(NtStatus::WRONG_PASSWORD);
        let text = CtlError::refused("attach", "disk.img", fault).to_string();
        for part in ["attach disk.img", "STATUS_WRONG_PASSWORD (0xC000006A)", "Win32 86", "what to do: give the key"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }
}
