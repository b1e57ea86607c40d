//! libFuzzer on `kvs::fuzzed::requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kvs::fuzzed::requests(data));
