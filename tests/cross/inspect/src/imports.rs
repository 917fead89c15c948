//! What the image asks of the system: a table of what it may, and names it must never.
//!
//! A missing import stops a boot-start driver from loading, and then volumes that need it do not come up. So every
//! routine states since which Windows it exists, and none may be newer than [`FLOOR`]. The versions are those of the
//! "minimum supported client" on each routine's reference page; where the page names none, the routine is older than
//! every supported system and [`Since::Always`] stands.

use object::LittleEndian as LE;
use object::read::pe::ImageThunkData;

use crate::{Image, Report};

/// Release of Windows from which on a routine exists, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Since {
    /// Before Windows Vista, or no minimum documented.
    Always,
    /// Windows Vista.
    Vista,
    /// Windows 7.
    W7,
    /// Windows 8.
    W8,
    /// Windows 8.1.
    W8_1,
    /// Windows 10, first release.
    W10,
    /// Windows 10, version 2004.
    W10_2004,
    /// Windows 11: newer than what the driver supports.
    W11,
}

/// The oldest Windows the driver loads on.
pub const FLOOR: Since = Since::W10_2004;

/// One routine the image may import.
pub struct Allowed {
    /// Exporting image.
    pub image: &'static str,
    /// Routine.
    pub routine: &'static str,
    /// First Windows with it.
    pub since: Since,
    /// What the driver needs it for.
    pub why: &'static str,
}

const fn kernel(routine: &'static str, since: Since, why: &'static str) -> Allowed {
    Allowed { image: "ntoskrnl.exe", routine, since, why }
}

