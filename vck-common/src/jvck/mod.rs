//! JVCK volumes: finding, opening, creating and updating the metadata.
//!
//! ```text
//! JvckMetadataReader::open(io)            no key: probes, checks, adopts one header and its geometry
//!        | replica_ctx, read_vendor_data
//!        v into_store(vmk)                key: unseals every replica, adopts one (boundary, direction)
//! JvckMetadataStore                       seals updates; the caller performs the writes
//! ```
//!
//! # Invariants
//! * A replica counts only if its signature and checksum hold, its version and sector size are ours, and the geometry it
//!   states puts it at the sector where it was found. A sector that cannot be read is a bad replica, never an end of the
//!   search.
//! * Boundary and direction always come from the same replica.
//! * Nothing is written by opening. Stale replicas are reported ([`JvckMetadataStore::stale_replicas`]); whoever attached
//!   the volume writable rewrites them with a freshly sealed update.
//! * The conversion record in the vendor area ([`EncryptedOffsetStore::journal`](crate::EncryptedOffsetStore::journal))
//!   names the salts of the blocks that belong to it; blocks with another salt were written by somebody else.
//! * A salt is never used twice: every sealed block draws 16 new random bytes.
//!
//! # Ordering
//! Replicas are written in index order and a write error stops the sequence, so an earlier replica is never older than a
//! later one. The rule by which a replica is adopted depends on it: see [`store`].

mod codec;
mod create;
mod header;
mod keys;
mod layout;
mod probe;
mod reader;
mod record;
mod recovery;
mod rekey;
pub mod store;

pub use codec::{JvckCbcCodec, MetadataCodec, ReplicaCtx, Unsealed, default_codec};
pub use create::{ExistingMetadata, JvckMetadataOptions, check_prepared_block, examine_targets};
pub use header::JvckHeader;
pub use keys::{DerivedKeys, JvckSecrets, derive_keys};
pub use layout::{BLOCK_SIZE, SALT_SIZE, VENDOR_RESERVED_SIZE, block_salt};
pub use probe::find_block;
pub use reader::JvckMetadataReader;
pub use recovery::{OpenReport, ReplicaSet};
pub use store::JvckMetadataStore;
