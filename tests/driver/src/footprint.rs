//! What a refused request must not change: the medium, and what the driver holds in memory.

use crate::Bench;

/// The medium and the driver's memory at one moment.
#[derive(Clone, PartialEq, Eq)]
pub struct Footprint {
    image: Vec<u8>,
    blocks: usize,
    irps: usize,
}

impl Bench {
    /// How things stand now.
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        Footprint { image: self.image(), blocks: self.world.pool_blocks(), irps: self.world.live_irps() }
    }

    /// Checks that neither the medium nor the driver's memory has changed since `before`, and that the verifier is content.
    ///
    /// # Panics
    /// With `what` in the message, if something changed.
    pub fn assert_untouched(&self, before: &Footprint, what: &str) {
        self.world.assert_clean();
        let now = self.footprint();
        let leaks = || self.world.leak_report().join("\n");
        assert_eq!(now.irps, before.irps, "{what}: requests in flight");
        assert_eq!(now.blocks, before.blocks, "{what}: allocations\n{}", leaks());
        let change = now.image.iter().zip(&before.image).position(|(now, before)| now != before);
        assert_eq!(change, None, "{what}: the medium changed at this byte");
        assert_eq!(now.image.len(), before.image.len(), "{what}: size of the medium");
    }
}
