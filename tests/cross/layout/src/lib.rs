//! Sizes and offsets of the kernel structures that the driver touches, as constants of the x64 ABI.
//!
//! The kernel's structures are an ABI: every field the driver reads has one offset on x64, whatever headers said so at
//! build time. The assertions below hold at compile time or the crate does not compile. For the Windows target they
//! are about `wdk_sys`, generated on this machine or on a machine with the WDK; elsewhere they are about the simulated
//! kernel. One table for both keeps the simulator, the stand-in headers and Windows from drifting apart.
//!
//! The values are those that the WDK headers give for x64; the debugger's `dt nt!_IRP` and so on print the same.

#![no_std]

#[cfg(not(windows))]
use vck_ntsim::abi as nt;
#[cfg(windows)]
use wdk_sys as nt;

/// A structure and what was compiled in for it.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Name in the Windows headers.
    pub name: &'static str,
    /// Bytes.
    pub size: usize,
    /// Alignment in bytes.
    pub align: usize,
    /// Field path and byte offset.
    pub fields: &'static [(&'static str, usize)],
}

macro_rules! layouts {
    ($($name:ident $size:literal $align:literal { $($($field:ident).+ : $offset:literal,)* })+) => {
        $(const _: () = {
            assert!(size_of::<nt::$name>() == $size, concat!("size of ", stringify!($name)));
            assert!(align_of::<nt::$name>() == $align, concat!("alignment of ", stringify!($name)));
            $(assert!(
                core::mem::offset_of!(nt::$name, $($field).+) == $offset,
                concat!("offset of ", stringify!($name), " ", stringify!($($field).+))
            );)*
        };)+

        /// Every structure of the table, with the values that were compiled in.
        pub const LAYOUTS: &[Layout] = &[$(Layout {
            name: stringify!($name),
            size: size_of::<nt::$name>(),
            align: align_of::<nt::$name>(),
            fields: &[$((stringify!($($field).+), core::mem::offset_of!(nt::$name, $($field).+)),)*],
        },)+];
    };
}

layouts! {
    IRP 0xD0 16 {
        Type: 0x00,
        Size: 0x02,
        MdlAddress: 0x08,
        Flags: 0x10,
        AssociatedIrp.SystemBuffer: 0x18,
        IoStatus: 0x30,
        IoStatus.Information: 0x38,
        RequestorMode: 0x40,
        PendingReturned: 0x41,
        StackCount: 0x42,
        CurrentLocation: 0x43,
        Cancel: 0x44,
        CancelIrql: 0x45,
        UserIosb: 0x48,
        UserEvent: 0x50,
        CancelRoutine: 0x68,
        UserBuffer: 0x70,
        Tail.Overlay.__bindgen_anon_1.__bindgen_anon_1.DriverContext: 0x78,
        Tail.Overlay.Thread: 0x98,
        Tail.Overlay.__bindgen_anon_2.ListEntry: 0xA8,
        Tail.Overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation: 0xB8,
        Tail.Overlay.OriginalFileObject: 0xC0,
    }
    IO_STACK_LOCATION 0x48 8 {
        MajorFunction: 0x00,
        MinorFunction: 0x01,
        Flags: 0x02,
        Control: 0x03,
        Parameters.Read.Length: 0x08,
        Parameters.Read.Key: 0x10,
        Parameters.Read.ByteOffset: 0x18,
        Parameters.Write.Length: 0x08,
        Parameters.Write.ByteOffset: 0x18,
        Parameters.DeviceIoControl.OutputBufferLength: 0x08,
        Parameters.DeviceIoControl.InputBufferLength: 0x10,
        Parameters.DeviceIoControl.IoControlCode: 0x18,
        Parameters.DeviceIoControl.Type3InputBuffer: 0x20,
        Parameters.Power.Type: 0x10,
        Parameters.Power.State: 0x18,
        Parameters.Power.ShutdownType: 0x20,
        Parameters.QueryDeviceRelations.Type: 0x08,
        Parameters.UsageNotification.InPath: 0x08,
        Parameters.UsageNotification.Type: 0x10,
        DeviceObject: 0x28,
        FileObject: 0x30,
        CompletionRoutine: 0x38,
        Context: 0x40,
    }
    MDL 0x30 8 {
        Next: 0x00,
        Size: 0x08,
        MdlFlags: 0x0A,
        Process: 0x10,
        MappedSystemVa: 0x18,
        StartVa: 0x20,
        ByteCount: 0x28,
        ByteOffset: 0x2C,
    }
    DEVICE_OBJECT 0x150 16 {
        Type: 0x00,
        ReferenceCount: 0x04,
        DriverObject: 0x08,
        NextDevice: 0x10,
        AttachedDevice: 0x18,
        Flags: 0x30,
        Characteristics: 0x34,
        Vpb: 0x38,
        DeviceExtension: 0x40,
        DeviceType: 0x48,
        StackSize: 0x4C,
        AlignmentRequirement: 0x98,
        SectorSize: 0x130,
        DeviceObjectExtension: 0x138,
    }
    DRIVER_OBJECT 0x150 8 {
        Type: 0x00,
        DeviceObject: 0x08,
        DriverExtension: 0x30,
        DriverName: 0x38,
        DriverInit: 0x58,
        DriverStartIo: 0x60,
        DriverUnload: 0x68,
        MajorFunction: 0x70,
    }
    DRIVER_EXTENSION 0x28 8 {
        DriverObject: 0x00,
        AddDevice: 0x08,
        Count: 0x10,
        ServiceKeyName: 0x18,
    }
    FILE_OBJECT 0xD8 8 {
        Type: 0x00,
        DeviceObject: 0x08,
        Vpb: 0x10,
        FsContext: 0x18,
        FsContext2: 0x20,
        RelatedFileObject: 0x40,
        Flags: 0x50,
        FileName: 0x58,
    }
    VPB 0x60 8 {
        Flags: 0x04,
        DeviceObject: 0x08,
        RealDevice: 0x10,
        SerialNumber: 0x18,
        ReferenceCount: 0x1C,
    }
    IO_REMOVE_LOCK 0x20 8 { Common: 0x00, }
    KEVENT 0x18 8 { Header: 0x00, }
    KMUTANT 0x38 8 { Header: 0x00, MutantListEntry: 0x18, OwnerThread: 0x28, }
    XSTATE_SAVE 0x38 8 { XStateContext: 0x18, }
    UNICODE_STRING 0x10 8 { Length: 0x00, MaximumLength: 0x02, Buffer: 0x08, }
    OBJECT_ATTRIBUTES 0x30 8 {
        Length: 0x00,
        RootDirectory: 0x08,
        ObjectName: 0x10,
        Attributes: 0x18,
        SecurityDescriptor: 0x20,
    }
    IO_STATUS_BLOCK 0x10 8 { Information: 0x08, }
    LIST_ENTRY 0x10 8 { Flink: 0x00, Blink: 0x08, }
}
