//! Security routines: descriptors, lists, identifiers, tokens.
//!
//! A token object is 64 bytes of object memory; the token behind it is found by address.

use super::arena::Span;
use super::callbacks::{get, put};
use crate::abi::routine::routines;
use crate::abi::*;
use crate::core::Kernel;
use crate::io::lock;
use crate::ob::Token;
use crate::ob::handles::ObjectKind;
use crate::ob::security::{Ace, SecurityDescriptor, acl_from_bytes, acl_to_bytes};
use crate::ob::sid::Sid;

const SE_DACL_PRESENT_BIT: u16 = 0x0004;
const SE_SELF_RELATIVE_BIT: u16 = 0x8000;
/// Offset of the DACL pointer in an absolute descriptor.
const DACL_AT: usize = 0x20;

fn span(address: PVOID, len: usize) -> Span {
    Span { addr: address as usize, len }
}

fn sid_length(sid: PSID) -> usize {
    get(sid.cast::<u8>().wrapping_add(1).cast_const()).map_or(0, |count| 8 + 4 * usize::from(count))
}

fn sid(sid: PSID) -> Option<Sid> {
    Sid::from_bytes(&span(sid, sid_length(sid)).to_vec())
}

fn acl_bytes(acl: PACL) -> Option<Vec<u8>> {
    let head = get(acl.cast_const())?;
    Some(span(acl.cast(), usize::from(head.AclSize)).to_vec())
}

/// Reads a descriptor in either form.
fn descriptor(address: PSECURITY_DESCRIPTOR) -> Option<SecurityDescriptor> {
    let control = get((address as usize + 2) as *const u16)?;
    let base = address as usize;
    let field = |at: usize, relative: usize| -> usize {
        if control & SE_SELF_RELATIVE_BIT == 0 {
            get((base + at) as *const usize).unwrap_or(0)
        } else {
            let offset = get((base + relative) as *const u32).unwrap_or(0);
            if offset == 0 { 0 } else { base + offset as usize }
        }
    };
    let dacl = field(DACL_AT, 16);
    let named = |at: usize| if at == 0 { None } else { sid(at as PSID) };
    let list = if control & SE_DACL_PRESENT_BIT == 0 || dacl == 0 { None } else { Some(dacl) };
    let aces = match list {
        Some(at) => Some(acl_from_bytes(&acl_bytes(at as PACL)?)?),
        None => None,
    };
    Some(SecurityDescriptor { owner: named(field(8, 4)), group: named(field(16, 8)), dacl: aces, protected: false })
}

fn add_ace(acl: PACL, allow: bool, flags: ULONG, mask: ACCESS_MASK, who: PSID) -> NTSTATUS {
    let (Some(head), Some(who)) = (get(acl.cast_const()), sid(who)) else { return STATUS_INVALID_SID };
    let Some(mut aces) = acl_bytes(acl).as_deref().and_then(acl_from_bytes) else { return STATUS_INVALID_ACL };
    aces.push(Ace { allow, flags: u8::try_from(flags & 0xFF).unwrap_or(0), mask, sid: who });
    let mut bytes = acl_to_bytes(&aces);
    if bytes.len() > usize::from(head.AclSize) {
        return STATUS_ALLOTTED_SPACE_EXCEEDED;
    }
    // The list keeps its revision and its size, which is the room it has.
    bytes[0] = head.AclRevision;
    bytes[2..4].copy_from_slice(&head.AclSize.to_le_bytes());
    span(acl.cast(), bytes.len()).write(0, &bytes);
    STATUS_SUCCESS
}

impl Kernel {
    /// The object of the current thread's token, with a reference for the caller.
    fn token_object(&self) -> usize {
        let token = self.token();
        let known = lock(&self.io.tokens).iter().find(|(_, known)| known.same(&token)).map(|(addr, _)| *addr);
        if let Some(addr) = known {
            self.object_reference(addr);
            return addr;
        }
        let addr = self.io.arena.alloc(64);
        lock(&self.io.tokens).push((addr, token));
        // The token itself keeps one reference: the process that it belongs to never ends in the model.
        self.object_insert(addr, ObjectKind::Token, |_, _| ());
        self.object_reference(addr);
        addr
    }

    fn token_at(&self, addr: usize) -> Option<Token> {
        lock(&self.io.tokens).iter().find(|(at, _)| *at == addr).map(|(_, token)| token.clone())
    }
}

