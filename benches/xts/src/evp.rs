//! OpenSSL and aws-lc through the interface that both have. Keys are set up once for each direction; a sector costs one
//! call that sets its tweak and one that transforms it, the least that the interface allows. The raw functions are
//! used because safe wrappers query lengths in every call, which would be held against the peers.

use std::ffi::CStr;
use std::ptr::{null, null_mut};

use crate::peer::SectorCipher;

macro_rules! evp_cipher {
    ($(#[$doc:meta])* $name:ident, $ffi:ident) => {
        $(#[$doc])*
        pub(crate) struct $name {
            /// Decryption, encryption.
            contexts: [*mut $ffi::EVP_CIPHER_CTX; 2],
        }

        impl $name {
            pub(crate) fn new(key: &[u8; 64]) -> Self {
                // SAFETY: the function takes nothing and returns a static table.
                let algorithm = unsafe { $ffi::EVP_aes_256_xts() };
                let contexts = [0, 1].map(|encrypt| {
                    // SAFETY: the function takes nothing and returns a new context or null.
                    let context = unsafe { $ffi::EVP_CIPHER_CTX_new() };
                    assert!(!context.is_null(), "no memory for a context");
                    // SAFETY: a live context, the algorithm's table, and the 64 bytes of key that it reads.
                    let done = unsafe {
                        $ffi::EVP_CipherInit_ex(context, algorithm, null_mut(), key.as_ptr(), null(), encrypt)
                    };
                    assert_eq!(done, 1, "the key is refused");
                    context
                });
                Self { contexts }
            }

            /// What the library calls itself.
            pub(crate) fn version() -> String {
                // SAFETY: 0 asks for the version's text.
                let text = unsafe { $ffi::OpenSSL_version(0) };
                // SAFETY: it is a static string that ends with a zero byte.
                let text = unsafe { CStr::from_ptr(text) };
                text.to_string_lossy().into_owned()
            }
        }

        impl SectorCipher for $name {
            fn run(&mut self, encrypt: bool, buf: &mut [u8], sector: usize, first: u64) {
                let context = self.contexts[usize::from(encrypt)];
                let length = i32::try_from(sector).expect("a sector size");
                for (number, data) in (u128::from(first)..).zip(buf.chunks_exact_mut(sector)) {
                    let tweak = number.to_le_bytes();
                    // SAFETY: a live context with its key; null keeps algorithm and key, -1 the direction, and 16
                    // bytes of tweak are read.
                    let set = unsafe {
                        $ffi::EVP_CipherInit_ex(context, null(), null_mut(), null(), tweak.as_ptr(), -1)
                    };
                    let mut written = 0;
                    let data = data.as_mut_ptr();
                    // SAFETY: `data` is `length` bytes that nothing else refers to; in and out may be the same.
                    let done = unsafe {
                        $ffi::EVP_CipherUpdate(context, data, &raw mut written, data.cast_const(), length)
                    };
                    assert_eq!((set, done, written), (1, 1, length), "the library refused a sector");
                }
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                for context in self.contexts {
                    // SAFETY: made by the constructor, not used after this.
                    unsafe { $ffi::EVP_CIPHER_CTX_free(context) };
                }
            }
        }
    };
}

evp_cipher!(
    /// OpenSSL 3.
    OpenSsl,
    openssl_sys
);
evp_cipher!(
    /// aws-lc.
    AwsLc,
    aws_lc_sys
);
