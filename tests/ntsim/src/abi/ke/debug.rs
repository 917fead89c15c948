//! Bug checks, debug output, random numbers.

use std::ffi::CStr;

use crate::abi::routine::{enter, ignored, routines};
use crate::abi::*;
use crate::core::{Kernel, Rule};

const USE_SYSTEM_PREFERRED_RNG: ULONG = 2;

fn text(source: PCSTR) -> String {
    if source.is_null() {
        return String::new();
    }
    // SAFETY: the documented contract: a terminated string.
    unsafe { CStr::from_ptr(source) }.to_string_lossy().into_owned()
}

/// Adds a line to the world's log; doubled per cent signs become single ones.
fn print(kernel: &Kernel, format: PCSTR) -> ULONG {
    kernel.log_line(text(format).replace("%%", "%").trim_end().to_owned());
    0
}

fn random(kernel: &Kernel, algorithm: PVOID, buffer: PUCHAR, length: ULONG, flags: ULONG) -> NTSTATUS {
    if !algorithm.is_null() || flags & USE_SYSTEM_PREFERRED_RNG == 0 {
        return STATUS_INVALID_HANDLE;
    }
    // SAFETY: the documented contract: the buffer holds `length` bytes.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer, length as usize) };
    kernel.cng().fill(bytes);
    STATUS_SUCCESS
}

/// Stops the machine: a finding. Any IRQL. Does not return.
pub unsafe extern "C" fn KeBugCheckEx(
    BugCheckCode: ULONG,
    BugCheckParameter1: ULONG_PTR,
    BugCheckParameter2: ULONG_PTR,
    BugCheckParameter3: ULONG_PTR,
    BugCheckParameter4: ULONG_PTR,
) -> ! {
    let parameters = [BugCheckParameter1, BugCheckParameter2, BugCheckParameter3, BugCheckParameter4];
    enter("KeBugCheckEx", 15, |k| k.finding(Rule::BugCheck, format!("{BugCheckCode:#x}, {parameters:x?}")))
}

routines! {
    /// Prints to the debugger: a line of the world's log. At or below DIRQL. Weaker than Windows: the real routine takes
    /// arguments for its format; a function with a variable number of them cannot be written in stable Rust, so the format
    /// must be the whole text, its per cent signs doubled.
    fn DbgPrint(Format: PCSTR) -> ULONG, max 15 => |k| { print(k, Format) }

    /// DbgPrint with a component and a level.
    fn DbgPrintEx(ComponentId: ULONG, Level: ULONG, Format: PCSTR) -> ULONG, max 15 => |k| {
        ignored((ComponentId, Level));
        print(k, Format)
    }

    /// Random bytes of the system's generator (NULL algorithm, BCRYPT_USE_SYSTEM_PREFERRED_RNG), drawn from the world's
    /// seed. At PASSIVE_LEVEL.
    fn BCryptGenRandom(hAlgorithm: PVOID, pbBuffer: PUCHAR, cbBuffer: ULONG, dwFlags: ULONG) -> NTSTATUS, max 0 => |k| {
        random(k, hAlgorithm, pbBuffer, cbBuffer, dwFlags)
    }
}
