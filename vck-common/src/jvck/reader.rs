//! The two phases of opening: adopt a header without a key, then unseal with one.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64};

use super::{
    codec::{MetadataCodec, ReplicaCtx, Unsealed, read_vendor},
    header::JvckHeader,
    layout::{BLOCK_SIZE, first_block},
    probe,
    record::Blocks,
    recovery::{Election, OpenReport, ReplicaSet},
    store::{JvckMetadataStore, pack},
};
use crate::{Geometry, SecretBytes, SectorIo, VckError, VckResult, VendorSector, zeroed};

/// A volume whose metadata was found but not unsealed. `PASSIVE_LEVEL` throughout.
pub struct JvckMetadataReader<S> {
    io: S,
    header: JvckHeader,
    geometry: Geometry,
    sector: Vec<u8>,
}

impl<S: SectorIo> JvckMetadataReader<S> {
    /// Finds the metadata. `io` must show the whole volume, from below an encrypting filter.
    ///
    /// # Errors
    /// [`VckError::NotFound`] if there is none; the refusal or read error that hid it otherwise; [`VckError::NoMemory`].
    pub fn open(io: S) -> VckResult<Self> {
        let probe::Found { header, geometry } = probe::adopt(&io)?;
        let sector = zeroed(geometry.sector_size().usize())?;
        Ok(Self { io, header, geometry, sector })
    }

    /// The adopted header. It is not authenticated.
    #[must_use]
    pub const fn header(&self) -> &JvckHeader {
        &self.header
    }

    /// The geometry that the adopted header states.
    #[must_use]
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// All replicas, headers and footers.
    #[must_use]
    pub const fn replica_count(&self) -> usize {
        self.geometry.replica_count()
    }

    /// Reads replica `index`.
    ///
    /// # Errors
    /// [`VckError::NotFound`] for an unknown replica; a read error; [`VckError::SignatureMismatch`],
    /// [`VckError::ChecksumMismatch`]; [`VckError::BadBlock`] if its header disagrees with the adopted one.
    pub fn replica_ctx(&mut self, index: usize) -> VckResult<ReplicaCtx<'_>> {
        let lba = self.geometry.metadata_lba(index).ok_or(VckError::NotFound("there is no such metadata replica"))?;
        self.io.read_sectors(lba, &mut self.sector)?;
        let header = JvckHeader::parse(&self.sector)?;
        if !header.agrees_with(&self.header) {
            return Err(VckError::BadBlock("the replicas do not belong together"));
        }
        let block = first_block(&self.sector)?;
        Ok(ReplicaCtx { header, block, index, geometry: &self.geometry, io: &self.io })
    }

    /// Reads whole sectors of the vendor area of replica `index`.
    ///
    /// # Errors
    /// [`VckError::InvalidData`] for a bad length, [`VckError::NotFound`] for an unknown replica,
    /// [`VckError::ValidationFailed`] outside the vendor area, or the device's error.
    pub fn read_vendor_data(&self, index: usize, rel: VendorSector, buf: &mut [u8]) -> VckResult<()> {
        read_vendor(&self.io, &self.geometry, index, rel, buf)
    }

    /// Unseals with one codec. See [`JvckMetadataReader::into_store_with`].
    ///
    /// # Errors
    /// As there.
    pub fn into_store<C: MetadataCodec>(self, vmk: &[u8], codec: C) -> VckResult<JvckMetadataStore<S, C>> {
        let mut codec = Some(codec);
        self.into_store_with(vmk, |replica| {
            let unsealed = match &codec {
                Some(codec) => codec.unseal(replica, vmk)?,
                None => return Err(VckError::BadBlock("the codec was already chosen")),
            };
            codec.take().map(|codec| (codec, unsealed)).ok_or(VckError::BadBlock("the codec was already chosen"))
        })
    }

    /// Unseals. `select` is called for each intact replica, in index order, until it answers with a codec; every other
    /// replica is then unsealed with that codec, and one of them is adopted by the recovery rules. Nothing is written.
    ///
    /// # Errors
    /// [`VckError::WrongKey`] if an intact replica refused the key and none took it; otherwise the last replica's error;
    /// [`VckError::InvalidData`] for a VMK above 4096 bytes.
    pub fn into_store_with<C: MetadataCodec>(
        mut self,
        vmk: &[u8],
        mut select: impl FnMut(&ReplicaCtx<'_>) -> VckResult<(C, Unsealed)>,
    ) -> VckResult<JvckMetadataStore<S, C>> {
        let vmk = SecretBytes::copy_from(vmk)?;
        let data_sectors = self.geometry.data_sectors().get();
        let mut opened: Option<(C, Election)> = None;
        let mut blocks = Blocks::new();
        let mut failure = VckError::NotFound("there is no JVCK metadata on this volume");
        for index in 0..self.replica_count() {
            let outcome = self.replica_ctx(index).and_then(|replica| {
                let (new_codec, unsealed) = match &opened {
                    Some((codec, _)) => (None, codec.unseal(&replica, vmk.expose())?),
                    None => select(&replica).map(|(codec, unsealed)| (Some(codec), unsealed))?,
                };
                if unsealed.encrypted_offset.get() > data_sectors {
                    return Err(VckError::BadBlock("its boundary lies outside the data region"));
                }
                let counts = match (&mut opened, new_codec) {
                    (Some((_, election)), _) => election.consider(index, replica.block, &unsealed),
                    (none, Some(codec)) => {
                        *none = Some((codec, Election::open(index, replica.block, unsealed)));
                        true
                    }
                    (None, None) => false,
                };
                if counts {
                    blocks.note(replica.header(), replica.salt()?);
                }
                Ok(())
            });
            blocks.unread |= outcome.as_ref().is_err_and(|error| !tells_of_the_block(error));
            match outcome {
                Err(error) if failure != VckError::WrongKey => failure = error,
                _ => {}
            }
        }
        let (codec, election) = opened.ok_or(failure)?;
        self.finish(codec, election, blocks, vmk)
    }

    fn finish<C>(
        mut self,
        codec: C,
        election: Election,
        blocks: Blocks,
        vmk: SecretBytes,
    ) -> VckResult<JvckMetadataStore<S, C>> {
        let winner = election.winner();
        let report = OpenReport {
            adopted: winner.index,
            good: election.good,
            stale: self.stale(&winner.block),
            conflicting: election.conflicting,
        };
        Ok(JvckMetadataStore {
            header: JvckHeader::parse(&winner.block)?,
            current: AtomicU64::new(pack(winner.offset, winner.state)),
            secrets: election.secrets,
            io: self.io,
            geometry: self.geometry,
            codec,
            vmk,
            report,
            blocks,
            rewritten: AtomicBool::new(false),
        })
    }

    /// The replicas that do not hold `block`.
    fn stale(&mut self, block: &[u8; BLOCK_SIZE]) -> ReplicaSet {
        let mut stale = ReplicaSet::default();
        for index in 0..self.replica_count() {
            if !self.replica_ctx(index).is_ok_and(|replica| replica.block == block) {
                stale.insert(index);
            }
        }
        stale
    }
}

/// Whether an error is about what a replica holds, so that it was read.
const fn tells_of_the_block(error: &VckError) -> bool {
    matches!(
        error,
        VckError::SignatureMismatch | VckError::ChecksumMismatch | VckError::BadBlock(_) | VckError::WrongKey
    )
}
