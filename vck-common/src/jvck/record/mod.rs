//! The conversion record: the journal of a JVCK volume, in the vendor area of its replicas.
//!
//! ```text
//! journal   which slot, which generation, which salts; what opening decides
//!    |- search   the newest authentic record of all replicas
//!    |- codec    the bytes of a record, sealing and checking them
//!    |- forget   taking a record away
//!    |- delivery writes of which some replicas fail
//!    |- salts    the metadata blocks that may be on disk
//!    |- torn     what torn sectors held when they were found
//!    |- digest   one keyed 64-bit digest per sector
//!    '- layout   offsets, sizes, the places of the two slots
//! ```
//!
//! # Invariants
//! * Nothing of a record is believed before its MAC was checked, and every count in it has a limit besides.
//! * A record names the salt of every good metadata block that may be on disk while it is the newest.
//! * The newest durable record is never overwritten.

mod codec;
mod delivery;
mod digest;
mod forget;
mod journal;
mod layout;
mod salts;
mod search;
mod torn;

pub(super) use digest::DIGEST_KEY_SIZE;
pub(super) use forget::forget_record;
pub(super) use journal::{Blocks, new_journal};
