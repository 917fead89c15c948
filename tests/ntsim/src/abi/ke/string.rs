//! Counted Unicode strings.

use std::cmp::Ordering;

use crate::abi::routine::routines;
use crate::abi::*;

/// The most bytes that a counted string can hold with its terminator.
const MAX_BYTES: usize = 0xFFFC;

fn units<'a>(string: PCUNICODE_STRING) -> &'a [u16] {
    // SAFETY: the documented contract: null or a valid counted string.
    let Some(string) = (unsafe { string.as_ref() }) else { return &[] };
    if string.Buffer.is_null() {
        return &[];
    }
    // SAFETY: a counted string's buffer holds `Length` bytes.
    unsafe { std::slice::from_raw_parts(string.Buffer, usize::from(string.Length / 2)) }
}

fn terminated_len(source: PCWSTR) -> usize {
    // SAFETY: the documented contract: the source ends with a zero, so every unit up to that one can be read.
    let unit = |at: usize| unsafe { source.wrapping_add(at).read() };
    (0..MAX_BYTES).take_while(|&at| unit(at) != 0).count()
}

/// Upper case in the Basic Multilingual Plane, where it is one unit.
fn upcase(unit: u16) -> u16 {
    let Some(letter) = char::from_u32(u32::from(unit)) else { return unit };
    let mut upper = letter.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(single), None) => u16::try_from(u32::from(single)).unwrap_or(unit),
        _ => unit,
    }
}

fn compare(first: &[u16], second: &[u16], ignore_case: bool) -> Ordering {
    let fold = |&unit: &u16| if ignore_case { upcase(unit) } else { unit };
    first.iter().map(fold).cmp(second.iter().map(fold))
}

fn initialize(target: PUNICODE_STRING, source: PCWSTR) {
    let len = if source.is_null() { 0 } else { terminated_len(source) };
    let bytes = (len * 2).min(MAX_BYTES);
    let maximum = if source.is_null() { 0 } else { bytes + 2 };
    let value = UNICODE_STRING {
        Length: USHORT::try_from(bytes).unwrap_or(0),
        MaximumLength: USHORT::try_from(maximum).unwrap_or(0),
        Buffer: source.cast_mut(),
    };
    // SAFETY: the documented contract: the destination is a counted string of the caller.
    unsafe { target.write(value) };
}

/// Copies `source` into the target's buffer from `at` units on; false when it does not fit (then as much as fits is
/// copied when `cut` is set).
fn write(target: PUNICODE_STRING, at: usize, source: &[u16], cut: bool) -> bool {
    // SAFETY: the documented contract: the destination is a counted string of the caller.
    let string = unsafe { &mut *target };
    let room = usize::from(string.MaximumLength / 2).saturating_sub(at);
    let fits = source.len() <= room;
    if !fits && !cut {
        return false;
    }
    let count = source.len().min(room);
    let start = string.Buffer.wrapping_add(at);
    // SAFETY: the buffer holds `MaximumLength` bytes, and `at + count` units are within; source and destination may
    // overlap, which `copy` allows.
    unsafe { start.copy_from(source.as_ptr(), count) };
    string.Length = USHORT::try_from((at + count) * 2).unwrap_or(0);
    if count < room {
        // SAFETY: one more unit is within the buffer.
        unsafe { start.wrapping_add(count).write(0) };
    }
    fits
}

fn append(target: PUNICODE_STRING, source: &[u16]) -> NTSTATUS {
    let at = units(target).len();
    if write(target, at, source, false) { STATUS_SUCCESS } else { STATUS_BUFFER_TOO_SMALL }
}

routines! {
    /// Makes a counted string of a terminated one, without a copy. Any IRQL for resident strings.
    fn RtlInitUnicodeString(DestinationString: PUNICODE_STRING, SourceString: PCWSTR), max 2 => |_k| {
        initialize(DestinationString, SourceString);
    }

    /// Copies as much of the source as fits. Any IRQL for resident strings.
    fn RtlCopyUnicodeString(DestinationString: PUNICODE_STRING, SourceString: PCUNICODE_STRING), max 2 => |_k| {
        let _cut_off_silently = write(DestinationString, 0, units(SourceString), true);
    }

    /// Appends a counted string; STATUS_BUFFER_TOO_SMALL when it does not fit. At PASSIVE_LEVEL for pageable strings.
    fn RtlAppendUnicodeStringToString(Destination: PUNICODE_STRING, Source: PCUNICODE_STRING) -> NTSTATUS, max 2 => |_k| {
        append(Destination, units(Source))
    }

    /// Appends a terminated string; STATUS_BUFFER_TOO_SMALL when it does not fit.
    fn RtlAppendUnicodeToString(Destination: PUNICODE_STRING, Source: PCWSTR) -> NTSTATUS, max 2 => |_k| {
        if Source.is_null() {
            return STATUS_SUCCESS;
        }
        // SAFETY: the source has this many units before its terminator.
        append(Destination, unsafe { std::slice::from_raw_parts(Source, terminated_len(Source)) })
    }

    /// Whether two strings are equal. At PASSIVE_LEVEL, because the case tables are pageable.
    fn RtlEqualUnicodeString(String1: PCUNICODE_STRING, String2: PCUNICODE_STRING, CaseInSensitive: BOOLEAN) -> BOOLEAN, max 0 => |_k| {
        BOOLEAN::from(compare(units(String1), units(String2), CaseInSensitive != 0).is_eq())
    }

    /// Orders two strings: negative, zero, positive. At PASSIVE_LEVEL.
    fn RtlCompareUnicodeString(String1: PCUNICODE_STRING, String2: PCUNICODE_STRING, CaseInSensitive: BOOLEAN) -> LONG, max 0 => |_k| {
        compare(units(String1), units(String2), CaseInSensitive != 0) as LONG
    }

    /// Whether the first string is a prefix of the second. At PASSIVE_LEVEL.
    fn RtlPrefixUnicodeString(String1: PCUNICODE_STRING, String2: PCUNICODE_STRING, CaseInSensitive: BOOLEAN) -> BOOLEAN, max 0 => |_k| {
        let (prefix, whole) = (units(String1), units(String2));
        let head = whole.get(..prefix.len());
        BOOLEAN::from(head.is_some_and(|head| compare(prefix, head, CaseInSensitive != 0).is_eq()))
    }

    /// Upper case of one unit. At PASSIVE_LEVEL.
    fn RtlUpcaseUnicodeChar(SourceCharacter: WCHAR) -> WCHAR, max 0 => |_k| { upcase(SourceCharacter) }

    /// Bytes that are equal at the start of two buffers. Any IRQL for resident memory.
    fn RtlCompareMemory(Source1: *const core::ffi::c_void, Source2: *const core::ffi::c_void, Length: SIZE_T) -> SIZE_T, max 15 => |_k| {
        let len = usize::try_from(Length).unwrap_or(0);
        // SAFETY: the documented contract: both buffers hold `Length` bytes.
        let first = unsafe { std::slice::from_raw_parts(Source1.cast::<u8>(), len) };
        // SAFETY: as above.
        let second = unsafe { std::slice::from_raw_parts(Source2.cast::<u8>(), len) };
        first.iter().zip(second).take_while(|(a, b)| a == b).count() as SIZE_T
    }
}
