//! Where the volume master key comes from.
//!
//! Every source holds the key as base64 text. Copies are wiped when they are dropped; what the shell or the system
//! keeps of a command line is not, which is why `--vmk` is the last resort.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use zeroize::Zeroizing;

use crate::error::{CtlError, CtlResult};

/// The most text that is read from a source.
const MAX_TEXT: u64 = 8192;
/// The longest key that the format takes, in bytes.
const MAX_KEY: usize = vck_common::secret::MAX_SECRET_LEN;

/// A decoded key.
pub(crate) type Key = Zeroizing<Vec<u8>>;

/// Text of a command line that must not be printed.
#[derive(Clone)]
pub(crate) struct SecretText(Zeroizing<String>);

impl FromStr for SecretText {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// The key's sources. At most one may be given.
#[derive(Args, Debug, Default)]
#[group(multiple = false)]
pub(crate) struct KeyArgs {
    /// File that holds the volume master key as base64 text
    #[arg(long, value_name = "FILE", help_heading = "Key")]
    pub(crate) vmk_file: Option<PathBuf>,
    /// Read the volume master key as base64 text from standard input
    #[arg(long, help_heading = "Key")]
    pub(crate) vmk_stdin: bool,
    /// Environment variable that holds the volume master key as base64 text
    #[arg(long, value_name = "NAME", help_heading = "Key")]
    pub(crate) vmk_env: Option<String>,
    /// The volume master key itself as base64. Other users of the machine can see it: prefer one of the others
    #[arg(long, value_name = "BASE64", help_heading = "Key")]
    pub(crate) vmk: Option<SecretText>,
}

impl KeyArgs {
    /// Whether a source was named.
    pub(crate) fn is_given(&self) -> bool {
        self.vmk.is_some() || self.vmk_file.is_some() || self.vmk_stdin || self.vmk_env.is_some()
    }

    /// The key, if a source was named.
    pub(crate) fn load(&self) -> CtlResult<Option<Key>> {
        if let Some(path) = &self.vmk_file {
            let file = File::open(path).map_err(|error| CtlError::file("open the key file", path, &error))?;
            return read_text(file, path).and_then(|text| decode(&text, &path.display().to_string())).map(Some);
        }
        if self.vmk_stdin {
            let text = read_text(std::io::stdin().lock(), Path::new("standard input"))?;
            return decode(&text, "standard input").map(Some);
        }
        if let Some(name) = &self.vmk_env {
            let value = std::env::var(name)
                .map_err(|_| CtlError::usage(format!("the environment variable {name} is not set, or not text")))?;
            return decode(&Zeroizing::new(value), &format!("the environment variable {name}")).map(Some);
        }
        self.vmk.as_ref().map(|text| decode(&text.0, "--vmk")).transpose()
    }

    /// The key; an error that names the options when there is none.
    pub(crate) fn require(&self) -> CtlResult<Key> {
        self.load()?.ok_or_else(|| {
            CtlError::usage("this command needs the volume's key")
                .advise("give --vmk-file FILE, --vmk-stdin or --vmk-env NAME (or --vmk BASE64, which others can see)")
        })
    }
}

fn read_text(source: impl Read, path: &Path) -> CtlResult<Zeroizing<String>> {
    // One allocation of the full size: a growing buffer would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(MAX_TEXT).unwrap_or(0) + 1));
    source
        .take(MAX_TEXT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| CtlError::file("read the key from", path, &error))?;
    if bytes.len() as u64 > MAX_TEXT {
        return Err(CtlError::usage(format!("{} is too long to be a key", path.display())));
    }
    let text = std::str::from_utf8(&bytes);
    let text = text.map_err(|_| CtlError::usage(format!("{} does not hold base64 text", path.display())))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn decode(text: &str, source: &str) -> CtlResult<Key> {
    // The decoder's own message would quote the text.
    let bytes = STANDARD.decode(text.trim().as_bytes()).map(Zeroizing::new);
    let key = bytes.map_err(|_| CtlError::usage(format!("{source} does not hold a key in base64")))?;
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(CtlError::usage(format!("the key in {source} must have 1 to {MAX_KEY} bytes")));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn keys_are_trimmed_and_decoded() {
        assert_eq!(*decode(" AAECAw==\n", "x").unwrap(), [0, 1, 2, 3]);
        assert_eq!(*read_text(&b"AAEC\n"[..], Path::new("x")).unwrap(), "AAEC\n");
    }

    #[test]
    fn bad_keys_are_usage_errors_that_do_not_quote_the_key() {
        for text in ["", "  ", "not base64!", "AAE"] {
            let error = decode(text, "the source").unwrap_err();
            assert_eq!(error.exit, Exit::Usage);
            assert!(text.trim().is_empty() || !error.to_string().contains(text.trim()));
        }
        let long = vec![b'A'; usize::try_from(MAX_TEXT).unwrap() + 4];
        assert_eq!(read_text(long.as_slice(), Path::new("x")).unwrap_err().exit, Exit::Usage);
        assert_eq!(read_text(&b"\xFF\xFE"[..], Path::new("x")).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn sources() {
        let none = KeyArgs::default();
        assert!(!none.is_given() && none.load().unwrap().is_none());
        assert_eq!(none.require().unwrap_err().exit, Exit::Usage);
        let unset = KeyArgs { vmk_env: Some("VCKCTL_TEST_NO_SUCH_VARIABLE".into()), ..KeyArgs::default() };
        assert_eq!(unset.load().unwrap_err().exit, Exit::Usage);
        let missing = KeyArgs { vmk_file: Some("/no/such/file".into()), ..KeyArgs::default() };
        assert_eq!(missing.load().unwrap_err().exit, Exit::Failure);
        let inline = KeyArgs { vmk: Some("AAEC".parse().unwrap()), ..KeyArgs::default() };
        assert_eq!(*inline.require().unwrap(), [0, 1, 2]);
        assert!(!format!("{inline:?}").contains("AAEC"));
    }
}
