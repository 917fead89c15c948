//! Programs that read and write the volume's device: any size, any place, several requests at once, cancels, and
//! requests that must be refused.

use std::ops::Range;
use std::sync::Arc;

use vck_common::NtStatus;
use vck_ntsim::core::Rng;
use vck_ntsim::user::{Access, Handle, Pending, Share, User};

use super::command::status_of;
use super::model::{Ended, Reading, Writing};
use super::shared::{Excuses, Shared, Window, excused, sleep};
use crate::Client;

const MIB: u64 = 1 << 20;
/// `FSCTL_ALLOW_EXTENDED_DASD_IO`.
const ALLOW_EXTENDED: u32 = 0x0009_0083;
const END_OF_FILE: i32 = NtStatus::END_OF_FILE.0;

/// One program.
pub(super) struct Program {
    pub(super) user: User<'static>,
    pub(super) me: u64,
    pub(super) shared: Arc<Shared>,
    pub(super) rng: Rng,
}

/// An open volume.
pub(super) struct Session {
    pub(super) handle: Handle<'static>,
    /// The filter is bound: offsets behind the data region are metadata.
    attached: bool,
    async_: bool,
    extended: bool,
}

/// A request under way.
struct Sent {
    pending: Pending<'static>,
    what: What,
    live: u64,
    window: Window,
    cancelled: bool,
}

enum What {
    Read(Reading),
    Write(Writing),
}

impl Program {
    fn sector(&self) -> u64 {
        u64::from(self.shared.plan.sector_size)
    }

    /// Opens the volume if what is seen there is what the model knows: attached, or never converted.
    pub(super) fn open(&mut self, access: Access) -> Option<Session> {
        let (path, attached, evicting) = {
            let state = self.shared.lock();
            (state.path.clone(), state.life.attached, state.evicting)
        };
        let session = if self.shared.is_ours(attached) && !evicting { self.try_open(&path, access) } else { None };
        if session.is_none() {
            sleep(10_000 + self.rng.below(20_000));
        }
        session
    }

    fn try_open(&mut self, path: &str, access: Access) -> Option<Session> {
        self.shared.lock().sessions += 1;
        let async_ = self.rng.chance(2, 3);
        let opened = if async_ {
            self.user.open_async(path, access, Share::ALL)
        } else {
            self.user.open(path, access, Share::ALL)
        };
        let session = opened.ok().and_then(|handle| {
            // While the handle is open the volume cannot be detached.
            let client = Client::open(&self.user, Access::READ_WRITE).ok()?;
            let attached = status_of(&client, path).ok()?.attached;
            self.shared.is_ours(attached).then_some(Session { handle, attached, async_, extended: false })
        });
        if session.is_none() {
            self.shared.lock().sessions -= 1;
        }
        session
    }

    pub(super) fn close(&mut self, session: Session) {
        drop(session);
        self.shared.lock().sessions -= 1;
    }

    /// Reads and writes for a while.
    pub(super) fn device_session(&mut self) {
        let mounted = self.shared.plan.mounted;
        let lock = mounted && self.rng.chance(1, 3);
        if lock {
            return self.locked_session();
        }
        let Some(session) = self.open(Access::READ_WRITE) else { return };
        self.run(session, !mounted);
    }

    /// Alone on a mounted volume, with the volume lock, which writes need there.
    fn locked_session(&mut self) {
        let alone = self.shared.quieten();
        let session = if alone { self.open(Access::READ_WRITE) } else { None };
        if let Some(session) = session {
            match session.handle.lock() {
                Ok(()) => {
                    let volume = self.shared.lock().volume;
                    let _forgot = volume.fs_here().invalidate();
                    self.run(session, true);
                }
                Err(_) => self.close(session),
            }
        }
        self.shared.loud(alone);
    }

    fn run(&mut self, mut session: Session, may_write: bool) {
        let mut left = Vec::new();
        let own_quiet = u64::from(self.shared.plan.mounted && may_write);
        if self.rng.chance(1, 4) {
            session.extended = session.handle.fsctl(ALLOW_EXTENDED).is_ok();
        }
        for _ in 0..=self.rng.below(6) {
            if self.shared.round_over() || self.shared.lock().quiet > own_quiet {
                break;
            }
            match self.rng.below(16) {
                0 => self.misaligned(&session),
                1 => self.out_of_range(&session),
                2 => self.flush(&session),
                _ if session.async_ => left = self.batch(&session, may_write),
                _ => self.single(&session, may_write),
            }
            if !left.is_empty() {
                break;
            }
        }
        self.close(session);
        for one in left {
            self.finish(one);
        }
    }

