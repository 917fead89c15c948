//! Users of the volume while it is converted: they read, write, trim and flush wherever the gate lets them.
//!
//! A request is classified with the boundary that was published when it was admitted, and may take effect later: a zone
//! is drained by letting every admitted request in it take effect. One that meets a closed zone waits for it to open; one
//! that meets a fence fails.

use vck_common::{DataExtent, DataSector, Durability, SectorCount};

use crate::machine::{Watch, World};
use crate::model::Version;
use crate::rng::Rng;

/// Requests that may wait at a time.
const WAITING: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Trim,
    Flush,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    kind: Kind,
    extent: DataExtent,
}

/// An admitted request.
#[derive(Clone, Copy, Debug)]
struct Flying {
    request: Request,
    boundary: u64,
    /// Calls of the conversion until it takes effect.
    delay: u64,
}

/// What users do.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// They trim.
    pub trim: bool,
    /// They flush often.
    pub flush: bool,
    /// They write whole physical sectors, as file systems do. What half a one costs the other half is theirs otherwise.
    pub write_whole: bool,
}

/// Sectors of 512 bytes in a physical one.
const WHOLE: u64 = 8;

impl Habits {
    /// What they write where they write something in `extent`.
    pub(crate) fn written(self, extent: DataExtent, sectors: u64) -> DataExtent {
        let (first, end) = (extent.first.get(), extent.first.get() + extent.count.get());
        if !self.write_whole {
            return extent;
        }
        let first = first / WHOLE * WHOLE;
        DataExtent::new(DataSector::new(first), SectorCount::new(end.next_multiple_of(WHOLE).min(sectors) - first))
    }
}

/// The users.
pub struct Users {
    rng: Rng,
    /// Requests per 16 calls of the conversion.
    rate: u64,
    habits: Habits,
    /// How often they still choose a damaged sector.
    heals: u32,
    flying: Vec<Flying>,
    waiting: Vec<Request>,
}

impl Users {
    /// Users that send `rate` requests per 16 calls of the conversion.
    #[must_use]
    pub const fn new(rng: Rng, rate: u64, habits: Habits) -> Self {
        Self { rng, rate, habits, heals: 12, flying: Vec::new(), waiting: Vec::new() }
    }

    /// How many wait.
    pub(crate) const fn waiting(&self) -> u64 {
        self.waiting.len() as u64
    }

    fn request(&mut self, sectors: u64) -> Request {
        let kind = match self.rng.below(16) {
            9..=10 => Kind::Read,
            11..=12 if !self.habits.flush => Kind::Read,
            13..=14 if self.habits.trim => Kind::Trim,
            11..=14 if self.habits.flush => Kind::Flush,
            15 => Kind::Flush,
            _ => Kind::Write,
        };
        let first = self.rng.below(sectors);
        let count = self.rng.between(1, 5).min(sectors - first);
        Request { kind, extent: DataExtent::new(DataSector::new(first), SectorCount::new(count)) }
    }
}

impl World {
    /// What users do between two calls of the conversion.
    pub(crate) fn users_act(&mut self) {
        let Some(mut users) = self.users.take() else { return };
        let mut landed = Vec::new();
        users.flying.retain_mut(|flying| {
            flying.delay = flying.delay.saturating_sub(1);
            if flying.delay == 0 {
                landed.push(*flying);
            }
            flying.delay > 0
        });
        for flying in &landed {
            self.take_effect(flying);
        }
        while users.rng.chance(users.rate, 16) {
            let mut request = users.request(self.geometry.data_sectors().get());
            // A damaged sector is written again sooner or later, also while it is being converted around.
            // Not for ever: one that takes writes and shows none would be listed and written until the end of time.
            let heals = users.heals > 0 && users.rng.chance(1, 4);
            if request.kind == Kind::Write && !self.shields.is_empty() && heals {
                users.heals -= 1;
                let damaged = self.shields[usize::try_from(users.rng.below(self.shields.len() as u64)).expect("few")];
                request.extent = DataExtent::new(DataSector::new(damaged), SectorCount::new(1));
            }
            if request.kind != Kind::Read {
                request.extent = users.habits.written(request.extent, self.geometry.data_sectors().get());
            }
            self.submit(&mut users, request);
        }
        self.users = Some(users);
    }

    /// Lets the requests that were admitted to `zone` take effect.
    pub(crate) fn drain(&mut self, zone: DataExtent) {
        let Some(mut users) = self.users.take() else { return };
        let (inside, outside) = users.flying.iter().partition(|flying| flying.request.extent.overlaps(zone));
        users.flying = outside;
        let inside: Vec<Flying> = inside;
        for flying in &inside {
            self.take_effect(flying);
        }
        self.users = Some(users);
    }

    /// Whether an admitted request is in `zone`.
    pub(crate) fn is_in_use(&self, zone: DataExtent) -> bool {
        let users = self.users.as_ref();
        users.is_some_and(|users| users.flying.iter().any(|flying| flying.request.extent.overlaps(zone)))
    }

