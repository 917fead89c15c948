//! The search for the newest authentic record.
//!
//! # Invariants
//! * The newest record counts whichever replica holds it.
//! * A slot that no replica can show may hold the newest record: then an older one is not believed, and the search fails.

use alloc::vec::Vec;
use core::mem;

use super::{
    codec::{self, Binding},
    layout::{Slot, Slots},
};
use crate::{Geometry, Lba, Secret, SectorIo, VckError, VckResult, jvck::ReplicaSet, zeroed};

/// How often a read is tried.
const ATTEMPTS: u32 = 3;
const OUTSIDE: VckError = VckError::ValidationFailed("the slot lies outside the vendor area");

/// Where a slot of replica `index` begins; `len` bytes from there are vendor data.
pub(super) fn place(geometry: &Geometry, slots: &Slots, index: usize, slot: Slot, len: usize) -> VckResult<Lba> {
    let start = slots.start(index, slot).ok_or(OUTSIDE)?;
    geometry.vendor_lba(index, start, geometry.sector_size().sectors_of_buffer(len)?)
}

/// The newest authentic record.
pub(super) struct Newest {
    generation: u64,
    pub(super) slot: Slot,
    /// Bytes of the record, whole sectors.
    pub(super) used: usize,
    /// The replicas that hold it.
    pub(super) holders: ReplicaSet,
}

/// What a search found.
pub(super) struct Outcome {
    /// The newest authentic record.
    pub(super) newest: Option<Newest>,
    /// The replicas whose first and whose second slot could not be read.
    pub(super) unread: [ReplicaSet; 2],
}

/// The search over all slots of all replicas.
pub(super) struct Search<'a> {
    io: &'a dyn SectorIo,
    mac: &'a Secret<32>,
    binding: &'a Binding,
    slots: Slots,
    /// Receives the newest authentic record.
    record: &'a mut Vec<u8>,
    scratch: Vec<u8>,
    newest: Option<Newest>,
    unread: [ReplicaSet; 2],
}

impl<'a> Search<'a> {
    /// `record` has the size of a slot.
    pub(super) fn new(
        io: &'a dyn SectorIo,
        mac: &'a Secret<32>,
        binding: &'a Binding,
        slots: Slots,
        record: &'a mut Vec<u8>,
    ) -> VckResult<Self> {
        let scratch = zeroed(slots.bytes())?;
        Ok(Self { io, mac, binding, slots, record, scratch, newest: None, unread: [ReplicaSet::default(); 2] })
    }

    pub(super) fn outcome(self) -> Outcome {
        Outcome { newest: self.newest, unread: self.unread }
    }

    /// Looks everywhere. Answers whether both slots of a replica claim to be records of this volume: before the second slot is
    /// written the first is durable, so one of the two must then be authentic.
    pub(super) fn run(&mut self) -> VckResult<bool> {
        let replicas = self.binding.geometry.replica_count();
        let mut claimed = false;
        let mut readable = [false; 2];
        let mut failure = None;
        for index in 0..replicas {
            let mut claims = true;
            for ((slot, readable), number) in Slot::BOTH.into_iter().zip(&mut readable).zip(0_usize..) {
                match self.look(index, slot) {
                    Ok(ours) => {
                        claims &= ours;
                        *readable = true;
                    }
                    Err(error) => {
                        claims = false;
                        if let Some(unread) = self.unread.get_mut(number) {
                            unread.insert(index);
                        }
                        failure = Some(error);
                    }
                }
            }
            claimed |= claims;
        }
        match failure {
            // The unreadable slot may hold the newest record: an older one must not be believed.
            Some(error) if readable != [true; 2] => Err(error),
            _ => Ok(claimed),
        }
    }

    /// Takes the record in a slot if it is authentic and newer. Answers whether it claims to be ours.
    fn look(&mut self, index: usize, slot: Slot) -> VckResult<bool> {
        let geometry = &self.binding.geometry;
        let start = codec::used_bytes(0, geometry.sector_size()).ok_or(OUTSIDE)?;
        let lba = place(geometry, &self.slots, index, slot, start)?;
        let head = self.scratch.get_mut(..start).ok_or(OUTSIDE)?;
        tried(|| self.io.read_sectors(lba, head))?;
        if !codec::is_ours(&self.scratch, self.binding) {
            return Ok(false);
        }
        let Some(claim) = codec::claim(&self.scratch, self.binding, &self.slots) else { return Ok(true) };
        let newest = self.newest.as_ref().map_or(0, |newest| newest.generation);
        if claim.generation < newest {
            return Ok(true);
        }
        let used = self.scratch.get_mut(..claim.used).ok_or(OUTSIDE)?;
        let rest = used.get_mut(start..).ok_or(OUTSIDE)?;
        if !rest.is_empty() {
            let behind = geometry.sector_size().sectors_of_buffer(start)?;
            tried(|| self.io.read_sectors(lba.checked_add(behind).ok_or(OUTSIDE)?, rest))?;
        }
        if let Some(newest) = self.newest.as_mut().filter(|newest| newest.generation == claim.generation) {
            let same = newest.slot == slot && self.record.get(..newest.used) == Some(used);
            if same {
                newest.holders.insert(index);
            }
            return Ok(true);
        }
        if codec::authentic(self.mac, used)? {
            let mut holders = ReplicaSet::default();
            holders.insert(index);
            self.newest = Some(Newest { generation: claim.generation, slot, used: claim.used, holders });
            mem::swap(&mut self.scratch, self.record);
        }
        Ok(true)
    }
}

/// Reads again what fails: a passing error must not make the newest record look lost.
fn tried(mut read: impl FnMut() -> VckResult<()>) -> VckResult<()> {
    (1..ATTEMPTS).find_map(|_| read().ok()).map_or_else(read, Ok)
}
