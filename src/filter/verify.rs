//! DISK_VERIFY: checks sectors of the medium. Its range is shifted like that of a READ, and ends with the data region.

use vck_common::{ByteOffset, Geometry, NtStatus};

use crate::nt::{CompletedIrp, DeviceRef, Disposition, Entered, Intercept, Irp, Outcome, Stay};
use crate::volume::{FilterDevice, Volume};

/// VERIFY_INFORMATION.StartingOffset and .Length.
const OFFSET: core::ops::Range<usize> = 0..8;
const LENGTH: core::ops::Range<usize> = 8..12;

/// Forwards a verify of a bound volume.
pub(super) fn forward(device: DeviceRef<'_, FilterDevice>, irp: Irp, entered: Entered<'_, Volume>) -> Disposition {
    let mut irp = irp;
    let shifted = entered.mode().and_then(|volume| shift(&volume.geometry, irp.system_buffer()));
    if shifted.is_none() {
        drop(entered);
        return irp.complete(NtStatus::INVALID_PARAMETER, 0);
    }
    irp.forward_intercepted::<FilterDevice, PutBack>(device, None, entered.into_stay())
}

/// Shifts and clips the range in `input`; none if it does not begin inside the data region.
fn shift(geometry: &Geometry, input: &mut [u8]) -> Option<()> {
    let offset = u64::from_le_bytes(input.get(OFFSET)?.try_into().ok()?);
    let length = u32::from_le_bytes(input.get(LENGTH)?.try_into().ok()?);
    let left = geometry.data_bytes().get().checked_sub(offset).filter(|left| *left > 0)?;
    let length = u32::try_from(left).map_or(length, |left| length.min(left));
    let shifted = geometry.shift(ByteOffset::new(offset))?;
    input.get_mut(OFFSET)?.copy_from_slice(&shifted.get().to_le_bytes());
    input.get_mut(LENGTH)?.copy_from_slice(&length.to_le_bytes());
    Some(())
}

/// Whoever sent the request may send the same buffer again: it gets its own offset back.
fn unshift(geometry: &Geometry, input: &mut [u8]) -> Option<()> {
    let shifted = u64::from_le_bytes(input.get(OFFSET)?.try_into().ok()?);
    let offset = shifted.checked_sub(geometry.shift(ByteOffset::ZERO)?.get())?;
    input.get_mut(OFFSET)?.copy_from_slice(&offset.to_le_bytes());
    Some(())
}

struct PutBack;

impl Intercept<FilterDevice> for PutBack {
    type Context = Stay;

    fn completed(device: DeviceRef<'_, FilterDevice>, irp: CompletedIrp, stay: Stay) -> Outcome {
        let mut irp = irp;
        let entered = device.role().mode.resume(stay);
        if let Some(volume) = entered.mode() {
            // It was long enough on its way down.
            let _ = unshift(&volume.geometry, irp.system_input());
        }
        // The device may go with the IRP, so the mode is left first.
        drop(entered);
        irp.go_on()
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use vck_common::{Lba, SectorCount, SectorSize};

    use super::*;

    fn information(offset: u64, length: u32) -> Vec<u8> {
        let mut bytes = offset.to_le_bytes().to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.extend([0; 4]);
        bytes
    }

    #[test]
    fn the_range_is_shifted_and_ends_with_the_data_region() {
        let geometry = Geometry::whole(SectorSize::S512, SectorCount::new(1000), Lba::new(100), SectorCount::new(800));
        let geometry = geometry.expect("a geometry");
        let end = 800 * 512;
        for (offset, length, expected) in [
            (0, 4096, Some(4096)),
            (end - 512, 4096, Some(512)),
            (0, u32::MAX, Some(800 * 512)),
            (end, 512, None),
            (end + 512, 512, None),
            (u64::MAX, 512, None),
        ] {
            let mut input = information(offset, length);
            assert_eq!(shift(&geometry, &mut input), expected.map(|_| ()), "{offset}");
            if let Some(expected) = expected {
                assert_eq!(input, information(offset + 100 * 512, expected));
                assert_eq!(unshift(&geometry, &mut input), Some(()));
                assert_eq!(input, information(offset, expected));
            } else {
                assert_eq!(input, information(offset, length));
            }
        }
        assert_eq!(shift(&geometry, &mut [0; 11]), None);
    }
}
