//! Shutdown and power cut.

use crate::abi::*;
use crate::core::{Kernel, Rule, SchedulerKind, ThreadKind, Time, World};
use crate::io::lock;
use crate::io::request::Request;
use crate::io::{Observation, Side};
use crate::storage::{Disk, Survivors};
use std::sync::Arc;
use std::time::Duration;

impl Kernel {
    /// `IRP_MJ_SHUTDOWN` to the registered devices, the newest first; file systems write back; the last chance.
    fn shutdown_all(&self) {
        let (first, last) = {
            let registered = lock(&self.io.shutdown);
            (registered.first.clone(), registered.last_chance.clone())
        };
        for device in first.iter().rev() {
            self.request(&Request::new(self.device_top(*device), IRP_MJ_SHUTDOWN));
        }
        let volumes = lock(&self.io.nodes).len();
        for node in 0..volumes {
            self.mount_flush(node);
        }
        for device in last.iter().rev() {
            self.request(&Request::new(self.device_top(*device), IRP_MJ_SHUTDOWN));
        }
    }
}

impl World {
    /// Shuts the machine down, up to where power would be taken: SHUTDOWN to registered devices, file systems write
    /// back, last-chance SHUTDOWN. Everything keeps working afterwards: late writes are part of the order. Sending
    /// the S5 power requests is left out.
    ///
    /// Requests that are under way then must come to an end; one that has not after a minute of the world's time (five
    /// seconds under the parallel scheduler) is a finding.
    pub fn shutdown(&self) {
        self.inside("shutdown", ThreadKind::System, Kernel::shutdown_all);
        let kernel = self.kernel();
        let asked = kernel.open_frames();
        let patience = match self.scheduler() {
            SchedulerKind::Deterministic => Duration::from_mins(1),
            SchedulerKind::Parallel => Duration::from_secs(5),
        };
        let end = kernel.now().after(Time::units(patience));
        let left = || kernel.open_frames().iter().any(|frame| asked.contains(frame));
        if left() {
            kernel.at(end, || ());
            self.run_until(|| !left() || kernel.now() >= end);
        }
        if left() && kernel.findings().is_empty() {
            let text = format!("still open at shutdown: {}", kernel.open_requests().join("; "));
            kernel.report(Rule::IrpNeverCompleted, text);
        }
    }

    /// The power goes: drivers vanish with no teardown, and each disk keeps what its cache happens to keep. The disks
    /// can be put into a new world.
    #[must_use]
    pub fn crash(self, survivors: Survivors) -> Vec<Disk> {
        let kernel = self.kernel();
        self.power_off();
        let disks = std::mem::take(&mut *lock(&kernel.io.disks));
        for disk in &disks {
            disk.power_cut(survivors, |bound| kernel.faults().below(bound));
        }
        disks
    }

    /// Shows every sector that arrives below the filters or is handed up above them to `watch`, which may
    /// [`Kernel::report`] what must not be.
    pub fn observe(&self, watch: impl Fn(&Kernel, &Observation<'_>) + Send + Sync + 'static) {
        *lock(&self.kernel().io.observer) = Some(Arc::new(watch));
    }

    /// Checks at every moment that what one side of a volume shows passes `rule`; a finding otherwise.
    pub fn require(&self, side: Side, rule: impl Fn(&Observation<'_>) -> bool + Send + Sync + 'static) {
        self.observe(move |k, seen| {
            if seen.side == side && !rule(seen) {
                let text = format!("volume {} {:?} at byte {:#x}", seen.volume, seen.side, seen.offset);
                k.report(crate::core::Rule::ShadowOracle, text);
            }
        });
    }

    /// Live IRPs.
    #[must_use]
    pub fn live_irps(&self) -> usize {
        self.kernel().live_irps()
    }
}
