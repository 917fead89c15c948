//! The cipher's place in the data path: which part of a buffer is ciphertext, and the threads for work that may not be
//! done where a request arrives.

mod burst;
mod helped;
mod pool;

use vck_common::xts::{ExtendedMask, Features, self_test};
use vck_common::{DataExtent, DataSector, SectorSize, VckResult, VolumeCipher};

use crate::nt::with_wide_registers;

pub use burst::Turn;
pub use helped::HelpedCipher;
pub use pool::{Work, WorkerPool};

/// Runs the sector cipher's kernels against known answers; the features of those that gave them. IRQL <= APC_LEVEL.
///
/// Kernels whose registers cannot be saved now are left out. Errors: no memory, or the portable kernel is wrong.
pub fn tested_features() -> VckResult<Features> {
    let passed = with_wide_registers(ExtendedMask::all(), self_test)?;
    let failed = Features::detected().difference(passed);
    if !failed.is_empty() {
        log::warn!(
            "sector cipher: {failed:?} is there but not used: its test failed, or its registers cannot be saved"
        );
    }
    log::info!("sector cipher: {passed:?}");
    Ok(passed)
}

/// Bytes of the front of a buffer over `extent` that lie below `boundary`.
fn cipher_bytes(extent: DataExtent, boundary: DataSector, size: SectorSize, available: usize) -> usize {
    let (below, _) = extent.split_at(boundary);
    let bytes = size.bytes_of(below.count).and_then(|bytes| usize::try_from(bytes.get()).ok());
    bytes.unwrap_or(usize::MAX).min(available)
}

/// Decrypts, in place, the sectors of `buffer` that lie below the boundary. A partial sector at the end, which a device may
/// report, cannot be decrypted and is zeroed: ciphertext never goes up as data. IRQL <= DISPATCH_LEVEL.
pub fn decrypt_read(
    cipher: &dyn VolumeCipher,
    size: SectorSize,
    extent: DataExtent,
    boundary: DataSector,
    buffer: &mut [u8],
) {
    let front = cipher_bytes(extent, boundary, size, buffer.len());
    let whole = front.saturating_sub(front % size.usize());
    let (front, _) = buffer.split_at_mut(front);
    let (sectors, partial) = front.split_at_mut(whole);
    cipher.decrypt_area(sectors, size, extent.first);
    partial.fill(0);
}

/// Fills `out` with what `source` looks like on the device: ciphertext below the boundary, unchanged above. Reads each
/// byte of `source` once. Both have the extent's length; how much of it is ciphertext. IRQL <= DISPATCH_LEVEL.
pub fn encrypt_write(
    cipher: &dyn VolumeCipher,
    size: SectorSize,
    extent: DataExtent,
    boundary: DataSector,
    source: &[u8],
    out: &mut [u8],
) -> usize {
    let front = cipher_bytes(extent, boundary, size, source.len().min(out.len()));
    let (cipher_source, plain_source) = source.split_at(front);
    let (cipher_out, plain_out) = out.split_at_mut(front);
    cipher.encrypt_copy(cipher_source, cipher_out, size, extent.first);
    for (to, from) in plain_out.iter_mut().zip(plain_source) {
        *to = *from;
    }
    front
}