    /// A range of data sectors: near the boundary, near a bucket's edge, at the end, or anywhere.
    fn range(&mut self) -> Range<u64> {
        let sector = self.sector();
        let total = self.shared.plan.data_sectors;
        let bytes = match self.rng.below(16) {
            0 | 1 => sector,
            2..=7 => 1 + self.rng.below(16 << 10),
            8..=11 => 1 + self.rng.below(128 << 10),
            12..=14 => 1 + self.rng.below(MIB / 2),
            _ => 1 + self.rng.below(MIB + MIB / 4),
        };
        let count = bytes.div_ceil(sector).min(total);
        let bucket = MIB / sector;
        let anchor = match self.rng.below(8) {
            0..=2 => self.shared.lock().life.boundary,
            3 | 4 => self.rng.below(total / bucket + 1) * bucket,
            5 => total,
            _ => self.rng.below(total),
        };
        let first = anchor.saturating_sub(self.rng.below(count + 1)).min(total - count);
        first..first + count
    }

    fn begin(&mut self, sectors: &Range<u64>, write: bool) -> u64 {
        let bucket = MIB / self.sector();
        let mut state = self.shared.lock();
        let edges = sectors.start / bucket != (sectors.end - 1) / bucket;
        state.coverage.across_buckets += u64::from(edges);
        state.begin_live(write, sectors.clone())
    }

    /// Several requests at once, some of them cancelled. In haste they are given back under way.
    fn batch(&mut self, session: &Session, may_write: bool) -> Vec<Sent> {
        let mut sent = Vec::new();
        for _ in 0..=self.rng.below(4) {
            let write = may_write && self.rng.chance(1, 2);
            if let Some(one) = self.submit(session, write) {
                sent.push(one);
            }
            if self.rng.chance(1, 4) {
                sleep(self.rng.below(4_000));
            }
        }
        for one in &mut sent {
            if self.rng.chance(1, 4) {
                one.cancelled = true;
                let _called = one.pending.cancel();
            }
        }
        if self.shared.lock().hasty {
            return sent;
        }
        while !sent.is_empty() {
            let one = sent.swap_remove(self.rng.index(sent.len()));
            self.finish(one);
        }
        sent
    }

    fn submit(&mut self, session: &Session, write: bool) -> Option<Sent> {
        let sectors = self.range();
        let live = self.begin(&sectors, write);
        let window = self.shared.window();
        let offset = sectors.start * self.sector();
        let (what, pending) = if write {
            let (writing, data) = self.shared.lock().model.begin_write(sectors);
            (What::Write(writing), session.handle.submit_write(offset, &data))
        } else {
            let bytes = usize::try_from((sectors.end - sectors.start) * self.sector()).unwrap_or(0);
            let reading = self.shared.lock().model.begin_read(sectors);
            (What::Read(reading), session.handle.submit_read(offset, bytes))
        };
        match pending {
            Ok(pending) => Some(Sent { pending, what, live, window, cancelled: false }),
            Err(status) => {
                self.ended(&what, live, status, &[], window, false);
                None
            }
        }
    }

    fn finish(&mut self, sent: Sent) {
        let Sent { pending, what, live, window, cancelled } = sent;
        let reply = pending.wait();
        let given = usize::try_from(reply.information).unwrap_or(0).min(reply.output.len());
        self.ended(&what, live, reply.status, &reply.output[..given], window, cancelled);
    }

    /// One request through a synchronous handle.
    fn single(&mut self, session: &Session, may_write: bool) {
        let write = may_write && self.rng.chance(1, 2);
        let sectors = self.range();
        let live = self.begin(&sectors, write);
        let window = self.shared.window();
        let offset = sectors.start * self.sector();
        if write {
            let (writing, data) = self.shared.lock().model.begin_write(sectors);
            let status = session.handle.write(offset, &data).map_or_else(|status| status, |_| 0);
            self.ended(&What::Write(writing), live, status, &[], window, false);
        } else {
            let bytes = usize::try_from((sectors.end - sectors.start) * self.sector()).unwrap_or(0);
            let odd = usize::try_from(self.rng.below(8) * 512).unwrap_or(0);
            let reading = self.shared.lock().model.begin_read(sectors);
            let (status, data) = match session.handle.read_at(offset, bytes, odd) {
                Ok(data) => (0, data),
                Err(status) => (status, Vec::new()),
            };
            self.ended(&What::Read(reading), live, status, &data, window, false);
        }
    }

