//! All-zero values, as the bindings give them for structures that cannot derive `Default`.

use super::*;

macro_rules! zero_default {
    ($($name:ident)+) => { $(
        impl Default for $name {
            fn default() -> Self {
                // SAFETY: a `repr(C)` record of integers, raw pointers and optional function pointers: all
                // zeros is a value of each of them.
                unsafe { core::mem::zeroed() }
            }
        }
    )+ };
}

zero_default! {
    _ULARGE_INTEGER
    _CSTRING
    _STRING
    _OBJECT_ATTRIBUTES
    _RTL_BITMAP
    _RTL_QUERY_REGISTRY_TABLE
    _SLIST_ENTRY
    _SLIST_HEADER
    _KBUGCHECK_REASON_CALLBACK_RECORD
    _KBUGCHECK_CALLBACK_RECORD
    _KWAIT_BLOCK
    _KAPC
    _KSPIN_LOCK_QUEUE
    _KLOCK_QUEUE_HANDLE
    _KDEVICE_QUEUE__bindgen_ty_1
    _DISPATCHER_HEADER__bindgen_ty_1__bindgen_ty_1
    _DISPATCHER_HEADER__bindgen_ty_1__bindgen_ty_1__bindgen_ty_1
    _DISPATCHER_HEADER__bindgen_ty_1__bindgen_ty_1__bindgen_ty_1__bindgen_ty_1
    _DISPATCHER_HEADER__bindgen_ty_1__bindgen_ty_1__bindgen_ty_2
    _DISPATCHER_HEADER__bindgen_ty_1__bindgen_ty_1__bindgen_ty_2__bindgen_ty_1
    _DISPATCHER_HEADER__bindgen_ty_1__bindgen_ty_1__bindgen_ty_3
    _DISPATCHER_HEADER__bindgen_ty_1__bindgen_ty_1__bindgen_ty_3__bindgen_ty_1
    _DISPATCHER_HEADER__bindgen_ty_1__bindgen_ty_1__bindgen_ty_3__bindgen_ty_2
    _KMUTANT
    _KTIMER
    _XSTATE_CONTEXT
    _XSTATE_SAVE
    _FAST_MUTEX
    _GENERAL_LOOKASIDE
    _GENERAL_LOOKASIDE__bindgen_ty_1
    _GENERAL_LOOKASIDE__bindgen_ty_2
    _GENERAL_LOOKASIDE__bindgen_ty_3
    _GENERAL_LOOKASIDE__bindgen_ty_4
    _GENERAL_LOOKASIDE__bindgen_ty_5
    _GENERAL_LOOKASIDE__bindgen_ty_6
    _GENERAL_LOOKASIDE_POOL
    _GENERAL_LOOKASIDE_POOL__bindgen_ty_1
    _GENERAL_LOOKASIDE_POOL__bindgen_ty_2
    _GENERAL_LOOKASIDE_POOL__bindgen_ty_3
    _GENERAL_LOOKASIDE_POOL__bindgen_ty_4
    _GENERAL_LOOKASIDE_POOL__bindgen_ty_5
    _GENERAL_LOOKASIDE_POOL__bindgen_ty_6
    _PAGED_LOOKASIDE_LIST
    _NPAGED_LOOKASIDE_LIST
    _LOOKASIDE_LIST_EX
    _EX_RUNDOWN_REF
    _EX_RUNDOWN_REF__bindgen_ty_1
    _SECURITY_SUBJECT_CONTEXT
    _ACCESS_STATE
    _ACCESS_STATE__bindgen_ty_1
    _POWER_STATE
    _SYSTEM_POWER_STATE_CONTEXT
    _SYSTEM_POWER_STATE_CONTEXT__bindgen_ty_1
    _CLIENT_ID
    _VPB
    _WAIT_CONTEXT_BLOCK
    _DEVICE_OBJECT
    _DEVICE_OBJECT__bindgen_ty_1
    _IO_SESSION_STATE_NOTIFICATION
    _IO_REMOVE_LOCK_COMMON_BLOCK
    _IO_REMOVE_LOCK
    _IO_STATUS_BLOCK
    _IO_STATUS_BLOCK__bindgen_ty_1
    _DEVICE_CAPABILITIES
    _FILE_POSITION_INFORMATION
    _FILE_STANDARD_INFORMATION
    _FILE_OBJECT
    _DEVICE_RELATIONS
    _DRIVER_EXTENSION
    _DRIVER_OBJECT
    _IRP
    _IRP__bindgen_ty_1
    _IRP__bindgen_ty_2
    _IRP__bindgen_ty_2__bindgen_ty_1
    _IRP__bindgen_ty_2__bindgen_ty_1__bindgen_ty_1
    _IRP__bindgen_ty_3
    _IRP__bindgen_ty_3__bindgen_ty_1
    _IRP__bindgen_ty_3__bindgen_ty_1__bindgen_ty_1
    _IRP__bindgen_ty_3__bindgen_ty_1__bindgen_ty_1__bindgen_ty_1
    _IRP__bindgen_ty_3__bindgen_ty_1__bindgen_ty_2
    _IRP__bindgen_ty_3__bindgen_ty_1__bindgen_ty_2__bindgen_ty_1
    _IO_SECURITY_CONTEXT
    _IO_STACK_LOCATION
    _IO_STACK_LOCATION__bindgen_ty_1
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_1
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_2
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_3
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_4
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_5
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_6
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_8
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_9
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_10
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_10__bindgen_ty_1
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_11
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_13
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_14
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_15
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_16
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_17
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_19
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_20
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_21
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_22
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_23
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_25
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_26
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_27
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_28
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_29
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_31
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_32
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_33
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_34
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_35
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_36
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_36__bindgen_ty_1
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_37
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_38
    _IO_STACK_LOCATION__bindgen_ty_1__bindgen_ty_39
    _OBJECT_NAME_INFORMATION
    _FILE_FS_SIZE_INFORMATION
    _OSVERSIONINFOW
    _SECURITY_DESCRIPTOR
    _IO_PRIORITY_INFO
}