    /// The volume is detached: what was admitted takes effect, what waits fails. They come back with what is returned.
    pub(crate) fn users_leave(&mut self) -> Option<Users> {
        self.drain(DataExtent::new(DataSector::ZERO, self.geometry.data_sectors()));
        let mut users = self.users.take();
        if let Some(users) = &mut users {
            users.waiting.clear();
        }
        users
    }

    /// Remembers whether a write to `zone` is under way, and from here on whether one is admitted.
    pub(crate) fn watch_writes(&mut self, zone: DataExtent, is_late: bool) {
        let writes = |flying: &Flying| flying.request.kind != Kind::Read && flying.request.extent.overlaps(zone);
        let touched = self.users.as_ref().is_some_and(|users| users.flying.iter().any(writes));
        self.watched = Some(Watch { zone, touched: touched && !is_late, is_late });
    }

    /// Tries the requests that wait.
    pub(crate) fn users_retry(&mut self) {
        let Some(mut users) = self.users.take() else { return };
        for request in std::mem::take(&mut users.waiting) {
            self.submit(&mut users, request);
        }
        self.users = Some(users);
    }

    fn submit(&mut self, users: &mut Users, request: Request) {
        if request.kind == Kind::Flush {
            // A user that is told of a failure knows that nothing is settled; so does the model.
            let _result = self.really_flush(true);
            return;
        }
        let extent = request.extent;
        let shut = |zone: &DataExtent| zone.overlaps(extent) && self.early != Some(*zone);
        if self.hold.is_on || self.closed.iter().any(shut) {
            if users.waiting.len() < WAITING {
                users.waiting.push(request);
            }
            return;
        }
        if self.fences.iter().any(|(fence, _)| fence.overlaps(extent)) {
            return;
        }
        if request.kind != Kind::Read {
            let watch = self.watched.iter_mut().filter(|watch| watch.zone.overlaps(extent));
            watch.for_each(|watch| watch.touched |= !watch.is_late);
        }
        let delay = users.rng.below(5);
        let flying = Flying { request, boundary: self.published, delay };
        // The order of two requests to one sector is the users' business: these do not overlap their own.
        if users.flying.iter().any(|other| other.request.extent.overlaps(extent)) {
            return;
        }
        if delay == 0 {
            self.take_effect(&flying);
        } else {
            users.flying.push(flying);
        }
    }

    fn take_effect(&mut self, flying: &Flying) {
        let extent = flying.request.extent;
        match flying.request.kind {
            Kind::Read => self.user_reads(extent, flying.boundary),
            Kind::Write => self.user_writes(extent, flying.boundary),
            Kind::Trim => self.user_trims(extent),
            Kind::Flush => {}
        }
    }

    fn user_reads(&mut self, extent: DataExtent, boundary: u64) {
        let size = self.geometry.sector_size();
        let first = extent.first.get();
        let mut bytes = vec![0; size.usize() * usize::try_from(extent.count.get()).expect("small")];
        let lba = self.geometry.offset_sector().get() + first;
        let shielded = self.shields.iter().any(|&sector| extent.contains(DataSector::new(sector)));
        if shielded || self.disk.read(lba, &mut bytes, true).is_err() {
            return;
        }
        let mut expected = vec![0; size.usize()];
        for (sector, bytes) in (first..).zip(bytes.chunks_mut(size.usize())) {
            if sector < boundary {
                self.cipher.decrypt_area(bytes, size, DataSector::new(sector));
            }
            let Some(version) = self.model.newest(sector) else { continue };
            self.model.contents(sector, version, &mut expected);
            if bytes != expected {
                self.complain(|| format!("a user reads wrong contents of data sector {sector}, boundary {boundary}"));
            }
        }
    }

    pub(crate) fn user_writes(&mut self, extent: DataExtent, boundary: u64) {
        let size = self.geometry.sector_size();
        let first = extent.first.get();
        let mut bytes = vec![0; size.usize() * usize::try_from(extent.count.get()).expect("small")];
        let version = self.model.next_version();
        for (sector, bytes) in (first..).zip(bytes.chunks_mut(size.usize())) {
            self.model.contents(sector, version, bytes);
            if sector < boundary {
                self.cipher.encrypt_area(bytes, size, DataSector::new(sector));
            }
        }
        let lba = self.geometry.offset_sector().get() + first;
        let result = self.disk.write(lba, &bytes, Durability::AtNextFlush, true);
        for sector in first..first + extent.count.get() {
            match result {
                Ok(()) => {
                    self.model.acknowledged(sector, Version::Number(version));
                    self.shields.retain(|shielded| *shielded != sector);
                }
                Err(_) => self.model.failed(sector, Version::Number(version)),
            }
        }
        self.record();
    }

    fn user_trims(&mut self, extent: DataExtent) {
        let first = extent.first.get();
        let lba = self.geometry.offset_sector().get() + first;
        if self.disk.trim(lba, extent.count.get()).is_ok() {
            let trimmed = first..first + extent.count.get();
            trimmed.for_each(|sector| self.model.acknowledged(sector, Version::Anything));
        }
        self.record();
    }
}
