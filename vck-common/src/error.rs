//! The one error type, and the NTSTATUS of every value.
//!
//! A variant is a condition that a caller can act on; its text says how. Conditions that need different actions have
//! different statuses: wrong key, bad block, malformed message, volume in use, no room, already attached and not a volume
//! share none.

use core::fmt;

use crate::Lba;
pub use crate::status::NtStatus;

/// Result of every fallible operation of this crate.
pub type VckResult<T> = Result<T, VckError>;

/// Why an operation failed. Where a variant carries text, the text names the detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VckError {
    /// An argument is unusable: a wrong length, an extent outside the volume.
    InvalidData(&'static str),
    /// Counts, sizes or offsets violate a limit of the format.
    ValidationFailed(&'static str),
    /// The device, format version or request is valid but not supported.
    Unsupported(&'static str),
    /// What was asked for does not exist: no metadata, no such replica.
    NotFound(&'static str),
    /// A provider's policy refused the operation.
    PermissionDenied(&'static str),
    /// A buffer or block has the wrong length.
    SizeMismatch {
        /// Bytes needed.
        expected: usize,
        /// Bytes given.
        actual: usize,
    },
    /// The bytes are not a JVCK block.
    SignatureMismatch,
    /// The bytes are a damaged JVCK block.
    ChecksumMismatch,
    /// A cryptographic operation or the random source failed.
    CryptoFailed(&'static str),
    /// A response could not be encoded.
    MsgpackEncode(&'static str),
    /// A message is well-formed but not the one this call takes.
    MsgpackDecode(&'static str),
    /// I/O failed for a reason that no device reported.
    Io(&'static str),
    /// The requestor lacks the right (administrator).
    AccessDenied,
    /// The control code is not one of ours.
    UnknownControl,
    /// No volume is attached under this name.
    NotAttached,
    /// The volume is already attached, under this or another spelling of its name.
    AlreadyAttached,
    /// The key does not open this volume.
    WrongKey,
    /// A metadata block is damaged or contradicts itself or the device.
    BadBlock(&'static str),
    /// A message is not well-formed `MessagePack` or exceeds a limit.
    Malformed(&'static str),
    /// Files are open on the volume, so it cannot be locked.
    VolumeInUse,
    /// The metadata does not fit beside what is on the volume.
    NoRoom(&'static str),
    /// The path does not lead to a disk volume.
    NotAVolume,
    /// Memory is exhausted.
    NoMemory,
    /// The output buffer cannot take the answer; nothing was done.
    BufferTooSmall {
        /// Bytes needed.
        needed: usize,
    },
    /// The volume holds metadata of its own that the operation would destroy, or metadata that contradict each other about
    /// which sectors are encrypted.
    Conflict(&'static str),
    /// A metadata block says something else than the request that carries it.
    ContradictsRequest(&'static str),
    /// The operation is not possible in the volume's present state.
    WrongState(&'static str),
    /// The volume could not be opened at start and all I/O on it is refused until it is.
    Fenced,
    /// A device failed.
    Device {
        /// The status as the device reported it.
        status: NtStatus,
        /// The first sector concerned, if known.
        lba: Option<Lba>,
    },
    /// Another operation on the volume is under way.
    Busy,
    /// The request was cancelled.
    Cancelled,
    /// The device was removed.
    Removed,
}

impl VckError {
    /// Whether a flush that met this error met a device that has none.
    #[must_use]
    pub fn is_no_flush(&self) -> bool {
        self.status().is_no_flush()
    }

    /// The status with which a request that met this error is completed.
    #[must_use]
    pub const fn status(&self) -> NtStatus {
        match self {
            Self::InvalidData(_) | Self::MsgpackDecode(_) | Self::Malformed(_) => NtStatus::INVALID_PARAMETER,
            Self::ValidationFailed(_) => NtStatus::DATA_NOT_ACCEPTED,
            Self::Unsupported(_) => NtStatus::NOT_SUPPORTED,
            Self::NotFound(_) => NtStatus::NOT_FOUND,
            Self::PermissionDenied(_) | Self::AccessDenied => NtStatus::ACCESS_DENIED,
            Self::SizeMismatch { .. } | Self::SignatureMismatch | Self::ChecksumMismatch | Self::BadBlock(_) => {
                NtStatus::DISK_CORRUPT_ERROR
            }
            Self::CryptoFailed(_) => NtStatus::ENCRYPTION_FAILED,
            Self::MsgpackEncode(_) => NtStatus::INTERNAL_ERROR,
            Self::Io(_) => NtStatus::IO_DEVICE_ERROR,
            Self::UnknownControl => NtStatus::INVALID_DEVICE_REQUEST,
            Self::NotAttached => NtStatus::OBJECT_NAME_NOT_FOUND,
            Self::AlreadyAttached => NtStatus::OBJECT_NAME_COLLISION,
            Self::WrongKey => NtStatus::WRONG_PASSWORD,
            Self::VolumeInUse => NtStatus::SHARING_VIOLATION,
            Self::NoRoom(_) => NtStatus::DISK_FULL,
            Self::NotAVolume => NtStatus::BAD_DEVICE_TYPE,
            Self::NoMemory => NtStatus::INSUFFICIENT_RESOURCES,
            Self::BufferTooSmall { .. } => NtStatus::BUFFER_TOO_SMALL,
            Self::Conflict(_) => NtStatus::OBJECTID_EXISTS,
            Self::ContradictsRequest(_) => NtStatus::INVALID_PARAMETER_MIX,
            Self::WrongState(_) => NtStatus::INVALID_DEVICE_STATE,
            Self::Fenced => NtStatus::DEVICE_NOT_READY,
            Self::Device { status, .. } => *status,
            Self::Busy => NtStatus::DEVICE_BUSY,
            Self::Cancelled => NtStatus::CANCELLED,
            Self::Removed => NtStatus::DEVICE_REMOVED,
        }
    }
}

impl fmt::Display for VckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidData(detail) => write!(f, "invalid argument: {detail}"),
            Self::ValidationFailed(detail) => write!(f, "not a valid layout: {detail}"),
            Self::Unsupported(detail) => write!(f, "not supported: {detail}"),
            Self::NotFound(detail) => write!(f, "not found: {detail}"),
            Self::PermissionDenied(detail) => write!(f, "refused by policy: {detail}"),
            Self::SizeMismatch { expected, actual } => write!(f, "{expected} bytes are needed, {actual} were given"),
            Self::SignatureMismatch => f.write_str("this is not a JVCK metadata block"),
            Self::ChecksumMismatch => f.write_str("the metadata block is damaged (checksum); try another replica"),
            Self::CryptoFailed(detail) => write!(f, "cryptographic failure: {detail}"),
            Self::MsgpackEncode(detail) => write!(f, "the response cannot be encoded: {detail}"),
            Self::MsgpackDecode(detail) => write!(f, "the message does not fit this control: {detail}"),
            Self::Io(detail) => write!(f, "I/O failed: {detail}"),
            Self::AccessDenied => f.write_str("access denied: run as administrator"),
            Self::UnknownControl => f.write_str("unknown control code: driver and tool do not match"),
            Self::NotAttached => f.write_str("no such volume is attached: attach it first"),
            Self::AlreadyAttached => f.write_str("the volume is already attached"),
            Self::WrongKey => f.write_str("the key does not open this volume"),
            Self::BadBlock(detail) => write!(f, "bad metadata block: {detail}"),
            Self::Malformed(detail) => write!(f, "malformed message: {detail}"),
            Self::VolumeInUse => f.write_str("the volume is in use: close all files on it and try again"),
            Self::NoRoom(detail) => write!(f, "no room for metadata: {detail}; shrink the file system first"),
            Self::NotAVolume => f.write_str("the path does not lead to a disk volume"),
            Self::NoMemory => f.write_str("out of memory"),
            Self::BufferTooSmall { needed } => write!(f, "the output buffer is too small: {needed} bytes are needed"),
            Self::Conflict(detail) => write!(f, "refused, as data or keys would be destroyed: {detail}"),
            Self::ContradictsRequest(detail) => write!(f, "the metadata block contradicts the request: {detail}"),
            Self::WrongState(detail) => write!(f, "not possible now: {detail}"),
            Self::Fenced => f.write_str("the volume could not be opened at start; its I/O is refused"),
            Self::Device { status, lba: Some(lba) } => write!(f, "the device failed at sector {lba}: {status}"),
            Self::Device { status, lba: None } => write!(f, "the device failed: {status}"),
            Self::Busy => f.write_str("another operation on this volume is under way: try again"),
            Self::Cancelled => f.write_str("the request was cancelled"),
            Self::Removed => f.write_str("the device was removed"),
        }
    }
}

impl core::error::Error for VckError {}
