//! Everything that is compared, here or in a process of its own.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use vck_common::xts::Kernel;

use crate::evp::{AwsLc, OpenSsl};
use crate::ours::{Ours, available};
use crate::peer::{self, BUFFER, CIPHER, SectorCipher, TIME};

/// Takes AVX and everything later from OpenSSL: bit 60 is AVX of CPUID leaf 1, the empty rest clears leaf 7 and up.
const ONLY_AES_NI: &str = "~0x1000000000000000:0";

/// Who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Kernel(Kernel),
    OpenSsl,
    OpenSslAesNi,
    AwsLc,
    RustCrypto,
}

impl Who {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kernel(kernel) => kernel.name(),
            Self::OpenSsl => "OpenSSL",
            Self::OpenSslAesNi => "OpenSSL (AES-NI)",
            Self::AwsLc => "aws-lc",
            Self::RustCrypto => "aes + xts-mode",
        }
    }

    pub(crate) fn is_peer(self) -> bool {
        !matches!(self, Self::Kernel(_))
    }
}

enum Place {
    Here { cipher: Box<dyn SectorCipher>, buf: Vec<u8> },
    Process { child: Child, to: Option<ChildStdin>, from: ChildStdout },
}

/// One implementation.
pub(crate) struct Contender {
    pub(crate) who: Who,
    place: Place,
}

impl Contender {
    /// All kernels that this processor has, then the peers.
    pub(crate) fn all(key: &[u8; 64]) -> io::Result<Vec<Self>> {
        let kernels = Kernel::ALL.into_iter().filter(|kernel| available(*kernel));
        let mut all: Vec<_> =
            kernels.map(|kernel| Self::here(Who::Kernel(kernel), Box::new(Ours::new(kernel, key)))).collect();
        all.push(Self::here(Who::OpenSsl, Box::new(OpenSsl::new(key))));
        let mut limited = Command::new(std::env::current_exe()?);
        limited.arg("--peer").env("OPENSSL_ia32cap", ONLY_AES_NI);
        all.push(Self::process(Who::OpenSslAesNi, &mut limited, key)?);
        all.push(Self::here(Who::AwsLc, Box::new(AwsLc::new(key))));
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/rustcrypto/Cargo.toml");
        let mut rustcrypto = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        rustcrypto.args(["run", "--quiet", "--release", "--manifest-path", manifest]);
        all.push(Self::process(Who::RustCrypto, &mut rustcrypto, key)?);
        Ok(all)
    }

    pub(crate) fn here(who: Who, cipher: Box<dyn SectorCipher>) -> Self {
        Self { who, place: Place::Here { cipher, buf: vec![0x5a; BUFFER] } }
    }

    fn process(who: Who, command: &mut Command, key: &[u8; 64]) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (mut to, from) = child.stdin.take().zip(child.stdout.take()).ok_or(io::ErrorKind::BrokenPipe)?;
        to.write_all(key)?;
        to.flush()?;
        Ok(Self { who, place: Place::Process { child, to: Some(to), from } })
    }

    /// The transformed bytes.
    pub(crate) fn cipher(&mut self, encrypt: bool, data: &[u8], sector: usize, first: u64) -> io::Result<Vec<u8>> {
        let mut result = data.to_vec();
        match &mut self.place {
            Place::Here { cipher, .. } => cipher.run(encrypt, &mut result, sector, first),
            Place::Process { to, from, .. } => {
                ask(to.as_mut(), [CIPHER, u64::from(encrypt), sector as u64, first, data.len() as u64], data)?;
                from.read_exact(&mut result)?;
            }
        }
        Ok(result)
    }

    /// The median time of `passes` over a buffer of [`BUFFER`] bytes, in nanoseconds.
    pub(crate) fn time(&mut self, encrypt: bool, sector: usize, passes: u64) -> io::Result<u64> {
        match &mut self.place {
            Place::Here { cipher, buf } => Ok(peer::time(cipher.as_mut(), encrypt, sector, buf, passes)),
            Place::Process { to, from, .. } => {
                ask(to.as_mut(), [TIME, u64::from(encrypt), sector as u64, 0, passes], &[])?;
                let mut median = [0; 8];
                from.read_exact(&mut median)?;
                Ok(u64::from_le_bytes(median))
            }
        }
    }
}

fn ask(to: Option<&mut ChildStdin>, words: [u64; 5], data: &[u8]) -> io::Result<()> {
    let to = to.ok_or(io::ErrorKind::BrokenPipe)?;
    let head: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    to.write_all(&head)?;
    to.write_all(data)?;
    to.flush()
}

impl Drop for Contender {
    fn drop(&mut self) {
        if let Place::Process { child, to, .. } = &mut self.place {
            // The end of its input is what a peer ends at.
            *to = None;
            drop(child.wait());
        }
    }
}
