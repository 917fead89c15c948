//! BENCH_AES: how fast the sector cipher runs in this kernel.

use core::time::Duration;

use vck_common::wire::BenchResp;
use vck_common::xts::Features;
use vck_common::{DataSector, NtStatus, SectorSize, VckError, VckResult, VolumeCipher, XtsVolumeCipher};

use crate::io::zeroed;
use crate::nt::{CancelFlag, Instant, with_wide_registers};

const MIB: u64 = 1 << 20;
/// What a request of 0 bytes means.
const DEFAULT: u64 = 1 << 30;
/// The most that one request may occupy the processor with.
const LIMIT: u64 = 16 << 30;

/// Encrypts, then decrypts, `size` bytes (rounded up to MiB) in one 1 MiB buffer with the fastest kernel of `features`. Runs in the
/// caller's thread, and looks after each MiB whether the caller still wants it.
pub(super) fn run(size: u64, features: Features, cancelled: CancelFlag<'_>) -> VckResult<BenchResp> {
    let size = if size == 0 { DEFAULT } else { size };
    if size > LIMIT {
        return Err(VckError::InvalidData("the benchmark is limited to 16 GiB"));
    }
    let chunks = size.div_ceil(MIB);
    let cipher = XtsVolumeCipher::with_features(&[0; 32], &[0; 32], features)?;
    log::info!("benchmark of the sector cipher, kernel {}", cipher.wide_kernel(cipher.wide_state()).name());
    let sector = SectorSize::new(512)?;
    let mut buffer = zeroed(usize::try_from(MIB).map_err(|_| VckError::NoMemory)?)?;
    let per_chunk = MIB / sector.u64();
    let mut timed = |pass: &dyn Fn(&mut [u8], DataSector)| {
        let start = Instant::now();
        for chunk in 0..chunks {
            if cancelled.is_set() {
                return Err(VckError::Device { status: NtStatus::CANCELLED, lba: None });
            }
            pass(&mut buffer, DataSector::new(chunk.saturating_mul(per_chunk)));
        }
        Ok(start.elapsed())
    };
    let state = cipher.wide_state();
    let encrypt = timed(&|buffer, first| {
        with_wide_registers(state, |registers| match registers {
            Some(registers) => cipher.encrypt_area_wide(buffer, sector, first, registers),
            None => cipher.encrypt_area(buffer, sector, first),
        });
    })?;
    let decrypt = timed(&|buffer, first| {
        with_wide_registers(state, |registers| match registers {
            Some(registers) => cipher.decrypt_area_wide(buffer, sector, first, registers),
            None => cipher.decrypt_area(buffer, sector, first),
        });
    })?;
    Ok(BenchResp {
        size_bytes: chunks.saturating_mul(MIB),
        encrypt_mib_s: rate(chunks, encrypt),
        decrypt_mib_s: rate(chunks, decrypt),
    })
}

/// MiB per second; 0 if no time was measured.
fn rate(mib: u64, time: Duration) -> u64 {
    let nanos = time.as_nanos();
    u128::from(mib)
        .saturating_mul(1_000_000_000)
        .checked_div(nanos)
        .map_or(0, |rate| u64::try_from(rate).unwrap_or(u64::MAX))
}
