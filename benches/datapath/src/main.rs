//! Measures the data path and the conversion of the whole driver in the simulated kernel.
//!
//! ```text
//! vck-bench-datapath [--json FILE]              data path: depth, shared things, processor cost, large requests
//! vck-bench-datapath --only PART                one part of it: depth, plain, cost, sequential
//! vck-bench-datapath conversion [--json FILE]   conversion: rate against the bare device, closed gates, foreground
//! vck-bench-datapath profile STACK KIND COUNT   so many requests and nothing else, for tools that count instructions
//! ```
//! Every row is of a model: the driver's code is the real one, device and kernel are simulated. Rows in virtual time are exact and the
//! same on every machine; rows in real time are medians of rounds that run side by side, with their quartiles.
#![deny(unsafe_code)]

mod conversion;
mod cost;
mod depth;
mod paced;
mod plain;
mod profile;
mod raw;
mod sequential;
mod stack;
mod table;

use std::process::ExitCode;

use stack::Stack;
use table::Row;

/// What the command line asks for.
#[derive(Default)]
struct Asked {
    conversion: bool,
    profile: Option<(Stack, bool, u64)>,
    json: Option<String>,
    only: Option<String>,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Asked> {
    let mut asked = Asked::default();
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "conversion" => asked.conversion = true,
            "profile" => {
                let stack = match arguments.next()?.as_str() {
                    "pass" => Stack::PassThrough,
                    "calls" => Stack::Shell,
                    "plain" => Stack::Plain,
                    "cipher" => Stack::Encrypted,
                    _ => return None,
                };
                let write = match arguments.next()?.as_str() {
                    "read" => false,
                    "write" => true,
                    _ => return None,
                };
                asked.profile = Some((stack, write, arguments.next()?.parse().ok()?));
            }
            "--json" => asked.json = Some(arguments.next()?),
            "--only" => asked.only = Some(arguments.next()?),
            _ => return None,
        }
    }
    Some(asked)
}

type Part = (&'static str, fn() -> Vec<Row>);

/// The measurements of the data path, in the order of the table.
const DATA_PATH: [Part; 4] =
    [("depth", depth::rows), ("plain", plain::rows), ("cost", cost::rows), ("sequential", sequential::rows)];

fn main() -> ExitCode {
    let Some(asked) = parse(std::env::args().skip(1)) else {
        eprintln!(
            "usage: vck-bench-datapath [conversion] [--only depth|plain|cost|sequential] [--json FILE]
       vck-bench-datapath profile pass|calls|plain|cipher read|write COUNT"
        );
        return ExitCode::from(2);
    };
    if let Some((stack, write, count)) = asked.profile {
        profile::requests(stack, write, count);
        return ExitCode::SUCCESS;
    }
    let rows: Vec<Row> = if asked.conversion {
        conversion::rows()
    } else {
        let wanted = |name: &str| asked.only.as_deref().is_none_or(|only| only == name);
        DATA_PATH.iter().filter(|(name, _)| wanted(name)).flat_map(|(_, rows)| rows()).collect()
    };
    print!("{}", table::text(&rows));
    if let Some(file) = asked.json
        && let Err(error) = std::fs::write(&file, table::json(&rows))
    {
        eprintln!("{file}: {error}");
        return ExitCode::FAILURE;
    }
    if rows.is_empty() || rows.iter().any(|row| row.verdict.is_failure()) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
