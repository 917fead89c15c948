//! The table of structure layouts, for the reader of the report.
//!
//! Nothing is decided here: `vck-layout` does not compile unless its values are the known ones, against the simulated
//! kernel when this program is built and against `wdk_sys` when the image is (`tests/cross/check.sh`).

use vck_layout::LAYOUTS;

use crate::Report;

/// One row per structure.
pub fn show(report: &mut Report) {
    for layout in LAYOUTS {
        let text = format!("{:18} {:#05x} bytes, {} fields", layout.name, layout.size, layout.fields.len());
        report.row("layouts", layout.size % layout.align == 0, text);
    }
}
