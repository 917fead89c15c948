//! Security of device objects, through documented run-time library routines.

use alloc::vec::Vec;
use core::ptr::{self, NonNull};

use vck_common::{VckError, VckResult};

use super::irql::Passive;
use super::{check, sys};

/// A group that an access-control entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sid {
    /// Identifier authority (the last byte of six).
    pub authority: u8,
    /// Subauthorities; unused ones are zero.
    pub sub: [u32; 2],
    /// How many of them there are.
    pub count: u8,
}

/// One access-allowed entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ace {
    /// Access mask.
    pub mask: u32,
    /// To whom.
    pub sid: Sid,
}

const WRITE_DAC: u32 = 0x0004_0000;
/// PROTECTED_DACL_SECURITY_INFORMATION: nothing is inherited.
const PROTECTED_DACL: u32 = 0x8000_0000;
const ACL_REVISION: u32 = 2;
/// Header, mask and SID of the largest entry, generously.
const ACE_BYTES: usize = 64;

/// Sets the protected DACL of a device object of ours.
pub(crate) fn set_dacl(_: Passive, device: NonNull<sys::DEVICE_OBJECT>, entries: &[Ace]) -> VckResult<()> {
    let words = entries.len().saturating_add(1).saturating_mul(ACE_BYTES / 8);
    // u64 words: an ACL must be aligned.
    let mut storage: Vec<u64> = Vec::new();
    storage.try_reserve_exact(words).map_err(|_| VckError::NoMemory)?;
    storage.resize(words, 0);
    let acl: sys::PACL = storage.as_mut_ptr().cast();
    let bytes = u32::try_from(words.saturating_mul(8)).map_err(|_| VckError::NoMemory)?;
    // SAFETY: PASSIVE_LEVEL; storage of so many bytes.
    check(unsafe { sys::RtlCreateAcl(acl, bytes, ACL_REVISION) })?;
    for entry in entries {
        let mut sid = [0_u64; ACE_BYTES / 8];
        let sid: sys::PSID = build_sid(&mut sid, entry.sid)?;
        // SAFETY: an initialised ACL with room left, and a valid SID.
        check(unsafe { sys::RtlAddAccessAllowedAce(acl, ACL_REVISION, entry.mask, sid) })?;
    }
    // SAFETY: plain data, initialised by the next call.
    let mut descriptor: sys::SECURITY_DESCRIPTOR = unsafe { core::mem::zeroed() };
    let descriptor: sys::PSECURITY_DESCRIPTOR = (&raw mut descriptor).cast();
    // SAFETY: storage of the right size.
    check(unsafe { sys::RtlCreateSecurityDescriptor(descriptor, sys::SECURITY_DESCRIPTOR_REVISION) })?;
    // SAFETY: both are initialised and outlive the descriptor's use below.
    check(unsafe { sys::RtlSetDaclSecurityDescriptor(descriptor, 1, acl, 0) })?;
    apply(device, descriptor)
}

fn build_sid(storage: &mut [u64; ACE_BYTES / 8], sid: Sid) -> VckResult<sys::PSID> {
    let raw: sys::PSID = storage.as_mut_ptr().cast();
    let mut authority = sys::SID_IDENTIFIER_AUTHORITY { Value: [0, 0, 0, 0, 0, sid.authority] };
    // SAFETY: room for far more than two subauthorities.
    check(unsafe { sys::RtlInitializeSid(raw, &raw mut authority, sid.count) })?;
    for (index, value) in (0_u32..).zip(sid.sub.iter().take(usize::from(sid.count))) {
        // SAFETY: below the count the SID was initialised with.
        let slot = unsafe { sys::RtlSubAuthoritySid(raw, index) };
        // SAFETY: points into the SID.
        unsafe { *slot = *value };
    }
    Ok(raw)
}

fn apply(device: NonNull<sys::DEVICE_OBJECT>, descriptor: sys::PSECURITY_DESCRIPTOR) -> VckResult<()> {
    let mut handle = ptr::null_mut();
    // SAFETY: a live device object of ours; PASSIVE_LEVEL; a kernel handle.
    let status = unsafe {
        sys::ObOpenObjectByPointer(
            device.as_ptr().cast(),
            sys::OBJ_KERNEL_HANDLE,
            ptr::null_mut(),
            WRITE_DAC,
            ptr::null_mut(),
            sys::_MODE::KernelMode as sys::KPROCESSOR_MODE,
            &raw mut handle,
        )
    };
    check(status)?;
    let what = sys::DACL_SECURITY_INFORMATION | PROTECTED_DACL;
    // SAFETY: a handle with WRITE_DAC and a valid descriptor.
    let status = unsafe { sys::ZwSetSecurityObject(handle, what, descriptor) };
    // SAFETY: ours, closed once.
    let _ = unsafe { sys::ZwClose(handle) };
    check(status)
}
