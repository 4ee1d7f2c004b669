#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| tripod_fuzz::config(text));
