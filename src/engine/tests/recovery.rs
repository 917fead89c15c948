//! What an attach does with a step that was interrupted: each sector verified, none guessed.
use std::vec::Vec;
use std::{assert, assert_eq};

use vck_common::journal::Damage;
use vck_common::{Activity, DataExtent, DataSector, Lba, NtStatus, SectorCount, SectorSize, VolumeCipher, VolumeState};

use super::rig::Rig;
use super::world::{FAULT, Fault, World};
use crate::engine::{BadSectors, Command, ErrorKind, State, Step};

const SIZE: SectorSize = SectorSize::S512;

/// A volume that stopped in a step over ten sectors from [`start`] on, with what a power cut left of it. The sectors of the
/// zone, counted from its first, for which `converted` answers true are on the new side.
fn interrupted(command: Command, converted: impl Fn(u64) -> bool) -> (Rig, Vec<u8>) {
    let mut rig = Rig::journaled(SIZE, 30, 10);
    rig.command(Command::StartEncrypt).unwrap();
    if command == Command::StartDecrypt {
        rig.run();
        rig.command(command).unwrap();
    }
    // The step over the first zone closes, reads and protects the second one.
    assert_eq!(rig.step(), Step::Worked);
    assert!(rig.sweep.holds_zone());
    let world = World::new(SIZE, rig.world.durable_image());
    for sector in (0..10).filter(|index| converted(*index)).map(|index| start(command) + index) {
        let mut bytes = rig.plaintext[usize::try_from(sector).unwrap() * 512..][..512].to_vec();
        if command == Command::StartEncrypt {
            rig.cipher.encrypt_area(&mut bytes, SIZE, DataSector::new(sector));
        }
        world.scribble(lba(&rig, sector), &bytes);
    }
    let image = world.image();
    assert_eq!(rig.examine(image.clone()).unfinished.count.get(), 10);
    (rig, image)
}

fn lba(rig: &Rig, sector: u64) -> Lba {
    rig.geometry.data_to_lba(DataSector::new(sector)).unwrap()
}

fn start(command: Command) -> u64 {
    if command == Command::StartEncrypt { 1 } else { 10 }
}

fn before(command: Command) -> u64 {
    if command == Command::StartEncrypt { 1 } else { 20 }
}

fn after(command: Command) -> u64 {
    if command == Command::StartEncrypt { 11 } else { 10 }
}

#[test]
fn every_mixture_of_sides_is_finished() {
    for command in [Command::StartEncrypt, Command::StartDecrypt] {
        for mask in [0_u64, 0x3FF, 0x155, 0x2AA, 1, 0x200, 0x0F0, 0x30C] {
            let (rig, image) = interrupted(command, |index| mask >> index & 1 == 1);
            let again = rig.reboot(image).unwrap();
            assert_eq!(again.world.published().get(), after(command));
            assert!(again.sweep.damaged().is_empty());
            again.check();
            assert_eq!(again.blocks_say().0.get(), after(command), "the blocks follow at once");
        }
    }
}

#[test]
fn a_torn_sector_is_fenced_alone_and_healed_by_a_write() {
    for command in [Command::StartEncrypt, Command::StartDecrypt] {
        let (rig, image) = interrupted(command, |index| index < 5);
        let world = World::new(SIZE, image);
        let torn = DataSector::new(start(command) + 3);
        world.scribble(lba(&rig, torn.get()), &[0x99; 512]);
        let mut again = rig.reboot_on(&world).unwrap();
        let damaged = again.sweep.damaged()[0];
        assert_eq!((damaged.sector, damaged.damage), (torn, Damage::Torn));
        assert_eq!(again.sweep.damaged().len(), 1);
        again.check();
        // It stays so: nothing guesses later either.
        assert_eq!(again.reboot(world.durable_image()).unwrap().sweep.damaged(), [damaged]);
        again.command(Command::Resume).unwrap();
        again.run();
        assert_eq!(again.sweep.damaged(), [damaged], "the conversion went on around it");
        // And back over it: it holds what it held, so that nobody takes it for written.
        let back = if command == Command::StartEncrypt { Command::StartDecrypt } else { Command::StartEncrypt };
        again.command(back).unwrap();
        again.run();
        assert_eq!(again.reboot(again.world.durable_image()).unwrap().sweep.damaged(), [damaged]);
        again.user_write(torn, 0x42);
        assert_eq!(again.step(), Step::Idle);
        assert!(again.sweep.damaged().is_empty());
        again.check();
        again.flush();
        again.check_durable();
    }
}

#[test]
fn a_sector_that_cannot_be_read_is_listed_and_left_alone() {
    let (rig, image) = interrupted(Command::StartEncrypt, |index| index == 1);
    let world = World::new(SIZE, image.clone());
    world.set_fault(Fault::ReadOf(lba(&rig, 7)));
    let again = rig.reboot_on(&world).unwrap();
    let damaged = again.sweep.damaged()[0];
    assert_eq!((damaged.sector, damaged.damage), (DataSector::new(7), Damage::Unreadable));
    again.check();
    let at = usize::try_from(lba(&rig, 7).get()).unwrap() * 512;
    assert_eq!(world.image()[at..at + 512], image[at..at + 512], "its content was not touched");
}

