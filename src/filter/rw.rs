//! READ and WRITE.
//!
//! ```text
//!  dispatch: enter the mode --unbound--> watched forward
//!      | classify the whole extent --outside--> complete
//!      | gate --closed--> wait, owning nothing          (queued; readmitted when the zone opens)
//!      +- above the boundary:  watched forward at the shifted offset, no copy, no allocation
//!      +- READ below it:       map, intercepted forward, decrypt in place at completion (large ones: by the pool's finishers)
//!      +- WRITE below it:      encrypt into a bounce buffer, watched forward with that in the caller's place
//! ```
//!
//! # Invariants
//! A request that is inside the gate leaves it exactly once, with the extent that its own stack location states, and leaves
//! the mode after that. The boundary it is classified with is stable until then (see the module text of `sync/gate.rs`).

use alloc::boxed::Box;
use core::sync::atomic::Ordering;

use vck_common::{
    ByteOffset, DataExtent, DataSector, Geometry, NtStatus, RangeClass, RequestorKind, VckError, VckResult,
};

use crate::crypto::{decrypt_read, encrypt_write};
use crate::nt::{
    ApcOrBelow, Bounce, BounceDone, CompletedIrp, ContextWord, DeviceRef, Disposition, Entered, Intercept, Irp,
    Outcome, Passive, Request, Stay, Watch, major, remaining_stack,
};
use crate::sync::{Access, Refusal};
use crate::volume::{CipherSide, FilterDevice, Volume};

/// Stack that encrypting a WRITE in the caller's context must find, bytes: the cipher's frames and the drivers below.
const STACK_TO_ENCRYPT: usize = 10 * 1024;

/// What a worker is to do with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Job {
    /// Dispatch it from the start; it owns nothing.
    Dispatch = 0,
    /// Encrypt and send a WRITE that is inside the gate.
    Encrypt = 1,
    /// Decrypt and complete a READ that is inside the gate.
    Decrypt = 2,
}

impl Job {
    const BITS: u32 = 2;

    fn word(self, stay: usize) -> usize {
        (stay << Self::BITS) | self as usize
    }

    fn parse(word: usize) -> (Self, usize) {
        let job = match word & 3 {
            1 => Self::Encrypt,
            2 => Self::Decrypt,
            _ => Self::Dispatch,
        };
        (job, word >> Self::BITS)
    }
}

/// Work of the pool's threads.
pub fn work(_: Passive, irp: Irp, word: usize) {
    let (job, stay) = Job::parse(word);
    let done = irp.redispatch::<FilterDevice, ()>(|device, irp| match job {
        Job::Dispatch if irp.request().major() == major::FLUSH_BUFFERS => flush(device, irp).settled(),
        Job::Dispatch => dispatch(device, irp).settled(),
        Job::Encrypt => {
            let entered = device.role().mode.resume(Stay::from_word(stay));
            match inside_already(&entered, irp.request()) {
                Some(inside) => encrypt_and_send(device, irp, entered, inside).settled(),
                None => starve(device, irp, entered).settled(),
            }
        }
        Job::Decrypt => finish_read(device, irp, Stay::from_word(stay)),
    });
    if let Err(irp) = done {
        irp.finish(NtStatus::INVALID_DEVICE_REQUEST, 0);
    }
}

/// FLUSH goes down at once: no WRITE is acknowledged before its own write below is. Its failure is everybody's who wrote.
///
/// One that arrives too high waits for a caller of the pool; unlike READ and WRITE it is not given to the volume's own thread.
pub(super) fn flush(device: DeviceRef<'_, FilterDevice>, irp: Irp) -> Disposition {
    if ApcOrBelow::check().is_none() {
        return device.core.pool.call(irp, Job::Dispatch.word(0));
    }
    let stay = device.flushes.enter().into_stay();
    irp.forward_watched::<FilterDevice, Flushed>(device, None, stay)
}

/// A request that may not be dispatched here, as above APC_LEVEL, where `IoCallDriver` for I/O is not allowed: some thread does it.
pub(super) fn dispatch_elsewhere(device: DeviceRef<'_, FilterDevice>, irp: Irp) -> Disposition {
    let pool = &device.core.pool;
    pool.try_call(irp, Job::Dispatch.word(0)).unwrap_or_else(|irp| {
        let entered = device.role().mode.enter();
        if inside(&entered).is_some() {
            // The volume's own thread does it.
            return device.role().defer(irp, entered);
        }
        drop(entered);
        pool.call(irp, Job::Dispatch.word(0))
    })
}

