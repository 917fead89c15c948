//! A prepared volume with its engine, and what its user believes is on it.
use std::sync::Arc;
use std::vec::Vec;
use std::{assert, assert_eq, vec};

use vck_common::jvck::{JvckCbcCodec, JvckMetadataOptions, JvckMetadataStore, JvckSecrets};
use vck_common::{
    Activity, ByteLen, ConversionJournal, DataSector, EncryptedOffsetStore, Geometry, Secret, SectorIo, SectorSize,
    VckResult, VolumeCipher, VolumeState, XtsVolumeCipher,
};

use super::world::{Interloper, World};
use crate::engine::{BadSectors, Command, ConversionPolicy, Opening, Pace, Parts, Site, State, Step, Sweep, recover};

const VMK: [u8; 32] = [0x5A; 32];

/// A prepared volume with one header and one footer, its sweep, and what a user believes is on it.
pub(super) struct Rig {
    pub(super) world: Arc<World>,
    pub(super) geometry: Geometry,
    pub(super) cipher: XtsVolumeCipher,
    pub(super) store: JvckMetadataStore<Arc<World>>,
    pub(super) sweep: Sweep,
    pub(super) plaintext: Vec<u8>,
    policy: ConversionPolicy,
    pub(super) journaled: bool,
    /// What the conversion was doing when the volume was opened.
    pub(super) activity: Activity,
}

const KEYS: [[u8; 32]; 2] = {
    let mut keys = [[0; 32]; 2];
    let mut index = 0;
    while index < 32 {
        keys[0][index as usize] = index;
        keys[1][index as usize] = index + 32;
        index += 1;
    }
    keys
};

fn secrets() -> JvckSecrets {
    JvckSecrets { fvek_key1: Secret::copy_from(&KEYS[0]), fvek_key2: Secret::copy_from(&KEYS[1]) }
}

/// Steps of `batch` sectors. No journal is accepted, for the rigs without one.
pub(super) fn policy(size: SectorSize, batch: u64) -> ConversionPolicy {
    let step = ByteLen::new(batch * size.u64());
    ConversionPolicy {
        smallest_step: step,
        largest_step: step,
        accept_no_journal: true,
        pace: Pace::Full,
        ..ConversionPolicy::default()
    }
}

impl Rig {
    /// `data` sectors, `batch` of them converted by one step, without a journal.
    pub(super) fn bare(size: SectorSize, data: u64, batch: u64) -> Self {
        Self::with(size, data, policy(size, batch), false)
    }

    /// The same with one.
    pub(super) fn journaled(size: SectorSize, data: u64, batch: u64) -> Self {
        Self::with(size, data, policy(size, batch), true)
    }

    /// With a journal, and with all metadata at the end.
    pub(super) fn footed(size: SectorSize, data: u64, batch: u64) -> Self {
        let options = JvckMetadataOptions { use_header: 0, use_footer: 2, ..JvckMetadataOptions::default() };
        Self::placed(size, data, policy(size, batch), true, options)
    }

    pub(super) fn with(size: SectorSize, data: u64, policy: ConversionPolicy, journaled: bool) -> Self {
        let options = JvckMetadataOptions { use_header: 1, use_footer: 1, ..JvckMetadataOptions::default() };
        Self::placed(size, data, policy, journaled, options)
    }

    fn placed(
        size: SectorSize,
        data: u64,
        policy: ConversionPolicy,
        journaled: bool,
        options: JvckMetadataOptions,
    ) -> Self {
        let replica = u64::from(options.metadata_size) / size.u64();
        let len = usize::try_from(data + 2 * replica).unwrap() * size.usize();
        let world = World::new(size, vec![0; len]);
        let store =
            JvckMetadataStore::create(Arc::clone(&world), &VMK, &options, secrets(), [7; 16], JvckCbcCodec, &*world)
                .unwrap();
        let geometry = *store.geometry();
        let mut plaintext = Vec::new();
        for sector in 0..data {
            let lba = sector + replica;
            plaintext.extend((0..size.u64()).map(|i| ((31 * lba + 7 * i + (lba >> 8)) & 0xFF).to_le_bytes()[0]));
        }
        world.scribble(geometry.offset_sector(), &plaintext);
        Self::open(&world, store, policy, journaled, plaintext).unwrap()
    }

