//! Planted violations of an image: each must be caught by its check, and by no other.

mod support;

use support::{EXECUTE, Pe, READ, RET, WRITE};
use vck_inspect::{Report, inspect};

fn judge(pe: &Pe) -> Report {
    inspect(&pe.build(), None).unwrap()
}

/// Names of the checks with a bad row.
fn failing(report: &Report) -> Vec<&'static str> {
    let mut checks: Vec<_> = report.rows().iter().filter(|row| !row.good).map(|row| row.check).collect();
    checks.dedup();
    checks
}

/// Asserts that exactly this check fails, and that a bad row of it has this text.
fn caught(report: &Report, check: &str, text: &str) {
    assert_eq!(failing(report), [check], "{report}");
    assert!(report.bad_rows(check).any(|row| row.text.contains(text)), "{report}");
}

fn with_code(code: &[u8]) -> Report {
    judge(&Pe { code: [code, RET].concat(), ..Pe::default() })
}

#[test]
fn the_plain_image_is_clean() {
    let report = judge(&Pe::default());
    assert!(report.is_clean(), "{report}");
    for check in ["machine", "subsystem", "entry", "flags", "checksum", "sections", "imports", "code", "frames"] {
        assert!(report.rows().iter().any(|row| row.check == check), "no row of {check}");
    }
}

#[test]
fn not_a_pe_image_is_an_error_not_a_report() {
    assert!(inspect(b"MZ", None).is_err());
    assert!(inspect(b"\x7FELF, certainly not a driver", None).is_err());
}

#[test]
fn machine_and_subsystem() {
    caught(&judge(&Pe { machine: 0xAA64, ..Pe::default() }), "machine", "0xaa64");
    caught(&judge(&Pe { subsystem: 3, ..Pe::default() }), "subsystem", "native is 1");
}

#[test]
fn an_entry_point_outside_code() {
    caught(&judge(&Pe { entry: 0, ..Pe::default() }), "entry", "rva 0x0");
    caught(&judge(&Pe { entry: 0x2000, ..Pe::default() }), "entry", "rva 0x2000");
}

#[test]
fn a_missing_protection_flag() {
    for (flag, name) in
        [(0x20, "HIGH_ENTROPY_VA"), (0x40, "DYNAMIC_BASE"), (0x80, "FORCE_INTEGRITY"), (0x100, "NX_COMPAT")]
    {
        caught(&judge(&Pe { dll_characteristics: 0x01E0 & !flag, ..Pe::default() }), "flags", name);
    }
}

#[test]
fn a_changed_byte_breaks_the_checksum() {
    let mut bytes = Pe::default().build();
    *bytes.last_mut().unwrap() ^= 1;
    caught(&inspect(&bytes, None).unwrap(), "checksum", "computed");
}

#[test]
fn the_checksum_of_an_odd_length_counts_the_last_byte() {
    let mut bytes = Pe::default().build();
    bytes.push(0x5A);
    support::fix_checksum(&mut bytes);
    assert!(inspect(&bytes, None).unwrap().is_clean());
    *bytes.last_mut().unwrap() = 0x5B;
    caught(&inspect(&bytes, None).unwrap(), "checksum", "computed");
}

#[test]
fn a_writable_executable_section() {
    caught(&judge(&Pe { code_flags: READ | WRITE | EXECUTE, ..Pe::default() }), "sections", "rwx");
}

#[test]
fn imports_outside_the_table() {
    for (library, routine, text) in [
        ("ntoskrnl.exe", "MmCopyMemory", "not in the table"),
        ("ntoskrnl.exe", "ZwLoadDriver", "a system service"),
        ("ntoskrnl.exe", "ExAllocatePoolWithTag", "deprecated"),
        ("ntoskrnl.exe", "__C_specific_handler", "structured exceptions"),
        ("WDFLDR.SYS", "WdmlibIoCreateDeviceSecure", "wdmsec.lib"),
        // The right name in the wrong image.
        ("hal.dll", "ExFreePoolWithTag", "not in the table"),
    ] {
        let imports = vec![("ntoskrnl.exe", "ExFreePoolWithTag"), (library, routine)];
        let report = judge(&Pe { imports, ..Pe::default() });
        caught(&report, "imports", routine);
        caught(&report, "imports", text);
    }
}

#[test]
fn an_image_without_imports_was_not_read_right() {
    caught(&judge(&Pe { imports: Vec::new(), ..Pe::default() }), "imports", "none");
}

#[test]
fn vector_state_the_kernel_does_not_save() {
    let cases: &[(&[u8], &str)] = &[
        (&[0xC5, 0xF4, 0x58, 0xC2], "ymm"),             // vaddps ymm0, ymm1, ymm2
        (&[0x62, 0xF1, 0x7C, 0x48, 0x58, 0xC1], "zmm"), // vaddps zmm0, zmm0, zmm1
        (&[0xC5, 0xF9, 0xEF, 0xC0], "ymm"),             // vpxor xmm0, xmm0, xmm0: clears the rest of the register
        (&[0xC5, 0xF8, 0x2E, 0xC0], "VEX or EVEX"),     // vucomiss xmm0, xmm0
        (&[0xC4, 0xE2, 0x7D, 0xDC, 0xC1], "ymm"),       // vaesenc ymm0, ymm0, ymm1
        (&[0xC5, 0xF8, 0x77], "upper halves"),          // vzeroupper
        (&[0xC5, 0xF8, 0x92, 0xC0], "mask register"),   // kmovw k0, eax
        (&[0xD9, 0xE8], "x87 or MMX"),                  // fld1
        (&[0x0F, 0xEF, 0xC0], "x87 or MMX"),            // pxor mm0, mm0
        (&[0x0F, 0x77], "x87 or MMX"),                  // emms
        (&[0x06], "does not decode"),                   // push es, not in 64-bit mode
    ];
    for (code, text) in cases {
        caught(&with_code(code), "code", text);
    }
}

