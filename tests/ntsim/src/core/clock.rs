//! Time, in units of 100 ns since boot.

/// A point in virtual (or, under the parallel scheduler, real) time: units of 100 ns since the world booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// `units` of 100 ns later.
    #[must_use]
    pub fn after(self, units: u64) -> Self {
        Self(self.0.saturating_add(units))
    }

    /// Units of 100 ns in a duration.
    #[must_use]
    pub fn units(duration: std::time::Duration) -> u64 {
        u64::try_from(duration.as_nanos() / 100).unwrap_or(u64::MAX)
    }
}

/// System time of every boot: 2026-01-01 00:00:00 UTC, in units of 100 ns since 1601.
pub(crate) const BOOT_SYSTEM_TIME: u64 = 134_116_992_000_000_000;

/// System time at boot.
pub(crate) fn boot_system_time() -> u64 {
    BOOT_SYSTEM_TIME
}
