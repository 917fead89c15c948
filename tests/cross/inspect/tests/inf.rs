//! The INF of the sample driver is clean, and planted mistakes are caught.

use vck_inspect::inf;

const INF: &str = include_str!("../../../../inf/vck-sample-driver.inx");

/// Lints the INF with one text replaced by another.
fn with(from: &str, to: &str) -> vck_inspect::Report {
    assert!(INF.contains(from), "the INF no longer has `{from}`");
    inf::check(INF.replace(from, to).as_bytes())
}

/// Asserts that the replacement gives a bad row of `check` that has `text`.
fn caught(from: &str, to: &str, check: &str, text: &str) {
    let report = with(from, to);
    assert!(report.bad_rows(check).any(|row| row.text.contains(text)), "`{from}` -> `{to}`\n{report}");
}

#[test]
fn the_shipped_inf_is_clean() {
    let report = inf::check(INF.as_bytes());
    assert!(report.is_clean(), "{report}");
}

#[test]
fn utf_16_with_a_byte_order_mark_is_read() {
    let bytes: Vec<u8> = [0xFF, 0xFE].into_iter().chain(INF.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    assert!(inf::check(&bytes).is_clean());
    let report = inf::check(INF.replace("JC-Lab", "JC-Läb").as_bytes());
    assert!(report.bad_rows("syntax").any(|row| row.text.contains("not ASCII")), "{report}");
}

#[test]
fn syntax() {
    caught("[Strings]", "[Strings", "syntax", "closing bracket");
    caught("[Filter.DelReg]", "[Filter.AddReg]", "syntax", "twice");
    caught("\"JC-Lab\"", "\"JC-Lab", "syntax", "quote");
    caught("Signature ", "Signature = x \\\n;", "syntax", "continued");
    assert!(!inf::check(b"").is_clean());
}

#[test]
fn version_section() {
    caught("= Volume", "= Encryption", "version", "Class is Encryption");
    caught("ClassGuid   = {71A27CDD", "ClassGuid   = {71A27CDE", "version", "ClassGuid");
    caught("PnpLockdown = 1", "PnpLockdown = 0", "version", "PnpLockdown");
    caught("01/01/2026,0.1.0.0", "2026-01-01,0.1", "version", "DriverVer");
    caught("CatalogFile = vck-sample-driver.cat", "", "version", "unsigned");
    caught("Provider           = \"JC-Lab\"", "Provider = \"\"", "version", "Provider");
}

#[test]
fn what_makes_it_a_primitive_driver() {
    caught("[DefaultInstall.NTamd64]", "[DefaultInstall]", "sections", "[DefaultInstall.NTamd64]");
    caught("[Strings]", "[Manufacturer]\n[Strings]", "sections", "Manufacturer");
    caught("LegacyUninstall = 1", "", "uninstall", "LegacyUninstall");
}

#[test]
fn references_and_strings() {
    caught("AddReg    = Filter.AddReg", "AddReg    = Filter.Other", "sections", "[Filter.Other] does not exist");
    caught("AddReg    = Filter.AddReg", "AddReg    = Filter.Other", "sections", "[Filter.AddReg] is not");
    caught(
        "CopyFiles = Driver.CopyFiles",
        "CopyFiles = Driver.CopyFiles\nRegisterDlls = Driver.CopyFiles",
        "sections",
        "not used here",
    );
    caught("%ServiceDescription%", "%Descripton%", "strings", "%Descripton%");
    caught("%ServiceDescription%", "none", "strings", "ServiceDescription is not used");
}

#[test]
fn files() {
    caught("DefaultDestDir = 13", "DefaultDestDir = 12", "files", "DefaultDestDir");
    caught("DefaultDestDir = 13", "DefaultDestDir = 13\nDriver.CopyFiles = 12", "files", "one destination");
    caught("\nvck-sample-driver.sys\n", "\nvck-sample-driver.sys,other.sys\n", "files", "renamed");
    caught("vck-sample-driver.sys = 1", "vck-sample-driver.sys = 2", "files", "on disk 2");
    caught("LegacyUninstall = 1", "LegacyUninstall = 1\nDelFiles = Driver.CopyFiles", "files", "DelFiles");
}

#[test]
fn service() {
    caught("%Service%,,Driver.Service", "%Service%,2,Driver.Service", "service", "function driver");
    caught("ServiceType    = 1 ", "ServiceType    = 2 ", "service", "not a file system");
    caught("StartType      = 0 ", "StartType      = 3 ", "service", "StartType");
    caught("ErrorControl   = 1 ", "ErrorControl   = 3 ", "service", "ErrorControl");
    caught("\"PnP Filter\"", "\"FSFilter System\"", "service", "LoadOrderGroup");
    caught("%13%\\vck", "%12%\\vck", "service", "ServiceBinary");
    caught("AddService = %Service%,,Driver.Service", "", "service", "0 AddService");
}

#[test]
fn the_filter_list() {
    caught("0x00010008", "0x00010000", "registry", "wanted 0x00010008");
    caught("\"LowerFilters\",0x00010008", "\"UpperFilters\",0x00010008", "registry", "UpperFilters");
    caught(
        "HKLM,%VolumeClass%,\"LowerFilters\",0x00010008",
        "HKR,,\"LowerFilters\",0x00010008",
        "registry",
        "root is HKR",
    );
    caught("0x00010008,%Service%", "0x00010008,%Service%,volsnap", "registry", "nothing else");
}

#[test]
fn removal_undoes_the_installation_and_nothing_more() {
    // Without flags the whole list would go, and with it every other filter of every volume.
    caught("\"LowerFilters\",0x00018002,%Service%", "\"LowerFilters\"", "registry", "flags missing");
    caught("0x00018002,%Service%", "0x00018002,fvevol", "registry", "fvevol");
    caught("DelReg          = Filter.DelReg", "", "uninstall", "0 entries removed");
    caught("DelService = %Service%", "", "uninstall", "DelService");
    caught("DelService = %Service%", "DelService = volsnap", "uninstall", "DelService");
}
