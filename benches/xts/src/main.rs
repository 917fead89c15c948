//! How fast the sector cipher is, beside the implementations that others use, in one run.
//!
//! `--seconds N` (20): how long one core is measured; two cores, and whether they are two, take three quarters of it more. `--json FILE`, `--svg FILE`:
//! the results and a plot. `--peer` is for the program itself: it answers for OpenSSL on its standard input and output.

#![deny(unsafe_code)]

mod check;
mod contender;
mod cores;
#[expect(unsafe_code, reason = "the peers are C libraries")]
mod evp;
mod measure;
mod ours;
mod peer;
mod random;
mod report;
mod table;

use std::time::Duration;
use std::{env, fs, io};

use contender::Contender;

struct Arguments {
    seconds: u64,
    json: Option<String>,
    svg: Option<String>,
}

fn arguments(given: &[String]) -> io::Result<Arguments> {
    let mut result = Arguments { seconds: 20, json: None, svg: None };
    for pair in given.chunks(2) {
        match pair {
            [name, value] if name == "--seconds" => result.seconds = value.parse().map_err(io::Error::other)?,
            [name, file] if name == "--json" => result.json = Some(file.clone()),
            [name, file] if name == "--svg" => result.svg = Some(file.clone()),
            _ => return Err(io::Error::other("usage: [--seconds N] [--json FILE] [--svg FILE]")),
        }
    }
    Ok(result)
}

/// Processes that wanted a processor during the last 1, 5 and 15 minutes.
fn load() -> String {
    fs::read_to_string("/proc/loadavg").map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find(|line| line.starts_with("model name"));
    let name = model.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, name)| name);
    format!("{name}, {} processors", text.lines().filter(|line| line.starts_with("processor")).count())
}

fn main() -> io::Result<()> {
    let given: Vec<_> = env::args().skip(1).collect();
    if given == ["--peer"] {
        return peer::serve(evp::OpenSsl::new);
    }
    let arguments = arguments(&given)?;
    let mut random = random::Random::from_clock();
    let key: [u8; 64] = random.bytes(64).try_into().map_err(|_| io::ErrorKind::InvalidData)?;
    let mut all = Contender::all(&key)?;
    let mut machine = vec![
        format!("processor: {}", processor()),
        format!("peers: {}; {}; rustcrypto/Cargo.lock", evp::OpenSsl::version(), evp::AwsLc::version()),
        format!("load before: {}", load()),
    ];
    check::run(&mut all, &key, &mut random)?;
    let speeds = measure::one_core(&mut all, arguments.seconds)?;
    // The peers' processes end before threads need both cores.
    drop(all);
    let limit = Duration::from_secs(arguments.seconds) / 4;
    let cores = [512, 4096].map(|sector| cores::measure(&key, sector, limit));
    let sharing = cores::sharing(&key, limit);
    machine.push(table::sharing(sharing.as_ref()));
    machine.push(format!("load after: {}", load()));
    let rows = table::rows(&speeds, &cores);
    println!("\n{}\n\n{}", machine.join("\n"), table::text(&rows));
    if let Some(file) = arguments.json {
        fs::write(file, format!("{:#}\n", report::json(&machine, &speeds, (&cores, sharing.as_ref()), &rows)))?;
    }
    if let Some(file) = arguments.svg {
        fs::write(file, report::svg(&speeds))?;
    }
    Ok(())
}
