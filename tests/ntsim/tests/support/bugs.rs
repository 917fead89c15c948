//! How a driver of these tests is told which bug it is to have: the service has the bug's name.

use vck_ntsim::abi::PUNICODE_STRING;

/// Makes the list of a driver's bugs.
macro_rules! bugs {
    ($($(#[doc = $doc:literal])+ $bug:ident,)+) => {
        /// What a planted bug changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Bug { $($(#[doc = $doc])+ $bug),+ }

        impl Bug {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$bug),+];

            /// The service name, which is how the driver is told.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$bug => stringify!($bug)),+ }
            }

            /// The bug that the service at this registry path is to have; none when it has another name.
            unsafe fn of(path: PUNICODE_STRING) -> Self {
                // SAFETY: the caller passes DriverEntry's registry path.
                let named = |bug: &&Self| unsafe { crate::bugs::names(path, bug.name()) };
                Self::ALL.iter().find(named).copied().unwrap_or(Self::None)
            }
        }
    };
}
pub(crate) use bugs;

/// Whether the last part of the path is `name`.
pub(crate) unsafe fn names(path: PUNICODE_STRING, name: &str) -> bool {
    // SAFETY: the caller passes a valid string.
    let path = unsafe { *path };
    // SAFETY: a valid string has that many units.
    let units = unsafe { core::slice::from_raw_parts(path.Buffer, usize::from(path.Length / 2)) };
    units.iter().rev().take_while(|unit| **unit != u16::from(b'\\')).count() == name.len()
        && units.iter().rev().zip(name.bytes().rev()).all(|(unit, byte)| *unit == u16::from(byte))
}
