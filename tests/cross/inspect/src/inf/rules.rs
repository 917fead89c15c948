//! The rules, each from the page of the INF reference that its comment names.

use super::parse::{Entry, Inf, tokens};
use crate::Report;

/// Setup class of storage volumes.
const CLASS: &str = "Volume";
const CLASS_GUID: &str = "{71A27CDD-812A-11D0-BEC7-08002BE2092F}";
const CLASS_KEY: &str = r"System\CurrentControlSet\Control\Class\{71A27CDD-812A-11D0-BEC7-08002BE2092F}";
const INSTALL: &str = "DefaultInstall.NTamd64";
const UNINSTALL: &str = "DefaultUninstall.NTamd64";
/// `FLG_ADDREG_TYPE_MULTI_SZ | FLG_ADDREG_APPEND`.
const APPEND: u32 = 0x0001_0008;
/// `FLG_DELREG_MULTI_SZ_DELSTRING`.
const DELETE_STRING: u32 = 0x0001_8002;
/// Sections that the system reads by their name.
const ENTRY_POINTS: &[&str] = &["Version", "DestinationDirs", "SourceDisksNames", "SourceDisksFiles", "Strings"];
/// Directives of an install section whose values are names of sections.
const SECTION_LISTS: &[&str] = &["CopyFiles", "AddReg", "DelReg"];

/// Runs every rule.
pub(super) fn check(inf: &Inf, report: &mut Report) {
    version(inf, report);
    sections(inf, report);
    strings(inf, report);
    files(inf, report);
    let service = service(inf, report);
    registry(inf, service.as_deref(), report);
    uninstall(inf, service.as_deref(), report);
}

/// Good when `found` equals `wanted`, in any case.
fn same(report: &mut Report, check: &'static str, what: &str, found: Option<&str>, wanted: &str) {
    let good = found.is_some_and(|found| found.eq_ignore_ascii_case(wanted));
    report.row(check, good, format!("{what} is {}, wanted {wanted}", found.unwrap_or("missing")));
}

fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// "INF Version section"; "Creating a primitive driver" asks for provider, class and its GUID.
fn version(inf: &Inf, report: &mut Report) {
    let value = |key| inf.value("Version", key);
    same(report, "version", "Signature", value("Signature").as_deref(), "$Windows NT$");
    same(report, "version", "Class", value("Class").as_deref(), CLASS);
    same(report, "version", "ClassGuid", value("ClassGuid").as_deref(), CLASS_GUID);
    same(report, "version", "PnpLockdown", value("PnpLockdown").as_deref(), "1");
    let provider = value("Provider").unwrap_or_default();
    report.row("version", !provider.is_empty(), format!("Provider is `{provider}`"));
    let catalog = value("CatalogFile").unwrap_or_default();
    let good = catalog.to_lowercase().strip_suffix(".cat").is_some_and(|stem| !stem.is_empty());
    report.row("version", good, format!("CatalogFile is `{catalog}`; without one the package counts as unsigned"));
    let stamp = inf.entry("Version", "DriverVer").map(|entry| entry.values.join(",")).unwrap_or_default();
    report.row("version", is_driver_ver(&stamp), format!("DriverVer is `{stamp}`, mm/dd/yyyy,w.x.y.z"));
}

fn is_driver_ver(text: &str) -> bool {
    let Some((date, version)) = text.split_once(',') else { return false };
    let date: Vec<u32> = date.split('/').filter_map(|part| part.parse().ok()).collect();
    let version: Vec<u16> = version.split('.').filter_map(|part| part.parse().ok()).collect();
    matches!(date.as_slice(), [1..=12, 1..=31, 1980..=9999]) && version.len() == 4 && text.matches('.').count() == 3
}

/// "Creating a primitive driver": decorated entry points only, no Manufacturer. General syntax: what is named exists.
fn sections(inf: &Inf, report: &mut Report) {
    report.row(
        "sections",
        inf.section("Manufacturer").is_none(),
        "no [Manufacturer]: a primitive driver has no models",
    );
    report.row("sections", inf.section(INSTALL).is_some(), format!("[{INSTALL}]"));
    report.row("sections", inf.section(UNINSTALL).is_some(), format!("[{UNINSTALL}]"));
    let mut known: Vec<String> = ENTRY_POINTS.iter().map(|name| (*name).to_lowercase()).collect();
    for name in [INSTALL, UNINSTALL] {
        known.push(name.to_lowercase());
        known.push(format!("{name}.Services").to_lowercase());
    }
    for (section, entry) in inf.entries() {
        for reference in references(section, entry) {
            let exists = inf.section(reference).is_some();
            if !exists {
                report.bad("sections", format!("line {}: [{reference}] does not exist", entry.line));
            }
            known.push(reference.to_lowercase());
        }
    }
    for name in inf.names() {
        if !known.contains(&name.to_lowercase()) {
            report.bad("sections", format!("[{name}] is not an entry point and nothing refers to it"));
        }
    }
    // "INF DefaultInstall section" lists what may stand there.
    for entry in [INSTALL, UNINSTALL].iter().filter_map(|name| inf.section(name)).flatten() {
        let allowed = SECTION_LISTS.iter().any(|name| entry.is(name)) || entry.is("LegacyUninstall");
        if !allowed {
            report.bad("sections", format!("line {}: directive not used here", entry.line));
        }
    }
}

