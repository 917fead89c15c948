#![no_main]
libfuzzer_sys::fuzz_target!(|message: &[u8]| vck_fuzz::wire::run(message));
