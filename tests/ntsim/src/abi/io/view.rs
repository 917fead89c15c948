//! Safe views of kernel objects in object memory.
//!
//! # Invariants
//! A view's address was handed out by the world's [`Arena`](super::arena::Arena) for an object of its type (that is
//! what the `known` constructors check against the world's tables), so its fields are readable and writable memory
//! for as long as the world lives: the arena recycles, it never returns memory. Fields are plain data; the driver and
//! the simulator follow the ownership rules of the objects, so that no two threads write one field at once. The two
//! fields that are raced on by contract (`Cancel`, `CancelRoutine`) are accessed atomically.

use crate::abi::*;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

macro_rules! view {
    ($(#[doc = $doc:literal])+ $view:ident of $ty:ty { $($get:ident $set:ident $($path:ident).+: $fty:ty;)* }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) struct $view(usize);

        #[allow(dead_code, reason = "every view offers its whole object")]
        impl $view {
            /// A view of an address that the caller took from the world's tables or has just allocated.
            pub(crate) fn at(addr: usize) -> Self {
                Self(addr)
            }
            /// The address.
            pub(crate) fn addr(self) -> usize {
                self.0
            }
            /// The pointer that drivers see.
            pub(crate) fn ptr(self) -> *mut $ty {
                self.0 as *mut $ty
            }
            $(
                pub(crate) fn $get(self) -> $fty {
                    let object = self.ptr();
                    // SAFETY: invariant of the module: the object is alive memory of this type.
                    let field: *mut $fty = unsafe { &raw mut (*object).$($path).+ };
                    // SAFETY: as above; the field is plain data.
                    unsafe { field.read() }
                }
                pub(crate) fn $set(self, value: $fty) {
                    let object = self.ptr();
                    // SAFETY: invariant of the module.
                    let field: *mut $fty = unsafe { &raw mut (*object).$($path).+ };
                    // SAFETY: as above; the ownership rules make this thread the only writer.
                    unsafe { field.write(value) }
                }
            )*
        }
    };
}

view! {
    /// An `IRP`.
    Irp of IRP {
        kind set_kind Type: CSHORT;
        size set_size Size: USHORT;
        mdl set_mdl MdlAddress: PMDL;
        flags set_flags Flags: ULONG;
        system_buffer set_system_buffer AssociatedIrp.SystemBuffer: PVOID;
        thread_list set_thread_list ThreadListEntry: LIST_ENTRY;
        status set_status IoStatus.__bindgen_anon_1.Status: NTSTATUS;
        information set_information IoStatus.Information: ULONG_PTR;
        requestor_mode set_requestor_mode RequestorMode: KPROCESSOR_MODE;
        pending_returned set_pending_returned PendingReturned: BOOLEAN;
        stack_count set_stack_count StackCount: CHAR;
        current_location set_current_location CurrentLocation: CHAR;
        cancel_irql set_cancel_irql CancelIrql: KIRQL;
        user_iosb set_user_iosb UserIosb: PIO_STATUS_BLOCK;
        user_event set_user_event UserEvent: PKEVENT;
        user_buffer set_user_buffer UserBuffer: PVOID;
        thread set_thread Tail.Overlay.Thread: PETHREAD;
        current_stack set_current_stack Tail.Overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation: PIO_STACK_LOCATION;
        original_file set_original_file Tail.Overlay.OriginalFileObject: PFILE_OBJECT;
    }
}

view! {
    /// An `IO_STACK_LOCATION`.
    Stack of IO_STACK_LOCATION {
        major set_major MajorFunction: UCHAR;
        minor set_minor MinorFunction: UCHAR;
        flags set_flags Flags: UCHAR;
        control set_control Control: UCHAR;
        device set_device DeviceObject: PDEVICE_OBJECT;
        file set_file FileObject: PFILE_OBJECT;
        routine set_routine CompletionRoutine: PIO_COMPLETION_ROUTINE;
        context set_context Context: PVOID;
    }
}

view! {
    /// A `DEVICE_OBJECT`.
    Device of DEVICE_OBJECT {
        kind set_kind Type: CSHORT;
        size set_size Size: USHORT;
        reference_count set_reference_count ReferenceCount: LONG;
        driver set_driver DriverObject: PDRIVER_OBJECT;
        next set_next NextDevice: PDEVICE_OBJECT;
        attached set_attached AttachedDevice: PDEVICE_OBJECT;
        flags set_flags Flags: ULONG;
        characteristics set_characteristics Characteristics: ULONG;
        vpb set_vpb Vpb: PVPB;
        extension set_extension DeviceExtension: PVOID;
        device_type set_device_type DeviceType: ULONG;
        stack_size set_stack_size StackSize: CCHAR;
        alignment set_alignment AlignmentRequirement: ULONG;
        sector_size set_sector_size SectorSize: USHORT;
        object_extension set_object_extension DeviceObjectExtension: *mut _DEVOBJ_EXTENSION;
    }
}

view! {
    /// A `DRIVER_OBJECT`.
    Driver of DRIVER_OBJECT {
        kind set_kind Type: CSHORT;
        size set_size Size: CSHORT;
        first_device set_first_device DeviceObject: PDEVICE_OBJECT;
        flags set_flags Flags: ULONG;
        extension set_extension DriverExtension: PDRIVER_EXTENSION;
        name set_name DriverName: UNICODE_STRING;
        unload set_unload DriverUnload: PDRIVER_UNLOAD;
        majors set_majors MajorFunction: [PDRIVER_DISPATCH; 28];
    }
}

view! {
    /// A `DRIVER_EXTENSION`.
    DriverExtension of DRIVER_EXTENSION {
        driver set_driver DriverObject: PDRIVER_OBJECT;
        add_device set_add_device AddDevice: PDRIVER_ADD_DEVICE;
        service set_service ServiceKeyName: UNICODE_STRING;
    }
}

view! {
    /// A `FILE_OBJECT`.
    File of FILE_OBJECT {
        kind set_kind Type: CSHORT;
        size set_size Size: CSHORT;
        device set_device DeviceObject: PDEVICE_OBJECT;
        vpb set_vpb Vpb: PVPB;
        fs_context set_fs_context FsContext: PVOID;
        read_access set_read_access ReadAccess: BOOLEAN;
        write_access set_write_access WriteAccess: BOOLEAN;
        flags set_flags Flags: ULONG;
        name set_name FileName: UNICODE_STRING;
        position set_position CurrentByteOffset.QuadPart: LONGLONG;
    }
}

view! {
    /// A `VPB`.
    Vpb of VPB {
        kind set_kind Type: CSHORT;
        size set_size Size: CSHORT;
        flags set_flags Flags: USHORT;
        device set_device DeviceObject: PDEVICE_OBJECT;
        real_device set_real_device RealDevice: PDEVICE_OBJECT;
        reference_count set_reference_count ReferenceCount: ULONG;
    }
}

view! {
    /// An `MDL`.
    MdlView of MDL {
        next set_next Next: PMDL;
        size_field set_size_field Size: CSHORT;
        flags set_flags MdlFlags: CSHORT;
        mapped set_mapped MappedSystemVa: PVOID;
        start set_start StartVa: PVOID;
        byte_count set_byte_count ByteCount: ULONG;
        byte_offset set_byte_offset ByteOffset: ULONG;
    }
}

/// Number of 8-byte slots of `IO_STACK_LOCATION.Parameters`.
const PARAMETER_SLOTS: usize = 4;

impl Stack {
    /// One 8-byte slot of the parameters.
    pub(crate) fn parameter(self, slot: usize) -> u64 {
        self.parameters()[slot]
    }

    /// The parameters as four 8-byte slots; every member of the union starts at a slot or inside one.
    pub(crate) fn parameters(self) -> [u64; PARAMETER_SLOTS] {
        let object = self.ptr();
        // SAFETY: invariant of the module.
        let field = unsafe { &raw const (*object).Parameters }.cast::<[u64; PARAMETER_SLOTS]>();
        // SAFETY: as above; the union is 32 bytes, 8-aligned, and any bytes are integers.
        unsafe { field.read() }
    }

    /// Sets the parameters.
    pub(crate) fn set_parameters(self, slots: [u64; PARAMETER_SLOTS]) {
        let object = self.ptr();
        // SAFETY: invariant of the module.
        let field = unsafe { &raw mut (*object).Parameters }.cast::<[u64; PARAMETER_SLOTS]>();
        // SAFETY: as above.
        unsafe { field.write(slots) }
    }

    /// Clears everything but where the location is.
    pub(crate) fn clear(self) {
        // SAFETY: invariant of the module; all zeros is a value of every field.
        unsafe { self.ptr().write_bytes(0, 1) }
    }
}

impl Irp {
    /// The stack location of a level: 1 is the lowest device's.
    pub(crate) fn stack_at(self, location: i8) -> Stack {
        let index = usize::try_from(location).unwrap_or(1).saturating_sub(1);
        Stack(self.0 + size_of::<IRP>() + index * size_of::<IO_STACK_LOCATION>())
    }

    /// The current location.
    pub(crate) fn stack(self) -> Stack {
        Stack(self.current_stack() as usize)
    }

    fn cancel_cell(self) -> &'static AtomicU8 {
        let object = self.ptr();
        // SAFETY: invariant of the module.
        let field = unsafe { &raw mut (*object).Cancel };
        // SAFETY: a byte of the arena, alive for as long as the world; accessed atomically by everyone who races. The
        // reference does not leave the accessors below.
        unsafe { AtomicU8::from_ptr(field) }
    }

    fn cancel_routine_cell(self) -> &'static AtomicUsize {
        let object = self.ptr();
        // SAFETY: invariant of the module.
        let field = unsafe { &raw mut (*object).CancelRoutine };
        // SAFETY: an aligned pointer-sized field of the arena; as for `cancel_cell`.
        unsafe { AtomicUsize::from_ptr(field.cast()) }
    }

    /// `Irp->Cancel`.
    pub(crate) fn cancelled(self) -> bool {
        self.cancel_cell().load(Ordering::SeqCst) != 0
    }

    /// Sets `Irp->Cancel`.
    pub(crate) fn set_cancelled(self, on: bool) {
        self.cancel_cell().store(u8::from(on), Ordering::SeqCst);
    }

    /// Whether a cancel routine is set.
    pub(crate) fn has_cancel_routine(self) -> bool {
        self.cancel_routine_cell().load(Ordering::SeqCst) != 0
    }

    /// Takes the cancel routine out, as `IoSetCancelRoutine(Irp, NULL)`.
    pub(crate) fn take_cancel_routine(self) -> PDRIVER_CANCEL {
        let address = self.cancel_routine_cell().swap(0, Ordering::SeqCst);
        // SAFETY: the field has this type, a nullable function pointer of pointer size; its bytes are passed through.
        unsafe { std::mem::transmute::<usize, PDRIVER_CANCEL>(address) }
    }
}
