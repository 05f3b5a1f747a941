#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| phield_core::fuzzing::key_record_and_manifest(data));
