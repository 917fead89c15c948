//! Taking a record away.

use super::{
    layout::{Slot, Slots},
    search::place,
};
use crate::{Durability, Geometry, SectorIo, VckResult, zeroed};

/// Writes zeros over the first sector of both slots of every replica, and flushes: a volume without a record. To be done only if the
/// place is ours, and what the record says may be lost. `PASSIVE_LEVEL`.
///
/// # Errors
/// The first write error, or that of the flush; what is left of the record is as true as before.
pub(in crate::jvck) fn forget_record(io: &dyn SectorIo, geometry: &Geometry) -> VckResult<()> {
    let Some(slots) = Slots::of(geometry) else { return Ok(()) };
    let blank = zeroed(geometry.sector_size().usize())?;
    for slot in Slot::BOTH {
        for index in 0..geometry.replica_count() {
            io.write_sectors(place(geometry, &slots, index, slot, blank.len())?, &blank, Durability::AtNextFlush)?;
        }
    }
    io.flush()
}
