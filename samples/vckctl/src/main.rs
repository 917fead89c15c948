//! `vckctl`: manages volumes that the driver encrypts.
//!
//! One tool, two ways to a driver ([`transport`]): the one in the Windows kernel, or the same source in a simulated kernel
//! over an image file. `inspect` needs neither. `demo` shows the whole life of a volume and checks every byte of it.

#![deny(unsafe_code)]

mod cli;
mod client;
mod commands;
#[cfg(not(windows))]
mod demo;
mod error;
mod file_io;
mod follow;
mod key;
mod meaning;
mod output;
mod transport;
mod volume_name;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let format = if cli.global.json { output::Format::Json } else { output::Format::Text };
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::print_error(format, &error);
            ExitCode::from(error.exit as u8)
        }
    }
}
