//! Programs that read and write through the file system: its cache turns that into paging I/O.
//!
//! # Rules
//! * Each program writes pages of its own. The stand-in's cache does not serialise two write-backs of one page, so
//!   one program at a time writes back, and clean pages are forgotten only while nobody else uses the cache.
//! * A write is under way from its call until a write-back has succeeded: meanwhile the device may hold either side.

use std::ops::Range;

use vck_common::NtStatus;
use vck_ntsim::user::Access;

use super::model::{Ended, Writing};
use super::shared::{Window, sleep, sleep_until};
use super::transfer::{Program, judge};
use super::watch::PAGE;

/// Attempts at a write-back while the device fails.
const TRIES: u32 = 2_000;

/// What a program has written and not yet seen written back.
#[derive(Default)]
pub(super) struct Dirty {
    writes: Vec<(Writing, Ended)>,
    generation: u64,
}

impl Dirty {
    /// What a new write replaces in the cache ends now, written back or not; the rest stays under way.
    fn replace(&mut self, sectors: &Range<u64>) -> Vec<Writing> {
        let part = |old: &Writing, from: u64, to: u64| Writing { sectors: from..to, version: old.version };
        let mut replaced = Vec::new();
        for (old, ended) in std::mem::take(&mut self.writes) {
            let Range { start, end } = old.sectors;
            let over = start.max(sectors.start)..end.min(sectors.end);
            if over.is_empty() {
                self.writes.push((old, ended));
                continue;
            }
            replaced.push(part(&old, over.start, over.end));
            let rest = [(start, over.start), (over.end, end)].into_iter().filter(|(from, to)| from < to);
            self.writes.extend(rest.map(|(from, to)| (part(&old, from, to), ended)));
        }
        replaced
    }
}

impl Program {
    /// Reads and writes files for a while.
    pub(super) fn file_session(&mut self, dirty: &mut Dirty) {
        // The open file, without which the volume could be locked.
        let Some(session) = self.open(Access::READ) else { return };
        for _ in 0..=self.rng.below(8) {
            if self.shared.round_over() || self.shared.quiet() {
                break;
            }
            self.check_generation(dirty);
            match self.rng.below(8) {
                0..=2 => self.file_read(),
                3 => self.write_back(dirty),
                _ => self.file_write(dirty),
            }
        }
        self.close(session);
    }

    /// Brings everything to the device, so that nothing is under way any more.
    pub(super) fn settle_files(&mut self, dirty: &mut Dirty) {
        for _ in 0..TRIES {
            self.check_generation(dirty);
            let attached = self.shared.lock().life.attached;
            if dirty.writes.is_empty() || !self.shared.is_ours(attached) {
                break;
            }
            if let Some(session) = self.open(Access::READ) {
                self.write_back(dirty);
                self.close(session);
            }
            sleep(5_000);
        }
        self.check_generation(dirty);
        let attached = self.shared.lock().life.attached;
        if !self.shared.is_ours(attached) {
            // Detached: that wrote every page back.
            self.end_all(dirty);
        }
        let failed = self.shared.lock().failure.is_some();
        if !dirty.writes.is_empty() && !failed {
            self.shared.fail(format!("program {}: the file system cannot write its pages back", self.me));
        }
    }

    /// Pages of a mount that is gone are lost or written: nobody knows.
    fn check_generation(&self, dirty: &mut Dirty) {
        let generation = self.shared.lock().generation;
        if dirty.generation != generation {
            self.end_all(dirty);
        }
        dirty.generation = generation;
    }

    fn end_all(&self, dirty: &mut Dirty) {
        let mut state = self.shared.lock();
        for (writing, _) in dirty.writes.drain(..) {
            state.model.end_write(&writing, Ended::Perhaps);
        }
    }