/// Everything the image may import.
pub const ALLOWED: &[Allowed] = &[
    // Compiler support: the kernel exports what the C runtime would bring.
    kernel("__chkstk", Since::Always, "probes of frames larger than a page; none on the I/O path"),
    kernel("memcmp", Since::Always, "compiler support"),
    kernel("memcpy", Since::Always, "compiler support"),
    kernel("memmove", Since::Always, "compiler support"),
    kernel("memset", Since::Always, "compiler support"),
    // Memory.
    kernel("ExAllocatePool2", Since::W10_2004, "zeroed non-paged pool; sets the floor"),
    kernel("ExFreePoolWithTag", Since::Always, "pool"),
    kernel("IoAllocateMdl", Since::Always, "partial MDLs of pieces"),
    kernel("IoBuildPartialMdl", Since::Always, "a piece of a larger request"),
    kernel("IoFreeMdl", Since::Always, "MDLs"),
    kernel("MmAllocateMappingAddress", Since::Always, "reserved mapping for forward progress without memory"),
    kernel("MmBuildMdlForNonPagedPool", Since::Always, "our own buffers as I/O buffers"),
    kernel("MmFreeMappingAddress", Since::Always, "reserved mapping"),
    kernel("MmMapLockedPagesSpecifyCache", Since::Always, "system address of a request's pages"),
    kernel("MmMapLockedPagesWithReservedMapping", Since::Always, "system address when none is free"),
    kernel("MmUnmapLockedPages", Since::Always, "mapping"),
    kernel("MmUnmapReservedMapping", Since::Always, "reserved mapping"),
    // Devices and requests.
    kernel("IoAcquireCancelSpinLock", Since::Always, "cancel-safe queues"),
    kernel("IoAcquireRemoveLockEx", Since::Always, "device stays while requests run"),
    kernel("IoAllocateDriverObjectExtension", Since::Always, "the driver's state, without a static"),
    kernel("IoAllocateIrp", Since::Always, "our own requests"),
    kernel("IoAttachDeviceToDeviceStackSafe", Since::Always, "the filter's place in the volume stack"),
    kernel("IoCreateDevice", Since::Always, "filter and control devices"),
    kernel("IoCreateSymbolicLink", Since::Always, "name of the control device"),
    kernel("IoDeleteDevice", Since::Always, "devices"),
    kernel("IoDeleteSymbolicLink", Since::Always, "control device"),
    kernel("IoDetachDevice", Since::Always, "removal"),
    kernel("IoFreeIrp", Since::Always, "our own requests"),
    kernel("IoGetActivityIdIrp", Since::W8, "trace identity of a request carried to its pieces"),
    kernel("IoGetAttachedDeviceReference", Since::Always, "position in the stack"),
    kernel("IoGetDeviceObjectPointer", Since::Always, "volume of a PREPARE request"),
    kernel("IoGetDeviceProperty", Since::Always, "identity of a volume device"),
    kernel("IoGetDriverObjectExtension", Since::Always, "the driver's state"),
    kernel("IoGetIoPriorityHint", Since::Vista, "priority of a request carried to its pieces"),
    kernel("IoGetLowerDeviceObject", Since::Always, "position in the stack"),
    kernel("IoGetRequestorProcess", Since::Always, "who asks, for access checks"),
    kernel("KeFlushQueuedDpcs", Since::Always, "no completion routine on its way out at unload"),
    kernel("KeExpandKernelStackAndCalloutEx", Since::W7, "deep metadata work on a stack of known size"),
    kernel("IoGetStackLimits", Since::Always, "stack left before nested calls"),
    kernel("IoInitializeRemoveLockEx", Since::Always, "remove lock"),
    kernel("IoRegisterShutdownNotification", Since::Always, "boundary persisted at shutdown"),
    kernel("IoReleaseCancelSpinLock", Since::Always, "cancel routines"),
    kernel("IoReleaseRemoveLockAndWaitEx", Since::Always, "removal waits for requests"),
    kernel("IoReleaseRemoveLockEx", Since::Always, "remove lock"),
    kernel("IoReuseIrp", Since::Always, "requests of the sweep"),
    kernel("IoSetActivityIdIrp", Since::W8, "trace identity"),
    kernel("IoSetIoPriorityHint", Since::Vista, "low priority of the sweep"),
    kernel("IoUnregisterShutdownNotification", Since::Always, "unload"),
    kernel("IofCallDriver", Since::Always, "requests to the device below"),
    kernel("IofCompleteRequest", Since::Always, "completion"),
    kernel("PoCallDriver", Since::Always, "power requests"),
    kernel("PoStartNextPowerIrp", Since::Always, "power requests"),
    // Threads, waiting, time.
    kernel("KeAcquireSpinLockRaiseToDpc", Since::Always, "spin locks"),
    kernel("KeDelayExecutionThread", Since::Always, "throttling of the sweep"),
    kernel("KeEnterCriticalRegion", Since::Always, "no suspension while a gate is held"),
    kernel("KeGetCurrentIrql", Since::Always, "checks of the IRQL contract"),
    kernel("KeGetCurrentProcessorNumberEx", Since::W7, "per-processor counters"),
    kernel("KeInitializeEvent", Since::Always, "events"),
    kernel("KeInitializeMutex", Since::Always, "mutexes"),
    kernel("KeInitializeSpinLock", Since::W8, "spin locks; inline before Windows 8"),
    kernel("KeLeaveCriticalRegion", Since::Always, "see KeEnterCriticalRegion"),
    kernel("KeQueryActiveProcessorCountEx", Since::W7, "number of workers"),
    // On a supported Windows, hal.dll forwards to the kernel; the import libraries still name it.
    Allowed { image: "hal.dll", routine: "KeQueryPerformanceCounter", since: Since::Always, why: "measuring" },
    kernel("KeQuerySystemTimePrecise", Since::W8, "time stamps"),
    kernel("KeReleaseMutex", Since::Always, "mutexes"),
    kernel("KeReleaseSpinLock", Since::Always, "spin locks"),
    kernel("KeResetEvent", Since::Always, "events"),
    kernel("KeRestoreExtendedProcessorState", Since::W7, "guard of the AVX kernels"),
    kernel("KeSaveExtendedProcessorState", Since::W7, "guard of the AVX kernels"),
    kernel("KeSetEvent", Since::Always, "events"),
    kernel("KeSetPriorityThread", Since::Always, "priority of workers"),
    kernel("KeWaitForMultipleObjects", Since::Always, "workers"),
    kernel("KeWaitForSingleObject", Since::Always, "waiting"),
    kernel("PsCreateSystemThread", Since::Always, "workers"),
    kernel("PsTerminateSystemThread", Since::Always, "workers"),
    kernel("RtlGetEnabledExtendedFeatures", Since::W7, "which AVX kernels may be offered"),
    // Objects, files, security.
    kernel("ObOpenObjectByPointer", Since::Always, "handle of the control device to protect it"),
    kernel("ObQueryNameString", Since::Always, "names of devices in status and logs"),
    kernel("ObReferenceObjectByHandle", Since::Always, "threads and files by handle"),
    kernel("ObfDereferenceObject", Since::Always, "references"),
    kernel("ObfReferenceObject", Since::Always, "references"),
    kernel("PsDereferencePrimaryToken", Since::Always, "access check"),
    kernel("PsReferencePrimaryToken", Since::Always, "access check"),
    kernel("RtlAddAccessAllowedAce", Since::Always, "descriptor of the control device"),
    kernel("RtlCreateAcl", Since::Always, "descriptor of the control device"),
    kernel("RtlCreateSecurityDescriptor", Since::Always, "descriptor of the control device"),
    kernel("RtlInitializeSid", Since::Always, "descriptor of the control device"),
    kernel("RtlLengthRequiredSid", Since::Always, "descriptor of the control device"),
    kernel("RtlSetDaclSecurityDescriptor", Since::Always, "descriptor of the control device"),
    kernel("RtlSubAuthoritySid", Since::Always, "descriptor of the control device"),
    kernel("SeTokenIsAdmin", Since::Always, "access check"),
    kernel("ZwClose", Since::Always, "handles"),
    kernel("ZwCreateFile", Since::Always, "the mounted file system of a volume"),
    kernel("ZwFsControlFile", Since::Always, "lock, dismount"),
    kernel("ZwOpenFile", Since::Always, "the mounted file system of a volume"),
    kernel("ZwSetSecurityObject", Since::Always, "descriptor of the control device"),
    // Diagnosis.
    kernel("DbgPrint", Since::Always, "log"),
    kernel("DbgPrintEx", Since::Always, "log"),
    kernel("KeBugCheckEx", Since::Always, "panic: stop rather than corrupt"),
    kernel("vDbgPrintEx", Since::Always, "log"),
    // Firmware.
    kernel("ExGetFirmwareEnvironmentVariable", Since::W8, "hand-over from the boot loader"),
    kernel("MmMapIoSpaceEx", Since::W10, "hand-over from the boot loader"),
    kernel("MmUnmapIoSpace", Since::Always, "hand-over from the boot loader"),
    // Random numbers. cng.sys is a boot-start driver that the loader brings in as a dependency.
    Allowed { image: "cng.sys", routine: "BCryptGenRandom", since: Since::Vista, why: "keys, header salts" },
];

