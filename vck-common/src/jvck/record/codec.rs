//! The bytes of a record: encoding and sealing, checking and decoding.
//!
//! # Ordering
//! [`claim`] looks at unauthenticated bytes only to find out whose record it may be and how long, within the slot;
//! [`authentic`] then decides; [`decode`] is for authentic bytes alone, and still checks every value against its limit.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::{
    layout::{
        self, DAMAGED_SIZE, DAMAGED_UNREADABLE, DIGEST_SIZE, DIGESTS, MAGIC_BYTES, MAX_SALTS, RECORD_VERSION, Slots,
    },
    salts::{Salt, SaltSet},
    torn::TornSectors,
};
use crate::{
    Activity, DamagedSector, DataExtent, DataSector, Geometry, Lba, NtStatus, Secret, SectorCount, SectorSize,
    VckError, VckResult, VolumeState,
    journal::{Damage, Entry, JournalError, MAX_DAMAGED},
    jvck::{
        JvckHeader,
        layout::{BLOCK_SIZE, SALT_SIZE, field, put},
    },
};

/// What a record says about the volume as a whole, so that it counts on no other and on no changed one.
#[derive(Clone, Copy)]
pub(super) struct Binding {
    pub(super) geometry: Geometry,
    volume_id: [u8; 16],
    replicas: [u8; 32],
    block_header: [u8; 32],
}

impl Binding {
    pub(super) fn new(geometry: &Geometry, header: &JvckHeader) -> VckResult<Self> {
        let mut places = Sha256::new();
        for lba in geometry.metadata_lbas() {
            places.update(lba.get().to_le_bytes());
        }
        let mut block = [0; BLOCK_SIZE];
        header.begin(&[0; SALT_SIZE], &mut block)?;
        Ok(Self {
            geometry: *geometry,
            volume_id: header.volume_id,
            replicas: places.finalize().into(),
            block_header: Sha256::digest(block).into(),
        })
    }
}

/// What goes into a record beside the digests, which are already in the slot.
pub(super) struct Contents<'a> {
    pub(super) generation: u64,
    pub(super) entry: &'a Entry<'a>,
    pub(super) salts: &'a SaltSet,
    pub(super) upcoming: Option<Salt>,
    pub(super) torn: &'a TornSectors,
}

/// What an authentic record says.
pub(super) struct Decoded {
    pub(super) generation: u64,
    pub(super) activity: Activity,
    pub(super) direction: VolumeState,
    pub(super) boundary: DataSector,
    pub(super) zone: DataExtent,
    pub(super) error: Option<JournalError>,
    pub(super) damaged: usize,
    pub(super) salts: SaltSet,
    pub(super) upcoming: Option<Salt>,
}

/// What unauthenticated bytes claim to be.
pub(super) struct Claim {
    pub(super) generation: u64,
    /// Bytes of the record, whole sectors within the slot.
    pub(super) used: usize,
}

/// Bytes that a record with this many digests takes, in whole sectors.
pub(super) fn used_bytes(digests: usize, size: SectorSize) -> Option<usize> {
    digests.checked_mul(DIGEST_SIZE)?.checked_add(DIGESTS)?.checked_next_multiple_of(size.usize())
}

/// True if the bytes claim to be a record of this volume, of whatever version.
pub(super) fn is_ours(slot: &[u8], binding: &Binding) -> bool {
    field(slot, layout::MAGIC) == Ok(&MAGIC_BYTES) && field(slot, layout::VOLUME_ID) == Ok(&binding.volume_id)
}

/// What the start of a slot claims; `None` if it cannot be a record of this volume.
pub(super) fn claim(slot: &[u8], binding: &Binding, slots: &Slots) -> Option<Claim> {
    let size = binding.geometry.sector_size();
    let version = u16::from_le_bytes(*field(slot, layout::VERSION).ok()?);
    let sector_size = u32::from_le_bytes(*field(slot, layout::SECTOR_SIZE).ok()?);
    if !is_ours(slot, binding) || version != RECORD_VERSION || sector_size != size.bytes() {
        return None;
    }
    let digests = usize::try_from(word(slot, layout::ZONE_COUNT).ok()?).ok()?;
    if digests > slots.digests() {
        return None;
    }
    Some(Claim { generation: word(slot, layout::GENERATION).ok()?, used: used_bytes(digests, size)? })
}

