//! System threads, kernel stacks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::object::{ObjectRef, ObjectType};
use crate::abi::routine::{ignored, routines};
use crate::abi::*;
use crate::core::{Kernel, Rule, ThreadKind};
use crate::host::coroutine;
use crate::host::ptr::SendPtr;
use crate::ob::handles::ObjectKind;

/// KERNEL_LARGE_STACK_SIZE less half a page, as in the headers for x64.
const MAXIMUM_EXPANSION_SIZE: SIZE_T = 0x12000 - 0x1000 / 2;

fn create(kernel: &Kernel, handle: PHANDLE, access: ULONG, routine: PKSTART_ROUTINE, context: PVOID) -> NTSTATUS {
    let Some(routine) = routine else {
        kernel.finding(Rule::BadArgument, "PsCreateSystemThread without a start routine");
    };
    if kernel.allocation_fails() {
        return STATUS_INSUFFICIENT_RESOURCES;
    }
    let context = SendPtr(context);
    let thread = kernel.create_thread("system thread", ThreadKind::System, move || {
        // SAFETY: the documented contract of PsCreateSystemThread: the driver's code stays loaded until the thread
        // has ended, and the context is what the routine expects.
        let run = || unsafe { routine(context.get()) };
        crate::core::with_current(|kernel| kernel.call_driver("system thread", run));
    });
    let object = ObjectRef::new(thread.object());
    object.initialize(ObjectType::Thread, 0);
    kernel.threads().insert(object.address(), Arc::clone(&thread));
    kernel.object_insert(object.address(), ObjectKind::Thread, Kernel::forget_thread);
    let value = kernel.handle_insert(object.address(), access, true);
    // SAFETY: the documented contract: `ThreadHandle` points to a handle of the caller.
    unsafe { handle.write(value) };
    kernel.start_thread(&thread);
    STATUS_SUCCESS
}

fn expand(kernel: &Kernel, callout: PEXPAND_STACK_CALLOUT, parameter: PVOID, size: SIZE_T, wait: BOOLEAN) -> NTSTATUS {
    let Some(callout) = callout else {
        kernel.finding(Rule::BadArgument, "KeExpandKernelStackAndCalloutEx without a routine");
    };
    if size > MAXIMUM_EXPANSION_SIZE {
        return STATUS_INVALID_PARAMETER_3;
    }
    if wait != 0 && kernel.irql() == 2 {
        return STATUS_INVALID_PARAMETER_4;
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let room = kernel.stack_left();
    if room < size && kernel.allocation_fails() {
        return STATUS_NO_MEMORY;
    }
    kernel.with_stack_of(if room < size { Some(size) } else { None }, || {
        // SAFETY: the documented contract: `Callout` is a routine of the driver that takes `Parameter`.
        kernel.call_driver("expanded-stack callout", || unsafe { callout(parameter) });
    });
    STATUS_SUCCESS
}

routines! {
    /// Creates a thread in the system process, or in the current one. At PASSIVE_LEVEL. The handle is a kernel handle
    /// and must be closed.
    fn PsCreateSystemThread(ThreadHandle: PHANDLE, DesiredAccess: ULONG, ObjectAttributes: POBJECT_ATTRIBUTES, ProcessHandle: HANDLE, ClientId: PCLIENT_ID, StartRoutine: PKSTART_ROUTINE, StartContext: PVOID) -> NTSTATUS, max 0 => |k| {
        ignored((ObjectAttributes, ProcessHandle, ClientId));
        create(k, ThreadHandle, DesiredAccess, StartRoutine, StartContext)
    }

    /// Ends the current system thread; does not return. At PASSIVE_LEVEL. On any other thread
    /// STATUS_INVALID_PARAMETER.
    fn PsTerminateSystemThread(ExitStatus: NTSTATUS) -> NTSTATUS, max 0 => |k| {
        ignored(ExitStatus);
        if k.with_thread(|thread| matches!(thread.kind(), ThreadKind::System)) != Some(true) {
            return STATUS_INVALID_PARAMETER;
        }
        if let Some(what) = k.with_thread(crate::core::ThreadState::unfinished).flatten() {
            k.finding(Rule::LockLeaked, format!("a system thread ended with {what}"));
        }
        k.terminate_thread()
    }

    /// The current thread. Any IRQL.
    fn KeGetCurrentThread() -> PKTHREAD, max 15 => |k| {
        k.with_thread(|thread| thread.object().cast_mut().cast()).unwrap_or(std::ptr::null_mut())
    }

    /// The current thread. Any IRQL.
    fn PsGetCurrentThread() -> PETHREAD, max 15 => |k| {
        k.with_thread(|thread| thread.object().cast_mut().cast()).unwrap_or(std::ptr::null_mut())
    }

    /// Sets the priority of a thread and returns the old one. At or below DISPATCH_LEVEL. Weaker than Windows: the
    /// scheduler does not look at priorities.
    fn KeSetPriorityThread(Thread: PKTHREAD, Priority: KPRIORITY) -> KPRIORITY, max 2 => |k| {
        if !(1..=31).contains(&Priority) {
            k.finding(Rule::BadArgument, format!("KeSetPriorityThread with priority {Priority}"));
        }
        ObjectRef::new(Thread).word(0x20).swap(Priority, Ordering::SeqCst)
    }

    /// Calls a routine with at least `Size` bytes of stack. At or below DISPATCH_LEVEL, there only with `Wait` FALSE.
    /// Returns STATUS_INVALID_PARAMETER_3 (size), STATUS_INVALID_PARAMETER_4 (wait), STATUS_NO_MEMORY.
    fn KeExpandKernelStackAndCalloutEx(Callout: PEXPAND_STACK_CALLOUT, Parameter: PVOID, Size: SIZE_T, Wait: BOOLEAN, Context: PVOID) -> NTSTATUS, max 2 => |k| {
        if !Context.is_null() {
            k.finding(Rule::BadArgument, "KeExpandKernelStackAndCalloutEx with a context");
        }
        expand(k, Callout, Parameter, Size, Wait)
    }

    /// The limits of the current stack, as the stack model sees them: the distance of the caller from the lower one is
    /// what is left. Any IRQL.
    fn IoGetStackLimits(LowLimit: *mut ULONG_PTR, HighLimit: *mut ULONG_PTR), max 15 => |k| {
        let here = coroutine::stack_pointer();
        let low = here.saturating_sub(k.stack_left());
        // SAFETY: the documented contract: both pointers are valid.
        unsafe { LowLimit.write(low as ULONG_PTR) };
        // SAFETY: as above.
        unsafe { HighLimit.write((low + k.stack_limit()) as ULONG_PTR) };
    }

    /// Bytes left on the current stack. Any IRQL.
    fn IoGetRemainingStackSize() -> ULONG_PTR, max 15 => |k| { k.stack_left() as ULONG_PTR }
}
