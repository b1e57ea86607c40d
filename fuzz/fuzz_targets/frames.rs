//! libFuzzer on `kvs::fuzzed::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kvs::fuzzed::frames(data));