/// READ and WRITE, from the I/O manager or again after a wait. IRQL <= DISPATCH_LEVEL.
pub(super) fn dispatch(device: DeviceRef<'_, FilterDevice>, irp: Irp) -> Disposition {
    if ApcOrBelow::check().is_none() {
        return dispatch_elsewhere(device, irp);
    }
    if device.is_gone() {
        return irp.complete(NtStatus::DEVICE_REMOVED, 0);
    }
    let mut irp = irp;
    loop {
        let entered = device.role().mode.enter();
        match entered.mode().map_or(Verdict::PassThrough(None), |volume| judge(volume, irp.request())) {
            Verdict::PassThrough(offset) => {
                return irp.forward_watched::<FilterDevice, PassedThrough>(device, offset, entered.into_stay());
            }
            Verdict::Inside(inside) => return admitted(device, irp, entered, inside),
            Verdict::Complete(status) => {
                // The device may go with the IRP, so the mode is left first.
                drop(entered);
                return irp.complete(status, 0);
            }
            Verdict::Closed(extent) => match wait_for_zone(device, irp, entered, extent) {
                Ok(pending) => return pending,
                Err(back) => irp = back,
            },
        }
    }
}

/// What becomes of a request in the mode it entered.
enum Verdict {
    /// Goes down, at another offset if given, without being admitted anywhere.
    PassThrough(Option<ByteOffset>),
    /// Was admitted by the gate.
    Inside(Inside),
    /// Is over.
    Complete(NtStatus),
    /// Has to wait until these sectors are open.
    Closed(DataExtent),
}

/// A request that the gate has admitted.
#[derive(Clone, Copy)]
struct Inside {
    extent: DataExtent,
    boundary: DataSector,
    offset: ByteOffset,
}

fn judge(volume: &Volume, request: Request<'_>) -> Verdict {
    let extent = match classify(&volume.geometry, request) {
        Ok(extent) => extent,
        Err(status) => return Verdict::Complete(status),
    };
    let Some(offset) = shifted(&volume.geometry, request) else {
        return Verdict::Complete(NtStatus::INVALID_PARAMETER);
    };
    let Some(side) = &volume.cipher_side else { return Verdict::PassThrough(Some(offset)) };
    match side.enter(extent, access_of(request)) {
        Ok(boundary) => Verdict::Inside(Inside { extent, boundary, offset }),
        Err(refused) => {
            side.wake(refused.wake);
            match refused.why {
                Refusal::Closed => Verdict::Closed(extent),
                Refusal::Fenced(status) => Verdict::Complete(status),
            }
        }
    }
}

/// Queues a request, which owns nothing, until a zone opens; gives it back if that has happened meanwhile.
pub(super) fn wait_for_zone(
    device: DeviceRef<'_, FilterDevice>,
    irp: Irp,
    entered: Entered<'_, Volume>,
    extent: DataExtent,
) -> Result<Disposition, Irp> {
    let mut entered = Some(entered);
    device.role().waiters.push_if(irp, 0, || {
        let closed = entered.as_ref().and_then(inside).is_some_and(|(_, side)| side.gate.still_closed(extent));
        if closed {
            device.role().waited.fetch_add(1, Ordering::Relaxed);
            // Under the queue's lock, because afterwards the request, and the device with it, may be gone.
            entered = None;
        }
        closed
    })
}

/// The sectors of a request, or the status that it is completed with.
pub(super) fn classify(geometry: &Geometry, request: Request<'_>) -> Result<DataExtent, NtStatus> {
    let requestor = if request.from_user_mode() { RequestorKind::User } else { RequestorKind::Kernel };
    match geometry.classify(request.extent(), requestor) {
        RangeClass::Data(extent) if extent.is_empty() => Err(NtStatus::SUCCESS),
        RangeClass::Data(extent) => request.check_mdl().map(|()| extent).map_err(|error| error.status()),
        RangeClass::MetadataDenied => Err(NtStatus::ACCESS_DENIED),
        RangeClass::Misaligned | RangeClass::OutOfRange => Err(NtStatus::INVALID_PARAMETER),
    }
}

/// The sectors of a request that was classified before.
pub(super) fn extent_of(volume: &Volume, request: Request<'_>) -> DataExtent {
    match volume.geometry.classify(request.extent(), RequestorKind::Kernel) {
        RangeClass::Data(extent) => extent,
        _ => DataExtent::default(),
    }
}

