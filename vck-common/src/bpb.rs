//! Where the file system on a volume ends, from its boot sector.
//!
//! Footers may only be put behind the last byte a file system uses. What is not recognised here says nothing: the caller
//! then has no ground to refuse, and none to believe that the end of the volume is free.

use crate::ByteLen;

/// A file system whose boot sector is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystemKind {
    /// FAT12, FAT16 or FAT32.
    Fat,
    /// exFAT.
    ExFat,
    /// NTFS.
    Ntfs,
    /// `ReFS`.
    Refs,
    /// A volume that `BitLocker` holds. It is taken to use every byte: its own metadata lies anywhere.
    BitLocker,
}

impl FileSystemKind {
    /// The name that tools show.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fat => "FAT",
            Self::ExFat => "exFAT",
            Self::Ntfs => "NTFS",
            Self::Refs => "ReFS",
            Self::BitLocker => "BitLocker",
        }
    }
}

/// What a boot sector says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// Which file system.
    pub kind: FileSystemKind,
    /// Bytes from the start of the volume that it uses, backup boot sector included.
    pub end: ByteLen,
}

/// Reads the boot sector at the start of `first_sectors` (512 bytes suffice). `None`: no file system was recognised, or its
/// size is not representable.
#[must_use]
pub fn recognise(first_sectors: &[u8]) -> Option<FileSystem> {
    let boot: &[u8; 512] = first_sectors.first_chunk()?;
    let (kind, end) = match boot.get(3..11)? {
        b"NTFS    " => (FileSystemKind::Ntfs, ntfs(boot)?),
        b"EXFAT   " => (FileSystemKind::ExFat, exfat(boot)?),
        b"ReFS\0\0\0\0" => (FileSystemKind::Refs, refs(boot)?),
        b"-FVE-FS-" => (FileSystemKind::BitLocker, u64::MAX),
        _ => (FileSystemKind::Fat, fat(boot)?),
    };
    Some(FileSystem { kind, end: ByteLen::new(end) })
}

/// True if every byte is zero: nothing was ever formatted here.
#[must_use]
pub fn is_blank(sector: &[u8]) -> bool {
    sector.iter().all(|&byte| byte == 0)
}

fn u16_at(boot: &[u8; 512], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*boot.get(at..)?.first_chunk()?))
}

fn u32_at(boot: &[u8; 512], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*boot.get(at..)?.first_chunk()?))
}

fn u64_at(boot: &[u8; 512], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*boot.get(at..)?.first_chunk()?))
}

/// The total excludes the backup boot sector, which lies right behind it.
fn ntfs(boot: &[u8; 512]) -> Option<u64> {
    let bytes_per_sector = sector_bytes(u16_at(boot, 11)?)?;
    u64_at(boot, 40)?.checked_add(1)?.checked_mul(bytes_per_sector)
}

fn exfat(boot: &[u8; 512]) -> Option<u64> {
    let shift = *boot.get(108)?;
    if !(9..=12).contains(&shift) {
        return None;
    }
    u64_at(boot, 72)?.checked_mul(1 << shift)
}

/// The total excludes the backup boot sector, as with NTFS.
fn refs(boot: &[u8; 512]) -> Option<u64> {
    if boot.get(16..20)? != b"FSRS" {
        return None;
    }
    let bytes_per_sector = u32_at(boot, 32)?;
    if !bytes_per_sector.is_power_of_two() || !(512..=65536).contains(&bytes_per_sector) {
        return None;
    }
    u64_at(boot, 24)?.checked_add(1)?.checked_mul(u64::from(bytes_per_sector))
}

/// FAT has no signature of its own, so every field that must make sense is checked.
fn fat(boot: &[u8; 512]) -> Option<u64> {
    let jump = matches!(boot.first()?, 0xEB | 0xE9);
    let signature = boot.get(510..)? == [0x55, 0xAA];
    let cluster = *boot.get(13)?;
    let reserved = u16_at(boot, 14)?;
    let tables = *boot.get(16)?;
    let media = *boot.get(21)?;
    let plausible = cluster.is_power_of_two() && reserved > 0 && (1..=2).contains(&tables) && media >= 0xF0;
    if !jump || !signature || !plausible {
        return None;
    }
    let bytes_per_sector = sector_bytes(u16_at(boot, 11)?)?;
    let sectors = match u16_at(boot, 19)? {
        0 => u64::from(u32_at(boot, 32)?),
        small => u64::from(small),
    };
    if sectors == 0 { None } else { sectors.checked_mul(bytes_per_sector) }
}

fn sector_bytes(value: u16) -> Option<u64> {
    (value.is_power_of_two() && (512..=4096).contains(&value)).then_some(u64::from(value))
}
