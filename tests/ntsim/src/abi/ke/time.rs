//! Clocks and processors.

use crate::abi::routine::{ignored, routines};
use crate::abi::*;
use crate::core::{Kernel, Time};

/// The performance counter counts units of 100 ns, as on current Windows.
const FREQUENCY: i64 = 10_000_000;

/// Units of 100 ns between two clock ticks: the default of 15.625 ms.
const TIME_INCREMENT: ULONG = 156_250;

/// Reading a clock takes time: otherwise a loop that polls one would never end under virtual time.
fn read_clock(kernel: &Kernel) -> Time {
    kernel.tick();
    kernel.now()
}

fn large(value: u64) -> LARGE_INTEGER {
    LARGE_INTEGER { QuadPart: i64::try_from(value).unwrap_or(i64::MAX) }
}

fn store(target: PLARGE_INTEGER, value: LARGE_INTEGER) {
    if !target.is_null() {
        // SAFETY: the documented contract: the pointer is null or points to a LARGE_INTEGER of the caller.
        unsafe { target.write(value) };
    }
}

fn processor(kernel: &Kernel) -> ULONG {
    let number = kernel.thread_number();
    ULONG::try_from(number % u64::from(kernel.config().processors)).unwrap_or(0)
}

routines! {
    /// Returns the performance counter and, if asked, its frequency (10 MHz). Any IRQL.
    fn KeQueryPerformanceCounter(PerformanceFrequency: PLARGE_INTEGER) -> LARGE_INTEGER, max 15 => |k| {
        store(PerformanceFrequency, LARGE_INTEGER { QuadPart: FREQUENCY });
        large(read_clock(k).0)
    }

    /// System time in units of 100 ns since 1601. Any IRQL.
    fn KeQuerySystemTimePrecise(CurrentTime: PLARGE_INTEGER), max 15 => |k| {
        read_clock(k);
        store(CurrentTime, large(k.system_time()));
    }

    /// Interrupt time in units of 100 ns since boot, with the matching performance counter. Any IRQL.
    fn KeQueryInterruptTimePrecise(QpcTimeStamp: PULONGLONG) -> ULONGLONG, max 15 => |k| {
        let now = read_clock(k).0;
        if !QpcTimeStamp.is_null() {
            // SAFETY: the documented contract: a valid pointer to a 64-bit number.
            unsafe { QpcTimeStamp.write(now) };
        }
        now
    }

    /// Interrupt time without the time that the machine slept. Any IRQL.
    fn KeQueryUnbiasedInterruptTime() -> ULONGLONG, max 15 => |k| { read_clock(k).0 }

    /// Units of 100 ns between two clock ticks. Any IRQL.
    fn KeQueryTimeIncrement() -> ULONG, max 15 => |_k| { TIME_INCREMENT }

    /// Active processors of a group, or of all groups. Any IRQL.
    fn KeQueryActiveProcessorCountEx(GroupNumber: USHORT) -> ULONG, max 15 => |k| {
        ignored(GroupNumber);
        k.config().processors
    }

    /// Active processors of the caller's group. Any IRQL. Weaker than Windows: the affinity mask is always filled up
    /// to 64 processors.
    fn KeQueryActiveProcessorCount(ActiveProcessors: *mut KAFFINITY) -> ULONG, max 15 => |k| {
        let count = k.config().processors;
        if !ActiveProcessors.is_null() {
            let mask = if count >= 64 { KAFFINITY::MAX } else { (1 << count) - 1 };
            // SAFETY: the documented contract: null or a valid pointer.
            unsafe { ActiveProcessors.write(mask) };
        }
        count
    }

    /// Processors that may ever become active. Any IRQL.
    fn KeQueryMaximumProcessorCountEx(GroupNumber: USHORT) -> ULONG, max 15 => |k| {
        ignored(GroupNumber);
        k.config().processors
    }

    /// The processor that the caller runs on. Any IRQL. Weaker than Windows: a thread stays on one processor.
    fn KeGetCurrentProcessorNumberEx(ProcNumber: PPROCESSOR_NUMBER) -> ULONG, max 15 => |k| {
        let number = processor(k);
        if !ProcNumber.is_null() {
            let full = PROCESSOR_NUMBER { Group: 0, Number: UCHAR::try_from(number).unwrap_or(0), Reserved: 0 };
            // SAFETY: the documented contract: null or a valid pointer.
            unsafe { ProcNumber.write(full) };
        }
        number
    }
}
