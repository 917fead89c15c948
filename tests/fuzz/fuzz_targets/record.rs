#![no_main]
libfuzzer_sys::fuzz_target!(|input: vck_fuzz::record::Input| vck_fuzz::record::run(&input));