    fn own_sectors(&mut self) -> Range<u64> {
        let sector = u64::from(self.shared.plan.sector_size);
        let per_page = PAGE as u64 / sector;
        let pages = self.shared.plan.data_sectors / per_page;
        let share = pages / self.shared.plan.users;
        let first = share * self.me;
        let boundary = self.shared.lock().life.boundary / per_page;
        let near = self.rng.chance(1, 3) && (first..first + share).contains(&boundary);
        let page = if near { boundary } else { first + self.rng.below(share) };
        let start = page * per_page + self.rng.below(per_page);
        let end = (start + 1 + self.rng.below(4 * per_page)).min((first + share) * per_page);
        start..end
    }

    fn file_write(&mut self, dirty: &mut Dirty) {
        let sectors = self.own_sectors();
        let window = self.shared.window();
        let (volume, writing, data) = {
            let mut state = self.shared.lock();
            for replaced in dirty.replace(&sectors) {
                state.model.end_write(&replaced, Ended::Perhaps);
            }
            state.file_requests += 1;
            let (writing, data) = state.model.begin_write(sectors.clone());
            (state.volume, writing, data)
        };
        let offset = sectors.start * u64::from(self.shared.plan.sector_size);
        let status = volume.fs_here().write(offset, &data).err().unwrap_or(0);
        self.shared.lock().file_requests -= 1;
        let ended = self.file_ended(status, window, 5, sectors.start);
        dirty.writes.push((writing, ended.unwrap_or(Ended::Perhaps)));
    }

    fn file_read(&mut self) {
        let sector = u64::from(self.shared.plan.sector_size);
        let total = self.shared.plan.data_sectors;
        let count = (1 + self.rng.below(64 << 10)).div_ceil(sector).min(total);
        let first = self.rng.below(total - count + 1);
        let window = self.shared.window();
        let (volume, alone, reading) = {
            let mut state = self.shared.lock();
            let alone = state.file_requests == 0 && !state.writing_back;
            state.file_requests += 1;
            (state.volume, alone, state.model.begin_read(first..first + count))
        };
        let file_system = volume.fs_here();
        if alone {
            let _forgot = file_system.invalidate();
        }
        let read = file_system.read(first * sector, usize::try_from(count * sector).unwrap_or(0));
        self.shared.lock().file_requests -= 1;
        let status = read.as_ref().err().copied().unwrap_or(0);
        let ended = self.file_ended(status, window, 6, first);
        let mut state = self.shared.lock();
        match (ended, read) {
            (Some(Ended::Done), Ok(data)) => {
                if let Err(wrong) = state.model.end_read(&reading, &data) {
                    let text = format!("program {}: file read at sector {first}: {wrong}", self.me);
                    state.failure.get_or_insert(text);
                }
            }
            _ => state.model.end_failed_read(&reading),
        }
    }

    fn write_back(&mut self, dirty: &mut Dirty) {
        let mine = sleep_until(|| !std::mem::replace(&mut self.shared.lock().writing_back, true));
        if !mine {
            return;
        }
        let window = self.shared.window();
        let volume = self.shared.lock().volume;
        let status = volume.fs_here().flush().err().unwrap_or(0);
        self.shared.lock().writing_back = false;
        let ended = self.file_ended(status, window, 7, 0);
        if ended == Some(Ended::Done) && !self.shared.excuses(window).removed {
            let mut state = self.shared.lock();
            for (writing, ended) in dirty.writes.drain(..) {
                state.model.end_write(&writing, ended);
            }
        }
    }

    fn file_ended(&mut self, status: i32, window: Window, what: u64, place: u64) -> Option<Ended> {
        let ended = judge(status, false, self.shared.excuses(window));
        if ended.is_none() {
            let text = format!("program {}: file request {what} ended with {}", self.me, NtStatus(status));
            self.shared.fail(text);
        }
        if status == NtStatus::IO_DEVICE_ERROR.0 {
            self.shared.lock().coverage.device_errors += 1;
        }
        self.shared.operation(self.me, what, place, status);
        ended
    }
}
