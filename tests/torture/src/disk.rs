//! A device with a volatile write cache, numbered events, and faults.
//!
//! # What it promises and what not
//! * A flush makes everything acknowledged before it durable. Nothing else does, apart from a write that asks for it.
//! * Reads see the newest acknowledged write.
//! * A flush that fails makes nothing durable; with a lossy fault it loses writes besides, and a later one knows nothing of it.
//! * A write that fails has stored any of its sectors and not the others. A sector that is bad for good stores nothing.
//! * A trimmed sector shows something else at every read until it is written.

use vck_common::{Durability, NtStatus, SectorSize};

use crate::fault::{Fault, Faults};
use crate::image::{Image, Sector};
use crate::rng::{Rng, mix};

/// What an event did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A read.
    Read,
    /// A write.
    Write,
    /// A flush.
    Flush,
    /// A trim.
    Trim,
}

/// One call of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub op: Op,
    /// First sector.
    pub lba: u64,
    /// Sectors.
    pub count: u64,
    /// Whether it came from a user and not from the conversion.
    pub user: bool,
}

/// A sector in the cache that is not yet durable.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Where.
    pub lba: u64,
    /// What.
    pub value: Sector,
    /// The number of the write that it was part of.
    pub write: u32,
}

/// What the power cut finds: the durable image, and unflushed sectors in the order in which they were written.
#[derive(Clone, Debug)]
pub struct Medium {
    /// What survives in any case.
    pub durable: Image,
    /// What may survive.
    pub pending: Vec<Pending>,
}

/// A failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// As the device reports it.
    pub status: NtStatus,
    /// The sector, if the device knows it.
    pub lba: Option<u64>,
}

/// The device.
pub struct Disk {
    medium: Medium,
    /// What reads see.
    current: Image,
    events: Vec<Event>,
    faults: Faults,
    /// Calls that failed since each fault was set.
    failed: [u32; 2],
    noise: Rng,
}

impl Disk {
    /// A device that holds `image`, durably.
    #[must_use]
    pub fn new(image: Image, seed: u64) -> Self {
        let medium = Medium { durable: image.clone(), pending: Vec::new() };
        Self { medium, current: image, events: Vec::new(), faults: Faults::NONE, failed: [0; 2], noise: Rng::new(seed) }
    }

    /// Sets what fails.
    pub const fn set_faults(&mut self, faults: Faults) {
        (self.faults, self.failed) = (faults, [0; 2]);
    }

    /// Sets what fails for the trouble at `place`; what the other one has done so far counts on.
    pub const fn set_fault(&mut self, place: usize, fault: Fault) {
        self.faults = self.faults.with(place, fault);
        self.failed[place] = 0;
    }

    /// What fails.
    #[must_use]
    pub const fn faults(&self) -> Faults {
        self.faults
    }

    /// What a power cut would find now.
    #[must_use]
    pub const fn medium(&self) -> &Medium {
        &self.medium
    }

    /// What reads see.
    #[must_use]
    pub const fn current(&self) -> &Image {
        &self.current
    }

    /// All calls so far, in order.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    fn size(&self) -> SectorSize {
        self.current.size()
    }

    fn count(&self, bytes: usize) -> u64 {
        (bytes / self.size().usize()) as u64
    }

    /// Numbers a call and says whether it fails.
    fn begin(&mut self, event: Event) -> Result<u32, Failed> {
        let number = u32::try_from(self.events.len()).expect("few events");
        self.events.push(event);
        if !self.faults.hit(number, event, &mut self.failed) {
            return Ok(number);
        }
        let status = if event.op == Op::Read { NtStatus::DEVICE_DATA_ERROR } else { NtStatus::IO_DEVICE_ERROR };
        Err(Failed { status, lba: self.faults.named(number, event) })
    }

    /// Reads whole sectors.
    ///
    /// # Errors
    /// As the fault says.
    pub fn read(&mut self, lba: u64, out: &mut [u8], user: bool) -> Result<(), Failed> {
        let number = self.begin(Event { op: Op::Read, lba, count: self.count(out.len()), user })?;
        let noise = self.noise.part(u64::from(number)).next();
        self.current.read(lba, out, noise);
        Ok(())
    }

    /// Writes whole sectors.
    ///
    /// # Errors
    /// As the fault says; then any of the sectors are stored.
    pub fn write(&mut self, lba: u64, bytes: &[u8], durability: Durability, user: bool) -> Result<(), Failed> {
        let begun = self.begin(Event { op: Op::Write, lba, count: self.count(bytes.len()), user });
        let write = u32::try_from(self.events.len()).expect("few events");
        let mut luck = self.noise.part(mix(u64::from(write)));
        let mut stored = self.current.clone();
        stored.write(lba, bytes);
        for sector in lba..lba + self.count(bytes.len()) {
            let value = stored.sector(sector).clone();
            match (&begun, durability) {
                (Err(_), _) if self.faults.refuses_writes_to(sector) || luck.chance(1, 2) => continue,
                (Err(_), _) | (Ok(_), Durability::AtNextFlush) => {
                    self.medium.pending.push(Pending { lba: sector, value: value.clone(), write });
                }
                (Ok(_), Durability::OnReturn) => {
                    self.medium.pending.retain(|pending| pending.lba != sector);
                    self.medium.durable.put(sector, value.clone());
                }
            }
            self.current.put(sector, value);
        }
        begun.map(|_| ())
    }

    /// Makes sectors unstable.
    ///
    /// # Errors
    /// As the fault says; nothing is trimmed then.
    pub fn trim(&mut self, lba: u64, count: u64) -> Result<(), Failed> {
        let write = self.begin(Event { op: Op::Trim, lba, count, user: true })?;
        for sector in lba..lba + count {
            self.current.put(sector, Sector::Unstable);
            self.medium.pending.push(Pending { lba: sector, value: Sector::Unstable, write });
        }
        Ok(())
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// As the fault says; nothing is made durable then.
    pub fn flush(&mut self, user: bool) -> Result<(), Failed> {
        let begun = self.begin(Event { op: Op::Flush, lba: 0, count: 0, user });
        if begun.is_err() && self.faults.is_lossy() {
            self.lose();
        }
        begun?;
        for pending in self.medium.pending.drain(..) {
            self.medium.durable.put(pending.lba, pending.value);
        }
        Ok(())
    }
}