/// Prefixes of what must not appear, with the reason.
const DENIED: &[(&str, &str)] = &[
    ("Wdmlib", "a wdmsec.lib shim: IoCreateDeviceSecure is not used, the descriptor is built with documented routines"),
    ("_CxxThrow", "C++ exceptions"),
    ("__CxxFrameHandler", "C++ exceptions"),
    ("__C_specific_handler", "structured exceptions: the driver has no code that raises them"),
    ("__security_", "/GS leftovers of a C object"),
    ("_purecall", "C++ runtime"),
    ("ExAllocatePoolWith", "deprecated allocators that return uninitialised memory"),
    ("IoGetRelatedDeviceObject", "may name the file system on top of the volume instead of the volume"),
    ("Zw", "a system service that is not in the table"),
];

/// Runs the checks of this module.
pub fn check(image: &Image<'_>, report: &mut Report) {
    match imports(image) {
        Ok(found) if found.is_empty() => report.bad("imports", "none: not even a free of memory"),
        Ok(found) => {
            for (library, routine) in &found {
                judge(library, routine, report);
            }
            let idle: Vec<_> =
                ALLOWED.iter().map(|entry| entry.routine).filter(|name| !is_among(name, &found)).collect();
            report.good("imports", format!("{} allowed and not imported: {}", idle.len(), idle.join(" ")));
        }
        Err(error) => report.bad("imports", format!("unreadable: {error}")),
    }
    match image.pe().data_directory(object::pe::IMAGE_DIRECTORY_ENTRY_DELAY_IMPORT).map(|d| d.virtual_address.get(LE)) {
        None | Some(0) => report.good("imports", "no delayed imports, which the kernel does not know"),
        Some(_) => report.bad("imports", "delayed imports, which the kernel does not know"),
    }
}

fn is_among(routine: &str, found: &[(String, String)]) -> bool {
    found.iter().any(|(_, name)| name == routine)
}

fn judge(library: &str, routine: &str, report: &mut Report) {
    let entry = ALLOWED.iter().find(|entry| entry.image.eq_ignore_ascii_case(library) && entry.routine == routine);
    match entry {
        Some(entry) if entry.since <= FLOOR => {
            report.good("imports", format!("{library}!{routine}  {:?}: {}", entry.since, entry.why));
        }
        Some(entry) => report.bad("imports", format!("{library}!{routine} needs {:?}, floor {FLOOR:?}", entry.since)),
        None => {
            let denied = DENIED.iter().find(|(prefix, _)| routine.starts_with(prefix));
            let reason = denied.map_or("not in the table of allowed imports", |(_, why)| why);
            report.bad("imports", format!("{library}!{routine}: {reason}"));
        }
    }
}

/// Every import as (image, routine). An import by ordinal is named `#n`.
fn imports(image: &Image<'_>) -> object::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let Some(table) = image.pe().import_table()? else { return Ok(found) };
    let mut descriptors = table.descriptors()?;
    while let Some(descriptor) = descriptors.next()? {
        let library = String::from_utf8_lossy(table.name(descriptor.name.get(LE))?).into_owned();
        let thunks = match descriptor.original_first_thunk.get(LE) {
            0 => descriptor.first_thunk.get(LE),
            address => address,
        };
        let mut thunks = table.thunks(thunks)?;
        while let Some(thunk) = thunks.next::<object::pe::ImageNtHeaders64>()? {
            let routine = if thunk.is_ordinal() {
                format!("#{}", thunk.ordinal())
            } else {
                String::from_utf8_lossy(table.hint_name(thunk.address())?.1).into_owned()
            };
            found.push((library.clone(), routine));
        }
    }
    found.sort();
    Ok(found)
}
