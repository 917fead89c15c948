//! The requests of a disk.

use super::*;
use crate::storage::timing::{Move, Size};

/// A write that was accepted and has not reached the medium.
#[derive(Debug)]
pub(crate) struct LateWrite {
    disk: Disk,
    lba: u64,
    write_through: bool,
    data: Vec<u8>,
}

impl LateWrite {
    /// The write reaches the medium; false when the host refuses.
    pub(crate) fn apply(&self) -> bool {
        self.disk.put(self.lba, &self.data, self.write_through)
    }
}

impl Disk {
    fn begin(&self, op: DiskOp, arrival: &Arrival) -> Option<FaultEffect> {
        if self.vanished() {
            return Some(FaultEffect::Vanish);
        }
        let effect = self.state().plan.hit(op, arrival.lba, arrival.sectors);
        if effect == Some(FaultEffect::Vanish) {
            self.set_vanished(true);
        }
        effect
    }

    fn end(&self, op: DiskOp, arrival: &Arrival, status: i32, bytes: usize, delay: u64) -> Outcome {
        let mut state = self.state();
        let timing = self.0.config.timing;
        let extra = arrival.extra + delay;
        let disk = Size { sectors: self.sectors(), sector: self.sector_size() };
        let at = if op == DiskOp::Flush {
            state.queue.flush(&timing, arrival.now, disk, extra)
        } else {
            let Arrival { lba, sectors, .. } = *arrival;
            let request = Move { lba, sectors, bytes: bytes as u64, write: op != DiskOp::Read, disk, extra };
            state.queue.enter(&timing, arrival.now, request)
        };
        let record = IoRecord {
            seq: state.seq,
            op,
            lba: arrival.lba,
            sectors: arrival.sectors,
            write_through: arrival.write_through,
            irp_flags: arrival.irp_flags,
            sl_flags: arrival.sl_flags,
            status,
            time: arrival.now,
            done: at,
        };
        state.seq += 1;
        if state.log.len() == LOG_LIMIT {
            state.log.pop_front();
        }
        state.log.push_back(record);
        Outcome { status, bytes, at }
    }

    /// Reads into `buf`, whose length is `sectors` sectors.
    pub(crate) fn read(&self, arrival: &Arrival, buf: &mut [u8]) -> Outcome {
        let mut delay = 0;
        let mut length = buf.len();
        match self.begin(DiskOp::Read, arrival) {
            Some(FaultEffect::Fail(status) | FaultEffect::PartialFail { status, .. }) => {
                return self.end(DiskOp::Read, arrival, status, 0, 0);
            }
            Some(FaultEffect::Vanish) => return self.end(DiskOp::Read, arrival, STATUS_GONE, 0, 0),
            Some(FaultEffect::Short(bytes)) => length = length.min(bytes as usize),
            Some(FaultEffect::Delay(extra)) => delay = extra,
            Some(FaultEffect::LostFlush | FaultEffect::Misdirect(_)) | None => {}
        }
        let ok = self.0.durable.read(arrival.lba * self.sector_size(), buf);
        if self.0.config.volatile_cache {
            self.overlay(&self.state(), arrival.lba, buf);
        }
        let (status, bytes) = if ok { (STATUS_SUCCESS, length) } else { (STATUS_IO_DEVICE_ERROR, 0) };
        self.end(DiskOp::Read, arrival, status, bytes, delay)
    }

