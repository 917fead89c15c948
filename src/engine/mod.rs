//! Conversion of a live volume: plaintext to ciphertext and back, one zone at a time.
//!
//! The engine is policy over bytes. It knows the traits of `vck-common` and nothing of NT: the thread that runs it,
//! the event it waits on and the device are the volume layer's.
//!
//! ```text
//!  control path --Command--> mailbox --> sweep thread: loop { command?; step; wait }     one owner, no lock across I/O
//!                                            | Parts: io, cipher, store, random, gate
//!  one step:  seal | close, drain | read | convert | write, flush | blocks, flush | publish, open
//!             '--- gate open ---' '--------------------- gate closed ----------------------------'
//! ```
//!
//! # Invariants
//! * Whenever the gate of a zone is open and the zone is not fenced, every sector of it is on the device what the
//!   published boundary says it is: ciphertext below, plaintext from it on.
//! * The boundary is published only when it is durable, and the gate is opened only after that.
//! * While a gate is closed nothing is allocated, sealed or drawn from the random source.
//! * Both sides of the zone stay in memory until its boundary is durable, so that every failure can be undone.
#![forbid(unsafe_code)]

mod held;
mod journal;
mod progress;
mod retry;
mod sweep;
mod throttle;
mod zone;

use vck_common::{
    DataExtent, DataSector, EncryptedOffsetStore, NtStatus, RandomSource, SectorIo, VckResult, VolumeCipher,
};

pub use progress::{ErrorKind, Progress, State, SweepError};
pub use sweep::{Command, Step, Sweep, SweepConfig};
pub use throttle::{Foreground, Pace, Throttle};

/// What the sweep works on, lent for one call. `io` addresses the whole volume below the filter.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// The device below the filter.
    pub io: &'a dyn SectorIo,
    /// The volume's cipher.
    pub cipher: &'a dyn VolumeCipher,
    /// Where boundary and direction are persisted.
    pub store: &'a dyn EncryptedOffsetStore,
    /// Random bytes for sealing.
    pub random: &'a dyn RandomSource,
    /// The gate of the data path.
    pub gate: &'a dyn ZoneGate,
}

/// The data path's side of a conversion step. `PASSIVE_LEVEL`; called by the sweep thread alone.
pub trait ZoneGate {
    /// Keeps new requests out of `zone` and waits until those in it are done.
    ///
    /// # Errors
    /// Whatever ended the wait early; the zone is then open.
    fn close_and_drain(&self, zone: DataExtent) -> VckResult<()>;

    /// Publishes the boundary. The sectors between the old and the new one are closed.
    fn publish(&self, boundary: DataSector);

    /// Lets requests into `zone` again and restarts those that wait.
    fn open(&self, zone: DataExtent);

    /// Makes requests to `zone`, which is closed, fail with `status` from the next [`ZoneGate::open`] on.
    fn fence(&self, zone: DataExtent, status: NtStatus);

    /// Takes the fence away; the fenced zone is closed.
    fn unfence(&self);
}

#[cfg(test)]
mod tests;
