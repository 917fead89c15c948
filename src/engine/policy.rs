//! What a product decides about conversions.
use vck_common::ByteLen;

use super::Pace;

/// What to do about a sector that cannot be read when its turn comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BadSectors {
    /// The conversion stops as faulted and names the sector.
    #[default]
    Stop,
    /// The sector is recorded as unreadable and left alone; the conversion goes on around it. Reads of it fail until a
    /// write covers it.
    Skip,
}

/// How conversions run. The default is careful: what cannot be protected from a loss of power is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConversionPolicy {
    /// The shortest step, bytes; rounded down to sectors, at least one. Steps of 8192 bytes or more end where a sector of 4096
    /// bytes does, which many devices write as one though they show eight.
    pub smallest_step: ByteLen,
    /// The longest step, bytes; at most 16 MiB and what the journal has room for. A running conversion takes four times
    /// this much memory.
    pub largest_step: ByteLen,
    /// Whether conversion may run on a device that does not support flush, where power loss may mix both sides.
    pub accept_no_flush: bool,
    /// Whether conversion may run on a volume whose format has no journal, or no room for one. A loss of power then
    /// destroys the sectors under way.
    pub accept_no_journal: bool,
    /// What to do about unreadable sectors.
    pub bad_sectors: BadSectors,
    /// How much the conversion yields to other use of the volume.
    pub pace: Pace,
}

impl Default for ConversionPolicy {
    fn default() -> Self {
        Self {
            smallest_step: ByteLen::new(256 << 10),
            largest_step: ByteLen::new(4 << 20),
            accept_no_flush: false,
            accept_no_journal: false,
            bad_sectors: BadSectors::Stop,
            pace: Pace::Balanced,
        }
    }
}