    /// Attaches: opens the journal, recovers, makes the sweep.
    fn open(
        world: &Arc<World>,
        store: JvckMetadataStore<Arc<World>>,
        policy: ConversionPolicy,
        journaled: bool,
        plaintext: Vec<u8>,
    ) -> VckResult<Self> {
        let geometry = *store.geometry();
        let cipher = XtsVolumeCipher::new(&KEYS[0], &KEYS[1]).unwrap();
        let mut journal = if journaled { store.journal()? } else { None };
        let bad_sectors = policy.bad_sectors;
        let site =
            Site { io: world, cipher: &cipher, store: &store, random: &**world, geometry: &geometry, bad_sectors };
        let opening = recover(&site, &mut journal)?;
        world.begin(opening.boundary, opening.damaged.as_slice().iter().map(|damaged| damaged.sector).collect());
        let activity = opening.activity;
        let sweep = Sweep::new(geometry, opening, journal, policy)?;
        world.begin_fenced(sweep.fenced());
        let world = Arc::clone(world);
        Ok(Self { world, geometry, cipher, store, sweep, plaintext, policy, journaled, activity })
    }

    /// The same volume with another policy from the next attach on.
    pub(super) fn with_bad_sectors(mut self, bad_sectors: BadSectors) -> Self {
        self.policy.bad_sectors = bad_sectors;
        self
    }

    /// A machine that starts with `image` on its disk, attaches the volume and believes that it should hold what this one
    /// believes.
    pub(super) fn reboot(&self, image: Vec<u8>) -> VckResult<Self> {
        self.reboot_on(&World::new(self.geometry.sector_size(), image))
    }

    /// The same on a device that may fail.
    pub(super) fn reboot_on(&self, world: &Arc<World>) -> VckResult<Self> {
        let store = JvckMetadataStore::open(Arc::clone(world), &VMK)?;
        Self::open(world, store, self.policy, self.journaled, self.plaintext.clone())
    }

    /// Opens the volume without touching it: what [`recover`] starts from.
    pub(super) fn examine(&self, image: Vec<u8>) -> Opening {
        let world = World::new(self.geometry.sector_size(), image);
        let store = JvckMetadataStore::open(Arc::clone(&world), &VMK).unwrap();
        let mut journal: Option<std::boxed::Box<dyn ConversionJournal>> =
            if self.journaled { store.journal().unwrap() } else { None };
        let (random, bad_sectors) = (&*world, self.policy.bad_sectors);
        let site =
            Site { io: &world, cipher: &self.cipher, store: &store, random, geometry: &self.geometry, bad_sectors };
        Opening::examine(&site, &mut journal).unwrap()
    }

    pub(super) fn command(&mut self, command: Command) -> VckResult<()> {
        let parts = parts(&self.world, &self.cipher, &self.store);
        self.sweep.command(&parts, command)
    }

    /// A step, and the rest after it.
    pub(super) fn step(&mut self) -> Step {
        let parts = parts(&self.world, &self.cipher, &self.store);
        let step = self.sweep.step(&parts);
        if let Step::Rest(rest) = step {
            self.world.pass(rest);
        }
        step
    }

    pub(super) fn sweep_settle(&mut self) {
        let parts = parts(&self.world, &self.cipher, &self.store);
        self.sweep.settle(&parts);
    }

    /// A user's flush.
    pub(super) fn flush(&self) {
        SectorIo::flush(&*self.world).unwrap();
    }

    pub(super) fn state(&self) -> State {
        self.sweep.snapshot().state
    }

    /// Steps until there is nothing to do, checking the volume after each; the number of pauses.
    pub(super) fn run(&mut self) -> u32 {
        let mut pauses = 0;
        loop {
            let step = self.step();
            self.check();
            match step {
                Step::Worked | Step::Rest(_) => self.check_durable(),
                Step::Idle => {
                    assert!(self.world.is_all_open(), "nothing to do, and a zone is closed");
                    return pauses;
                }
                Step::RetryAfter(pause) => {
                    assert!(!pause.is_zero());
                    pauses += 1;
                    assert!(pauses < 100, "the sweep never gives up");
                }
            }
        }
    }

    /// Every sector that a user may reach is what the published boundary says, and its plaintext is the model's.
    pub(super) fn check(&self) {
        assert_eq!(self.sweep.snapshot().boundary, self.world.published());
        let now = self.world.image();
        let shields = self.world.shields();
        let visible = |sector| self.world.is_open(sector) && !shields.contains(&sector);
        self.check_image(&now, self.world.published(), visible);
    }