/// Names of sections that an entry refers to.
fn references<'a>(section: &str, entry: &'a Entry) -> Vec<&'a str> {
    let lower = section.to_lowercase();
    if !lower.starts_with("default") {
        return Vec::new();
    }
    if lower.ends_with(".services") {
        return entry.is("AddService").then(|| entry.values.get(2).map(String::as_str)).flatten().into_iter().collect();
    }
    let list = SECTION_LISTS.iter().any(|name| entry.is(name));
    if list { entry.values.iter().map(String::as_str).collect() } else { Vec::new() }
}

/// "INF Strings section": every token has a string; a string that nothing uses is a leftover.
fn strings(inf: &Inf, report: &mut Report) {
    let defined: Vec<&str> = inf.section("Strings").unwrap_or(&[]).iter().filter_map(|e| e.key.as_deref()).collect();
    let mut used = Vec::new();
    for (section, entry) in inf.entries().filter(|(section, _)| !section.eq_ignore_ascii_case("Strings")) {
        for token in entry.values.iter().chain(&entry.key).flat_map(|text| tokens(text)) {
            if !defined.iter().any(|name| name.eq_ignore_ascii_case(token)) {
                report.bad("strings", format!("line {}: %{token}% in [{section}] has no string", entry.line));
            }
            used.push(token);
        }
    }
    for name in &defined {
        if !used.iter().any(|token| token.eq_ignore_ascii_case(name)) {
            report.bad("strings", format!("{name} is not used"));
        }
    }
    report.good("strings", format!("{} strings, {} uses", defined.len(), used.len()));
}

/// INF `CopyFiles` directive, "Using Dirids": directory 13, no renaming, no `DelFiles`.
fn files(inf: &Inf, report: &mut Report) {
    same(report, "files", "DefaultDestDir", inf.value("DestinationDirs", "DefaultDestDir").as_deref(), "13");
    let extra = inf.section("DestinationDirs").unwrap_or(&[]).iter().any(|entry| !entry.is("DefaultDestDir"));
    report.row("files", !extra, "one destination: the package's folder in the driver store");
    let copied = copied_files(inf);
    report.row("files", !copied.is_empty(), format!("copied: {}", copied.join(", ")));
    for entry in copy_entries(inf) {
        let renames = entry.values.get(1).is_some_and(|source| !source.is_empty());
        if renames {
            report.bad("files", format!("line {}: a file of directory 13 must not be renamed", entry.line));
        }
    }
    for file in &copied {
        let disk = inf.value("SourceDisksFiles", file);
        let known = disk.as_deref().is_some_and(|disk| inf.entry("SourceDisksNames", disk).is_some());
        report.row("files", known, format!("{file} on disk {}", disk.as_deref().unwrap_or("unknown")));
    }
    if let Some((_, entry)) = inf.entries().find(|(_, entry)| entry.is("DelFiles")) {
        report.bad("files", format!("line {}: DelFiles must not be used with directory 13", entry.line));
    }
}

fn copy_entries(inf: &Inf) -> impl Iterator<Item = &Entry> {
    let lists = inf.entry(INSTALL, "CopyFiles").map_or(&[][..], |entry| &entry.values);
    lists.iter().filter_map(|name| inf.section(name)).flatten()
}

fn copied_files(inf: &Inf) -> Vec<String> {
    copy_entries(inf).filter_map(|entry| entry.values.first()).map(|name| inf.expand(name)).collect()
}