impl Disk {
    /// Drops any of the writes in the cache. What reads see of those sectors is what is left.
    fn lose(&mut self) {
        let mut luck = self.noise.part(mix(self.events.len() as u64));
        let odds = luck.between(1, 8);
        let (kept, lost): (Vec<_>, Vec<_>) = self.medium.pending.drain(..).partition(|_| !luck.chance(odds, 8));
        for pending in &lost {
            self.current.put(pending.lba, self.medium.durable.sector(pending.lba).clone());
        }
        for pending in &kept {
            self.current.put(pending.lba, pending.value.clone());
        }
        self.medium.pending = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Sectors;

    fn disk() -> Disk {
        Disk::new(Image::new(SectorSize::S512, 64), 1)
    }

    fn shows(image: &Image, lba: u64) -> u8 {
        let mut bytes = [0; 512];
        image.read(lba, &mut bytes, 0);
        bytes[0]
    }

    #[test]
    fn only_a_flush_makes_a_write_durable() {
        let mut disk = disk();
        disk.write(3, &[7; 1024], Durability::AtNextFlush, false).unwrap();
        assert_eq!((shows(disk.current(), 4), shows(&disk.medium().durable, 4)), (7, 0));
        assert_eq!(disk.medium().pending.len(), 2);
        disk.flush(false).unwrap();
        assert_eq!(shows(&disk.medium().durable, 4), 7);
        assert!(disk.medium().pending.is_empty());
        disk.write(4, &[8; 512], Durability::OnReturn, false).unwrap();
        assert_eq!(shows(&disk.medium().durable, 4), 8);
    }

    #[test]
    fn a_flush_that_fails_makes_nothing_durable() {
        let mut disk = disk();
        disk.write(3, &[7; 512], Durability::AtNextFlush, false).unwrap();
        disk.set_fault(0, Fault::Once(1));
        assert!(disk.flush(false).is_err());
        assert_eq!(disk.medium().pending.len(), 1);
        disk.flush(false).unwrap();
        assert!(disk.medium().pending.is_empty());
    }

    #[test]
    fn a_flush_may_lose_what_it_fails_to_make_durable() {
        let mut disk = disk();
        disk.write(3, &[6; 512], Durability::AtNextFlush, false).unwrap();
        disk.flush(false).unwrap();
        disk.write(0, &[7; 32 * 512], Durability::AtNextFlush, false).unwrap();
        disk.set_fault(0, Fault::Lossy { from: 0, times: 1 });
        assert!(disk.flush(false).is_err());
        let left = disk.medium().pending.len();
        assert!(left < 32);
        let seen = (0..32).filter(|&lba| shows(disk.current(), lba) == 7).count();
        assert_eq!(seen, left, "reads see what is left");
        assert!(matches!(shows(disk.current(), 3), 6 | 7));
        disk.flush(false).unwrap();
        assert_eq!((0..32).filter(|&lba| shows(&disk.medium().durable, lba) == 7).count(), left);
    }

    #[test]
    fn a_write_that_fails_stores_some_of_its_sectors_and_never_a_bad_one() {
        let mut disk = disk();
        disk.set_fault(0, Fault::Bad { reads: Sectors::NONE, writes: Sectors::of(&[9]), from: 0 });
        let failed = disk.write(0, &[5; 32 * 512], Durability::AtNextFlush, false).unwrap_err();
        assert_eq!(failed.lba, Some(9));
        let stored = (0..32).filter(|&lba| shows(disk.current(), lba) == 5).count();
        assert!((1..31).contains(&stored));
        assert_eq!(shows(disk.current(), 9), 0);
        disk.write(10, &[6; 512], Durability::AtNextFlush, false).unwrap();
    }

    #[test]
    fn a_trimmed_sector_is_unstable_until_it_is_written() {
        let mut disk = disk();
        disk.trim(5, 1).unwrap();
        let (mut first, mut second) = ([0; 512], [0; 512]);
        disk.read(5, &mut first, false).unwrap();
        disk.read(5, &mut second, false).unwrap();
        assert_ne!(first, second);
        disk.write(5, &[1; 512], Durability::AtNextFlush, false).unwrap();
        disk.read(5, &mut first, false).unwrap();
        assert_eq!(first, [1; 512]);
    }
}
