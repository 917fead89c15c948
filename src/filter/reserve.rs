//! Requests that could not get memory: served one at a time, piece by piece, with what the volume holds in reserve.

use vck_common::{ByteLen, ByteOffset, DataExtent, NtStatus, SectorCount};

use zeroize::Zeroize;

use super::rw;
use crate::crypto::{decrypt_read, encrypt_write};
use crate::nt::{DeviceRef, Entered, Irp, MappingWindow, Operation, Passive, major};
use crate::sync::{Access, Refusal};
use crate::volume::{FilterDevice, Reserve, Volume};

/// One piece of a request.
#[derive(Clone, Copy)]
struct Piece {
    from: usize,
    length: usize,
    extent: DataExtent,
    offset: ByteOffset,
}

/// Serves one request. PASSIVE_LEVEL.
pub(super) fn serve(passive: Passive, device: DeviceRef<'_, FilterDevice>, irp: Irp, reserve: &mut Reserve) {
    if device.is_gone() {
        irp.finish(NtStatus::DEVICE_REMOVED, 0);
        return;
    }
    let mut irp = irp;
    loop {
        let entered = device.role().mode.enter();
        let Some((volume, side)) = rw::inside(&entered) else {
            drop(entered);
            rw::dispatch(device, irp).settled();
            return;
        };
        // Queued requests may have been bound anew since they were looked at.
        let extent = match rw::classify(&volume.geometry, irp.request()) {
            Ok(extent) => extent,
            Err(status) => {
                drop(entered);
                return irp.finish(status, 0);
            }
        };
        let refusal = match side.enter(extent, rw::access_of(irp.request())) {
            Ok(_) => {
                let access = rw::access_of(irp.request());
                let whole = irp.request().extent().len.get();
                let result = pieces(passive, device, &mut irp, reserve, &entered);
                if access == Access::Write && result.is_ok_and(|done| done as u64 == whole) {
                    side.wrote(extent);
                }
                side.leave(extent);
                drop(entered);
                return finish(irp, result);
            }
            Err(refused) => {
                side.wake(refused.wake);
                refused.why
            }
        };
        if let Refusal::Fenced(status) = refusal {
            drop(entered);
            return finish(irp, Err(status));
        }
        match rw::wait_for_zone(device, irp, entered, extent) {
            Ok(pending) => return pending.settled(),
            Err(back) => irp = back,
        }
    }
}

fn finish(irp: Irp, result: Result<usize, NtStatus>) {
    match result {
        Ok(bytes) => irp.finish(NtStatus::SUCCESS, bytes),
        Err(status) => irp.finish(status, 0),
    }
}

fn pieces(
    passive: Passive,
    device: DeviceRef<'_, FilterDevice>,
    irp: &mut Irp,
    reserve: &mut Reserve,
    entered: &Entered<'_, Volume>,
) -> Result<usize, NtStatus> {
    let overflow = NtStatus::INVALID_PARAMETER;
    let (volume, _) = rw::inside(entered).ok_or(overflow)?;
    let (size, whole) = (volume.geometry.sector_size(), rw::extent_of(volume, irp.request()));
    let base = rw::shifted(&volume.geometry, irp.request()).ok_or(overflow)?;
    let total = usize::try_from(irp.request().extent().len.get()).map_err(|_| overflow)?;
    let step = MappingWindow::PIECE.saturating_sub(MappingWindow::PIECE % size.usize());
    let mut from = 0_usize;
    while from < total {
        let length = step.min(total.saturating_sub(from));
        let before = size.sectors_in(ByteLen::new(from as u64));
        let count: SectorCount = size.sectors_of_buffer(length).map_err(|_| overflow)?;
        let first = whole.first.checked_add(before).ok_or(overflow)?;
        let offset = base.get().checked_add(from as u64).ok_or(overflow)?;
        let piece = Piece { from, length, extent: DataExtent::new(first, count), offset: ByteOffset::new(offset) };
        let done = one_piece(passive, device, irp, reserve, entered, piece)?;
        from = from.saturating_add(done);
        if done < length {
            break;
        }
    }
    Ok(from)
}

fn one_piece(
    passive: Passive,
    device: DeviceRef<'_, FilterDevice>,
    irp: &mut Irp,
    reserve: &mut Reserve,
    entered: &Entered<'_, Volume>,
    piece: Piece,
) -> Result<usize, NtStatus> {
    let (volume, side) = rw::inside(entered).ok_or(NtStatus::INVALID_DEVICE_STATE)?;
    let (size, boundary) = (volume.geometry.sector_size(), side.gate.boundary());
    let cipher = &device.core.pool.helped(&*side.cipher);
    let lower = device.lower();
    if irp.request().major() == major::WRITE {
        let Reserve { transfer, window } = reserve;
        show(irp, window, piece, |source| {
            let _: usize = encrypt_write(cipher, size, piece.extent, boundary, source, transfer.buffer_mut());
        })?;
        let operation = Operation::Write { through: false };
        let origin = Some(irp.request());
        return transfer.run(passive, lower, operation, piece.offset, piece.length, origin);
    }
    let Reserve { transfer, window } = reserve;
    let origin = Some(irp.request());
    let done = transfer.run(passive, lower, Operation::Read, piece.offset, piece.length, origin)?;
    let brought = transfer.buffer_mut().get_mut(..done.min(piece.length)).unwrap_or_default();
    decrypt_read(cipher, size, piece.extent, boundary, brought);
    let shown = show(irp, window, piece, |target| {
        for (to, from) in target.iter_mut().zip(brought.iter()) {
            *to = *from;
        }
    });
    // The buffer lives as long as the volume is attached.
    brought.zeroize();
    shown.map(|()| done)
}

/// Shows `body` the piece of the caller's buffer.
fn show(irp: &mut Irp, window: &mut MappingWindow, piece: Piece, body: impl FnOnce(&mut [u8])) -> Result<(), NtStatus> {
    window.with(irp, piece.from, piece.length, body).map_err(|error| error.status())
}
