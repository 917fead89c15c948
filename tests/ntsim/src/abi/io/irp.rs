//! IRP routines.

use super::arena::Span;
use super::callbacks::{get, put};
use super::view::{Device, File, Irp};
use crate::abi::routine::routines;
use crate::abi::*;
use crate::core::{Kernel, Rule};
use crate::io::irp::{Finish, Maker, irp_initialize};

/// A request that a driver builds on behalf of the current thread.
struct Built {
    device: Device,
    major: u32,
    iosb: PIO_STATUS_BLOCK,
    event: PKEVENT,
    parameters: [u64; 4],
    mdl: Option<Span>,
    system: Option<(Span, Span)>,
}

fn build(k: &Kernel, built: &Built) -> PIRP {
    if k.allocation_fails() {
        return std::ptr::null_mut();
    }
    let mdl = built.mdl.map(|span| k.mdl_for(span, false) as usize);
    let (iosb, event) = (built.iosb as usize, built.event as usize);
    let system = built.system;
    let finish: Finish = Box::new(move |k: &Kernel, irp: Irp| {
        if let Some((buffer, output)) = system {
            let given = usize::try_from(irp.information()).unwrap_or(0).min(output.len);
            if !NT_ERROR(irp.status()) {
                output.copy_from(buffer.part(0, given));
            }
            k.io.arena.free(buffer.addr, buffer.len);
        }
        if let Some(mdl) = mdl {
            k.mdl_done(mdl as PMDL);
        }
        let mut block = IO_STATUS_BLOCK { Information: irp.information(), ..IO_STATUS_BLOCK::default() };
        block.__bindgen_anon_1.Status = irp.status();
        put(iosb as PIO_STATUS_BLOCK, block);
        super::callbacks::set_event(event as PKEVENT);
    });
    let irp = k.irp_new(built.device.stack_size(), Maker::Manager(Some(finish)));
    irp.set_mdl(mdl.map_or(std::ptr::null_mut(), |mdl| mdl as PMDL));
    irp.set_user_iosb(built.iosb);
    irp.set_user_event(built.event);
    if let Some((buffer, _)) = system {
        irp.set_system_buffer(buffer.addr as PVOID);
    }
    let stack = irp.stack_at(irp.stack_count());
    stack.set_major(u8::try_from(built.major).unwrap_or(u8::MAX));
    stack.set_parameters(built.parameters);
    irp.ptr()
}

fn control_buffer(k: &Kernel, input: Span, output: Span) -> Option<(Span, Span)> {
    let len = input.len.max(output.len);
    (len > 0).then(|| {
        let buffer = Span { addr: k.io.arena.alloc(len), len };
        buffer.copy_from(input);
        (buffer, output)
    })
}

fn span(address: PVOID, len: ULONG) -> Span {
    Span { addr: address as usize, len: if address.is_null() { 0 } else { len as usize } }
}

fn transfer(
    k: &Kernel,
    major: ULONG,
    to: (PDEVICE_OBJECT, PVOID, ULONG, PLARGE_INTEGER),
    iosb: PIO_STATUS_BLOCK,
    event: PKEVENT,
) -> PIRP {
    let (device, buffer, length, offset) = to;
    let device = k.device_known("IoBuildSynchronousFsdRequest", device);
    let offset = get(offset.cast::<u64>().cast_const()).unwrap_or(0);
    let data = span(buffer, length);
    let mdl = (data.len > 0).then_some(data);
    build(k, &Built { device, major, iosb, event, parameters: [u64::from(length), 0, offset, 0], mdl, system: None })
}

