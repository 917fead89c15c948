//! Sizes, alignments and offsets, as the stock bindings assert them; and all-zero defaults.

use super::*;

macro_rules! layout {
    ($($name:ident $size:literal $align:literal { $($field:ident $offset:literal)* })+) => { $(
        const _: () = {
            assert!(size_of::<$name>() == $size);
            assert!(align_of::<$name>() == $align);
            $(assert!(core::mem::offset_of!($name, $field) == $offset);)*
        };
    )+ };
}

layout! {
    _LARGE_INTEGER 8 8 { u 0 QuadPart 0 }
    _ULARGE_INTEGER 8 8 { u 0 QuadPart 0 }
    _LUID 8 4 { LowPart 0 HighPart 4 }
    _UNICODE_STRING 16 8 { Length 0 MaximumLength 2 Buffer 8 }
    _CSTRING 16 8 { Length 0 MaximumLength 2 Buffer 8 }
    _STRING 16 8 { Length 0 MaximumLength 2 Buffer 8 }
    _OBJECT_ATTRIBUTES 48 8 { Length 0 RootDirectory 8 ObjectName 16 Attributes 24 SecurityDescriptor 32 SecurityQualityOfService 40 }
    _LIST_ENTRY 16 8 { Flink 0 Blink 8 }
    _SINGLE_LIST_ENTRY 8 8 { Next 0 }
    _PROCESSOR_NUMBER 4 2 { Group 0 Number 2 Reserved 3 }
    _GROUP_AFFINITY 16 8 { Mask 0 Group 8 Reserved 10 }
    _GUID 16 4 { Data1 0 Data2 4 Data3 6 Data4 8 }
    _RTL_BITMAP 16 8 { SizeOfBitMap 0 Buffer 8 }
    _RTL_QUERY_REGISTRY_TABLE 56 8 { QueryRoutine 0 Flags 8 Name 16 EntryContext 24 DefaultType 32 DefaultData 40 DefaultLength 48 }
    _TIME_FIELDS 16 2 { Year 0 Month 2 Day 4 Hour 6 Minute 8 Second 10 Milliseconds 12 Weekday 14 }
    _SLIST_ENTRY 16 16 { Next 0 }
    _SLIST_HEADER 16 16 { Header8 0 Header16 0 HeaderX64 0 }
    _KBUGCHECK_REASON_CALLBACK_RECORD 48 8 { Entry 0 CallbackRoutine 16 Component 24 Checksum 32 Reason 40 State 44 }
    _KBUGCHECK_CALLBACK_RECORD 64 8 { Entry 0 CallbackRoutine 16 Buffer 24 Length 32 Component 40 Checksum 48 State 56 }
    _KWAIT_BLOCK 48 8 { WaitListEntry 0 Thread 16 Object 24 NextWaitBlock 32 WaitKey 40 WaitType 42 BlockState 43 SpareLong 44 }
    _KAPC 88 8 { Type 0 SpareByte0 1 Size 2 SpareByte1 3 SpareLong0 4 Thread 8 ApcListEntry 16 KernelRoutine 32 RundownRoutine 40 NormalRoutine 48 NormalContext 56 SystemArgument1 64 SystemArgument2 72 ApcStateIndex 80 ApcMode 81 Inserted 82 }
    _KDEVICE_QUEUE_ENTRY 24 8 { DeviceListEntry 0 SortKey 16 Inserted 20 }
    _KSPIN_LOCK_QUEUE 16 8 { Next 0 Lock 8 }
    _KLOCK_QUEUE_HANDLE 24 8 { LockQueue 0 OldIrql 16 }
    _KDPC 64 8 { Type 0 Importance 1 Number 2 DpcListEntry 8 DeferredRoutine 24 DeferredContext 32 SystemArgument1 40 SystemArgument2 48 DpcData 56 }
    _KDEVICE_QUEUE 40 8 { Type 0 Size 2 DeviceListHead 8 Lock 24 }
    _DISPATCHER_HEADER 24 8 { SignalState 4 WaitListHead 8 }
    _KEVENT 24 8 { Header 0 }
    _KSEMAPHORE 32 8 { Header 0 Limit 24 }
    _KGATE 24 8 { Header 0 }
    _KGUARDED_MUTEX 56 8 { Count 0 Owner 8 Contention 16 Gate 24 }
    _KMUTANT 56 8 { Header 0 MutantListEntry 24 OwnerThread 40 Abandoned 48 ApcDisable 49 }
    _KTIMER 64 8 { Header 0 DueTime 24 TimerListEntry 32 Dpc 48 Processor 56 Period 60 }
    _KSYSTEM_TIME 12 4 { LowPart 0 High1Time 4 High2Time 8 }
    _XSTATE_CONTEXT 32 8 { Mask 0 Length 8 Reserved1 12 Area 16 Buffer 24 }
    _XSTATE_SAVE 56 8 { Prev 0 Thread 8 Level 16 XStateContext 24 }
    _MDL 48 8 { Next 0 Size 8 MdlFlags 10 Process 16 MappedSystemVa 24 StartVa 32 ByteCount 40 ByteOffset 44 }
    _FAST_MUTEX 56 8 { Count 0 Owner 8 Contention 16 Event 24 OldIrql 48 }
    _GENERAL_LOOKASIDE 128 64 { Depth 16 MaximumDepth 18 TotalAllocates 20 TotalFrees 28 Type 36 Tag 40 Size 44 ListEntry 64 LastTotalAllocates 80 Future 88 }
    _GENERAL_LOOKASIDE_POOL 96 16 { Depth 16 MaximumDepth 18 TotalAllocates 20 TotalFrees 28 Type 36 Tag 40 Size 44 ListEntry 64 LastTotalAllocates 80 Future 88 }
    _PAGED_LOOKASIDE_LIST 128 64 { L 0 }
    _NPAGED_LOOKASIDE_LIST 128 64 { L 0 }
    _LOOKASIDE_LIST_EX 96 16 { L 0 }
    _EX_RUNDOWN_REF 8 8 {  }
    _GENERIC_MAPPING 16 4 { GenericRead 0 GenericWrite 4 GenericExecute 8 GenericAll 12 }
    _ACL 8 2 { AclRevision 0 Sbz1 1 AclSize 2 AceCount 4 Sbz2 6 }
    _LUID_AND_ATTRIBUTES 12 4 { Luid 0 Attributes 8 }
    _PRIVILEGE_SET 20 4 { PrivilegeCount 0 Control 4 Privilege 8 }
    _INITIAL_PRIVILEGE_SET 44 4 { PrivilegeCount 0 Control 4 Privilege 8 }
    _SECURITY_SUBJECT_CONTEXT 32 8 { ClientToken 0 ImpersonationLevel 8 PrimaryToken 16 ProcessAuditId 24 }
    _ACCESS_STATE 160 8 { OperationID 0 SecurityEvaluated 8 GenerateAudit 9 GenerateOnClose 10 PrivilegesAllocated 11 Flags 12 RemainingDesiredAccess 16 PreviouslyGrantedAccess 20 OriginalDesiredAccess 24 SubjectSecurityContext 32 SecurityDescriptor 64 AuxData 72 Privileges 80 AuditPrivileges 124 ObjectName 128 ObjectTypeName 144 }
    _POWER_STATE 4 4 { SystemState 0 DeviceState 0 }
    _SYSTEM_POWER_STATE_CONTEXT 4 4 {  }
    _KEY_VALUE_FULL_INFORMATION 24 4 { TitleIndex 0 Type 4 DataOffset 8 DataLength 12 NameLength 16 Name 20 }
    _KEY_VALUE_PARTIAL_INFORMATION 16 4 { TitleIndex 0 Type 4 DataLength 8 Data 12 }
    _OBJECT_HANDLE_INFORMATION 8 4 { HandleAttributes 0 GrantedAccess 4 }
    _CLIENT_ID 16 8 { UniqueProcess 0 UniqueThread 8 }
    _VPB 96 8 { Type 0 Size 2 Flags 4 VolumeLabelLength 6 DeviceObject 8 RealDevice 16 SerialNumber 24 ReferenceCount 28 VolumeLabel 32 }
    _WAIT_CONTEXT_BLOCK 72 8 { WaitQueueEntry 0 DeviceRoutine 24 DeviceContext 32 NumberOfMapRegisters 40 DeviceObject 48 CurrentIrp 56 BufferChainingDpc 64 }
    _DEVICE_OBJECT 336 16 { Type 0 Size 2 ReferenceCount 4 DriverObject 8 NextDevice 16 AttachedDevice 24 CurrentIrp 32 Timer 40 Flags 48 Characteristics 52 Vpb 56 DeviceExtension 64 DeviceType 72 StackSize 76 Queue 80 AlignmentRequirement 152 DeviceQueue 160 Dpc 200 ActiveThreadCount 264 SecurityDescriptor 272 DeviceLock 280 SectorSize 304 Spare1 306 DeviceObjectExtension 312 Reserved 320 }
    _IO_SESSION_STATE_NOTIFICATION 32 8 { Size 0 Flags 4 IoObject 8 EventMask 16 Context 24 }
    _IO_REMOVE_LOCK_COMMON_BLOCK 32 8 { Removed 0 Reserved 1 IoCount 4 RemoveEvent 8 }
    _IO_REMOVE_LOCK 32 8 { Common 0 }
    _IO_STATUS_BLOCK 16 8 { Information 8 }
    _BOOTDISK_INFORMATION 24 8 { BootPartitionOffset 0 SystemPartitionOffset 8 BootDeviceSignature 16 SystemDeviceSignature 20 }
    _DEVICE_CAPABILITIES 64 4 { Size 0 Version 2 Address 8 UINumber 12 DeviceState 16 SystemWake 44 DeviceWake 48 D1Latency 52 D2Latency 56 D3Latency 60 }
    _DEVPROPKEY 20 4 { fmtid 0 pid 16 }
    _FILE_POSITION_INFORMATION 8 8 { CurrentByteOffset 0 }
    _FILE_STANDARD_INFORMATION 24 8 { AllocationSize 0 EndOfFile 8 NumberOfLinks 16 DeletePending 20 Directory 21 }
    _FILE_FS_DEVICE_INFORMATION 8 4 { DeviceType 0 Characteristics 4 }
    _FILE_OBJECT 216 8 { Type 0 Size 2 DeviceObject 8 Vpb 16 FsContext 24 FsContext2 32 SectionObjectPointer 40 PrivateCacheMap 48 FinalStatus 56 RelatedFileObject 64 LockOperation 72 DeletePending 73 ReadAccess 74 WriteAccess 75 DeleteAccess 76 SharedRead 77 SharedWrite 78 SharedDelete 79 Flags 80 FileName 88 CurrentByteOffset 104 Waiters 112 Busy 116 LastLock 120 Lock 128 Event 152 CompletionContext 176 IrpListLock 184 IrpList 192 FileObjectExtension 208 }
    _DEVICE_RELATIONS 16 8 { Count 0 Objects 8 }
    _DRIVER_EXTENSION 40 8 { DriverObject 0 AddDevice 8 Count 16 ServiceKeyName 24 }
    _DRIVER_OBJECT 336 8 { Type 0 Size 2 DeviceObject 8 Flags 16 DriverStart 24 DriverSize 32 DriverSection 40 DriverExtension 48 DriverName 56 HardwareDatabase 72 FastIoDispatch 80 DriverInit 88 DriverStartIo 96 DriverUnload 104 MajorFunction 112 }
    _IRP 208 16 { Type 0 Size 2 MdlAddress 8 Flags 16 AssociatedIrp 24 ThreadListEntry 32 IoStatus 48 RequestorMode 64 PendingReturned 65 StackCount 66 CurrentLocation 67 Cancel 68 CancelIrql 69 ApcEnvironment 70 AllocationFlags 71 UserIosb 72 UserEvent 80 Overlay 88 CancelRoutine 104 UserBuffer 112 Tail 120 }
    _IO_SECURITY_CONTEXT 24 8 { SecurityQos 0 AccessState 8 DesiredAccess 16 FullCreateOptions 20 }
    _IO_STACK_LOCATION 72 8 { MajorFunction 0 MinorFunction 1 Flags 2 Control 3 Parameters 8 DeviceObject 40 FileObject 48 CompletionRoutine 56 Context 64 }
    _OBJECT_NAME_INFORMATION 16 8 { Name 0 }
    _FILE_NAME_INFORMATION 8 4 { FileNameLength 0 FileName 4 }
    _FILE_FS_SIZE_INFORMATION 24 8 { TotalAllocationUnits 0 AvailableAllocationUnits 8 SectorsPerAllocationUnit 16 BytesPerSector 20 }
    _OSVERSIONINFOW 276 4 { dwOSVersionInfoSize 0 dwMajorVersion 4 dwMinorVersion 8 dwBuildNumber 12 dwPlatformId 16 szCSDVersion 20 }
    _SID_IDENTIFIER_AUTHORITY 6 1 { Value 0 }
    _SID 12 4 { Revision 0 SubAuthorityCount 1 IdentifierAuthority 2 SubAuthority 8 }
    _ACE_HEADER 4 2 { AceType 0 AceFlags 1 AceSize 2 }
    _ACCESS_ALLOWED_ACE 12 4 { Header 0 Mask 4 SidStart 8 }
    _SECURITY_DESCRIPTOR 40 8 { Revision 0 Sbz1 1 Control 2 Owner 8 Group 16 Sacl 24 Dacl 32 }
    _IO_PRIORITY_INFO 16 4 { Size 0 ThreadPriority 4 PagePriority 8 IoPriority 12 }
}
