//! Stack frames, from the unwind records that the x64 ABI demands of every function that moves the stack pointer.
//!
//! The records say exactly what a prologue pushes and allocates, so nothing has to be guessed from instructions. A
//! kernel stack has 24 KiB, and below a volume filter there are still disk, port and bus drivers.

use crate::{Image, Report, Symbols};

/// Limit of a frame in code that runs per request: cipher kernels and the filter's own path.
const IO_PATH_LIMIT: u32 = 1024;
/// Limit of any other frame: a page, above which the compiler emits stack probes.
const LIMIT: u32 = 4096;
/// Code that runs per request, by prefix of the demangled name.
const IO_PATH: &[&str] = &["vck_common::xts", "vck_windrv::filter", "vck_windrv::crypto", "vck_windrv::io"];
/// Limit of a frame that runs on the expanded stack of a control request (32 KiB, `src/nt/stack.rs`) and nowhere else.
const CONTROL_LIMIT: u32 = 10 * 1024;
/// Code that runs only there: opening a volume, key schedules made on the way, the benchmark.
const CONTROL: &[&str] = &[
    "<vck_sample_driver::JvckProvider as vck_windrv::provider::VolumeProvider>::on_attach",
    "vck_windrv::control::bench::run",
    "<vck_common::xts::XtsVolumeCipher>::new",
    "<vck_common::jvck::reader::JvckMetadataReader<vck_windrv::io::VolumeIo>>::into_store::<vck_common::jvck::codec::JvckCbcCodec>",
    "vck_common::jvck::record::journal::new_journal",
];
/// Limit of a frame that runs at load, from `DriverEntry` on a stack of 24 KiB that nobody else has used much of.
const LOAD_LIMIT: u32 = 8 * 1024;
/// Code of the I/O path's modules that runs once, at load or attach: key schedules and the self-test of the kernels.
const ONCE: &[&str] =
    &["<vck_common::xts::XtsVolumeCipher>::with_features", "vck_common::xts::check::", "<vck_common::xts::check::"];
/// What overwrites the stack where a kernel ran, and is as deep as the kernels on purpose, with its limit.
const WIPE: (&str, u32) = ("vck_common::xts::select::wipe_frames", 2048);
/// Frames printed.
const SHOWN: usize = 12;

/// One entry of the exception directory.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// RVA of the first instruction.
    pub begin: u32,
    /// RVA after the last.
    pub end: u32,
    unwind: u32,
}

/// The entries of the exception directory.
pub fn functions<'a>(image: &'a Image<'_>) -> impl Iterator<Item = Function> + 'a {
    let directory = image.pe().data_directory(object::pe::IMAGE_DIRECTORY_ENTRY_EXCEPTION);
    let (start, size) = directory.map_or((0, 0), object::pe::ImageDataDirectory::address_range);
    (0..size / 12).filter_map(move |index| function_at(image, start + index * 12))
}

fn function_at(image: &Image<'_>, rva: u32) -> Option<Function> {
    let word = |offset| image.u32_at(rva.checked_add(offset)?);
    Some(Function { begin: word(0)?, end: word(4)?, unwind: word(8)? })
}

/// Runs the checks of this module.
pub fn check(image: &Image<'_>, symbols: &Symbols, report: &mut Report) {
    let mut frames = Vec::new();
    for function in functions(image) {
        match frame_size(image, function.unwind) {
            // A continuation of a function shares the frame of its parent and has no name of its own.
            Some(size) => frames.push((size, symbols.name(function.begin))),
            None => report.bad("frames", format!("unreadable unwind record of rva {:#x}", function.begin)),
        }
    }
    frames.sort_by(|a, b| b.cmp(a));
    report.row("frames", !frames.is_empty(), format!("{} functions with an unwind record", frames.len()));
    let named = frames.iter().filter(|(_, name)| on_io_path(name)).count();
    let limits =
        format!("{IO_PATH_LIMIT}; on a control's expanded stack {CONTROL_LIMIT}; at load {LOAD_LIMIT}; others {LIMIT}");
    report.good("frames", format!("{named} on the I/O path, limit {limits}"));
    for (index, (size, name)) in frames.iter().enumerate() {
        let limit = limit_of(name);
        if *size > limit || index < SHOWN || (on_io_path(name) && *size > IO_PATH_LIMIT / 2) {
            report.row("frames", *size <= limit, format!("{size:6} bytes  {name}"));
        }
    }
}

fn limit_of(name: &str) -> u32 {
    let once = ONCE.iter().any(|prefix| name.starts_with(prefix));
    if CONTROL.contains(&name) {
        CONTROL_LIMIT
    } else if name == WIPE.0 {
        WIPE.1
    } else if once {
        LOAD_LIMIT
    } else if on_io_path(name) {
        IO_PATH_LIMIT
    } else {
        LIMIT
    }
}

/// Whether a demangled name, possibly `<Type as Trait>::method`, belongs to code that runs per request.
fn on_io_path(name: &str) -> bool {
    let name = name.trim_start_matches(['<', '&']);
    IO_PATH.iter().any(|prefix| name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(':')))
}

/// Bytes between the stack pointer at the call and after the prologue, with the return address.
fn frame_size(image: &Image<'_>, unwind: u32) -> Option<u32> {
    const CHAINED: u8 = 4;
    let mut size = 8_u32;
    let mut at = unwind;
    // A chain is as long as the pieces of one function; the bound ends a malicious loop.
    for _ in 0..32 {
        let header = image.at(at)?.get(..4)?;
        let (flags, count) = (header[0] >> 3, u32::from(header[2]));
        size = size.checked_add(codes_size(image, at + 4, count)?)?;
        if flags & CHAINED == 0 {
            return Some(size);
        }
        // The code array is padded to an even count; the parent's RUNTIME_FUNCTION follows it.
        let parent = function_at(image, at + 4 + (count + (count & 1)) * 2)?;
        at = parent.unwind;
    }
    None
}

fn codes_size(image: &Image<'_>, codes: u32, count: u32) -> Option<u32> {
    let mut size = 0_u32;
    let mut index = 0;
    while index < count {
        let slot = |offset| image.u16_at(codes + (index + offset) * 2);
        let code = slot(0)?;
        let (operation, info) = ((code >> 8) & 0xF, u32::from(code >> 12));
        let (bytes, slots) = match (operation, info) {
            (0, _) => (8, 1),                                               // UWOP_PUSH_NONVOL
            (1, 0) => (u32::from(slot(1)?) * 8, 2),                         // UWOP_ALLOC_LARGE
            (1, 1) => (u32::from(slot(1)?) | u32::from(slot(2)?) << 16, 3), // UWOP_ALLOC_LARGE, 32 bits
            (2, _) => (info * 8 + 8, 1),                                    // UWOP_ALLOC_SMALL
            (3 | 6, _) => (0, 1),                                           // UWOP_SET_FPREG, UWOP_EPILOG
            (4 | 8, _) => (0, 2),                                           // a register saved near
            (5 | 9, _) => (0, 3),                                           // a register saved far
            (10, _) => (40 + info * 8, 1),                                  // UWOP_PUSH_MACHFRAME
            _ => return None,
        };
        size = size.checked_add(bytes)?;
        index += slots;
    }
    Some(size)
}
