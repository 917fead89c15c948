//! What several tests need.

use serde_json::Value;
use vck_common::{Lba, MemoryIo, RandomSource, SectorCount, SectorSize, VckError, VckResult};

macro_rules! vectors {
    ($name:literal) => {
        serde_json::from_str::<serde_json::Value>(include_str!(concat!("../vectors/", $name)))
            .expect("vectors are JSON")
    };
}
pub(crate) use vectors;

pub(crate) fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "hex has two digits a byte");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits")).collect()
}

pub(crate) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is text in {value}"))
}

pub(crate) fn bytes(value: &Value, key: &str) -> Vec<u8> {
    hex(text(value, key))
}

pub(crate) fn array<const N: usize>(value: &Value, key: &str) -> [u8; N] {
    bytes(value, key).try_into().unwrap_or_else(|_| panic!("{key} has {N} bytes"))
}

/// A number, or text with a decimal or hexadecimal one.
pub(crate) fn number(value: &Value, key: &str) -> u64 {
    match &value[key] {
        Value::Number(number) => number.as_u64().expect("unsigned"),
        Value::String(text) => match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).expect("hexadecimal"),
            None => text.parse().expect("decimal"),
        },
        other => panic!("{key} is {other}"),
    }
}

pub(crate) fn small(value: &Value, key: &str) -> u32 {
    u32::try_from(number(value, key)).expect("fits 32 bits")
}

pub(crate) fn cases<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    let cases = value[key].as_array().expect("an array of cases");
    assert!(!cases.is_empty());
    cases
}

pub(crate) fn sector_size(value: &Value) -> SectorSize {
    SectorSize::new(small(value, "sector_size")).expect("a supported sector size")
}

pub(crate) fn volume(size: SectorSize, sectors: u64) -> MemoryIo {
    MemoryIo::new(size, SectorCount::new(sectors)).expect("memory")
}

pub(crate) fn sector(io: &MemoryIo, lba: Lba) -> Vec<u8> {
    let size = vck_common::SectorIo::sector_size(io).usize();
    let start = usize::try_from(lba.get()).unwrap() * size;
    io.image()[start..start + size].to_vec()
}

/// The salts of the recorded sequence: the n-th salt, from n = 4, has the bytes (16 n + i) mod 256.
pub(crate) struct CountingRandom(std::sync::atomic::AtomicU8);

impl CountingRandom {
    pub(crate) fn new() -> Self {
        Self(std::sync::atomic::AtomicU8::new(4))
    }
}

impl RandomSource for CountingRandom {
    fn fill(&self, out: &mut [u8]) -> VckResult<()> {
        let n = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        for (i, byte) in (0_u8..).zip(out.iter_mut()) {
            *byte = n.wrapping_mul(16).wrapping_add(i);
        }
        Ok(())
    }
}

pub(crate) struct NoRandom;

impl RandomSource for NoRandom {
    fn fill(&self, _out: &mut [u8]) -> VckResult<()> {
        Err(VckError::CryptoFailed("no random source"))
    }
}

/// The error of a result whose value has no `Debug`.
pub(crate) fn error_of<T>(result: VckResult<T>) -> VckError {
    result.err().expect("this must fail")
}
