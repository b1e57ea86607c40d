//! libFuzzer on `kvs::fuzzed::files`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kvs::fuzzed::files(data));
