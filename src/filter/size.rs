//! Size hiding: answers about the volume's length state the data region's.

use vck_common::{ByteLen, Geometry, NtStatus};

use crate::nt::{CompletedIrp, ContextWord, DeviceRef, Disposition, Intercept, Irp, Outcome, Stay};
use crate::volume::FilterDevice;

/// Where an answer states the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SizeField {
    /// The volume's length in bytes, 64 bits at this offset.
    Length(u8),
    /// The same of what may be the whole disk: true, unless it is the volume's.
    DiskLength(u8),
    /// STORAGE_READ_CAPACITY, which may be of the whole disk.
    Capacity,
}

/// STORAGE_READ_CAPACITY.NumberOfBlocks and .DiskLength.
const CAPACITY_BLOCKS: usize = 16;
const CAPACITY_LENGTH: usize = 24;

impl SizeField {
    const DISK: usize = 0x80;
    const CAPACITY: usize = 0xFF;

    /// In eight bits.
    fn code(self) -> usize {
        match self {
            Self::Length(at) => usize::from(at),
            Self::DiskLength(at) => usize::from(at) | Self::DISK,
            Self::Capacity => Self::CAPACITY,
        }
    }

    fn from_code(code: usize) -> Self {
        let at = u8::try_from(code & !Self::DISK & 0xFF).unwrap_or_default();
        match code {
            Self::CAPACITY => Self::Capacity,
            code if code & Self::DISK != 0 => Self::DiskLength(at),
            _ => Self::Length(at),
        }
    }

    /// Hides the size in an answer. Errors: the buffer is shorter than the answer says.
    fn hide(self, geometry: &Geometry, answer: &mut [u8]) {
        let data = geometry.data_bytes().get();
        let is_volume = |answer: &[u8], at: usize| {
            let length = field(answer, at).map(|length| geometry.sector_size().sectors_in(ByteLen::new(length)));
            length == Some(geometry.volume_sectors())
        };
        match self {
            Self::Length(at) => put(answer, usize::from(at), data),
            Self::DiskLength(at) if is_volume(answer, usize::from(at)) => put(answer, usize::from(at), data),
            Self::Capacity if is_volume(answer, CAPACITY_LENGTH) => {
                put(answer, CAPACITY_BLOCKS, geometry.data_sectors().get());
                put(answer, CAPACITY_LENGTH, data);
            }
            Self::DiskLength(_) | Self::Capacity => {}
        }
    }
}

fn field(answer: &[u8], at: usize) -> Option<u64> {
    let bytes = answer.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Overwrites a field, if the answer is long enough to have it.
fn put(answer: &mut [u8], at: usize, value: u64) {
    if let Some(field) = answer.get_mut(at..at.saturating_add(8)) {
        field.copy_from_slice(&value.to_le_bytes());
    }
}

/// Forwards a size query whose answer has the size where `field` says.
pub(super) fn forward(device: DeviceRef<'_, FilterDevice>, irp: Irp, field: SizeField, stay: Stay) -> Disposition {
    let context = Query { field, stay };
    irp.forward_intercepted::<FilterDevice, HideSize>(device, None, context)
}

/// The place of the field, and the mode that the query entered.
struct Query {
    field: SizeField,
    stay: Stay,
}

impl ContextWord for Query {
    fn into_word(self) -> usize {
        (self.stay.into_word() << 8) | self.field.code()
    }

    fn from_word(word: usize) -> Self {
        Self { field: SizeField::from_code(word & 0xFF), stay: Stay::from_word(word >> 8) }
    }
}

struct HideSize;

impl Intercept<FilterDevice> for HideSize {
    type Context = Query;

    fn completed(device: DeviceRef<'_, FilterDevice>, irp: CompletedIrp, query: Query) -> Outcome {
        let mut irp = irp;
        let entered = device.role().mode.resume(query.stay);
        let geometry = entered.mode().map(|volume| volume.geometry);
        // The device may go with the IRP, so the mode is left first.
        drop(entered);
        let Some(geometry) = geometry else { return irp.go_on() };
        let request = irp.request();
        // Warnings too: the I/O manager copies the output of every status that is not an error.
        if request.status().is_error() {
            return irp.go_on();
        }
        let information = request.information();
        match irp.system_buffer().get_mut(..information) {
            Some(answer) => {
                query.field.hide(&geometry, answer);
                irp.go_on()
            }
            // The answer says that it is longer than its buffer: the true size must not get out.
            None => irp.fail(NtStatus::INVALID_PARAMETER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_its_way_through_a_word() {
        for field in [SizeField::Length(16), SizeField::DiskLength(24), SizeField::DiskLength(0), SizeField::Capacity] {
            assert_eq!(SizeField::from_code(field.code()), field);
        }
    }
}
