//! The commands.

mod bench;
mod data_volume;
#[cfg(not(windows))]
pub(crate) use data_volume::new_block_from;
mod inspect;
mod record;
mod status;

use crate::cli::{Cli, Command};
use crate::client::Client;
use crate::error::{CtlError, CtlResult};
use crate::key::KeyArgs;
use crate::output::Format;
use crate::transport::{self, Destination};

/// Runs the command of a command line.
pub(crate) fn run(cli: Cli) -> CtlResult<()> {
    let format = if cli.global.json { Format::Json } else { Format::Text };
    let destination = Destination {
        volume: cli.global.volume,
        image: cli.global.image,
        sector_size: cli.global.sector_size,
        seed: cli.global.seed,
        driver_log: cli.global.driver_log,
    };
    match cli.command {
        Command::Status(key) => status::status(&destination, &key, format),
        Command::VolumeInfo(key) => status::volume_info(&destination, &key, format),
        Command::Inspect(args) => inspect::run(&destination, &args, format),
        Command::BenchAes { size } => bench::run(&destination, size, format),
        Command::DataVolume(command) => data_volume::run(&destination, command, format),
        Command::Demo(args) => demo(&destination, &args, format),
    }
}

#[cfg(not(windows))]
fn demo(destination: &Destination, args: &crate::cli::DemoArgs, format: Format) -> CtlResult<()> {
    crate::demo::run(destination, args, format)
}

#[cfg(windows)]
fn demo(_: &Destination, _: &crate::cli::DemoArgs, _: Format) -> CtlResult<()> {
    Err(CtlError::usage("the demonstration runs the driver in a simulated kernel, which does not exist on Windows"))
}

/// Runs `body` on a driver and ends its use in any case. The first error counts.
fn with_client<T>(destination: &Destination, body: impl FnOnce(&mut Client) -> CtlResult<T>) -> CtlResult<T> {
    let mut client = Client::new(transport::open(destination)?);
    let result = body(&mut client);
    let finished = client.finish();
    let value = result?;
    finished.map(|()| value)
}

/// Attaches the volume where the machine does not remember it. Without a key it stays as it is if `optional`.
fn attach_first(client: &mut Client, key: &KeyArgs, optional: bool) -> CtlResult<()> {
    if !client.transport().is_ephemeral() {
        return if key.is_given() {
            Err(CtlError::usage("this command takes a key only together with --image").advise("leave the key away"))
        } else {
            Ok(())
        };
    }
    // Without a volume the usage error is about that, not about the key.
    client.path()?;
    if optional && !key.is_given() {
        return Ok(());
    }
    client.attach(&key.require()?)
}
