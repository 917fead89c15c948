//! What `inspect` says about the conversion record.

use std::fmt::Write;

use serde_json::{Value, json};
use vck_common::journal::{Damage, Entry, Found};
use vck_common::{Activity, DamagedSector, VolumeState};

/// Describes what opening the journal found.
pub(super) fn describe(found: &Found<'_>, text: &mut String) -> Value {
    match found {
        Found::Nothing => {
            text.push_str("Record      : none yet\n");
            json!({ "found": "nothing" })
        }
        Found::Unavailable => {
            text.push_str("Record      : no room: the vendor area is another product's, or too small\n");
            json!({ "found": "unavailable" })
        }
        Found::Entry(entry) => of(entry, "entry", text),
        Found::Overtaken(entry) => {
            let value = of(entry, "overtaken", text);
            text.push_str("              the metadata blocks were changed since and count\n");
            value
        }
    }
}

const fn name(activity: Activity) -> &'static str {
    match activity {
        Activity::Idle => "idle",
        Activity::Running => "running",
        Activity::Paused => "paused",
        Activity::Faulted => "faulted",
    }
}

fn of(entry: &Entry<'_>, found: &str, text: &mut String) -> Value {
    let way = match entry.direction {
        VolumeState::Encrypt => "encryption",
        VolumeState::Decrypt => "decryption",
    };
    let activity = match entry.activity {
        Activity::Idle => "no conversion is under way".to_owned(),
        Activity::Running => format!("{way} is under way and goes on at the next attach"),
        Activity::Paused => format!("{way} is paused"),
        Activity::Faulted => format!("{way} was stopped by an error"),
    };
    let _ = writeln!(text, "Record      : {activity}; boundary {}", entry.boundary);
    let zone = entry.zone;
    if !zone.is_empty() {
        let _ = writeln!(text, "Protected   : {} sectors from {}, of either side", zone.count, zone.first);
    }
    if let Some(error) = entry.error {
        let _ = writeln!(
            text,
            "Last error  : {} failed at LBA {}, {}, attempts: {}",
            error.step(),
            error.lba,
            error.status,
            error.count
        );
    }
    for DamagedSector { sector, damage } in entry.damaged {
        let why = reason(*damage);
        let _ = writeln!(text, "Damaged     : sector {sector} ({why}); its reads fail until it is written");
    }
    json!({
        "found": found,
        "activity": name(entry.activity),
        "boundary": entry.boundary.get(),
        "zone": { "first": zone.first.get(), "sectors": zone.count.get() },
        "error": entry.error.map(|error| json!({
            "kind": error.kind,
            "step": error.step(),
            "lba": error.lba.get(),
            "status": error.status.to_string(),
            "attempts": error.count,
        })),
        "damaged": entry.damaged.iter().map(|damaged| json!({
            "sector": damaged.sector.get(),
            "why": reason(damaged.damage),
        })).collect::<Vec<_>>(),
    })
}

const fn reason(damage: Damage) -> &'static str {
    match damage {
        Damage::Torn => "torn by a loss of power",
        Damage::Unreadable => "unreadable",
    }
}
