//! NTSTATUS values that the framework uses, by name.

use core::fmt;

/// An NTSTATUS value.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct NtStatus(pub i32);

macro_rules! statuses {
    ($($name:ident = $value:literal, $win32:literal;)+) => {
        impl NtStatus {
            $(
                #[doc = concat!("`STATUS_", stringify!($name), "`.")]
                pub const $name: Self = Self::from_u32($value);
            )+

            /// The symbolic name, for the values this crate knows.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.as_u32() {
                    $($value => Some(concat!("STATUS_", stringify!($name))),)+
                    _ => None,
                }
            }

            /// The Win32 code for the same condition, for the values this crate knows. A tool shows it where only the
            /// status is at hand; what `GetLastError` answers on a given Windows is decided by that Windows.
            #[must_use]
            pub const fn win32(self) -> Option<u32> {
                match self.as_u32() {
                    $($value => Some($win32),)+
                    _ => None,
                }
            }
        }
    };
}

// Values as in ntstatus.h; behind each, the Win32 code of winerror.h that stands for the same condition.
statuses! {
    SUCCESS = 0x0000_0000, 0;
    TIMEOUT = 0x0000_0102, 258;
    PENDING = 0x0000_0103, 997;
    BUFFER_OVERFLOW = 0x8000_0005, 234;
    DEVICE_BUSY = 0x8000_0011, 170;
    VERIFY_REQUIRED = 0x8000_0016, 1110;
    NO_MORE_ENTRIES = 0x8000_001A, 259;
    UNSUCCESSFUL = 0xC000_0001, 31;
    NOT_IMPLEMENTED = 0xC000_0002, 1;
    INVALID_HANDLE = 0xC000_0008, 6;
    INVALID_PARAMETER = 0xC000_000D, 87;
    NO_SUCH_DEVICE = 0xC000_000E, 2;
    INVALID_DEVICE_REQUEST = 0xC000_0010, 1;
    END_OF_FILE = 0xC000_0011, 38;
    NO_MEDIA_IN_DEVICE = 0xC000_0013, 1112;
    NONEXISTENT_SECTOR = 0xC000_0015, 27;
    MORE_PROCESSING_REQUIRED = 0xC000_0016, 234;
    ACCESS_DENIED = 0xC000_0022, 5;
    BUFFER_TOO_SMALL = 0xC000_0023, 122;
    OBJECT_TYPE_MISMATCH = 0xC000_0024, 6;
    INVALID_PARAMETER_MIX = 0xC000_0030, 87;
    DISK_CORRUPT_ERROR = 0xC000_0032, 1393;
    OBJECT_NAME_INVALID = 0xC000_0033, 123;
    OBJECT_NAME_NOT_FOUND = 0xC000_0034, 2;
    OBJECT_NAME_COLLISION = 0xC000_0035, 183;
    OBJECT_PATH_NOT_FOUND = 0xC000_003A, 3;
    DATA_ERROR = 0xC000_003E, 23;
    CRC_ERROR = 0xC000_003F, 23;
    SHARING_VIOLATION = 0xC000_0043, 32;
    DELETE_PENDING = 0xC000_0056, 5;
    PRIVILEGE_NOT_HELD = 0xC000_0061, 1314;
    WRONG_PASSWORD = 0xC000_006A, 86;
    DISK_FULL = 0xC000_007F, 112;
    INSUFFICIENT_RESOURCES = 0xC000_009A, 1450;
    DEVICE_DATA_ERROR = 0xC000_009C, 23;
    DEVICE_NOT_CONNECTED = 0xC000_009D, 1167;
    MEDIA_WRITE_PROTECTED = 0xC000_00A2, 19;
    DEVICE_NOT_READY = 0xC000_00A3, 21;
    IO_TIMEOUT = 0xC000_00B5, 121;
    NOT_SUPPORTED = 0xC000_00BB, 50;
    DEVICE_DOES_NOT_EXIST = 0xC000_00C0, 55;
    BAD_DEVICE_TYPE = 0xC000_00CB, 66;
    INTERNAL_ERROR = 0xC000_00E5, 1359;
    CANCELLED = 0xC000_0120, 995;
    UNRECOGNIZED_VOLUME = 0xC000_014F, 1005;
    INVALID_DEVICE_STATE = 0xC000_0184, 22;
    IO_DEVICE_ERROR = 0xC000_0185, 1117;
    DATA_NOT_ACCEPTED = 0xC000_021B, 592;
    NOT_FOUND = 0xC000_0225, 1168;
    OBJECTID_EXISTS = 0xC000_022B, 5010;
    ENCRYPTION_FAILED = 0xC000_028A, 6000;
    DEVICE_REMOVED = 0xC000_02B6, 1617;
    SHUTDOWN_IN_PROGRESS = 0xC000_02FE, 1115;
}

impl NtStatus {
    /// From the unsigned form in which the values are usually written.
    #[must_use]
    pub const fn from_u32(value: u32) -> Self {
        Self(value.cast_signed())
    }

    /// The unsigned form.
    #[must_use]
    pub const fn as_u32(self) -> u32 {
        self.0.cast_unsigned()
    }

    /// `NT_SUCCESS`: success and informational values.
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 >= 0
    }

    /// `NT_ERROR`: neither success, information nor warning.
    #[must_use]
    pub const fn is_error(self) -> bool {
        self.as_u32() >= 0xC000_0000
    }

    /// Whether a device that answers a flush with this has none.
    #[must_use]
    pub const fn is_no_flush(self) -> bool {
        matches!(self, Self::NOT_SUPPORTED | Self::INVALID_DEVICE_REQUEST | Self::NOT_IMPLEMENTED)
    }
}

impl fmt::Display for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:08X})", self.name().unwrap_or("NTSTATUS"), self.as_u32())
    }
}

impl fmt::Debug for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