/// Fills the part of `slot` before the digests.
pub(super) fn encode(contents: &Contents<'_>, binding: &Binding, slot: &mut [u8]) -> VckResult<()> {
    let (entry, geometry) = (contents.entry, &binding.geometry);
    slot.get_mut(..DIGESTS).ok_or(TOO_SHORT)?.fill(0);
    put(slot, layout::MAGIC, &MAGIC_BYTES)?;
    put(slot, layout::VERSION, &RECORD_VERSION.to_le_bytes())?;
    put(slot, layout::ACTIVITY, &[activity_code(entry.activity)])?;
    put(slot, layout::DIRECTION, &[u8::from(entry.direction == VolumeState::Decrypt)])?;
    put(slot, layout::SECTOR_SIZE, &geometry.sector_size().bytes().to_le_bytes())?;
    put(slot, layout::VOLUME_ID, &binding.volume_id)?;
    put(slot, layout::GENERATION, &contents.generation.to_le_bytes())?;
    put(slot, layout::BOUNDARY, &entry.boundary.get().to_le_bytes())?;
    put(slot, layout::ZONE_FIRST, &entry.zone.first.get().to_le_bytes())?;
    put(slot, layout::ZONE_COUNT, &entry.zone.count.get().to_le_bytes())?;
    put(slot, layout::VOLUME_SECTORS, &geometry.volume_sectors().get().to_le_bytes())?;
    if let Some(error) = &entry.error {
        put(slot, layout::ERROR_LBA, &error.lba.get().to_le_bytes())?;
        put(slot, layout::ERROR_STATUS, &error.status.as_u32().to_le_bytes())?;
        put(slot, layout::ERROR_COUNT, &error.count.to_le_bytes())?;
        put(slot, layout::ERROR_KIND, &[error.kind])?;
        put(slot, layout::HAS_ERROR, &[1])?;
    }
    put(slot, layout::REPLICAS, &binding.replicas)?;
    put(slot, layout::BLOCK_HEADER, &binding.block_header)?;
    let salts = contents.salts.as_slice();
    put(slot, layout::SALT_COUNT, &[u8::try_from(salts.len()).map_err(|_| TOO_SHORT)?])?;
    let (places, _) = slot.get_mut(layout::SALTS).ok_or(TOO_SHORT)?.as_chunks_mut::<SALT_SIZE>();
    places.iter_mut().zip(salts).for_each(|(place, salt)| *place = *salt);
    if let Some(salt) = &contents.upcoming {
        put(slot, layout::UPCOMING, salt)?;
        put(slot, layout::HAS_UPCOMING, &[1])?;
    }
    put(slot, layout::DAMAGED_COUNT, &u16::try_from(entry.damaged.len()).map_err(|_| TOO_SHORT)?.to_le_bytes())?;
    let (places, _) = slot.get_mut(layout::DAMAGED).ok_or(TOO_SHORT)?.as_chunks_mut::<DAMAGED_SIZE>();
    for (place, damaged) in places.iter_mut().zip(entry.damaged) {
        let why = if damaged.damage == Damage::Unreadable { DAMAGED_UNREADABLE } else { 0 };
        let held = contents.torn.held(damaged.sector).unwrap_or(0);
        put(place, 0..8, &(damaged.sector.get() | why).to_le_bytes())?;
        put(place, 8..16, &held.to_le_bytes())?;
    }
    Ok(())
}

/// Stores the MAC over all of `used`, which is the record in whole sectors.
pub(super) fn seal(key: &Secret<32>, used: &mut [u8]) -> VckResult<()> {
    let tag = mac(key, used)?.finalize().into_bytes();
    put(used, layout::MAC, &tag)
}

/// Whether the MAC of `used` is right; compared in constant time.
pub(super) fn authentic(key: &Secret<32>, used: &[u8]) -> VckResult<bool> {
    let tag: &[u8; 32] = field(used, layout::MAC)?;
    Ok(mac(key, used)?.verify(tag.into()).is_ok())
}

/// Reads an authentic record. The damaged sectors go into `damaged`, what they held into `torn`.
///
/// # Errors
/// [`VckError::Conflict`] if the volume has another size than when it was written; [`VckError::BadBlock`] if the plaintext
/// header of the metadata is another, or if a value violates its limit.
pub(super) fn decode(
    slot: &[u8],
    binding: &Binding,
    damaged: &mut [DamagedSector; MAX_DAMAGED],
    torn: &mut TornSectors,
) -> VckResult<Decoded> {
    let geometry = &binding.geometry;
    if word(slot, layout::VOLUME_SECTORS)? != geometry.volume_sectors().get()
        || field(slot, layout::REPLICAS)? != &binding.replicas
    {
        return Err(VckError::Conflict(
            "the volume was resized after its conversion record was written: give it its former size again",
        ));
    }
    if field(slot, layout::BLOCK_HEADER)? != &binding.block_header {
        return Err(VckError::BadBlock(
            "its plaintext header was altered after the conversion record was written: restore the altered replicas",
        ));
    }
    let boundary = DataSector::new(word(slot, layout::BOUNDARY)?);
    let zone = DataExtent::new(
        DataSector::new(word(slot, layout::ZONE_FIRST)?),
        SectorCount::new(word(slot, layout::ZONE_COUNT)?),
    );
    let data = geometry.data_sectors().get();
    if boundary.get() > data || zone.end().is_none_or(|end| end.get() > data) {
        return Err(CONTRADICTION);
    }
    let reserved: &[u8; 64] = field(slot, layout::RESERVED)?;
    if reserved != &[0; 64] || field(slot, layout::ZERO)? != &[0; 2] {
        return Err(CONTRADICTION);
    }
    let (salts, upcoming) = decode_salts(slot)?;
    Ok(Decoded {
        generation: word(slot, layout::GENERATION)?,
        activity: activity_of(byte(slot, layout::ACTIVITY)?)?,
        direction: if flag(slot, layout::DIRECTION)? { VolumeState::Decrypt } else { VolumeState::Encrypt },
        boundary,
        zone,
        error: decode_error(slot)?,
        damaged: decode_damaged(slot, data, damaged, torn)?,
        salts,
        upcoming,
    })
}

