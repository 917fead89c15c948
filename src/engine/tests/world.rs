//! Device, gate and random source in one, so that one log shows the order of all that happens.
use std::sync::{Arc, Mutex, MutexGuard};
use std::vec::Vec;
use std::{assert, assert_eq, vec};

use vck_common::jvck::{JvckCbcCodec, JvckMetadataOptions, JvckMetadataStore, JvckSecrets};
use vck_common::{
    ByteLen, DataExtent, DataSector, Durability, EncryptedOffsetStore, Geometry, Lba, NtStatus, RandomSource, Secret,
    SectorCount, SectorIo, SectorSize, VckError, VckResult, VolumeCipher, VolumeState, XtsVolumeCipher,
};

use crate::engine::{Command, Parts, State, Step, Sweep, SweepConfig, ZoneGate};

pub(super) const FAULT: NtStatus = NtStatus::IO_DEVICE_ERROR;
const VMK: [u8; 32] = [0x5A; 32];

/// What happened, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Close(DataExtent),
    Publish(DataSector),
    Open(DataExtent),
    Fence(DataExtent, NtStatus),
    Unfence,
    Read(Lba, u64),
    Write(Lba, u64),
    Flush,
}

/// Which calls of the device fail. A failing write still stores its first half.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    None,
    /// Calls number `from` to `to`, excluding the latter, counted from the moment the fault was set.
    Calls {
        from: u32,
        to: u32,
    },
    /// Reads that touch the sector.
    ReadOf(Lba),
    /// Writes that touch the sector.
    WriteOf(Lba),
    /// Every flush, with this status.
    Flushes(NtStatus),
}

struct Inner {
    now: Vec<u8>,
    durable: Vec<u8>,
    log: Vec<Event>,
    calls: u32,
    fault: Fault,
    published: DataSector,
    closed: Vec<DataExtent>,
    fence: Option<DataExtent>,
    drawn: u8,
}

pub(super) struct World {
    size: SectorSize,
    total: SectorCount,
    inner: Mutex<Inner>,
}