    /// Tells the model how a request ended; what must not be is a failure.
    fn ended(&mut self, what: &What, live: u64, status: i32, data: &[u8], window: Window, cancelled: bool) {
        let excuses = self.shared.excuses(window);
        let mut state = self.shared.lock();
        let seen = state.end_live(live);
        let (kind, place) = match what {
            What::Read(reading) => (1, reading.sectors.start),
            What::Write(writing) => (2, writing.sectors.start),
        };
        let ended = judge(status, cancelled, excuses);
        match ended {
            Some(Ended::Refused) => state.coverage.cancels += 1,
            Some(Ended::Perhaps) if status == NtStatus::IO_DEVICE_ERROR.0 => state.coverage.device_errors += 1,
            _ => {}
        }
        let wrong = match (ended, what) {
            (Some(Ended::Done), What::Read(reading)) => {
                if seen.is_some_and(|live| live.brought_cipher) {
                    let inline = data.len() <= 16 << 10;
                    let coverage = &mut state.coverage;
                    *(if inline { &mut coverage.inline_decrypts } else { &mut coverage.worker_decrypts }) += 1;
                }
                state.model.end_read(reading, data).err()
            }
            (Some(ended), What::Write(writing)) => {
                state.model.end_write(writing, ended);
                None
            }
            (Some(_), What::Read(reading)) => {
                state.model.end_failed_read(reading);
                None
            }
            (None, _) => Some(format!("ended with {}", NtStatus(status))),
        };
        if let Some(wrong) = wrong {
            let (name, sectors) = match what {
                What::Read(reading) => ("read", reading.sectors.clone()),
                What::Write(writing) => ("write", writing.sectors.clone()),
            };
            state.failure.get_or_insert(format!("program {}: {name} of sectors {sectors:?}: {wrong}", self.me));
        }
        drop(state);
        self.shared.operation(self.me, kind, place, status);
    }

    fn refused(&mut self, status: Option<i32>, allowed: &[i32], window: Window, what: &str) -> bool {
        let excuses = self.shared.excuses(window);
        let fine = status.is_some_and(|status| allowed.contains(&status) || excused(status, excuses));
        if !fine {
            let text = status.map_or("success".to_owned(), |status| NtStatus(status).to_string());
            self.shared.fail(format!("program {}: {what} ended with {text}", self.me));
        }
        self.shared.operation(self.me, 3, 0, status.unwrap_or(0));
        status.is_some_and(|status| allowed.contains(&status))
    }

    fn misaligned(&mut self, session: &Session) {
        let window = self.shared.window();
        let sector = self.sector();
        let (offset, bytes) = if self.rng.chance(1, 2) {
            (self.rng.below(64) * sector + 1 + self.rng.below(sector - 1), sector)
        } else {
            (self.rng.below(64) * sector, sector + 1 + self.rng.below(sector - 1))
        };
        let status = session.handle.read(offset, usize::try_from(bytes).unwrap_or(0)).err();
        if self.refused(status, &[NtStatus::INVALID_PARAMETER.0], window, "a misaligned read") {
            self.shared.lock().coverage.misaligned += 1;
        }
    }

    /// A request that leaves the data region: into the metadata, or behind the volume.
    fn out_of_range(&mut self, session: &Session) {
        if !session.attached {
            return;
        }
        let window = self.shared.window();
        let sector = self.sector();
        let data = self.shared.plan.data_sectors;
        let volume = self.shared.plan.volume_bytes() / sector;
        let first = match self.rng.below(3) {
            0 => data - 1,
            1 => data + self.rng.below(volume - data),
            _ => volume + self.rng.below(1 << 20),
        };
        let bytes = usize::try_from(2 * sector).unwrap_or(0);
        let status = if self.rng.chance(1, 2) {
            session.handle.read(first * sector, bytes).err()
        } else {
            session.handle.write(first * sector, &vec![0xEE; bytes]).err()
        };
        let in_volume = first + self.shared.plan.offset_sectors() < volume;
        let by_driver = if in_volume { NtStatus::ACCESS_DENIED } else { NtStatus::INVALID_PARAMETER };
        let mut allowed = vec![by_driver.0];
        if !session.extended {
            // The file system refuses what lies behind the size that it mounted, and writes that it does not permit.
            allowed.extend([END_OF_FILE, NtStatus::ACCESS_DENIED.0]);
        } else if self.shared.plan.mounted {
            allowed.push(NtStatus::ACCESS_DENIED.0);
        }
        if self.refused(status, &allowed, window, "a request that leaves the data region") {
            self.shared.lock().coverage.out_of_range += 1;
        }
    }

    fn flush(&mut self, session: &Session) {
        let window = self.shared.window();
        if self.shared.plan.mounted {
            // That would write pages back, which is the file programs' business.
            return;
        }
        let status = session.handle.flush().err();
        let fine = status.is_none_or(|status| excused(status, self.shared.excuses(window)));
        if !fine {
            self.shared.fail(format!("program {}: a flush ended with {:?}", self.me, status.map(NtStatus)));
        }
        self.shared.operation(self.me, 4, 0, status.unwrap_or(0));
    }
}

/// How a request ended, if it may end so.
pub(super) fn judge(status: i32, cancelled: bool, excuses: Excuses) -> Option<Ended> {
    // No read and no write fails for lack of memory.
    let excuses = Excuses { short: false, ..excuses };
    match status {
        0 => Some(Ended::Done),
        status if cancelled && status == NtStatus::CANCELLED.0 => Some(Ended::Refused),
        status if excused(status, excuses) => Some(Ended::Perhaps),
        _ => None,
    }
}
