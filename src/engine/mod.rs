//! Conversion of a live volume: plaintext to ciphertext and back, one zone at a time, so that no loss of power costs a sector.
//!
//! The engine is policy over bytes. It knows the traits of `vck-common` and nothing of NT: the thread that runs it,
//! the event it waits on and the device are the volume layer's.
//!
//! ```text
//!  control path --Command--> mailbox --> sweep thread: loop { command?; step; wait }     one owner, no lock across I/O
//!                                            | Parts: io, cipher, store, random, gate, meter
//!  one step:  seal, read, convert | close, drain | protect | write, flush | commit | publish, open
//!             '--- gate open -------' '------------------ gate closed -------------------------'
//! ```
//! *Protect* and *commit* are entries of the journal; the commit of a step and the protect of the next one are the same
//! entry, so that a step costs two flushes. `docs/crash-consistency.md` has the whole argument.
//!
//! | file | part |
//! |---|---|
//! | `sweep`, `command` | states and commands |
//! | `begin`, `held` | a step until its zone is closed, and then |
//! | `ledger` | what is written to the disk about a conversion, and in which order |
//! | `blocks` | the sealed metadata blocks that follow the journal |
//! | `zone` | both sides of a zone, in memory |
//! | `recovery`, `sides` | what an attach does with an interrupted step |
//! | `fence` | zones to which all I/O fails |
//! | `pace`, `throttle`, `rest` | how large a step is, and how long the sweep rests |
//!
//! # Invariants
//! * Whenever the gate of a zone is open and the zone is not fenced, every sector of it is on the device what the
//!   published boundary says it is: ciphertext below, plaintext from it on. Damaged sectors, which are shielded, excepted.
//! * Every entry that may be on the disk is true, whichever unflushed writes survive.
//! * The boundary is published only when it is durable, and the gate is opened only after that.
//! * While a gate is closed nothing is allocated, sealed or drawn from the random source.
//! * Both sides of the zone stay in memory until its boundary is durable, so that every failure can be undone.
#![forbid(unsafe_code)]

mod begin;
mod blocks;
mod command;
mod damage;
mod fence;
mod held;
mod ledger;
mod pace;
mod policy;
mod progress;
mod recovery;
mod rest;
mod retry;
mod sides;
mod sweep;
mod throttle;
mod zone;

use core::time::Duration;

use vck_common::{
    DataExtent, DataSector, EncryptedOffsetStore, NtStatus, RandomSource, SectorIo, VckResult, VolumeCipher,
};

pub use command::Command;
pub use damage::DamagedSectors;
pub use pace::Closures;
pub use policy::{BadSectors, ConversionPolicy};
pub use progress::{DamageNote, ErrorKind, Progress, State, SweepError};
pub use recovery::{Opening, Site, recover};
pub use rest::Traffic;
pub use sweep::{Step, Sweep};
pub use throttle::{Foreground, Pace, Throttle};

/// What the sweep works on, lent for one call. `io` addresses the whole volume below the filter.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// The device below the filter.
    pub io: &'a dyn SectorIo,
    /// The volume's cipher. It is called while a zone is closed: non-pageable, and it allocates nothing.
    pub cipher: &'a dyn VolumeCipher,
    /// Where boundary and direction are persisted for readers that know no journal.
    pub store: &'a dyn EncryptedOffsetStore,
    /// Random bytes for sealing.
    pub random: &'a dyn RandomSource,
    /// The gate of the data path.
    pub gate: &'a dyn ZoneGate,
    /// Time, and what else the volume is used for.
    pub meter: &'a dyn Meter,
}

/// What the pace of a conversion is chosen by. `PASSIVE_LEVEL`; called by the sweep thread alone, also with a zone closed.
pub trait Meter {
    /// Time since some fixed moment; never goes back.
    fn now(&self) -> Duration;

    /// What the data path saw since the last call.
    fn foreground(&self) -> Foreground;

    /// What it has counted so far.
    fn traffic(&self) -> Traffic {
        Traffic::default()
    }
}

/// The data path's side of a conversion step. `PASSIVE_LEVEL`; called by the sweep thread alone.
pub trait ZoneGate {
    /// Remembers whether a write is under way in `zone`, and notices the writes to it from now on. There is one watched
    /// zone at a time. An empty zone: none.
    fn watch(&self, zone: DataExtent);

    /// Whether the last watch could begin. If not, [`ZoneGate::is_untouched`] will say no, and nothing needs to be prepared
    /// for a yes.
    fn watches(&self) -> bool {
        true
    }

    /// Whether `zone`, which is closed, is the watched one, and no write was under way in it then or came since. What a
    /// flush covered that began after the watch is then all that the zone holds, and what was read after the watch is what
    /// it holds. `false` is always a safe answer.
    fn is_untouched(&self, zone: DataExtent) -> bool;

    /// Keeps new requests out of `zone` and waits until those in it are done.
    ///
    /// # Errors
    /// Whatever ended the wait early; the zone is then open. `VckError::Cancelled`: there is an order for the sweep, and
    /// nothing is wrong.
    fn close_and_drain(&self, zone: DataExtent) -> VckResult<()>;

    /// The same for those who have no time to wait, because another zone is closed.
    ///
    /// # Errors
    /// Requests are in the zone; it is open.
    fn close_at_once(&self, zone: DataExtent) -> VckResult<()> {
        self.close_and_drain(zone)
    }

    /// Keeps new requests out of the whole volume, so that they wait once and not several times: nothing of the conversion
    /// depends on it. Whether it is so.
    fn hold(&self) -> bool {
        false
    }

    /// The end of [`ZoneGate::hold`]. How many requests wait.
    fn let_go(&self) -> u64 {
        0
    }

    /// Publishes the boundary. The sectors between the old and the new one are closed.
    fn publish(&self, boundary: DataSector);

    /// Lets requests into `zone` again and restarts those that wait.
    fn open(&self, zone: DataExtent);

    /// Makes requests to `zone`, which is closed, fail with `status` from the next [`ZoneGate::open`] on.
    fn fence(&self, zone: DataExtent, status: NtStatus);

    /// Takes the fence away; the fenced zone is closed.
    fn unfence(&self);

    /// Makes reads of `sector` fail until a successful write covers it. The sector is closed.
    fn shield(&self, sector: DataSector);

    /// Whether no write has covered the shielded `sector` yet.
    fn is_shielded(&self, sector: DataSector) -> bool;
}

#[cfg(test)]
mod tests;
