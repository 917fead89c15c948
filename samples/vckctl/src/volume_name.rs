//! The spellings in which a volume may be named on the command line.

use std::fmt;
use std::str::FromStr;

/// A volume's name, brought to one of three forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VolumeName {
    /// A drive letter, upper case.
    Letter(char),
    /// `Volume{GUID}`, lower-case digits.
    Guid(String),
    /// An NT device path.
    Device(String),
}

impl FromStr for VolumeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused =
            || format!(r"`{text}` is no volume: give D:, \\.\D:, \\?\Volume{{GUID}}\ or \Device\HarddiskVolumeN");
        let name = text.trim_end_matches('\\');
        if let Some(rest) = name.strip_prefix(r"\Device\") {
            return if rest.is_empty() { Err(refused()) } else { Ok(Self::Device(name.to_owned())) };
        }
        let name = name.strip_prefix(r"\\.\").or_else(|| name.strip_prefix(r"\\?\")).unwrap_or(name);
        let mut letters = name.chars();
        if let (Some(letter @ ('A'..='Z' | 'a'..='z')), Some(':'), None) =
            (letters.next(), letters.next(), letters.next())
        {
            return Ok(Self::Letter(letter.to_ascii_uppercase()));
        }
        let prefixed = name.get(..6).is_some_and(|word| word.eq_ignore_ascii_case("Volume"));
        let guid = name.get(6..).filter(|guid| prefixed && is_guid(guid));
        guid.map(|guid| Self::Guid(format!("Volume{}", guid.to_ascii_lowercase()))).ok_or_else(refused)
    }
}

fn is_guid(text: &str) -> bool {
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    inner.is_some_and(|inner| {
        let parts: Vec<&str> = inner.split('-').collect();
        parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
            && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
}

impl fmt::Display for VolumeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Letter(letter) => write!(f, "{letter}:"),
            Self::Guid(guid) => write!(f, r"\\?\{guid}\"),
            Self::Device(path) => f.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "Volume{0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9}";

    #[test]
    fn every_documented_spelling_is_understood() {
        for text in ["D:", r"D:\", r"\\.\D:", r"\\?\D:", r"\\.\d:\"] {
            assert_eq!(text.parse(), Ok(VolumeName::Letter('D')), "{text}");
        }
        for text in [format!(r"\\?\{GUID}"), format!(r"\\?\{GUID}\"), format!(r"\\.\{}", GUID.to_uppercase())] {
            assert_eq!(text.parse(), Ok(VolumeName::Guid(GUID.to_owned())), "{text}");
        }
        let device = r"\Device\HarddiskVolume4";
        assert_eq!(device.parse(), Ok(VolumeName::Device(device.to_owned())));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in
            ["", "D", "DD:", "1:", "D:x", r"D:\file", r"\\server\share", r"\Device\", r"\\?\Volume{123}", "Volüme"]
        {
            assert!(text.parse::<VolumeName>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_canonical_form_is_a_spelling_too() {
        for text in ["e:".to_owned(), format!(r"\\?\{GUID}\"), r"\Device\HarddiskVolume1".to_owned()] {
            let name: VolumeName = text.parse().unwrap();
            assert_eq!(name.to_string().parse(), Ok(name));
        }
    }
}
