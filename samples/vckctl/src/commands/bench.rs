//! `bench-aes`.

use serde_json::{Value, json};

use super::with_client;
use crate::client::Measured;
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
    let measured = with_client(&destination, |client| client.bench(size))?;
    let aes = aes_instructions();
    print(format, &text(&measured, aes), &value(&measured, aes));
    Ok(())
}

/// How many times as fast as the portable kernel, in hundredths, rounded down; encryption, decryption.
fn ratios(measured: &Measured) -> Option<[u64; 2]> {
    let portable = measured.portable?;
    let hundredths = |index: usize| measured.speeds[index].saturating_mul(100).checked_div(portable[index]);
    Some([hundredths(0)?, hundredths(1)?])
}

fn text(measured: &Measured, aes: Option<bool>) -> String {
    let known = match aes {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    };
    let kernel = measured.kernel.as_deref().unwrap_or("unknown: the driver does not tell");
    let against = ratios(measured)
        .map(|ratios| ratios.map(|ratio| format!(", {}.{:02} times the portable kernel", ratio / 100, ratio % 100)));
    let [encrypt, decrypt] = against.unwrap_or_default();
    let [encrypted, decrypted] = measured.speeds;
    format!(
        "AES instructions : {known}\nKernel           : {kernel}\nSize             : {} MiB\n\
         Encrypt          : {encrypted} MiB/s{encrypt}\nDecrypt          : {decrypted} MiB/s{decrypt}",
        measured.size >> 20
    )
}

fn value(measured: &Measured, aes: Option<bool>) -> Value {
    let part = |speeds: Option<[u64; 2]>, index: usize| speeds.map(|speeds| speeds[index]);
    // Two decimal places of a number that has no more.
    let ratio = |index: usize| {
        part(ratios(measured), index).map(|ratio| f64::from(u32::try_from(ratio).unwrap_or(u32::MAX)) / 100.0)
    };
    json!({
        "aes_instructions": aes,
        "kernel": measured.kernel,
        "size_bytes": measured.size,
        "encrypt_mib_s": measured.speeds[0],
        "decrypt_mib_s": measured.speeds[1],
        "portable_encrypt_mib_s": part(measured.portable, 0),
        "portable_decrypt_mib_s": part(measured.portable, 1),
        "encrypt_to_portable": ratio(0),
        "decrypt_to_portable": ratio(1),
    })
}

#[cfg(test)]
mod tests {
    use vck_common::wire::BenchResp;

    use super::*;

    const PLAIN: BenchResp<'_> = BenchResp {
        size_bytes: 1 << 30,
        encrypt_mib_s: 3100,
        decrypt_mib_s: 2999,
        kernel: "",
        portable_encrypt_mib_s: 0,
        portable_decrypt_mib_s: 0,
    };

    #[test]
    fn the_kernel_and_its_lead_are_shown() {
        let answer =
            BenchResp { kernel: "aes-ni", portable_encrypt_mib_s: 1550, portable_decrypt_mib_s: 1000, ..PLAIN };
        let measured = Measured::of(&answer);
        assert_eq!(
            text(&measured, Some(true)),
            "AES instructions : yes\nKernel           : aes-ni\nSize             : 1024 MiB\n\
             Encrypt          : 3100 MiB/s, 2.00 times the portable kernel\n\
             Decrypt          : 2999 MiB/s, 2.99 times the portable kernel"
        );
        let value = value(&measured, None);
        assert_eq!((&value["kernel"], &value["encrypt_to_portable"]), (&json!("aes-ni"), &json!(2.0)));
        assert_eq!((&value["decrypt_to_portable"], &value["portable_decrypt_mib_s"]), (&json!(2.99), &json!(1000)));
        assert_eq!(value["aes_instructions"], Value::Null);
    }

    #[test]
    fn an_older_driver_s_answer_is_shown_without_what_it_lacks() {
        let measured = Measured::of(&PLAIN);
        let text = text(&measured, Some(false));
        assert!(
            text.contains("Kernel           : unknown") && text.ends_with("Decrypt          : 2999 MiB/s"),
            "{text}"
        );
        let value = value(&measured, Some(false));
        assert_eq!((&value["kernel"], &value["encrypt_to_portable"]), (&Value::Null, &Value::Null));
        assert_eq!(value["encrypt_mib_s"], 3100);
    }
}
