//! `status` and `volume-info`.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{attach_first, with_client};
use crate::client::{Client, Volume};
use crate::error::{CtlError, CtlResult};
use crate::key::KeyArgs;
use crate::output::{Format, print, volume_json};
use crate::transport::Destination;

/// Shows one volume, or all.
pub(super) fn status(destination: &Destination, key: &KeyArgs, format: Format) -> CtlResult<()> {
    let (text, value) = with_client(destination, |client| {
        if client.has_volume() {
            attach_first(client, key, true)?;
            one(client)
        } else {
            all(client)
        }
    })?;
    print(format, &text, &value);
    Ok(())
}

fn one(client: &mut Client) -> CtlResult<(String, Value)> {
    let volume = client.status()?;
    Ok((describe(&client.name(), &volume), volume_json(&volume)))
}

/// The lines about one volume.
pub(super) fn describe(name: &str, volume: &Volume) -> String {
    let mut text = format!("Volume   : {name}\nKey      : {}\nAttached : ", volume.path);
    if !volume.attached {
        text.push_str("no\n");
        return text;
    }
    let position = match volume.below_file_system {
        Some(true) => "below the file system",
        Some(false) => "above the file system",
        None => "unknown",
    };
    let _ = write!(
        text,
        "yes\nState    : {}\nProgress : {:.2}% ({} / {} sectors)\nFilter   : {position}\n",
        volume.describe(),
        volume.percent(),
        volume.encrypted,
        volume.total,
    );
    if !volume.error.is_empty() {
        let _ = writeln!(text, "Error    : {}", volume.error);
    }
    text
}

fn all(client: &mut Client) -> CtlResult<(String, Value)> {
    let volumes = client.list()?;
    let mut text = format!("Driver connected, {} volumes\n", volumes.len());
    for (index, volume) in volumes.iter().enumerate() {
        let kind = if volume.is_os == Some(true) { "os" } else { "data" };
        let _ = writeln!(
            text,
            "{index}: {} ({kind}) state {} {:.2}% of {} sectors of {} bytes",
            volume.path,
            volume.describe(),
            volume.percent(),
            volume.total,
            volume.sector_size,
        );
    }
    Ok((text, json!({ "volumes": volumes.iter().map(volume_json).collect::<Vec<_>>() })))
}

/// Shows length and sector size.
pub(super) fn volume_info(destination: &Destination, key: &KeyArgs, format: Format) -> CtlResult<()> {
    let (name, facts) = with_client(destination, |client| {
        client.path()?;
        attach_first(client, key, true)?;
        let name = client.name();
        let facts = client.transport().facts().map_err(|fault| CtlError::refused("measure", &name, fault))?;
        Ok((name, facts))
    })?;
    let sectors = facts.length.checked_div(u64::from(facts.sector_size)).unwrap_or(0);
    let text = format!(
        "Volume      : {name}\nLength      : {} bytes\nSector size : {} bytes\nSectors     : {sectors}",
        facts.length, facts.sector_size
    );
    let value = json!({ "length": facts.length, "sector_size": facts.sector_size, "sectors": sectors });
    print(format, &text, &value);
    Ok(())
}
