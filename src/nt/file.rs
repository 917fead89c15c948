//! Handles on volumes, opened by name on a caller's behalf.

use core::ptr;

use vck_common::VckResult;

use super::irql::Passive;
use super::string::WideString;
use super::{check, sys};

/// An open handle.
///
/// # Invariant
/// `handle` is a kernel handle of ours.
pub struct VolumeHandle {
    handle: sys::HANDLE,
}

/// What a volume is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OpenFor {
    /// Finding the device: neither mounts a file system nor needs read access. The caller's own rights are checked.
    Identity,
    /// Finding the device of a folder that the driver names for its own purposes: nobody's rights are checked.
    Folder,
    /// Locking and dismounting the file system.
    Control,
}

/// The device that a name leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NamedDevice {
    /// Address of the named device object (the volume's physical device object).
    pub address: usize,
    /// Its FILE_DEVICE_* type.
    pub device_type: u32,
    /// Whether the name ended at the device, and did not go on to a file or folder on it.
    pub is_device_itself: bool,
}

/// File-system controls that the driver sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum FsControl {
    /// FSCTL_LOCK_VOLUME: fails while files are open.
    Lock = 0x0009_0018,
    /// FSCTL_DISMOUNT_VOLUME.
    Dismount = 0x0009_0020,
}

impl VolumeHandle {
    /// Opens an NT path. Errors: the open's status.
    pub fn open(_: Passive, path: &WideString, purpose: OpenFor) -> VckResult<Self> {
        let (access, force, kind) = match purpose {
            OpenFor::Identity => (sys::FILE_READ_ATTRIBUTES, sys::OBJ_FORCE_ACCESS_CHECK, sys::FILE_NON_DIRECTORY_FILE),
            OpenFor::Folder => (sys::FILE_READ_ATTRIBUTES, 0, sys::FILE_DIRECTORY_FILE),
            OpenFor::Control => (sys::FILE_READ_DATA | sys::FILE_WRITE_DATA, 0, sys::FILE_NON_DIRECTORY_FILE),
        };
        let name = path.as_unicode();
        let mut attributes = sys::OBJECT_ATTRIBUTES {
            Length: size_of::<sys::OBJECT_ATTRIBUTES>() as u32,
            RootDirectory: ptr::null_mut(),
            ObjectName: name.as_ptr(),
            Attributes: sys::OBJ_KERNEL_HANDLE | sys::OBJ_CASE_INSENSITIVE | force,
            SecurityDescriptor: ptr::null_mut(),
            SecurityQualityOfService: ptr::null_mut(),
        };
        // SAFETY: plain data.
        let mut result: sys::IO_STATUS_BLOCK = unsafe { core::mem::zeroed() };
        let mut handle = ptr::null_mut();
        // SAFETY: PASSIVE_LEVEL; all pointers outlive the call, which is synchronous.
        let status = unsafe {
            sys::ZwCreateFile(
                &raw mut handle,
                access | sys::SYNCHRONIZE,
                &raw mut attributes,
                &raw mut result,
                ptr::null_mut(),
                0,
                sys::FILE_SHARE_READ | sys::FILE_SHARE_WRITE,
                sys::FILE_OPEN,
                sys::FILE_SYNCHRONOUS_IO_NONALERT | kind,
                ptr::null_mut(),
                0,
            )
        };
        check(status)?;
        Ok(Self { handle })
    }

    /// The named device that the handle was opened on.
    pub fn device(&self, _: Passive) -> VckResult<NamedDevice> {
        let mut object = ptr::null_mut();
        // SAFETY: our handle; a kernel-mode caller needs no type check, and only files are opened here.
        let status = unsafe {
            sys::ObReferenceObjectByHandle(
                self.handle,
                0,
                ptr::null_mut(),
                sys::_MODE::KernelMode as sys::KPROCESSOR_MODE,
                &raw mut object,
                ptr::null_mut(),
            )
        };
        check(status)?;
        let file = object.cast::<sys::FILE_OBJECT>();
        // SAFETY: referenced; the file object keeps its device.
        let device = unsafe { (*file).DeviceObject };
        // SAFETY: as above.
        let device_type = unsafe { (*device).DeviceType };
        // SAFETY: as above.
        let is_device_itself = unsafe { (*file).FileName.Length } == 0;
        // SAFETY: the reference taken above.
        unsafe { sys::ObfDereferenceObject(object) };
        Ok(NamedDevice { address: device as usize, device_type, is_device_itself })
    }

    /// Sends a file-system control and waits for it. Errors: its status.
    pub fn control(&self, _: Passive, control: FsControl) -> VckResult<()> {
        // SAFETY: plain data.
        let mut result: sys::IO_STATUS_BLOCK = unsafe { core::mem::zeroed() };
        // SAFETY: PASSIVE_LEVEL; a synchronous handle, so the call returns when the operation has ended.
        let status = unsafe {
            sys::ZwFsControlFile(
                self.handle,
                ptr::null_mut(),
                None,
                ptr::null_mut(),
                &raw mut result,
                control as u32,
                ptr::null_mut(),
                0,
                ptr::null_mut(),
                0,
            )
        };
        check(status)
    }
}

impl Drop for VolumeHandle {
    fn drop(&mut self) {
        // SAFETY: invariant; closed once. A mount that this handle's dismount ended comes back now.
        let _ = unsafe { sys::ZwClose(self.handle) };
    }
}
