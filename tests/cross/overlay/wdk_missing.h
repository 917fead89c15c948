/* Routines of the WDK that mingw-w64 10.0.0's DDK headers do not declare. Each prototype was compared with the
   routine's reference page on learn.microsoft.com (header named there after it). */
#pragma once

typedef ULONG64 POOL_FLAGS;
PVOID NTAPI ExAllocatePool2(POOL_FLAGS Flags, SIZE_T NumberOfBytes, ULONG Tag);                  /* wdm.h, 10 2004 */

NTSTATUS NTAPI ExGetFirmwareEnvironmentVariable(PUNICODE_STRING VariableName, LPGUID VendorGuid, PVOID Value,
                                                PULONG ValueLength, PULONG Attributes);          /* wdm.h, 8 */
NTSTATUS NTAPI ExSetFirmwareEnvironmentVariable(PUNICODE_STRING VariableName, LPGUID VendorGuid, PVOID Value,
                                                ULONG ValueLength, ULONG Attributes);            /* wdm.h, 8 */

VOID NTAPI KeQuerySystemTimePrecise(PLARGE_INTEGER CurrentTime);                                 /* wdm.h, 8 */
ULONG64 NTAPI KeQueryInterruptTimePrecise(PULONG64 QpcTimeStamp);                                /* wdm.h, 8.1 */

NTSTATUS NTAPI IoGetActivityIdIrp(PIRP Irp, LPGUID Guid);                                        /* ntddk.h, 8 */
NTSTATUS NTAPI IoSetActivityIdIrp(PIRP Irp, LPCGUID Guid);                                       /* ntddk.h, 8 */

PVOID NTAPI MmMapIoSpaceEx(PHYSICAL_ADDRESS PhysicalAddress, SIZE_T NumberOfBytes, ULONG Protect); /* wdm.h, 10 */

typedef VOID (NTAPI EXPAND_STACK_CALLOUT)(PVOID Parameter);
typedef EXPAND_STACK_CALLOUT *PEXPAND_STACK_CALLOUT;
NTSTATUS NTAPI KeExpandKernelStackAndCalloutEx(PEXPAND_STACK_CALLOUT Callout, PVOID Parameter, SIZE_T Size,
                                               BOOLEAN Wait, PVOID Context);                     /* ntddk.h, 7 */
