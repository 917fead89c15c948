//! Following a conversion to its end.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use vck_common::wire::{IoctlCode, WireState};

use crate::client::{Client, Volume, percent};
use crate::error::{CtlError, CtlResult};
use crate::output::Format;

/// How often the driver is asked. More often would only contend with the conversion.
const POLL: Duration = Duration::from_millis(250);
/// Percents between two lines where no bar can be drawn.
const LINE_STEP: f64 = 10.0;

/// Which way a volume is converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To ciphertext.
    Encrypt,
    /// To plaintext.
    Decrypt,
}

impl Direction {
    /// The control that starts it.
    pub(crate) const fn code(self) -> IoctlCode {
        match self {
            Self::Encrypt => IoctlCode::StartEncrypt,
            Self::Decrypt => IoctlCode::StartDecrypt,
        }
    }

    /// The word for it.
    pub(crate) const fn verb(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
        }
    }

    /// Sectors done of a volume with this boundary.
    pub(crate) const fn done(self, volume: &Volume) -> u64 {
        match self {
            Self::Encrypt => volume.encrypted,
            Self::Decrypt => volume.total.saturating_sub(volume.encrypted),
        }
    }
}

/// A bar on a terminal, now and then a line elsewhere, nothing for programs.
pub(crate) struct Meter {
    direction: Direction,
    bar: Option<ProgressBar>,
    lines: bool,
    shown: f64,
}

impl Meter {
    /// A meter for a volume whose sectors have `sector_size` bytes.
    pub(crate) fn new(direction: Direction, volume: &Volume, format: Format) -> Self {
        let terminal = std::io::stderr().is_terminal() && format == Format::Text;
        let bar = terminal.then(|| {
            let bytes = volume.total.saturating_mul(u64::from(volume.sector_size));
            let template = "{prefix} [{bar:30}] {percent}% {bytes}/{total_bytes} {bytes_per_sec} {eta} left {msg}";
            let style = ProgressStyle::with_template(template);
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ");
            ProgressBar::new(bytes).with_style(style).with_prefix(direction.verb())
        });
        // The rate counts from here on.
        if let Some(bar) = &bar {
            bar.set_position(direction.done(volume).saturating_mul(u64::from(volume.sector_size)));
            bar.reset_eta();
        }
        Self { direction, bar, lines: !terminal && format == Format::Text, shown: -LINE_STEP }
    }

    /// Shows where the conversion is.
    pub(crate) fn show(&mut self, volume: &Volume, sector_size: u32, note: &str) {
        let done = self.direction.done(volume);
        if let Some(bar) = &self.bar {
            bar.set_position(done.saturating_mul(u64::from(sector_size)));
            bar.set_message(note.to_owned());
        }
        let percent = percent(done, volume.total);
        if self.lines && percent >= self.shown + LINE_STEP {
            self.shown = percent;
            let verb = self.direction.verb();
            let space = if note.is_empty() { "" } else { " " };
            eprintln!("{verb}: {percent:.1}% (boundary {} / {} sectors){space}{note}", volume.encrypted, volume.total);
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Waits until the conversion stands still; a word on how it ended.
pub(crate) fn follow(client: &mut Client, direction: Direction, format: Format) -> CtlResult<&'static str> {
    let start = client.status()?;
    let mut meter = Meter::new(direction, &start, format);
    loop {
        let now = client.progress()?;
        meter.show(&now, start.sector_size, &now.error);
        if now.is_faulted() {
            meter.end();
            let text = format!("cannot {} {}: {}", direction.verb(), client.name(), now.error);
            return Err(
                CtlError::failure(text).advise("see to the cause; then start it again: it goes on where it stopped")
            );
        }
        match WireState::from_i32(now.state) {
            Some(WireState::Encrypting | WireState::Decrypting) => client.transport().sleep(POLL),
            Some(WireState::Idle) if direction.done(&now) == now.total => {
                meter.end();
                return Ok(match direction {
                    Direction::Encrypt => "fully encrypted",
                    Direction::Decrypt => "fully decrypted",
                });
            }
            Some(WireState::Paused) => {
                meter.end();
                return Ok("paused before the end; start it again to go on");
            }
            Some(WireState::Idle) | None => {
                meter.end();
                let text =
                    format!("cannot {} {}: conversion ended early: {}", direction.verb(), client.name(), now.error);
                return Err(CtlError::failure(text).advise("look at the driver's log, and start it again"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vck_common::SectorIo;
    use vck_common::wire::{IoctlCode, ProgressEvent, VolumeStatus, encode};

    use super::*;
    use crate::error::{Exit, Fault};
    use crate::transport::{Transport, VolumeFacts};

    /// A driver whose conversion an error stops.
    struct Failing;

    const PATH: &str = r"\Device\HarddiskVolume3";

    impl Transport for Failing {
        fn ioctl(&mut self, code: IoctlCode, _: &[u8], room: usize) -> Result<Vec<u8>, Fault> {
            let mut out = vec![0; room];
            let length = if code == IoctlCode::GetStatus {
                let status = VolumeStatus {
                    volume_path: PATH,
                    state: 3,
                    encrypted_sector: 0,
                    total_sectors: 200,
                    sector_size: 512,
                    is_attached: true,
                    filter_below_fsd: true,
                };
                encode(&status, &mut out)
            } else {
                let error = "faulted: reading failed at sector 7";
                encode(&ProgressEvent { encrypted_sector: 0, total_sectors: 200, state: 3, error }, &mut out)
            };
            out.truncate(length.unwrap());
            Ok(out)
        }
        fn volume_path(&self) -> Option<&str> {
            Some(PATH)
        }
        fn volume_name(&self) -> String {
            "D:".into()
        }
        fn facts(&mut self) -> Result<VolumeFacts, Fault> {
            unreachable!("not asked for")
        }
        fn sectors(&mut self) -> CtlResult<Box<dyn SectorIo>> {
            unreachable!("not asked for")
        }
        fn make_room(&mut self, _: u64) -> CtlResult<()> {
            unreachable!("not asked for")
        }
        fn is_ephemeral(&self) -> bool {
            false
        }
        fn sleep(&mut self, _: Duration) {}
        fn finish(self: Box<Self>) -> CtlResult<()> {
            Ok(())
        }
    }

    #[test]
    fn a_conversion_that_an_error_stops_is_a_failure() {
        let error = follow(&mut Client::new(Box::new(Failing)), Direction::Encrypt, Format::Json).unwrap_err();
        assert_eq!(error.exit, Exit::Failure);
        assert!(error.to_string().starts_with("cannot encrypt D:: faulted: reading failed at sector 7"), "{error}");
    }

    #[test]
    fn done_counts_from_the_side_that_conversion_starts_at() {
        let mut volume = crate::client::tests::volume(1, 50);
        assert_eq!((Direction::Encrypt.done(&volume), Direction::Decrypt.done(&volume)), (50, 150));
        volume.encrypted = 200;
        assert_eq!((Direction::Encrypt.done(&volume), Direction::Decrypt.done(&volume)), (200, 0));
    }
}
