//! The results as JSON and as a plot.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cores::{Cores, Sharing};
use crate::measure::{CASES, Speed};
use crate::table::Row;

/// Everything that was measured, and the table.
pub(crate) fn json(
    machine: &[String],
    speeds: &[Speed],
    (cores, sharing): (&[Cores], Option<&Sharing>),
    rows: &[Row],
) -> Value {
    let speeds: Vec<_> = speeds
        .iter()
        .map(|one| {
            json!({
                "implementation": one.who.name(),
                "peer": one.who.is_peer(),
                "sector": one.sector,
                "encrypt": one.encrypt,
                "gb_per_s": one.median,
                "quartiles": [one.quartiles.0, one.quartiles.1],
            })
        })
        .collect();
    let cores: Vec<_> = cores
        .iter()
        .map(|one| {
            json!({
                "sector": one.sector,
                "one_and_two_gb_per_s": one.speeds.map(|speeds| [speeds.one, speeds.two]),
                "ratio": one.speeds.map(|speeds| speeds.ratio),
                "undisturbed": one.rounds.0,
                "rounds": one.rounds.1,
            })
        })
        .collect();
    let table: Vec<_> = rows.iter().map(|row| &row.cells).collect();
    let sharing = sharing.map(|one| {
        json!({
            "cipher_beside_cipher": one.cipher_beside_cipher,
            "cipher_beside_chain": one.cipher_beside_chain,
            "chain_beside_cipher": one.chain_beside_cipher,
            "chain_beside_chain": one.chain_beside_chain,
        })
    });
    json!({
        "machine": machine,
        "one_core": speeds,
        "two_cores": cores,
        "side_by_side_to_alone": sharing,
        "table": table,
    })
}

const BAR: usize = 16;
const LEFT: usize = 150;
const WIDTH: f64 = 480.0;

/// A bar for each implementation, one group for each case.
pub(crate) fn svg(speeds: &[Speed]) -> String {
    let most = speeds.iter().map(|one| one.median).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let mut body = String::new();
    let mut y = 30;
    for (sector, encrypt) in CASES {
        let verb = if encrypt { "encrypt" } else { "decrypt" };
        let _ = writeln!(body, r#"<text x="8" y="{}" font-weight="bold">{sector}-byte sectors, {verb}</text>"#, y + 12);
        y += BAR + 4;
        for one in speeds.iter().filter(|one| (one.sector, one.encrypt) == (sector, encrypt)) {
            let (name, length) = (one.who.name(), one.median / most * WIDTH);
            let colour = if one.who.is_peer() { "#9aa5b1" } else { "#1f6feb" };
            let (base, height) = (y + 12, BAR - 3);
            let _ = writeln!(body, r#"<text x="{}" y="{base}" text-anchor="end">{name}</text>"#, LEFT - 8);
            let _ =
                writeln!(body, r#"<rect x="{LEFT}" y="{y}" width="{length:.1}" height="{height}" fill="{colour}"/>"#);
            let end = length + 6.0;
            let _ = writeln!(
                body,
                r#"<text transform="translate({LEFT})" x="{end:.1}" y="{base}">{:.2}</text>"#,
                one.median
            );
            y += BAR;
        }
        y += 10;
    }
    let title = "AES-256-XTS, 1 MiB buffers, one core, GB/s (blue: this project's kernels)";
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"700\" height=\"{y}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"700\" height=\"{y}\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"18\" font-size=\"14\">{title}</text>\n{body}</svg>\n"
    )
}
