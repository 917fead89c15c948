//! Scalar types and small structures that everything else is made of.

use core::ffi::c_void;

pub type BOOLEAN = u8;
pub type UCHAR = u8;
pub type PUCHAR = *mut UCHAR;
pub type CHAR = i8;
pub type CCHAR = i8;
pub type SHORT = i16;
pub type CSHORT = i16;
pub type USHORT = u16;
pub type WCHAR = u16;
pub type PWSTR = *mut WCHAR;
pub type PWCH = *mut WCHAR;
pub type PCWSTR = *const WCHAR;
pub type LONG = i32;
pub type PLONG = *mut LONG;
pub type INT = i32;
pub type ULONG = u32;
pub type PULONG = *mut ULONG;
pub type LONGLONG = i64;
pub type LONG64 = i64;
pub type ULONGLONG = u64;
pub type ULONG64 = u64;
pub type PULONGLONG = *mut ULONGLONG;
pub type ULONG_PTR = u64;
pub type LONG_PTR = i64;
pub type SIZE_T = ULONG_PTR;
pub type PSIZE_T = *mut SIZE_T;
pub type PVOID = *mut c_void;
pub type HANDLE = *mut c_void;
pub type PHANDLE = *mut HANDLE;
pub type NTSTATUS = i32;
pub type KIRQL = u8;
pub type PKIRQL = *mut KIRQL;
pub type KPRIORITY = LONG;
pub type KPROCESSOR_MODE = CCHAR;
pub type MODE = i32;
pub type LOGICAL = ULONG;
pub type ACCESS_MASK = ULONG;
pub type KSPIN_LOCK = ULONG_PTR;
pub type PKSPIN_LOCK = *mut KSPIN_LOCK;
pub type POOL_FLAGS = ULONG64;
pub type PFN_NUMBER = ULONG_PTR;
pub type PPFN_NUMBER = *mut PFN_NUMBER;
pub type KAFFINITY = ULONG_PTR;
pub type DEVICE_TYPE = ULONG;

#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct _LARGE_INTEGER__bindgen_ty_1 {
    pub LowPart: ULONG,
    pub HighPart: LONG,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union _LARGE_INTEGER {
    pub __bindgen_anon_1: _LARGE_INTEGER__bindgen_ty_1,
    pub u: _LARGE_INTEGER__bindgen_ty_1,
    pub QuadPart: LONGLONG,
}
pub type LARGE_INTEGER = _LARGE_INTEGER;
pub type PLARGE_INTEGER = *mut LARGE_INTEGER;
pub type PHYSICAL_ADDRESS = LARGE_INTEGER;

impl Default for LARGE_INTEGER {
    fn default() -> Self {
        Self { QuadPart: 0 }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct _UNICODE_STRING {
    pub Length: USHORT,
    pub MaximumLength: USHORT,
    pub Buffer: PWSTR,
}
pub type UNICODE_STRING = _UNICODE_STRING;
pub type PUNICODE_STRING = *mut UNICODE_STRING;
pub type PCUNICODE_STRING = *const UNICODE_STRING;

impl Default for UNICODE_STRING {
    fn default() -> Self {
        Self { Length: 0, MaximumLength: 0, Buffer: core::ptr::null_mut() }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct _LIST_ENTRY {
    pub Flink: *mut _LIST_ENTRY,
    pub Blink: *mut _LIST_ENTRY,
}
pub type LIST_ENTRY = _LIST_ENTRY;
pub type PLIST_ENTRY = *mut LIST_ENTRY;

impl Default for LIST_ENTRY {
    fn default() -> Self {
        Self { Flink: core::ptr::null_mut(), Blink: core::ptr::null_mut() }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct _SINGLE_LIST_ENTRY {
    pub Next: *mut _SINGLE_LIST_ENTRY,
}
pub type SINGLE_LIST_ENTRY = _SINGLE_LIST_ENTRY;
pub type PSINGLE_LIST_ENTRY = *mut SINGLE_LIST_ENTRY;

impl Default for SINGLE_LIST_ENTRY {
    fn default() -> Self {
        Self { Next: core::ptr::null_mut() }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct _GUID {
    pub Data1: ULONG,
    pub Data2: USHORT,
    pub Data3: USHORT,
    pub Data4: [UCHAR; 8],
}
pub type GUID = _GUID;
pub type LPGUID = *mut GUID;
pub type LPCGUID = *const GUID;

pub const PASSIVE_LEVEL: u32 = 0;
pub const APC_LEVEL: u32 = 1;
pub const DISPATCH_LEVEL: u32 = 2;
pub const HIGH_LEVEL: u32 = 15;
pub const FALSE: u32 = 0;
pub const TRUE: u32 = 1;
pub const PAGE_SIZE: u32 = 4096;
pub const PAGE_SHIFT: u32 = 12;