    /// After a power cut the volume would open and read as the model says; without a journal, with the published boundary.
    pub(super) fn check_durable(&self) {
        let durable = self.world.durable_image();
        if self.journaled {
            let rebooted = self.reboot(durable).unwrap();
            assert_eq!(rebooted.sweep.damaged(), self.sweep.damaged());
            return rebooted.check();
        }
        let boundary = self.durable_position(&durable).0;
        assert_eq!(boundary, self.world.published());
        self.check_image(&durable, boundary, |_| true);
    }

    /// Boundary and direction that the metadata of the volume states after a power cut.
    pub(super) fn durable(&self) -> (DataSector, VolumeState) {
        let durable = self.world.durable_image();
        self.durable_position(&durable)
    }

    /// What the metadata blocks say that a reader sees now.
    pub(super) fn blocks_say(&self) -> (DataSector, VolumeState) {
        self.durable_position(&self.world.image())
    }

    fn durable_position(&self, image: &[u8]) -> (DataSector, VolumeState) {
        let device = World::new(self.geometry.sector_size(), image.to_vec());
        let (offset, direction) = JvckMetadataStore::open(device, &VMK).unwrap().load().unwrap();
        (offset.sector, direction)
    }

    fn check_image(&self, image: &[u8], boundary: DataSector, visible: impl Fn(DataSector) -> bool) {
        let size = self.geometry.sector_size();
        let data = &image[self.world.bytes(self.geometry.offset_sector(), self.plaintext.len())];
        for (index, (found, expected)) in data.chunks(size.usize()).zip(self.plaintext.chunks(size.usize())).enumerate()
        {
            let sector = DataSector::new(index as u64);
            let mut found = found.to_vec();
            if sector < boundary {
                self.cipher.decrypt_area(&mut found, size, sector);
            }
            assert!(!visible(sector) || found == expected, "data sector {sector} at boundary {boundary}");
        }
    }

    /// The sectors of the metadata blocks as the device shows them.
    pub(super) fn blocks(&self) -> Vec<Vec<u8>> {
        let now = self.world.image();
        let sector = |lba| now[self.world.bytes(lba, self.geometry.sector_size().usize())].to_vec();
        self.geometry.metadata_lbas().map(sector).collect()
    }

    /// A user overwrites a sector, if the gate lets it in.
    pub(super) fn user_write(&mut self, sector: DataSector, value: u8) {
        if self.world.is_open(sector) {
            self.user_put(sector, &vec![value; self.geometry.sector_size().usize()]);
        }
    }

    /// The volume should hold this.
    pub(super) fn believe(&mut self, sector: DataSector, plaintext: &[u8]) {
        let start = usize::try_from(sector.get()).unwrap() * plaintext.len();
        self.plaintext[start..start + plaintext.len()].copy_from_slice(plaintext);
    }

    /// A user's write to a sector that is open.
    pub(super) fn user_put(&mut self, sector: DataSector, plaintext: &[u8]) {
        self.believe(sector, plaintext);
        let size = self.geometry.sector_size();
        let mut bytes = plaintext.to_vec();
        if sector < self.world.published() {
            self.cipher.encrypt_area(&mut bytes, size, sector);
        }
        self.world.user_writes(sector, self.geometry.data_to_lba(sector).unwrap(), &bytes);
    }

    /// A user will overwrite `sector` after so many calls of the device, as soon as the gate lets it in.
    pub(super) fn expect_interloper(&self, calls: u32, sector: DataSector, value: u8) {
        let size = self.geometry.sector_size();
        let plain = vec![value; size.usize()];
        let mut cipher = plain.clone();
        self.cipher.encrypt_area(&mut cipher, size, sector);
        let lba = self.geometry.data_to_lba(sector).unwrap();
        self.world.expect_interloper(Interloper { calls, sector, lba, sides: [plain, cipher] });
    }

    /// Believes what the interloper wrote, if that is done. Whether it is.
    pub(super) fn believe_interloper(&mut self, sector: DataSector, value: u8) -> bool {
        let done = !self.world.expects_interloper();
        if done {
            let size = self.geometry.sector_size().usize();
            let start = usize::try_from(sector.get()).unwrap() * size;
            self.plaintext[start..start + size].fill(value);
        }
        done
    }

    /// The data region as it is on the device.
    pub(super) fn data_region(&self) -> Vec<u8> {
        let range = self.world.bytes(self.geometry.offset_sector(), self.plaintext.len());
        self.world.image()[range].to_vec()
    }
}

fn parts<'a>(
    world: &'a Arc<World>,
    cipher: &'a XtsVolumeCipher,
    store: &'a JvckMetadataStore<Arc<World>>,
) -> Parts<'a> {
    Parts { io: world, cipher, store, random: &**world, gate: &**world, meter: &**world }
}
