//! What the loader reads first: machine, subsystem, entry, checksum, flags, sections, exports.

use object::LittleEndian as LE;
use object::pe;
use object::read::pe::{ImageNtHeaders, ImageOptionalHeader};

use crate::{Image, Report};

/// What the image may export. rustc cannot give a symbol its C name without exporting it from the image; any other name
/// would be a way into the driver that nobody documented.
const EXPORTS: &[(&str, &str)] = &[
    ("DriverEntry", "entry point"),
    ("_fltused", "marker the compiler refers to, defined by wdk-sys"),
    ("__CxxFrameHandler3", "stub of wdk-sys for precompiled core, never called"),
    ("__CxxFrameHandler4", "stub of wdk-sys for precompiled core, never called"),
    ("__GSHandlerCheck_EH4", "stub of wdk-sys for precompiled core, never called"),
];

/// Runs the checks of this module.
pub fn check(image: &Image<'_>, report: &mut Report) {
    file(image, report);
    optional(image, report);
    checksum(image, report);
    sections(image, report);
    exports(image, report);
}

fn file(image: &Image<'_>, report: &mut Report) {
    let header = image.nt().file_header();
    let machine = header.machine.get(LE);
    report.row("machine", machine == pe::IMAGE_FILE_MACHINE_AMD64, format!("{machine:#06x}, x64 is 0x8664"));
    let characteristics = header.characteristics.get(LE);
    report.row(
        "machine",
        characteristics & pe::IMAGE_FILE_EXECUTABLE_IMAGE != 0 && characteristics & pe::IMAGE_FILE_RELOCS_STRIPPED == 0,
        format!("characteristics {characteristics:#06x}: executable, relocations kept (the kernel moves every driver)"),
    );
}

fn optional(image: &Image<'_>, report: &mut Report) {
    let header = image.nt().optional_header();
    let subsystem = header.subsystem();
    report.row("subsystem", subsystem == pe::IMAGE_SUBSYSTEM_NATIVE, format!("{subsystem}, native is 1"));
    let entry = image.entry();
    report.row("entry", entry != 0 && image.is_code(entry), format!("rva {entry:#x}, must be in executable code"));

    let flags = header.dll_characteristics();
    for (flag, name, why) in [
        (pe::IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE, "DYNAMIC_BASE", "the image may be loaded anywhere"),
        (pe::IMAGE_DLLCHARACTERISTICS_HIGH_ENTROPY_VA, "HIGH_ENTROPY_VA", "64-bit address randomisation"),
        (pe::IMAGE_DLLCHARACTERISTICS_NX_COMPAT, "NX_COMPAT", "data is not executable"),
        (pe::IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY, "FORCE_INTEGRITY", "never loaded unsigned"),
    ] {
        report.row("flags", flags & flag != 0, format!("{name}: {why}"));
    }
    let align = header.section_alignment();
    report.row(
        "flags",
        align == 4096,
        format!("section alignment {align}, must be a page for page protection to work"),
    );
}

/// The sum the loader computes: all words of the file but the field itself, end-around carry, plus the length.
#[must_use]
pub fn pe_checksum(bytes: &[u8], field: usize) -> u32 {
    let mut sum = 0_u32;
    for (index, pair) in bytes.chunks(2).enumerate() {
        if index == field / 2 || index == field / 2 + 1 {
            continue;
        }
        let word = u32::from(pair[0]) | pair.get(1).map_or(0, |high| u32::from(*high) << 8);
        sum += word;
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    // A PE file larger than 4 GiB does not exist: the size field of the image is 32 bits.
    sum + u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// Where the checksum field is: 64 bytes into the optional header.
#[must_use]
pub fn checksum_field(bytes: &[u8]) -> Option<usize> {
    let nt = u32::from_le_bytes(bytes.get(0x3C..0x40)?.try_into().ok()?);
    Some(usize::try_from(nt).ok()? + 4 + 20 + 64)
}

fn checksum(image: &Image<'_>, report: &mut Report) {
    let stored = image.nt().optional_header().check_sum();
    let Some(field) = checksum_field(image.bytes()) else {
        report.bad("checksum", "the field cannot be found");
        return;
    };
    let computed = pe_checksum(image.bytes(), field);
    report.row(
        "checksum",
        stored == computed,
        format!("stored {stored:#x}, computed {computed:#x}; the boot loader refuses a wrong one"),
    );
}

fn sections(image: &Image<'_>, report: &mut Report) {
    for section in image.sections() {
        let flags = section.characteristics.get(LE);
        let can = |bit, letter| if flags & bit == 0 { '-' } else { letter };
        let (write, execute) = (can(pe::IMAGE_SCN_MEM_WRITE, 'w'), can(pe::IMAGE_SCN_MEM_EXECUTE, 'x'));
        let discardable = if flags & pe::IMAGE_SCN_MEM_DISCARDABLE == 0 { "" } else { " discardable" };
        report.row(
            "sections",
            (write, execute) != ('w', 'x'),
            format!(
                "{:8} {}{write}{execute}{discardable} {} bytes; never writable and executable",
                Image::section_name(section),
                can(pe::IMAGE_SCN_MEM_READ, 'r'),
                section.virtual_size.get(LE)
            ),
        );
    }
}

fn exports(image: &Image<'_>, report: &mut Report) {
    let names: Vec<String> = match image.pe().export_table() {
        Ok(Some(table)) => table
            .name_iter()
            .map(|(name, _)| {
                table.name_from_pointer(name).map_or_else(
                    |error| format!("<unreadable: {error}>"),
                    |name| String::from_utf8_lossy(name).into_owned(),
                )
            })
            .collect(),
        Ok(None) => Vec::new(),
        Err(error) => {
            report.bad("exports", format!("unreadable: {error}"));
            return;
        }
    };
    for name in names {
        let known = EXPORTS.iter().find(|(export, _)| *export == name);
        report.row("exports", known.is_some(), format!("{name}: {}", known.map_or("not in the table", |(_, why)| why)));
    }
}
