//! The host's view of driver memory: counts, failures on demand, secrets, the power cut.

use super::finding::Rule;
use super::kernel::Kernel;
use super::world::World;
use crate::host::arena::Kind;

impl Kernel {
    /// Counts an allocation that does not come from pool (an IRP, an MDL); true when it is the one chosen to fail.
    pub fn allocation_fails(&self) -> bool {
        self.arena.should_fail()
    }

    /// Live allocations of one kind.
    #[must_use]
    pub fn live(&self, kind: Kind) -> usize {
        self.arena.count(kind)
    }

    /// What a driver that unloads leaves behind, one line each.
    #[must_use]
    pub fn leaks(&self) -> Vec<String> {
        let mut leaks = self.arena.report();
        let threads: Vec<_> = self.threads().values().map(std::sync::Arc::clone).collect();
        leaks.extend(threads.iter().map(|thread| format!("thread {} or its handle", thread.id().0)));
        leaks
    }

    /// Looks at all driver memory, live and freed, for damage.
    pub fn check_memory(&self) {
        if let Some((rule, text)) = self.arena.check() {
            self.report(rule, text);
        }
        if let Some(bytes) = self.io.arena.damage() {
            self.report(
                Rule::UseAfterFree,
                format!("a kernel object of at most {bytes} bytes was written after its end"),
            );
        }
    }

    /// To be called when the last driver has unloaded: whatever is still allocated is leaked.
    pub fn check_unloaded(&self) {
        self.check_memory();
        let leaks = self.leaks();
        if !leaks.is_empty() {
            self.report(Rule::ResourceLeak, format!("left behind at unload: {}", leaks.join("; ")));
        }
    }
}

impl World {
    /// Live allocations of the drivers: pool blocks, Rust allocations, IRPs, MDLs and the like.
    #[must_use]
    pub fn pool_blocks(&self) -> usize {
        self.kernel_ref().arena.usage().0
    }

    /// Bytes in live allocations of the drivers.
    #[must_use]
    pub fn pool_bytes(&self) -> usize {
        self.kernel_ref().arena.usage().1
    }

    /// Live allocations of one kind.
    #[must_use]
    pub fn live(&self, kind: Kind) -> usize {
        self.kernel_ref().live(kind)
    }

    /// Live allocations, oldest first, one line each.
    #[must_use]
    pub fn leak_report(&self) -> Vec<String> {
        self.kernel_ref().leaks()
    }

    /// Allocations that drivers have asked for so far, failed ones included.
    #[must_use]
    pub fn allocations_made(&self) -> u64 {
        self.kernel_ref().arena.requests()
    }

    /// Makes the `k`-th allocation from now on fail (1 is the next); zero for none.
    pub fn fail_allocation(&self, k: u64) {
        self.kernel_ref().arena.fail_allocation(k);
    }

    /// From now on a freed block that still holds these bytes is a finding.
    pub fn watch_secret(&self, secret: &[u8]) {
        self.kernel_ref().arena.watch_secret(secret);
    }

    /// Cuts the power: no simulated thread ever runs again, no destructor of the driver runs, its memory is gone.
    pub(crate) fn power_off(&self) {
        self.kernel_ref().stop();
        self.abandon_threads();
        self.kernel_ref().mappings.clear();
        self.kernel_ref().arena.drop_all();
    }
}
