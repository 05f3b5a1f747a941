#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| phield_core::fuzzing::token(data));