#[test]
fn what_the_kernel_does_save_is_fine() {
    let cases: &[&[u8]] = &[
        &[0x66, 0x0F, 0xEF, 0xC0],       // pxor xmm0, xmm0
        &[0x66, 0x0F, 0x38, 0xDC, 0xC1], // aesenc xmm0, xmm1
        &[0xC4, 0xE2, 0x78, 0xF2, 0xC1], // andn eax, eax, ecx: VEX, but no vector register
        &[0x0F, 0x01, 0xD0],             // xgetbv
    ];
    for code in cases {
        let report = with_code(code);
        assert!(report.is_clean(), "{report}");
    }
}

#[test]
fn decoding_starts_over_at_every_function() {
    // The first byte of a `mov eax, imm32` would swallow the AVX instruction behind it, were it not for the name.
    let mut pe = Pe { code: vec![0xB8, 0xC5, 0xF4, 0x58, 0xC2, 0xC3], ..Pe::default() };
    let map = " 0001:00000001       hidden  0000000180001001     o";
    let report = inspect(&pe.build(), Some(map)).unwrap();
    assert!(report.bad_rows("code").any(|row| row.text.contains("hidden")), "{report}");
    pe.code = vec![0xB8, 1, 2, 3, 4, 0xC3];
    assert!(inspect(&pe.build(), None).unwrap().is_clean());
}

#[test]
fn a_guarded_function_may_and_its_neighbour_may_not() {
    use vck_inspect::{Image, Symbols, code};
    // vzeroupper; ret; twice.
    let bytes = Pe { code: vec![0xC5, 0xF8, 0x77, 0xC3, 0xC5, 0xF8, 0x77, 0xC3], ..Pe::default() }.build();
    let image = Image::parse(&bytes).unwrap();
    let map = "0001:00000000  inside  0000000180001000  o\n0001:00000004  outside  0000000180001004  o";
    let symbols = Symbols::parse(map, image.base()).unwrap();
    let bad_with = |prefixes: &[&'static str]| {
        let list: Vec<_> = prefixes.iter().map(|prefix| code::Guarded { prefix, why: "test" }).collect();
        let mut report = Report::default();
        code::check_against(&image, &symbols, &list, &mut report);
        report.bad_rows("code").map(|row| row.text.clone()).collect::<Vec<_>>()
    };
    assert!(bad_with(&["inside", "outside"]).is_empty());
    let bad = bad_with(&["inside"]);
    assert!(matches!(bad.as_slice(), [only] if only.contains("in outside")), "{bad:?}");
    assert_eq!(bad_with(&[]).len(), 2);
}

#[test]
fn only_the_two_wide_kernels_are_guarded() {
    // vzeroupper; ret. Names are mangled, as in a real map file.
    let pe = Pe { code: vec![0xC5, 0xF8, 0x77, 0xC3], ..Pe::default() };
    let judge_as = |name: &str| {
        let map = format!("0001:00000000  {name}  0000000180001000  o");
        inspect(&pe.build(), Some(&map)).unwrap()
    };
    for kernel in ["7vaes256", "7vaes512"] {
        let report = judge_as(&format!("_RNvNtNtCs1234_10vck_common3xts{kernel}6cipher"));
        assert!(report.is_clean(), "{report}");
    }
    for outside in ["_RNvNtNtCs1234_10vck_common3xts5aesni6cipher", "_RNvNtNtCs1234_10vck_common3xts6select6cipher"] {
        caught(&judge_as(outside), "code", "upper halves");
    }
    caught(&judge_as("_RNvNtNtCs1234_10vck_windrv6crypto7vaes2566cipher"), "code", "upper halves");
}

#[test]
fn stack_frames_against_their_limits() {
    caught(&judge(&Pe { frame: 4096, ..Pe::default() }), "frames", "4104 bytes");
    let report = judge(&Pe { frame: 1500, ..Pe::default() });
    assert!(report.is_clean(), "{report}");
    // The same frame on the I/O path is too large. The name is mangled, as in a real map file.
    let map = "0001:00000000  _RNvNtCs1234_10vck_windrv6filter8dispatch  0000000180001000  o";
    let report = inspect(&Pe { frame: 1500, ..Pe::default() }.build(), Some(map)).unwrap();
    caught(&report, "frames", "vck_windrv::filter::dispatch");
}

#[test]
fn an_unreadable_unwind_record_is_not_skipped() {
    let mut bytes = Pe::default().build();
    // The operation of the one unwind code: 0x1F is none.
    let at = bytes.len() - 0x200 + 5;
    assert_eq!(bytes[at], 0x11);
    bytes[at] = 0x1F;
    support::fix_checksum(&mut bytes);
    let report = inspect(&bytes, None).unwrap();
    assert!(report.bad_rows("frames").any(|row| row.text.contains("unreadable")), "{report}");
}

#[test]
fn a_map_without_symbols_is_an_error() {
    assert!(inspect(&Pe::default().build(), Some("nothing here")).is_err());
}

#[test]
fn the_import_table_is_consistent() {
    use vck_inspect::imports::{ALLOWED, FLOOR};
    for (index, entry) in ALLOWED.iter().enumerate() {
        assert!(entry.since <= FLOOR, "{} is newer than the floor", entry.routine);
        assert!(!entry.why.is_empty(), "{} without a reason", entry.routine);
        let twice = ALLOWED[..index].iter().any(|other| other.routine == entry.routine);
        assert!(!twice, "{} twice", entry.routine);
    }
}