/// A sector that takes no write is on the old side still: so the whole zone goes back there.
#[test]
fn a_zone_that_cannot_be_finished_is_undone() {
    for command in [Command::StartEncrypt, Command::StartDecrypt] {
        let (rig, image) = interrupted(command, |index| index < 5);
        let world = World::new(SIZE, image);
        world.set_fault(Fault::WriteOf(lba(&rig, start(command) + 8)));
        let again = rig.reboot_on(&world).unwrap();
        let progress = again.sweep.snapshot();
        assert_eq!((progress.state, progress.boundary.get()), (State::Faulted, before(command)));
        let error = progress.error.unwrap();
        assert_eq!((error.kind, error.status), (ErrorKind::Write, FAULT));
        again.check();
        again.check_durable();
    }
}

/// A passing error is no reason to refuse a volume or to give up a sector.
#[test]
fn one_failing_call_is_overcome() {
    let (rig, image) = interrupted(Command::StartEncrypt, |index| index % 3 == 0);
    let world = World::new(SIZE, image.clone());
    rig.reboot_on(&world).unwrap();
    let calls = world.calls();
    assert!(calls > 20);
    for call in 0..calls {
        let world = World::new(SIZE, image.clone());
        world.set_fault(Fault::Calls { from: call, to: call + 1 });
        let again = rig.reboot_on(&world).unwrap();
        assert!(again.sweep.damaged().is_empty(), "{call}");
        again.check();
        again.check_durable();
    }
}

/// One sector cannot be brought to the new side and another one cannot be brought back. All else must live on.
#[test]
fn a_zone_that_can_have_neither_side_is_fenced_alone() {
    for command in [Command::StartEncrypt, Command::StartDecrypt] {
        let (rig, image) = interrupted(command, |index| index < 5);
        let world = World::new(SIZE, image);
        world.set_fault(Fault::WriteOfEither(lba(&rig, start(command) + 2), lba(&rig, start(command) + 8)));
        let mut again = rig.reboot_on(&world).unwrap();
        let zone = DataExtent::new(DataSector::new(start(command)), SectorCount::new(10));
        assert_eq!((again.sweep.fenced(), again.sweep.holds_only_copy()), (Some(zone), false));
        let progress = again.sweep.snapshot();
        assert_eq!((progress.state, progress.boundary.get()), (State::Faulted, before(command)));
        assert_eq!(progress.error.unwrap().status, FAULT);
        again.check();
        // Entries that are written meanwhile keep what tells the sides apart.
        let elsewhere = DataSector::new(25);
        again.user_write(elsewhere, 0x31);
        assert_eq!(again.step(), Step::Idle);
        again.command(Command::Pause).unwrap();
        again.check();
        let durable = world.durable_image();
        assert_eq!(again.examine(durable.clone()).unfinished, zone);
        let other = again.reboot(durable).unwrap();
        assert_eq!(other.sweep.fenced(), None, "another device takes it");
        other.check();
        // A START tries again, and is refused as long as the device refuses.
        assert!(again.command(command).is_err());
        assert_eq!(again.sweep.fenced(), Some(zone));
        world.set_fault(Fault::None);
        again.command(command).unwrap();
        again.check();
        again.check_durable();
        again.run();
        assert_eq!((again.state(), again.sweep.fenced()), (State::Idle, None));
        again.check_durable();
        assert_eq!(again.blocks_say().0, again.world.published());
    }
}

#[test]
fn more_damaged_sectors_than_an_entry_holds_fence_their_zone() {
    let mut rig = Rig::journaled(SIZE, 300, 100);
    rig.command(Command::StartEncrypt).unwrap();
    assert_eq!(rig.step(), Step::Worked);
    let image = rig.world.durable_image();
    let world = World::new(SIZE, image.clone());
    for sector in 10..75 {
        world.scribble(lba(&rig, sector), &[0x77; 512]);
    }
    let mut again = rig.reboot_on(&world).unwrap();
    // As many of 100 sectors as end on the edge of a physical one.
    assert_eq!(again.sweep.fenced(), Some(DataExtent::new(DataSector::new(1), SectorCount::new(95))));
    assert!(again.sweep.damaged().is_empty());
    assert_eq!(again.sweep.snapshot().error.unwrap().status, NtStatus::DEVICE_DATA_ERROR);
    again.check();
    assert!(again.command(Command::StartEncrypt).is_err());
    // What was restored from a backup of the device is taken.
    for sector in 10..75 {
        let at = usize::try_from(lba(&rig, sector).get()).unwrap() * 512;
        world.scribble(lba(&rig, sector), &image[at..at + 512]);
    }
    again.command(Command::StartEncrypt).unwrap();
    again.run();
    assert_eq!(again.state(), State::Idle);
    again.check_durable();
}

