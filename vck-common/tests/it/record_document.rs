//! What `docs/on-disk-format.md` says about the conversion record is what the code does.

use std::{collections::BTreeMap, fs, ops::Range, path::Path};

use sha2::{Digest, Sha256};
use vck_common::{
    DataSector, Geometry, MemoryIo, SectorCount, SectorSize, VolumeState,
    journal::FAILED_STEPS,
    jvck::{JvckCbcCodec, JvckHeader, JvckSecrets, MetadataCodec},
};

use crate::{
    record::{VMK, bytes_at, journal, numbered, opened, write, writes},
    support::{bytes, cases, hex, vectors, volume},
};

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of the table behind its mark, without the two heading lines.
fn table(document: &str, name: &str) -> Vec<Vec<String>> {
    let (_, rest) = document.split_once(&format!("<!-- table: {name} -->\n")).unwrap_or_else(|| panic!("no {name}"));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
    let rows: Vec<Vec<String>> = rest.lines().take_while(|line| line.starts_with('|')).skip(2).map(cells).collect();
    assert!(!rows.is_empty(), "{name} is empty");
    rows
}

/// The fields that a layout module names.
fn fields(source: &str) -> BTreeMap<String, Range<usize>> {
    let field = |line: &str| {
        let (name, range) = line.strip_prefix("pub(super) const ")?.split_once(": Range<usize> = ")?;
        let (start, end) = range.strip_suffix(';')?.split_once("..")?;
        Some((name.to_owned(), start.parse().ok()?..end.parse().ok()?))
    };
    source.lines().filter_map(field).collect()
}

/// What is wrong with a table of fields.
fn differences(rows: &[Vec<String>], total: usize, mut code: BTreeMap<String, Range<usize>>) -> Vec<String> {
    let (mut next, mut wrong) = (0, Vec::new());
    for row in rows {
        let [start, len] = [0, 1].map(|cell| row[cell].parse::<usize>().expect("a number"));
        if start != next {
            wrong.push(format!("{}: at {start}, not at {next}", row[2]));
        }
        next = start + len;
        if code.remove(&row[3]) != Some(start..next) {
            wrong.push(format!("{}: {start}..{next} is not what {} says", row[2], row[3]));
        }
    }
    if next != total {
        wrong.push(format!("the table ends at {next}, not at {total}"));
    }
    wrong.extend(code.into_keys().map(|name| format!("{name} is not in the table")));
    wrong
}

#[test]
fn the_fields_are_where_the_document_says() {
    let source = file("src/jvck/record/layout.rs");
    let code = fields(&source);
    assert!(code.len() > 20, "the layout was not found");
    let rows = table(&file("../docs/on-disk-format.md"), "record");
    assert_eq!(differences(&rows, 1536, code.clone()), [""; 0]);
    // A wrong table is found.
    let mut moved = rows.clone();
    moved[5][0] = "17".to_owned();
    assert_eq!(differences(&moved, 1536, code.clone()).len(), 3);
    assert_eq!(differences(&rows[1..], 1536, code.clone()).len(), 2);
    assert_eq!(differences(&rows, 1537, code).len(), 1);
    for constant in ["DIGESTS: usize = 1536", "MAX_SALTS: usize = 15", "MAX_DIGESTS: usize = 16384", "*b\"VCKRECRD\""] {
        assert!(source.contains(constant), "{constant}");
    }
}

#[test]
fn the_kinds_of_errors_have_these_numbers() {
    let rows = table(&file("../docs/on-disk-format.md"), "failed steps");
    let code = (1..).zip(FAILED_STEPS).map(|(kind, step): (usize, _)| vec![kind.to_string(), step.to_owned()]);
    assert_eq!(rows, code.collect::<Vec<_>>());
}

#[test]
fn the_keys_have_these_names() {
    let source = file("src/jvck/keys.rs");
    let rows = table(&file("../docs/on-disk-format.md"), "record keys");
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!(source.contains(&format!("b\"{}\"", row[1])), "{row:?}");
    }
    assert_eq!(vectors!("record.json")["keys"]["digest_key"].as_str().map(str::len), Some(2 * 528));
}

/// A volume with one header and one footer of any size.
fn volume_with(size: SectorSize, region: u32, total: u64) -> (MemoryIo, Geometry) {
    let geometry = Geometry::open(size, SectorCount::new(total), 1, 1, region).expect("a geometry");
    let io = volume(size, total);
    let header = JvckHeader::for_new_volume(&geometry, [9; 16]);
    let (secrets, mut block) = (JvckSecrets::copy_from(&[1; 32], &[2; 32]), [0; 512]);
    JvckCbcCodec.seal(&header, &secrets, DataSector::ZERO, VolumeState::Encrypt, &[3; 16], VMK, &mut block).unwrap();
    assert!(geometry.metadata_lbas().all(|lba| io.place(lba, &block)));
    (io, geometry)
}

#[test]
fn the_slots_are_where_the_document_says() {
    for row in table(&file("../docs/on-disk-format.md"), "slots") {
        let number = |cell: usize| row[cell].parse::<u64>().expect("a number");
        let size = SectorSize::new(u32::try_from(number(0)).unwrap()).unwrap();
        let (io, geometry) = volume_with(size, u32::try_from(number(1)).unwrap(), 8192);
        let data = geometry.data_sectors().get();
        assert_eq!(journal(&io).longest_zone().get(), number(3).min(data), "{row:?}");
        let mut writer = opened(&io);
        drop(writes(&io));
        let mut places = Vec::new();
        for _ in 0..2 {
            write(&mut *writer, &io, &numbered(0), None);
            places.extend(writes(&io).into_iter().map(|(lba, _)| lba));
        }
        assert_eq!(places, [number(4), number(6), number(5), number(7)], "{row:?}");
        assert_eq!(number(5) - number(4), number(2), "{row:?}");
    }
}

#[test]
fn the_example_is_the_first_vector() {
    let vectors = vectors!("record.json");
    let case = &cases(&vectors, "records")[0];
    let record = bytes(case, "bytes");
    let mut shown = vec![0; record.len()];
    for row in table(&file("../docs/on-disk-format.md"), "record example") {
        let at = usize::from_str_radix(row[0].strip_prefix("0x").expect("hexadecimal"), 16).unwrap();
        shown[at..at + 16].copy_from_slice(&hex(&row[1]));
    }
    assert_eq!(shown, record);
    let places: Vec<_> = case["lbas"].as_array().unwrap().iter().map(|lba| lba.as_u64().unwrap()).collect();
    assert_eq!(places, [1536, 1792], "as the document says");
}

#[test]
fn the_digests_of_block_and_places_cover_what_the_document_says() {
    let (io, geometry) = volume_with(SectorSize::S512, 131_072, 8192);
    write(&mut *opened(&io), &io, &numbered(0), None);
    let record = bytes_at(&io, 8, 1536);
    let mut block = bytes_at(&io, 0, 512);
    assert!(block[26..32].iter().chain(&block[224..304]).chain(&block[496..508]).all(|&byte| byte == 0), "reserved");
    block[48..304].fill(0);
    block[496..512].fill(0);
    assert_eq!(record[128..160], Sha256::digest(&block)[..]);
    let mut places = Sha256::new();
    for lba in geometry.metadata_lbas() {
        places.update(lba.get().to_le_bytes());
    }
    assert_eq!(record[96..128], places.finalize()[..]);
}
