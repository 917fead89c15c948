//! Fault plans: what goes wrong on a disk, where, and how often.

use std::ops::Range;

/// Kinds of request a fault applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOp {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Flushes; the LBA range is not looked at.
    Flush,
    /// Deallocations.
    Trim,
}

/// What happens to a request that a fault hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultEffect {
    /// The request fails with this status and no data moves.
    Fail(i32),
    /// The request succeeds with only this many bytes done.
    Short(u32),
    /// A write fails with this status, but its first bytes reached the medium.
    PartialFail {
        /// Status of the request.
        status: i32,
        /// Sectors that were written all the same.
        sectors: u64,
    },
    /// A flush claims success and makes nothing durable.
    LostFlush,
    /// A write claims success and lands at another LBA.
    Misdirect(u64),
    /// The request takes this many nanoseconds longer.
    Delay(u64),
    /// The device stops answering: this and every later request fails with `STATUS_DEVICE_DOES_NOT_EXIST`.
    Vanish,
}

/// One entry of a fault plan.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Which requests.
    pub op: DiskOp,
    /// Sectors (disk-absolute) that trigger it; a request is hit when it touches one.
    pub lbas: Range<u64>,
    /// Requests that pass before the fault starts to bite.
    pub skip: u32,
    /// How many requests it hits; `None` is permanent.
    pub times: Option<u32>,
    /// What it does.
    pub effect: FaultEffect,
}

impl Fault {
    /// A permanent failure of every request of a kind that touches `lbas`.
    #[must_use]
    pub fn fail(op: DiskOp, lbas: Range<u64>, status: i32) -> Self {
        Self { op, lbas, skip: 0, times: None, effect: FaultEffect::Fail(status) }
    }

    /// A fault on every LBA.
    #[must_use]
    pub fn anywhere(op: DiskOp, effect: FaultEffect) -> Self {
        Self { op, lbas: 0..u64::MAX, skip: 0, times: None, effect }
    }

    /// The same fault, `times` requests only.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// The same fault, after `skip` matching requests.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    fn touches(&self, op: DiskOp, lba: u64, sectors: u64) -> bool {
        self.op == op
            && (op == DiskOp::Flush || (lba < self.lbas.end && self.lbas.start < lba.saturating_add(sectors.max(1))))
    }
}

/// The faults armed on one disk.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan(Vec<Fault>);

impl FaultPlan {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The effect that hits this request, if any; counts it.
    pub(crate) fn hit(&mut self, op: DiskOp, lba: u64, sectors: u64) -> Option<FaultEffect> {
        let at = self.0.iter().position(|fault| fault.touches(op, lba, sectors) && fault.times != Some(0))?;
        let fault = &mut self.0[at];
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        if let Some(times) = &mut fault.times {
            *times -= 1;
        }
        Some(fault.effect.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_skip_and_times() {
        let mut plan = FaultPlan::default();
        plan.add(Fault::fail(DiskOp::Read, 10..12, -1).after(1).times(2));
        assert_eq!(plan.hit(DiskOp::Read, 0, 10), None, "does not touch");
        assert_eq!(plan.hit(DiskOp::Read, 0, 11), None, "skipped");
        assert_eq!(plan.hit(DiskOp::Read, 11, 1), Some(FaultEffect::Fail(-1)));
        assert_eq!(plan.hit(DiskOp::Write, 11, 1), None);
        assert_eq!(plan.hit(DiskOp::Read, 11, 1), Some(FaultEffect::Fail(-1)));
        assert_eq!(plan.hit(DiskOp::Read, 11, 1), None, "used up");
    }
}
