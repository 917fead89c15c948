//! What commands print: text for people, or one JSON value.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::client::Volume;
use crate::error::CtlError;

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Lines for people.
    Text,
    /// One JSON value.
    Json,
}

/// Prints a result in the chosen format.
pub(crate) fn print(format: Format, text: &str, value: &Value) {
    match format {
        Format::Text => println!("{}", text.trim_end()),
        Format::Json => println!("{value}"),
    }
}

/// Prints an error on standard error, and in JSON also as the result.
pub(crate) fn print_error(format: Format, error: &CtlError) {
    eprintln!("vckctl: {error}");
    if format == Format::Json {
        println!("{}", json!({ "error": error.to_string(), "exit_code": error.exit as u8 }));
    }
}

/// A volume as JSON.
pub(crate) fn volume_json(volume: &Volume) -> Value {
    let mut value = json!({
        "path": volume.path,
        "attached": volume.attached,
        "state": volume.state,
        "state_name": volume.state_name(),
        "encrypted_sectors": volume.encrypted,
        "total_sectors": volume.total,
        "percent": volume.percent(),
    });
    if let Some(fields) = value.as_object_mut() {
        if volume.sector_size > 0 {
            fields.insert("sector_size".into(), volume.sector_size.into());
        }
        if let Some(below) = volume.below_file_system {
            fields.insert("filter_below_file_system".into(), below.into());
        }
        if let Some(os) = volume.is_os {
            fields.insert("os_volume".into(), os.into());
        }
        if !volume.error.is_empty() {
            fields.insert("error".into(), volume.error.clone().into());
        }
    }
    value
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_two_digits_each() {
        assert_eq!(hex(&[0, 1, 0xAB, 255]), "0001abff");
    }
}
