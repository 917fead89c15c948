//! The volume device: the bottom of a volume's stack, over a part of a disk.
//!
//! Requests are answered at once inside `IoCallDriver` or from a DPC later, as the disk's timing and the seed say;
//! with `force_pending` always later. The data of a write reaches the medium when the request arrives or when it
//! completes, which the seed decides too.

use super::Disk;
use super::controls;
use super::disk::{Arrival, LateWrite, Outcome};
use crate::abi::io::arena::Span;
use crate::abi::io::mdl;
use crate::abi::io::view::{Device, Irp};
use crate::abi::*;
use crate::core::{Kernel, Rule};
use crate::io::Side;
use crate::pnp::Phase;

const SL_FORCE_DIRECT: u8 = 0x10;
const SL_WRITE_THRU: u8 = 0x04;

/// The part of a disk that a volume is.
#[derive(Clone, Debug)]
pub(crate) struct Extent {
    pub(crate) disk: Disk,
    pub(crate) disk_number: usize,
    pub(crate) start: u64,
    /// Bytes.
    pub(crate) length: u64,
}

impl Kernel {
    /// Reads, writes, flushes and controls on a volume's bottom device.
    pub(crate) fn volume_io(&self, node: usize, device: Device, irp: Irp) -> NTSTATUS {
        self.assume_stack_use("the volume's device", self.config().lower_stack_use);
        let Some((extent, phase)) = self.node_extent(node) else {
            return self.volume_plain(irp, STATUS_NO_SUCH_DEVICE);
        };
        if matches!(phase, Phase::Surprised | Phase::Removed) || extent.disk.vanished() {
            return self.volume_plain(irp, STATUS_NO_SUCH_DEVICE);
        }
        if phase == Phase::Added {
            return self.volume_plain(irp, STATUS_DEVICE_NOT_READY);
        }
        match u32::from(irp.stack().major()) {
            IRP_MJ_READ | IRP_MJ_WRITE => self.volume_transfer(node, &extent, device, irp),
            IRP_MJ_FLUSH_BUFFERS => self.volume_flush(&extent, irp),
            IRP_MJ_DEVICE_CONTROL => self.volume_control(node, &extent, irp),
            IRP_MJ_CREATE | IRP_MJ_CLEANUP | IRP_MJ_CLOSE => self.volume_plain(irp, STATUS_SUCCESS),
            _ => self.volume_plain(irp, STATUS_INVALID_DEVICE_REQUEST),
        }
    }

    fn arrival(&self, extent: &Extent, irp: Irp, offset: u64, length: u64) -> Arrival {
        let size = u64::from(extent.disk.config().sector_size);
        let flags = irp.stack().flags();
        let jitter = extent.disk.config().timing.jitter;
        Arrival {
            lba: (extent.start + offset) / size,
            sectors: length / size,
            write_through: flags & SL_WRITE_THRU != 0,
            irp_flags: irp.flags(),
            sl_flags: flags,
            now: self.now().0.saturating_mul(100),
            extra: if jitter == 0 { 0 } else { self.faults().below(jitter) },
        }
    }

    fn volume_transfer(&self, node: usize, extent: &Extent, device: Device, irp: Irp) -> NTSTATUS {
        let stack = irp.stack();
        let length = stack.parameter(0) & u64::from(u32::MAX);
        let offset = stack.parameter(2);
        let size = u64::from(extent.disk.config().sector_size);
        let end = offset.checked_add(length);
        if !length.is_multiple_of(size) || !offset.is_multiple_of(size) || end.is_none_or(|end| end > extent.length) {
            return self.volume_plain(irp, STATUS_INVALID_PARAMETER);
        }
        if length == 0 {
            return self.volume_plain(irp, STATUS_SUCCESS);
        }
        let bytes = usize::try_from(length).unwrap_or(0);
        let Some(runs) = mdl::spans(irp.mdl(), bytes) else {
            return self.volume_plain(irp, STATUS_INVALID_USER_BUFFER);
        };
        if runs.first().is_some_and(|run| run.addr & device.alignment() as usize != 0) {
            return self.volume_plain(irp, STATUS_INVALID_PARAMETER);
        }
        // Drivers that split a request take the one for the address of the other.
        let user = irp.user_buffer().addr();
        if user != 0 && runs.first().is_some_and(|run| run.addr != user) {
            self.finding(Rule::MdlState, "a transfer has another buffer in UserBuffer than in MdlAddress");
        }
        let arrival = self.arrival(extent, irp, offset, length);
        if u32::from(stack.major()) == IRP_MJ_WRITE {
            if self.write_is_blocked(node, irp) {
                return self.volume_plain(irp, STATUS_ACCESS_DENIED);
            }
            let late = self.is_deterministic() && self.rng().chance(1, 2);
            let (outcome, late) = extent.disk.with_buffer(bytes, |data| {
                gather(&runs, data);
                self.observe(node, Side::WrittenBelow, offset, || data.to_vec());
                extent.disk.write(&arrival, data, late)
            });
            return self.answer_write(irp, outcome, late);
        }
        let outcome = extent.disk.with_buffer(bytes, |data| {
            let outcome = extent.disk.read(&arrival, data);
            if outcome.status != STATUS_SUCCESS {
                data.fill(0);
            }
            self.observe(node, Side::ReadBelow, offset, || data.to_vec());
            scatter(&runs, &data[..outcome.bytes.min(bytes)]);
            outcome
        });
        self.answer(irp, outcome)
    }