routines! {
    /// Initialises an absolute descriptor. Any IRQL.
    fn RtlCreateSecurityDescriptor(SecurityDescriptor: PSECURITY_DESCRIPTOR, Revision: ULONG) -> NTSTATUS, max 2 => |k| {
        let _ = k;
        if Revision != 1 {
            return STATUS_UNKNOWN_REVISION;
        }
        let mut bytes = [0; 0x28];
        bytes[0] = 1;
        span(SecurityDescriptor, bytes.len()).write(0, &bytes);
        STATUS_SUCCESS
    }

    /// Sets the DACL of an absolute descriptor; the list is not copied. At `PASSIVE_LEVEL`.
    fn RtlSetDaclSecurityDescriptor(SecurityDescriptor: PSECURITY_DESCRIPTOR, DaclPresent: BOOLEAN, Dacl: PACL, DaclDefaulted: BOOLEAN) -> NTSTATUS, max 0 => |k| {
        let _ = (k, DaclDefaulted);
        let at = SecurityDescriptor as usize;
        let control = get((at + 2) as *const u16).unwrap_or(0);
        if control & SE_SELF_RELATIVE_BIT != 0 {
            return STATUS_INVALID_SECURITY_DESCR;
        }
        let present = if DaclPresent == 0 { 0 } else { SE_DACL_PRESENT_BIT };
        put((at + 2) as *mut u16, control & !SE_DACL_PRESENT_BIT | present);
        put((at + DACL_AT) as *mut PACL, if DaclPresent == 0 { std::ptr::null_mut() } else { Dacl });
        STATUS_SUCCESS
    }

    /// Whether a descriptor can be read. Any IRQL at which it is resident.
    fn RtlValidSecurityDescriptor(SecurityDescriptor: PSECURITY_DESCRIPTOR) -> BOOLEAN, max 1 => |k| {
        let _ = k;
        BOOLEAN::from(descriptor(SecurityDescriptor).is_some())
    }

    /// Length of a descriptor in self-relative form.
    fn RtlLengthSecurityDescriptor(SecurityDescriptor: PSECURITY_DESCRIPTOR) -> ULONG, max 1 => |k| {
        let _ = k;
        descriptor(SecurityDescriptor).map_or(0, |found| ULONG::try_from(found.to_bytes().len()).unwrap_or(0))
    }

    /// Copies a descriptor into self-relative form; `STATUS_BUFFER_TOO_SMALL` with the length needed.
    fn RtlAbsoluteToSelfRelativeSD(AbsoluteSecurityDescriptor: PSECURITY_DESCRIPTOR, SelfRelativeSecurityDescriptor: PSECURITY_DESCRIPTOR, BufferLength: PULONG) -> NTSTATUS, max 1 => |k| {
        let _ = k;
        let Some(found) = descriptor(AbsoluteSecurityDescriptor) else { return STATUS_INVALID_SECURITY_DESCR };
        let bytes = found.to_bytes();
        let room = get(BufferLength.cast_const()).unwrap_or(0) as usize;
        put(BufferLength, ULONG::try_from(bytes.len()).unwrap_or(ULONG::MAX));
        if room < bytes.len() {
            return STATUS_BUFFER_TOO_SMALL;
        }
        span(SelfRelativeSecurityDescriptor, room).write(0, &bytes);
        STATUS_SUCCESS
    }

    /// Initialises an empty list. At or below `APC_LEVEL`.
    fn RtlCreateAcl(Acl: PACL, AclLength: ULONG, AclRevision: ULONG) -> NTSTATUS, max 1 => |k| {
        let _ = k;
        let (Ok(size), Ok(revision)) = (u16::try_from(AclLength), u8::try_from(AclRevision)) else {
            return STATUS_INVALID_PARAMETER;
        };
        if usize::from(size) < size_of::<ACL>() || !(2..=4).contains(&revision) {
            return STATUS_INVALID_PARAMETER;
        }
        put(Acl, ACL { AclRevision: revision, Sbz1: 0, AclSize: size, AceCount: 0, Sbz2: 0 });
        STATUS_SUCCESS
    }

    /// Adds an entry that grants. At or below `APC_LEVEL`. `STATUS_ALLOTTED_SPACE_EXCEEDED` when the list is full.
    fn RtlAddAccessAllowedAce(Acl: PACL, AceRevision: ULONG, AccessMask: ACCESS_MASK, Sid: PSID) -> NTSTATUS, max 1 => |k| {
        let _ = (k, AceRevision);
        add_ace(Acl, true, 0, AccessMask, Sid)
    }

    /// Adds an entry that grants, with inheritance flags. At or below `APC_LEVEL`.
    fn RtlAddAccessAllowedAceEx(Acl: PACL, AceRevision: ULONG, AceFlags: ULONG, AccessMask: ACCESS_MASK, Sid: PSID) -> NTSTATUS, max 1 => |k| {
        let _ = (k, AceRevision);
        add_ace(Acl, true, AceFlags, AccessMask, Sid)
    }

    /// Length of an identifier.
    fn RtlLengthSid(Sid: PSID) -> ULONG, max 2 => |k| {
        let _ = k;
        ULONG::try_from(sid_length(Sid)).unwrap_or(0)
    }

    /// Bytes that an identifier with so many sub-authorities takes.
    fn RtlLengthRequiredSid(SubAuthorityCount: ULONG) -> ULONG, max 2 => |k| {
        let _ = k;
        8 + 4 * SubAuthorityCount
    }

    /// Initialises an identifier; its sub-authorities are to be set. At or below `APC_LEVEL`.
    fn RtlInitializeSid(Sid: PSID, IdentifierAuthority: PSID_IDENTIFIER_AUTHORITY, SubAuthorityCount: UCHAR) -> NTSTATUS, max 1 => |k| {
        let _ = k;
        if SubAuthorityCount > 15 {
            return STATUS_INVALID_PARAMETER;
        }
        let authority = get(IdentifierAuthority.cast::<[u8; 6]>().cast_const()).unwrap_or_default();
        let out = span(Sid, 8);
        out.write(0, &[1, SubAuthorityCount]);
        out.write(2, &authority);
        STATUS_SUCCESS
    }

    /// Address of a sub-authority.
    fn RtlSubAuthoritySid(Sid: PSID, SubAuthority: ULONG) -> PULONG, max 2 => |k| {
        let _ = k;
        Sid.cast::<u8>().wrapping_add(8 + 4 * SubAuthority as usize).cast()
    }

    /// Whether two identifiers are equal.
    fn RtlEqualSid(Sid1: PSID, Sid2: PSID) -> BOOLEAN, max 2 => |k| {
        let _ = k;
        BOOLEAN::from(sid(Sid1).is_some() && sid(Sid1) == sid(Sid2))
    }

    /// Whether an identifier can be read.
    fn RtlValidSid(Sid: PSID) -> BOOLEAN, max 2 => |k| {
        let _ = k;
        BOOLEAN::from(sid(Sid).is_some())
    }

    /// Replaces the DACL (and owner) of the device behind a handle. At `PASSIVE_LEVEL`.
    fn ZwSetSecurityObject(Handle: HANDLE, SecurityInformation: SECURITY_INFORMATION, SecurityDescriptor: PSECURITY_DESCRIPTOR) -> NTSTATUS, max 0 => |k| {
        let Some(entry) = k.handle_entry(Handle) else { return STATUS_INVALID_HANDLE };
        let Some(found) = descriptor(SecurityDescriptor) else { return STATUS_INVALID_SECURITY_DESCR };
        let needed = if SecurityInformation & DACL_SECURITY_INFORMATION != 0 { WRITE_DAC } else { 0 };
        if needed & !entry.access != 0 {
            return STATUS_ACCESS_DENIED;
        }
        let device = match k.object_kind(entry.object) {
            Some(ObjectKind::Device) => entry.object,
            Some(ObjectKind::File) => super::view::File::at(entry.object).device() as usize,
            _ => return STATUS_OBJECT_TYPE_MISMATCH,
        };
        let set = k.device_record(super::view::Device::at(device), |record| {
            if SecurityInformation & DACL_SECURITY_INFORMATION != 0 {
                record.security.dacl = found.dacl;
            }
            if SecurityInformation & OWNER_SECURITY_INFORMATION != 0 {
                record.security.owner = found.owner;
            }
        });
        if set.is_some() { STATUS_SUCCESS } else { STATUS_OBJECT_TYPE_MISMATCH }
    }

    /// Token of a process, with a reference for the caller. At `PASSIVE_LEVEL`. Weaker than Windows: a process is the
    /// current thread's program.
    fn PsReferencePrimaryToken(Process: PEPROCESS) -> HANDLE, max 0 => |k| {
        let _ = Process;
        k.token_object() as HANDLE
    }

    /// Gives the reference back. At or below `APC_LEVEL`.
    fn PsDereferencePrimaryToken(PrimaryToken: PACCESS_TOKEN), max 1 => |k| {
        k.object_dereference(PrimaryToken as usize);
    }

    /// Token that a thread impersonates: never one in the model, so NULL. At `PASSIVE_LEVEL`.
    fn PsReferenceImpersonationToken(Thread: PETHREAD, CopyOnOpen: PBOOLEAN, EffectiveOnly: PBOOLEAN, ImpersonationLevel: PSECURITY_IMPERSONATION_LEVEL) -> PACCESS_TOKEN, max 0 => |k| {
        let _ = (k, Thread, CopyOnOpen, EffectiveOnly, ImpersonationLevel);
        std::ptr::null_mut()
    }

    /// Gives the reference back. At or below `APC_LEVEL`.
    fn PsDereferenceImpersonationToken(ImpersonationToken: PACCESS_TOKEN), max 1 => |k| {
        if !ImpersonationToken.is_null() {
            k.object_dereference(ImpersonationToken as usize);
        }
    }

    /// Whether the Administrators group is in a token. At `PASSIVE_LEVEL`.
    fn SeTokenIsAdmin(Token: PACCESS_TOKEN) -> BOOLEAN, max 0 => |k| {
        BOOLEAN::from(k.token_at(Token as usize).is_some_and(|token| token.is_admin()))
    }

    /// Captures the tokens of the current thread. At `PASSIVE_LEVEL`.
    fn SeCaptureSubjectContext(SubjectContext: PSECURITY_SUBJECT_CONTEXT), max 0 => |k| {
        let context = SECURITY_SUBJECT_CONTEXT {
            PrimaryToken: k.token_object() as PACCESS_TOKEN,
            ..SECURITY_SUBJECT_CONTEXT::default()
        };
        put(SubjectContext, context);
    }

    /// Gives the captured tokens back. At `PASSIVE_LEVEL`.
    fn SeReleaseSubjectContext(SubjectContext: PSECURITY_SUBJECT_CONTEXT), max 0 => |k| {
        if let Some(context) = get(SubjectContext.cast_const()) {
            k.object_dereference(context.PrimaryToken as usize);
        }
    }

    /// Does nothing: tokens do not change in the model. At `PASSIVE_LEVEL`.
    fn SeLockSubjectContext(SubjectContext: PSECURITY_SUBJECT_CONTEXT), max 0 => |k| {
        let _ = (k, SubjectContext);
    }

    /// Does nothing: tokens do not change in the model. At `PASSIVE_LEVEL`.
    fn SeUnlockSubjectContext(SubjectContext: PSECURITY_SUBJECT_CONTEXT), max 0 => |k| {
        let _ = (k, SubjectContext);
    }

    /// Whether a descriptor grants access to the captured token. At `PASSIVE_LEVEL`. Kernel mode gets everything.
    fn SeAccessCheck(SecurityDescriptor: PSECURITY_DESCRIPTOR, SubjectSecurityContext: PSECURITY_SUBJECT_CONTEXT, SubjectContextLocked: BOOLEAN, DesiredAccess: ACCESS_MASK, PreviouslyGrantedAccess: ACCESS_MASK, Privileges: *mut PPRIVILEGE_SET, GenericMapping: PGENERIC_MAPPING, AccessMode: KPROCESSOR_MODE, GrantedAccess: PACCESS_MASK, AccessStatus: PNTSTATUS) -> BOOLEAN, max 0 => |k| {
        let _ = (SubjectContextLocked, GenericMapping);
        put(Privileges, std::ptr::null_mut());
        let token = get(SubjectSecurityContext.cast_const()).and_then(|context| k.token_at(context.PrimaryToken as usize));
        let granted = if AccessMode == 0 {
            Some(crate::ob::security::map_generic(DesiredAccess))
        } else {
            descriptor(SecurityDescriptor).zip(token).and_then(|(found, token)| found.check(&token, DesiredAccess))
        };
        put(GrantedAccess, granted.map_or(0, |granted| granted | PreviouslyGrantedAccess));
        put(AccessStatus, if granted.is_some() { STATUS_SUCCESS } else { STATUS_ACCESS_DENIED });
        BOOLEAN::from(granted.is_some())
    }

    /// Whether the current thread holds a privilege: administrators and SYSTEM hold all of them. At `PASSIVE_LEVEL`.
    fn SeSinglePrivilegeCheck(PrivilegeValue: LUID, PreviousMode: KPROCESSOR_MODE) -> BOOLEAN, max 0 => |k| {
        let _ = PrivilegeValue;
        BOOLEAN::from(PreviousMode == 0 || k.token().is_admin())
    }
}
