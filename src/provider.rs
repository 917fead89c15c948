//! The policy seam: what an OEM implements.

use alloc::boxed::Box;

use vck_common::xts::Features;
use vck_common::{EncryptedOffset, EncryptedOffsetStore, Lba, RandomSource, VckError, VckResult, VolumeCipher};

use crate::engine::ConversionPolicy;
use crate::io::VolumeIo;
use crate::nt::AccessToken;

/// Keys, on-disk format and crypto policy of a product.
///
/// Called at PASSIVE_LEVEL, one call at a time per volume, never while a part of the volume is closed for conversion.
pub trait VolumeProvider: Send + Sync + 'static {
    /// Opens a volume: finds its metadata, derives its keys, says what the filter shall do.
    ///
    /// Errors: [`VckError::WrongKey`] if the key does not open the volume, [`VckError::NotFound`] if there is no metadata;
    /// the volume is then left as it was.
    fn on_attach(&self, context: &AttachContext<'_>) -> VckResult<IoConfig>;

    /// The volume is being released: no request is inside and no thread works on it any more.
    fn on_detach(&self, context: &DetachContext<'_>) -> VckResult<()> {
        let _ = context;
        Ok(())
    }
}

/// What a provider gets to open a volume with.
pub struct AttachContext<'a> {
    /// The volume below the filter: full size, unshifted.
    pub io: VolumeIo,
    /// The caller's key; wiped by the driver after the call.
    pub vmk: &'a [u8],
    /// GPT partition GUID in memory order; only for volumes taken over at boot.
    pub partition_guid: Option<[u8; 16]>,
    /// The kernel's random source.
    pub random: &'a dyn RandomSource,
    /// What this machine's processor and system offer to the sector cipher, as far as it passed the test at driver load: for
    /// [`XtsVolumeCipher::with_features`](vck_common::XtsVolumeCipher::with_features).
    pub features: Features,
}

/// Which volume is being released.
pub struct DetachContext<'a> {
    /// The name under which it was prepared.
    pub volume_path: &'a str,
}

/// What the filter shall do with a volume.
pub enum IoConfig {
    /// Nothing: the volume is not ours.
    Passthrough,
    /// Encrypt sectors below the boundary.
    Encrypted {
        /// The sector cipher; lives once, for as long as the volume is attached. It is called while a zone is closed, and up
        /// to `DISPATCH_LEVEL`: its code and data are non-pageable, and it allocates nothing.
        cipher: Box<dyn VolumeCipher>,
        /// First sector of the data region.
        offset_sector: Lba,
        /// Boundary and size of the data region (the size that the system sees).
        encrypted_offset: EncryptedOffset,
        /// Where boundary and direction are persisted, and the journal of conversions if the format has one.
        offset_store: Box<dyn EncryptedOffsetStore>,
        /// How the volume is converted; the default refuses what a loss of power could destroy.
        policy: ConversionPolicy,
    },
}

/// Who may send which control.
pub trait IoctlAuthorization: Send + Sync + 'static {
    /// Refuses with [`VckError::AccessDenied`]. Called first, for unknown codes too. PASSIVE_LEVEL.
    fn authorize(&self, context: &IoctlAuthContext<'_>) -> VckResult<()>;
}

/// A control and its sender.
pub struct IoctlAuthContext<'a> {
    /// The IOCTL code.
    pub ioctl_code: u32,
    /// Where the request comes from.
    pub requestor_mode: RequestorMode,
    /// The sender's primary token.
    pub requestor_token: Option<&'a AccessToken>,
}

impl IoctlAuthContext<'_> {
    /// Whether a kernel-mode component or an administrator asks.
    #[must_use]
    pub fn is_privileged(&self) -> bool {
        self.requestor_mode == RequestorMode::Kernel || self.requestor_token.is_some_and(AccessToken::is_admin)
    }
}

/// Processor mode of a requestor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestorMode {
    /// A kernel-mode component.
    Kernel,
    /// A user-mode program.
    User,
}

/// The default policy: state and progress for everybody, all else for administrators and the kernel.
pub struct AdministratorsOnly;

impl IoctlAuthorization for AdministratorsOnly {
    fn authorize(&self, context: &IoctlAuthContext<'_>) -> VckResult<()> {
        use vck_common::wire::IoctlCode;
        let open_to_all = IoctlCode::from_u32(context.ioctl_code).is_some_and(|code| !code.needs_admin());
        if open_to_all || context.is_privileged() { Ok(()) } else { Err(VckError::AccessDenied) }
    }
}
