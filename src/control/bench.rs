//! BENCH_AES: how fast the sector cipher runs in this kernel.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use vck_common::wire::{BenchReq, BenchResp};
use vck_common::xts::Features;
use vck_common::{DataSector, NtStatus, SectorSize, VckError, VckResult, VolumeCipher, XtsVolumeCipher, zeroed};

use crate::nt::{CancelFlag, Instant, try_box, with_wide_registers};

const MIB: u64 = 1 << 20;
/// What a request of 0 bytes means.
const DEFAULT: u64 = 1 << 30;
/// The most that one request may occupy the processor with.
const LIMIT: u64 = 16 << 30;
/// So many MiB are enough to tell the speed of the portable kernel, which is the slowest.
const COMPARED: u64 = 256;
/// Room for the longest name of a kernel.
const NAME: usize = 16;

/// Encrypts, then decrypts, so many bytes (rounded up to MiB) in one 1 MiB buffer with the fastest kernel of `features`, and if a
/// comparison is wanted up to [`COMPARED`] MiB with the portable one. `room` is what the answer has. Runs in the caller's thread,
/// and looks after each MiB whether the caller still wants it.
#[inline(never)] // Its large frame is not to lie below every other control's.
pub(super) fn run(
    request: BenchReq,
    features: Features,
    room: usize,
    cancelled: CancelFlag<'_>,
) -> VckResult<BenchResp<'static>> {
    let size = if request.size_bytes == 0 { DEFAULT } else { request.size_bytes };
    if size > LIMIT {
        return Err(VckError::InvalidData("the benchmark is limited to 16 GiB"));
    }
    let needed = BenchResp::compared_max_len(NAME);
    if request.compare && room < needed {
        return Err(VckError::BufferTooSmall { needed });
    }
    let chunks = size.div_ceil(MIB);
    let mut series = Series::new(cancelled)?;
    let fast = cipher(features)?;
    let kernel = fast.wide_kernel(fast.wide_state()).name();
    log::info!("benchmark of the sector cipher, kernel {kernel}");
    let (encrypt_mib_s, decrypt_mib_s) = series.speeds(&fast, chunks)?;
    let measured =
        BenchResp { size_bytes: chunks.saturating_mul(MIB), encrypt_mib_s, decrypt_mib_s, ..BenchResp::default() };
    if !request.compare {
        return Ok(measured);
    }
    let portable = cipher(Features::empty())?;
    let (portable_encrypt_mib_s, portable_decrypt_mib_s) = series.speeds(&portable, chunks.min(COMPARED))?;
    Ok(BenchResp { kernel, portable_encrypt_mib_s, portable_decrypt_mib_s, ..measured })
}

/// A cipher to measure, on the heap: its round keys would take some KiB of every frame that they pass through.
#[inline(never)]
fn cipher(features: Features) -> VckResult<Box<XtsVolumeCipher>> {
    try_box(XtsVolumeCipher::with_features(&[0; 32], &[0; 32], features)?)
}

/// What several measurements have in common.
struct Series<'a> {
    buffer: Vec<u8>,
    sector: SectorSize,
    cancelled: CancelFlag<'a>,
}

impl<'a> Series<'a> {
    fn new(cancelled: CancelFlag<'a>) -> VckResult<Self> {
        let buffer = zeroed(usize::try_from(MIB).map_err(|_| VckError::NoMemory)?)?;
        Ok(Self { buffer, sector: SectorSize::new(512)?, cancelled })
    }

    /// MiB per second of `cipher`, encrypting and decrypting so many chunks of a MiB.
    fn speeds(&mut self, cipher: &XtsVolumeCipher, chunks: u64) -> VckResult<(u64, u64)> {
        let (state, sector) = (cipher.wide_state(), self.sector);
        let encrypt = self.timed(chunks, &|buffer, first| {
            with_wide_registers(state, |registers| match registers {
                Some(registers) => cipher.encrypt_area_wide(buffer, sector, first, registers),
                None => cipher.encrypt_area(buffer, sector, first),
            });
        })?;
        let decrypt = self.timed(chunks, &|buffer, first| {
            with_wide_registers(state, |registers| match registers {
                Some(registers) => cipher.decrypt_area_wide(buffer, sector, first, registers),
                None => cipher.decrypt_area(buffer, sector, first),
            });
        })?;
        Ok((rate(chunks, encrypt), rate(chunks, decrypt)))
    }

    fn timed(&mut self, chunks: u64, pass: &dyn Fn(&mut [u8], DataSector)) -> VckResult<Duration> {
        let per_chunk = MIB / self.sector.u64();
        let start = Instant::now();
        for chunk in 0..chunks {
            if self.cancelled.is_set() {
                return Err(VckError::Device { status: NtStatus::CANCELLED, lba: None });
            }
            pass(&mut self.buffer, DataSector::new(chunk.saturating_mul(per_chunk)));
        }
        Ok(start.elapsed())
    }
}

/// MiB per second; 0 if no time was measured.
fn rate(mib: u64, time: Duration) -> u64 {
    let nanos = time.as_nanos();
    u128::from(mib)
        .saturating_mul(1_000_000_000)
        .checked_div(nanos)
        .map_or(0, |rate| u64::try_from(rate).unwrap_or(u64::MAX))
}