routines! {
    /// Sends an IRP to a device. At or below `DISPATCH_LEVEL`; for reads, writes, flushes and controls the model wants
    /// `APC_LEVEL` unless the request itself arrived higher. The IRP belongs to the callee.
    fn IofCallDriver(DeviceObject: PDEVICE_OBJECT, Irp: PIRP) -> NTSTATUS, max 2 => |k| {
        k.call_driver_checked(DeviceObject, Irp)
    }

    /// The same as [`IofCallDriver`] for power requests, since Windows Vista.
    fn PoCallDriver(DeviceObject: PDEVICE_OBJECT, Irp: PIRP) -> NTSTATUS, max 2 => |k| {
        k.call_driver_checked(DeviceObject, Irp)
    }

    /// Does nothing since Windows Vista.
    fn PoStartNextPowerIrp(Irp: PIRP), max 2 => |k| {
        k.irp_known("PoStartNextPowerIrp", Rule::IrpTouchedAfterPass, Irp);
    }

    /// Completes an IRP: the caller must own it and not touch it afterwards. At or below `DISPATCH_LEVEL`.
    fn IofCompleteRequest(Irp: PIRP, PriorityBoost: CCHAR), max 2 => |k| {
        let _ = PriorityBoost;
        k.complete_checked(Irp);
    }

    /// Allocates an IRP that the caller must free. At or below `DISPATCH_LEVEL`. NULL when memory is short.
    fn IoAllocateIrp(StackSize: CCHAR, ChargeQuota: BOOLEAN) -> PIRP, max 2 => |k| {
        let _ = ChargeQuota;
        if StackSize <= 0 {
            k.finding(Rule::BadArgument, format!("IoAllocateIrp with a stack size of {StackSize}"));
        }
        if k.allocation_fails() { std::ptr::null_mut() } else { k.irp_new(StackSize, Maker::Driver).ptr() }
    }

    /// As [`IoAllocateIrp`]; the device is recorded by Driver Verifier only.
    fn IoAllocateIrpEx(DeviceObject: PDEVICE_OBJECT, StackSize: CCHAR, ChargeQuota: BOOLEAN) -> PIRP, max 2 => |k| {
        let _ = (k.device_known("IoAllocateIrpEx", DeviceObject), ChargeQuota);
        if k.allocation_fails() { std::ptr::null_mut() } else { k.irp_new(StackSize, Maker::Driver).ptr() }
    }

    /// Frees an IRP from [`IoAllocateIrp`] that no driver has. At or below `DISPATCH_LEVEL`.
    fn IoFreeIrp(Irp: PIRP), max 2 => |k| {
        let irp = k.irp_known("IoFreeIrp", Rule::IrpTouchedAfterPass, Irp);
        k.irp_free_by_driver(irp);
    }

    /// Makes an IRP from [`IoAllocateIrp`] ready for another use. At or below `DISPATCH_LEVEL`.
    fn IoReuseIrp(Irp: PIRP, Status: NTSTATUS), max 2 => |k| {
        let irp = k.irp_known("IoReuseIrp", Rule::IrpTouchedAfterPass, Irp);
        k.irp_reuse(irp, Status);
    }

    /// Initialises memory of the caller's own as an IRP. At or below `DISPATCH_LEVEL`. Weaker than Windows: only IRPs
    /// from [`IoAllocateIrp`] can be sent.
    fn IoInitializeIrp(Irp: PIRP, PacketSize: USHORT, StackSize: CCHAR), max 2 => |k| {
        if k.live_irp(Irp) {
            k.finding(Rule::BadArgument, "IoInitializeIrp on an IRP from IoAllocateIrp");
        }
        irp_initialize(Irp::at(Irp as usize), usize::from(PacketSize), StackSize);
    }

    /// Sets a completion routine, with a reference on the device's driver while it is pending. At or below
    /// `DISPATCH_LEVEL`. `STATUS_INSUFFICIENT_RESOURCES` when memory is short.
    fn IoSetCompletionRoutineEx(DeviceObject: PDEVICE_OBJECT, Irp: PIRP, CompletionRoutine: PIO_COMPLETION_ROUTINE, Context: PVOID, InvokeOnSuccess: BOOLEAN, InvokeOnError: BOOLEAN, InvokeOnCancel: BOOLEAN) -> NTSTATUS, max 2 => |k| {
        k.device_known("IoSetCompletionRoutineEx", DeviceObject);
        let irp = k.irp_known("IoSetCompletionRoutineEx", Rule::IrpTouchedAfterPass, Irp);
        if k.allocation_fails() {
            return STATUS_INSUFFICIENT_RESOURCES;
        }
        let next = irp.current_location() - 1;
        if next <= 0 {
            k.finding(Rule::IrpNoStackLocation, "IoSetCompletionRoutineEx without a next stack location");
        }
        let stack = irp.stack_at(next);
        stack.set_routine(CompletionRoutine);
        stack.set_context(Context);
        let bit = |on: BOOLEAN, bit: u8| if on == 0 { 0 } else { bit };
        stack.set_control(bit(InvokeOnSuccess, 0x40) | bit(InvokeOnError, 0x80) | bit(InvokeOnCancel, 0x20));
        STATUS_SUCCESS
    }

    /// Sets the cancel bit and calls the cancel routine, if one is set. At or below `DISPATCH_LEVEL`.
    fn IoCancelIrp(Irp: PIRP) -> BOOLEAN, max 2 => |k| {
        let irp = k.irp_known("IoCancelIrp", Rule::IrpTouchedAfterPass, Irp);
        BOOLEAN::from(k.cancel_irp(irp))
    }

    /// Takes the system-wide cancel spin lock. At or below `DISPATCH_LEVEL`.
    fn IoAcquireCancelSpinLock(Irql: PKIRQL), max 2 => |k| {
        put(Irql, k.cancel_acquire());
    }

    /// Releases the system-wide cancel spin lock. At `DISPATCH_LEVEL`.
    fn IoReleaseCancelSpinLock(Irql: KIRQL), max 2 => |k| {
        k.cancel_release(Irql);
    }

    /// Copies the IRP to the next location, sends it and waits: TRUE when it was sent. The caller completes it. At
    /// `PASSIVE_LEVEL`.
    fn IoForwardIrpSynchronously(DeviceObject: PDEVICE_OBJECT, Irp: PIRP) -> BOOLEAN, max 0 => |k| {
        let irp = k.irp_known("IoForwardIrpSynchronously", Rule::IrpTouchedAfterPass, Irp);
        let lower = k.device_known("IoForwardIrpSynchronously", DeviceObject);
        k.forward_and_wait(lower, irp);
        1
    }

    /// Builds a control for the current thread; the I/O manager frees it. At `PASSIVE_LEVEL`. NULL when memory is short.
    fn IoBuildDeviceIoControlRequest(IoControlCode: ULONG, DeviceObject: PDEVICE_OBJECT, InputBuffer: PVOID, InputBufferLength: ULONG, OutputBuffer: PVOID, OutputBufferLength: ULONG, InternalDeviceIoControl: BOOLEAN, Event: PKEVENT, IoStatusBlock: PIO_STATUS_BLOCK) -> PIRP, max 0 => |k| {
        let device = k.device_known("IoBuildDeviceIoControlRequest", DeviceObject);
        let (input, output) = (span(InputBuffer, InputBufferLength), span(OutputBuffer, OutputBufferLength));
        let major = if InternalDeviceIoControl == 0 { IRP_MJ_DEVICE_CONTROL } else { IRP_MJ_INTERNAL_DEVICE_CONTROL };
        let parameters = [u64::from(OutputBufferLength), u64::from(InputBufferLength), u64::from(IoControlCode), 0];
        let direct = matches!(IoControlCode & 3, METHOD_IN_DIRECT | METHOD_OUT_DIRECT);
        let system = if direct {
            control_buffer(k, input, Span { addr: output.addr, len: 0 })
        } else {
            control_buffer(k, input, output)
        };
        let mdl = (direct && output.len > 0).then_some(output);
        build(k, &Built { device, major, iosb: IoStatusBlock, event: Event, parameters, mdl, system })
    }

    /// Builds a read, write, flush, shutdown or `PnP` request for the current thread; the I/O manager frees it. At
    /// `PASSIVE_LEVEL`. NULL when memory is short. Weaker than Windows: data travels by MDL whatever the device asks.
    fn IoBuildSynchronousFsdRequest(MajorFunction: ULONG, DeviceObject: PDEVICE_OBJECT, Buffer: PVOID, Length: ULONG, StartingOffset: PLARGE_INTEGER, Event: PKEVENT, IoStatusBlock: PIO_STATUS_BLOCK) -> PIRP, max 0 => |k| {
        transfer(k, MajorFunction, (DeviceObject, Buffer, Length, StartingOffset), IoStatusBlock, Event)
    }

    /// The device a file's requests go to. At or below `DISPATCH_LEVEL`.
    fn IoGetRelatedDeviceObject(FileObject: PFILE_OBJECT) -> PDEVICE_OBJECT, max 2 => |k| {
        k.file_target(File::at(FileObject as usize)).ptr()
    }

    /// Process of the requestor; NULL when the IRP belongs to no thread. At or below `DISPATCH_LEVEL`. Weaker than Windows:
    /// the model has one process for all.
    fn IoGetRequestorProcess(Irp: PIRP) -> PEPROCESS, max 2 => |k| {
        let irp = k.irp_known("IoGetRequestorProcess", Rule::IrpTouchedAfterPass, Irp);
        if irp.thread().is_null() { std::ptr::null_mut() } else { k.process_object().cast() }
    }

    /// Priority hint of an IRP. Any IRQL.
    fn IoGetIoPriorityHint(Irp: PIRP) -> IO_PRIORITY_HINT, max 15 => |k| {
        let irp = k.irp_known("IoGetIoPriorityHint", Rule::IrpTouchedAfterPass, Irp);
        k.irp_record(irp, |record| record.priority).unwrap_or(2)
    }

    /// Sets the priority hint of an IRP. Any IRQL.
    fn IoSetIoPriorityHint(Irp: PIRP, PriorityHint: IO_PRIORITY_HINT) -> NTSTATUS, max 15 => |k| {
        let irp = k.irp_known("IoSetIoPriorityHint", Rule::IrpTouchedAfterPass, Irp);
        if !(0..=3).contains(&PriorityHint) {
            return STATUS_INVALID_PARAMETER;
        }
        k.irp_record(irp, |record| record.priority = PriorityHint);
        STATUS_SUCCESS
    }

    /// Activity id of an IRP: `STATUS_NOT_FOUND` when it has none. At or below `DISPATCH_LEVEL`.
    fn IoGetActivityIdIrp(Irp: PIRP, Guid: LPGUID) -> NTSTATUS, max 2 => |k| {
        let irp = k.irp_known("IoGetActivityIdIrp", Rule::IrpTouchedAfterPass, Irp);
        let id = k.irp_record(irp, |record| record.activity).unwrap_or_default();
        if id == [0; 16] {
            return STATUS_NOT_FOUND;
        }
        put(Guid.cast(), id);
        STATUS_SUCCESS
    }

    /// Sets the activity id of an IRP; NULL takes a new one. At or below `DISPATCH_LEVEL`.
    fn IoSetActivityIdIrp(Irp: PIRP, Guid: LPCGUID) -> NTSTATUS, max 2 => |k| {
        let irp = k.irp_known("IoSetActivityIdIrp", Rule::IrpTouchedAfterPass, Irp);
        let id = get(Guid.cast::<[u8; 16]>()).unwrap_or([0xAC; 16]);
        k.irp_record(irp, |record| record.activity = id);
        STATUS_SUCCESS
    }

    /// Whether the request may be waited for by its maker. At or below `DISPATCH_LEVEL`.
    fn IoIsOperationSynchronous(Irp: PIRP) -> BOOLEAN, max 2 => |k| {
        let irp = k.irp_known("IoIsOperationSynchronous", Rule::IrpTouchedAfterPass, Irp);
        BOOLEAN::from(irp.flags() & (IRP_SYNCHRONOUS_API | IRP_SYNCHRONOUS_PAGING_IO) != 0)
    }

    /// Whether the requestor is a 32-bit process; never in the model. At or below `DISPATCH_LEVEL`.
    fn IoIs32bitProcess(Irp: PIRP) -> BOOLEAN, max 2 => |k| {
        let _ = (k, Irp);
        0
    }

    /// Remembers the device that needs verification for the request's thread. At or below `DISPATCH_LEVEL`.
    fn IoSetHardErrorOrVerifyDevice(Irp: PIRP, DeviceObject: PDEVICE_OBJECT), max 2 => |k| {
        k.irp_known("IoSetHardErrorOrVerifyDevice", Rule::IrpTouchedAfterPass, Irp);
        k.device_known("IoSetHardErrorOrVerifyDevice", DeviceObject);
    }
}

