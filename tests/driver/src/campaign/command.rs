//! The program that sends commands: attach and detach in every spelling, conversion in both directions, queries.

use vck_common::NtStatus;
use vck_common::wire::{IoctlCode, VolumeRequest, VolumeStatus, decode_response, encode_request};
use vck_ntsim::user::{Access, User};

use super::shared::{Excuses, Shared, excused, sleep};
use crate::{Client, Failure, Status, VMK, WRONG_VMK, sealed_block};
use std::sync::Arc;
use vck_ntsim::core::Rng;

/// Number under which commands are traced.
const ME: u64 = 99;
const IDLE: i32 = 0;
const ENCRYPTING: i32 = 1;
const DECRYPTING: i32 = 2;
const PAUSED: i32 = 3;

/// The commander.
pub(super) struct Commander {
    pub(super) user: User<'static>,
    pub(super) shared: Arc<Shared>,
    pub(super) rng: Rng,
}

/// GET_STATUS with a message and an answer of no more than their size.
pub(super) fn status_of(client: &Client<'_>, path: &str) -> Result<Status, Failure> {
    const ROOM: usize = 512;
    let mut message = [0; ROOM];
    let request = VolumeRequest { volume_path: path };
    let length = encode_request(&request, &mut message).expect("a name of a volume is short");
    let answer = client.raw(IoctlCode::GetStatus.code(), &message[..length], ROOM)?;
    let answer: VolumeStatus<'_> = decode_response(&answer).expect("a status");
    Ok(Status {
        path: answer.volume_path.to_owned(),
        state: answer.state,
        boundary: answer.encrypted_sector,
        total: answer.total_sectors,
        attached: answer.is_attached,
        below_file_system: answer.filter_below_fsd,
    })
}

/// DETACH_ALL reports nothing; whether the volume is still attached does.
fn detach_all(client: &Client<'_>, path: &str) -> Result<(), Failure> {
    client.raw(IoctlCode::DetachAllVolumes.code(), &[], 0)?;
    let attached = status_of(client, path)?.attached;
    if attached { Err(Failure(NtStatus::SHARING_VIOLATION)) } else { Ok(()) }
}

/// The block that a seed's volume is prepared with.
pub(super) fn block(shared: &Shared) -> Vec<u8> {
    let plan = &shared.plan;
    let sectors = plan.volume_bytes() / u64::from(plan.sector_size);
    sealed_block(plan.options, plan.sector_size, sectors, 0x5A)
}

impl Commander {
    /// Sends commands until the round is over.
    pub(super) fn run(&mut self) {
        let Ok(client) = Client::open(&self.user, Access::READ_WRITE) else {
            return self.shared.fail("the control device does not open");
        };
        while !self.shared.round_over() {
            let held = {
                let mut state = self.shared.lock();
                state.commanding = !state.hold;
                state.hold
            };
            if !held {
                self.one(&client);
                self.shared.lock().commanding = false;
            }
            sleep(2_000 + self.rng.below(60_000));
        }
    }

    fn one(&mut self, client: &Client<'_>) {
        let path = self.shared.lock().path.clone();
        let Some(status) = self.query(client, &path) else { return };
        self.look(&status);
        if status.attached { self.attached(client, &path, &status) } else { self.detached(client, &path) }
    }

