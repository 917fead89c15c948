//! Types of the routines that a driver hands to the kernel.

use super::*;

pub type PRTL_QUERY_REGISTRY_ROUTINE = Option<
    unsafe extern "C" fn(
        ValueName: PWSTR,
        ValueType: ULONG,
        ValueData: PVOID,
        ValueLength: ULONG,
        Context: PVOID,
        EntryContext: PVOID,
    ) -> NTSTATUS,
>;
pub type KBUGCHECK_REASON_CALLBACK_ROUTINE = Option<
    unsafe extern "C" fn(
        Reason: KBUGCHECK_CALLBACK_REASON,
        Record: *mut _KBUGCHECK_REASON_CALLBACK_RECORD,
        ReasonSpecificData: PVOID,
        ReasonSpecificDataLength: ULONG,
    ),
>;
pub type KBUGCHECK_CALLBACK_ROUTINE = Option<unsafe extern "C" fn(Buffer: PVOID, Length: ULONG)>;
pub type KSTART_ROUTINE = Option<unsafe extern "C" fn(StartContext: PVOID)>;
pub type PKNORMAL_ROUTINE =
    Option<unsafe extern "C" fn(NormalContext: PVOID, SystemArgument1: PVOID, SystemArgument2: PVOID)>;
pub type PKRUNDOWN_ROUTINE = Option<unsafe extern "C" fn(Apc: *mut _KAPC)>;
pub type PKKERNEL_ROUTINE = Option<
    unsafe extern "C" fn(
        Apc: *mut _KAPC,
        NormalRoutine: *mut PKNORMAL_ROUTINE,
        NormalContext: *mut PVOID,
        SystemArgument1: *mut PVOID,
        SystemArgument2: *mut PVOID,
    ),
>;
pub type KIPI_BROADCAST_WORKER = Option<unsafe extern "C" fn(Argument: ULONG_PTR) -> ULONG_PTR>;
pub type KDEFERRED_ROUTINE = Option<
    unsafe extern "C" fn(Dpc: *mut _KDPC, DeferredContext: PVOID, SystemArgument1: PVOID, SystemArgument2: PVOID),
>;
pub type PALLOCATE_FUNCTION =
    Option<unsafe extern "C" fn(PoolType: POOL_TYPE, NumberOfBytes: SIZE_T, Tag: ULONG) -> PVOID>;
pub type PALLOCATE_FUNCTION_EX = Option<
    unsafe extern "C" fn(
        PoolType: POOL_TYPE,
        NumberOfBytes: SIZE_T,
        Tag: ULONG,
        Lookaside: PLOOKASIDE_LIST_EX,
    ) -> PVOID,
>;
pub type PFREE_FUNCTION = Option<unsafe extern "C" fn(Buffer: PVOID)>;
pub type PFREE_FUNCTION_EX = Option<unsafe extern "C" fn(Buffer: PVOID, Lookaside: PLOOKASIDE_LIST_EX)>;
pub type CALLBACK_FUNCTION = Option<unsafe extern "C" fn(CallbackContext: PVOID, Argument1: PVOID, Argument2: PVOID)>;
pub type REQUEST_POWER_COMPLETE = Option<
    unsafe extern "C" fn(
        DeviceObject: *mut _DEVICE_OBJECT,
        MinorFunction: UCHAR,
        PowerState: POWER_STATE,
        Context: PVOID,
        IoStatus: *mut _IO_STATUS_BLOCK,
    ),
>;
pub type POWER_SETTING_CALLBACK =
    Option<unsafe extern "C" fn(SettingGuid: LPCGUID, Value: PVOID, ValueLength: ULONG, Context: PVOID) -> NTSTATUS>;
pub type DRIVER_CONTROL = Option<
    unsafe extern "C" fn(
        DeviceObject: *mut _DEVICE_OBJECT,
        Irp: *mut _IRP,
        MapRegisterBase: PVOID,
        Context: PVOID,
    ) -> IO_ALLOCATION_ACTION,
>;
pub type IO_WORKITEM_ROUTINE = Option<unsafe extern "C" fn(DeviceObject: PDEVICE_OBJECT, Context: PVOID)>;
pub type IO_WORKITEM_ROUTINE_EX =
    Option<unsafe extern "C" fn(IoObject: PVOID, Context: PVOID, IoWorkItem: PIO_WORKITEM)>;
pub type PIO_APC_ROUTINE =
    Option<unsafe extern "C" fn(ApcContext: PVOID, IoStatusBlock: PIO_STATUS_BLOCK, Reserved: ULONG)>;
pub type DRIVER_NOTIFICATION_CALLBACK_ROUTINE =
    Option<unsafe extern "C" fn(NotificationStructure: PVOID, Context: PVOID) -> NTSTATUS>;
pub type DRIVER_ADD_DEVICE = Option<
    unsafe extern "C" fn(DriverObject: *mut _DRIVER_OBJECT, PhysicalDeviceObject: *mut _DEVICE_OBJECT) -> NTSTATUS,
>;
pub type DRIVER_INITIALIZE =
    Option<unsafe extern "C" fn(DriverObject: *mut _DRIVER_OBJECT, RegistryPath: PUNICODE_STRING) -> NTSTATUS>;
pub type DRIVER_STARTIO = Option<unsafe extern "C" fn(DeviceObject: *mut _DEVICE_OBJECT, Irp: *mut _IRP)>;
pub type DRIVER_UNLOAD = Option<unsafe extern "C" fn(DriverObject: *mut _DRIVER_OBJECT)>;
pub type DRIVER_DISPATCH = Option<unsafe extern "C" fn(DeviceObject: *mut _DEVICE_OBJECT, Irp: *mut _IRP) -> NTSTATUS>;
pub type DRIVER_CANCEL = Option<unsafe extern "C" fn(DeviceObject: *mut _DEVICE_OBJECT, Irp: *mut _IRP)>;
pub type IO_COMPLETION_ROUTINE =
    Option<unsafe extern "C" fn(DeviceObject: *mut _DEVICE_OBJECT, Irp: *mut _IRP, Context: PVOID) -> NTSTATUS>;
pub type PDRIVER_REINITIALIZE =
    Option<unsafe extern "C" fn(DriverObject: *mut _DRIVER_OBJECT, Context: PVOID, Count: ULONG)>;
pub type PEXPAND_STACK_CALLOUT = Option<unsafe extern "C" fn(Parameter: PVOID)>;