pub(super) fn shifted(geometry: &Geometry, request: Request<'_>) -> Option<ByteOffset> {
    geometry.shift(request.extent().offset)
}

/// A request inside the gate.
fn admitted(
    device: DeviceRef<'_, FilterDevice>,
    irp: Irp,
    entered: Entered<'_, Volume>,
    inside: Inside,
) -> Disposition {
    if inside.extent.first >= inside.boundary {
        return irp.forward_watched::<FilterDevice, LeftPlain>(device, Some(inside.offset), entered.into_stay());
    }
    if irp.request().major() == major::READ {
        return send_read(device, irp, entered, inside.offset);
    }
    if remaining_stack() < STACK_TO_ENCRYPT {
        let stay = entered.into_stay().into_word();
        return device.core.pool.try_call(irp, Job::Encrypt.word(stay)).unwrap_or_else(|irp| {
            let entered = device.role().mode.resume(Stay::from_word(stay));
            starve(device, irp, entered)
        });
    }
    encrypt_and_send(device, irp, entered, inside)
}

/// What the gate admitted a request to that has been inside for a while.
fn inside_already(entered: &Entered<'_, Volume>, request: Request<'_>) -> Option<Inside> {
    let (volume, side) = inside(entered)?;
    let offset = shifted(&volume.geometry, request)?;
    Some(Inside { extent: extent_of(volume, request), boundary: side.gate.boundary(), offset })
}

/// Leaves gate and mode without having done anything, and waits for the reserve.
fn starve(device: DeviceRef<'_, FilterDevice>, irp: Irp, entered: Entered<'_, Volume>) -> Disposition {
    leave(&entered, irp.request());
    device.role().starve(irp, entered)
}

fn send_read(
    device: DeviceRef<'_, FilterDevice>,
    irp: Irp,
    entered: Entered<'_, Volume>,
    offset: ByteOffset,
) -> Disposition {
    let mut irp = irp;
    // Mapped here, where there is a way out if it fails; the completion routine finds the mapping.
    if irp.map_for_read().is_err() {
        return starve(device, irp, entered);
    }
    irp.forward_intercepted::<FilterDevice, Decrypt>(device, Some(offset), entered.into_stay())
}

fn encrypt_and_send(
    device: DeviceRef<'_, FilterDevice>,
    irp: Irp,
    entered: Entered<'_, Volume>,
    inside: Inside,
) -> Disposition {
    let mut irp = irp;
    let Ok(bounce) = encrypted_copy(device, &mut irp, &entered, inside) else {
        return starve(device, irp, entered);
    };
    match bounce.send::<FilterDevice, Written>(device, irp, inside.offset, entered.into_stay()) {
        Ok(pending) => pending,
        Err((irp, bounce, stay)) => {
            device.bounce.give_back(bounce);
            let entered = device.role().mode.resume(stay);
            leave(&entered, irp.request());
            drop(entered);
            irp.complete(NtStatus::INVALID_PARAMETER, 0)
        }
    }
}

/// What a WRITE goes down with.
#[inline(never)] // Its frames are gone when the drivers below get the stack.
fn encrypted_copy(
    device: DeviceRef<'_, FilterDevice>,
    irp: &mut Irp,
    entered: &Entered<'_, Volume>,
    admitted: Inside,
) -> VckResult<Box<Bounce>> {
    let (volume, side) = inside(entered).ok_or(VckError::NotAttached)?;
    let source = irp.map_for_write()?;
    let mut bounce = device.bounce.take(source.len(), entered.processor())?;
    bounce.set_plaintext(0..source.len());
    let size = volume.geometry.sector_size();
    let out = bounce.buffer_mut().get_mut(..source.len()).unwrap_or_default();
    let cipher = device.core.pool.helped(&*side.cipher);
    let ciphertext = encrypt_write(&cipher, size, admitted.extent, admitted.boundary, source, out);
    bounce.set_plaintext(ciphertext..source.len());
    Ok(bounce)
}

/// The complete volume that a request is inside of.
pub(super) fn inside<'a>(entered: &'a Entered<'_, Volume>) -> Option<(&'a Volume, &'a CipherSide)> {
    let volume = entered.mode()?;
    Some((volume, volume.cipher_side.as_ref()?))
}

/// What a request does to its sectors.
pub(super) fn access_of(request: Request<'_>) -> Access {
    if request.major() == major::READ { Access::Read } else { Access::Write }
}