/// A sector of the zone cannot be read for good: the policy decides whether the conversion goes on by itself. The rest of the
/// zone is not kept from its users either way.
#[test]
fn an_unreadable_sector_stops_the_conversion_unless_the_policy_skips_it() {
    for (bad_sectors, activity) in [(BadSectors::Stop, Activity::Faulted), (BadSectors::Skip, Activity::Running)] {
        let (rig, image) = interrupted(Command::StartEncrypt, |index| index == 1);
        let rig = rig.with_bad_sectors(bad_sectors);
        let world = World::new(SIZE, image);
        world.set_fault(Fault::ReadOf(lba(&rig, 7)));
        let mut again = rig.reboot_on(&world).unwrap();
        assert_eq!((again.activity, again.sweep.damaged().len(), again.sweep.fenced()), (activity, 1, None));
        let error = again.sweep.snapshot().error.map(|error| (error.kind, error.lba));
        assert_eq!(error, (bad_sectors == BadSectors::Stop).then_some((ErrorKind::Read, lba(&rig, 7))));
        again.check();
        again.command(Command::StartEncrypt).unwrap();
        again.run();
        assert_eq!((again.state(), again.sweep.damaged().len()), (State::Idle, 1));
    }
}

/// A FAT boot sector, clean or with the flag that says that it is mounted.
fn boot_sector(dirty: u8) -> [u8; 512] {
    let mut boot = [0; 512];
    boot[..3].copy_from_slice(&[0xEB, 0x3C, 0x90]);
    boot[3..11].copy_from_slice(b"MSDOS5.0");
    (boot[12], boot[13], boot[14], boot[16], boot[19], boot[21]) = (2, 1, 1, 2, 30, 0xF8);
    boot[37] = dirty;
    boot[510..].copy_from_slice(&[0x55, 0xAA]);
    boot
}

/// While sector 0 alone is under conversion and plaintext, a system that has not attached the volume mounts what it sees, and
/// says so in sector 0.
#[test]
fn a_mount_between_the_cut_and_the_attach_costs_nothing() {
    for command in [Command::StartEncrypt, Command::StartDecrypt] {
        let mut rig = Rig::footed(SIZE, 30, 10);
        rig.user_put(DataSector::ZERO, &boot_sector(0));
        if command == Command::StartDecrypt {
            rig.command(Command::StartEncrypt).unwrap();
            rig.run();
        }
        rig.command(command).unwrap();
        rig.world.cut_everywhere();
        rig.run();
        let mut tried = 0;
        for image in rig.world.take_cuts() {
            let zone = rig.examine(image.clone()).unfinished;
            if zone.first > DataSector::ZERO || zone.is_empty() || image[..512] != boot_sector(0) {
                continue;
            }
            let mut torn = boot_sector(1);
            torn[256..].fill(0x5A);
            let world = World::new(SIZE, image.clone());
            world.scribble(Lba::ZERO, &torn);
            assert_eq!(rig.reboot_on(&world).unwrap().sweep.damaged().len(), 1, "half of it is no boot sector");
            let world = World::new(SIZE, image);
            world.scribble(Lba::ZERO, &boot_sector(1));
            rig.believe(DataSector::ZERO, &boot_sector(1));
            let mut again = rig.reboot_on(&world).unwrap();
            assert!(again.sweep.damaged().is_empty());
            again.check();
            assert_eq!(again.world.published(), DataSector::ZERO, "it stays plaintext");
            again.command(command).unwrap();
            again.run();
            again.check_durable();
            tried += 1;
        }
        assert!(tried > 0);
    }
}

/// The blocks say something else than the record after a cut between the two; the record counts and the blocks follow.
#[test]
fn blocks_that_lag_behind_follow_after_the_attach() {
    let mut rig = Rig::journaled(SIZE, 30, 10);
    rig.command(Command::StartEncrypt).unwrap();
    rig.command(Command::StartDecrypt).unwrap();
    rig.world.take_log();
    let image = rig.world.durable_image();
    let mut again = rig.reboot(image).unwrap();
    assert!(again.world.take_log().is_empty(), "an attach with nothing to finish writes nothing");
    assert_eq!(again.step(), Step::Idle);
    assert_eq!(again.blocks_say().1, VolumeState::Decrypt);
}

/// A device that answers errors for a while at boot costs no sector.
#[test]
fn sectors_that_cannot_be_read_for_a_while_are_not_given_up() {
    let (rig, image) = interrupted(Command::StartEncrypt, |index| index == 4);
    for times in [1, 5, 9, 12] {
        let world = World::new(SIZE, image.clone());
        world.set_fault(Fault::ReadsOf { lba: lba(&rig, 6), times });
        let again = rig.reboot_on(&world).unwrap();
        assert!(again.sweep.damaged().is_empty(), "{times}");
        again.check();
        again.check_durable();
    }
}
