//! `bench-aes`.

use serde_json::json;

use super::with_client;
use crate::error::CtlResult;
use crate::output::{Format, print};
use crate::transport::Destination;

/// Whether this processor has AES instructions; `None` where the tool cannot tell.
fn aes_instructions() -> Option<bool> {
    #[cfg(target_arch = "x86_64")]
    let found = Some(std::arch::is_x86_feature_detected!("aes"));
    #[cfg(not(target_arch = "x86_64"))]
    let found = None;
    found
}

/// Measures the driver's cipher.
pub(super) fn run(destination: &Destination, size: u64, format: Format) -> CtlResult<()> {
    // The simulated machine's clock is real only without a volume.
    let destination = Destination { image: None, ..destination.clone() };
    let result = with_client(&destination, |client| client.bench(size))?;
    let aes = aes_instructions();
    let known = match aes {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    };
    let (mib, encrypt, decrypt) = (result.size_bytes >> 20, result.encrypt_mib_s, result.decrypt_mib_s);
    let text = format!(
        "AES instructions : {known}\nSize             : {mib} MiB\nEncrypt          : {encrypt} MiB/s\nDecrypt          : {decrypt} MiB/s"
    );
    let value = json!({
        "aes_instructions": aes,
        "size_bytes": result.size_bytes,
        "encrypt_mib_s": encrypt,
        "decrypt_mib_s": decrypt,
    });
    print(format, &text, &value);
    Ok(())
}
