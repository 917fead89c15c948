//! `vckctl demo`: the driver's main job on a volume with real files, with every byte checked.
//!
//! The real driver source runs in a simulated kernel. A FAT file system works in the simulator's file-system stand-in: its
//! cache misses and write-backs are paging I/O from the top of the volume's stack. What the volume must hold is known
//! from what was handed to the top of the stack ([`watch`]), and compared with the medium and with what is read back.

mod checks;
mod content;
mod machine;
mod origin;
mod rng;
mod stages;
mod streams;
mod summary;
mod watch;
mod workload;

use std::time::Instant;

use serde_json::json;

use crate::cli::DemoArgs;
use crate::error::{CtlError, CtlResult};
use crate::output::{Format, print};
use crate::transport::Destination;

/// Runs it. The last line says `demo passed`, or the error what differed.
pub(crate) fn run(destination: &Destination, args: &DemoArgs, format: Format) -> CtlResult<()> {
    let begun = Instant::now();
    let seed = destination.seed();
    let origin = origin::Origin::of(destination, args)?;
    let replay =
        |error: CtlError| error.advise(format!("the same run again: vckctl demo --seed {seed} with the same options"));
    let mut summary = stages::Demo::new(origin, seed, format)?.run().map_err(replay)?;
    summary.row("wall_seconds", "real time", begun.elapsed().as_secs_f64(), "s");
    let text = format!("\nSummary\n{}\ndemo passed", summary.text());
    let mut value = summary.json();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("result".into(), json!("demo passed"));
    }
    print(format, &text, &value);
    Ok(())
}
