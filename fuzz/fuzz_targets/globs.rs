//! libFuzzer on `kvs::fuzzed::globs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kvs::fuzzed::globs(data));
