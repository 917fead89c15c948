//! Control codes of the control device.
//!
//! A code is `device type << 16 | access << 14 | function << 2 | method`. The I/O manager checks the access bits against
//! the handle before the driver sees the request.

/// `METHOD_BUFFERED`: input and output share one system buffer.
pub const METHOD_BUFFERED: u32 = 0;
/// `METHOD_IN_DIRECT`.
pub const METHOD_IN_DIRECT: u32 = 1;
/// `METHOD_OUT_DIRECT`.
pub const METHOD_OUT_DIRECT: u32 = 2;
/// `METHOD_NEITHER`.
pub const METHOD_NEITHER: u32 = 3;
/// `FILE_ANY_ACCESS`.
pub const FILE_ANY_ACCESS: u32 = 0;
/// `FILE_READ_ACCESS`.
pub const FILE_READ_ACCESS: u32 = 1;
/// `FILE_WRITE_ACCESS`.
pub const FILE_WRITE_ACCESS: u32 = 2;
/// `FILE_DEVICE_UNKNOWN`, the device type of the control device.
pub const FILE_DEVICE_VCK: u32 = 0x22;

/// Builds a control code, as `CTL_CODE` does.
#[must_use]
pub const fn ctl_code(device_type: u32, function: u32, method: u32, access: u32) -> u32 {
    (device_type << 16) | (access << 14) | (function << 2) | method
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident, $constant:ident = $value:literal: $function:literal, $access:ident, $admin:literal;)+) => {
        $(
            $(#[$doc])*
            pub const $constant: u32 = $value;

            // The literal is what clients send; the formula is what it must mean.
            const _: () = assert!(ctl_code(FILE_DEVICE_VCK, $function, METHOD_BUFFERED, $access) == $constant);
        )+

        /// A control that the driver knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum IoctlCode {
            $($(#[$doc])* $variant,)+
        }

        impl IoctlCode {
            /// Every control.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The control with this code.
            #[must_use]
            pub const fn from_u32(code: u32) -> Option<Self> {
                match code {
                    $($constant => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// The 32-bit code.
            #[must_use]
            pub const fn code(self) -> u32 {
                match self {
                    $(Self::$variant => $constant,)+
                }
            }

            /// The name as it appears in logs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($constant),)+
                }
            }

            /// True if the default policy asks for an administrator or a kernel-mode requestor.
            #[must_use]
            pub const fn needs_admin(self) -> bool {
                match self {
                    $(Self::$variant => $admin,)+
                }
            }
        }
    };
}

codes! {
    /// State of one volume: [`super::VolumeRequest`] to [`super::VolumeStatus`].
    GetStatus, GET_STATUS = 0x0022_6000: 0x800, FILE_READ_ACCESS, false;
    /// Starts encrypting: [`super::VolumeRequest`] to [`super::EmptyResp`].
    StartEncrypt, START_ENCRYPT = 0x0022_A004: 0x801, FILE_WRITE_ACCESS, true;
    /// Starts decrypting: [`super::VolumeRequest`] to [`super::EmptyResp`].
    StartDecrypt, START_DECRYPT = 0x0022_A008: 0x802, FILE_WRITE_ACCESS, true;
    /// Progress of one volume: [`super::VolumeRequest`] to [`super::ProgressEvent`].
    GetProgress, GET_PROGRESS = 0x0022_600C: 0x803, FILE_READ_ACCESS, false;
    /// Pauses conversion: [`super::VolumeRequest`] to [`super::EmptyResp`].
    Pause, PAUSE = 0x0022_A010: 0x804, FILE_WRITE_ACCESS, true;
    /// Opens a prepared volume: [`super::AttachReq`] to [`super::AttachResp`].
    JvckAttach, JVCK_ATTACH = 0x0022_A014: 0x805, FILE_WRITE_ACCESS, true;
    /// Closes a volume: [`super::VolumeRequest`] to [`super::EmptyResp`].
    Detach, DETACH = 0x0022_A018: 0x806, FILE_WRITE_ACCESS, true;
    /// Prepares, and with a key also opens, a volume: [`super::PrepareReq`] to [`super::PrepareResp`].
    JvckPrepare, JVCK_PREPARE = 0x0022_A01C: 0x807, FILE_WRITE_ACCESS, true;
    /// Pauses conversion of the OS volume; input ignored, no output.
    PauseOsVolume, PAUSE_OS_VOLUME = 0x0022_A020: 0x808, FILE_WRITE_ACCESS, true;
    /// Closes every volume that can be closed; input ignored, no output.
    DetachAllVolumes, DETACH_ALL_VOLUMES = 0x0022_A024: 0x809, FILE_WRITE_ACCESS, true;
    /// Measures the cipher: [`super::BenchReq`] to [`super::BenchResp`].
    BenchAes, BENCH_AES = 0x0022_6028: 0x80A, FILE_READ_ACCESS, true;
    /// All volumes: input ignored, to [`super::ListResp`].
    ListVolumes, LIST_VOLUMES = 0x0022_602C: 0x80B, FILE_READ_ACCESS, true;
}
