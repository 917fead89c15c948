//! Size hiding: answers about the volume's length state the data region's.

use vck_common::NtStatus;

use crate::nt::{CompletedIrp, ContextWord, DeviceRef, Disposition, Intercept, Irp, Outcome, Stay};
use crate::volume::FilterDevice;

/// Forwards a size query whose answer has the length, as 64 bits, at `field`.
pub(super) fn forward(device: DeviceRef<'_, FilterDevice>, irp: Irp, field: usize, stay: Stay) -> Disposition {
    let context = Query { field, stay };
    irp.forward_intercepted::<FilterDevice, HideSize>(device, None, context)
}

/// The place of the field, and the mode that the query entered.
struct Query {
    field: usize,
    stay: Stay,
}

impl ContextWord for Query {
    fn into_word(self) -> usize {
        (self.stay.into_word() << 8) | (self.field & 0xFF)
    }

    fn from_word(word: usize) -> Self {
        Self { field: word & 0xFF, stay: Stay::from_word(word >> 8) }
    }
}

struct HideSize;

impl Intercept<FilterDevice> for HideSize {
    type Context = Query;

    fn completed(device: DeviceRef<'_, FilterDevice>, irp: CompletedIrp, query: Query) -> Outcome {
        let mut irp = irp;
        let entered = device.role().mode.resume(query.stay);
        let bytes = entered.mode().map(|volume| volume.geometry.data_bytes().get().to_le_bytes());
        // The device may go with the IRP, so the mode is left first.
        drop(entered);
        let Some(bytes) = bytes else { return irp.go_on() };
        let request = irp.request();
        let end = query.field.saturating_add(bytes.len());
        // Warnings too: the I/O manager copies the output of every status that is not an error.
        if request.status().is_error() || request.information() < end {
            return irp.go_on();
        }
        match irp.system_buffer().get_mut(query.field..end) {
            Some(field) => {
                field.copy_from_slice(&bytes);
                irp.go_on()
            }
            // The answer says that it has the field and the buffer has not: the true size must not get out.
            None => irp.fail(NtStatus::INVALID_PARAMETER),
        }
    }
}
