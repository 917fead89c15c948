//! Which kernel of the sector cipher a run is forced to use.

/// The name of the variable.
const VARIABLE: &str = "VCK_KERNEL";

/// The extended processor features of the simulated machine, from `VCK_KERNEL`: `aes-ni` has none beyond SSE, `vaes-256` has
/// AVX, `vaes-512` and no value have what the host has. (`portable` is a feature of vck-common, since the AES instructions
/// cannot be taken from a processor: `--features vck-common/portable-only`.)
///
/// # Panics
/// For another value: a run that silently used another kernel would prove nothing.
#[must_use]
pub(crate) fn extended_features() -> u64 {
    match std::env::var(VARIABLE).as_deref() {
        Err(_) | Ok("vaes-512" | "") => u64::MAX,
        Ok("vaes-256") => 0x7,
        Ok("aes-ni") => 0x3,
        Ok(other) => panic!("{VARIABLE}={other}: one of aes-ni, vaes-256, vaes-512"),
    }
}