/// INF `AddService` directive. Gives the name of the service.
fn service(inf: &Inf, report: &mut Report) -> Option<String> {
    let services = format!("{INSTALL}.Services");
    let all: Vec<&Entry> = inf.section(&services).unwrap_or(&[]).iter().filter(|e| e.is("AddService")).collect();
    let [add] = all.as_slice() else {
        report.bad("service", format!("{} AddService directives in [{services}], wanted one", all.len()));
        return None;
    };
    let name = inf.expand(add.values.first()?);
    report.row("service", !name.is_empty(), format!("name {name}"));
    let flags = add.values.get(1).map_or("", String::as_str);
    let plain = flags.is_empty() || number(flags) == Some(0);
    report.row("service", plain, format!("AddService flags `{flags}`: a filter is nobody's function driver"));
    let section = add.values.get(2).map_or("", String::as_str);
    for (key, wanted, why) in [
        ("ServiceType", 1, "SERVICE_KERNEL_DRIVER: not a file system"),
        ("StartType", 0, "SERVICE_BOOT_START: attached before the first volume mounts"),
        ("ErrorControl", 1, "SERVICE_ERROR_NORMAL: a failed load must not switch the control set"),
    ] {
        let found = inf.value(section, key);
        let good = found.as_deref().and_then(number) == Some(wanted);
        report.row(
            "service",
            good,
            format!("{key} is {}, wanted {wanted}: {why}", found.as_deref().unwrap_or("missing")),
        );
    }
    let group = inf.value(section, "LoadOrderGroup").unwrap_or_default();
    let good = ["Filter", "PnP Filter"].iter().any(|name| group.eq_ignore_ascii_case(name));
    report.row("service", good, format!("LoadOrderGroup `{group}`, one of Filter and PnP Filter"));
    let binary = inf.value(section, "ServiceBinary").unwrap_or_default();
    let good = copied_files(inf).iter().any(|file| binary.eq_ignore_ascii_case(&format!("%13%\\{file}")));
    report.row("service", good, format!("ServiceBinary `{binary}`, a copied file in directory 13"));
    Some(name)
}

/// One entry of a registry section: root, key, value name, flags, data.
struct Change {
    line: usize,
    root: String,
    key: String,
    name: String,
    flags: Option<u32>,
    data: Vec<String>,
}

fn changes(inf: &Inf, section: &str, directive: &str) -> Vec<Change> {
    let lists = inf.entry(section, directive).map_or(&[][..], |entry| &entry.values);
    let field = |entry: &Entry, index: usize| entry.values.get(index).map(|text| inf.expand(text)).unwrap_or_default();
    lists
        .iter()
        .filter_map(|name| inf.section(name))
        .flatten()
        .map(|entry| Change {
            line: entry.line,
            root: field(entry, 0),
            key: field(entry, 1),
            name: field(entry, 2),
            flags: number(&field(entry, 3)),
            data: (4..entry.values.len()).map(|index| field(entry, index)).collect(),
        })
        .collect()
}

/// INF `AddReg` directive.
fn registry(inf: &Inf, service: Option<&str>, report: &mut Report) {
    let added = changes(inf, INSTALL, "AddReg");
    report.row("registry", added.len() == 1, format!("{} entries added, wanted one: the filter list", added.len()));
    for change in &added {
        filter_list(change, APPEND, "appended, keeping what others put there", service, report);
    }
}

fn filter_list(change: &Change, flags: u32, how: &str, service: Option<&str>, report: &mut Report) {
    let line = change.line;
    // HKR means the device's key, and there is no device here.
    same(report, "registry", &format!("line {line}: root"), Some(&change.root), "HKLM");
    same(report, "registry", &format!("line {line}: key"), Some(&change.key), CLASS_KEY);
    same(report, "registry", &format!("line {line}: value"), Some(&change.name), "LowerFilters");
    let found = change.flags.map_or("missing".to_owned(), |flags| format!("{flags:#010x}"));
    report.row(
        "registry",
        change.flags == Some(flags),
        format!("line {line}: flags {found}, wanted {flags:#010x}: {how}"),
    );
    let ours = matches!((change.data.as_slice(), service), ([only], Some(service)) if only == service);
    report.row(
        "registry",
        ours,
        format!("line {line}: data `{}`, the service and nothing else", change.data.join(", ")),
    );
}

/// INF `DelReg` directive, INF `DelService` directive, "Creating a primitive driver" (legacy compatibility).
fn uninstall(inf: &Inf, service: Option<&str>, report: &mut Report) {
    // Without it the package would not count as a primitive driver.
    same(report, "uninstall", "LegacyUninstall", inf.value(UNINSTALL, "LegacyUninstall").as_deref(), "1");
    let removed = changes(inf, UNINSTALL, "DelReg");
    report.row(
        "uninstall",
        removed.len() == 1,
        format!("{} entries removed, wanted one: the filter list", removed.len()),
    );
    for change in &removed {
        filter_list(change, DELETE_STRING, "only strings equal to ours are taken out", service, report);
    }
    let gone = inf.value(&format!("{UNINSTALL}.Services"), "DelService");
    same(report, "uninstall", "DelService", gone.as_deref(), service.unwrap_or("the service that was added"));
    let adds = inf.entry(UNINSTALL, "AddReg").is_some();
    report.row("uninstall", !adds, "removal adds nothing");
}
