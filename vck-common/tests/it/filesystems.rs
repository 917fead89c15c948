//! Boot sectors and the ends they state.

use vck_common::bpb::{FileSystemKind, is_blank, recognise};

fn named(name: [u8; 8]) -> [u8; 512] {
    let mut boot = [0; 512];
    boot[..3].copy_from_slice(&[0xEB, 0x52, 0x90]);
    boot[3..11].copy_from_slice(&name);
    boot[510..].copy_from_slice(&[0x55, 0xAA]);
    boot
}

fn fat(sectors16: u16, sectors32: u32) -> [u8; 512] {
    let mut boot = named(*b"MSDOS5.0");
    boot[11..13].copy_from_slice(&512_u16.to_le_bytes());
    boot[13] = 8;
    boot[14..16].copy_from_slice(&32_u16.to_le_bytes());
    boot[16] = 2;
    boot[19..21].copy_from_slice(&sectors16.to_le_bytes());
    boot[21] = 0xF8;
    boot[32..36].copy_from_slice(&sectors32.to_le_bytes());
    boot
}

fn end_of(boot: &[u8]) -> Option<(FileSystemKind, u64)> {
    recognise(boot).map(|found| (found.kind, found.end.get()))
}

#[test]
fn fat_states_its_sectors_in_one_of_two_fields() {
    assert_eq!(end_of(&fat(2880, 0)), Some((FileSystemKind::Fat, 2880 * 512)));
    assert_eq!(end_of(&fat(0, 2_097_152)), Some((FileSystemKind::Fat, 1 << 30)));
    assert_eq!(end_of(&fat(0, 0)), None);
    for (at, value) in [(0, 0), (11, 1), (13, 3), (14, 0), (16, 0), (16, 3), (21, 0x10), (511, 0)] {
        let mut boot = fat(2880, 0);
        boot[at] = value;
        if at == 14 {
            boot[15] = 0;
        }
        assert_eq!(end_of(&boot), None, "byte {at} = {value}");
    }
}

#[test]
fn ntfs_ends_behind_its_backup_boot_sector() {
    let mut boot = named(*b"NTFS    ");
    boot[11..13].copy_from_slice(&512_u16.to_le_bytes());
    boot[40..48].copy_from_slice(&999_u64.to_le_bytes());
    assert_eq!(end_of(&boot), Some((FileSystemKind::Ntfs, 1000 * 512)));
    boot[40..48].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(end_of(&boot), None, "a size that is not representable is none");
    boot[11..13].copy_from_slice(&0_u16.to_le_bytes());
    assert_eq!(end_of(&boot), None);
}

#[test]
fn exfat_and_refs() {
    let mut boot = named(*b"EXFAT   ");
    boot[72..80].copy_from_slice(&5000_u64.to_le_bytes());
    boot[108] = 12;
    assert_eq!(end_of(&boot), Some((FileSystemKind::ExFat, 5000 * 4096)));
    boot[108] = 13;
    assert_eq!(end_of(&boot), None);

    let mut boot = named(*b"ReFS\0\0\0\0");
    boot[16..20].copy_from_slice(b"FSRS");
    boot[24..32].copy_from_slice(&63_u64.to_le_bytes());
    boot[32..36].copy_from_slice(&4096_u32.to_le_bytes());
    assert_eq!(end_of(&boot), Some((FileSystemKind::Refs, 64 * 4096)));
    boot[16] = 0;
    assert_eq!(end_of(&boot), None);
}

#[test]
fn a_bitlocker_volume_leaves_no_room_at_all() {
    assert_eq!(end_of(&named(*b"-FVE-FS-")), Some((FileSystemKind::BitLocker, u64::MAX)));
}

#[test]
fn what_is_no_boot_sector_is_not_recognised() {
    assert_eq!(recognise(&[0; 512]), None);
    assert_eq!(recognise(&fat(2880, 0)[..511]), None);
    assert!(is_blank(&[0; 4096]) && !is_blank(&[0, 0, 1]));
}
