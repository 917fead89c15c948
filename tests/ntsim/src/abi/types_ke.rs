//! Structures of the kernel core and the executive.

use super::types_base::*;

/// Exact size and offsets of structures, asserted at compile time.
macro_rules! layout {
    ($ty:ty, $size:literal $(, $($field:ident).+ @ $offset:literal)* $(,)?) => {
        const _: () = assert!(core::mem::size_of::<$ty>() == $size);
        $(const _: () = assert!(core::mem::offset_of!($ty, $($field).+) == $offset);)*
    };
}
pub(crate) use layout;

#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct _DISPATCHER_HEADER__bindgen_ty_1__bindgen_ty_2 {
    pub Type: UCHAR,
    pub Signalling: UCHAR,
    pub Size: UCHAR,
    pub Reserved1: UCHAR,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union _DISPATCHER_HEADER__bindgen_ty_1 {
    pub Lock: LONG,
    pub LockNV: LONG,
    pub __bindgen_anon_1: _DISPATCHER_HEADER__bindgen_ty_1__bindgen_ty_2,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct _DISPATCHER_HEADER {
    pub __bindgen_anon_1: _DISPATCHER_HEADER__bindgen_ty_1,
    pub SignalState: LONG,
    pub WaitListHead: LIST_ENTRY,
}
pub type DISPATCHER_HEADER = _DISPATCHER_HEADER;
layout!(DISPATCHER_HEADER, 0x18, SignalState @ 4, WaitListHead @ 8);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct _KEVENT {
    pub Header: DISPATCHER_HEADER,
}
pub type KEVENT = _KEVENT;
pub type PKEVENT = *mut KEVENT;
pub type PRKEVENT = *mut KEVENT;
layout!(KEVENT, 0x18);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct _KSEMAPHORE {
    pub Header: DISPATCHER_HEADER,
    pub Limit: LONG,
}
pub type KSEMAPHORE = _KSEMAPHORE;
pub type PRKSEMAPHORE = *mut KSEMAPHORE;
pub type PKSEMAPHORE = *mut KSEMAPHORE;
layout!(KSEMAPHORE, 0x20, Limit @ 0x18);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct _KDEVICE_QUEUE {
    pub Type: CSHORT,
    pub Size: CSHORT,
    pub DeviceListHead: LIST_ENTRY,
    pub Lock: KSPIN_LOCK,
    pub __bindgen_anon_1: u64,
}
pub type KDEVICE_QUEUE = _KDEVICE_QUEUE;
layout!(KDEVICE_QUEUE, 0x28);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct _KDEVICE_QUEUE_ENTRY {
    pub DeviceListEntry: LIST_ENTRY,
    pub SortKey: ULONG,
    pub Inserted: BOOLEAN,
}
pub type KDEVICE_QUEUE_ENTRY = _KDEVICE_QUEUE_ENTRY;
layout!(KDEVICE_QUEUE_ENTRY, 0x18);

/// An opaque executive object whose address is all that a driver sees.
#[repr(C)]
#[derive(Debug)]
pub struct _KTHREAD {
    _private: [u8; 0],
}
pub type KTHREAD = _KTHREAD;
pub type PKTHREAD = *mut KTHREAD;
pub type PETHREAD = *mut KTHREAD;
pub type PRKTHREAD = *mut KTHREAD;

#[repr(C)]
#[derive(Debug)]
pub struct _KPROCESS {
    _private: [u8; 0],
}
pub type PEPROCESS = *mut _KPROCESS;
pub type PRKPROCESS = *mut _KPROCESS;

pub type PKDEFERRED_ROUTINE = Option<unsafe extern "C" fn(*mut KDPC, PVOID, PVOID, PVOID)>;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct _KDPC {
    pub __bindgen_anon_1: u32,
    pub Importance: u32,
    pub DpcListEntry: SINGLE_LIST_ENTRY,
    pub ProcessorHistory: KAFFINITY,
    pub DeferredRoutine: PKDEFERRED_ROUTINE,
    pub DeferredContext: PVOID,
    pub SystemArgument1: PVOID,
    pub SystemArgument2: PVOID,
    pub DpcData: PVOID,
}
pub type KDPC = _KDPC;
pub type PKDPC = *mut KDPC;
pub type PRKDPC = *mut KDPC;
layout!(KDPC, 0x40);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct _MDL {
    pub Next: *mut _MDL,
    pub Size: CSHORT,
    pub MdlFlags: CSHORT,
    pub Process: PEPROCESS,
    pub MappedSystemVa: PVOID,
    pub StartVa: PVOID,
    pub ByteCount: ULONG,
    pub ByteOffset: ULONG,
}
pub type MDL = _MDL;
pub type PMDL = *mut MDL;
layout!(MDL, 0x30, MappedSystemVa @ 0x18, ByteCount @ 0x28);
