//! Letting volumes go: DETACH, DETACH_ALL, removal, shutdown.

use core::sync::atomic::Ordering;

use vck_common::{NtStatus, VckError, VckResult};

use super::bound::{Source, Volume};
use super::sweeper::Order;
use super::{Core, FilterDevice};
use crate::nt::{DeviceRef, FsControl, Held, Passive, Shared};
use crate::provider::DetachContext;

/// What to do when files are open on a volume.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OpenFiles {
    /// Refuse.
    Refuse,
    /// Dismount anyway: the file system invalidates them.
    Invalidate,
}

impl Core {
    /// DETACH. Errors: [`VckError::NotAttached`], [`VckError::VolumeInUse`]; the volume is then still attached.
    pub fn detach(&self, passive: Passive, path: &str) -> VckResult<()> {
        self.on_filter(passive, path, |filter| self.detach_filter(passive, filter, OpenFiles::Refuse))
    }

    /// DETACH_ALL: every data volume that can be dismounted. Failures are logged.
    pub fn detach_all(&self, passive: Passive) {
        self.transactions.with(passive, |()| {
            self.filters.each(|filter| {
                let Some(volume) = filter.volume().filter(|volume| volume.source != Source::OsVolume) else { return };
                if let Err(error) = self.detach_filter(passive, filter, OpenFiles::Invalidate) {
                    log::warn!("{} stays attached: {error}", volume.name);
                }
            });
        });
    }

    /// The sweep stands still at the end of a step meanwhile: what is asked about it stays true.
    fn detach_filter(&self, passive: Passive, filter: &Held<FilterDevice>, files: OpenFiles) -> VckResult<()> {
        let volume = filter.volume().ok_or(VckError::NotAttached)?;
        order(passive, filter.device(), Order::Hold);
        let detached = self.detach_held(passive, filter, &volume, files);
        if detached.is_err() {
            order(passive, filter.device(), Order::LetGo);
        }
        detached
    }

    fn detach_held(
        &self,
        passive: Passive,
        filter: &Held<FilterDevice>,
        volume: &Shared<Volume>,
        files: OpenFiles,
    ) -> VckResult<()> {
        if volume.source == Source::OsVolume && volume.has_ciphertext() {
            return Err(VckError::WrongState("an encrypted OS volume cannot be detached: decrypt it first"));
        }
        if volume.holds_only_copy() {
            return Err(VckError::WrongState(
                "sectors of the volume are in memory only: start the conversion again first",
            ));
        }
        let handle = match (filter.open_locked(passive), files) {
            (Ok(handle), _) => handle,
            (Err(_), OpenFiles::Invalidate) => {
                filter.open_control(passive)?.control(passive, FsControl::Dismount)?;
                // Something may have mounted it again at once; only a lock keeps that from seeing the change.
                filter.open_locked(passive)?
            }
            (Err(error), OpenFiles::Refuse) => return Err(error),
        };
        handle.control(passive, FsControl::Dismount)?;
        self.release(passive, filter, volume);
        // The file system mounts again when the handle is closed: on what it sees from now on.
        drop(handle);
        log::info!("detached {}", volume.name);
        Ok(())
    }

    /// Unbinds: sweep at a committed step, no request left inside, provider told. The keys die with the last reference.
    pub(super) fn release(&self, passive: Passive, filter: &Held<FilterDevice>, volume: &Shared<Volume>) {
        self.unbind(passive, filter.device(), volume);
        // They own nothing and see the new phase.
        filter.device().readmit(passive);
        while let Some((irp, _)) = filter.starved.pop() {
            (filter.front.resubmit)(filter.device(), irp).settled();
        }
    }

    fn unbind(&self, passive: Passive, filter: DeviceRef<'_, FilterDevice>, volume: &Shared<Volume>) {
        if let Some(side) = &volume.cipher_side {
            side.sweeper.end(passive, filter.role());
        }
        filter.put(passive, None);
        filter.bounce.clear();
        let waited = filter.waited.swap(0, Ordering::Relaxed);
        log::info!("{}: {waited} requests waited for a zone", volume.name);
        if let Some(side) = &volume.cipher_side {
            self.provider_lets_go(&volume.name);
            side.lent.revoke(passive);
        }
    }

    /// The counterpart of `on_attach`.
    pub(super) fn provider_lets_go(&self, name: &str) {
        if let Err(error) = self.provider.on_detach(&DetachContext { volume_path: name }) {
            log::warn!("the provider reports an error on releasing {name}: {error}");
        }
    }

    /// SURPRISE_REMOVAL, on its way down: no I/O is started any more, what waits is failed. The filter stays in the stack.
    pub fn device_is_gone(&self, filter: DeviceRef<'_, FilterDevice>) {
        filter.gone.store(true, Ordering::Release);
        filter.waiters.complete_all(NtStatus::DEVICE_REMOVED);
        filter.starved.complete_all(NtStatus::DEVICE_REMOVED);
    }

    /// REMOVE, before the remove lock is waited for: nobody can find the filter any more, and it is bound to nothing.
    pub fn device_is_removed(&self, passive: Passive, filter: DeviceRef<'_, FilterDevice>) {
        filter.gone.store(true, Ordering::Release);
        self.transactions.with(passive, |()| {
            self.filters.remove(filter);
            if let Some(volume) = filter.volume() {
                self.unbind(passive, filter, &volume);
            }
        });
        filter.waiters.complete_all(NtStatus::DEVICE_REMOVED);
        filter.starved.complete_all(NtStatus::DEVICE_REMOVED);
    }

    /// Stops every sweep at a committed step; data path and keys stay (SHUTDOWN comes before the last writes).
    pub fn halt_all(&self, passive: Passive) {
        self.filters.each(|filter| halt(passive, filter.device()));
    }
}

/// Stops a sweep at a committed step without changing its state (QUERY_REMOVE, QUERY_STOP, SHUTDOWN).
pub(crate) fn halt(passive: Passive, filter: DeviceRef<'_, FilterDevice>) {
    order(passive, filter, Order::Halt);
}

/// Lets a halted sweep go on (CANCEL_*).
pub(crate) fn go_on(passive: Passive, filter: DeviceRef<'_, FilterDevice>) {
    order(passive, filter, Order::Continue);
}

fn order(passive: Passive, filter: DeviceRef<'_, FilterDevice>, order: Order) {
    if let Some(volume) = filter.volume()
        && let Some(side) = &volume.cipher_side
    {
        // Refused only while the volume is being released, which stops the sweep anyway.
        let _ = side.sweeper.order(passive, order);
    }
}