/// Leaves the gate after a transfer that the drivers below have completed.
fn leave_after(entered: &Entered<'_, Volume>, request: Request<'_>) {
    let Some((volume, side)) = inside(entered) else { return };
    let extent = extent_of(volume, request);
    let whole = request.status().is_success() && request.information() as u64 == request.extent().len.get();
    if whole && access_of(request) == Access::Write {
        side.wrote(extent);
    }
    side.leave(extent);
}

/// Leaves the gate; the mode is left by dropping `entered`.
fn leave(entered: &Entered<'_, Volume>, request: Request<'_>) {
    if let Some((volume, side)) = inside(entered) {
        side.leave(extent_of(volume, request));
    }
}

/// The rest of a READ that was too large for its completion routine.
fn finish_read(device: DeviceRef<'_, FilterDevice>, irp: Irp, stay: Stay) {
    let entered = device.role().mode.resume(stay);
    let mut irp = irp;
    let mut status = None;
    if let Some((volume, side)) = inside(&entered) {
        let extent = extent_of(volume, irp.request());
        let transferred = irp.request().information();
        match irp.map_for_read() {
            Ok(buffer) => {
                let end = transferred.min(buffer.len());
                let brought = buffer.get_mut(..end).unwrap_or_default();
                let (size, boundary) = (volume.geometry.sector_size(), side.gate.boundary());
                decrypt_read(&device.core.pool.helped(&*side.cipher), size, extent, boundary, brought);
            }
            // It was mapped before it was sent, so this is a broken MDL; its ciphertext must not go up as data.
            Err(error) => status = Some(error.status()),
        }
        side.leave(extent);
    }
    drop(entered);
    match status {
        None => irp.complete_as_is().settled(),
        Some(status) => irp.finish(status, 0),
    }
}

/// A request that was passed through, unbound or provisional.
pub(super) struct PassedThrough;

impl Watch<FilterDevice> for PassedThrough {
    type Context = Stay;

    fn completed(device: DeviceRef<'_, FilterDevice>, _: Request<'_>, stay: Stay) {
        drop(device.role().mode.resume(stay));
    }
}

/// A FLUSH.
struct Flushed;

impl Watch<FilterDevice> for Flushed {
    type Context = Stay;

    fn completed(device: DeviceRef<'_, FilterDevice>, request: Request<'_>, stay: Stay) {
        device.flushes.ended(stay, request.status());
    }
}

/// A request above the boundary.
struct LeftPlain;

impl Watch<FilterDevice> for LeftPlain {
    type Context = Stay;

    fn completed(device: DeviceRef<'_, FilterDevice>, request: Request<'_>, stay: Stay) {
        let entered = device.role().mode.resume(stay);
        leave_after(&entered, request);
    }
}

/// A READ below the boundary.
struct Decrypt;

impl Intercept<FilterDevice> for Decrypt {
    type Context = Stay;

    fn completed(device: DeviceRef<'_, FilterDevice>, irp: CompletedIrp, stay: Stay) -> Outcome {
        let mut irp = irp;
        let request = irp.request();
        // Warnings too: the I/O manager hands up the data of every status that is not an error.
        let pool = &device.core.pool;
        let has_data = !request.status().is_error();
        let turn = if has_data { pool.may_decrypt_here(request.information()) } else { None };
        if has_data && turn.is_none() {
            let word = Job::Decrypt.word(stay.into_word());
            return irp.keep(|irp| pool.finish(irp, word).settled());
        }
        let entered = device.role().mode.resume(stay);
        let mut failure = None;
        if let Some((volume, side)) = inside(&entered) {
            let extent = extent_of(volume, request);
            if let Some(turn) = turn {
                let (size, boundary) = (volume.geometry.sector_size(), side.gate.boundary());
                match irp.mapped() {
                    Ok(buffer) => decrypt_read(&*side.cipher, size, extent, boundary, buffer),
                    Err(error) => failure = Some(error.status()),
                }
                pool.decrypted_here(turn);
            }
            side.leave(extent);
        }
        drop(entered);
        match failure {
            None => irp.go_on(),
            Some(status) => irp.fail(status),
        }
    }
}

/// A WRITE below the boundary, whose encrypted copy has been written.
struct Written;

impl BounceDone<FilterDevice> for Written {
    type Context = Stay;

    fn done(device: DeviceRef<'_, FilterDevice>, request: Request<'_>, bounce: Box<Bounce>, stay: Stay) {
        device.bounce.give_back(bounce);
        let entered = device.role().mode.resume(stay);
        leave_after(&entered, request);
    }
}
