//! The one place with unsafe code of the planted-bug tests: calls into the simulated kernel, and wild writes.

use vck_ntsim::abi::*;

/// Calls a routine of the kernel.
macro_rules! nt {
    ($name:ident($($arg:expr),* $(,)?)) => {
        // SAFETY: the planted bugs break documented contracts on purpose, but only in ways that the simulator promises
        // to survive; all pointers are to live objects of the test's driver code.
        unsafe { vck_ntsim::abi::$name($($arg),*) }
    };
}

pub(crate) use nt;

/// Writes one byte somewhere.
pub(crate) fn poke(base: PVOID, offset: usize, value: u8) {
    // SAFETY: the planted bugs write to blocks that the simulator keeps mapped: past the end into the guard, or into
    // the quarantine.
    unsafe { base.cast::<u8>().wrapping_add(offset).write_volatile(value) };
}

/// Reads one byte.
pub(crate) fn peek(base: PVOID, offset: usize) -> u8 {
    // SAFETY: as for `poke`.
    unsafe { base.cast::<u8>().wrapping_add(offset).read_volatile() }
}

/// A copy of an object's bytes.
pub(crate) fn copy<T: Copy>(object: *const T) -> T {
    // SAFETY: the object is alive.
    unsafe { object.read() }
}

/// Writes an object.
pub(crate) fn store<T>(object: *mut T, value: T) {
    // SAFETY: the object is alive.
    unsafe { object.write(value) };
}

/// An object that lives as long as the world: driver code that a finding stops never frees it.
pub(crate) fn object<T: Default>() -> *mut T {
    Box::into_raw(Box::<T>::default())
}

/// Gives an object back.
pub(crate) fn dispose<T>(object: *mut T) {
    // SAFETY: `object` came from `object`, and the caller does not use it again.
    drop(unsafe { Box::from_raw(object) });
}

/// A synchronisation event, not signalled.
pub(crate) fn event() -> *mut KEVENT {
    let event = object();
    nt!(KeInitializeEvent(event, 1, 0));
    event
}

/// An initialised fast mutex.
pub(crate) fn fast_mutex() -> *mut FAST_MUTEX {
    let mutex = object::<FAST_MUTEX>();
    // SAFETY: the mutex was just made; this is what the inline ExInitializeFastMutex does.
    unsafe { (*mutex).Count = 1 };
    mutex
}

/// An initialised spin lock.
pub(crate) fn spin_lock() -> *mut KSPIN_LOCK {
    let lock = object();
    nt!(KeInitializeSpinLock(lock));
    lock
}

/// A timeout relative to now.
pub(crate) fn relative(units: i64) -> *mut LARGE_INTEGER {
    let time = object::<LARGE_INTEGER>();
    // SAFETY: just made.
    unsafe { time.write(LARGE_INTEGER { QuadPart: -units }) };
    time
}

/// Waits for one object without a limit.
pub(crate) fn wait<T>(object: *mut T) -> NTSTATUS {
    nt!(KeWaitForSingleObject(object.cast(), 0, 0, 0, std::ptr::null_mut()))
}

/// Starts a system thread.
pub(crate) fn thread(routine: unsafe extern "C" fn(PVOID), context: PVOID) -> HANDLE {
    let mut handle: HANDLE = std::ptr::null_mut();
    let status = nt!(PsCreateSystemThread(
        &raw mut handle,
        0,
        std::ptr::null_mut(),
        std::ptr::null_mut(),
        std::ptr::null_mut(),
        Some(routine),
        context
    ));
    assert_eq!(status, STATUS_SUCCESS);
    handle
}

/// Pool, as the drivers of these tests take it.
pub(crate) fn pool(bytes: u64) -> PVOID {
    nt!(ExAllocatePool2(POOL_FLAG_NON_PAGED, bytes, TAG))
}

/// The tag of these tests.
pub(crate) const TAG: u32 = u32::from_le_bytes(*b"Test");

/// Sets ymm7 to all ones.
pub(crate) fn dirty_ymm() {
    // SAFETY: the callers ask for AVX first; the register is the callee's to change, as far as compiled code goes.
    unsafe { std::arch::asm!("vcmptrueps ymm7, ymm7, ymm7", out("xmm7") _, options(nostack)) };
}

/// Sets the upper halves of all ymm registers to zero, as compiled AVX code does when it ends.
pub(crate) fn zero_upper_halves() {
    // SAFETY: as for `dirty_ymm`; the lower halves, which compiled code uses, stay.
    unsafe { std::arch::asm!("vzeroupper", options(nostack)) };
}

/// The upper half of ymm7.
pub(crate) fn upper_half() -> u128 {
    let mut half = 0_u128;
    // SAFETY: as for `dirty_ymm`; the target has room for 16 bytes.
    unsafe {
        std::arch::asm!("vextractf128 [{}], ymm7, 1", in(reg) &raw mut half, options(nostack));
    };
    half
}
