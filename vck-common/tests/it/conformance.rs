//! The conformance suite passes what is right and catches what is wrong.

use std::sync::Arc;

use vck_common::{
    Durability, Lba, MemoryIo, SectorCount, SectorIo, SectorSize, VckError, VckResult,
    conformance::{MIN_SECTORS, check},
    memory_io::{Fault, IoEvent},
};

use crate::support::volume;

fn make() -> VckResult<MemoryIo> {
    MemoryIo::new(SectorSize::S512, SectorCount::new(MIN_SECTORS))
}

#[test]
fn the_memory_volume_conforms_in_every_wrapping() {
    check(make).unwrap();
    check(|| MemoryIo::new(SectorSize::S4096, SectorCount::new(40))).unwrap();
    check(|| make().map(Arc::new)).unwrap();
    check(|| make().map(|io| Arc::new(io) as Arc<dyn SectorIo>)).unwrap();
    check(|| make().map(|io| Box::new(io) as Box<dyn SectorIo>)).unwrap();
    let kept = make().unwrap();
    check(|| Ok(&kept)).unwrap();
}

#[derive(Clone, Copy, PartialEq)]
enum Flaw {
    TooSmall,
    WritesNeighbour,
    AcceptsPastTheEnd,
    AcceptsParts,
    DropsWriteThrough,
    FailsToFlush,
    OtherErrorForBadExtent,
}

/// A volume with one thing wrong.
struct Flawed(MemoryIo, Flaw);

impl SectorIo for Flawed {
    fn sector_size(&self) -> SectorSize {
        self.0.sector_size()
    }

    fn total_sectors(&self) -> SectorCount {
        if self.1 == Flaw::TooSmall { SectorCount::new(MIN_SECTORS - 1) } else { self.0.total_sectors() }
    }

    fn read_sectors(&self, lba: Lba, buf: &mut [u8]) -> VckResult<()> {
        match self.0.read_sectors(lba, buf) {
            Err(VckError::InvalidData(_)) if self.1 == Flaw::OtherErrorForBadExtent => Err(VckError::Io("end of file")),
            Err(VckError::InvalidData(_)) if self.1 == Flaw::AcceptsParts && buf.len() == 1 => Ok(()),
            result => result,
        }
    }

    fn write_sectors(&self, lba: Lba, buf: &[u8], durability: Durability) -> VckResult<()> {
        match self.1 {
            Flaw::DropsWriteThrough if durability == Durability::OnReturn => return Ok(()),
            Flaw::WritesNeighbour => {
                let next = lba.checked_add(self.sector_size().sectors_of_buffer(buf.len())?);
                let _ = self.0.write_sectors(next.unwrap_or_default(), &[5; 512], durability);
            }
            Flaw::AcceptsPastTheEnd if lba.get() >= MIN_SECTORS => return Ok(()),
            _ => {}
        }
        self.0.write_sectors(lba, buf, durability)
    }

    fn flush(&self) -> VckResult<()> {
        if self.1 == Flaw::FailsToFlush { Err(VckError::Io("no flush")) } else { self.0.flush() }
    }
}

#[test]
fn every_flaw_is_caught_and_named() {
    for (flaw, rule) in [
        (Flaw::TooSmall, "the volume has room for the suite"),
        (Flaw::WritesNeighbour, "a write changes its own sectors and no other"),
        (Flaw::AcceptsPastTheEnd, "a bad extent is not written"),
        (Flaw::AcceptsParts, "a bad extent is not read"),
        (Flaw::DropsWriteThrough, "a read returns what was last written"),
        (Flaw::FailsToFlush, "a flush with nothing to do succeeds"),
        (Flaw::OtherErrorForBadExtent, "a bad extent is not read"),
    ] {
        assert_eq!(check(|| make().map(|io| Flawed(io, flaw))).unwrap_err().rule, rule);
    }
}

#[test]
fn the_memory_volume_records_fails_and_forgets() {
    let io = volume(SectorSize::S512, 16);
    io.write_sectors(Lba::new(1), &[1; 512], Durability::AtNextFlush).unwrap();
    io.write_sectors(Lba::new(2), &[2; 512], Durability::OnReturn).unwrap();
    io.power_cut();
    assert_eq!((io.image()[512], io.image()[1024]), (0, 2));
    io.write_sectors(Lba::new(1), &[1; 512], Durability::AtNextFlush).unwrap();
    io.flush().unwrap();
    io.power_cut();
    assert_eq!(io.image()[512], 1);
    let count = SectorCount::new(1);
    assert_eq!(
        io.take_events(),
        [
            IoEvent::Write { lba: Lba::new(1), count, durability: Durability::AtNextFlush },
            IoEvent::Write { lba: Lba::new(2), count, durability: Durability::OnReturn },
            IoEvent::Write { lba: Lba::new(1), count, durability: Durability::AtNextFlush },
            IoEvent::Flush,
        ]
    );
    io.inject(Fault::Read(Lba::new(3)));
    let failed = io.read_sectors(Lba::new(2), &mut [0; 1024]);
    assert!(matches!(failed, Err(VckError::Device { lba: Some(lba), .. }) if lba == Lba::new(3)));
    io.heal();
    io.read_sectors(Lba::new(2), &mut [0; 1024]).unwrap();
}
