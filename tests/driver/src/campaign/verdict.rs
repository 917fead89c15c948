//! The end of a seed: the volume at rest, every sector against the model, nothing left behind.

use std::time::Duration;

use vck_common::jvck::JvckMetadataStore;
use vck_common::{Lba, MemoryIo, NtStatus, SectorCount, SectorSize};
use vck_ntsim::user::{Access, Token};

use super::command::status_of;
use super::host::{Host, Outcome, Run, count_waits};
use super::machine::Machine;
use super::stamp::Oracle;
use crate::{Client, VMK};

impl Host {
    /// Brings the volume to rest, compares every sector, and counts what is left.
    pub(super) fn end(mut self) -> Outcome<Run> {
        self.disarm();
        self.last_commands()?;
        self.check()?;
        let (boundary, image) = self.compare()?;
        let Machine { world, driver, volume, .. } = self.machine;
        let removed = world.remove(volume);
        removed.map_err(|status| format!("the last REMOVE ended with {}: {:?}", NtStatus(status), world.findings()))?;
        let unloaded = world.unload_driver(driver);
        unloaded.map_err(|status| format!("the driver does not unload: {}", NtStatus(status)))?;
        count_waits(&world, &self.shared);
        let findings = world.findings();
        let leaks = world.leak_report();
        if !findings.is_empty() || !leaks.is_empty() || world.live_irps() != 0 || world.pool_blocks() != 0 {
            let (irps, blocks) = (world.live_irps(), world.pool_blocks());
            return Err(format!("at the end: {findings:?}; {leaks:?}; {irps} IRPs, {blocks} blocks"));
        }
        let mut state = self.shared.lock();
        for word in [boundary, image, world.decisions(), world.switches(), world.now().0] {
            state.mix(word);
        }
        let trace = state.trace();
        drop(state);
        Ok(Run { shared: self.shared, trace })
    }

    pub(super) fn last_commands(&mut self) -> Outcome {
        let user = self.machine.world.user(Token::administrator());
        let fail = |what: &'static str| move |failure| format!("{what}, at the end: {failure:?}");
        let client = Client::open(&user, Access::READ_WRITE).map_err(fail("open"))?;
        let path = self.shared.lock().path.clone();
        let life = self.shared.lock().life;
        let attached = client.status(&path).map_err(fail("GET_STATUS"))?.attached;
        let full = self.rng.chance(1, 2);
        if !attached && full && life.prepared {
            client.reattach(&path, &VMK).map_err(fail("re-attach"))?;
            self.shared.lock().coverage.reattaches += 1;
        }
        if life.provisional || !(attached || full && life.prepared) {
            return self.flush();
        }
        if full {
            let to_cipher = self.rng.chance(1, 3);
            let started = if to_cipher { client.encrypt(&path) } else { client.decrypt(&path) };
            started.map_err(fail("START"))?;
            let state = self.wait_until_idle(&client, &path)?;
            let boundary = client.status(&path).map_err(fail("GET_STATUS"))?.boundary;
            let expected = if to_cipher { self.shared.plan.data_sectors } else { 0 };
            if (state, boundary) != (0, expected) {
                return Err(format!("the last conversion ended in state {state} at {boundary}, not at {expected}"));
            }
            let coverage = &mut self.shared.lock().coverage;
            *(if to_cipher { &mut coverage.encrypted } else { &mut coverage.decrypted }) += 1;
        } else {
            client.pause(&path).map_err(fail("PAUSE"))?;
        }
        if self.rng.chance(2, 3) {
            client.detach(&path).map_err(fail("DETACH"))?;
        }
        Ok(())
    }

    pub(super) fn wait_until_idle(&self, client: &Client<'_>, path: &str) -> Outcome<i32> {
        loop {
            let status = status_of(client, path).map_err(|failure| format!("GET_STATUS, at the end: {failure:?}"))?;
            if !matches!(status.state, 1 | 2) {
                return Ok(status.state);
            }
            self.machine.world.run_for(Duration::from_millis(5));
            self.check()?;
        }
    }

    /// Every data sector of the disk against the model; the boundary and a digest of the data.
    pub(super) fn compare(&self) -> Outcome<(u64, u64)> {
        let plan = &self.shared.plan;
        let disk = self.machine.world.disk(self.machine.disk);
        let mut image = disk.peek(0, disk.sectors());
        let boundary = boundary_of(&image, plan.sector_size, disk.sectors())?;
        let size = plan.sector_size as usize;
        let at = |sectors: u64| usize::try_from(sectors).unwrap_or(0) * size;
        let data = &mut image[at(plan.offset_sectors())..][..at(plan.data_sectors)];
        Oracle::new(plan.sector_size).decrypt(&mut data[..at(boundary)], 0);
        let digest = data.chunks(8).fold(0, |hash: u64, word| {
            let word = word.try_into().map_or(0, u64::from_le_bytes);
            (hash ^ word).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(29)
        });
        let mut state = self.shared.lock();
        let reading = state.model.begin_read(0..plan.data_sectors);
        let right = state.model.end_read(&reading, data);
        right.map_err(|wrong| format!("the disk at the end, boundary {boundary}: {wrong}"))?;
        Ok((boundary, digest))
    }
}

/// The boundary that an image's metadata states; 0 when it has none.
fn boundary_of(image: &[u8], sector_size: u32, sectors: u64) -> Outcome<u64> {
    let text = |error: vck_common::VckError| error.to_string();
    let size = SectorSize::new(sector_size).map_err(text)?;
    let io = MemoryIo::new(size, SectorCount::new(sectors)).map_err(text)?;
    if !io.place(Lba::ZERO, image) {
        return Err("the image does not fit".to_owned());
    }
    match JvckMetadataStore::open(io, &VMK) {
        Ok(store) => Ok(store.load_offset().sector.get()),
        Err(vck_common::VckError::NotFound(_)) => Ok(0),
        Err(error) => Err(format!("the metadata at the end: {error}")),
    }
}