    /// Writes `buf`, whose length is `sectors` sectors. With `late` the medium does not change yet: what it gets is given
    /// back, to be applied when the request completes.
    pub(crate) fn write(&self, arrival: &Arrival, buf: &[u8], late: bool) -> (Outcome, Option<LateWrite>) {
        let mut delay = 0;
        let mut lba = arrival.lba;
        let mut length = buf.len();
        let mut status = STATUS_SUCCESS;
        let size = usize::try_from(self.sector_size()).unwrap_or(1);
        match self.begin(DiskOp::Write, arrival) {
            Some(FaultEffect::Fail(status)) => return (self.end(DiskOp::Write, arrival, status, 0, 0), None),
            Some(FaultEffect::Vanish) => return (self.end(DiskOp::Write, arrival, STATUS_GONE, 0, 0), None),
            Some(FaultEffect::PartialFail { status: failed, sectors }) => {
                status = failed;
                length = length.min(usize::try_from(sectors).unwrap_or(0) * size);
            }
            Some(FaultEffect::Short(bytes)) => length = length.min(bytes as usize),
            Some(FaultEffect::Misdirect(elsewhere)) => lba = elsewhere,
            Some(FaultEffect::Delay(extra)) => delay = extra,
            Some(FaultEffect::LostFlush) | None => {}
        }
        let data = &buf[..length - length % size];
        let write_through = arrival.write_through;
        let write = late.then(|| LateWrite { disk: self.clone(), lba, write_through, data: data.to_vec() });
        if !late && !self.put(lba, data, write_through) {
            status = STATUS_IO_DEVICE_ERROR;
        }
        let bytes = if status == STATUS_SUCCESS { length } else { 0 };
        (self.end(DiskOp::Write, arrival, status, bytes, delay), write)
    }

    fn put(&self, lba: u64, buf: &[u8], write_through: bool) -> bool {
        let sectors = buf.len() as u64 / self.sector_size();
        if write_through || !self.0.config.volatile_cache {
            let mut state = self.state();
            Self::drop_cached(&mut state, lba, sectors);
            drop(state);
            return self.0.durable.write(lba * self.sector_size(), buf);
        }
        let mut state = self.state();
        let size = usize::try_from(self.sector_size()).unwrap_or(1);
        for (at, sector) in (lba..).zip(buf.chunks_exact(size)) {
            let versions = state.cache.entry(at).or_default();
            if versions.len() == MAX_VERSIONS {
                versions.remove(0);
            }
            versions.push(sector.into());
        }
        true
    }

    /// Flushes the cache.
    pub(crate) fn flush(&self, arrival: &Arrival) -> Outcome {
        let mut delay = 0;
        match self.begin(DiskOp::Flush, arrival) {
            Some(FaultEffect::Fail(status) | FaultEffect::PartialFail { status, .. }) => {
                return self.end(DiskOp::Flush, arrival, status, 0, 0);
            }
            Some(FaultEffect::Vanish) => return self.end(DiskOp::Flush, arrival, STATUS_GONE, 0, 0),
            Some(FaultEffect::LostFlush) => {
                self.0.flushes.fetch_add(1, Ordering::Relaxed);
                return self.end(DiskOp::Flush, arrival, STATUS_SUCCESS, 0, 0);
            }
            Some(FaultEffect::Delay(extra)) => delay = extra,
            Some(FaultEffect::Short(_) | FaultEffect::Misdirect(_)) | None => {}
        }
        match self.0.config.flush {
            FlushSupport::Unsupported => {
                return self.end(DiskOp::Flush, arrival, STATUS_INVALID_DEVICE_REQUEST, 0, 0);
            }
            FlushSupport::Ignored => {}
            FlushSupport::Supported => {
                let mut state = self.state();
                for (lba, versions) in std::mem::take(&mut state.cache) {
                    if let Some(newest) = versions.last() {
                        self.0.durable.write(lba * self.sector_size(), newest);
                    }
                }
            }
        }
        self.0.flushes.fetch_add(1, Ordering::Relaxed);
        self.end(DiskOp::Flush, arrival, STATUS_SUCCESS, 0, delay)
    }

    /// Deallocates: the sectors read as zeros, as volatile as any write.
    pub(crate) fn trim(&self, arrival: &Arrival) -> Outcome {
        match self.begin(DiskOp::Trim, arrival) {
            Some(FaultEffect::Fail(status)) => return self.end(DiskOp::Trim, arrival, status, 0, 0),
            Some(FaultEffect::Vanish) => return self.end(DiskOp::Trim, arrival, STATUS_GONE, 0, 0),
            _ => {}
        }
        let mut lba = arrival.lba;
        let end = arrival.lba + arrival.sectors;
        while lba < end {
            let run = RUN.min(end - lba);
            self.put(lba, &vec![0; usize::try_from(run * self.sector_size()).unwrap_or(0)], false);
            lba += run;
        }
        self.end(DiskOp::Trim, arrival, STATUS_SUCCESS, 0, 0)
    }
}