const TOO_SHORT: VckError = VckError::InvalidData("the conversion record does not fit its slot");
const CONTRADICTION: VckError = VckError::BadBlock("its conversion record contradicts itself or the volume");

fn mac(key: &Secret<32>, used: &[u8]) -> VckResult<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose())
        .map_err(|_| VckError::CryptoFailed("the MAC of the conversion record"))?;
    mac.update(used.get(..layout::MAC.start).ok_or(TOO_SHORT)?);
    mac.update(used.get(layout::MAC.end..).ok_or(TOO_SHORT)?);
    Ok(mac)
}

fn decode_salts(slot: &[u8]) -> VckResult<(SaltSet, Option<Salt>)> {
    let count = usize::from(byte(slot, layout::SALT_COUNT)?);
    let (stored, _) = slot.get(layout::SALTS).ok_or(TOO_SHORT)?.as_chunks::<SALT_SIZE>();
    let mut salts = SaltSet::new();
    for salt in stored.get(..count).filter(|_| count <= MAX_SALTS).ok_or(CONTRADICTION)? {
        salts.insert(salt);
    }
    let upcoming = if flag(slot, layout::HAS_UPCOMING)? { Some(*field(slot, layout::UPCOMING)?) } else { None };
    Ok((salts, upcoming))
}

fn decode_error(slot: &[u8]) -> VckResult<Option<JournalError>> {
    if !flag(slot, layout::HAS_ERROR)? {
        return Ok(None);
    }
    Ok(Some(JournalError {
        kind: byte(slot, layout::ERROR_KIND)?,
        lba: Lba::new(word(slot, layout::ERROR_LBA)?),
        status: NtStatus::from_u32(u32::from_le_bytes(*field(slot, layout::ERROR_STATUS)?)),
        count: u32::from_le_bytes(*field(slot, layout::ERROR_COUNT)?),
    }))
}

fn decode_damaged(
    slot: &[u8],
    data_sectors: u64,
    out: &mut [DamagedSector; MAX_DAMAGED],
    torn: &mut TornSectors,
) -> VckResult<usize> {
    let count = usize::from(u16::from_le_bytes(*field(slot, layout::DAMAGED_COUNT)?));
    let (stored, _) = slot.get(layout::DAMAGED).ok_or(TOO_SHORT)?.as_chunks::<DAMAGED_SIZE>();
    for (stored, out) in stored.get(..count).ok_or(CONTRADICTION)?.iter().zip(out) {
        let value = word(stored, 0..8)?;
        let sector = DataSector::new(value & !DAMAGED_UNREADABLE);
        if sector.get() >= data_sectors {
            return Err(CONTRADICTION);
        }
        let damage = if value & DAMAGED_UNREADABLE == 0 { Damage::Torn } else { Damage::Unreadable };
        *out = DamagedSector { sector, damage };
        torn.note(sector, word(stored, 8..16)?);
    }
    Ok(count)
}

fn word(slot: &[u8], range: core::ops::Range<usize>) -> VckResult<u64> {
    Ok(u64::from_le_bytes(*field(slot, range)?))
}

fn byte(slot: &[u8], range: core::ops::Range<usize>) -> VckResult<u8> {
    let [value] = *field(slot, range)?;
    Ok(value)
}

fn flag(slot: &[u8], range: core::ops::Range<usize>) -> VckResult<bool> {
    match byte(slot, range)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(CONTRADICTION),
    }
}

const fn activity_code(activity: Activity) -> u8 {
    match activity {
        Activity::Idle => 0,
        Activity::Running => 1,
        Activity::Paused => 2,
        Activity::Faulted => 3,
    }
}

const fn activity_of(code: u8) -> VckResult<Activity> {
    match code {
        0 => Ok(Activity::Idle),
        1 => Ok(Activity::Running),
        2 => Ok(Activity::Paused),
        3 => Ok(Activity::Faulted),
        _ => Err(CONTRADICTION),
    }
}