impl World {
    /// A device that holds `image`, durably.
    fn new(size: SectorSize, image: Vec<u8>) -> Arc<Self> {
        let total = size.sectors_in(ByteLen::new(image.len() as u64));
        let inner = Inner {
            now: image.clone(),
            durable: image,
            log: Vec::new(),
            calls: 0,
            fault: Fault::None,
            published: DataSector::ZERO,
            closed: Vec::new(),
            fence: None,
            drawn: 0,
        };
        Arc::new(Self { size, total, inner: Mutex::new(inner) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(super) fn set_fault(&self, fault: Fault) {
        let mut inner = self.inner();
        inner.fault = fault;
        inner.calls = 0;
    }

    /// Calls of the device since the last fault was set.
    pub(super) fn calls(&self) -> u32 {
        self.inner().calls
    }

    pub(super) fn take_log(&self) -> Vec<Event> {
        core::mem::take(&mut self.inner().log)
    }

    pub(super) fn published(&self) -> DataSector {
        self.inner().published
    }

    fn bytes(&self, lba: Lba, len: usize) -> core::ops::Range<usize> {
        let start = usize::try_from(lba.get()).unwrap() * self.size.usize();
        start..start + len
    }

    /// True if a user's request to the sector would be carried out now.
    pub(super) fn is_open(&self, sector: DataSector) -> bool {
        let inner = self.inner();
        !inner.closed.iter().chain(&inner.fence).any(|zone| zone.contains(sector))
    }
}

impl Inner {
    fn call(&mut self, fails: impl Fn(Fault) -> Option<NtStatus>, lba: Option<Lba>) -> VckResult<()> {
        let number = self.calls;
        self.calls += 1;
        let status = match self.fault {
            Fault::Calls { from, to } => (from..to).contains(&number).then_some(FAULT),
            other => fails(other),
        };
        status.map_or(Ok(()), |status| Err(VckError::Device { status, lba }))
    }
}

fn touches(at: Lba, lba: Lba, count: u64) -> bool {
    (lba.get()..lba.get() + count).contains(&at.get())
}

impl SectorIo for World {
    fn sector_size(&self) -> SectorSize {
        self.size
    }

    fn total_sectors(&self) -> SectorCount {
        self.total
    }

    fn read_sectors(&self, lba: Lba, buf: &mut [u8]) -> VckResult<()> {
        let count = self.size.sectors_of_buffer(buf.len())?.get();
        let range = self.bytes(lba, buf.len());
        let mut inner = self.inner();
        inner.log.push(Event::Read(lba, count));
        inner.call(|fault| matches!(fault, Fault::ReadOf(at) if touches(at, lba, count)).then_some(FAULT), None)?;
        buf.copy_from_slice(&inner.now[range]);
        Ok(())
    }

    fn write_sectors(&self, lba: Lba, buf: &[u8], durability: Durability) -> VckResult<()> {
        let count = self.size.sectors_of_buffer(buf.len())?.get();
        assert_eq!(durability, Durability::AtNextFlush);
        let mut inner = self.inner();
        inner.log.push(Event::Write(lba, count));
        let fails = |fault| matches!(fault, Fault::WriteOf(at) if touches(at, lba, count)).then_some(FAULT);
        let result = inner.call(fails, None);
        let stored = if result.is_ok() { buf } else { &buf[..buf.len() / 2 / self.size.usize() * self.size.usize()] };
        let range = self.bytes(lba, stored.len());
        inner.now[range].copy_from_slice(stored);
        result
    }

    fn flush(&self) -> VckResult<()> {
        let mut inner = self.inner();
        inner.log.push(Event::Flush);
        inner.call(|fault| if let Fault::Flushes(status) = fault { Some(status) } else { None }, None)?;
        inner.durable = inner.now.clone();
        Ok(())
    }
}

impl ZoneGate for World {
    fn close_and_drain(&self, zone: DataExtent) -> VckResult<()> {
        let mut inner = self.inner();
        assert!(!inner.closed.iter().any(|closed| closed.overlaps(zone)), "a closed zone is not closed again");
        inner.closed.push(zone);
        inner.log.push(Event::Close(zone));
        Ok(())
    }

    fn publish(&self, boundary: DataSector) {
        let mut inner = self.inner();
        inner.published = boundary;
        inner.log.push(Event::Publish(boundary));
    }

    fn open(&self, zone: DataExtent) {
        let mut inner = self.inner();
        assert!(inner.closed.contains(&zone), "only a closed zone is opened");
        inner.closed.retain(|closed| *closed != zone);
        inner.log.push(Event::Open(zone));
    }

    fn fence(&self, zone: DataExtent, status: NtStatus) {
        let mut inner = self.inner();
        assert!(inner.closed.contains(&zone) && inner.fence.is_none());
        inner.fence = Some(zone);
        inner.log.push(Event::Fence(zone, status));
    }

    fn unfence(&self) {
        let mut inner = self.inner();
        assert!(inner.fence.take().is_some_and(|zone| inner.closed.contains(&zone)));
        inner.log.push(Event::Unfence);
    }
}

/// Different salts, and none while a zone is closed.
impl RandomSource for World {
    fn fill(&self, out: &mut [u8]) -> VckResult<()> {
        let mut inner = self.inner();
        assert!(inner.closed.is_empty(), "random bytes were drawn while a zone is closed");
        inner.drawn = inner.drawn.wrapping_add(1);
        out.fill(inner.drawn);
        Ok(())
    }
}

/// A prepared volume with one header and one footer, its sweep, and what a user believes is on it.
pub(super) struct Rig {
    pub(super) world: Arc<World>,
    pub(super) geometry: Geometry,
    pub(super) cipher: XtsVolumeCipher,
    pub(super) store: JvckMetadataStore<Arc<World>>,
    pub(super) sweep: Sweep,
    pub(super) plaintext: Vec<u8>,
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

impl Rig {
    /// `data` sectors, `batch` of them converted by one step.
    pub(super) fn new(size: SectorSize, data: u64, batch: u64) -> Self {
        Self::with_config(size, data, SweepConfig { batch: ByteLen::new(batch * size.u64()), accept_no_flush: false })
    }

    pub(super) fn with_config(size: SectorSize, data: u64, config: SweepConfig) -> Self {
        let options = JvckMetadataOptions { use_header: 1, use_footer: 1, ..JvckMetadataOptions::default() };
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
        let place = world.bytes(geometry.offset_sector(), plaintext.len());
        world.inner().now[place.clone()].copy_from_slice(&plaintext);
        world.inner().durable[place].copy_from_slice(&plaintext);
        world.take_log();
        Self {
            cipher: XtsVolumeCipher::new(&KEYS[0], &KEYS[1]).unwrap(),
            sweep: Sweep::new(geometry, DataSector::ZERO, VolumeState::Encrypt, config).unwrap(),
            world,
            geometry,
            store,
            plaintext,
        }
    }

    pub(super) fn command(&mut self, command: Command) -> VckResult<()> {
        let parts = parts(&self.world, &self.cipher, &self.store);
        self.sweep.command(&parts, command)
    }

    pub(super) fn step(&mut self) -> Step {
        let parts = parts(&self.world, &self.cipher, &self.store);
        self.sweep.step(&parts)
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
                Step::Worked => self.check_durable(),
                Step::Idle => {
                    assert!(self.world.inner().closed.is_empty(), "nothing to do, and a zone is closed");
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
        let now = self.world.inner().now.clone();
        self.check_image(&now, self.world.published(), |sector| self.world.is_open(sector));
    }

    /// After a power cut the volume would open with the published boundary and read as the model says.
    pub(super) fn check_durable(&self) {
        let durable = self.world.inner().durable.clone();
        let boundary = self.durable_position(&durable).0;
        assert_eq!(boundary, self.world.published());
        self.check_image(&durable, boundary, |_| true);
    }

    /// Boundary and direction that the metadata of the volume states after a power cut.
    pub(super) fn durable(&self) -> (DataSector, VolumeState) {
        let durable = self.world.inner().durable.clone();
        self.durable_position(&durable)
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
        let inner = self.world.inner();
        let sector = |lba| inner.now[self.world.bytes(lba, self.geometry.sector_size().usize())].to_vec();
        self.geometry.metadata_lbas().map(sector).collect()
    }

    /// A user overwrites a sector, if the gate lets it in.
    pub(super) fn user_write(&mut self, sector: DataSector, value: u8) {
        if !self.world.is_open(sector) {
            return;
        }
        let size = self.geometry.sector_size();
        let start = usize::try_from(sector.get()).unwrap() * size.usize();
        let model = &mut self.plaintext[start..start + size.usize()];
        model.fill(value);
        let mut bytes = model.to_vec();
        if sector < self.world.published() {
            self.cipher.encrypt_area(&mut bytes, size, sector);
        }
        let range = self.world.bytes(self.geometry.data_to_lba(sector).unwrap(), size.usize());
        self.world.inner().now[range].copy_from_slice(&bytes);
    }

    /// The data region as it is on the device.
    pub(super) fn data_region(&self) -> Vec<u8> {
        let range = self.world.bytes(self.geometry.offset_sector(), self.plaintext.len());
        self.world.inner().now[range].to_vec()
    }
}

fn parts<'a>(
    world: &'a Arc<World>,
    cipher: &'a XtsVolumeCipher,
    store: &'a JvckMetadataStore<Arc<World>>,
) -> Parts<'a> {
    Parts { io: world, cipher, store, random: &**world, gate: &**world }
}
