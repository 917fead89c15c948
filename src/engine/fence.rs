//! Zones to which all I/O fails, because what is on the disk about them is not certain.
//!
//! ```text
//!  a step whose zone takes neither side     its content is in the sweep's memory: the only good copy
//!  an attach that can have neither side     its content is on the disk, and the entry that tells the sides apart
//! ```
//! A START tries again to have one side: from memory, or by another recovery.
//!
//! # Ordering rules
//! * While the fence stands, every entry that is written names the zone with digests that tell its sides apart.
//! * The fence of an attach is lifted only when an entry without the zone is durable, and the zone on its side before that.
use vck_common::{DataExtent, DataSector, VckError, VckResult};

use super::held::Held;
use super::ledger::Failure;
use super::sweep::Sweep;
use super::zone::Plan;
use super::{ErrorKind, Parts, Site};

/// A zone to which all I/O fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fence {
    /// The zone of the step, and the zone of the next step if an entry with its digests may be on the disk.
    pub(super) zone: DataExtent,
    content: Content,
}

/// Where the sectors of a fenced zone are.
#[derive(Clone, Copy, Debug)]
enum Content {
    /// Both sides of the step are in the copies.
    InMemory(Plan),
    /// On the disk, each on one side or the other, and the journal is as it was opened.
    OnDisk,
}

impl Fence {
    /// The zone of an interrupted step that an attach could not bring to one side.
    pub(super) const fn on_disk(zone: DataExtent) -> Self {
        Self { zone, content: Content::OnDisk }
    }
}

impl Sweep {
    /// The zone to which all I/O fails, because what is on the disk about it is not certain. START tries to restore it.
    #[must_use]
    pub fn fenced(&self) -> Option<DataExtent> {
        self.fenced.map(|fence| fence.zone)
    }

    /// Whether sectors exist in memory only.
    #[must_use]
    pub fn holds_only_copy(&self) -> bool {
        self.fenced.is_some_and(|fence| matches!(fence.content, Content::InMemory(_)))
    }

    /// Fences what a step has closed.
    pub(super) fn fence(&mut self, parts: &Parts<'_>, held: &Held) {
        let fence = Fence { zone: held.closed(), content: Content::InMemory(held.plan()) };
        let status = self.error.map_or(vck_common::NtStatus::IO_DEVICE_ERROR, |error| error.status);
        parts.gate.fence(fence.zone, status);
        self.fenced = Some(fence);
    }

    /// Makes an entry durable while no step is under way.
    pub(super) fn enter_standing(&mut self, parts: &Parts<'_>) -> Result<(), Failure> {
        match self.fenced {
            None => self.ledger.enter(parts, self.position, None, None),
            // The zone may be of either side, or an older entry with its digests may be on the disk.
            Some(Fence { content: Content::InMemory(plan), .. }) => {
                self.ledger.enter(parts, self.position, Some((&plan, &self.copies)), None)
            }
            Some(Fence { content: Content::OnDisk, zone }) => self.ledger.enter_as_opened(parts, self.position, zone),
        }
    }

    /// Brings a fenced zone to one side, makes that durable, and lifts the fence.
    pub(super) fn lift_fence(&mut self, parts: &Parts<'_>) -> VckResult<()> {
        match self.fenced {
            None => Ok(()),
            Some(Fence { content: Content::InMemory(plan), zone }) => self.lift_from_memory(parts, &plan, zone),
            Some(Fence { content: Content::OnDisk, zone }) => self.recover_again(parts, zone),
        }
    }

    /// The old side is restored from memory; the boundary stays.
    fn lift_from_memory(&mut self, parts: &Parts<'_>, plan: &Plan, zone: DataExtent) -> VckResult<()> {
        parts.gate.close_and_drain(zone)?;
        let restored = self.undo(parts, plan).map_err(|failure| failure.error);
        if restored.is_ok() {
            parts.gate.unfence();
            self.fenced = None;
        }
        parts.gate.open(zone);
        restored
    }

    fn undo(&mut self, parts: &Parts<'_>, plan: &Plan) -> Result<(), Failure> {
        self.ledger.enter(parts, plan.from(), Some((plan, &self.copies)), None)?;
        let restored = self.copies.restore(parts.io, plan, &self.ledger.damaged);
        restored.map_err(ErrorKind::Restore.during())?;
        self.ledger.flush(parts)?;
        self.ledger.release(parts, plan.from(), true)
    }

    /// What the attach tried, once more. The fence keeps everybody out meanwhile, so the zone need not be closed for it.
    fn recover_again(&mut self, parts: &Parts<'_>, zone: DataExtent) -> VckResult<()> {
        self.record_healed(parts).map_err(|failure| failure.error)?;
        let Parts { io, cipher, store, random, .. } = *parts;
        let bad_sectors = self.policy.bad_sectors;
        let site = Site { io, cipher, store, random, geometry: &self.geometry, bad_sectors };
        let opening = self.ledger.recover_again(&site, self.position, zone)?;
        self.error = opening.error;
        if opening.fenced {
            let status = opening.error.map_or(vck_common::NtStatus::IO_DEVICE_ERROR, |error| error.status);
            return Err(VckError::Device { status, lba: opening.error.map(|error| error.lba) });
        }
        // Nobody is inside a fenced zone, so this waits for neighbours at most. If it fails all the same, the fence stands and later
        // entries name the zone again: that is true as well, since its digests tell what the recovery has written.
        parts.gate.close_and_drain(zone)?;
        self.ledger.take_over(&opening);
        self.position.boundary = opening.boundary;
        parts.gate.publish(opening.boundary);
        let damaged = opening.damaged.as_slice().iter().map(|damaged| damaged.sector);
        damaged.filter(|&sector: &DataSector| zone.contains(sector)).for_each(|sector| parts.gate.shield(sector));
        parts.gate.unfence();
        self.fenced = None;
        parts.gate.open(zone);
        Ok(())
    }
}