impl Kernel {
    fn live_irp(&self, irp: PIRP) -> bool {
        self.irp_record(Irp::at(irp as usize), |_| ()).is_some()
    }

    /// `IoForwardIrpSynchronously`: a completion routine of the simulator's own keeps the IRP.
    fn forward_and_wait(&self, lower: Device, irp: Irp) {
        let location = irp.current_location();
        if location <= 1 {
            self.finding(Rule::IrpNoStackLocation, "IoForwardIrpSynchronously without a next stack location");
        }
        let (here, next) = (irp.stack(), irp.stack_at(location - 1));
        next.set_major(here.major());
        next.set_minor(here.minor());
        next.set_flags(here.flags());
        next.set_parameters(here.parameters());
        next.set_file(here.file());
        next.set_control(0xE0);
        next.set_routine(Some(keep_for_waiter));
        let flag = self.io.arena.alloc(8);
        let done = Span { addr: flag, len: 8 };
        next.set_context(flag as PVOID);
        let _status = self.send(lower, irp);
        let _done = self.block(&[flag], None, "an IRP forwarded synchronously", || {
            let mut byte = [0];
            done.read(0, &mut byte);
            (byte[0] != 0).then_some(())
        });
        self.io.arena.free(flag, 8);
    }
}

/// Completion routine of [`IoForwardIrpSynchronously`].
unsafe extern "C" fn keep_for_waiter(_device: PDEVICE_OBJECT, _irp: PIRP, context: PVOID) -> NTSTATUS {
    crate::abi::routine::enter("IoForwardIrpSynchronously", 2, |k| {
        Span { addr: context as usize, len: 8 }.write(0, &[1]);
        k.wake(context as usize);
        STATUS_MORE_PROCESSING_REQUIRED
    })
}
