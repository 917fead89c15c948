//! The recorded trace of the implementation that existing volumes come from. Boundaries, states and contents bind; the
//! order of I/O does not, and two recorded failures are handled better.
use core::fmt::Write;
use std::string::String;
use std::{assert, assert_eq};

use serde_json::Value;
use sha2::{Digest, Sha256};
use vck_common::{DataSector, Lba, SectorSize, VolumeState};

use super::rig::Rig;
use super::world::Fault;
use crate::engine::{Command, Step};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/sweep.json")).unwrap()
}

fn rig() -> Rig {
    Rig::bare(SectorSize::S512, 5000, 2048)
}

fn sha256(data: &[u8]) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(data) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

fn assert_is(rig: &Rig, entry: &Value) {
    let action = &entry["action"];
    let progress = rig.sweep.snapshot();
    assert_eq!(progress.boundary.get(), entry["boundary"].as_u64().unwrap(), "{action}");
    assert_eq!(u64::from(progress.state.wire_code()), entry["state_code"].as_u64().unwrap(), "{action}");
    assert_eq!(sha256(&rig.data_region()), entry["data_region_sha256"].as_str().unwrap(), "{action}");
    assert_eq!(rig.world.published(), progress.boundary, "{action}");
}

#[test]
fn the_recorded_trace() {
    let vectors = vectors();
    let trace = vectors["trace"].as_array().unwrap();
    let mut rig = rig();
    assert_eq!(rig.geometry.offset_sector().get(), vectors["setup"]["offset_sector"].as_u64().unwrap());
    let (good, failing) = trace.split_at(trace.len() - 2);
    for entry in good {
        let action = entry["action"].as_str().unwrap();
        let command = match action {
            "initial" => None,
            _ if action.starts_with("start_encrypt") => Some(Command::StartEncrypt),
            _ if action.starts_with("start_decrypt") => Some(Command::StartDecrypt),
            _ if action.starts_with("pause") => Some(Command::Pause),
            _ => {
                assert!(action.starts_with("step"), "{action}");
                let moves = !entry["io_and_persist_order"].as_array().unwrap().is_empty();
                assert_eq!(rig.step(), if moves { Step::Worked } else { Step::Idle }, "{action}");
                None
            }
        };
        if let Some(command) = command {
            rig.command(command).unwrap();
        }
        assert_is(&rig, entry);
    }

    // A persist that fails: recorded with a boundary that ran ahead of the metadata; here nothing has changed.
    let initial = &trace[0];
    rig.command(Command::StartEncrypt).unwrap();
    rig.world.set_fault(Fault::WriteOf(Lba::ZERO));
    let faulted = rig.run();
    assert!(faulted > 0);
    assert_eq!(sha256(&rig.data_region()), initial["data_region_sha256"].as_str().unwrap());
    assert_eq!(rig.sweep.snapshot().boundary, DataSector::ZERO);

    // A read error: boundary, state and contents as recorded.
    rig.world.set_fault(Fault::None);
    rig.command(Command::StartEncrypt).unwrap();
    assert_eq!(rig.step(), Step::Worked);
    rig.world.set_fault(Fault::ReadOf(Lba::new(2304)));
    assert!(matches!(rig.step(), Step::RetryAfter(_)));
    assert_is(&rig, &failing[1]);
}

#[test]
fn the_resume_table() {
    for row in vectors()["resume_table"].as_array().unwrap() {
        let rig = rig();
        let direction = match row["persisted_state"].as_str().unwrap() {
            "encrypt" => VolumeState::Encrypt,
            _ => VolumeState::Decrypt,
        };
        let boundary = DataSector::new(row["boundary"].as_u64().unwrap());
        rig.store.persist(boundary, direction, &*rig.world).unwrap();
        let image = rig.world.image();
        let mut rig = rig.reboot(image).unwrap();
        rig.world.take_log();
        rig.command(Command::Resume).unwrap();
        assert_eq!(
            u64::from(rig.sweep.snapshot().state.wire_code()),
            row["state_code_after_resume"].as_u64().unwrap(),
            "{row}"
        );
        assert!(rig.world.take_log().is_empty(), "resuming persists nothing");
    }
}

#[test]
fn the_mapping_of_sectors() {
    let rig = rig();
    for row in vectors()["relative_mapping"].as_array().unwrap() {
        let lba = Lba::new(row["lba"].as_u64().unwrap());
        assert_eq!(rig.geometry.lba_to_data(lba).map(DataSector::get), row["relative"].as_u64(), "{row}");
    }
}
