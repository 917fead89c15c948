//! The tables of `docs/on-disk-format.md` say what the code does.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use vck_common::{DataSector, Geometry, SectorCount, SectorSize, VolumeCipher, XtsVolumeCipher};

/// Ranges of `layout.rs` that overlap fields on purpose.
const NOT_FIELDS: &[&str] = &["COVERED"];

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of the table after the mark `<!-- table: name -->`, without its two heading lines.
fn table(document: &str, name: &str) -> Vec<Vec<String>> {
    let mark = format!("<!-- table: {name} -->\n");
    let (_, rest) = document.split_once(&mark).unwrap_or_else(|| panic!("no table {name}"));
    let rows = rest.lines().take_while(|line| line.starts_with('|')).skip(2);
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
    rows.map(cells).collect()
}

/// `NAME: Range<usize> = a..b` of the layout module. It is private, so it is read and not called.
fn ranges(source: &str) -> BTreeMap<String, (usize, usize)> {
    let range = |line: &str| {
        let (name, value) = line.trim().strip_prefix("pub(super) const ")?.split_once(": Range<usize> = ")?;
        let (start, end) = value.strip_suffix(';')?.split_once("..")?;
        Some((name.to_owned(), (start.parse().ok()?, end.parse().ok()?)))
    };
    source.lines().filter_map(range).collect()
}

/// What is wrong with a field table: gaps, overlaps, constants that differ. Takes the constants it finds out of `code`.
fn differences(rows: &[Vec<String>], total: usize, code: &mut BTreeMap<String, (usize, usize)>) -> Vec<String> {
    let mut bad = Vec::new();
    let mut next = 0;
    for row in rows {
        let number = |cell: usize| row[cell].parse::<usize>().expect("a number");
        let (start, end) = (number(0), number(0) + number(1));
        if start != next {
            bad.push(format!("{}: starts at {start}, not at {next}", row[2]));
        }
        next = end;
        if row[3] != "-" && code.remove(&row[3]) != Some((start, end)) {
            bad.push(format!("{}: {start}..{end} is not what {} says", row[2], row[3]));
        }
    }
    if next != total {
        bad.push(format!("the table ends at {next}, not at {total}"));
    }
    bad
}

#[test]
fn the_block_is_what_the_code_says() {
    let document = text("docs/on-disk-format.md");
    let mut code = ranges(&text("vck-common/src/jvck/layout.rs"));
    assert!(code.len() > 15, "the layout was not found");
    assert_eq!(differences(&table(&document, "block"), vck_common::jvck::BLOCK_SIZE, &mut code), [""; 0]);
    assert_eq!(differences(&table(&document, "sealed"), 128, &mut code), [""; 0]);
    code.retain(|name, _| !NOT_FIELDS.contains(&name.as_str()));
    assert!(code.is_empty(), "not in the document: {code:?}");
}

#[test]
fn a_wrong_table_is_found() {
    let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
    let code = || BTreeMap::from([("A".to_owned(), (0, 4)), ("B".to_owned(), (4, 8))]);
    let right = [row(["0", "4", "a", "A"]), row(["4", "4", "b", "B"])];
    assert_eq!(differences(&right, 8, &mut code()), [""; 0]);
    assert_eq!(differences(&right, 9, &mut code()).len(), 1);
    assert_eq!(differences(&[row(["0", "4", "a", "B"])], 4, &mut code()).len(), 1);
    assert_eq!(differences(&[row(["1", "4", "a", "-"])], 5, &mut code()).len(), 1);
}

#[test]
fn worked_geometries_are_right() {
    let rows = table(&text("docs/on-disk-format.md"), "geometry");
    assert!(rows.len() >= 5);
    for row in rows {
        let number = |cell: usize| row[cell].parse::<u64>().expect("a number");
        let small = |cell: usize| u32::try_from(number(cell)).expect("a small number");
        let size = SectorSize::new(small(0)).expect("a sector size");
        let geometry =
            Geometry::new(size, SectorCount::new(number(1)), small(2), small(3), small(4)).expect("a geometry");
        let blocks: Vec<String> = geometry.metadata_lbas().map(|lba| lba.get().to_string()).collect();
        let code = (geometry.replica_sectors().get(), geometry.offset_sector().get(), geometry.data_sectors().get());
        assert_eq!((number(5), number(6), number(7)), code, "{row:?}");
        assert_eq!(row[8], blocks.join(" "));
    }
}

#[test]
fn anchor_values_are_right() {
    let (mut data_key, mut tweak_key) = ([0; 32], [0; 32]);
    for (byte, value) in data_key.iter_mut().chain(&mut tweak_key).zip(0..) {
        *byte = value;
    }
    let cipher = XtsVolumeCipher::new(&data_key, &tweak_key).expect("a cipher");
    let rows = table(&text("docs/on-disk-format.md"), "xts");
    assert_eq!(rows.len(), 2);
    for row in rows {
        let mut sector = [0_u8; 512];
        let mut value = 3_u8;
        for byte in &mut sector {
            *byte = value;
            value = value.wrapping_add(7);
        }
        let number = DataSector::new(row[0].parse().expect("a number"));
        cipher.encrypt_area(&mut sector, SectorSize::new(512).expect("a size"), number);
        let start = sector[..16].iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("text grows");
            text
        });
        assert_eq!(row[1], start);
    }
}