    /// Writes under a mounted file system must be the file system's, or say that they know what they do.
    fn write_is_blocked(&self, node: usize, irp: Irp) -> bool {
        let stack = irp.stack();
        let owned = irp.flags() & (IRP_PAGING_IO | IRP_SYNCHRONOUS_PAGING_IO) != 0 || !stack.file().is_null();
        stack.flags() & SL_FORCE_DIRECT == 0 && !owned && self.mount_of(node).is_some()
    }

    fn volume_flush(&self, extent: &Extent, irp: Irp) -> NTSTATUS {
        let arrival = self.arrival(extent, irp, 0, 0);
        let outcome = extent.disk.flush(&arrival);
        self.answer(irp, outcome)
    }

    fn volume_control(&self, node: usize, extent: &Extent, irp: Irp) -> NTSTATUS {
        let stack = irp.stack();
        let (output, input) = (stack.parameter(0), stack.parameter(1));
        let low = |value: u64| usize::try_from(value & u64::from(u32::MAX)).unwrap_or(0);
        let code = u32::try_from(stack.parameter(2) & u64::from(u32::MAX)).unwrap_or(0);
        let buffer = Span { addr: irp.system_buffer() as usize, len: low(input).max(low(output)) };
        let given = if irp.system_buffer().is_null() { Vec::new() } else { buffer.part(0, low(input)).to_vec() };
        let identity = self.node_identity(node);
        let mut trims = Vec::new();
        let answer = controls::answer(code, &given, low(output), extent, &identity, &mut trims);
        for (offset, length) in trims {
            let arrival = self.arrival(extent, irp, offset, length);
            extent.disk.trim(&arrival);
        }
        match answer {
            Ok(bytes) => {
                buffer.write(0, &bytes);
                let outcome = Outcome { status: STATUS_SUCCESS, bytes: bytes.len(), at: 0 };
                self.answer(irp, outcome)
            }
            Err((status, information)) => {
                let outcome = Outcome { status, bytes: information, at: 0 };
                self.answer(irp, outcome)
            }
        }
    }

    /// Completes a request that moves no data, now or later.
    pub(crate) fn volume_plain(&self, irp: Irp, status: NTSTATUS) -> NTSTATUS {
        self.answer(irp, Outcome { status, bytes: 0, at: 0 })
    }

    /// Completes now or later.
    fn answer(&self, irp: Irp, outcome: Outcome) -> NTSTATUS {
        self.answer_write(irp, outcome, None)
    }

    /// Completes now or later, and a late write with it.
    fn answer_write(&self, irp: Irp, outcome: Outcome, late: Option<LateWrite>) -> NTSTATUS {
        let now = self.now();
        let later = outcome.at.div_ceil(100) > now.0;
        let by_seed = self.is_deterministic() && self.rng().chance(1, 2);
        if !(later || by_seed || self.config().force_pending) || (!later && !self.may_pend()) {
            return self.answer_now(irp, outcome, late);
        }
        let stack = irp.stack();
        stack.set_control(stack.control() | 1);
        let finish = move || {
            crate::core::with_current(|k| {
                k.answer_now(irp, outcome, late);
            });
        };
        if later {
            self.at(crate::Time(outcome.at.div_ceil(100)), finish);
        } else {
            self.dpc(finish);
        }
        STATUS_PENDING
    }

    fn answer_now(&self, irp: Irp, mut outcome: Outcome, late: Option<LateWrite>) -> NTSTATUS {
        if late.is_some_and(|write| !write.apply()) {
            (outcome.status, outcome.bytes) = (STATUS_IO_DEVICE_ERROR, 0);
        }
        self.complete_with(irp, outcome.status, outcome.bytes as u64)
    }

    /// Parallel worlds answer an immediate disk inside the call unless told otherwise: that is what they measure.
    fn may_pend(&self) -> bool {
        self.is_deterministic() || self.config().force_pending
    }
}

fn gather(runs: &[Span], mut data: &mut [u8]) {
    for run in runs {
        let (now, rest) = data.split_at_mut(run.len.min(data.len()));
        run.read(0, now);
        data = rest;
    }
}

fn scatter(runs: &[Span], mut data: &[u8]) {
    for run in runs {
        let (now, rest) = data.split_at(run.len.min(data.len()));
        run.write(0, now);
        data = rest;
    }
}
