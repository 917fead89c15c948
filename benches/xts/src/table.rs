//! One table: what was measured, against whom, what is to be reached and whether it is.

use std::fmt::Write as _;

use vck_common::xts::Kernel;

use crate::contender::Who;
use crate::cores::{Cores, Sharing, Speeds};
use crate::measure::{CASES, Speed};
use crate::ours::{available, best};

/// One line.
pub(crate) struct Row {
    pub(crate) cells: [String; 7],
}

const HEADS: [&str; 7] = ["sectors", "direction", "implementation", "GB/s", "quartiles", "to best peer", "target"];

/// What a kernel is to reach: how many times whom.
enum Target {
    None,
    /// Times the faster of OpenSSL and aws-lc.
    Best(f64),
    /// Times OpenSSL with AES-NI alone.
    AesNi(f64),
}

fn target(kernel: Kernel, sector: usize) -> Target {
    match (kernel, sector) {
        (Kernel::AesNi, _) => Target::AesNi(1.0),
        (Kernel::Vaes512, 512) => Target::Best(2.5),
        // The target for large sectors names no kernel: it is for the fastest that the processor has.
        (kernel, 4096) if kernel == best() || kernel == Kernel::Vaes512 => Target::Best(1.2),
        _ => Target::None,
    }
}

fn word(met: bool) -> &'static str {
    if met { "met" } else { "NOT met" }
}

fn direction(encrypt: bool) -> String {
    if encrypt { "encrypt" } else { "decrypt" }.to_owned()
}

/// The rows of all cases.
pub(crate) fn rows(speeds: &[Speed], cores: &[Cores]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (sector, encrypt) in CASES {
        let of = |who: &Who| {
            speeds
                .iter()
                .find(|one| (one.who, one.sector, one.encrypt) == (*who, sector, encrypt))
                .map(|one| one.median)
        };
        let fastest = |peers: &[Who]| peers.iter().filter_map(of).fold(f64::NAN, f64::max);
        let best_peer = fastest(&[Who::OpenSsl, Who::AwsLc, Who::RustCrypto]);
        let best_library = fastest(&[Who::OpenSsl, Who::AwsLc]);
        let limited = fastest(&[Who::OpenSslAesNi]);
        for speed in speeds.iter().filter(|one| (one.sector, one.encrypt) == (sector, encrypt)) {
            let text = match speed.who {
                Who::Kernel(kernel) => match target(kernel, sector) {
                    Target::None => String::new(),
                    Target::Best(times) => against(speed.median / best_library, times, "the best library"),
                    Target::AesNi(times) => against(speed.median / limited, times, "OpenSSL (AES-NI)"),
                },
                _ => String::new(),
            };
            let (low, high) = speed.quartiles;
            rows.push(Row {
                cells: [
                    sector.to_string(),
                    direction(encrypt),
                    speed.who.name().to_owned(),
                    format!("{:.2}", speed.median),
                    format!("{low:.2}-{high:.2}"),
                    format!("{:.2}", speed.median / best_peer),
                    text,
                ],
            });
        }
        for kernel in Kernel::ALL.into_iter().filter(|kernel| !available(*kernel)) {
            rows.push(missing(kernel, sector, encrypt));
        }
    }
    rows.extend(cores.iter().map(two_cores));
    rows
}

fn against(ratio: f64, times: f64, whom: &str) -> String {
    format!(">= {times:.1} x {whom}: {ratio:.2}, {}", word(ratio >= times))
}

fn missing(kernel: Kernel, sector: usize, encrypt: bool) -> Row {
    let wanted = match target(kernel, sector) {
        Target::Best(times) => format!(">= {times:.1} x the best library: "),
        Target::AesNi(times) => format!(">= {times:.1} x OpenSSL (AES-NI): "),
        Target::None => String::new(),
    };
    let none = || "-".to_owned();
    let why = format!("{wanted}not measurable here (the processor lacks it)");
    Row { cells: [sector.to_string(), direction(encrypt), kernel.name().to_owned(), none(), none(), none(), why] }
}

fn two_cores(cores: &Cores) -> Row {
    let (clean, rounds) = cores.rounds;
    let (median, verdict) = match cores.speeds {
        Some(Speeds { one, two, ratio }) => {
            (format!("{two:.2}"), format!("{ratio:.2}, {} (one: {one:.2} GB/s", word(ratio >= 1.9)))
        }
        None => ("-".to_owned(), "not measurable here (other load".to_owned()),
    };
    let name = format!("{}, two cores", best().name());
    let text = format!(">= 1.9 x one core: {verdict}; {clean} of {rounds} rounds undisturbed)");
    Row { cells: [cores.sector.to_string(), direction(true), name, median, "-".to_owned(), "-".to_owned(), text] }
}

/// What the two processors leave of each other, in a line.
pub(crate) fn sharing(found: Option<&Sharing>) -> String {
    let Some(found) = found else { return "side by side: not measurable here (other load)".to_owned() };
    let Sharing { cipher_beside_cipher, cipher_beside_chain, chain_beside_cipher, chain_beside_chain } = found;
    format!(
        "side by side, to alone: cipher beside cipher {cipher_beside_cipher:.2}, beside multiplications \
         {cipher_beside_chain:.2}; multiplications beside cipher {chain_beside_cipher:.2}, beside multiplications \
         {chain_beside_chain:.2}"
    )
}

/// The table as text.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut widths = HEADS.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
            *width = (*width).max(cell.len());
        }
    }
    let line = |cells: [&str; 7]| {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        line.trim_end().to_owned() + "\n"
    };
    let rule = widths.map(|width| "-".repeat(width));
    let mut text = line(HEADS) + &line(rule.each_ref().map(String::as_str));
    for row in rows {
        text += &line(row.cells.each_ref().map(String::as_str));
    }
    text
}
