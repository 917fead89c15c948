//! Enumerations: a module of constants each, as the bindings have them.

pub mod _EVENT_TYPE {
    pub type Type = i32;
    pub const NotificationEvent: Type = 0;
    pub const SynchronizationEvent: Type = 1;
}
pub mod _TIMER_TYPE {
    pub type Type = i32;
    pub const NotificationTimer: Type = 0;
    pub const SynchronizationTimer: Type = 1;
}
pub mod _WAIT_TYPE {
    pub type Type = i32;
    pub const WaitAll: Type = 0;
    pub const WaitAny: Type = 1;
}
pub mod _MODE {
    pub type Type = i32;
    pub const KernelMode: Type = 0;
    pub const UserMode: Type = 1;
    pub const MaximumMode: Type = 2;
}
pub mod _KBUGCHECK_CALLBACK_REASON {
    pub type Type = i32;
    pub const KbCallbackInvalid: Type = 0;
    pub const KbCallbackReserved1: Type = 1;
    pub const KbCallbackSecondaryDumpData: Type = 2;
    pub const KbCallbackDumpIo: Type = 3;
    pub const KbCallbackAddPages: Type = 4;
    pub const KbCallbackSecondaryMultiPartDumpData: Type = 5;
    pub const KbCallbackRemovePages: Type = 6;
    pub const KbCallbackTriageDumpData: Type = 7;
}
pub mod _KWAIT_REASON {
    pub type Type = i32;
    pub const Executive: Type = 0;
    pub const FreePage: Type = 1;
    pub const PageIn: Type = 2;
    pub const PoolAllocation: Type = 3;
    pub const DelayExecution: Type = 4;
    pub const Suspended: Type = 5;
    pub const UserRequest: Type = 6;
    pub const WrExecutive: Type = 7;
    pub const WrFreePage: Type = 8;
    pub const WrPageIn: Type = 9;
    pub const WrPoolAllocation: Type = 10;
    pub const WrDelayExecution: Type = 11;
    pub const WrSuspended: Type = 12;
    pub const WrUserRequest: Type = 13;
    pub const WrSpare0: Type = 14;
    pub const WrQueue: Type = 15;
    pub const WrLpcReceive: Type = 16;
    pub const WrLpcReply: Type = 17;
    pub const WrVirtualMemory: Type = 18;
    pub const WrPageOut: Type = 19;
    pub const WrRendezvous: Type = 20;
    pub const WrKeyedEvent: Type = 21;
    pub const WrTerminated: Type = 22;
    pub const WrProcessInSwap: Type = 23;
    pub const WrCpuRateControl: Type = 24;
    pub const WrCalloutStack: Type = 25;
    pub const WrKernel: Type = 26;
    pub const WrResource: Type = 27;
    pub const WrPushLock: Type = 28;
    pub const WrMutex: Type = 29;
    pub const WrQuantumEnd: Type = 30;
    pub const WrDispatchInt: Type = 31;
    pub const WrPreempted: Type = 32;
    pub const WrYieldExecution: Type = 33;
    pub const WrFastMutex: Type = 34;
    pub const WrGuardedMutex: Type = 35;
    pub const WrRundown: Type = 36;
    pub const WrAlertByThreadId: Type = 37;
    pub const WrDeferredPreempt: Type = 38;
    pub const WrPhysicalFault: Type = 39;
    pub const MaximumWaitReason: Type = 40;
}
pub mod _LOCK_OPERATION {
    pub type Type = i32;
    pub const IoReadAccess: Type = 0;
    pub const IoWriteAccess: Type = 1;
    pub const IoModifyAccess: Type = 2;
}
pub mod _POOL_TYPE {
    pub type Type = i32;
    pub const NonPagedPool: Type = 0;
    pub const NonPagedPoolExecute: Type = 0;
    pub const PagedPool: Type = 1;
    pub const NonPagedPoolMustSucceed: Type = 2;
    pub const DontUseThisType: Type = 3;
    pub const NonPagedPoolCacheAligned: Type = 4;
    pub const PagedPoolCacheAligned: Type = 5;
    pub const NonPagedPoolCacheAlignedMustS: Type = 6;
    pub const MaxPoolType: Type = 7;
    pub const NonPagedPoolBase: Type = 0;
    pub const NonPagedPoolBaseMustSucceed: Type = 2;
    pub const NonPagedPoolBaseCacheAligned: Type = 4;
    pub const NonPagedPoolBaseCacheAlignedMustS: Type = 6;
    pub const NonPagedPoolSession: Type = 32;
    pub const PagedPoolSession: Type = 33;
    pub const NonPagedPoolMustSucceedSession: Type = 34;
    pub const DontUseThisTypeSession: Type = 35;
    pub const NonPagedPoolCacheAlignedSession: Type = 36;
    pub const PagedPoolCacheAlignedSession: Type = 37;
    pub const NonPagedPoolCacheAlignedMustSSession: Type = 38;
    pub const NonPagedPoolNx: Type = 512;
    pub const NonPagedPoolNxCacheAligned: Type = 516;
    pub const NonPagedPoolSessionNx: Type = 544;
}
pub mod _MEMORY_CACHING_TYPE {
    pub type Type = i32;
    pub const MmNonCached: Type = 0;
    pub const MmCached: Type = 1;
    pub const MmWriteCombined: Type = 2;
    pub const MmHardwareCoherentCached: Type = 3;
    pub const MmNonCachedUnordered: Type = 4;
    pub const MmUSWCCached: Type = 5;
    pub const MmMaximumCacheType: Type = 6;
    pub const MmNotMapped: Type = -1;
}
pub mod _MM_PAGE_PRIORITY {
    pub type Type = i32;
    pub const LowPagePriority: Type = 0;
    pub const NormalPagePriority: Type = 16;
    pub const HighPagePriority: Type = 32;
}
pub mod _WORK_QUEUE_TYPE {
    pub type Type = i32;
    pub const CriticalWorkQueue: Type = 0;
    pub const DelayedWorkQueue: Type = 1;
    pub const HyperCriticalWorkQueue: Type = 2;
    pub const NormalWorkQueue: Type = 3;
    pub const BackgroundWorkQueue: Type = 4;
    pub const RealTimeWorkQueue: Type = 5;
    pub const SuperCriticalWorkQueue: Type = 6;
    pub const MaximumWorkQueue: Type = 7;
    pub const CustomPriorityWorkQueue: Type = 32;
}
pub mod _SECURITY_IMPERSONATION_LEVEL {
    pub type Type = i32;
    pub const SecurityAnonymous: Type = 0;
    pub const SecurityIdentification: Type = 1;
    pub const SecurityImpersonation: Type = 2;
    pub const SecurityDelegation: Type = 3;
}
pub mod _SYSTEM_POWER_STATE {
    pub type Type = i32;
    pub const PowerSystemUnspecified: Type = 0;
    pub const PowerSystemWorking: Type = 1;
    pub const PowerSystemSleeping1: Type = 2;
    pub const PowerSystemSleeping2: Type = 3;
    pub const PowerSystemSleeping3: Type = 4;
    pub const PowerSystemHibernate: Type = 5;
    pub const PowerSystemShutdown: Type = 6;
    pub const PowerSystemMaximum: Type = 7;
}
pub mod POWER_ACTION {
    pub type Type = i32;
    pub const PowerActionNone: Type = 0;
    pub const PowerActionReserved: Type = 1;
    pub const PowerActionSleep: Type = 2;
    pub const PowerActionHibernate: Type = 3;
    pub const PowerActionShutdown: Type = 4;
    pub const PowerActionShutdownReset: Type = 5;
    pub const PowerActionShutdownOff: Type = 6;
    pub const PowerActionWarmEject: Type = 7;
    pub const PowerActionDisplayOff: Type = 8;
}
pub mod _DEVICE_POWER_STATE {
    pub type Type = i32;
    pub const PowerDeviceUnspecified: Type = 0;
    pub const PowerDeviceD0: Type = 1;
    pub const PowerDeviceD1: Type = 2;
    pub const PowerDeviceD2: Type = 3;
    pub const PowerDeviceD3: Type = 4;
    pub const PowerDeviceMaximum: Type = 5;
}
pub mod _POWER_STATE_TYPE {
    pub type Type = i32;
    pub const SystemPowerState: Type = 0;
    pub const DevicePowerState: Type = 1;
}
pub mod _KEY_SET_INFORMATION_CLASS {
    pub type Type = i32;
    pub const KeyWriteTimeInformation: Type = 0;
    pub const KeyWow64FlagsInformation: Type = 1;
    pub const KeyControlFlagsInformation: Type = 2;
    pub const KeySetVirtualizationInformation: Type = 3;
    pub const KeySetDebugInformation: Type = 4;
    pub const KeySetHandleTagsInformation: Type = 5;
    pub const KeySetLayerInformation: Type = 6;
    pub const MaxKeySetInfoClass: Type = 7;
}
pub mod _KEY_VALUE_INFORMATION_CLASS {
    pub type Type = i32;
    pub const KeyValueBasicInformation: Type = 0;
    pub const KeyValueFullInformation: Type = 1;
    pub const KeyValuePartialInformation: Type = 2;
    pub const KeyValueFullInformationAlign64: Type = 3;
    pub const KeyValuePartialInformationAlign64: Type = 4;
    pub const KeyValueLayerInformation: Type = 5;
    pub const MaxKeyValueInfoClass: Type = 6;
}
pub mod _REG_NOTIFY_CLASS {
    pub type Type = i32;
    pub const RegNtDeleteKey: Type = 0;
    pub const RegNtPreDeleteKey: Type = 0;
    pub const RegNtSetValueKey: Type = 1;
    pub const RegNtPreSetValueKey: Type = 1;
    pub const RegNtDeleteValueKey: Type = 2;
    pub const RegNtPreDeleteValueKey: Type = 2;
    pub const RegNtSetInformationKey: Type = 3;
    pub const RegNtPreSetInformationKey: Type = 3;
    pub const RegNtRenameKey: Type = 4;
    pub const RegNtPreRenameKey: Type = 4;
    pub const RegNtEnumerateKey: Type = 5;
    pub const RegNtPreEnumerateKey: Type = 5;
    pub const RegNtEnumerateValueKey: Type = 6;
    pub const RegNtPreEnumerateValueKey: Type = 6;
    pub const RegNtQueryKey: Type = 7;
    pub const RegNtPreQueryKey: Type = 7;
    pub const RegNtQueryValueKey: Type = 8;
    pub const RegNtPreQueryValueKey: Type = 8;
    pub const RegNtQueryMultipleValueKey: Type = 9;
    pub const RegNtPreQueryMultipleValueKey: Type = 9;
    pub const RegNtPreCreateKey: Type = 10;
    pub const RegNtPostCreateKey: Type = 11;
    pub const RegNtPreOpenKey: Type = 12;
    pub const RegNtPostOpenKey: Type = 13;
    pub const RegNtKeyHandleClose: Type = 14;
    pub const RegNtPreKeyHandleClose: Type = 14;
    pub const RegNtPostDeleteKey: Type = 15;
    pub const RegNtPostSetValueKey: Type = 16;
    pub const RegNtPostDeleteValueKey: Type = 17;
    pub const RegNtPostSetInformationKey: Type = 18;
    pub const RegNtPostRenameKey: Type = 19;
    pub const RegNtPostEnumerateKey: Type = 20;
    pub const RegNtPostEnumerateValueKey: Type = 21;
    pub const RegNtPostQueryKey: Type = 22;
    pub const RegNtPostQueryValueKey: Type = 23;
    pub const RegNtPostQueryMultipleValueKey: Type = 24;
    pub const RegNtPostKeyHandleClose: Type = 25;
    pub const RegNtPreCreateKeyEx: Type = 26;
    pub const RegNtPostCreateKeyEx: Type = 27;
    pub const RegNtPreOpenKeyEx: Type = 28;
    pub const RegNtPostOpenKeyEx: Type = 29;
    pub const RegNtPreFlushKey: Type = 30;
    pub const RegNtPostFlushKey: Type = 31;
    pub const RegNtPreLoadKey: Type = 32;
    pub const RegNtPostLoadKey: Type = 33;
    pub const RegNtPreUnLoadKey: Type = 34;
    pub const RegNtPostUnLoadKey: Type = 35;
    pub const RegNtPreQueryKeySecurity: Type = 36;
    pub const RegNtPostQueryKeySecurity: Type = 37;
    pub const RegNtPreSetKeySecurity: Type = 38;
    pub const RegNtPostSetKeySecurity: Type = 39;
    pub const RegNtCallbackObjectContextCleanup: Type = 40;
    pub const RegNtPreRestoreKey: Type = 41;
    pub const RegNtPostRestoreKey: Type = 42;
    pub const RegNtPreSaveKey: Type = 43;
    pub const RegNtPostSaveKey: Type = 44;
    pub const RegNtPreReplaceKey: Type = 45;
    pub const RegNtPostReplaceKey: Type = 46;
    pub const RegNtPreQueryKeyName: Type = 47;
    pub const RegNtPostQueryKeyName: Type = 48;
    pub const MaxRegNtNotifyClass: Type = 49;
}
pub mod _IO_ALLOCATION_ACTION {
    pub type Type = i32;
    pub const KeepObject: Type = 1;
    pub const DeallocateObject: Type = 2;
    pub const DeallocateObjectKeepRegisters: Type = 3;
}
pub mod _IO_ACCESS_TYPE {
    pub type Type = i32;
    pub const ReadAccess: Type = 0;
    pub const WriteAccess: Type = 1;
    pub const ModifyAccess: Type = 2;
}
pub mod _IO_ACCESS_MODE {
    pub type Type = i32;
    pub const SequentialAccess: Type = 0;
    pub const RandomAccess: Type = 1;
}
pub mod _DEVICE_USAGE_NOTIFICATION_TYPE {
    pub type Type = i32;
    pub const DeviceUsageTypeUndefined: Type = 0;
    pub const DeviceUsageTypePaging: Type = 1;
    pub const DeviceUsageTypeHibernation: Type = 2;
    pub const DeviceUsageTypeDumpFile: Type = 3;
    pub const DeviceUsageTypeBoot: Type = 4;
    pub const DeviceUsageTypePostDisplay: Type = 5;
    pub const DeviceUsageTypeGuestAssigned: Type = 6;
}
pub mod DEVICE_REGISTRY_PROPERTY {
    pub type Type = i32;
    pub const DevicePropertyDeviceDescription: Type = 0;
    pub const DevicePropertyHardwareID: Type = 1;
    pub const DevicePropertyCompatibleIDs: Type = 2;
    pub const DevicePropertyBootConfiguration: Type = 3;
    pub const DevicePropertyBootConfigurationTranslated: Type = 4;
    pub const DevicePropertyClassName: Type = 5;
    pub const DevicePropertyClassGuid: Type = 6;
    pub const DevicePropertyDriverKeyName: Type = 7;
    pub const DevicePropertyManufacturer: Type = 8;
    pub const DevicePropertyFriendlyName: Type = 9;
    pub const DevicePropertyLocationInformation: Type = 10;
    pub const DevicePropertyPhysicalDeviceObjectName: Type = 11;
    pub const DevicePropertyBusTypeGuid: Type = 12;
    pub const DevicePropertyLegacyBusType: Type = 13;
    pub const DevicePropertyBusNumber: Type = 14;
    pub const DevicePropertyEnumeratorName: Type = 15;
    pub const DevicePropertyAddress: Type = 16;
    pub const DevicePropertyUINumber: Type = 17;
    pub const DevicePropertyInstallState: Type = 18;
    pub const DevicePropertyRemovalPolicy: Type = 19;
    pub const DevicePropertyResourceRequirements: Type = 20;
    pub const DevicePropertyAllocatedResources: Type = 21;
    pub const DevicePropertyContainerID: Type = 22;
}
pub mod _IO_NOTIFICATION_EVENT_CATEGORY {
    pub type Type = i32;
    pub const EventCategoryReserved: Type = 0;
    pub const EventCategoryHardwareProfileChange: Type = 1;
    pub const EventCategoryDeviceInterfaceChange: Type = 2;
    pub const EventCategoryTargetDeviceChange: Type = 3;
    pub const EventCategoryKernelSoftRestart: Type = 4;
}
pub mod _IO_PRIORITY_HINT {
    pub type Type = i32;
    pub const IoPriorityVeryLow: Type = 0;
    pub const IoPriorityLow: Type = 1;
    pub const IoPriorityNormal: Type = 2;
    pub const IoPriorityHigh: Type = 3;
    pub const IoPriorityCritical: Type = 4;
    pub const MaxIoPriorityTypes: Type = 5;
}
pub mod _FILE_INFORMATION_CLASS {
    pub type Type = i32;
    pub const FileDirectoryInformation: Type = 1;
    pub const FileFullDirectoryInformation: Type = 2;
    pub const FileBothDirectoryInformation: Type = 3;
    pub const FileBasicInformation: Type = 4;
    pub const FileStandardInformation: Type = 5;
    pub const FileInternalInformation: Type = 6;
    pub const FileEaInformation: Type = 7;
    pub const FileAccessInformation: Type = 8;
    pub const FileNameInformation: Type = 9;
    pub const FileRenameInformation: Type = 10;
    pub const FileLinkInformation: Type = 11;
    pub const FileNamesInformation: Type = 12;
    pub const FileDispositionInformation: Type = 13;
    pub const FilePositionInformation: Type = 14;
    pub const FileFullEaInformation: Type = 15;
    pub const FileModeInformation: Type = 16;
    pub const FileAlignmentInformation: Type = 17;
    pub const FileAllInformation: Type = 18;
    pub const FileAllocationInformation: Type = 19;
    pub const FileEndOfFileInformation: Type = 20;
    pub const FileAlternateNameInformation: Type = 21;
    pub const FileStreamInformation: Type = 22;
    pub const FilePipeInformation: Type = 23;
    pub const FilePipeLocalInformation: Type = 24;
    pub const FilePipeRemoteInformation: Type = 25;
    pub const FileMailslotQueryInformation: Type = 26;
    pub const FileMailslotSetInformation: Type = 27;
    pub const FileCompressionInformation: Type = 28;
    pub const FileObjectIdInformation: Type = 29;
    pub const FileCompletionInformation: Type = 30;
    pub const FileMoveClusterInformation: Type = 31;
    pub const FileQuotaInformation: Type = 32;
    pub const FileReparsePointInformation: Type = 33;
    pub const FileNetworkOpenInformation: Type = 34;
    pub const FileAttributeTagInformation: Type = 35;
    pub const FileTrackingInformation: Type = 36;
    pub const FileIdBothDirectoryInformation: Type = 37;
    pub const FileIdFullDirectoryInformation: Type = 38;
    pub const FileValidDataLengthInformation: Type = 39;
    pub const FileShortNameInformation: Type = 40;
    pub const FileIoCompletionNotificationInformation: Type = 41;
    pub const FileIoStatusBlockRangeInformation: Type = 42;
    pub const FileIoPriorityHintInformation: Type = 43;
    pub const FileSfioReserveInformation: Type = 44;
    pub const FileSfioVolumeInformation: Type = 45;
    pub const FileHardLinkInformation: Type = 46;
    pub const FileProcessIdsUsingFileInformation: Type = 47;
    pub const FileNormalizedNameInformation: Type = 48;
    pub const FileNetworkPhysicalNameInformation: Type = 49;
    pub const FileIdGlobalTxDirectoryInformation: Type = 50;
    pub const FileIsRemoteDeviceInformation: Type = 51;
    pub const FileUnusedInformation: Type = 52;
    pub const FileNumaNodeInformation: Type = 53;
    pub const FileStandardLinkInformation: Type = 54;
    pub const FileRemoteProtocolInformation: Type = 55;
    pub const FileRenameInformationBypassAccessCheck: Type = 56;
    pub const FileLinkInformationBypassAccessCheck: Type = 57;
    pub const FileVolumeNameInformation: Type = 58;
    pub const FileIdInformation: Type = 59;
    pub const FileIdExtdDirectoryInformation: Type = 60;
    pub const FileReplaceCompletionInformation: Type = 61;
    pub const FileHardLinkFullIdInformation: Type = 62;
    pub const FileIdExtdBothDirectoryInformation: Type = 63;
    pub const FileDispositionInformationEx: Type = 64;
    pub const FileRenameInformationEx: Type = 65;
    pub const FileRenameInformationExBypassAccessCheck: Type = 66;
    pub const FileDesiredStorageClassInformation: Type = 67;
    pub const FileStatInformation: Type = 68;
    pub const FileMemoryPartitionInformation: Type = 69;
    pub const FileStatLxInformation: Type = 70;
    pub const FileCaseSensitiveInformation: Type = 71;
    pub const FileLinkInformationEx: Type = 72;
    pub const FileLinkInformationExBypassAccessCheck: Type = 73;
    pub const FileStorageReserveIdInformation: Type = 74;
    pub const FileCaseSensitiveInformationForceAccessCheck: Type = 75;
    pub const FileMaximumInformation: Type = 76;
}
pub mod _DIRECTORY_NOTIFY_INFORMATION_CLASS {
    pub type Type = i32;
    pub const DirectoryNotifyInformation: Type = 1;
    pub const DirectoryNotifyExtendedInformation: Type = 2;
}
pub mod _FSINFOCLASS {
    pub type Type = i32;
    pub const FileFsVolumeInformation: Type = 1;
    pub const FileFsLabelInformation: Type = 2;
    pub const FileFsSizeInformation: Type = 3;
    pub const FileFsDeviceInformation: Type = 4;
    pub const FileFsAttributeInformation: Type = 5;
    pub const FileFsControlInformation: Type = 6;
    pub const FileFsFullSizeInformation: Type = 7;
    pub const FileFsObjectIdInformation: Type = 8;
    pub const FileFsDriverPathInformation: Type = 9;
    pub const FileFsVolumeFlagsInformation: Type = 10;
    pub const FileFsSectorSizeInformation: Type = 11;
    pub const FileFsDataCopyInformation: Type = 12;
    pub const FileFsMetadataSizeInformation: Type = 13;
    pub const FileFsFullSizeInformationEx: Type = 14;
    pub const FileFsMaximumInformation: Type = 15;
}
pub mod _DEVICE_RELATION_TYPE {
    pub type Type = i32;
    pub const BusRelations: Type = 0;
    pub const EjectionRelations: Type = 1;
    pub const PowerRelations: Type = 2;
    pub const RemovalRelations: Type = 3;
    pub const TargetDeviceRelation: Type = 4;
    pub const SingleBusRelations: Type = 5;
    pub const TransportRelations: Type = 6;
}
pub mod _BUS_QUERY_ID_TYPE {
    pub type Type = i32;
    pub const BusQueryDeviceID: Type = 0;
    pub const BusQueryHardwareIDs: Type = 1;
    pub const BusQueryCompatibleIDs: Type = 2;
    pub const BusQueryInstanceID: Type = 3;
    pub const BusQueryDeviceSerialNumber: Type = 4;
    pub const BusQueryContainerID: Type = 5;
}
pub mod _DEVICE_TEXT_TYPE {
    pub type Type = i32;
    pub const DeviceTextDescription: Type = 0;
    pub const DeviceTextLocationInformation: Type = 1;
}
pub mod _PROCESSINFOCLASS {
    pub type Type = i32;
    pub const ProcessBasicInformation: Type = 0;
    pub const ProcessQuotaLimits: Type = 1;
    pub const ProcessIoCounters: Type = 2;
    pub const ProcessVmCounters: Type = 3;
    pub const ProcessTimes: Type = 4;
    pub const ProcessBasePriority: Type = 5;
    pub const ProcessRaisePriority: Type = 6;
    pub const ProcessDebugPort: Type = 7;
    pub const ProcessExceptionPort: Type = 8;
    pub const ProcessAccessToken: Type = 9;
    pub const ProcessLdtInformation: Type = 10;
    pub const ProcessLdtSize: Type = 11;
    pub const ProcessDefaultHardErrorMode: Type = 12;
    pub const ProcessIoPortHandlers: Type = 13;
    pub const ProcessPooledUsageAndLimits: Type = 14;
    pub const ProcessWorkingSetWatch: Type = 15;
    pub const ProcessUserModeIOPL: Type = 16;
    pub const ProcessEnableAlignmentFaultFixup: Type = 17;
    pub const ProcessPriorityClass: Type = 18;
    pub const ProcessWx86Information: Type = 19;
    pub const ProcessHandleCount: Type = 20;
    pub const ProcessAffinityMask: Type = 21;
    pub const ProcessPriorityBoost: Type = 22;
    pub const ProcessDeviceMap: Type = 23;
    pub const ProcessSessionInformation: Type = 24;
    pub const ProcessForegroundInformation: Type = 25;
    pub const ProcessWow64Information: Type = 26;
    pub const ProcessImageFileName: Type = 27;
    pub const ProcessLUIDDeviceMapsEnabled: Type = 28;
    pub const ProcessBreakOnTermination: Type = 29;
    pub const ProcessDebugObjectHandle: Type = 30;
    pub const ProcessDebugFlags: Type = 31;
    pub const ProcessHandleTracing: Type = 32;
    pub const ProcessIoPriority: Type = 33;
    pub const ProcessExecuteFlags: Type = 34;
    pub const ProcessTlsInformation: Type = 35;
    pub const ProcessCookie: Type = 36;
    pub const ProcessImageInformation: Type = 37;
    pub const ProcessCycleTime: Type = 38;
    pub const ProcessPagePriority: Type = 39;
    pub const ProcessInstrumentationCallback: Type = 40;
    pub const ProcessThreadStackAllocation: Type = 41;
    pub const ProcessWorkingSetWatchEx: Type = 42;
    pub const ProcessImageFileNameWin32: Type = 43;
    pub const ProcessImageFileMapping: Type = 44;
    pub const ProcessAffinityUpdateMode: Type = 45;
    pub const ProcessMemoryAllocationMode: Type = 46;
    pub const ProcessGroupInformation: Type = 47;
    pub const ProcessTokenVirtualizationEnabled: Type = 48;
    pub const ProcessConsoleHostProcess: Type = 49;
    pub const ProcessWindowInformation: Type = 50;
    pub const MaxProcessInfoClass: Type = 51;
}
pub mod _THREADINFOCLASS {
    pub type Type = i32;
    pub const ThreadBasicInformation: Type = 0;
    pub const ThreadTimes: Type = 1;
    pub const ThreadPriority: Type = 2;
    pub const ThreadBasePriority: Type = 3;
    pub const ThreadAffinityMask: Type = 4;
    pub const ThreadImpersonationToken: Type = 5;
    pub const ThreadDescriptorTableEntry: Type = 6;
    pub const ThreadEnableAlignmentFaultFixup: Type = 7;
    pub const ThreadEventPair_Reusable: Type = 8;
    pub const ThreadQuerySetWin32StartAddress: Type = 9;
    pub const ThreadZeroTlsCell: Type = 10;
    pub const ThreadPerformanceCount: Type = 11;
    pub const ThreadAmILastThread: Type = 12;
    pub const ThreadIdealProcessor: Type = 13;
    pub const ThreadPriorityBoost: Type = 14;
    pub const ThreadSetTlsArrayAddress: Type = 15;
    pub const ThreadIsIoPending: Type = 16;
    pub const ThreadHideFromDebugger: Type = 17;
    pub const ThreadBreakOnTermination: Type = 18;
    pub const ThreadSwitchLegacyState: Type = 19;
    pub const ThreadIsTerminated: Type = 20;
    pub const ThreadLastSystemCall: Type = 21;
    pub const ThreadIoPriority: Type = 22;
    pub const ThreadCycleTime: Type = 23;
    pub const ThreadPagePriority: Type = 24;
    pub const ThreadActualBasePriority: Type = 25;
    pub const ThreadTebInformation: Type = 26;
    pub const ThreadCSwitchMon: Type = 27;
    pub const ThreadCSwitchPmu: Type = 28;
    pub const ThreadWow64Context: Type = 29;
    pub const ThreadGroupInformation: Type = 30;
    pub const ThreadUmsInformation: Type = 31;
    pub const ThreadCounterProfiling: Type = 32;
    pub const ThreadIdealProcessorEx: Type = 33;
    pub const MaxThreadInfoClass: Type = 34;
}
pub mod _TOKEN_TYPE {
    pub type Type = i32;
    pub const TokenPrimary: Type = 1;
    pub const TokenImpersonation: Type = 2;
}
pub mod _TOKEN_INFORMATION_CLASS {
    pub type Type = i32;
    pub const TokenUser: Type = 1;
    pub const TokenGroups: Type = 2;
    pub const TokenPrivileges: Type = 3;
    pub const TokenOwner: Type = 4;
    pub const TokenPrimaryGroup: Type = 5;
    pub const TokenDefaultDacl: Type = 6;
    pub const TokenSource: Type = 7;
    pub const TokenType: Type = 8;
    pub const TokenImpersonationLevel: Type = 9;
    pub const TokenStatistics: Type = 10;
    pub const TokenRestrictedSids: Type = 11;
    pub const TokenSessionId: Type = 12;
    pub const TokenGroupsAndPrivileges: Type = 13;
    pub const TokenSessionReference: Type = 14;
    pub const TokenSandBoxInert: Type = 15;
    pub const TokenAuditPolicy: Type = 16;
    pub const TokenOrigin: Type = 17;
    pub const TokenElevationType: Type = 18;
    pub const TokenLinkedToken: Type = 19;
    pub const TokenElevation: Type = 20;
    pub const TokenHasRestrictions: Type = 21;
    pub const TokenAccessInformation: Type = 22;
    pub const TokenVirtualizationAllowed: Type = 23;
    pub const TokenVirtualizationEnabled: Type = 24;
    pub const TokenIntegrityLevel: Type = 25;
    pub const TokenUIAccess: Type = 26;
    pub const TokenMandatoryPolicy: Type = 27;
    pub const TokenLogonSid: Type = 28;
    pub const MaxTokenInfoClass: Type = 29;
}
