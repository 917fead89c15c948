//! Small deterministic random numbers (`SplitMix64`).

/// A stream of numbers that depends on its seed alone.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when `bound` is.
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        let number = self.next();
        if bound == 0 { 0 } else { number % bound }
    }

    /// An index into something of `len` elements.
    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    pub(super) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let number = self.next().to_le_bytes();
            chunk.iter_mut().zip(number).for_each(|(to, from)| *to = from);
        }
    }
}

/// A seeded source for keys, so that one seed gives one run. Real volumes get theirs from the system.
pub(super) struct SeededRandom(std::sync::Mutex<Rng>);

impl SeededRandom {
    pub(super) const fn new(seed: u64) -> Self {
        Self(std::sync::Mutex::new(Rng::new(seed)))
    }
}

impl vck_common::RandomSource for SeededRandom {
    fn fill(&self, out: &mut [u8]) -> vck_common::VckResult<()> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).fill(out);
        Ok(())
    }
}
