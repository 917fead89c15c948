//! `inspect`: the metadata of a volume, read without the driver.

use std::fmt::Write;

use serde_json::{Value, json};
use vck_common::jvck::{JvckCbcCodec, JvckMetadataReader, JvckMetadataStore};
use vck_common::{EncryptedOffsetStore, Geometry, SectorIo, VckError, VolumeState};

use super::record;
use crate::cli::InspectArgs;
use crate::client::percent;
use crate::error::{CtlError, CtlResult};
use crate::file_io::{FileIo, sector_size_of};
use crate::output::{Format, hex, print};
use crate::transport::Destination;

/// Shows the metadata of an image or block device.
pub(super) fn run(destination: &Destination, args: &InspectArgs, format: Format) -> CtlResult<()> {
    let path = match (&args.path, &destination.image) {
        (Some(path), None) | (None, Some(path)) => path,
        (Some(_), Some(_)) => return Err(CtlError::usage("give the image once")),
        (None, None) => return Err(CtlError::usage("give an image file or block device")),
    };
    let name = path.display().to_string();
    let key = args.key.load()?;
    let size = sector_size_of(path, destination.sector_size)?;
    let library = |error: VckError| CtlError::library("inspect", &name, error);
    let mut reader = JvckMetadataReader::open(FileIo::open(path, size)?).map_err(library)?;
    let mut text = format!("Image       : {name}\n");
    let mut value = header(&reader, &mut text);
    replicas(&mut reader, &mut text, &mut value);
    let mut refused = None;
    if let Some(key) = key {
        let store = reader.into_store(&key, JvckCbcCodec).map_err(library)?;
        with_key(&store, &mut text, &mut value).map_err(library)?;
        if let Some(mut journal) = store.journal().map_err(library)? {
            let io = FileIo::open(path, size)?;
            match journal.open(&io) {
                Ok(found) => value["record"] = record::describe(&found, &mut text),
                Err(error) => refused = Some(CtlError::library("use the conversion record of", &name, error)),
            }
        }
    } else {
        text.push_str("Boundary and direction are sealed: give the key to see them.\n");
    }
    print(format, &text, &value);
    refused.map_or(Ok(()), Err)
}

fn header<S: SectorIo>(reader: &JvckMetadataReader<S>, text: &mut String) -> Value {
    let (header, geometry) = (reader.header(), reader.geometry());
    let _ = write!(
        text,
        "Volume id   : {}\nVersion     : {} (vendor {:#x}, vendor version {})\nSector size : {} bytes\n\
         Volume      : {} sectors\nData region : {} sectors from LBA {}\n\
         Replicas    : {} at the front, {} at the end, {} bytes each\n",
        header.volume_guid(),
        header.metadata_version,
        header.vendor_id,
        header.vendor_version,
        geometry.sector_size(),
        geometry.volume_sectors(),
        geometry.data_sectors(),
        geometry.offset_sector(),
        geometry.header_count(),
        geometry.footer_count(),
        geometry.metadata_size(),
    );
    json!({
        "volume_id": header.volume_guid().to_string(),
        "metadata_version": header.metadata_version,
        "vendor_id": header.vendor_id,
        "vendor_version": header.vendor_version,
        "vendor_reserved": hex(&header.vendor_reserved),
        "sector_size": geometry.sector_size().bytes(),
        "volume_sectors": geometry.volume_sectors().get(),
        "offset_sector": geometry.offset_sector().get(),
        "data_sectors": geometry.data_sectors().get(),
        "header_replicas": geometry.header_count(),
        "footer_replicas": geometry.footer_count(),
        "metadata_size": geometry.metadata_size(),
    })
}

/// Where replica `index` lies, in words.
fn place(geometry: &Geometry, index: usize) -> String {
    let headers = usize::from(geometry.header_count());
    index.checked_sub(headers).map_or_else(|| format!("header {index}"), |footer| format!("footer {footer}"))
}

fn replicas<S: SectorIo>(reader: &mut JvckMetadataReader<S>, text: &mut String, value: &mut Value) {
    let geometry = *reader.geometry();
    let mut first = None;
    let mut list = Vec::new();
    for index in 0..reader.replica_count() {
        let lba = geometry.metadata_lba(index).map_or(0, vck_common::Lba::get);
        let block = reader.replica_ctx(index).map(|replica| *replica.block());
        let health = match &block {
            Err(error) => format!("bad: {error}"),
            Ok(block) if first.get_or_insert(*block) == block => "intact".to_owned(),
            Ok(_) => "intact, but differs from the first intact one".to_owned(),
        };
        let place = place(&geometry, index);
        let _ = writeln!(text, "  replica {index} ({place}, LBA {lba}): {health}");
        list.push(json!({ "index": index, "place": place, "lba": lba, "intact": block.is_ok(), "health": health }));
    }
    let intact = list.iter().filter(|entry| entry["intact"] == true).count();
    let agree = list.iter().all(|entry| entry["health"] == "intact");
    let _ = writeln!(
        text,
        "Health      : {intact} of {} replicas are intact{}",
        list.len(),
        if agree { ", and all are the same" } else { "; they are not all the same" }
    );
    if let Some(fields) = value.as_object_mut() {
        fields.insert("replicas".into(), list.into());
        fields.insert("replicas_agree".into(), agree.into());
    }
}

fn with_key<S: SectorIo>(store: &JvckMetadataStore<S>, text: &mut String, value: &mut Value) -> Result<(), VckError> {
    let (offset, state) = store.load()?;
    let (boundary, total) = (offset.sector.get(), offset.total_sectors.get());
    let direction = match state {
        VolumeState::Encrypt => "encrypt",
        VolumeState::Decrypt => "decrypt",
    };
    let report = store.report();
    let stale: Vec<usize> = report.stale.iter().collect();
    let _ = write!(
        text,
        "Key         : opens {} replicas; replica {} counts\nBoundary    : sector {boundary} of {total} ({:.2}% encrypted)\n\
         Direction   : {direction}\n",
        report.good,
        report.adopted,
        percent(boundary, total),
    );
    if !stale.is_empty() {
        let _ = writeln!(text, "Stale       : replicas {stale:?} will be rewritten at the next attach");
    }
    if report.conflicting {
        text.push_str("Conflict    : replicas differ in boundary and direction; the first one written counts\n");
    }
    if let Some(fields) = value.as_object_mut() {
        fields.insert("boundary".into(), boundary.into());
        fields.insert("direction".into(), direction.into());
        fields.insert("adopted_replica".into(), report.adopted.into());
        fields.insert("good_replicas".into(), report.good.into());
        fields.insert("stale_replicas".into(), json!(stale));
        fields.insert("conflicting".into(), report.conflicting.into());
    }
    Ok(())
}
