#![no_main]
libfuzzer_sys::fuzz_target!(|input: vck_fuzz::block::Input| vck_fuzz::block::run(&input));