    /// Runs a command and checks its outcome: success, one of `allowed`, or an excuse.
    fn command<T>(
        &mut self,
        what: u64,
        name: &str,
        allowed: &[NtStatus],
        body: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, (NtStatus, Excuses)> {
        let window = self.shared.window();
        let result = body();
        let excuses = self.shared.excuses(window);
        let outcome = result.as_ref().err().map_or(0, |failure| failure.0.0);
        self.shared.operation(ME, what, 0, outcome);
        result.map_err(|Failure(status)| {
            if excuses.faulty && status == NtStatus::IO_DEVICE_ERROR {
                self.shared.lock().coverage.device_errors += 1;
            }
            // Between QUERY_REMOVE and its end a sweep takes no orders, and nobody opens the volume, so nobody locks it.
            let stopped = (excuses.stopped || excuses.removed)
                && matches!(status, NtStatus::INVALID_DEVICE_STATE | NtStatus::SHARING_VIOLATION);
            if !allowed.contains(&status) && !stopped && !excused(status.0, excuses) {
                self.shared.fail(format!("{name} ended with {status}"));
            }
            (status, excuses)
        })
    }

    fn query(&mut self, client: &Client<'_>, path: &str) -> Option<Status> {
        let status = self.command(10, "GET_STATUS", &[], || status_of(client, path)).ok();
        if self.rng.chance(1, 8) {
            let listed = self.command(11, "LIST_VOLUMES", &[], || client.list()).ok();
            let both = status.as_ref().zip(listed);
            if let Some((status, listed)) = both
                && listed.is_empty() == status.attached
                && self.shared.lock().generation == 0
            {
                self.shared.fail(format!("LIST has {listed:?}, STATUS says attached: {}", status.attached));
            }
        }
        status
    }

    /// Takes note of what a status shows.
    fn look(&mut self, status: &Status) {
        let mut state = self.shared.lock();
        state.life.attached = status.attached;
        if !status.attached {
            state.life.running = None;
            return;
        }
        state.life.boundary = status.boundary;
        let Some(to_cipher) = state.life.running else { return };
        let disturbed = state.disturbances() != state.life.undisturbed;
        let end = if to_cipher { status.total } else { 0 };
        match status.state {
            IDLE if status.boundary == end => {
                state.life.running = None;
                let coverage = &mut state.coverage;
                *(if to_cipher { &mut coverage.encrypted } else { &mut coverage.decrypted }) += 1;
            }
            IDLE | PAUSED if !disturbed => {
                let text = format!("a conversion stopped by itself: {status:?}");
                state.failure.get_or_insert(text);
            }
            ENCRYPTING if !to_cipher => {
                state.failure.get_or_insert("it encrypts after START_DECRYPT".to_owned());
            }
            DECRYPTING if to_cipher => {
                state.failure.get_or_insert("it decrypts after START_ENCRYPT".to_owned());
            }
            _ => {}
        }
    }

    fn detached(&mut self, client: &Client<'_>, path: &str) {
        let life = self.shared.lock().life;
        match self.rng.below(8) {
            0 | 1 if life.prepared => {
                let refused =
                    self.command(12, "a wrong key", &[NtStatus::WRONG_PASSWORD], || client.reattach(path, &WRONG_VMK));
                match refused {
                    Err((NtStatus::WRONG_PASSWORD, _)) => self.shared.lock().coverage.wrong_keys += 1,
                    Err(_) => {}
                    Ok(_) => self.shared.fail("a wrong key was accepted"),
                }
            }
            2 if life.rewritten => self.prepare_again(client, path, &[NtStatus::OBJECTID_EXISTS]),
            _ => self.attach(client, path),
        }
    }

    /// A prepare with a block that must be refused.
    fn prepare_again(&mut self, client: &Client<'_>, path: &str, expected: &[NtStatus]) {
        let (block, options) = (block(&self.shared), self.shared.plan.options);
        let allowed = [expected, &[NtStatus::SHARING_VIOLATION]].concat();
        match self.command(13, "a second PREPARE", &allowed, || client.prepare(path, options, &VMK, &block)) {
            Err((status, _)) if expected.contains(&status) => self.shared.lock().coverage.second_prepares += 1,
            Err(_) => {}
            Ok(_) => self.shared.fail("a second PREPARE was accepted"),
        }
    }

    fn attach(&mut self, client: &Client<'_>, path: &str) {
        let life = self.shared.lock().life;
        let quiet = self.rng.chance(3, 4);
        let alone = quiet && self.shared.quieten();
        let in_use: &[NtStatus] = if alone { &[] } else { &[NtStatus::SHARING_VIOLATION] };
        let sessions = self.shared.lock().sessions;
        if life.prepared {
            if self.command(14, "re-attach", in_use, || client.reattach(path, &VMK)).is_ok() {
                let mut state = self.shared.lock();
                state.coverage.reattaches += 1;
                state.life.attached = true;
                state.life.running = None;
            }
        } else {
            self.first_prepare(client, path, in_use, sessions);
        }
        if quiet {
            self.shared.loud(alone);
        }
    }

    fn first_prepare(&mut self, client: &Client<'_>, path: &str, in_use: &[NtStatus], sessions: u64) {
        let (block, options) = (block(&self.shared), self.shared.plan.options);
        let provisional = self.rng.chance(1, 3);
        let vmk: &[u8] = if provisional { &[] } else { &VMK };
        // After a prepare that failed on the device the block may be there: another one of the same volume.
        let done = self.command(15, "PREPARE", in_use, || client.prepare(path, options, vmk, &block));
        let Ok(done) = done else { return };
        let wrong = done.data != self.shared.plan.data_sectors || done.offset != self.shared.plan.offset_sectors();
        if wrong || done.complete == provisional {
            self.shared.fail(format!("PREPARE answers {done:?}"));
        }
        let mut state = self.shared.lock();
        state.life.prepared = true;
        state.life.attached = true;
        state.life.provisional = provisional;
        state.coverage.live_prepares += u64::from(sessions > 0);
    }

    fn attached(&mut self, client: &Client<'_>, path: &str, status: &Status) {
        if self.shared.lock().life.provisional {
            return self.finish_attach(client, path);
        }
        match self.rng.below(20) {
            0..=4 => self.start(client, path, true, status),
            5..=8 => self.start(client, path, false, status),
            9 | 10 => self.pause(client, path, status),
            11..=13 => self.detach(client, path),
            14 => self.prepare_again(client, path, &[NtStatus::OBJECT_NAME_COLLISION]),
            15 => self.progress(client, path),
            _ => self.wait(client, path),
        }
    }

    fn finish_attach(&mut self, client: &Client<'_>, path: &str) {
        if self.rng.chance(1, 3) {
            let refused = [NtStatus::INVALID_DEVICE_STATE];
            if self.command(16, "START without a key", &refused, || client.encrypt(path)).is_ok() {
                self.shared.fail("START was accepted without a key");
            }
            return;
        }
        if self.rng.chance(1, 4) {
            let refused = self.command(17, "ATTACH with a wrong key", &[NtStatus::WRONG_PASSWORD], || {
                client.attach(path, &WRONG_VMK)
            });
            match refused {
                Err((NtStatus::WRONG_PASSWORD, _)) => self.shared.lock().coverage.wrong_keys += 1,
                Err(_) => {}
                Ok(()) => self.shared.fail("a wrong key was accepted"),
            }
            return;
        }
        let headers = self.shared.plan.offset_sectors() > 0;
        let alone = self.shared.quieten();
        let in_use: &[NtStatus] = if headers && !alone { &[NtStatus::SHARING_VIOLATION] } else { &[] };
        if self.command(18, "ATTACH", in_use, || client.attach(path, &VMK)).is_ok() {
            let mut state = self.shared.lock();
            state.life.provisional = false;
            state.coverage.provisional += 1;
        }
        self.shared.loud(alone);
    }

    fn start(&mut self, client: &Client<'_>, path: &str, to_cipher: bool, status: &Status) {
        let undisturbed = {
            let mut state = self.shared.lock();
            state.life.ever_started = true;
            state.disturbances()
        };
        let started =
            self.command(19, "START", &[], || if to_cipher { client.encrypt(path) } else { client.decrypt(path) });
        let turned = status.state == if to_cipher { DECRYPTING } else { ENCRYPTING };
        let mut state = self.shared.lock();
        match started {
            Ok(()) => {
                state.life.rewritten = true;
                state.life.running = Some(to_cipher);
                state.life.undisturbed = undisturbed;
                state.coverage.turns += u64::from(turned && status.boundary > 0 && status.boundary < status.total);
            }
            // The sweep is what it was; what it was is not worth following.
            Err(_) => state.life.running = None,
        }
    }

    fn pause(&mut self, client: &Client<'_>, path: &str, before: &Status) {
        if self.command(20, "PAUSE", &[], || client.pause(path)).is_err() {
            return;
        }
        let window = self.shared.window();
        let Some(after) = self.query(client, path) else { return };
        let removed = self.shared.excuses(window).removed;
        if matches!(after.state, ENCRYPTING | DECRYPTING) && !removed {
            self.shared.fail(format!("PAUSE was answered while it runs: {after:?}"));
        }
        let mut state = self.shared.lock();
        state.life.boundary = after.boundary;
        let ran = matches!(before.state, ENCRYPTING | DECRYPTING);
        state.coverage.pauses += u64::from(ran && after.state == PAUSED);
        state.life.running = None;
    }

    fn detach(&mut self, client: &Client<'_>, path: &str) {
        let quiet = self.rng.chance(1, 2);
        let alone = quiet && self.shared.quieten();
        let all = alone && self.rng.chance(1, 6);
        let strict = alone && !all;
        let in_use: &[NtStatus] = if strict { &[] } else { &[NtStatus::SHARING_VIOLATION, NtStatus::ACCESS_DENIED] };
        let done =
            self.command(21, "DETACH", in_use, || if all { detach_all(client, path) } else { client.detach(path) });
        let mut state = self.shared.lock();
        match done {
            Ok(()) => {
                state.coverage.detaches += 1;
                state.life.attached = false;
                state.life.running = None;
                state.life.provisional = false;
            }
            Err((_, excuses)) if all => {
                let Excuses { removed, faulty, short, stopped } = excuses;
                if !(removed || faulty || short || stopped) {
                    state.failure.get_or_insert("DETACH_ALL left a volume that nobody uses".to_owned());
                }
            }
            Err((NtStatus::SHARING_VIOLATION, _)) => state.coverage.detaches_refused += 1,
            Err(_) => {}
        }
        drop(state);
        if quiet {
            self.shared.loud(alone);
        }
    }

    fn progress(&mut self, client: &Client<'_>, path: &str) {
        if let Ok((_, boundary, _)) = self.command(22, "GET_PROGRESS", &[], || client.progress(path)) {
            self.shared.lock().life.boundary = boundary;
        }
    }

    /// Lets the conversion go on for a while.
    fn wait(&mut self, client: &Client<'_>, path: &str) {
        let long = self.rng.chance(1, 3);
        for _ in 0..if long { 200 } else { 10 } {
            sleep(20_000);
            if self.shared.round_over() || self.shared.lock().hold {
                return;
            }
            let Some(status) = status_of(client, path).ok() else { return };
            self.look(&status);
            if !matches!(status.state, ENCRYPTING | DECRYPTING) {
                return;
            }
        }
    }
}
