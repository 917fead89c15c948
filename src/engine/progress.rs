//! What the outside may know about a conversion.
use core::fmt;

use vck_common::journal::{FAILED_STEPS, JournalError};
use vck_common::wire::ProgressEvent;
use vck_common::{DataSector, Lba, NtStatus, SectorCount};

/// The state of the sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing to do, or nothing asked for.
    Idle,
    /// Converting to ciphertext.
    Encrypting,
    /// Converting to plaintext.
    Decrypting,
    /// Stopped by request.
    Paused,
    /// Stopped by an error that retries did not overcome; a START command tries again.
    Faulted,
}

impl State {
    /// The number in responses. Paused and faulted share one; the error text tells them apart.
    #[must_use]
    pub const fn wire_code(self) -> u8 {
        match self {
            Self::Idle => 0,
            Self::Encrypting => 1,
            Self::Decrypting => 2,
            Self::Paused | Self::Faulted => 3,
        }
    }
}

/// The part of a step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Sealing the metadata blocks.
    Seal,
    /// Waiting for the requests in the zone.
    Drain,
    /// Reading the zone.
    Read,
    /// Writing the zone.
    Write,
    /// Writing the old contents of the zone back.
    Restore,
    /// Writing the metadata blocks.
    Persist,
    /// Flushing the device.
    Flush,
    /// Writing the conversion record.
    Record,
    /// Taking memory for the copies of a zone.
    Memory,
}

/// The kinds by the number that the record holds, from 1 on: the order is that of [`FAILED_STEPS`].
const KINDS: [ErrorKind; FAILED_STEPS.len()] = [
    ErrorKind::Seal,
    ErrorKind::Drain,
    ErrorKind::Read,
    ErrorKind::Write,
    ErrorKind::Restore,
    ErrorKind::Persist,
    ErrorKind::Flush,
    ErrorKind::Record,
    ErrorKind::Memory,
];

impl ErrorKind {
    /// Whether it is nobody's fault at the device and comes before a step: worth waiting for, however long it takes.
    pub(super) const fn passes(self) -> bool {
        matches!(self, Self::Seal | Self::Drain | Self::Memory)
    }

    fn number(self) -> u8 {
        (1..).zip(KINDS).find(|(_, kind)| *kind == self).map_or(0, |(number, _)| number)
    }

    fn from_number(number: u8) -> Option<Self> {
        KINDS.get(usize::from(number.checked_sub(1)?)).copied()
    }
}

/// The last error of the sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepError {
    /// What was being done.
    pub kind: ErrorKind,
    /// The first sector concerned: the one the device named, the one a split read found, or the start of the zone.
    pub lba: Lba,
    /// The status of the failure, as the device reported it.
    pub status: NtStatus,
    /// Attempts that failed since the last success.
    pub count: u32,
}

impl SweepError {
    /// As the record holds it.
    pub(super) fn to_journal(self) -> JournalError {
        let Self { kind, lba, status, count } = self;
        JournalError { kind: kind.number(), lba, status, count }
    }

    /// From the record. A kind that a later version wrote is shown as a failure to write the record.
    pub(super) fn from_journal(error: JournalError) -> Self {
        let JournalError { kind, lba, status, count } = error;
        Self { kind: ErrorKind::from_number(kind).unwrap_or(ErrorKind::Record), lba, status, count }
    }
}

impl fmt::Display for SweepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lba, status, count, .. } = self;
        write!(f, "{} failed at sector {lba}, {status}, attempts: {count}", self.to_journal().step())
    }
}

/// What there is of damaged sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DamageNote {
    /// How many, at least one.
    pub count: usize,
    /// The lowest.
    pub first: DataSector,
}

/// A snapshot of the sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The state.
    pub state: State,
    /// The durable boundary: data sectors below it are ciphertext.
    pub boundary: DataSector,
    /// Size of the data region.
    pub total: SectorCount,
    /// The last error since the last success.
    pub error: Option<SweepError>,
    /// Sectors whose reads fail until they are written.
    pub damage: Option<DamageNote>,
}

impl Progress {
    /// Whether a conversion is under way.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        matches!(self.state, State::Encrypting | State::Decrypting)
    }

    /// Writes the error text of responses: why the sweep does not move, or that sectors are damaged; nothing while all is well.
    ///
    /// # Errors
    /// Whatever `out` returns, a full buffer for instance.
    pub fn error_text(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let cause = match self.state {
            State::Paused => "paused: by request",
            State::Faulted => ProgressEvent::FAULTED,
            State::Idle | State::Encrypting | State::Decrypting => "retrying",
        };
        match (self.state, self.error) {
            (State::Paused, None) => out.write_str(cause),
            (State::Paused, Some(error)) => write!(out, "{cause}; before that, {error}"),
            (_, Some(error)) => write!(out, "{cause}: {error}"),
            (State::Faulted, None) => write!(out, "{cause}: no cause recorded"),
            (State::Idle | State::Encrypting | State::Decrypting, None) => self.damage_text(out),
        }
    }

    fn damage_text(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let Some(DamageNote { count, first }) = self.damage else { return Ok(()) };
        write!(
            out,
            "damaged sectors: {count}, the first is data sector {first}; they can be read again once they are written"
        )
    }
}
