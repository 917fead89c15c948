//! Safe views of kernel objects in object memory.
//!
//! # Invariants
//! A view's address was handed out by the world's [`Arena`](super::arena::Arena) for an object of its type (that is
//! what the `known` constructors check against the world's tables), so its fields are readable and writable memory
//! for as long as the world lives: the arena recycles, it never returns memory. Fields are plain data; the driver and
//! the simulator follow the ownership rules of the objects, so that no two threads write one field at once. The two
//! fields that are raced on by contract (`Cancel`, `CancelRoutine`) are accessed atomically.

use crate::abi::*;
use crate::host::page_heap::alias;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

macro_rules! view {
    ($(#[doc = $doc:literal])+ $view:ident of $ty:ty {
        get { $($get:ident $($from:ident).+: $got:ty;)* }
        set { $($set:ident $($to:ident).+: $given:ty;)* }
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) struct $view(usize);

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
                self.addr() as *mut $ty
            }
            /// The object as the simulator reaches it, whatever the driver may do with it at the moment.
            fn seen(self) -> *mut $ty {
                alias(self.0) as *mut $ty
            }
            $(
                pub(crate) fn $get(self) -> $got {
                    let object = self.seen();
                    // SAFETY: invariant of the module: the object is alive memory of this type.
                    let field: *mut $got = unsafe { &raw mut (*object).$($from).+ };
                    // SAFETY: as above; the field is plain data.
                    unsafe { field.read() }
                }
            )*
            $(
                pub(crate) fn $set(self, value: $given) {
                    let object = self.seen();
                    // SAFETY: invariant of the module.
                    let field: *mut $given = unsafe { &raw mut (*object).$($to).+ };
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
        get {
            mdl MdlAddress: PMDL;
            flags Flags: ULONG;
            system_buffer AssociatedIrp.SystemBuffer: PVOID;
            status IoStatus.__bindgen_anon_1.Status: NTSTATUS;
            information IoStatus.Information: ULONG_PTR;
            stack_count StackCount: CHAR;
            current_location CurrentLocation: CHAR;
            user_buffer UserBuffer: PVOID;
            thread Tail.Overlay.Thread: PETHREAD;
            current_stack Tail.Overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation: PIO_STACK_LOCATION;
        }
        set {
            set_kind Type: CSHORT;
            set_size Size: USHORT;
            set_mdl MdlAddress: PMDL;
            set_flags Flags: ULONG;
            set_system_buffer AssociatedIrp.SystemBuffer: PVOID;
            set_thread_list ThreadListEntry: LIST_ENTRY;
            set_status IoStatus.__bindgen_anon_1.Status: NTSTATUS;
            set_information IoStatus.Information: ULONG_PTR;
            set_requestor_mode RequestorMode: KPROCESSOR_MODE;
            set_pending_returned PendingReturned: BOOLEAN;
            set_stack_count StackCount: CHAR;
            set_current_location CurrentLocation: CHAR;
            set_cancel_irql CancelIrql: KIRQL;
            set_user_iosb UserIosb: PIO_STATUS_BLOCK;
            set_user_event UserEvent: PKEVENT;
            set_user_buffer UserBuffer: PVOID;
            set_thread Tail.Overlay.Thread: PETHREAD;
            set_current_stack Tail.Overlay.__bindgen_anon_2.__bindgen_anon_1.CurrentStackLocation: PIO_STACK_LOCATION;
            set_original_file Tail.Overlay.OriginalFileObject: PFILE_OBJECT;
        }
    }
}

view! {
    /// An `IO_STACK_LOCATION`.
    Stack of IO_STACK_LOCATION {
        get {
            major MajorFunction: UCHAR;
            minor MinorFunction: UCHAR;
            flags Flags: UCHAR;
            control Control: UCHAR;
            device DeviceObject: PDEVICE_OBJECT;
            file FileObject: PFILE_OBJECT;
            routine CompletionRoutine: PIO_COMPLETION_ROUTINE;
            context Context: PVOID;
        }
        set {
            set_major MajorFunction: UCHAR;
            set_minor MinorFunction: UCHAR;
            set_flags Flags: UCHAR;
            set_control Control: UCHAR;
            set_device DeviceObject: PDEVICE_OBJECT;
            set_file FileObject: PFILE_OBJECT;
            set_routine CompletionRoutine: PIO_COMPLETION_ROUTINE;
            set_context Context: PVOID;
        }
    }
}

view! {
    /// A `DEVICE_OBJECT`.
    Device of DEVICE_OBJECT {
        get {
            reference_count ReferenceCount: LONG;
            driver DriverObject: PDRIVER_OBJECT;
            next NextDevice: PDEVICE_OBJECT;
            attached AttachedDevice: PDEVICE_OBJECT;
            flags Flags: ULONG;
            characteristics Characteristics: ULONG;
            vpb Vpb: PVPB;
            stack_size StackSize: CCHAR;
            alignment AlignmentRequirement: ULONG;
            sector_size SectorSize: USHORT;
        }
        set {
            set_kind Type: CSHORT;
            set_size Size: USHORT;
            set_reference_count ReferenceCount: LONG;
            set_driver DriverObject: PDRIVER_OBJECT;
            set_next NextDevice: PDEVICE_OBJECT;
            set_attached AttachedDevice: PDEVICE_OBJECT;
            set_flags Flags: ULONG;
            set_characteristics Characteristics: ULONG;
            set_vpb Vpb: PVPB;
            set_extension DeviceExtension: PVOID;
            set_device_type DeviceType: ULONG;
            set_stack_size StackSize: CCHAR;
            set_alignment AlignmentRequirement: ULONG;
            set_sector_size SectorSize: USHORT;
            set_object_extension DeviceObjectExtension: *mut _DEVOBJ_EXTENSION;
        }
    }
}

view! {
    /// A `DRIVER_OBJECT`.
    Driver of DRIVER_OBJECT {
        get {
            first_device DeviceObject: PDEVICE_OBJECT;
            extension DriverExtension: PDRIVER_EXTENSION;
            unload DriverUnload: PDRIVER_UNLOAD;
            majors MajorFunction: [PDRIVER_DISPATCH; 28];
        }
        set {
            set_kind Type: CSHORT;
            set_size Size: CSHORT;
            set_first_device DeviceObject: PDEVICE_OBJECT;
            set_extension DriverExtension: PDRIVER_EXTENSION;
            set_name DriverName: UNICODE_STRING;
        }
    }
}

view! {
    /// A `DRIVER_EXTENSION`.
    DriverExtension of DRIVER_EXTENSION {
        get {
            add_device AddDevice: PDRIVER_ADD_DEVICE;
        }
        set {
            set_driver DriverObject: PDRIVER_OBJECT;
            set_service ServiceKeyName: UNICODE_STRING;
        }
    }
}

view! {
    /// A `FILE_OBJECT`.
    File of FILE_OBJECT {
        get {
            device DeviceObject: PDEVICE_OBJECT;
            flags Flags: ULONG;
            name FileName: UNICODE_STRING;
            position CurrentByteOffset.QuadPart: LONGLONG;
        }
        set {
            set_kind Type: CSHORT;
            set_size Size: CSHORT;
            set_device DeviceObject: PDEVICE_OBJECT;
            set_vpb Vpb: PVPB;
            set_read_access ReadAccess: BOOLEAN;
            set_write_access WriteAccess: BOOLEAN;
            set_flags Flags: ULONG;
            set_name FileName: UNICODE_STRING;
            set_position CurrentByteOffset.QuadPart: LONGLONG;
        }
    }
}

view! {
    /// A `VPB`.
    Vpb of VPB {
        get {
            flags Flags: USHORT;
            device DeviceObject: PDEVICE_OBJECT;
        }
        set {
            set_kind Type: CSHORT;
            set_size Size: CSHORT;
            set_flags Flags: USHORT;
            set_device DeviceObject: PDEVICE_OBJECT;
            set_real_device RealDevice: PDEVICE_OBJECT;
        }
    }
}

view! {
    /// An `MDL`.
    MdlView of MDL {
        get {
            next Next: PMDL;
            start StartVa: PVOID;
            byte_count ByteCount: ULONG;
            byte_offset ByteOffset: ULONG;
        }
        set {
            set_size_field Size: CSHORT;
            set_flags MdlFlags: CSHORT;
            set_start StartVa: PVOID;
            set_byte_count ByteCount: ULONG;
            set_byte_offset ByteOffset: ULONG;
        }
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
        let object = self.seen();
        // SAFETY: invariant of the module.
        let field = unsafe { &raw const (*object).Parameters }.cast::<[u64; PARAMETER_SLOTS]>();
        // SAFETY: as above; the union is 32 bytes, 8-aligned, and any bytes are integers.
        unsafe { field.read() }
    }

    /// Sets the parameters.
    pub(crate) fn set_parameters(self, slots: [u64; PARAMETER_SLOTS]) {
        let object = self.seen();
        // SAFETY: invariant of the module.
        let field = unsafe { &raw mut (*object).Parameters }.cast::<[u64; PARAMETER_SLOTS]>();
        // SAFETY: as above.
        unsafe { field.write(slots) }
    }
}

impl Irp {
    /// The stack location of a level: 1 is the lowest device's.
    pub(crate) fn stack_at(self, location: i8) -> Stack {
        let index = usize::try_from(location).unwrap_or(1).saturating_sub(1);
        Stack::at(self.0 + size_of::<IRP>() + index * size_of::<IO_STACK_LOCATION>())
    }

    /// The current location.
    pub(crate) fn stack(self) -> Stack {
        Stack::at(self.current_stack() as usize)
    }

    fn cancel_cell(self) -> &'static AtomicU8 {
        let object = self.seen();
        // SAFETY: invariant of the module.
        let field = unsafe { &raw mut (*object).Cancel };
        // SAFETY: a byte of the arena, alive for as long as the world; accessed atomically by everyone who races. The
        // reference does not leave the accessors below.
        unsafe { AtomicU8::from_ptr(field) }
    }

    fn cancel_routine_cell(self) -> &'static AtomicUsize {
        let object = self.seen();
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
