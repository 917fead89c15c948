//! `vck-inspect IMAGE [MAP]` judges a driver image; `vck-inspect inf FILE` judges an INF.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use vck_inspect::{Report, inf, inspect};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["inf", file] => read(file).map(|bytes| inf::check(&bytes)),
        [image] if Path::new(image).with_extension("map").exists() => {
            run(image, Path::new(image).with_extension("map").to_str())
        }
        [image] => run(image, None),
        [image, map] => run(image, Some(map)),
        _ => Err("usage: vck-inspect IMAGE [MAP] | vck-inspect inf FILE".to_owned()),
    };
    match result {
        Ok(report) => {
            print!("{report}");
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(message) => {
            eprintln!("vck-inspect: {message}");
            ExitCode::from(2)
        }
    }
}

fn read(file: &str) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("{file}: {error}"))
}

fn run(image: &str, map: Option<&str>) -> Result<Report, String> {
    let bytes = read(image)?;
    let map = map.map(|file| read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())).transpose()?;
    let report = inspect(&bytes, map.as_deref())?;
    println!("{image}: {} bytes, map {}", bytes.len(), if map.is_some() { "used" } else { "not given" });
    Ok(report)
}
