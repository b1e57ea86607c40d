//! libFuzzer on `kvs::fuzzed::operations`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kvs::fuzzed::operations(data));
